"""Runs the tasks of a step: in this process (`--inline`) or as Ray core tasks, and commits what they return.

A task is a module-level function of a `Task`; it writes through `task.output` and returns small statistics. Tasks in
flight are bounded; Ray retries those whose worker died, the engine those that raised. What all tasks share is put in
the object store once. Results are committed in whatever order they come; nothing that is written depends on it.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.accounting import Counts, check
from pipeline.commit import Manifest, Output, Sealed, StepFolder
from pipeline.store import Store

ATTEMPTS = 3
"""How often a task that raises is tried."""


class StepFailed(RuntimeError):
    """Tasks of a step failed after their retries; what finished is committed."""


@dataclass
class Task:
    index: int
    payload: Any
    shared: Any
    store: Store
    output: Output

    def counts(self, stage: str) -> Counts:
        return self.output.counts.setdefault(stage, Counts())


class Progress(Protocol):
    """Told what happens; the terminal shows bars, a log shows a line a step."""

    def start(self, step: str, tasks: int, done: int) -> None: ...
    def advance(self, step: str, manifest: Manifest) -> None: ...
    def finish(self, sealed: Sealed) -> None: ...


class Silent:
    def start(self, step: str, tasks: int, done: int) -> None: ...
    def advance(self, step: str, manifest: Manifest) -> None: ...
    def finish(self, sealed: Sealed) -> None: ...


def fingerprint(*parts: Any) -> str:
    """SHA-256 of the parts as canonical JSON."""
    content = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(content.encode()).hexdigest()


TaskFunction = Callable[[Task], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Work:
    """What the tasks of a step have in common: their function, where they write, what they share."""

    name: str
    function: TaskFunction
    store: Store
    folder: str
    shared: Any


def execute(work: Work, index: int, payload: Any) -> Manifest:
    """Runs one task to its manifest; nothing is committed."""
    output = Output(work.store, work.folder, index)
    stats = work.function(Task(index, payload, work.shared, work.store, output))
    return output.manifest(stats or {})


class Executor(Protocol):
    """Runs the pending tasks and yields (index, manifest or the exception) as they finish."""

    def run(self, work: Work, pending: Mapping[int, Any]) -> Iterator[tuple[int, Manifest | Exception]]: ...

    def close(self) -> None: ...


class Inline:
    """One process, one task after the other."""

    def run(self, work: Work, pending: Mapping[int, Any]) -> Iterator[tuple[int, Manifest | Exception]]:
        for index, payload in pending.items():
            try:
                yield index, execute(work, index, payload)
            except Exception as error:
                error.add_note(traceback.format_exc())
                yield index, error

    def close(self) -> None: ...


@dataclass
class Engine:
    store: Store
    executor: Executor = field(default_factory=Inline)
    progress: Progress = field(default_factory=Silent)
    allow_missing: bool = False
    recomputed: dict[str, int] = field(default_factory=dict)
    """Step -> tasks run in this run, for reports and tests."""
    sealed: list[Sealed] = field(default_factory=list)

    def step(
        self,
        name: str,
        function: TaskFunction,
        payloads: Sequence[Any],
        *,
        identity: Any,
        upstream: Sequence[Sealed] = (),
        shared: Any = None,
    ) -> Sealed:
        """Runs the step, or reads it where it is sealed.

        `identity` is all that shapes the output beyond the steps in `upstream`: configuration, versions, hashes.
        """
        mark = fingerprint(name, identity, len(payloads), [(s.fingerprint, missing_tasks(s)) for s in upstream])
        step = StepFolder(self.store, name, mark)
        started = time.monotonic()
        found = step.sealed()
        if found is not None:
            result = Sealed(name, mark, step.folder, tuple(found), 0.0, len(found))
            self.recomputed.setdefault(name, 0)
            self.sealed.append(result)
            self.progress.finish(result)
            return result
        done = step.committed()
        reused = len(done)
        self.progress.start(name, len(payloads), reused)
        failures: dict[int, Exception] = {}
        pending = {index: payload for index, payload in enumerate(payloads) if index not in done}
        work = Work(name, function, self.store, step.folder, shared)
        for _ in range(ATTEMPTS):
            failures = {}
            for index, outcome in self.executor.run(work, pending):
                if isinstance(outcome, Exception):
                    failures[index] = outcome
                    continue
                for stage, counts in outcome.counts.items():
                    check(stage, index, counts)
                done[index] = step.commit(outcome)
                self.recomputed[name] = self.recomputed.get(name, 0) + 1
                self.progress.advance(name, outcome)
            pending = {index: payloads[index] for index in sorted(failures)}
            if not pending or all(getattr(error, "final", False) for error in failures.values()):
                break
        manifests = tuple(done.get(index) for index in range(len(payloads)))
        if failures and not self.allow_missing:
            raise failed(name, len(payloads), failures)
        if not failures:
            step.seal([m for m in manifests if m is not None])
        result = Sealed(name, mark, step.folder, manifests, time.monotonic() - started, reused)
        self.sealed.append(result)
        self.progress.finish(result)
        return result


def missing_tasks(sealed: Sealed) -> list[int]:
    return [index for index, manifest in enumerate(sealed.manifests) if manifest is None]


def failed(name: str, tasks: int, failures: Mapping[int, Exception]) -> Exception:
    """What is raised for a step with failed tasks; an error that speaks for itself (`final`) is raised as it is."""
    index, first = min(failures.items())
    if getattr(first, "final", False):
        return first
    error = StepFailed(
        f"{name}: {len(failures)} of {tasks} tasks failed after {ATTEMPTS} attempts, first task {index}: "
        f"{type(first).__name__}: {first}; the others are committed, run again to retry or pass --allow-missing"
    )
    error.__cause__ = first
    return error
