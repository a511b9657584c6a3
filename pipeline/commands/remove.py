"""`gristmill remove`: removal requests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gristmill.pipeline.commands.options import Output, invocation_of, output_of, with_output

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.steps.record import InvocationRecord

SHOWN = 5
"""Of the requests that name nothing."""


def remove(
    ids: Annotated[str, typer.Option("--ids", metavar="FILE", help="Ids or URLs, one a line; - is standard input.")],
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG", help="The configuration of the run, where it is not that recorded."),
    ] = None,
    output: Output = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Make an output what it would be if some documents had never been in the input.

    Computes again what depends on them, deletes what earlier steps held of them, and remembers them for later runs.
    What the output does not hold is said and passed over, so one list of all requests serves every output, again and
    again. Exit code 0 then too; 1 where the run failed, and 2, with nothing changed, where a line is no id and no URL.

    \b
    gristmill remove --ids requests.txt --output out
    """
    import json
    from pathlib import Path

    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.engine.progress import Terminal, size_text
    from gristmill.pipeline.upkeep.remove import remove as remove_documents
    from gristmill.pipeline.views.whatif.text import printable
    from gristmill.terminal import wrapped
    from gristmill.wording import plural

    if config is None and output is None and Path("pipeline.yaml").is_file():
        config = "pipeline.yaml"
    if config is not None:
        loaded = load(config, with_output(assignments, output))
        invocation: InvocationRecord | None = invocation_of(config, assignments, output)
    else:
        loaded, invocation = recorded(output_of(None, output), assignments or [])
    lines = (sys.stdin.read() if ids == "-" else Path(ids).read_text("utf-8")).splitlines()
    progress = Terminal()
    try:
        done = remove_documents(
            loaded, lines, ids, workers=workers, inline=inline, progress=progress, invocation=invocation
        )
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps(done.to_dict(), ensure_ascii=False))
        return
    if done.unknown:
        first = ", ".join(done.unknown[:SHOWN]) + (", …" if len(done.unknown) > SHOWN else "")
        passed = f"{plural(len(done.unknown), 'request')} of {ids} passed over, the output holds no such document"
        typer.echo(f"gristmill: {passed}: {printable(first)}", err=True)
    said = (
        f"{plural(done.new, 'document')} removed, {done.removed:,} in all; {plural(done.computed, 'task')} computed, "
        f"{done.reused:,} as they were; {plural(done.files, 'file')} deleted ({size_text(done.freed)})"
    )
    for line in wrapped([said, *done.summary]):
        typer.echo(line)


def recorded(output: str, assignments: Sequence[str]) -> tuple[Config, InvocationRecord | None]:
    """The configuration that made the output, from whatever folder, and how that run was started."""
    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.steps.record import parsed
    from gristmill.storage.store import Store

    store = Store(output)
    if not store.exists("run.json"):
        raise ValueError(f"{store.location()}: holds no run.json; removal needs the output of a finished run")
    loaded = load(f"{output.rstrip('/')}/run.json", with_output(assignments, output))
    return loaded, parsed(store.read("run.json")).get("invocation")
