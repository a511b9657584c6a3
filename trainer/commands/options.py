"""What the trainer's commands share: their common options, JSON output, and errors as one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gristmill.extras import remedy
from gristmill.trainer.errors import ConfigError, TrainerError

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a key: phases.0.tokens=1e6. Repeatable.")]
Source = Annotated[Path, typer.Argument(help="A folder of checkpoints, or one step-N folder in it.")]


def print_json(content: dict) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, default=str))


@contextmanager
def sentences(debug: bool) -> Iterator[None]:
    """Turns errors into one sentence and an exit code; debug: lets them through."""
    try:
        yield
    except (TrainerError, ConfigError, ValueError, OSError) as error:
        if debug:
            raise
        text = str(error) or type(error).__name__
        typer.echo(text if isinstance(error, TrainerError | ConfigError) else f"{text} (--debug shows where)", err=True)
        raise typer.Exit(getattr(error, "exit_code", 1)) from None
    except ImportError as error:
        sentence = remedy(error)
        if debug or sentence is None:
            raise
        typer.echo(sentence, err=True)
        raise typer.Exit(2) from None
