"""`gristmill`: curate, report, verify, clean, list the rules; commands of other parts by entry points.

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
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

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

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(entry.name for entry in entry_points(group=GROUP))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
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
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Output = Annotated[str, typer.Argument(metavar="DIR", help="The output of a run: a folder or its URI.")]


@app.command()
def run(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The configuration.")] = "pipeline.yaml",
    output: Annotated[str | None, typer.Option("--output", "-o", help="Folder or URI to write to.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; all cores by default.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without partitions that failed after retries.")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Set a key of the configuration; repeatable.")
    ] = None,
) -> None:
    """Curate: from a configuration to shards. Resumes by itself."""
    from pipeline.config import load

    loaded = load(config, [*(assignments or []), *([f"output={_quoted(output)}"] if output is not None else [])])
    from pipeline.progress import Terminal
    from pipeline.run import run as run_pipeline

    progress = Terminal()
    try:
        result = run_pipeline(loaded, workers=workers, inline=inline, allow_missing=allow_missing, progress=progress)
    finally:
        progress.close()
    for line in result.summary:
        typer.echo(line)
    if result.report:
        typer.echo(f"report: {result.report}")


@app.command()
def report(output: Output = "out") -> None:
    """Write the report of an output again, and say where it is and what came out."""
    import json

    from pipeline.report import write
    from pipeline.store import Store

    path = write(output)
    for line in json.loads(Store(output).read("run.json")).get("summary", []):
        typer.echo(line)
    typer.echo(f"report: {path}")


@app.command()
def verify(output: Output) -> None:
    """Check an output: manifests, checksums, accounting, shard headers."""
    from pipeline.verify import verify as problems_of

    problems = problems_of(output)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(FAILED)
    typer.echo(f"{output}: all is as it was written")


@app.command()
def rules(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """List the rules of all presets: limits, signals, where they apply, where they come from."""
    import json

    from stages.presets import PRESETS

    rows = [(preset, rule) for preset, table in PRESETS.items() for rule in table]
    if as_json:
        from dataclasses import asdict

        for preset, rule in rows:
            typer.echo(json.dumps({"preset": preset, **asdict(rule)}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    columns = Table("rule", "minimum", "maximum", "applies to", "source", box=None, pad_edge=False)
    for preset, rule in rows:
        name = rule.name if rule.name == f"{preset}.{rule.signal}" else f"{rule.name} ({rule.signal})"
        scope = ", ".join([*(rule.domains or ["all domains"]), *rule.languages])
        limits = ["" if limit is None else f"{limit:g}" for limit in (rule.minimum, rule.maximum)]
        columns.add_row(name, *limits, scope, rule.source)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(columns)


@app.command()
def clean(output: Output = "out") -> None:
    """Remove from an output the steps and files that the last run did not use."""
    from pipeline.clean import clean as remove
    from pipeline.progress import size_text

    files, freed = remove(output)
    typer.echo(f"{output}: {files:,} files removed, {size_text(freed)} freed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_answer(given, debug="--debug" in given))


def _takes_debug(arguments: list[str]) -> bool:
    """Whether the command has a --debug of its own, as those of other parts may."""
    command: Any = get_command(app)
    for argument in arguments:
        below = command.get_command(None, argument) if hasattr(command, "get_command") else None
        if below is None:
            break
        command = below
    return any("--debug" in parameter.opts for parameter in command.params)


def _answer(arguments: list[str], debug: bool) -> int:
    """The exit code; prints whatever went wrong as a sentence."""
    import warnings

    warnings.showwarning = _show_warning
    try:
        _require_own_kernels()
        if debug:
            plain = [argument for argument in arguments if argument != "--debug"]
            arguments = arguments if _takes_debug(plain) else plain
        code = get_command(app).main(arguments, prog_name="gristmill", standalone_mode=False)
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
    typer.echo("\n".join(f"gristmill: {line}" for line in sentence.splitlines()), err=True)
    return code


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    if issubclass(category, UserWarning):  # those for users; a library's deprecations are not
        typer.echo(f"gristmill: {message}", err=True)


def _unavailable(name: str, error: ImportError) -> TyperCommand:
    """Stands in for a command whose package cannot be imported: the others, and --help, still work."""

    def fail() -> None:
        raise RuntimeError(f"{name}: cannot be loaded ({error}); install the package that it needs")

    return TyperCommand(name=name, callback=fail, help=f"Not available: {error}.", add_help_option=False)


def _quoted(value: str) -> str:
    """As a YAML scalar in double quotes, so that any path is text."""
    import json

    return json.dumps(value)


def _require_own_kernels() -> None:
    """Hugging Face publishes a package `kernels` too; where both are installed Python may find the wrong one."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("kernels")
    own = Path(__file__).parent.parent / "kernels"
    places = spec.submodule_search_locations if spec else None
    found = Path(next(iter(places))) if places else None
    if found is None or not found.exists() or not own.exists() or not found.samefile(own):
        raise RuntimeError(
            f"Python finds a package `kernels` at {found}, not gristmill's own at {own}; uninstall the other one "
            "(pip uninstall kernels), or give gristmill an environment of its own"
        )


if __name__ == "__main__":
    main()
