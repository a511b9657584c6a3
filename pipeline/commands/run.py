"""`gristmill run`: curate."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The configuration.")] = "pipeline.yaml",
    output: Annotated[str | None, typer.Option("--output", "-o", help="Folder or URI to write to.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without partitions that failed after retries.")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Make an error of everything that the check of the sources finds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="run.json on standard output, for programs.")] = False,
) -> None:
    """Curate: from a configuration to shards. Resumes by itself.

    \b
    gristmill run pipeline.yaml --output out --set seed=2
    """
    import json

    from gristmill.pipeline.commands.options import invocation_of, with_output
    from gristmill.pipeline.config.keys import load

    loaded = load(config, with_output(assignments, output))
    invocation = invocation_of(config, assignments, output)
    from gristmill.pipeline.engine.progress import Terminal
    from gristmill.pipeline.run import run as run_pipeline
    from gristmill.terminal import wrapped

    progress = Terminal()
    try:
        result = run_pipeline(
            loaded,
            workers=workers,
            inline=inline,
            allow_missing=allow_missing,
            progress=progress,
            strict=strict,
            say=progress.say,
            invocation=invocation,
        )
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps(result.record, ensure_ascii=False))
        return
    for line in wrapped(result.summary):
        typer.echo(line)
    if result.report:
        typer.echo(f"report: {result.report}")
