"""`gristmill plan`: what a run will do and take, before it does it."""

from __future__ import annotations

from typing import Annotated

import typer


def plan(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The configuration.")] = "pipeline.yaml",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Folder or URI that the run will write to.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", metavar="WORDS", help="A corpus and a cluster in words, not yours.")
    ] = None,
    measured: Annotated[
        str | None, typer.Option("--measured", metavar="OUT", help="The output of a run whose rates to take.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make an error of everything that the check of the sources finds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say what a run will do: steps, tasks, bytes, time, memory. Runs nothing.

    \b
    gristmill plan pipeline.yaml
    gristmill plan --corpus "8 T tokens, 200 nodes of 64 cores, s3"
    """
    import json

    from gristmill.pipeline.commands.options import with_output
    from gristmill.pipeline.plan.command import planned

    assigned = with_output(assignments, output)
    lines, value = planned(config, assigned, corpus=corpus, measured=measured, workers=workers, strict=strict)
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else "\n".join(lines))
