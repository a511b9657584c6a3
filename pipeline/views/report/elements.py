"""The page's building blocks: a section with its side head, a table, a fold.

Texts given here as HTML are built by the sections, which escape what came from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gristmill.pipeline.views.report.figures import esc


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    lede: str  # HTML, one or two sentences in the side head
    body: str  # HTML


def render(section: Section) -> str:
    return (
        f'<section id="{section.key}"><header><h2>{esc(section.title)}</h2><p>{section.lede}</p></header>'
        f"<div>{section.body}</div></section>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, caption: str = "") -> str:
    """Cells are HTML. kinds: a letter a column: l text, n number, b bar, L or N: left out on a phone."""
    css = {"l": "", "n": "n", "b": "b", "L": "opt", "N": "n opt", "B": "b opt"}
    marks = [f' class="{css[kind]}"' if css[kind] else "" for kind in kinds]
    top = "".join(f'<th scope="col"{mark}>{name}</th>' for name, mark in zip(head, marks, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in rows
    )
    title = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="sheet"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(
    head: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, first: int, noun: str, caption: str = ""
) -> str:
    """The first rows, the others behind one line."""
    shown = table(head, rows[:first], kinds, caption)
    if len(rows) <= first:
        return shown
    return shown + fold(f"{len(rows) - first:,} more {noun}", table(head, rows[first:], kinds))


def fold(summary: str, body: str) -> str:
    return f'<details class="more"><summary>{summary}</summary>{body}</details>'


def quiet(sentence: str) -> str:
    return f'<p class="quiet">{sentence}</p>'
