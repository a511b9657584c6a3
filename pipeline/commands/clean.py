"""`gristmill clean`: what the last run did not use is removed."""

from __future__ import annotations

from typing import Annotated

import typer


def clean(
    output: Annotated[str, typer.Argument(metavar="DIR", help="The output of a run: a folder or its URI.")] = "out",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Remove from an output the steps and files that the last run did not use.

    \b
    gristmill clean out
    """
    import json

    from gristmill.pipeline.engine.progress import size_text
    from gristmill.pipeline.upkeep.clean import clean as remove

    files, freed = remove(output)
    if as_json:
        typer.echo(json.dumps({"output": output, "files": files, "bytes": freed}, ensure_ascii=False))
    else:
        typer.echo(f"{output}: {files:,} files removed, {size_text(freed)} freed")
