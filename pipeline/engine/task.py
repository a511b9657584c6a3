"""A task: what its function is given, and how one is run to its manifest.

A task that reads a committed file which is not what was committed fails with `Damaged` and names every such file that
it reads; one that the same input has been through before (`pipeline.engine.task_inputs`) is not run.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.checked import Damaged
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.manifest import Manifest
from gristmill.pipeline.engine.process import prepare, release_memory
from gristmill.pipeline.engine.task_inputs import damaged, task_key
from gristmill.storage.retrying import explained
from gristmill.storage.store import Store


@dataclass
class Task:
    index: int
    payload: Any
    shared: Any
    store: Store
    output: Output

    def counts(self, stage: str) -> Counts:
        return self.output.counts.setdefault(stage, Counts())


TaskFunction = Callable[[Task], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Work:
    """What the tasks of a step have in common: their function, where they write, what they share."""

    name: str
    function: TaskFunction
    store: Store
    folder: str
    shared: Any
    identity: str = ""
    """Of the step apart from its input; enters the tasks' keys."""


@dataclass(frozen=True)
class Candidate:
    """A payload, and what the task of this index committed under other fingerprints of its step (JSON)."""

    payload: Any
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


def execute(work: Work, index: int, payload: Any) -> Manifest:
    """Runs one task to its manifest, or finds that an earlier one holds; nothing is committed."""
    prepare()
    output = Output(work.store, work.folder, index)
    earlier: tuple[bytes, ...] = ()
    if isinstance(payload, Candidate):
        payload, earlier = payload.payload, payload.earlier
    try:
        key = task_key(work.store, work.identity, index, payload)
        for manifest in map(Manifest.from_json, earlier):
            if manifest.key == key and all(work.store.exists(file.path) for file in manifest.files):
                return manifest
        stats = work.function(Task(index, payload, work.shared, work.store, output))
    except Damaged as found:
        output.discard()
        raise Damaged(found.path, found.why, tuple(damaged(work.store, payload))) from None
    except OSError as raised:
        output.discard()
        raise unwritable(raised, work.store) from raised
    except BaseException:
        output.discard()
        raise
    finally:
        release_memory()
    return output.manifest(stats or {}, key)
