"""Values of a record by the names that `columns:` gives: a column's own name, or a dotted path into objects.

    value_at({"meta": {"url": "http://a"}}, "meta.url")      "http://a"
    remove({"meta": {"url": "http://a", "n": 1}}, "meta.url")    leaves {"meta": {"n": 1}}

A column whose own name has a dot comes before a path: {"meta.url": 1} has its value there. The same holds at every
level, and of several readings the one with the longest first name counts. A string that holds a JSON object is one (the
`meta` of RedPajama-1T and SlimPajama as some publish them); a part of a path that is a number is the place in a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from gristmill.pipeline.readers.values import Record, Value

MAX_JSON_CHARACTERS = 1 << 20
"""Of a string that is looked into: metadata is short, and a path is looked up once per column."""
MAX_NAMES = 1000
MAX_LEVELS = 8


def value_at(record: Record, name: str) -> Value:
    """The value of that name or path; None where there is none."""
    if name in record:
        return record[name]
    return _inside(record, name)[0] if "." in name else None


def has_field(record: Record, name: str) -> bool:
    """Whether the record has the name or path, be it null."""
    return name in record or ("." in name and _inside(record, name)[1])


def remove(record: Record, name: str) -> None:
    """Takes the value of that name or path out of the record, and the objects that are empty then.

    A string of JSON stays a string, without the value. An item of a list stays: the places of the others would change.
    """
    if name in record:
        del record[name]
    elif "." in name:
        _remove_inside(record, name)


def field_names(record: Mapping[str, Value]) -> list[str]:
    """Every name and path that `columns:` can give of this record, in its order, objects' own names too."""
    return list(_names(record, "", 0))[:MAX_NAMES]


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """(first name, the rest) at every dot, the longest first name first."""
    dot = name.rfind(".")
    while dot > 0:
        yield name[:dot], name[dot + 1 :]
        dot = name.rfind(".", 0, dot)


def _inside(value: Value, name: str) -> tuple[Value, bool]:
    """(what stands at the path, whether there is such a place)."""
    if isinstance(value, list | tuple):
        first, _, rest = name.partition(".")
        if not first.isdecimal() or int(first) >= len(value):
            return None, False
        return _inside(value[int(first)], rest) if rest else (value[int(first)], True)
    inner = object_of(value)
    if inner is None:
        return None, False
    if name in inner:
        return inner[name], True
    for first, rest in _splits(name):
        if first in inner:
            found, there = _inside(inner[first], rest)
            if there:
                return found, True
    return None, False


def _remove_inside(record: Record, name: str) -> bool:
    """Whether there was such a place."""
    for first, rest in _splits(name):
        if first not in record:
            continue
        inner = object_of(record[first])
        if inner is None:
            continue
        if rest in inner:
            del inner[rest]
        elif not _remove_inside(inner, rest):
            continue
        if not inner:
            del record[first]
        elif isinstance(record[first], str):
            record[first] = json.dumps(inner, ensure_ascii=False, separators=(",", ":"))
        return True
    return False


def object_of(value: Value) -> Record | None:
    """An object, or the one that a string of JSON holds; None for all else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value[:1] == "{" and len(value) <= MAX_JSON_CHARACTERS:
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
    return None


def _names(record: Mapping[str, Value], prefix: str, level: int) -> Iterator[str]:
    for name, value in record.items():
        yield prefix + name
        inner = object_of(value) if level < MAX_LEVELS else None
        if inner is not None:
            yield from _names(inner, f"{prefix}{name}.", level + 1)
        elif isinstance(value, list):
            yield from (f"{prefix}{name}.{i}" for i, each in enumerate(value[:1]) if not isinstance(each, dict | list))
