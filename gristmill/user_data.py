"""The user's data folder: where `gristmill fetch` puts a model, and where one is looked for that is not in its place.

$XDG_DATA_HOME/gristmill, else ~/.local/share/gristmill. A relative path, as `models/lid.176.ftz`, is that of a file
in the current folder; where there is none, a file of this name that was fetched stands in for it.
"""

from __future__ import annotations

import os
from pathlib import Path

LANGUAGE_MODEL = "lid.176.ftz"
FETCHED = (LANGUAGE_MODEL,)
"""Names of what `gristmill fetch` gets."""


def models() -> Path:
    """The folder of fetched models; it need not exist."""
    home = os.environ.get("XDG_DATA_HOME", "")
    # a relative XDG_DATA_HOME is to be ignored: XDG Base Directory Specification 0.8
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "share") / "gristmill" / "models"


def found(path: str) -> str:
    """`path`, or the fetched model that stands in for it."""
    if os.path.isabs(path) or "://" in path or os.path.basename(path) not in FETCHED or os.path.exists(path):
        return path
    fetched = models() / os.path.basename(path)
    return str(fetched) if fetched.is_file() else path


def remedy(path: str) -> str:
    """What to do where a model of this path is not there: a part of a sentence."""
    if os.path.basename(path) not in FETCHED or "://" in path:
        return "check the path"
    return f"`gristmill fetch --to {path}` gets it" if os.path.isabs(path) else "`gristmill fetch` gets it"
