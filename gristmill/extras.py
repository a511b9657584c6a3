"""Which extra of the distribution brings a library that the base installation does not have.

The base installs without a compiler and without torch. What needs more imports it where it is used, through `library`
or below a command that turns a failed import into `remedy`; either way the user reads one sentence with the command
that installs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "triton": "gpu",
    "fasttext": "reference",
    "kenlm": "reference",
    "datasketch": "reference",
    "trafilatura": "trafilatura",
    "huggingface_hub": "hub",
    "lm_eval": "eval",
}
"""Package as it is imported -> extra."""


class MissingLibraryError(ValueError):
    """What was asked for needs a library that is not installed; exit code 2, as for a wrong configuration."""

    exit_code = 2


def remedy(error: ImportError) -> str | None:
    """One sentence for the failed import of a library of an extra; None for any other."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXTRAS:
        return None
    return _sentence("this command", package)


def require(package: str, purpose: str) -> None:
    """MissingLibraryError in one sentence where a library is not installed. Imports nothing.

    purpose: what needs it, as in "stages.language.engine: fasttext".
    """
    if find_spec(package) is None:
        raise MissingLibraryError(_sentence(purpose, package))


def library(package: str, purpose: str) -> Any:
    """The library, imported. MissingLibraryError as in `require`."""
    require(package, purpose)
    return import_module(package)


def _sentence(purpose: str, package: str) -> str:
    return f'{purpose} needs {package}, which is not installed: pip install "gristmill[{EXTRAS[package]}]"'
