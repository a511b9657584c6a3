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
    from gristmill.tokenizer.texts import Corpus, Reader

app = typer.Typer(
    help="Train a tokenizer on any text, encode text with it, measure how it fits.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
)


@app.callback()
def _whole(version: Version = False) -> None: ...


TABLE_ROWS = 40

Model = Annotated[Path, typer.Option(help="A trained tokenizer.model.")]
Data = Annotated[list[str], typer.Argument(help="Files, folders, patterns or URIs; or the folder `curated` of a run.")]
Columns = Annotated[str, typer.Option(metavar="A=B,...", help="Names of their columns, as in text=content.")]
Format = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of the files, as `format:` of a source; by their names if not given."),
]
LanguageModel = Annotated[
    str | None, typer.Option(metavar="PATH", help="fastText's lid.176, to find the language of what does not say it.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


@app.command()
def train(
    context: typer.Context,
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write the tokenizer into.", show_default=False)
    ],
    columns: Columns = "",
    format: Format = None,
    language_model: LanguageModel = None,
    vocab_size: Annotated[int, typer.Option(help="Pieces, those given included.")] = 256_000,
    sample_bytes: Annotated[int, typer.Option(help="Text to train on, in bytes.")] = 500_000_000,
    alpha: Annotated[float, typer.Option(help="Languages in proportion to bytes^alpha; 1: as in the corpus.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Chooses the documents of the sample.")] = 1,
    shrink: Annotated[bool, typer.Option(help="Take fewer pieces where the text has no more.")] = True,
    as_json: Json = False,
) -> None:
    """Sample a corpus, train SentencePiece BPE, export and measure it.

    DATA is what a source of a run may be: a file, folder or pattern, here, in a bucket or on the Hugging Face Hub; or
    the folder `curated` of a run. Memory and time are said before it starts.

    \b
    gristmill tokenizer train out/curated --output tokenizer
    gristmill tokenizer train "data/*.jsonl.zst" --columns text=content --output tokenizer
    """
    import time

    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    from gristmill.tokenizer.build import Recipe, build, count

    corpus = _corpus(context, data, columns, format, language_model)
    _say_cost(corpus, sample_bytes, as_json)
    spinner = (SpinnerColumn(), "{task.description}", TimeElapsedColumn())
    foot = console(stderr=True)
    with Progress(*spinner, transient=True, console=foot, disable=not takes_escapes(sys.stderr)) as progress:
        step = progress.add_task("counting the corpus", total=None)
        begun = time.monotonic()
        sizes = count(corpus.batches)
        reading_s = time.monotonic() - begun
        _say_counted(sum(sizes.values()), sample_bytes, reading_s, as_json)
        for note in corpus.notes():
            typer.echo(note, err=True)
        progress.update(step, description="training")
        recipe = Recipe(
            vocab_size=vocab_size,
            sample_bytes=sample_bytes,
            shares=corpus.shares,
            alpha=alpha,
            seed=seed,
            shrink=shrink,
        )
        content = build(corpus.batches, sizes, output, recipe)
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
    context: typer.Context,
    data: Data,
    model: Model = Path("tokenizer/tokenizer.model"),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the figures as JSON too.")] = None,
    columns: Columns = "",
    format: Format = None,
    language_model: LanguageModel = None,
    as_json: Json = False,
) -> None:
    """Measure a tokenizer on all documents of a corpus; DATA is as in `train`.

    \b
    gristmill tokenizer report out/curated --model out/tokenizer/tokenizer.model
    """
    from gristmill.tokenizer.encode import Encoder
    from gristmill.tokenizer.report import report as figures

    encoder = Encoder(model)
    content = figures(encoder, _corpus(context, data, columns, format, language_model).batches())
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False))
    else:
        _print_table(content)


def main() -> None:
    """`python -m tokenizer` is `gristmill tokenizer`, by the console script's entry point.

    Without an installed distribution the commands here run alone, and read a curated corpus only; an error is then a
    sentence on standard error and exit code 2.
    """
    from importlib.metadata import entry_points

    unstyle_help()
    for script in entry_points(group="console_scripts", name="gristmill"):
        script.load()(["tokenizer", *sys.argv[1:]])
    try:
        app(prog_name="python -m tokenizer")
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None


def _corpus(
    context: typer.Context, data: list[str], columns: str, format: str | None, language_model: str | None
) -> Corpus:
    """A run's curated corpus, or what the reader that the command line brings finds."""
    from gristmill.tokenizer.texts import curated

    plain = not (columns or format or language_model)
    found = curated(data[0]) if plain and len(data) == 1 else None
    if found is not None:
        return found
    handed = context.find_root().obj
    reader: Reader | None = handed.get("texts") if isinstance(handed, dict) else None
    if reader is None:
        raise ValueError(f"{data[0]}: no Parquet files of a curated corpus; `gristmill tokenizer` reads other data too")
    return reader(data, format=format, columns=columns, language_model=language_model)


def _say_cost(corpus: Corpus, sample_bytes: int, quiet: bool) -> None:
    from gristmill.tokenizer.train import cost

    size = min(sample_bytes, corpus.text_bytes)
    memory, room = _within_memory(size)
    here = "" if room is None else f" of the {room / 1e9:.1f} GB that are free here"
    files = "file" if corpus.files == 1 else "files"
    typer.echo(
        f"about {corpus.text_bytes:,} bytes of text in {corpus.files:,} {files}, of which at most {size:,} are trained "
        f"on: up to {memory / 1e9:.1f} GB of memory{here} and {cost(size)['cpu_s']:.0f} s, and the data is read three "
        "times",
        err=quiet,
    )


def _say_counted(whole: int, sample_bytes: int, reading_s: float, quiet: bool) -> None:
    from gristmill.tokenizer.train import cost

    size = min(sample_bytes, whole)
    memory, _ = _within_memory(size)
    left = 2 * reading_s + cost(size)["cpu_s"]
    typer.echo(
        f"training on {size:,} bytes of {whole:,}: up to {memory / 1e9:.1f} GB of memory, and {left:.0f} s from here",
        err=quiet,
    )


def _within_memory(size: int) -> tuple[int, int | None]:
    """(bytes that training on `size` bytes of text takes at most, bytes that are free); ValueError where it is more."""
    from gristmill.tokenizer.memory import available_bytes
    from gristmill.tokenizer.train import PROCESS_BYTES, process_bytes

    memory, room = process_bytes(size), available_bytes()
    if room is not None and memory > room:
        fitting = int((room - process_bytes(0)) / PROCESS_BYTES) // 1_000_000 * 1_000_000
        remedy = f"take a smaller sample: --sample-bytes {fitting}" if fitting > 0 else "free some memory first"
        raise ValueError(
            f"training on {size:,} bytes of text may take {memory / 1e9:.1f} GB of memory and {room / 1e9:.1f} GB are "
            f"free; {remedy}"
        )
    return memory, room


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
