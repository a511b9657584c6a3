"""What a step and its tasks are known by: fingerprints and keys, derived from what they are given.

Every field of a step's payload and shared dataclasses enters, by content: a committed file by its checksum, what comes
through an exchange by the checksums of its segments, an array by a hash. A field that must not enter says so:

    field(metadata=UPSTREAM)      it follows from the steps upstream, whose fingerprints the step's has: in the tasks'
                                  keys, and in the fingerprint only of a step with nothing upstream
    field(metadata=IMMATERIAL)    what is written is the same whatever it is

An object that is known by something else than its fields is an `Identified`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import numpy as np
import xxhash

from gristmill.pipeline.engine.exchange import Incoming
from gristmill.pipeline.engine.manifest import File
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

UPSTREAM: Final = {"identity": "upstream"}
IMMATERIAL: Final = {"identity": "immaterial"}


class Identified(ABC):
    """Something that is known by what `identity` returns."""

    @abstractmethod
    def identity(self) -> Content: ...


Content: TypeAlias = (
    "bool | int | float | str | bytes | np.ndarray | Identified | DataclassInstance | Sequence[Content] | "
    "Mapping[str, Content] | None"
)
"""What a task may be given."""

Payload = TypeVar("Payload", bound=Content)
Shared = TypeVar("Shared", bound=Content)


def digest(parts: Json) -> str:
    """SHA-256 of JSON in one fixed form."""
    content = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def installed(distribution: str) -> str | None:
    """Its version. Asked once: that takes tens of milliseconds, and every step asks."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Of those that are installed; and of Unicode, which is the interpreter's: the character classes are its."""
    found = {name: each for name in libraries if (each := installed(name)) is not None}
    return {"unicode": unicodedata.unidata_version, **found}


def by_content(value: Content, store: Store | None = None, *, upstream: bool = True) -> Json:
    """JSON values that stand for `value`.

    store: where exchange files are; without it what comes through an exchange counts by its place alone. upstream:
    whether fields that follow from the steps upstream are among them.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, File):
        return [value.role, value.name, value.rows, value.checksum]
    if isinstance(value, Incoming):
        return [value.first, value.end, value.digest(store) if store is not None else None]
    if isinstance(value, Identified):
        return by_content(value.identity(), store, upstream=upstream)
    if isinstance(value, bytes):
        return [len(value), xxhash.xxh3_128_hexdigest(value)]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), [*value.shape], xxhash.xxh3_128_hexdigest(np.ascontiguousarray(value).data)]
    if isinstance(value, Mapping):
        return {str(key): by_content(entry, store, upstream=upstream) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [by_content(entry, store, upstream=upstream) for entry in value]
    names = entering(type(value), upstream)
    return {name: by_content(getattr(value, name), store, upstream=upstream) for name in names}


@cache
def entering(kind: type[DataclassInstance], upstream: bool) -> tuple[str, ...]:
    """Names of the fields that enter."""
    marks = {field.name: field.metadata.get("identity") for field in fields(kind)}
    left_out = {IMMATERIAL["identity"]} if upstream else {IMMATERIAL["identity"], UPSTREAM["identity"]}
    return tuple(name for name, mark in marks.items() if mark not in left_out)


def follows(payload: Content) -> bool:
    """Whether nothing of a payload of this kind enters the fingerprint of a step that has others upstream."""
    if isinstance(payload, File | Incoming):
        return True
    return is_dataclass(payload) and not isinstance(payload, Identified) and not entering(type(payload), False)
