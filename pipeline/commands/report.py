"""`gristmill report`: the report of a run, written again."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, OutputArgument, output_of


def report(
    argument: OutputArgument = None,
    option: Output = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="DIR", help="Another run: the report shows what changed since.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Write the report of an output again, and say where it is and what came out.

    \b
    gristmill report --output out
    gristmill report --output out --against out-before
    """
    import json

    from gristmill.pipeline.steps.record import parsed
    from gristmill.pipeline.views.report.against import compare
    from gristmill.pipeline.views.report.write import write
    from gristmill.storage.store import Store
    from gristmill.terminal import wrapped

    output = output_of(argument, option)
    path = write(output, against=against)
    content = Store(output).read("run.json")
    summary = json.loads(content).get("summary", [])
    if as_json:
        found = {"report": path, "summary": summary}
        if against is not None:
            found["against"] = compare(parsed(content), Store(against))
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in wrapped(summary):
        typer.echo(line)
    typer.echo(f"report: {path}")
