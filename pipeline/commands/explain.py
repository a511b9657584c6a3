"""`gristmill explain ID-OR-URL`: one document's way through the last run."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.commands.options import Output, OutputArgument, output_of


def explain(
    document: Annotated[
        str,
        typer.Argument(
            metavar="ID-OR-URL",
            help="Its id or the first 6 digits and more, its URL, the source's own id, or source:path:record.",
        ),
    ],
    argument: OutputArgument = None,
    option: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show what became of one document: every step, signal, rule, its duplicates, its place in the shards.

    \b
    gristmill explain 3f2a9c417b60 --output out
    gristmill explain https://example.org/page --output out --json
    """
    from gristmill.pipeline.views.explain.explanation import explain as explain_document
    from gristmill.storage.store import Store

    explanation = explain_document(Store(output_of(argument, option)), document)
    if as_json:
        import json

        typer.echo(json.dumps(explanation.to_dict(), ensure_ascii=False))
        return
    from gristmill.pipeline.views.explain.show import show

    show(explanation)
