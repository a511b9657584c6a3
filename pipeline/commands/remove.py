"""`gristmill remove`: removal requests."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def remove(
    ids: Annotated[str, typer.Option("--ids", metavar="FILE", help="Ids or URLs, one a line; - is standard input.")],
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The configuration of the run.")] = "pipeline.yaml",
    output: Annotated[str | None, typer.Option("--output", "-o", help="Folder or URI of the output.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Make an output what it would be if some documents had never been in the input.

    Computes again what depends on them, deletes what earlier steps held of them, and remembers them for later runs.

    \b
    gristmill remove --ids requests.txt pipeline.yaml
    """
    import json
    from pathlib import Path

    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.engine.progress import Terminal, size_text
    from gristmill.pipeline.upkeep.remove import remove as remove_documents

    given = [*(assignments or []), *([f"output={json.dumps(output)}"] if output is not None else [])]
    loaded = load(config, given)
    lines = (sys.stdin.read() if ids == "-" else Path(ids).read_text("utf-8")).splitlines()
    progress = Terminal()
    try:
        done = remove_documents(loaded, lines, ids, workers=workers, inline=inline, progress=progress)
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps(done.to_dict(), ensure_ascii=False))
        return
    typer.echo(
        f"{done.new:,} documents removed, {done.removed:,} in all; {done.computed:,} tasks computed, "
        f"{done.reused:,} as they were; {done.files:,} files deleted ({size_text(done.freed)})"
    )
    for line in done.summary:
        typer.echo(line)
