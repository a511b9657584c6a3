"""`gristmill train run | plan | evaluate | export | import | generate`, also `python -m trainer`.

Errors are one sentence on standard error: exit code 2 for a wrong command or configuration, 1 for a run that cannot
go on. `--debug` shows the traceback instead.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gristmill.command_line import SETTINGS, Version, unstyle_help
from gristmill.trainer.commands import launch as cli_launch
from gristmill.trainer.commands import models as cli_models
from gristmill.trainer.commands import plan as cli_plan
from gristmill.trainer.commands.options import Debug, Json, Set, print_json, sentences
from gristmill.trainer.errors import ConfigError, TrainerError

app = typer.Typer(
    name="train",
    help="Train Nemotron-4 from token shards, plan a run, exchange models with Hugging Face.",
    no_args_is_help=True,
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
)


@app.callback()
def _whole(version: Version = False) -> None: ...


app.add_typer(cli_launch.app)
app.add_typer(cli_plan.app)
app.add_typer(cli_models.app)  # evaluate, export, import, generate


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
    """Train; resumes from the last good checkpoint by itself. On many GPUs, start it on each with torchrun.

    \b
    gristmill train run debug --set phases.0.tokens=1e6
    torchrun --nproc-per-node 8 -m trainer run nemotron4_15b
    """
    with sentences(debug):
        from gristmill.trainer.config.keys import read_config

        settings = read_config(config, set_ or ())
        if replay is not None:
            from gristmill.trainer.replay import replay as replayed

            lines = list(replayed(settings, replay))
            if as_json:
                print_json({"step": replay, "samples": lines})
            for line in () if as_json else lines:
                typer.echo(line)
            return
        rank = int(os.environ.get("RANK", "0"))  # torchrun's
        from gristmill.trainer.loop import train

        try:
            result = train(settings, fresh, stop_after_steps)
        except (TrainerError, ConfigError) as error:
            raise type(error)(f"rank {rank}: {error}") if rank else error from None
        _leave_groups()
        if rank != 0:
            return
        if as_json:
            print_json({**result, "metrics": f"{settings.logging.directory}/metrics.jsonl"})
            return
        if result["finished"]:
            typer.echo(f"finished: step {result['step']:,}, {result['tokens']:,} tokens, metrics in ", nl=False)
        else:
            typer.echo(f"stopped: step {result['step']:,}, {result['tokens']:,} tokens, run again to go on; ", nl=False)
        typer.echo(f"{settings.logging.directory}/metrics.jsonl")


def main() -> None:
    """Entry point of `python -m trainer`."""
    unstyle_help()
    app(prog_name="python -m trainer")


def _leave_groups() -> None:
    """Ends torch.distributed, which otherwise remarks that nobody did."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
