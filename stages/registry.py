"""Stages by name: the table of those that come with Gristmill, and a user's own as `module:Class`.

A stage's module is imported when the stage is asked for. A user's module is found on sys.path and in the current
directory.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from types import ModuleType

from gristmill.bare_names import remedy

STAGES = {
    "urls": "gristmill.stages.urls:Urls",
    "extract": "gristmill.stages.extract:Extract",
    "language": "gristmill.stages.language:Language",
    "quality": "gristmill.stages.quality:Quality",
    "lines": "gristmill.stages.lines:Lines",
    "bad_words": "gristmill.stages.bad_words:BadWords",
    "signals": "gristmill.stages.signals:Signals",
    "rules": "gristmill.stages.rules:Rules",
    "exact_dedup": "gristmill.stages.exact_dedup:ExactDedup",
    "near_dedup": "gristmill.stages.near_dedup:NearDedup",
    "perplexity": "gristmill.stages.perplexity:Perplexity",
    "decontaminate": "gristmill.stages.decontaminate:Decontaminate",
    "pii": "gristmill.stages.pii:Pii",
    "code_language": "gristmill.stages.code_language:CodeLanguage",
    "code_license": "gristmill.stages.code_license:CodeLicense",
    "code_signals": "gristmill.stages.code_signals:CodeSignals",
    "join_code": "gristmill.stages.join_code:JoinCode",
}
"""Name in the configuration -> module:Class, in the order of the recipe."""

ATTRIBUTES = ("name", "version", "needs", "adds", "edits", "files")
"""What `stages.interface.Stage` asks of a class."""


def load(name: str) -> type:
    """The stage's class. ValueError in one sentence where there is none, or where it is no stage."""
    target = STAGES.get(name, name if ":" in name else None)
    if target is None:
        near = difflib.get_close_matches(name, STAGES, n=1)
        hint = f"did you mean {near[0]}" if near else f"the stages are {', '.join(STAGES)}"
        raise ValueError(f"{name!r} is not a stage; {hint}, or write module:Class for one of your own")
    module_name, _, class_name = target.partition(":")
    cls = getattr(_module(name, module_name), class_name, None)
    if not isinstance(cls, type):
        raise ValueError(f"{name!r}: the module {module_name} has no class {class_name}; check its name")
    missing = [attribute for attribute in ATTRIBUTES if not hasattr(cls, attribute)]
    if not any(hasattr(cls, kind) for kind in ("apply", "rounds", "parts")):
        missing.append("apply or rounds")
    if missing or not hasattr(cls, "__dataclass_fields__"):
        lacks = ", ".join(missing) or "the decorator dataclass(frozen=True)"
        raise ValueError(f"{name!r} is not a stage: it lacks {lacks}; stages/interface.py says what a stage is")
    return cls


def _module(name: str, module_name: str) -> ModuleType:
    if (sentence := remedy(module_name)) is not None:
        raise ValueError(f"{name!r}: {sentence}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:  # a console script's sys.path starts at the script, not here
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (sentence := remedy(error.name or "")) is not None:  # an import in the user's module
            raise ValueError(f"{name!r}: in {module_name}, {sentence}") from error
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"{name!r} needs the package {error.name}, which is not installed; install it") from error
        raise ValueError(
            f"{name!r}: there is no module {module_name} on the Python path or in {here}; check its name"
        ) from error
    except ImportError as error:
        if (sentence := remedy(error.name or "")) is not None:  # the same, from a checkout
            raise ValueError(f"{name!r}: in {module_name}, {sentence}") from error
        raise
