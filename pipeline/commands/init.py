"""`gristmill init`: looks at files and writes a configuration that runs."""

from __future__ import annotations

from typing import Annotated

import typer


def init(
    inputs: Annotated[list[str], typer.Argument(metavar="PATH|URI...", help="Files, folders, patterns, URIs.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write here; else to standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was found as one JSON object, for programs.")] = False,
) -> None:
    """Look at data and write a configuration that reads it.

    \b
    gristmill init data/ -o pipeline.yaml
    gristmill init crawl/*.warc.gz s3://bucket/wiki > pipeline.yaml
    """
    import json
    from pathlib import Path

    from gristmill.pipeline.init.proposal import proposed

    target = None if output is None or output == "-" else Path(output)
    if target is not None and target.exists() and not force:
        raise ValueError(f"{output}: exists already; name another file, or add --force to overwrite it")
    if target is not None and not target.absolute().parent.is_dir():
        raise ValueError(f"{output}: there is no folder {target.parent}; make it first")
    found = proposed(inputs, lambda line: typer.echo(line, err=True))
    text = found.text(output if target is not None and output else "pipeline.yaml")
    if target is not None:
        target.write_text(text, encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(found.record() | {"configuration": text}, ensure_ascii=False))
    elif target is None:
        typer.echo(text, nl=False)
    if target is None:
        return
    typer.echo(f"{output}: written; gristmill plan {output} says what a run will do", err=True)
