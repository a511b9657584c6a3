"""`gristmill train run | plan | evaluate | export | import | generate`, also `python -m trainer`.

Errors are one sentence on standard error: exit code 2 for a wrong command or configuration, 1 for a run that cannot
go on. `--debug` shows the traceback instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trainer.errors import ConfigError, TrainerError

app = typer.Typer(
    name="train",
    help="Train Nemotron-4 from token shards, plan a run, exchange models with Hugging Face.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Set = Annotated[list[str] | None, typer.Option("--set", help="Override a key: phases.0.tokens=1e6. Repeatable.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
Source = Annotated[Path, typer.Argument(help="A folder of checkpoints, or one step-N folder in it.")]


MEMORY = ("tensor", "data", "parameters", "states", "with bf16 gradients", "activations of one sequence")
SCHEDULE = ("phase", "tokens", "step", "sequences", "tokens/step", "learning rate")


@app.command()
def run(
    config: Annotated[str, typer.Argument(help="A YAML file, or a shipped configuration: debug, nemotron4_15b, ...")],
    set_: Set = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Start anew, or go on from the checkpoint.")] = False,
    stop_after_steps: Annotated[int | None, typer.Option(help="Save and stop after this many steps.", min=1)] = None,
    replay: Annotated[int | None, typer.Option(help="Print the samples of this step, train nothing.", min=1)] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train; resumes from the last good checkpoint by itself.

    \b
    gristmill train run debug --set phases.0.tokens=1e6
    """
    with _sentences(debug):
        from trainer.config import read_config

        settings = read_config(config, set_ or ())
        if replay is not None:
            from trainer.replay import replay as replayed

            lines = list(replayed(settings, replay))
            if as_json:
                _print_json({"step": replay, "samples": lines})
            for line in () if as_json else lines:
                typer.echo(line)
            return
        _mention_other_kernels()
        from trainer.loop import train

        result = train(settings, fresh, stop_after_steps)
        if as_json:
            _print_json({**result, "metrics": f"{settings.logging.directory}/metrics.jsonl"})
            return
        if result["finished"]:
            typer.echo(f"finished: step {result['step']:,}, {result['tokens']:,} tokens, metrics in ", nl=False)
        else:
            typer.echo(f"stopped: step {result['step']:,}, {result['tokens']:,} tokens, run again to go on; ", nl=False)
        typer.echo(f"{settings.logging.directory}/metrics.jsonl")


@app.command()
def plan(
    what: Annotated[str, typer.Argument(help="A preset (nemotron4_15b, minitron_8b, ...) or a configuration.")],
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Parameters, FLOPs, memory per rank, learning rate and batch over tokens.

    \b
    gristmill train plan nemotron4_15b
    """
    with _sentences(debug):
        from rich.console import Console
        from rich.table import Table

        from trainer.config import Config, read_config
        from trainer.plan import LAYOUTS, memory_rows, model_rows, schedule_rows
        from trainer.shape import PRESETS

        shipped = (Path(__file__).parent / "configs" / f"{what}.yaml").is_file()
        config: Config | None = None
        if what not in PRESETS or shipped or Path(what).is_file():
            config = read_config(what, set_ or ())
        elif set_:
            raise ConfigError(f"plan {what}: --set needs a configuration file, this is a preset: give the file's path")
        shape = config.model.shape() if config else PRESETS[what]
        fp32 = config is not None and config.dtype == "float32"
        console = Console(width=110, highlight=False)
        if as_json:
            memory = [dict(zip(MEMORY, row, strict=True)) for row in memory_rows(shape, LAYOUTS, fp32)]
            schedule = [dict(zip(SCHEDULE, row, strict=True)) for row in schedule_rows(config)] if config else []
            _print_json({"model": dict(model_rows(shape)), "memory_gib_per_rank": memory, "schedule": schedule})
            return
        for label, value in model_rows(shape):
            console.print(f"{label:40} {value}")
        layouts: tuple[tuple[int, int], ...] = LAYOUTS
        if config and (config.parallel.tensor, config.parallel.data) not in LAYOUTS:
            layouts = ((config.parallel.tensor, config.parallel.data), *LAYOUTS)
        _print(
            console,
            Table,
            "Memory per rank, GiB (states: optimizer sharded over data-parallel ranks)",
            MEMORY,
            memory_rows(shape, layouts, fp32),
        )
        if config:
            _print(console, Table, "Batch and learning rate over tokens", SCHEDULE, schedule_rows(config))


@app.command()
def evaluate(
    source: Source,
    shards: Annotated[Path, typer.Argument(help="A folder of shards, such as shards/pretrain/holdout.")],
    max_tokens: Annotated[int, typer.Option(help="Tokens to score at most.")] = 2_000_000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Loss in nats per token and bits per byte on shards, per domain.

    \b
    gristmill train evaluate out/train/checkpoints out/shards/pretrain/holdout
    """
    with _sentences(debug):
        from trainer.evaluate import evaluate as score
        from trainer.generate import load_model

        model = load_model(source)
        figures = score(model, shards, model.shape.context, 8, max_tokens, "cpu")
        if as_json:
            _print_json(figures)
            return
        for name, row in [("all", figures), *figures["domains"].items()]:
            if row["tokens"]:
                typer.echo(
                    f"{name:14} loss {row['loss']:.4f}  bits per byte {row['bits_per_byte'] or float('nan'):.4f}  "
                    f"tokens {row['tokens']:,}"
                )


@app.command()
def export(
    source: Source,
    output: Annotated[Path, typer.Argument(help="Folder to write: config.json and safetensors.")],
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "bfloat16",
    tokenizer: Annotated[Path | None, typer.Option(help="Folder whose tokenizer files are copied along.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a checkpoint as a Hugging Face NemotronForCausalLM directory.

    \b
    gristmill train export out/train/checkpoints model --tokenizer out/tokenizer
    """
    with _sentences(debug):
        if dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"--dtype {dtype}: give float32 or bfloat16")
        import torch

        from trainer.export import export_hf

        paths = [str(path) for path in export_hf(source, output, getattr(torch, dtype), tokenizer)]
        if as_json:
            _print_json({"files": paths})
        for path in () if as_json else paths:
            typer.echo(path)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A NemotronForCausalLM directory with safetensors.")],
    directory: Annotated[Path, typer.Argument(help="checkpoint.directory of the run that will start from it.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a Hugging Face Nemotron a checkpoint at step 0, to train on from.

    \b
    gristmill train import model out/train/checkpoints
    """
    with _sentences(debug):
        from trainer.export import import_hf

        path = str(import_hf(folder, directory))
        if as_json:
            _print_json({"checkpoint": path})
        else:
            typer.echo(path)


@app.command()
def generate(
    source: Source,
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer.model it was trained with.")],
    tokens: Annotated[int, typer.Option(help="New tokens at most.", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token.", min=0.0)] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue a text with a trained checkpoint.

    \b
    gristmill train generate out/train/checkpoints "The mill" --tokenizer out/tokenizer/tokenizer.model
    """
    with _sentences(debug):
        from tokenizer.encode import Encoder
        from trainer.generate import generate as continued
        from trainer.generate import load_model

        encoder = Encoder(tokenizer)
        text = continued(load_model(source), encoder, prompt, tokens, temperature, seed)
        if as_json:
            _print_json({"prompt": prompt, "text": text})
        else:
            typer.echo(prompt + text)


def main() -> None:
    """Entry point of `python -m trainer`."""
    app(prog_name="python -m trainer")


def _print_json(content: dict) -> None:
    import json

    typer.echo(json.dumps(content, ensure_ascii=False, default=str))


@contextmanager
def _sentences(debug: bool) -> Iterator[None]:
    """Turns errors into one sentence and an exit code."""
    try:
        yield
    except (TrainerError, ValueError, OSError) as error:
        if debug:
            raise
        text = str(error) or type(error).__name__
        typer.echo(text if isinstance(error, TrainerError) else f"{text} (--debug shows where)", err=True)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None


def _mention_other_kernels() -> None:
    """Hugging Face publishes a distribution `kernels`; from a checkout, ours is the one that `import kernels` finds."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        version = distribution("kernels").version
    except PackageNotFoundError:
        return
    typer.echo(
        f"Hugging Face's package kernels {version} is installed too, here `kernels` is Gristmill's: "
        "if an import fails, run from the checkout or `pip uninstall kernels`",
        err=True,
    )


def _print(console, table_type, title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = table_type(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
