"""`gristmill rules`: every rule of every preset."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def rules(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """List the rules of all presets: limits, signals, where they apply, where they come from.

    \b
    gristmill rules | grep repetition
    """
    import json

    from stages.presets import PRESETS

    rows = [(preset, rule) for preset, table in PRESETS.items() for rule in table]
    if as_json:
        from dataclasses import asdict

        for preset, rule in rows:
            typer.echo(json.dumps({"preset": preset, **asdict(rule)}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    columns = Table("rule", "minimum", "maximum", "applies to", "source", box=None, pad_edge=False)
    for preset, rule in rows:
        name = rule.name if rule.name == f"{preset}.{rule.signal}" else f"{rule.name} ({rule.signal})"
        scope = ", ".join([*(rule.domains or ["all domains"]), *rule.languages])
        limits = ["" if limit is None else f"{limit:g}" for limit in (rule.minimum, rule.maximum)]
        columns.add_row(name, *limits, scope, rule.source)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(columns)
