"""Kills runs with SIGKILL at chosen points, and says what each attempt did; for the kill tests and benchmarks/chaos.

A *nursery* is a process that has imported and compiled everything by one undisturbed run; it forks a child for each
attempt, so that an attempt costs what is left of the run and no start. The child runs `pipeline.run.run` and dies by
its own hand: after its k-th commit, before its k-th operation on a name (fsync, link, replace, unlink) or half-way
through a write to a task's file, or after some milliseconds. What it does goes through a pipe, line by line, so the
nursery knows it after a SIGKILL too. Nothing in the product knows of this.

`drive` is a run with Ray in a process that can be killed from outside while it waits at the start of a step.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from corpus import records

COMMIT, OPERATION, TIME = "commit", "operation", "time"
NAME_OPERATIONS = ("fsync", "link", "replace", "unlink")
MANIFEST = re.compile(r"(?P<step>.+)-[0-9a-f]{16}/tasks/(?P<index>\d+)\.json")

SOURCES = {  # file -> (file of the shared data, documents, characters of each that are kept)
    "english-0.jsonl": ("english/encyclopedia-wikipedia-en.jsonl.zst", 40, 4000),
    "english-1.jsonl.gz": ("english/news-digitalgov.jsonl.zst", 40, 4000),
    "other.jsonl": ("multilingual/xquad-paragraphs.jsonl.zst", 60, 4000),
    "code.jsonl": ("code/code-permissive.jsonl.zst", 60, 4000),
}


def lay_out_small(shared_data: Path, folder: Path, model: Path, times: int = 1) -> Path:
    """Some 200 real documents (or a multiple), each fortieth twice, and a configuration of about two hundred tasks that
    takes a second once compiled; returns the configuration's path."""
    inputs = folder / "input"
    inputs.mkdir(parents=True)
    for name, (source, count, longest) in SOURCES.items():
        rows = [{**row, "text": row["text"][:longest]} for row in records(shared_data / source, count * times)]
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in [*rows, *rows[::40]])
        content = text.encode()
        (inputs / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    config = {
        "output": str(folder / "out"),
        "sources": [
            {"name": "english", "uri": str(inputs / "english-*"), "columns": {"id": "id"}},
            {"name": "other", "uri": str(inputs / "other.jsonl")},
            {"name": "code", "uri": str(inputs / "code.jsonl"), "domain": "code"},
        ],
        "stages": [
            {"language": {"model": str(model)}},
            {"rules": {"presets": ["gopher_quality", "gopher_repetition", "code"]}},
            {"exact_dedup": {}},
            {"near_dedup": {}},
        ],
        "tokenizer": {"vocab_size": 3000, "sample_bytes": 100_000},
        "blends": {
            "pretrain": {
                "domains": {"english": 0.70, "multilingual": 0.15, "code": 0.15},
                "tokens": "max",
                "max_epochs": 2,
                "on_shortage": "renormalize",
            }
        },
        "shards": {"tokens_per_shard": 40_000 * times, "holdout": 0.02},
        "plan": {"partition_bytes": 120_000 * times, "max_segments": 6},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@dataclass(frozen=True)
class Kill:
    """`at`: which commit or operation (from 1) of the attempt, or the milliseconds after its start."""

    kind: str
    at: int


@dataclass(frozen=True)
class Attempt:
    killed: bool
    """By SIGKILL; otherwise the run came to its end, or `error` says why it did not."""
    tasks: tuple[tuple[str, int], ...]
    """(step, index) of the tasks whose result the attempt committed, in order; '-' for '/' in names, as in `work/`."""
    step: str
    """The step that it was in when it ended; empty before the first and after the last."""
    operations: int
    """Operations on names and writes to task files, of a run that came to its end."""
    error: str


def committed(output: Path) -> dict[tuple[str, int], bytes]:
    """(step, index) -> the manifest's content, of every committed task of an output."""
    found = {}
    for path in (output / "work").glob("*/tasks/*.json"):
        match = MANIFEST.fullmatch(path.relative_to(output / "work").as_posix())
        if match is not None:
            found[match["step"], int(match["index"])] = path.read_bytes()
    return found


class Nursery:
    """Context manager; `undisturbed` is an output that it fills while it warms up."""

    def __init__(self, config: Path, undisturbed: Path) -> None:
        command = [sys.executable, __file__, "nursery", str(config), str(undisturbed)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Nursery:
        self.whole = self._answer()
        assert not self.whole.error, self.whole.error
        return self

    def _answer(self) -> Attempt:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nursery ended with code {self.process.wait()}; its errors are above")
        value = json.loads(line)
        return Attempt(**{**value, "tasks": tuple((step, index) for step, index in value["tasks"])})

    def attempt(self, output: Path, kill: Kill | None = None) -> Attempt:
        """Runs or resumes `output` in a process of its own until it ends or is killed."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"output": str(output), "kill": asdict(kill) if kill else None}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def __exit__(self, *exception: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Chain:
    """Attempts on one output, one after the other, and what may not happen between them."""

    nursery: Nursery
    output: Path
    committed: dict[tuple[str, int], bytes]

    def attempt(self, kill: Kill | None) -> Attempt:
        """AssertionError where a committed task was computed again, or its manifest changed."""
        result = self.nursery.attempt(self.output, kill)
        again = [task for task in result.tasks if task in self.committed]
        assert not again, f"computed again after {kill}: {again}"
        assert len(set(result.tasks)) == len(result.tasks), f"committed twice in one attempt: {result.tasks}"
        found = committed(self.output)
        changed = [task for task, content in found.items() if self.committed.get(task, content) != content]
        assert not changed, f"manifests changed by {kill}: {changed}"
        self.committed |= found
        assert not result.error, f"{kill}: {result.error}"
        return result


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Reporter:
    """Progress that writes what happens to a pipe and kills its process after the k-th commit."""

    def __init__(self, pipe: int, last: int | None = None, gates: Sequence[str] = ()) -> None:
        """`gates`: steps at whose start it waits for a line on standard input."""
        self.pipe = pipe
        self.last = last
        self.gates = gates
        self.commits = 0

    def say(self, *words: Any) -> None:
        os.write(self.pipe, (json.dumps(words) + "\n").encode())

    def start(self, step: str, tasks: int, done: int) -> None:
        self.say("start", step.replace("/", "-"))
        if step in self.gates:
            sys.stdin.readline()

    def advance(self, step: str, manifest: Any) -> None:
        self.say("commit", step.replace("/", "-"), manifest.index)
        self.commits += 1
        if self.commits == self.last:
            die()

    def finish(self, sealed: Any) -> None: ...


def count_operations(at: int | None) -> itertools.count[int]:
    """Counts operations on names and writes to task files from here on; the `at`-th is not done, or half."""
    from gristmill.storage import store
    from gristmill.storage.hashing import HashingFile

    counter = itertools.count(1)

    def fatal(operation: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if next(counter) == at:
                die()
            return operation(*arguments, **options)

        return counted

    whole = HashingFile.write

    def write(self: Any, data: Any) -> int:
        if next(counter) == at:
            self.sink.write(bytes(data)[: len(data) // 2])
            self.sink.flush()
            die()
        return whole(self, data)

    def create(*arguments: Any, **options: Any) -> Any:
        stream = open(*arguments, **options)  # noqa: SIM115
        if next(counter) == at:  # a name without content
            die()
        return stream

    vars(store)["open"] = create
    for name in NAME_OPERATIONS:
        setattr(os, name, fatal(getattr(os, name)))
    HashingFile.write = write  # type: ignore[method-assign]
    return counter


def child(config: str, request: dict[str, Any], pipe: int) -> int:
    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.run import run

    kill = Kill(**request["kill"]) if request["kill"] else Kill("", 0)
    reporter = Reporter(pipe, kill.at if kill.kind == COMMIT else None)
    counter = count_operations(kill.at if kill.kind == OPERATION else None)
    if kill.kind == TIME:
        threading.Timer(kill.at / 1000, die).start()
    try:
        run(load(config, [f"output={request['output']}"]), inline=True, progress=reporter)
    except BaseException as error:
        reporter.say("error", "".join(traceback.format_exception(error))[-2000:])
        return 1
    reporter.say("end", next(counter) - 1)
    return 0


def attend(config: str, request: dict[str, Any]) -> Attempt:
    """Forks a child, waits for its end, and returns what it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os._exit(child(config, request, writing))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        words = [json.loads(line) for line in pipe]
    _, status = os.waitpid(pid, 0)
    tasks, step, operations, error = [], "", 0, ""
    for kind, *rest in words:
        if kind == "commit":
            tasks.append((rest[0], rest[1]))
        elif kind == "start":
            step = rest[0]
        elif kind == "end":
            step, operations = "", rest[0]
        elif kind == "error":
            error = rest[0]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if status != 0 and not killed and not error:
        error = f"the process ended with wait status {status}"
    return Attempt(killed, tuple(tasks), step, operations, error)


def nursery(config: str, undisturbed: str) -> None:
    """One request a line on standard input, one answer a line on standard output."""
    import warnings

    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.run import run

    warnings.simplefilter("ignore")
    answers = os.fdopen(own_output(), "w")
    run(load(config, [f"output={undisturbed}-warm"]), inline=True)
    answer = attend(config, {"output": undisturbed, "kill": None})
    while True:
        answers.write(json.dumps(asdict(answer)) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        answer = attend(config, json.loads(line))


def drive(config: str, output: str, workers: str, *gates: str) -> None:
    """A run with Ray that says on standard output what happens; it waits at the start of the steps in `gates`."""
    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.run import run

    reporter = Reporter(own_output(), gates=gates)
    run(load(config, [f"output={output}"]), workers=int(workers), progress=reporter)
    reporter.say("end")


def lose(output: str) -> None:
    """Steps with Ray whose tasks cannot succeed; says on standard output how they failed."""
    from gristmill.pipeline.engine.engine import Engine
    from gristmill.pipeline.engine.ray_executor import RayExecutor
    from gristmill.pipeline.engine.task import Step, Task
    from gristmill.storage.store import Store

    def killed(task: Task[int, None]) -> None:
        with open(task.store.path("tries"), "a") as tries:
            tries.write("x")
        die()

    def hungry(task: Task[int, None]) -> None:
        held: list[bytearray] = []
        while len(held) < 80:  # 4 GB
            held.append(bytearray(b"x") * 50_000_000)
            time.sleep(0.03)

    def refused(task: Task[int, None]) -> None:
        bytearray(1 << 60)

    def unsendable(task: Task[int, None]) -> None:
        error = KeyError("of no use elsewhere")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    answers = os.fdopen(own_output(), "w")
    executor = RayExecutor(workers=1)
    for function in (killed, hungry, refused, unsendable):
        try:
            Engine(Store(output), executor).step(function.__name__, Step(function), [0], None)
        except RuntimeError as error:
            answers.write(f"{error}\n")
            answers.flush()
    executor.close()


def own_output() -> int:
    """A descriptor of standard output; whatever else is printed goes to standard error from here on."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])  # nursery, drive or lose
