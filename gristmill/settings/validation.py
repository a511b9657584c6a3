"""Checks plain data against a dataclass, and says each mistake in one sentence: place, key, what to write instead.

'pipeline.yaml:12: stages.near_dedup.presett is no key; did you mean preset'. The place is the file and
line, or the --set. pydantic finds the mistakes; what is here turns them into sentences. It knows no key by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from gristmill.settings.located import Located, Path, nearest

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


def validated(cls: type, data: Any, located: Located, at: Path, problems: list[str]) -> Any:
    """`cls` made from plain data; None where that fails and `problems` says why. `at`: the data's path in the file."""
    from pydantic import TypeAdapter, ValidationError

    try:
        # as JSON, whose strict mode takes a list for a tuple and refuses '5' for 5
        return TypeAdapter(cls).validate_json(json.dumps(data), strict=True, extra="forbid")
    except ValidationError as error:
        groups: dict[Path, list[Any]] = {}
        for entry in error.errors():
            groups.setdefault(_in_data(entry, data), []).append(entry)  # a union reports each of its members
        problems += [_sentence(cls, entries, data, located, at, path) for path, entries in groups.items()]
    except TypeError as error:
        problems.append(f"{located.where(at)}: {located.key(at)} holds what is no plain value ({error}); mend it")
    return None


def message(text: str, located: Located, at: Path) -> str:
    """A ValueError's sentence with its place. Most begin with the key that they are about, some quote its value."""
    head = (re.match(r'[\w"./-]+', text) or [""])[0].rstrip(".")
    for key in (head, f"stages.{head}"):
        found = located.find(key) if head else None
        if found and _along(found, at) and (len(found) > len(at) or located.key(found) == key):
            return f"{_place(text, located, max(found, at, key=len))}: {key}{text[len(head) :]}"
    key = located.key(at)
    said = text if text.startswith(key) else f"{key}: {text}"
    return f"{_place(text, located, at)}: {said}"


def keys_of(cls: Any, path: Path) -> list[str]:
    """Names of the fields of the dataclass that `path` leads to, from the dataclass `cls`; none for a free mapping."""
    for part in path:
        if is_dataclass(cls):
            cls = get_type_hints(cls).get(str(part))
        else:  # a list or a mapping: the type of its items stands last, but for `tuple[X, ...]`
            inner = [each for each in get_args(cls) if each is not Ellipsis]
            cls = inner[-1] if inner else None
        if get_origin(cls) is not None and type(None) in get_args(cls):
            cls = next(each for each in get_args(cls) if each is not type(None))
    return [entry.name for entry in fields(cls)] if is_dataclass(cls) else []


def _sentence(cls: type, entries: list[Any], data: Any, located: Located, at: Path, path: Path) -> str:
    first, whole = entries[0], at + path
    place, key = located.where(whole), located.key(whole)
    if first["type"] in ("missing", "missing_argument"):
        return f"{place}: {key} is missing; write it"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{place}: {key} is no key; {nearest(str(path[-1]), keys_of(cls, path[:-1]))}"
    if first["type"] == "value_error":
        return message(str(first["ctx"]["error"]), located, whole)
    value = data
    for part in path:
        value = value[part]
    wanted = " or ".join(dict.fromkeys(_wanted(entry["msg"]) for entry in entries))
    shown = json.dumps(value, ensure_ascii=False)
    return f"{place}: {key} should be {wanted}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _wanted(text: str) -> str:
    for theirs, ours in YAML_WORDS.items():
        text = text.replace(theirs, ours)
    return text.removeprefix("Input should be ").rstrip(".")


def _in_data(entry: Any, data: Any) -> Path:
    """pydantic's location without what is no key of the data, such as the member of a union."""
    path: Path = ()
    named_last = entry["type"] in ("missing", "missing_argument", "unexpected_keyword_argument", "extra_forbidden")
    for i, part in enumerate(entry["loc"]):
        inside = isinstance(data, Mapping) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if not inside and not (named_last and i == len(entry["loc"]) - 1):
            continue
        path += (part,)
        data = data[part] if inside else None
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

    def visit(node: Any, path: Path) -> None:
        nonlocal best
        items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
        for part, value in items:
            quoted = (isinstance(value, str) and repr(value) in text) or (isinstance(part, str) and repr(part) in text)
            if quoted and len(path) + 1 > len(best):
                best = (*path, part)
            visit(value, (*path, part))

    node: Any = located.data
    for part in at:
        inside = isinstance(node, Mapping) and part in node
        if not inside and not (isinstance(node, list) and isinstance(part, int) and part < len(node)):
            return at
        node = node[part]
    visit(node, at)
    return best
