"""`gristmill quality train`: a classifier that tells good text from bad."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.command_line import SETTINGS, Version

app = typer.Typer(
    name="quality",
    help="Train the classifier by whose score documents are judged.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
)


@app.callback()
def quality(version: Version = False) -> None:
    """Quality classifiers: fastText models that the stage `quality` scores with."""


@app.command()
def train(
    good: Annotated[
        list[str], typer.Option("--good", metavar="PATH", help="Text as it should be: files, folders; repeatable.")
    ],
    bad: Annotated[
        list[str], typer.Option("--bad", metavar="PATH", help="Text to tell it from, a sample of a crawl; repeatable.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="The model, a .bin file.")] = "models/quality.bin",
    text: Annotated[str, typer.Option(metavar="COLUMN", help="Column of JSONL and Parquet that holds text.")] = "text",
    documents: Annotated[int, typer.Option(min=1, help="Most documents of each side, a sample.")] = 200_000,
    held_out: Annotated[float, typer.Option(min=0.01, max=0.5, help="Share of them to judge the model by.")] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 5,
    rate: Annotated[float, typer.Option(min=0.0001, help="Learning rate.")] = 0.1,
    dimensions: Annotated[int, typer.Option(min=1, help="Numbers of a word's vector.")] = 64,
    word_ngrams: Annotated[int, typer.Option(min=1, help="Longest n-grams of words.")] = 2,
    buckets: Annotated[int, typer.Option(min=1, help="Vectors that n-grams share.")] = 200_000,
    min_count: Annotated[int, typer.Option(min=1, help="Rarer words have no vector of their own.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the sample and the first vectors.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Train a fastText classifier on good and bad text; one thread, so the same input gives the same model.

    \b
    gristmill quality train --good out/curated --bad crawl.jsonl.zst --output models/quality.bin
    """
    import json

    from gristmill.pipeline.models.quality.evaluation import lines_of
    from gristmill.pipeline.models.quality.training import Options, train

    options = Options(documents, held_out, epochs, rate, dimensions, word_ngrams, buckets, min_count, seed, text)
    result = train(good, bad, output, options)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for line in lines_of(result):
        typer.echo(line)
