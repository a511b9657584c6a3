"""What the commands share: how they name the output of a run.

`--output`, `-o` means the same in every command: the folder or URI that a run wrote or will write. Commands that look
at an output take it as their last argument too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gristmill.pipeline.steps.record import InvocationRecord

DEFAULT = "out"

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DIR", help=f"The output of a run: a folder or URI; {DEFAULT} by default."),
]
OutputArgument = Annotated[str | None, typer.Argument(metavar="DIR", help="The same as --output.")]


def output_of(argument: str | None, option: str | None) -> str:
    """The output that a command was given, in either way. ValueError where it was given two, or none is there."""
    if argument is not None and option is not None and argument != option:
        raise ValueError(f"two outputs are named, {argument} and --output {option}; name one")
    named = option if option is not None else argument
    if named is None and not os.path.isdir(DEFAULT):
        raise ValueError(f"no output is named, and there is no folder {DEFAULT} here; name one with --output DIR")
    return DEFAULT if named is None else named


def with_output(assignments: Sequence[str] | None, output: str | None) -> list[str]:
    """What `--set` and `--output` say, as assignments."""
    import json

    return [*(assignments or []), *([f"output={json.dumps(output)}"] if output is not None else [])]


def invocation_of(config: str, assignments: Sequence[str] | None, output: str | None) -> InvocationRecord:
    """How this run was started, for its record."""
    place = config if "://" in config else os.path.abspath(config)
    return {"config": place, "directory": os.getcwd(), "set": [*(assignments or [])], "output": output}
