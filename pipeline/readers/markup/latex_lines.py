"""The last step from LaTeX to text: paragraphs, lines and gaps, when all commands are gone.

The marks stand for what must outlive the folding of white space; formulas wait in a list and come back last.
"""

from __future__ import annotations

import re

BREAK, TAB, GONE = "\1", "\2", "\3"
"""Stand in the text for a line break and a tab that stay, and for what was dropped."""

_KEPT = re.compile("\0(\\d+)\0")
_GONE = re.compile(f"{GONE}++")
_ENDS = tuple(".,;:)]")
_PARAGRAPH = re.compile(r"\n[ \t]*+\n\s*+")


def finished(text: str, kept: list[str]) -> str:
    """Paragraphs on one line each, with an empty line between."""
    text = _without_gaps(text)
    paragraphs = []
    for paragraph in _PARAGRAPH.split(text):
        lines = []
        for line in paragraph.split(BREAK):
            indent = len(line) - len(line.lstrip(" "))
            cells = [" ".join(cell.split()) for cell in line.split(TAB)]
            whole = "\t".join(cells).strip()
            if whole:
                lines.append((" " * indent if whole[0] == "•" or whole[:1].isdigit() else "") + whole)
        if lines:
            paragraphs.append("\n".join(lines))
    return _KEPT.sub(lambda found: kept[int(found[1])], "\n\n".join(paragraphs)).strip("\n")


def _without_gaps(text: str) -> str:
    """Without the marks of what is gone, and the space before them where a sentence or a bracket ends."""
    parts = _GONE.split(text)
    for i in range(len(parts) - 1):
        if parts[i + 1].lstrip(" \n").startswith(_ENDS):
            parts[i] = parts[i].rstrip(" \n")
    return "".join(parts)
