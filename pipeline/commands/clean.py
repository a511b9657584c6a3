"""`gristmill clean`: what the last run did not use is removed."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, OutputArgument, output_of


def clean(
    argument: OutputArgument = None,
    option: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Remove from an output the steps and files that the last run did not use.

    \b
    gristmill clean --output out
    """
    import json

    from gristmill.pipeline.engine.progress import size_text
    from gristmill.pipeline.upkeep.clean import clean as remove
    from gristmill.wording import plural

    output = output_of(argument, option)
    files, freed = remove(output)
    if as_json:
        typer.echo(json.dumps({"output": output, "files": files, "bytes": freed}, ensure_ascii=False))
    else:
        typer.echo(f"{output}: {plural(files, 'file')} removed, {size_text(freed)} freed")
