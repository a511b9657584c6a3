"""`gristmill rules`: every rule of every preset, of documents and of lines, and every signal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from gristmill.stages.presets.rule import Rule


def rules(
    signals: Annotated[
        bool, typer.Option("--signals", help="What is measured instead: of documents, and of lines by `lines`.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """List the rules of all presets: limits, signals, where they apply, where they come from.

    \b
    gristmill rules | grep repetition
    gristmill rules --signals
    """
    rows = _signals() if signals else _rules()
    if as_json:
        import json

        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    for of, title in (("documents", "documents"), ("lines", "lines, by the stage lines")):
        those = [row for row in rows if row["of"] == of]
        console.print(_signal_table(title, those) if signals else _rule_table(title, those))
        console.print()


def _rules() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from gristmill.stages.presets.table import LINE_PRESETS, PRESETS

    def row(of: str, preset: str, rule: Rule) -> dict[str, Any]:
        return {"preset": preset, "of": of} | {name: x for name, x in asdict(rule).items() if name != "expression"}

    tables = (("documents", PRESETS), ("lines", LINE_PRESETS))
    return [row(of, preset, rule) for of, table in tables for preset, rules in table.items() for rule in rules]


def _signals() -> list[dict[str, Any]]:
    from gristmill.stages.lines import MEANINGS
    from gristmill.stages.measured import MEASURED

    rows = [
        {"of": "documents", "signal": each.name, "unit": each.unit, "definition": each.definition}
        for each in MEASURED.values()
    ]
    return rows + [{"of": "lines", "signal": name, "unit": "", "definition": text} for name, text in MEANINGS.items()]


def _rule_table(title: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(f"rules of {title}", no_wrap=True)
    for head in ("minimum", "maximum", "applies to", "source"):
        table.add_column(head)
    for row in rows:
        name = row["name"] if row["name"] == f"{row['preset']}.{row['signal']}" else f"{row['name']} ({row['signal']})"
        scope = ", ".join([*(row["domains"] or ["all domains"]), *row["languages"]])
        limits = ["" if row[side] is None else f"{row[side]:g}" for side in ("minimum", "maximum")]
        table.add_row(name, *limits, scope, row["source"])
    return table


def _signal_table(title: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    units = any(row["unit"] for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column(f"signals of {title}", no_wrap=True)
    for head in [*(["unit"] if units else []), "definition"]:
        table.add_column(head)
    for row in rows:
        table.add_row(row["signal"], *([row["unit"]] if units else []), row["definition"])
    return table
