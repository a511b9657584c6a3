"""`gristmill rules`: every rule of every preset, of documents and of lines, and every signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

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
    measured, limiting = (_signals(), []) if signals else ([], _rules())
    if as_json:
        import json

        for row in (*measured, *limiting):
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    from gristmill.terminal import console as console_of

    console = console_of(piped_width=160)
    for of, title in (("documents", "documents"), ("lines", "lines, by the stage lines")):
        if signals:
            console.print(_signal_table(title, [row for row in measured if row["of"] == of]))
        else:
            console.print(_rule_table(title, [row for row in limiting if row["of"] == of]))
        console.print()


class RuleEntry(TypedDict):
    """A rule for programs: `stages.presets.rule.Rule`, its preset, and what it is of: documents or lines."""

    preset: str
    of: str
    name: str
    signal: str
    minimum: float | None
    maximum: float | None
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    source: str


class SignalEntry(TypedDict):
    of: str
    signal: str
    unit: str
    definition: str


def _rules() -> list[RuleEntry]:
    from gristmill.stages.presets.table import LINE_PRESETS, PRESETS

    def row(of: str, preset: str, rule: Rule) -> RuleEntry:
        return {
            "preset": preset,
            "of": of,
            "name": rule.name,
            "signal": rule.signal,
            "minimum": rule.minimum,
            "maximum": rule.maximum,
            "domains": rule.domains,
            "languages": rule.languages,
            "source": rule.source,
        }

    tables = (("documents", PRESETS), ("lines", LINE_PRESETS))
    return [row(of, preset, rule) for of, table in tables for preset, rules in table.items() for rule in rules]


def _signals() -> list[SignalEntry]:
    from gristmill.stages.lines import MEANINGS
    from gristmill.stages.measured import MEASURED

    rows: list[SignalEntry] = [
        {"of": "documents", "signal": each.name, "unit": each.unit, "definition": each.definition}
        for each in MEASURED.values()
    ]
    return rows + [{"of": "lines", "signal": name, "unit": "", "definition": text} for name, text in MEANINGS.items()]


def _rule_table(title: str, rows: list[RuleEntry]) -> Table:
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


def _signal_table(title: str, rows: list[SignalEntry]) -> Table:
    from rich.table import Table

    units = any(row["unit"] for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column(f"signals of {title}", no_wrap=True)
    for head in [*(["unit"] if units else []), "definition"]:
        table.add_column(head)
    for row in rows:
        table.add_row(row["signal"], *([row["unit"]] if units else []), row["definition"])
    return table
