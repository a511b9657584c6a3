"""`gristmill`: the commands of `pipeline.commands`; those of other parts by entry points.

A package adds a command by an entry point of the group `gristmill.commands` that names a typer app; so the tokenizer's
and the trainer's commands stand here without being imported here. Nothing heavy is imported until a command
runs, so `--help` answers at once.

Exit codes: 0 done; 1 failed or incomplete; 2 command or configuration wrong. An error is one sentence on standard
error, with a traceback only after `--debug`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TextIO

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from gristmill.command_line import SETTINGS, Version, unstyle_help
from gristmill.pipeline.commands.clean import clean
from gristmill.pipeline.commands.explain import explain
from gristmill.pipeline.commands.fetch import fetch
from gristmill.pipeline.commands.init import init
from gristmill.pipeline.commands.lm import app as lm
from gristmill.pipeline.commands.plan import plan
from gristmill.pipeline.commands.publish import publish
from gristmill.pipeline.commands.quality import app as quality
from gristmill.pipeline.commands.remove import remove
from gristmill.pipeline.commands.report import report
from gristmill.pipeline.commands.rules import rules
from gristmill.pipeline.commands.run import run
from gristmill.pipeline.commands.texts import HANDED
from gristmill.pipeline.commands.try_ import try_
from gristmill.pipeline.commands.verify import verify
from gristmill.pipeline.commands.whatif import whatif

if TYPE_CHECKING:
    from typer._click.core import Command, Context  # the click that typer brings along has no public name

DONE, FAILED, WRONG = 0, 1, 2
GROUP = "gristmill.commands"
REMEDIES = {
    errno.ENOSPC: "make room there and run again, what is done is kept",
    errno.EDQUOT: "make room there and run again, what is done is kept",
    errno.EROFS: "make it writable, or choose another --output",
    errno.EACCES: "give yourself the right to, or choose another --output",
}


class Commands(TyperGroup):
    """Our own commands, and those of installed packages, loaded when they are asked for."""

    def list_commands(self, ctx: Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(entry.name for entry in entry_points(group=GROUP))]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group=GROUP, name=cmd_name):
            try:
                command = get_command(entry.load())
            except ImportError as error:
                return _unavailable(cmd_name, error)
            command.name = cmd_name
            return command
        return None


app = typer.Typer(
    cls=Commands,
    help="Raw documents in; curated, blended token shards and a trained model out.",
    epilog="After an error, the same command with --debug shows where it came from.",
    context_settings=SETTINGS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _whole(version: Version = False) -> None: ...


for command in (init, fetch, run, plan, report, explain, whatif, try_, verify, publish, rules, remove, clean):
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(lm)
app.add_typer(quality)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_answer(given, debug="--debug" in given))


def _takes_debug(arguments: list[str]) -> bool:
    """Whether the command has a --debug of its own, as those of other parts may."""
    command: Command = get_command(app)
    for argument in arguments:
        below = command.get_command(typer.Context(command), argument) if isinstance(command, TyperGroup) else None
        if below is None:
            break
        command = below
    return any("--debug" in parameter.opts for parameter in command.params)


def _answer(arguments: list[str], debug: bool) -> int:
    """The exit code; prints whatever went wrong as a sentence."""
    import warnings

    warnings.showwarning = _show_warning
    unstyle_help()
    try:
        if debug:
            plain = [argument for argument in arguments if argument != "--debug"]
            arguments = arguments if _takes_debug(plain) else plain
        code = get_command(app).main(arguments, prog_name="gristmill", standalone_mode=False, obj=HANDED)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on from here", FAILED)
    except BrokenPipeError:  # `gristmill rules | head`
        sys.stderr.close()
        return DONE
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _say(_sentence(error), _exit_code(error))
    return code if isinstance(code, int) else DONE


def _exit_code(error: Exception) -> int:
    """An exception may say so itself; a ValueError is about what the user gave, all else about what happened."""
    code = getattr(error, "exit_code", None)
    return code if isinstance(code, int) else WRONG if isinstance(error, ValueError) else FAILED


def _sentence(error: Exception) -> str:
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        if not error.format_message():  # no arguments: the help was the answer
            return ""
        hint = f"; {context.command_path} --help lists what there is" if context is not None else ""
        return error.format_message().rstrip(".") + hint
    if isinstance(error, OSError) and error.strerror:
        said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return f"{said}; {REMEDIES[error.errno]}" if error.errno in REMEDIES else said
    text = str(error).strip()
    if text and (isinstance(error, ValueError | OSError | RuntimeError) or hasattr(error, "exit_code")):
        return text
    return f"{type(error).__name__}: {text or 'no more is known'}; --debug shows where"


def _say(sentence: str, code: int) -> int:
    from gristmill.storage.uris import redacted

    typer.echo("\n".join(f"gristmill: {redacted(line)}" for line in sentence.splitlines()), err=True)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):  # those for users; a library's deprecations are not
        typer.echo(f"gristmill: {message}", err=True)


def _unavailable(name: str, error: ImportError) -> TyperCommand:
    """Stands in for a command whose package cannot be imported: the others, and --help, still work."""

    def fail() -> None:
        raise RuntimeError(f"{name}: cannot be loaded ({error}); install the package that it needs")

    return TyperCommand(name=name, callback=fail, help=f"Not available: {error}.", add_help_option=False)


if __name__ == "__main__":
    main()
