"""Checks plain data against a dataclass, and says each mistake in one sentence: place, key, what to write instead.

'pipeline.yaml:12: stages.near_dedup.presett is no key; did you mean preset'. The place is the file and line, or the
--set. The dataclass is the schema: its fields are the keys, its type hints the types, its defaults the defaults, and a
ValueError of its `__post_init__` becomes a sentence with its place. pydantic finds the mistakes; what is here turns
them into sentences. No key is known here by name.

Data is read generously where the type leaves no doubt: 5.0 is a whole number, yes and off are true and false. A
dataclass with `SHORTHAND: ClassVar[str]` may be given as a plain value, which fills the field of that name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, Path, Plain, child, near_name, nearest, override, within

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

YAML_WORDS = {
    "a valid array": "a list",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "None": "null",
}
"""pydantic's words for types -> YAML's."""

MISSING = ("missing", "missing_argument")
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
"""pydantic's types of errors about keys."""

BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}
"""YAML 1.1's words for true and false. They stay text where the type is not bool."""


def configured(cls: type[T], located: Located, overrides: Iterable[str] = ()) -> T:
    """`cls` from a whole file, after the overrides 'a.b=c'. ConfigError with a sentence for each mistake."""
    for assignment in overrides:
        _spell_out(cls, located)  # an override reaches into what a shorthand stands for
        override(located, assignment)
    _spell_out(cls, located)
    problems: list[str] = []
    made = validated(cls, located.data, located, (), problems)
    if made is None:
        raise ConfigError("\n".join(problems))
    return made


def validated(cls: type[T], data: Plain, located: Located, at: Path, problems: list[str]) -> T | None:
    """`cls` made from plain data; None where that fails and `problems` says why. `at`: the data's path in the file."""
    from pydantic import TypeAdapter, ValidationError

    data = _fitted(data, cls, at, located.origins)
    try:
        # as JSON, whose strict mode takes a list for a tuple and refuses '5' for 5
        return TypeAdapter(cls).validate_json(json.dumps(data), strict=True, extra="forbid")
    except ValidationError as error:
        groups: dict[Path, list[ErrorDetails]] = {}
        for entry in error.errors():
            groups.setdefault(_in_data(entry, data), []).append(entry)  # a union reports each of its members
        for path in _misspelled(cls, groups):
            del groups[path]
        problems += [_sentence(cls, entries, data, located, at, path) for path, entries in groups.items()]
    except TypeError as error:
        key = located.key(at) or "the file"
        problems.append(f"{located.where(at)}: {key} holds what is no plain value ({error}); mend it")
    return None


def message(text: str, located: Located, at: Path) -> str:
    """A ValueError's sentence with its place. Most begin with the key that they are about, some quote its value.

    The key may be written from `at` on, from the top of the file, or from a list that `at` leads through.
    """
    head = (re.match(r'[\w"./-]+', text) or [""])[0].rstrip(".")
    lists = [at[:i] for i, part in enumerate(at) if isinstance(part, int)]
    for base in [at, (), *lists] if head else []:
        found = located.find(head, base)
        key = ".".join(filter(None, (located.key(base), head)))
        if found and _along(found, at) and (len(found) > len(at) or located.key(found) == key):
            return f"{_place(text, located, max(found, at, key=len))}: {key}{text[len(head) :]}"
    key = located.key(at)
    said = text if text.startswith(key) else f"{key}: {text}"
    return f"{_place(text, located, at)}: {said}"


def keys_of(cls: Any, path: Path) -> list[str]:
    """Names of the fields of the dataclass that `path` leads to, from the dataclass `cls`; none for a free mapping."""
    for part in path:
        if is_dataclass(cls):
            cls = _hints(cls).get(str(part))
        else:  # a list or a mapping: the type of its items stands last, but for `tuple[X, ...]`
            inner = [each for each in get_args(cls) if each is not Ellipsis]
            cls = inner[-1] if inner else None
        if get_origin(cls) is not None and type(None) in get_args(cls):
            cls = next(each for each in get_args(cls) if each is not type(None))
    return [entry.name for entry in fields(cls)] if is_dataclass(cls) else []


def _spell_out(cls: type, located: Located) -> None:
    hints = _hints(cls)
    for key in located.data.keys() & hints.keys():
        located.data[key] = _fitted(located.data[key], hints[key], (key,), located.origins)


def _fitted(data: Plain, kind: Any, at: Path, origins: dict[Path, str]) -> Plain:
    """The data as its type has it: shorthands as mappings, 5.0 as 5, yes as true. What does not fit stays."""
    if type(None) in get_args(kind):
        others = [each for each in get_args(kind) if each is not type(None)]
        return data if data is None or len(others) > 1 else _fitted(data, others[0], at, origins)
    if kind is int and isinstance(data, float) and data.is_integer():
        return int(data)
    if kind is bool and isinstance(data, str):
        return BOOLEANS.get(data.lower(), data)
    shorthand = getattr(kind, "SHORTHAND", None)
    if isinstance(shorthand, str) and not isinstance(data, (dict, list)):
        data = {shorthand: data}
        if at in origins:
            origins[(*at, shorthand)] = origins[at]
    inner = [each for each in get_args(kind) if each is not Ellipsis]
    if isinstance(data, list) and len(inner) == 1:
        return [_fitted(item, inner[0], (*at, i), origins) for i, item in enumerate(data)]
    if isinstance(data, dict):
        hints = _hints(kind) if is_dataclass(kind) else dict.fromkeys(data, inner[-1]) if len(inner) == 2 else {}
        return {key: _fitted(value, hints.get(key), (*at, key), origins) for key, value in data.items()}
    return data


def _hints(cls: Any) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except NameError:  # a name that is there for type checkers alone
        return {}


def _misspelled(cls: type, groups: dict[Path, list[ErrorDetails]]) -> set[Path]:
    """Missing keys that stand there under another name. It is one mistake, and told where the other name stands."""
    missing = {path for path, entries in groups.items() if entries[0]["type"] in MISSING}
    unknown = [path for path, entries in groups.items() if entries[0]["type"] in UNKNOWN]
    return missing & {(*path[:-1], near_name(str(path[-1]), keys_of(cls, path[:-1])) or "") for path in unknown}


def _sentence(cls: type, entries: list[ErrorDetails], data: Plain, located: Located, at: Path, path: Path) -> str:
    first, whole = entries[0], at + path
    place, key = located.where(whole), located.key(whole)
    if first["type"] in MISSING:
        return f"{place}: {key} is missing; write it"
    if first["type"] in UNKNOWN:
        return f"{place}: {key} is no key; {nearest(str(path[-1]), keys_of(cls, path[:-1]))}"
    if first["type"] == "value_error":
        return message(str(first["ctx"]["error"]), located, whole)
    value = data
    for part in path:
        value = child(value, part)
    wanted = " or ".join(dict.fromkeys(_wanted(entry["msg"]) for entry in entries))
    shown = json.dumps(value, ensure_ascii=False)
    names = keys_of(cls, path) if wanted == "a mapping" else []
    keys = f"; its keys are {', '.join(names)}" if names else ""
    return f"{place}: {key} should be {wanted}, not {shown if len(shown) <= 60 else shown[:57] + '...'}{keys}"


def _wanted(text: str) -> str:
    for theirs, ours in YAML_WORDS.items():
        text = text.replace(theirs, ours)
    return text.removeprefix("Input should be ").rstrip(".")


def _in_data(entry: ErrorDetails, data: Plain) -> Path:
    """pydantic's location without what is no key of the data, such as the member of a union."""
    path: Path = ()
    named_last = entry["type"] in (*MISSING, *UNKNOWN)
    for i, part in enumerate(entry["loc"]):
        inside = within(data, part)
        if not inside and not (named_last and i == len(entry["loc"]) - 1):
            continue
        path += (part,)
        data = child(data, part) if inside else None
    return path


def _along(one: Path, other: Path) -> bool:
    """Whether one path leads through the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _place(text: str, located: Located, path: Path) -> str:
    """Where the value stands that the sentence quotes; else the last --set below the path; else the path."""
    quoted = _quoted(text, located, path)
    changes = [o for p, o in located.origins.items() if p[: len(path)] == path and o.startswith("--set ")]
    return changes[-1] if changes and quoted == path else located.where(quoted)


def _quoted(text: str, located: Located, at: Path) -> Path:
    """The deepest path below `at` whose key or text the sentence quotes: that is what it is about."""
    best = at

    def visit(node: Plain, path: Path) -> None:
        nonlocal best
        parts: Iterable[str | int] = (
            node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        )
        for part in parts:
            value = child(node, part)
            quoted = (isinstance(value, str) and repr(value) in text) or (isinstance(part, str) and repr(part) in text)
            if quoted and len(path) + 1 > len(best):
                best = (*path, part)
            visit(value, (*path, part))

    node: Plain = located.data
    for part in at:
        if not within(node, part):
            return at
        node = child(node, part)
    visit(node, at)
    return best
