"""`gristmill train evaluate | export | import | generate`: what is done with a model, trained or imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.trainer.commands.options import Debug, Json, Source, print_json, sentences
from gristmill.trainer.errors import ConfigError

app = typer.Typer()

Model = Annotated[
    Path, typer.Argument(help="A folder of checkpoints, one step-N folder in it, or an exported Hugging Face folder.")
]
Tokenizer = Annotated[
    Path | None, typer.Option(help="The tokenizer.model it was trained with; default: the one in an exported folder.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda: one GPU.")]
Dtype = Annotated[str, typer.Option(help="auto, float32 or bfloat16; auto: bfloat16 on a GPU, else float32.")]


@app.command()
def evaluate(
    source: Model,
    shards: Annotated[Path | None, typer.Argument(help="A folder of shards, such as shards/pretrain/holdout.")] = None,
    tasks: Annotated[
        list[Path] | None, typer.Option("--tasks", help="A file of benchmark records, JSON lines or .zst. Repeatable.")
    ] = None,
    benchmark: Annotated[list[str] | None, typer.Option(help="Only this one of the files. Repeatable.")] = None,
    shots: Annotated[int, typer.Option(help="Examples before each question.", min=0)] = 0,
    limit: Annotated[int | None, typer.Option(help="Questions per benchmark and language at most.", min=1)] = None,
    answer_tokens: Annotated[int, typer.Option(help="Tokens of a written answer at most.", min=1)] = 256,
    tokenizer: Tokenizer = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of shards to score at most.", min=2)] = 2_000_000,
    documents: Annotated[str, typer.Option(help="joined or separate attention, as it was trained.")] = "joined",
    batch_tokens: Annotated[int, typer.Option(help="Tokens at a time: bounds the memory.", min=1)] = 16_384,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Loss and bits per byte on shards, per domain and language, or accuracy on files of benchmark questions.

    \b
    gristmill train evaluate out/train/checkpoints out/shards/pretrain/holdout
    gristmill train evaluate out/train/checkpoints --tasks arc.jsonl --tokenizer out/tokenizer/tokenizer.model
    """
    with sentences(debug):
        if (shards is None) == (not tasks):
            raise ConfigError("evaluate: give either a folder of shards or --tasks FILE")
        if documents not in ("joined", "separate"):
            raise ConfigError(f"--documents {documents}: give joined or separate")
        from gristmill.trainer.scoring.generate import choose, load_model

        where = choose(device, dtype)
        if shards is not None:
            from gristmill.trainer.scoring import evaluate as losses

            model = load_model(source, *where)
            context = model.shape.context
            batch = max(1, batch_tokens // context)
            figures = losses.evaluate(model, shards, context, batch, max_tokens, where[0], documents)  # type: ignore[arg-type]
            if as_json:
                print_json(figures)
            else:
                _print_losses(losses.rows(figures))
            return
        from gristmill.trainer.scoring.generate import find_tokenizer
        from gristmill.trainer.scoring.harness import Scorer
        from gristmill.trainer.scoring.tasks import read_items, score_items

        items, refused = read_items(tasks or ())
        for name in benchmark or ():
            if name not in items:
                why = refused.get(name, f"the files have {', '.join(sorted(items)) or 'none'}")
                raise ConfigError(f"--benchmark {name}: {why}")
        scorer = Scorer(load_model(source, *where), find_tokenizer(source, tokenizer), batch_tokens)
        scores = {}
        for name in benchmark or items:
            scores[name] = score_items(scorer, items[name], shots, limit, answer_tokens)
            if not as_json:
                _print_scores(name, scores[name])
        if as_json:
            print_json({"shots": shots, "benchmarks": scores, "refused": refused})
        for name, why in refused.items() if not as_json and not benchmark else ():
            typer.echo(f"{name}: left out: {why}", err=True)


@app.command()
def export(
    source: Source,
    argument: Annotated[Path | None, typer.Argument(metavar="DIR", help="The same as --output.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write: config.json and safetensors.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "bfloat16",
    tokenizer: Annotated[
        Path | None, typer.Option(help="The tokenizer it was trained with, to go along: a folder or a tokenizer.model.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a checkpoint as a Hugging Face NemotronForCausalLM directory.

    \b
    gristmill train export out/train/checkpoints --output model --tokenizer out/tokenizer
    """
    with sentences(debug):
        if dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"--dtype {dtype}: give float32 or bfloat16")
        import torch

        from gristmill.trainer.checkpoints.export import export_hf

        folder = one_of(argument, output)
        paths = [str(path) for path in export_hf(source, folder, getattr(torch, dtype), tokenizer)]
        if as_json:
            print_json({"files": paths})
        for path in () if as_json else paths:
            typer.echo(path)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A NemotronForCausalLM directory with safetensors.")],
    argument: Annotated[Path | None, typer.Argument(metavar="DIR", help="The same as --output.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="checkpoint.directory of the run that will start from it."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a Hugging Face Nemotron a checkpoint at step 0, to train on from.

    \b
    gristmill train import model --output out/train/checkpoints
    """
    with sentences(debug):
        from gristmill.trainer.checkpoints.export import import_hf

        path = str(import_hf(folder, one_of(argument, output)))
        if as_json:
            print_json({"checkpoint": path})
        else:
            typer.echo(path)


@app.command()
def generate(
    source: Model,
    prompts: Annotated[list[str], typer.Argument(help="Texts to continue, all in one batch.")],
    tokenizer: Tokenizer = None,
    tokens: Annotated[int, typer.Option(help="New tokens at most.", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token.", min=0.0)] = 0.8,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text. Repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue texts with a trained checkpoint or an exported model, on one GPU or a CPU.

    \b
    gristmill train generate out/train/checkpoints "The mill" --tokenizer out/tokenizer/tokenizer.model
    """
    with sentences(debug):
        from gristmill.trainer.scoring.generate import choose, find_tokenizer, load_model
        from gristmill.trainer.scoring.generate import generate as continued

        encoder = find_tokenizer(source, tokenizer)
        model = load_model(source, *choose(device, dtype))
        ids = [encoder.encode(prompt).tolist() for prompt in prompts]
        results = continued(model, encoder, ids, tokens, temperature, seed, stop or ())
        if as_json:
            texts = [{"prompt": p, **vars(result)} for p, result in zip(prompts, results, strict=True)]
            print_json({"continuations": texts})
            return
        for number, (prompt, result) in enumerate(zip(prompts, results, strict=True)):
            typer.echo(("\n" if number else "") + prompt + result.text)
            if result.stopped == "context":
                typer.echo(f"stopped at the end of the model's context of {model.shape.context:,} tokens", err=True)


def one_of(argument: Path | None, option: Path | None) -> Path:
    """The folder that a command was given, as an argument or by --output."""
    if argument is not None and option is not None and argument != option:
        raise ConfigError(f"two folders are named, {argument} and --output {option}: name one")
    folder = option if option is not None else argument
    if folder is None:
        raise ConfigError("no folder to write is named: give --output DIR")
    return folder


def _print_losses(rows: list[tuple[str, str, dict]]) -> None:
    typer.echo(f"{'domain':20} {'language':14} {'loss':>8} {'bits per byte':>14} {'tokens':>13} {'bytes':>13}")
    for domain, language, row in rows:
        if row["tokens"]:
            bits = "-" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.4f}"
            typer.echo(
                f"{domain:20} {language:14} {row['loss']:8.4f} {bits:>14} {row['tokens']:13,} {row['bytes']:13,}"
            )


def _print_scores(name: str, scores: dict) -> None:
    languages = scores["languages"] if len(scores["languages"]) > 1 else {}
    for label, row in [(name, scores), *((f"  {language}", row) for language, row in languages.items())]:
        figures = [figure for figure in row if f"{figure}_stderr" in row]
        shown = (f"{f} {row[f]:.4f}" + (f" ± {row[f'{f}_stderr']:.4f}" if row[f"{f}_stderr"] else "") for f in figures)
        typer.echo(f"{label:22} {'   '.join(shown)}   n {row['n']:,}")
