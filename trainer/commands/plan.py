"""`gristmill train plan`: prints `trainer.planning.plan`. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristmill.trainer.commands.options import Debug, Json, Set, print_json, sentences
from gristmill.trainer.errors import ConfigError

if TYPE_CHECKING:
    from gristmill.trainer.config.keys import Config
    from gristmill.trainer.planning.layouts import Answer, Question
    from gristmill.trainer.planning.rates import Measured

app = typer.Typer()


@app.command()
def plan(
    what: Annotated[str, typer.Argument(help="A preset (nemotron4_15b, minitron_8b, ...) or a configuration.")],
    gpu: Annotated[
        str, typer.Option(help="Kind of GPU: h100-80gb, h200-141gb, a100-80gb or b200-180gb.")
    ] = "h100-80gb",
    gpus: Annotated[int | None, typer.Option(help="How many; default: a node, and those of the run.", min=1)] = None,
    micro_batch: Annotated[int | None, typer.Option(help="Sequences per forward and backward.", min=1)] = None,
    set_: Set = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Parameters, FLOPs, layouts with memory and time, learning rate and batch over tokens.

    \b
    gristmill train plan nemotron4_15b --gpu h100-80gb
    gristmill train plan minitron_8b --gpu a100-80gb --gpus 64 --micro-batch 2
    """
    with sentences(debug):
        from gristmill.trainer.model.shape import PRESETS
        from gristmill.trainer.planning.layouts import HEADINGS, answers, cells, numbers
        from gristmill.trainer.planning.plan import PUBLISHED, model_rows, published_rows, question
        from gristmill.trainer.planning.rates import CONVENTION, GPUS, measured
        from gristmill.trainer.planning.schedule_table import HEADINGS as SCHEDULE
        from gristmill.trainer.planning.schedule_table import schedule_rows

        config = _config(what, set_)
        shape = config.model.shape() if config else PRESETS[what]
        if gpu not in GPUS:
            raise ConfigError(f"--gpu {gpu}: give one of {', '.join(GPUS)}")
        asked, own = question(shape, config, GPUS[gpu], gpus, micro_batch)
        found, rate = list(answers(asked, own)), measured(asked.gpu)
        if not found:
            raise ConfigError(
                f"--gpus {gpus}: no layout of so many divides the model and its {asked.sequences:,} sequences a step: "
                "give 8 or a multiple of it that divides them, above 100 B parameters a multiple of 64, 96 or 128"
            )
        published = published_rows(shape)
        if as_json:
            content = {
                "model": dict(model_rows(shape)),
                "gpu": {"name": gpu, "memory_bytes": asked.gpu.memory, "peak_bf16_flops": asked.gpu.peak},
                "mfu_convention": CONVENTION,
                "measured": vars(rate) if rate else "not measured",
                "layouts": [numbers(answer) for answer in found],
                "published": [dict(zip(PUBLISHED, row, strict=True)) for row in published],
                "schedule": [dict(zip(SCHEDULE, row, strict=True)) for row in schedule_rows(config)] if config else [],
            }
            print_json(content)
            return
        for label, value in model_rows(shape):
            typer.echo(f"{label:40} {value}")
        _table(f"Layouts on {gpu}, GiB per GPU", HEADINGS, [cells(answer) for answer in found])
        for line in _notes(asked, found, rate, gpu):
            typer.echo(line)
        if published:
            title = "The paper's run on h100-80gb: s/step as published (arXiv 2402.16819, Table 2), the rest from it"
            _table(title, PUBLISHED, published)
            typer.echo(f"tokens/s per GPU; MFU: {CONVENTION}")
        if config:
            _table("Batch and learning rate over tokens", SCHEDULE, schedule_rows(config))


def _config(what: str, set_: list[str] | None) -> Config | None:
    """The configuration of that name or path, or None for a preset."""
    from gristmill.trainer.config.keys import read_config
    from gristmill.trainer.model.shape import PRESETS

    shipped = (Path(__file__).parents[1] / "configs" / f"{what}.yaml").is_file()
    if what not in PRESETS or shipped or Path(what).is_file():
        return read_config(what, set_ or ())
    if set_:
        raise ConfigError(f"plan {what}: --set needs a configuration file, this is a preset: give the file's path")
    return None


def _notes(asked: Question, found: list[Answer], rate: Measured | None, gpu: str) -> list[str]:
    from gristmill.trainer.planning.estimate import GIB
    from gristmill.trainer.planning.rates import CONVENTION

    least, most = (f(answer.reserve for answer in found) / GIB for f in (min, max))
    lines = [
        "batch: sequences of a micro-batch, largest: the most that fit; work: logits and buffers at the peak; fits: in "
        f"{asked.gpu.memory / GIB:.1f} GiB less a reserve of {least:.1f} to {most:.1f} GiB for CUDA's context, NCCL "
        "and what the allocator loses.",
    ]
    if rate is None:
        lines.append(f"tokens/s: not measured on {gpu}: python benchmarks/gpu_stack.py on one of them measures it.")
    else:
        lines.append(
            f"tokens/s per GPU: at most, from the kernels of one {rate.device} ({rate.source}, {rate.date}), without "
            f"collectives; days and GPU-hours for {asked.tokens / 1e12:g} T tokens; MFU: {CONVENTION}."
        )
    return lines


def _table(title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    typer.echo(f"\n{title}")
    for row in [headings, *rows]:
        typer.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
