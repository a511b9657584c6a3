"""`gristmill try`: what the stages make of one document."""

from __future__ import annotations

from typing import Annotated

import typer


def try_(
    file: Annotated[str, typer.Argument(metavar="FILE|URL|-", help="A file, an http(s) URL, or - for standard input.")],
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="CONFIG", help="pipeline.yaml by default, else the built-in recipe."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="By the configuration that made this output of a run."),
    ] = None,
    documents: Annotated[int, typer.Option("--documents", min=1, help="How many of a file with several.")] = 1,
    record: Annotated[
        int | None,
        typer.Option("--record", help="The one with this `record`, as in the ledger: byte offset, row, or 0."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Read it as this source of the configuration says.")
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Where the name does not tell: as `format:`.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show the whole text, not its first lines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a document, for programs.")] = False,
) -> None:
    """Run the stages on one document and show every signal beside its limits, the verdict and the text.

    \b
    gristmill try page.html
    gristmill try crawl.warc.gz --documents 3
    curl -s https://example.org | gristmill try -
    """
    import json

    from gristmill.pipeline.views.trial.source import documents as documents_of
    from gristmill.pipeline.views.trial.source import opened
    from gristmill.pipeline.views.trial.text import as_dict, no_document, show
    from gristmill.pipeline.views.trial.trial import recipe, source_spec, trial
    from gristmill.terminal import console as console_of

    if config is not None and output is not None:
        raise ValueError(f"two configurations are named, {config} and that of --output {output}; name one")
    taken = recipe(config if output is None else f"{output.rstrip('/')}/run.json", assignments or [])
    console = console_of()
    shown = 0
    with opened(file, source_spec(taken, source, format_name), taken.max_document_bytes) as given:
        for row in documents_of(given, documents, record, taken.max_document_bytes):
            found = trial(row, taken.stages)
            if as_json:
                typer.echo(json.dumps(as_dict(found, taken, file), ensure_ascii=False, default=str))
            else:
                if shown:
                    console.rule()
                place = given.place(found.document["path"], found.document["record"])
                show(found, taken, place, console, full)
            shown += 1
    if not shown and record is not None:
        raise ValueError(f"{file}: no document stands at record {record}; without --record the first one is shown")
    if not shown and not as_json:
        typer.echo(no_document(given))
