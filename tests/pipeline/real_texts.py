"""Prose and programs that every checkout has: this project's documentation and the interpreter's standard library."""

from __future__ import annotations

import re
import sysconfig
from functools import cache
from pathlib import Path

COUNT = 50


@cache
def texts() -> tuple[str, ...]:
    """Prose of this project's documentation, two paragraphs each."""
    root = Path(__file__).parents[2]
    whole = "\n\n".join(path.read_text("utf-8") for path in sorted((root / "docs").glob("*.md")))
    paragraphs = [
        part.strip() for part in whole.split("\n\n") if len(part) > 250 and not re.search(r"[|`{<]", part[:40])
    ]
    paragraphs = [part for part in paragraphs if "```" not in part and part.count("|") < 3]
    assert len(paragraphs) >= COUNT
    return tuple(f"{paragraph}\n\n{paragraphs[-1 - i]}" for i, paragraph in enumerate(paragraphs[:COUNT]))


@cache
def programs() -> tuple[str, ...]:
    folder = Path(sysconfig.get_path("stdlib"))
    found = [path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.py"))]
    return tuple(text for text in found if 500 < len(text) < 60_000)[:COUNT]
