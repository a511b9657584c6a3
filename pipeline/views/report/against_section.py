"""The section that holds a run against another: tables of what differs."""

from __future__ import annotations

from gristmill.pipeline.views.report.against import Change, Comparison, Setting, sections
from gristmill.pipeline.views.report.elements import Section, folded, quiet, table
from gristmill.pipeline.views.report.figures import breakable, count, esc, share, size

ROWS = 12
"""Rows of a table before the fold."""
ABSENT = "–"
LEAST = 0.00005
"""A share that differs by less reads the same on both sides."""


def against_section(comparison: Comparison | None) -> Section | None:
    if comparison is None:
        return None
    lede = (
        f"What is different from <b>{esc(comparison['other'])}</b>. What both have alike is left out, and "
        "shares that differ by less than 0.005 points."
    )
    parts = [figures("Totals", comparison["totals"]), figures("Input, by source", comparison["sources"], "bytes")]
    parts += [shares(title, rows) for title, rows in sections(comparison)]
    parts += [values("Configuration", comparison["settings"]), values("Libraries", comparison["libraries"])]
    body = "".join(parts)
    return Section("against", "Since the other run", lede, body or quiet("Nothing is different."))


def figures(title: str, rows: list[Change], unit: str = "") -> str:
    def written(change: Change, value: float | None) -> str:
        if value is None:
            return ABSENT
        return size(value) if unit == "bytes" or change["name"].endswith("bytes") else count(value)

    cells = [
        (esc(row["name"]), written(row, row["before"]), written(row, row["now"]), growth(row["before"], row["now"]))
        for row in rows
    ]
    return table(("", "then", "now", "change"), cells, "lnnn", title) if cells else ""


def shares(title: str, rows: list[Change]) -> str:
    cells = [
        (breakable(row["name"]), percent(row["before"]), percent(row["now"]), points(row["before"], row["now"]))
        for row in rows
        if abs((row["now"] or 0.0) - (row["before"] or 0.0)) >= LEAST
    ]
    return folded(("", "then", "now", "points"), cells, "lnnn", ROWS, "rows", title) if cells else ""


def values(title: str, rows: list[Setting]) -> str:
    cells = [(breakable(row["name"]), shown(row["before"]), shown(row["now"])) for row in rows]
    return folded(("", "then", "now"), cells, "lll", ROWS, "rows", title) if cells else ""


def shown(value: str | None) -> str:
    return ABSENT if value is None else f"<code>{esc(value)}</code>"


def growth(before: float | None, now: float | None) -> str:
    if not before or now is None:
        return ABSENT
    return f"{100 * (now - before) / before:+.1f} %".replace("-", "−").replace(" ", "\u00a0")


def percent(value: float | None) -> str:
    return ABSENT if value is None else share(value, 1, 2)


def points(before: float | None, now: float | None) -> str:
    return f"{100 * ((now or 0.0) - (before or 0.0)):+.2f}".replace("-", "−")
