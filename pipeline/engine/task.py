"""A task: what its function is given, and how one is run to its manifest.

A task that reads a committed file which is not what was committed fails with `Damaged` and names every such file that
it reads; one that the same input has been through before (`pipeline.engine.task_inputs`) is not run.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, SimpleNamespace
from typing import Generic, get_type_hints

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.checked import Damaged
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.identity import Payload, Shared, by_content, digest, versions
from gristmill.pipeline.engine.manifest import Manifest, StatsCo, StatsT
from gristmill.pipeline.engine.process import prepare, release_memory
from gristmill.pipeline.engine.records import JsonObject, shape
from gristmill.pipeline.engine.task_inputs import damaged, task_key
from gristmill.pipeline.engine.under_way import running
from gristmill.storage.retrying import explained
from gristmill.storage.store import Store


@dataclass
class Task(Generic[Payload, Shared]):
    index: int
    payload: Payload
    shared: Shared
    store: Store
    output: Output

    def counts(self, stage: str) -> Counts:
        return self.output.counts.setdefault(stage, Counts())


@dataclass(frozen=True, slots=True)
class Step(Generic[Payload, Shared, StatsCo]):
    """What a step is apart from what it is given."""

    function: Callable[[Task[Payload, Shared]], StatsCo]
    """At the top of a module, with its result annotated: Ray sends its name, and manifests are read by it."""
    version: int = 1
    """Raised when the function writes something else for the same input."""
    libraries: tuple[str, ...] = ()
    """Distributions that the function calls, stages apart: the step is run again where one has another version."""

    @property
    def stats(self) -> type[StatsCo]:
        """What the function returns."""
        result = SimpleNamespace(__annotations__={"return": self.function.__annotations__.get("return")})
        kind: type[StatsCo] = get_type_hints(result, self.function.__globals__)["return"]
        return kind

    def identity(self, name: str, shared: Shared) -> str:
        """All that shapes a task of the step beyond its payload."""
        libraries: JsonObject = {**versions(self.libraries)}
        return digest([name, self.version, libraries, shape(self.stats), by_content(shared)])


@dataclass(frozen=True, slots=True)
class Work(Generic[Payload, Shared, StatsT]):
    """What the tasks of a step have in common: the step, where they write, what they share."""

    name: str
    step: Step[Payload, Shared, StatsT]
    store: Store
    folder: str
    shared: Shared
    identity: str = ""
    """Of the step apart from its input; enters the tasks' keys."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[Payload]):
    """A payload, and what the task of this index committed under other fingerprints of its step (JSON)."""

    payload: Payload
    earlier: tuple[bytes, ...]


class StorageFull(OSError):
    """The output cannot be written to; trying again at once would not help."""

    final = True


def unwritable(error: OSError, store: Store) -> OSError:
    """What a failure to write into the output is raised as: a sentence, and `StorageFull` where it lacks room."""
    explanation = explained(error, store.location())
    if explanation.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        why = (explanation.strerror or str(explanation)).lower()
        return StorageFull(f"{store.location()}: {why}; make room there and run again, what is done is kept")
    return explanation


def execute(work: Work[Payload, Shared, StatsT], index: int, payload: Payload | Candidate[Payload]) -> Manifest[StatsT]:
    """Runs one task to its manifest, or finds that an earlier one holds; nothing is committed."""
    prepare()
    output = Output(work.store, work.folder, index)
    given, earlier = (payload.payload, payload.earlier) if isinstance(payload, Candidate) else (payload, ())
    try:
        key = task_key(work.store, work.identity, index, given)
        for content in earlier:
            if Manifest.from_json(content, NoneType).key == key:
                manifest = Manifest.from_json(content, work.step.stats)
                if all(work.store.exists(file.path) for file in manifest.files):
                    return manifest
        with running(output.counts):
            stats = work.step.function(Task(index, given, work.shared, work.store, output))
    except Damaged as found:
        output.discard()
        raise Damaged(found.path, found.why, tuple(damaged(work.store, given))) from None
    except OSError as raised:
        output.discard()
        raise unwritable(raised, work.store) from raised
    except BaseException:
        output.discard()
        raise
    finally:
        release_memory()
    return output.manifest(stats, key)
