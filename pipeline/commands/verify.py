"""`gristmill verify`: an output against what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, OutputArgument, output_of


def verify(
    argument: OutputArgument = None,
    option: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Check an output: manifests, checksums, accounting, shard headers. Exit code 1 where something is wrong.

    \b
    gristmill verify --output out
    """
    import json

    from gristmill.pipeline.upkeep.verify import verify as problems_of

    output = output_of(argument, option)
    problems = problems_of(output)
    if as_json:
        typer.echo(json.dumps({"output": output, "whole": not problems, "problems": problems}, ensure_ascii=False))
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        if not problems:
            typer.echo(f"{output}: all is as it was written")
    if problems:
        raise typer.Exit(1)
