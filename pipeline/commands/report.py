"""`gristmill report`: the report of a run, written again."""

from __future__ import annotations

from typing import Annotated

import typer


def report(
    output: Annotated[str, typer.Argument(metavar="DIR", help="The output of a run: a folder or its URI.")] = "out",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Write the report of an output again, and say where it is and what came out.

    \b
    gristmill report out
    """
    import json

    from gristmill.pipeline.views.report.write import write
    from gristmill.storage.store import Store

    path = write(output)
    summary = json.loads(Store(output).read("run.json")).get("summary", [])
    if as_json:
        typer.echo(json.dumps({"report": path, "summary": summary}, ensure_ascii=False))
        return
    for line in summary:
        typer.echo(line)
    typer.echo(f"report: {path}")
