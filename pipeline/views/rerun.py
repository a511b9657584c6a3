"""The command that makes an output again with changed settings, as it works from the current folder.

`run.json` records how the run was started. Where that configuration is still there, the command names it; elsewhere it
names `run.json` itself, which holds the whole configuration.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from gristmill.pipeline.config.recorded import RECORD
from gristmill.pipeline.steps.record import RunRecord
from gristmill.storage.uris import is_local, redacted


def command(output: str, record: RunRecord, assignments: Sequence[str]) -> str:
    """`gristmill run …` for the run in `output`. assignments: `a.b=c`, set after those of that run."""
    invocation = record.get("invocation")
    config = invocation["config"] if invocation else None
    there = config is not None and (os.path.isfile(config) or not is_local(config))
    if invocation is None or config is None or not there or not os.path.isdir(invocation["directory"]):
        return _words([f"{output.rstrip('/')}/{RECORD}", "--output", output], assignments)
    directory = invocation["directory"]
    here = os.path.samefile(directory, os.getcwd())
    words = [os.path.relpath(config, directory) if config.startswith(f"{directory}/") else config]
    written = invocation["output"] or record["configuration"]["output"]
    if not _same(os.path.join(directory, written) if is_local(written) else written, output):
        words += ["--output", output if here or not is_local(output) else os.path.abspath(output)]
    elif invocation["output"] is not None:
        words += ["--output", invocation["output"]]
    said = _words(words, [*invocation["set"], *assignments])
    return said if here else f"cd {shlex.quote(directory)} && {said}"


def _words(words: Sequence[str], assignments: Sequence[str]) -> str:
    sets = [word for each in assignments for word in ("--set", each)]
    return shlex.join(["gristmill", "run", *words, *sets])


def _same(one: str, other: str) -> bool:
    if is_local(one) and is_local(other):
        return os.path.realpath(one.removeprefix("file://")) == os.path.realpath(other.removeprefix("file://"))
    return redacted(one).rstrip("/") == redacted(other).rstrip("/")
