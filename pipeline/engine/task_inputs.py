"""What a task reads: its key, and which of its files are damaged.

A step's fingerprint covers everything upstream, so one document more changes it. A task depends on less: its step's
own configuration, its place, and the content of what it reads. Its key covers just that, so a task of an earlier
fingerprint of the same step that has the same key is taken over instead of computed. Committed files count by their
checksums, what comes through an exchange by the checksums of its segments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gristmill.pipeline.engine.checked import Damaged, is_intact
from gristmill.pipeline.engine.exchange import Incoming, segments
from gristmill.pipeline.engine.manifest import File
from gristmill.storage.store import Store


def task_key(store: Store, identity: str, index: int, payload: Any) -> str:
    """SHA-256 of the step's `identity`, the task's index and its payload by content."""
    parts = [identity, index, by_content(store, payload)]
    content = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def by_content(store: Store, value: Any) -> Any:
    """JSON values that stand for `value`, files replaced by what is in them."""
    if isinstance(value, File):
        return [value.role, value.rows, value.checksum]
    if isinstance(value, Incoming):
        return [value.first, value.end, value.digest(store)]
    own = getattr(value, "task_identity", None)
    if own is not None:
        return by_content(store, own())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: by_content(store, getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): by_content(store, entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [by_content(store, entry) for entry in value]
    return value


def damaged(store: Store, payload: Any) -> list[str]:
    """Committed files of the payload that are not what was committed; reads all of them."""
    return sorted(set(_damaged(store, payload)))


def _damaged(store: Store, value: Any) -> Iterator[str]:
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
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _damaged(store, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _damaged(store, entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _damaged(store, entry)
