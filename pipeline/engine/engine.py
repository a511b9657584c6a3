"""Runs the tasks of a step: in this process (`--inline`) or as Ray core tasks, and commits what they return.

A task is a module-level function of a `Task`; it writes through `task.output` and returns small statistics. Tasks in
flight are bounded; Ray retries those whose worker died, the engine those that raised. What all tasks share is put in
the object store once. Results are committed in whatever order they come; nothing that is written depends on it.

A task that finds a committed file damaged fails with `Damaged`: the engine computes the task that wrote the file again,
puts the new file in the place of the damaged one, and goes on. A task that an earlier fingerprint of its step has
computed from the same input is taken over (`pipeline.engine.task_inputs`).
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from types import NoneType
from typing import Generic, Protocol, runtime_checkable

from gristmill.pipeline.engine.accounting import check
from gristmill.pipeline.engine.checked import Damaged, read_checked
from gristmill.pipeline.engine.commit import (
    StepFolder,
    committed_lines,
    folder_name,
    is_fingerprinted,
    open_work,
    packed,
    sealed_lines,
)
from gristmill.pipeline.engine.identity import Payload, Shared, by_content, digest, follows
from gristmill.pipeline.engine.manifest import File, Manifest, Reported, Sealed, StatsT
from gristmill.pipeline.engine.packed import Pending
from gristmill.pipeline.engine.task import Candidate, Step, Work, execute, unwritable
from gristmill.pipeline.engine.under_way import Amount, here
from gristmill.storage.json_values import Json
from gristmill.storage.retrying import StorageError
from gristmill.storage.store import Store
from gristmill.wording import plural

ATTEMPTS = 3
"""How often a task that raises is tried."""

MAX_DOWN = 4
"""Tasks in a row for which the storage does not answer: the others would wait as long as these for the same."""

COMMITTERS = 32
"""Commits under way at a time on a remote storage: at 100 ms each a driver makes 160 a second."""

MAX_REPAIRS = 3
"""How often a step mends what it reads."""


class StepFailed(RuntimeError):
    """Tasks of a step failed after their retries; what finished is committed."""


class Progress(Protocol):
    """Told what happens; the terminal shows a bar, a log a line now and then."""

    def start(self, step: str, tasks: int, done: int) -> None: ...
    def advance(self, step: str, manifest: Manifest[Reported]) -> None: ...
    def finish(self, sealed: Sealed[Reported]) -> None: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A `Progress` that wants to know what is to come."""

    def foresee(self, steps: Mapping[str, float], after_s: float, running: Callable[[], Amount]) -> None:
        """steps: predicted seconds by step, in order. after_s: of what follows the last of them.

        running: what the tasks under way have taken in so far; may be called from another thread.
        """
        ...


class Silent:
    def start(self, step: str, tasks: int, done: int) -> None: ...
    def advance(self, step: str, manifest: Manifest[Reported]) -> None: ...
    def finish(self, sealed: Sealed[Reported]) -> None: ...


class Executor(Protocol):
    """Runs the pending tasks and yields (index, manifest or the exception) as they finish."""

    def run(
        self, work: Work[Payload, Shared, StatsT], pending: Mapping[int, Payload | Candidate[Payload]]
    ) -> Iterator[tuple[int, Manifest[StatsT] | Exception]]: ...

    def under_way(self) -> Amount:
        """What the tasks that are running have taken in so far. Called from another thread."""
        ...

    def close(self) -> None: ...


class Inline:
    """One process, one task after the other."""

    def run(
        self, work: Work[Payload, Shared, StatsT], pending: Mapping[int, Payload | Candidate[Payload]]
    ) -> Iterator[tuple[int, Manifest[StatsT] | Exception]]:
        for index, payload in pending.items():
            outcome: Manifest[StatsT] | Exception
            try:
                outcome = execute(work, index, payload)
            except Exception as error:
                error.add_note(traceback.format_exc())
                outcome = error
            yield index, outcome

    def under_way(self) -> Amount:
        return here()

    def close(self) -> None: ...


class Redoable(Protocol):
    """A step that this run has finished, whatever it is given and says."""

    def redo(self, engine: Engine, wanted: set[str]) -> set[str]:
        """Computes the tasks again that wrote some of these committed files; which of them that were."""
        ...


@dataclass(frozen=True)
class Finished(Generic[Payload, Shared, StatsT]):
    work: Work[Payload, Shared, StatsT]
    payloads: Sequence[Payload]
    sealed: Sealed[StatsT]

    def redo(self, engine: Engine, wanted: set[str]) -> set[str]:
        tasks = {i: m for i, m in self.sealed.done() if not wanted.isdisjoint(file.path for file in m.files)}
        if not tasks:
            return set()

        def replace(manifest: Manifest[StatsT]) -> None:
            engine.replace(tasks[manifest.index], manifest)

        failures = engine.compute(self.work, Pending(tasks, self.payloads.__getitem__), replace)
        if failures:
            raise failed(self.work.name, len(tasks), failures)
        return {file.path for manifest in tasks.values() for file in manifest.files}


@dataclass
class Engine:
    store: Store
    executor: Executor = field(default_factory=Inline)
    progress: Progress = field(default_factory=Silent)
    allow_missing: bool = False
    check_lease: Callable[[], None] = lambda: None
    """Raises where another run has taken the output; called before every commit."""
    recomputed: dict[str, int] = field(default_factory=dict)
    """Step -> tasks run in this run, for reports and tests."""
    adopted: dict[str, int] = field(default_factory=dict)
    """Step -> tasks taken over from an earlier fingerprint of the step."""
    repaired: list[str] = field(default_factory=list)
    """Committed files that were damaged and have been written again."""
    sealed: list[Sealed[Reported]] = field(default_factory=list)
    known: dict[str, Redoable] = field(default_factory=dict)
    """Folder of a step -> how to compute its tasks again."""

    def step(
        self,
        name: str,
        step: Step[Payload, Shared, StatsT],
        payloads: Sequence[Payload],
        shared: Shared,
        *,
        upstream: Sequence[Sealed[Reported]] = (),
    ) -> Sealed[StatsT]:
        """Runs the step, or reads it where it is sealed. Its fingerprint follows from what is given here."""
        if not self.known:
            open_work(self.store)
        own = step.identity(name, shared)
        mark = fingerprint(own, payloads, upstream)
        folder = StepFolder(self.store, name, mark)
        work = Work(name, step, self.store, folder.folder, shared, own)
        started = time.monotonic()
        found = folder.sealed(step.stats)
        if found is not None:
            self.recomputed.setdefault(name, 0)
            return self._finish(work, payloads, Sealed(name, mark, folder.folder, found, 0.0, len(found)))
        done = dict(folder.committed_lines())
        reused = len(done)
        self.progress.start(name, len(payloads), reused)
        left = [index for index in range(len(payloads)) if index not in done]
        earlier = self._earlier(folder) if left else {}

        def job(index: int) -> Payload | Candidate[Payload]:
            return Candidate(payloads[index], earlier[index]) if index in earlier else payloads[index]

        def committed(manifest: Manifest[StatsT], kept: Manifest[StatsT]) -> None:
            done[manifest.index] = kept.to_json()
            taken = bool(manifest.files) and not manifest.files[0].path.startswith(f"{folder.folder}/")
            tally = self.adopted if taken else self.recomputed
            tally[name] = tally.get(name, 0) + 1
            self.progress.advance(name, manifest)

        with Committer(folder, committed) as committer:

            def commit(manifest: Manifest[StatsT]) -> None:
                for stage, counts in manifest.counts.items():
                    check(stage, manifest.index, counts)
                self.check_lease()
                committer.commit(manifest)

            failures = self.compute(work, Pending(left, job), commit)
        manifests = packed((done.pop(index, None) for index in range(len(payloads))), step.stats)
        if failures and not self.allow_missing:
            raise failed(name, len(payloads), failures)
        if not failures:
            folder.seal(m for m in manifests if m is not None)
        seconds = time.monotonic() - started
        return self._finish(work, payloads, Sealed(name, mark, folder.folder, manifests, seconds, reused))

    def _finish(
        self, work: Work[Payload, Shared, StatsT], payloads: Sequence[Payload], result: Sealed[StatsT]
    ) -> Sealed[StatsT]:
        self.known[result.folder] = Finished(work, payloads, result)
        self.sealed.append(result)
        self.progress.finish(result)
        return result

    def _earlier(self, step: StepFolder) -> dict[int, tuple[bytes, ...]]:
        """What other fingerprints of the step have committed, by index."""
        found: dict[int, tuple[bytes, ...]] = {}
        for name in self.store.folders("work"):
            folder = f"work/{name}"
            if is_fingerprinted(name, step.name) and folder != step.folder:
                lines = sealed_lines(self.store, folder)
                for line in lines if lines is not None else committed_lines(self.store, folder):
                    manifest = Manifest.from_json(line, NoneType)
                    if manifest.files:
                        found[manifest.index] = (*found.get(manifest.index, ()), line)
        return found

    def compute(
        self,
        work: Work[Payload, Shared, StatsT],
        pending: Mapping[int, Payload | Candidate[Payload]],
        accept: Callable[[Manifest[StatsT]], None],
    ) -> dict[int, Exception]:
        """Runs the tasks with retries and repairs; what is left are those that failed to the end."""
        tasks = pending
        failures: dict[int, Exception] = {}
        attempts = repairs = 0
        while attempts < ATTEMPTS:
            failures = {}
            down = 0
            for index, outcome in self.executor.run(work, tasks):
                down = down + 1 if isinstance(outcome, StorageError) else 0
                if isinstance(outcome, StorageError) and down == MAX_DOWN:
                    raise outcome
                if isinstance(outcome, Exception):
                    failures[index] = outcome
                else:
                    accept(outcome)
            tasks = Pending(sorted(failures), pending.__getitem__)
            broken = [error for error in failures.values() if isinstance(error, Damaged)]
            if broken and repairs < MAX_REPAIRS:
                repairs += 1
                self.repair({path for error in broken for path in (error.path, *error.others)})
                continue
            if not tasks or all(getattr(error, "final", False) for error in failures.values()):
                break
            attempts += 1
        return failures

    def each(
        self, name: str, step: Step[Payload, Shared, StatsT], payloads: Sequence[Payload], shared: Shared
    ) -> list[StatsT]:
        """Runs tasks that commit nothing and returns their statistics in order."""
        results: dict[int, StatsT] = {}
        work = Work(name, step, self.store, f"work/{folder_name(name)}", shared)

        def keep(manifest: Manifest[StatsT]) -> None:
            results[manifest.index] = manifest.stats

        failures = self.compute(work, Pending(range(len(payloads)), payloads.__getitem__), keep)
        if failures:
            raise failed(name, len(payloads), failures)
        return [results[index] for index in range(len(payloads))]

    def repair(self, paths: Iterable[str]) -> None:
        """Computes the tasks again that wrote these committed files, and puts the new files in their places.

        Raises OSError where a task now writes something else than it committed.
        """
        wanted = set(paths)
        for step in list(self.known.values()):
            wanted -= step.redo(self, wanted)
        if wanted:
            raise Damaged(min(wanted), "damaged, and no step of this run wrote it; delete work/ and run again")

    def replace(self, committed: Manifest[Reported], again: Manifest[Reported]) -> None:
        """Puts the files of a task that was computed again in the places of those that it had committed."""
        new = {(file.role, file.name): file for file in again.files}
        for file in committed.files:
            other = new.get((file.role, file.name))
            if other is None or other.checksum != file.checksum:
                raise OSError(
                    f"{self.store.path(file.path)}: damaged, and computing it again gave other content; delete "
                    f"{self.store.path(file.path.rpartition('/files/')[0])} and run again"
                )
        self.check_lease()
        for file in committed.files:
            self.store.move(new[file.role, file.name].path, file.path)
            self.repaired.append(file.path)

    def read(self, file: File) -> bytes:
        """A committed file's content, repaired where it was damaged."""
        for _ in range(MAX_REPAIRS):
            try:
                return read_checked(self.store, file)
            except Damaged as error:
                self.repair([error.path])
        return read_checked(self.store, file)


class Committer(Generic[StatsT]):
    """Commits one after the other; on a remote storage, which takes a while to answer, several at a time."""

    def __init__(self, step: StepFolder, committed: Callable[[Manifest[StatsT], Manifest[StatsT]], None]) -> None:
        self.step = step
        self.committed = committed
        self.pool = None if step.store.local else ThreadPoolExecutor(COMMITTERS)
        self.waiting: deque[tuple[Manifest[StatsT], Future[Manifest[StatsT]]]] = deque()

    def __enter__(self) -> Committer[StatsT]:
        return self

    def commit(self, manifest: Manifest[StatsT]) -> None:
        if self.pool is None:
            self.committed(manifest, self._commit(manifest))
            return
        self.waiting.append((manifest, self.pool.submit(self._commit, manifest)))
        while len(self.waiting) > 2 * COMMITTERS:
            self._take()

    def _commit(self, manifest: Manifest[StatsT]) -> Manifest[StatsT]:
        """Where the commit cannot be written, the files of this attempt go too; those it has taken over stay.

        Not on an object store, where a commit whose answer was lost may stand.
        """
        try:
            return self.step.commit(manifest)
        except OSError as error:
            store = self.step.store
            for file in manifest.files if store.local else ():
                if file.path.startswith(f"{self.step.folder}/"):
                    with suppress(OSError):
                        store.delete(file.path)
            raise unwritable(error, store) from error

    def _take(self) -> None:
        manifest, kept = self.waiting.popleft()
        self.committed(manifest, kept.result())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.pool is not None:
            with self.pool:
                while self.waiting and kind is None:
                    self._take()


def fingerprint(own: str, payloads: Sequence[Payload], upstream: Sequence[Sealed[Reported]]) -> str:
    """Of all that shapes a step's output. own: identity of the step and of what its tasks share.

    The payloads enter too, where not all that they are follows from the steps upstream.
    """
    given = [] if upstream and payloads and follows(payloads[0]) else payloads
    contents = [by_content(payload, upstream=not upstream) for payload in given]
    before: list[Json] = [[sealed.fingerprint, [*missing_tasks(sealed)]] for sealed in upstream]
    return digest([own, len(payloads), contents, before])


def missing_tasks(sealed: Sealed[Reported]) -> list[int]:
    return [index for index, manifest in enumerate(sealed.manifests) if manifest is None]


def failed(name: str, tasks: int, failures: Mapping[int, Exception]) -> Exception:
    """What is raised for a step with failed tasks; an error that speaks for itself (`final`) is raised as it is."""
    index, first = min(failures.items())
    if getattr(first, "final", False):
        return first
    error = StepFailed(
        f"{name}: {len(failures)} of {plural(tasks, 'task')} failed after {ATTEMPTS} attempts, first task {index}: "
        f"{type(first).__name__}: {first}; the others are committed, run again to retry or pass --allow-missing"
    )
    error.__cause__ = first
    return error
