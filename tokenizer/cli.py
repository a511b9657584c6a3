"""`gristmill tokenizer train | encode | report`, also `python -m tokenizer`. Errors are one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristmill.command_line import SETTINGS, Version, unstyle_help
from gristmill.terminal import console, takes_escapes
from gristmill.wording import plural

if TYPE_CHECKING:
    from gristmill.tokenizer.report import LanguageFigures, Report

app = typer.Typer(
    help="Train a tokenizer on a curated corpus, encode text with it, measure how it fits.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
)


@app.callback()
def _whole(version: Version = False) -> None: ...


TABLE_ROWS = 40

Model = Annotated[Path, typer.Option(help="A trained tokenizer.model.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command()
def train(
    curated: Annotated[str, typer.Argument(help="The folder `curated` of a run, or its URI.")],
    output: Annotated[Path, typer.Option(help="Folder to write the tokenizer into.", show_default=False)],
    vocab_size: Annotated[int, typer.Option(help="Pieces, those given included.")] = 256_000,
    sample_bytes: Annotated[int, typer.Option(help="Text to train on, in bytes.")] = 500_000_000,
    alpha: Annotated[float, typer.Option(help="Languages in proportion to bytes^alpha; 1: as in the corpus.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Chooses the documents of the sample.")] = 1,
    shrink: Annotated[bool, typer.Option(help="Take fewer pieces where the text has no more.")] = True,
    as_json: Json = False,
) -> None:
    """Sample the corpus, train SentencePiece BPE, export and measure it.

    \b
    gristmill tokenizer train out/curated --output tokenizer --vocab-size 256000
    """
    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    from gristmill.tokenizer.build import Recipe, build, count, curated_batches
    from gristmill.tokenizer.train import cost

    recipe = Recipe(vocab_size=vocab_size, sample_bytes=sample_bytes, alpha=alpha, seed=seed, shrink=shrink)
    batches = curated_batches(curated)
    spinner = (SpinnerColumn(), "{task.description}", TimeElapsedColumn())
    foot = console(stderr=True)
    with Progress(*spinner, transient=True, console=foot, disable=not takes_escapes(sys.stderr)) as progress:
        step = progress.add_task("counting the corpus", total=None)
        corpus = count(batches)
        size = min(sample_bytes, sum(corpus.values()))
        expected = cost(size)
        typer.echo(
            f"training on {size:,} bytes of {sum(corpus.values()):,}: at most about "
            f"{expected['memory_bytes'] / 1e9:.1f} GB of memory and {expected['cpu_s']:.0f} s",
            err=as_json,
        )
        progress.update(step, description="training")
        content = build(batches, corpus, output, recipe)
    trained = content["training"]
    if as_json:
        path = str(output / "tokenizer.model")
        typer.echo(json.dumps({"tokenizer": path, **content}, ensure_ascii=False))
        return
    if trained["vocab_size"] < vocab_size:
        typer.echo(f"the text has no more than {trained['vocab_size']:,} pieces; {vocab_size:,} were asked for")
    _print_table(content)
    typer.echo(
        f"{output / 'tokenizer.model'}: {trained['vocab_size']:,} pieces, sha256 {trained['model_sha256'][:16]}…"
    )


@app.command()
def encode(
    file: Annotated[Path, typer.Argument(help="A UTF-8 text file, or - for standard input.")],
    model: Model = Path("tokenizer/tokenizer.model"),
    pieces: Annotated[bool, typer.Option("--pieces", help="Print pieces instead of ids.")] = False,
    as_json: Json = False,
) -> None:
    """Print a text's token ids, one text one line.

    \b
    echo "Grain in, flour out." | gristmill tokenizer encode - --model out/tokenizer/tokenizer.model
    """
    from gristmill.tokenizer.encode import Encoder

    encoder = Encoder(model)
    if str(file) != "-" and not file.is_file():
        raise ValueError(f"{file}: no such file; give a UTF-8 text file, or - for standard input")
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        ids = encoder.encode(data.decode()).tolist()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 at byte {error.start}; convert it first") from error
    if as_json:
        typer.echo(json.dumps({"ids": ids, "pieces": [encoder.piece(i) for i in ids]}, ensure_ascii=False))
        return
    typer.echo(" ".join(map(repr, map(encoder.piece, ids)) if pieces else map(str, ids)))


@app.command()
def report(
    curated: Annotated[str, typer.Argument(help="The folder `curated` of a run, or its URI.")],
    model: Model = Path("tokenizer/tokenizer.model"),
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON too.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a tokenizer on all documents of a curated corpus.

    \b
    gristmill tokenizer report out/curated --model out/tokenizer/tokenizer.model
    """
    from gristmill.tokenizer.build import curated_batches
    from gristmill.tokenizer.encode import Encoder
    from gristmill.tokenizer.report import report as figures

    encoder = Encoder(model)
    content = figures(encoder, curated_batches(curated)())
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False))
    else:
        _print_table(content)


def main() -> None:
    """Runs a command; an error is a sentence on standard error and exit code 2."""
    unstyle_help()
    try:
        app(prog_name="python -m tokenizer")
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None


def _print_table(content: Report) -> None:
    from rich.table import Table

    table = Table("domain", "language", "MB", "bytes/token", "tokens/word", "coverage")
    rows: list[LanguageFigures] = [{"domain": "all", "language": "", **content["all"]}, *content["languages"]]
    for row in rows[: TABLE_ROWS + 1]:
        ratios = ((row["bytes_per_token"], "{:.2f}"), (row["fertility"], "{:.2f}"), (row["coverage"], "{:.3%}"))
        shown = ["" if value is None else form.format(value) for value, form in ratios]
        table.add_row(row["domain"], row["language"], f"{row['bytes'] / 1e6:.2f}", *shown)
    console().print(table)
    if len(rows) > TABLE_ROWS + 1:
        typer.echo(f"and {plural(len(rows) - TABLE_ROWS - 1, 'smaller language')}, in the JSON report")
    failures = content["all"]["round_trip_failures"]
    typer.echo(f"round trip: {'exact' if not failures else plural(failures, 'document') + ' came back changed'}")
