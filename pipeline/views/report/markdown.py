"""Markdown that reads as plain text: padded tables, figures with common spaces, cells that cannot break out of a table.

Counts, bytes and shares are written as on the report's page (`pipeline.views.report.figures`).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from gristmill.pipeline.views.report import figures

WIDTH = 120
ROWS = 40
"""Rows of a table at most unless it says otherwise; what is left out is one row."""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, most: int = ROWS, escaped: bool = False
) -> str:
    """Columns are padded to one width. kinds: l or r a column; at most `most` rows, the rest counted in one more.

    escaped: the values are Markdown as they are to stand.
    """
    cells = [[value if escaped else cell(value) for value in row] for row in rows]
    if len(cells) > most:
        cells = [*cells[:most], [f"and {len(cells) - most:,} more", *[""] * (len(head) - 1)]]
    widths = [max(3, *(len(row[i]) for row in [list(head), *cells])) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if kind == "r" else text.ljust(width)
            for text, width, kind in zip(row, widths, kinds, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + (":" if kind == "r" else "-") for width, kind in zip(widths, kinds, strict=True)]
    return "\n".join([line(head), line(rule), *map(line, cells)])


def wrapped(text: str, first: str = "") -> str:
    """A paragraph of at most WIDTH columns; `first` starts it, its other lines are indented as far."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def cell(value: object) -> str:
    """One line of text that Markdown shows as it is: no ends of columns, no HTML, no control characters."""
    text = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(value)).split())
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", text.replace("|", "\\|"))


def listing(names: Iterable[str]) -> str:
    return figures.listing(cell(name) for name in names)


def count(value: float) -> str:
    return figures.count(value)


def size(value: float) -> str:
    return figures.size(value).replace(figures.NB, " ")


def share(part: float, whole: float, digits: int = 1) -> str:
    text = figures.share(part, whole, digits).replace(figures.NB, " ")
    return text.replace("< ", "<")


def limits(minimum: float | None, maximum: float | None) -> str:
    return figures.limits(minimum, maximum).replace(figures.NB, " ")


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
