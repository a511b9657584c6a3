"""What all command lines of ours share: `-h` beside `--help`, `--version`, and help without escapes where none are
wanted. Imports nothing heavy.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.terminal import plain

SETTINGS = {"help_option_names": ["-h", "--help"]}
"""`context_settings` of an app; commands below it inherit them."""


def _say_version(asked: bool) -> None:
    if asked:
        import gristmill

        typer.echo(f"gristmill {gristmill.__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_say_version, help="The version, and nothing else.")
]


def unstyle_help() -> None:
    """Before a command is parsed: help without escape sequences where the environment asks for that."""
    if plain():
        import typer.rich_utils

        typer.rich_utils.COLOR_SYSTEM = None
