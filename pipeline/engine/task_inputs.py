"""What a task reads: its key, and which of its files are damaged.

A step's fingerprint covers everything upstream, so one document more changes it. A task depends on less: its step's
own configuration, its place, and the content of what it reads. Its key covers just that, so a task of an earlier
fingerprint of the same step that has the same key is taken over instead of computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

from gristmill.pipeline.engine.checked import Damaged, is_intact
from gristmill.pipeline.engine.exchange import Incoming, segments
from gristmill.pipeline.engine.identity import Content, by_content, digest
from gristmill.pipeline.engine.manifest import File
from gristmill.storage.store import Store


def task_key(store: Store, identity: str, index: int, payload: Content) -> str:
    """Of the step's `identity`, the task's index and its payload by content."""
    return digest([identity, index, by_content(payload, store)])


def damaged(store: Store, payload: Content) -> list[str]:
    """Committed files of the payload that are not what was committed; reads all of them."""
    return sorted(set(_damaged(store, payload)))


def _damaged(store: Store, value: Content) -> Iterator[str]:
    if isinstance(value, File):
        if not is_intact(store, value):
            yield value.path
    elif isinstance(value, Incoming):
        for path in value.paths:
            try:
                for _ in segments(store, Incoming([path], value.first, value.end)):
                    pass
            except Damaged as error:
                yield error.path
    elif is_dataclass(value):
        for field in fields(value):
            yield from _damaged(store, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _damaged(store, entry)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for entry in value:
            yield from _damaged(store, entry)
