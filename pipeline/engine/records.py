"""Records as JSON and back: frozen dataclasses of numbers, texts, records, tuples and dictionaries of them.

What a field holds is read from its annotation: `X | None`, `tuple[X, ...]`, `dict[str, X]`, `dict[int, X]`, where X is
again one of these, a plain value or a record. JSON that does not fit the annotations raises TypeError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from gristmill.storage.json_values import Json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonObject: TypeAlias = dict[str, Json]

Value: TypeAlias = (
    "bool | int | float | str | DataclassInstance | Sequence[Value] | Mapping[str, Value] | Mapping[int, Value] | None"
)
"""What a record's field may hold."""

Read: TypeAlias = Callable[[Json], Value]
R = TypeVar("R")

Hint: TypeAlias = type | UnionType
_READERS: dict[Hint, Read] = {}
PLAIN = (bool, int, float, str, NoneType)


def to_json(value: Value) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [to_json(entry) for entry in value]
    return {name: to_json(getattr(value, name)) for name in _names(type(value))}


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def from_json(kind: type[R], value: Json) -> R:
    """The record of this kind that `to_json` wrote."""
    result = _reader(kind)(value)
    if not isinstance(result, kind):
        raise TypeError(f"{type(result).__name__} where {kind.__name__} was expected")
    return result


def shape(kind: Hint) -> Json:
    """What the JSON of a kind of record looks like: names and kinds of all that is in it."""
    if is_dataclass(kind):
        return {name: shape(hint) for name, hint in get_type_hints(kind).items()}
    if get_origin(kind) is None:
        return kind.__name__ if isinstance(kind, type) else str(kind)
    inside: list[Json] = [str(each) if each is ... else shape(each) for each in get_args(kind)]
    return [str(get_origin(kind)), *inside]


def _reader(kind: Hint) -> Read:
    """Made once a kind: the manifests of a step are read by the hundred thousand."""
    found = _READERS.get(kind)
    if found is None:
        found = _READERS[kind] = _made(kind)
    return found


def _made(kind: Hint) -> Read:
    if kind in PLAIN:
        return _as_it_is
    arguments = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        (present,) = (each for each in arguments if each is not NoneType)
        return _optional(_reader(present))
    if get_origin(kind) is tuple:
        return _tuple(arguments[0])
    if get_origin(kind) is dict:
        return _keyed(*arguments)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _member(kind)
    if not is_dataclass(kind):
        raise TypeError(f"{kind}: not what a record can hold; see gristmill.pipeline.engine.records")
    return _record(kind)


def _as_it_is(value: Json) -> Value:
    return value


def _member(kind: type[StrEnum]) -> Read:
    members = {str(member): member for member in kind}

    def read(value: Json) -> Value:
        if not isinstance(value, str) or value not in members:
            raise TypeError(f"{value!r} where one of {', '.join(members)} was expected")
        return members[value]

    return read


def _optional(read: Read) -> Read:
    return lambda value: None if value is None else read(value)


def _tuple(kind: Hint) -> Read:
    if kind in PLAIN:
        return lambda value: tuple(_entries(value))
    read = _reader(kind)
    return lambda value: tuple([read(entry) for entry in _entries(value)])


def _keyed(key: Hint, kind: Hint) -> Read:
    if key is int:
        read = _reader(kind)
        return lambda value: {int(name): read(entry) for name, entry in _object(value).items()}
    if kind in PLAIN:
        return _object
    read = _reader(kind)
    return lambda value: {name: read(entry) for name, entry in _object(value).items()}


def _record(kind: type[DataclassInstance]) -> Read:
    hints = get_type_hints(kind)
    readers = [(name, _reader(hint)) for name, hint in hints.items() if hint not in PLAIN]
    if not readers:
        return lambda value: kind(**_object(value))

    def read(value: Json) -> Value:
        given: dict[str, Value] = {**_object(value)}
        for name, made in readers:
            if name in given:
                given[name] = made(_object(value)[name])
        return kind(**given)

    return read


def _entries(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list was expected")
    return value


def _object(value: Json) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where an object was expected")
    return value
