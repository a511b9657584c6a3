"""`gristmill lm train`: language models for the perplexity of documents."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.command_line import SETTINGS, Version

app = typer.Typer(
    name="lm",
    help="Train the language models by whose perplexity documents are judged.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
)


@app.callback()
def lm(version: Version = False) -> None:
    """Language models: n-grams of SentencePiece pieces, one model a language, as KenLM reads them."""


@app.command()
def train(
    source: Annotated[
        str, typer.Argument(metavar="CONFIG", help="The configuration of a run, or the folder of its output.")
    ] = "pipeline.yaml",
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="PATH", help="Files of text, JSONL or Parquet instead; repeatable."),
    ] = None,
    columns: Annotated[str, typer.Option(metavar="A=B,...", help="Names of their columns: text, language, id.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the models.")] = "models/lm",
    languages: Annotated[str, typer.Option(metavar="EN,DE", help="Languages; all with enough text by default.")] = "",
    categories: Annotated[
        str, typer.Option(metavar="A,B", help="Categories of curated documents to train on.")
    ] = "encyclopedia,books",
    order: Annotated[int, typer.Option(help="Pieces in the longest n-grams, 2 to 5.")] = 5,
    prune: Annotated[
        str, typer.Option(metavar="0,0,1", help="Leave out n-grams that occur so often or less, by order.")
    ] = "0,0,1,1,1",
    pieces: Annotated[int, typer.Option(help="Most pieces of a vocabulary.")] = 65_536,
    max_bytes: Annotated[int | None, typer.Option(help="Most text of a language; a sample of documents.")] = None,
    min_bytes: Annotated[int, typer.Option(help="Least text of a language that is not named.")] = 1_000_000,
    memory: Annotated[
        int | None,
        typer.Option(help="Bytes a task may take; the configuration's runtime.memory_per_worker by default."),
    ] = None,
    arpa: Annotated[str, typer.Option(metavar="KIND", help="lm.arpa: plain, gz or none.")] = "plain",
    seed: Annotated[int | None, typer.Option(help="Chooses the sample; the configuration's by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Train one language model a language on curated text. Resumes by itself.

    \b
    gristmill lm train pipeline.yaml --languages en,de
    gristmill lm train --text "wiki/*.jsonl.zst" --columns language=lang --output models/lm
    """
    import json

    from gristmill.pipeline.engine.progress import Terminal
    from gristmill.pipeline.models.lm.command import trained

    progress = Terminal()
    try:
        result = trained(
            source,
            text or [],
            columns=columns,
            output=output,
            languages=languages,
            categories=categories,
            order=order,
            prune=prune,
            pieces=pieces,
            max_bytes=max_bytes,
            min_bytes=min_bytes,
            arpa=arpa,
            memory=memory,
            seed=seed,
            workers=workers,
            inline=inline,
            progress=progress,
        )
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps({"output": result.output, "models": result.models, "notes": result.notes}))
        return
    from gristmill.pipeline.models.lm.train import lines_of

    for line in lines_of(result):
        typer.echo(line)
