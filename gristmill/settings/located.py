"""YAML with a memory: the plain data of a file, and for every key where it came from.

`read` gives a `Located`: data and a table path -> 'pipeline.yaml:12'; `override` sets one `a.b=c` of the command line
and puts '--set a.b=c' into the table. A path is a tuple of keys and list indices. Scalars follow YAML 1.2 (`no` is
Norwegian, not false; 1e9 is a number; dates stay text), with 200_000_000 allowed. What the keys mean is not known here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]


class ConfigError(Exception):
    """What is wrong with the configuration: one sentence a line, each with its key and where it stands."""

    exit_code = 2


@dataclass
class Located:
    data: dict[str, Any]
    file: str
    origins: dict[Path, str] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """'file:line' or '--set ...' of a path, of the nearest one above it that the file has, or the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.file

    def key(self, path: Path) -> str:
        """The path as a person writes it: items of lists by their name where they have one."""
        parts: list[str] = []
        node: Any = self.data
        said: str | None = None  # a stage's item and its one key have the same name, which is said once
        for part in path:
            named = isinstance(node, list) and isinstance(part, int) and part < len(node)
            name = _item_name(node[part]) if named else None
            if part != said:
                text = name or str(part)
                parts.append(f'"{text}"' if "." in text and not name else text)
            node = node[part] if _within(node, part) else None
            said = name if node == name or (isinstance(node, Mapping) and name in node) else None
        return ".".join(parts)

    def find(self, dotted: str) -> Path | None:
        """The longest existing path that a key of a message names, None if not even its first part exists."""
        node: Any = self.data
        path: Path = ()
        parts = split(dotted)
        while parts:
            step = _step(node, parts)
            if step is None:
                break
            into, parts = step
            path += into
            for part in into:
                node = node[part]
        return path or None


def read(file: str) -> Located:
    """Parses a file. ConfigError where it is missing, not YAML, has a key twice or is not a mapping."""
    try:
        with open(file, encoding="utf-8") as handle:
            text = handle.read()
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name a configuration, as in `gristmill run pipeline.yaml`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as a UTF-8 text file ({error}); check the name") from None
    data, origins = _parse(text, file)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}:1: the file is not a mapping; write keys, as in `sources:`")
    return Located(data, file, origins)


def override(located: Located, assignment: str) -> None:
    """Sets one `a.b.c=value` (value in YAML) in place. List items go by index, by their one key, or by their `name`."""
    origin = f"--set {assignment}"
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(f"{origin}: is not an assignment; write --set key=value, as in --set seed=2")
    value, _ = _parse(text, origin)
    parts = split(dotted.strip())
    node: Any = located.data
    path: Path = ()
    while True:
        step = _step(node, parts)
        if step is None:
            if not isinstance(node, Mapping):
                raise ConfigError(f"{origin}: {_no_item(located, path, node, parts[0])}")
            step = (parts[0],), parts[1:]
        into, parts = step
        for part in into[:-1]:
            node = node[part]
        path += into
        if not parts:
            node[into[-1]] = value
            break
        below = node[into[-1]] if _within(node, into[-1]) else None
        if below is None:
            below = node[into[-1]] = {}
            located.origins.setdefault(path, origin)
        if not isinstance(below, (dict, list)):
            raise ConfigError(f"{origin}: {located.key(path)} is {below!r}, which has no {parts[0]}; set it as a whole")
        node = below
    for known in [known for known in located.origins if known[: len(path)] == path]:
        del located.origins[known]
    located.origins[path] = origin


def split(dotted: str) -> list[str]:
    """Parts of `a.b."c.d".e`; a dot within quotes does not separate."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^."]+)', dotted)] or [dotted]


def nearest(name: str, valid: Sequence[str]) -> str:
    """'did you mean x' or 'the keys are ...'."""
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.6)
    return f"did you mean {near[0]}" if near else f"the keys are {', '.join(valid)}"


def _step(node: Any, parts: list[str]) -> tuple[Path, list[str]] | None:
    """(keys or indices to go down by, what is left of the parts). A key that holds dots wins over its beginning."""
    if isinstance(node, Mapping):
        for length in range(len(parts), 0, -1):
            joined = ".".join(parts[:length])
            if joined in node:
                return (joined,), parts[length:]
        return None
    if not isinstance(node, list):
        return None
    found = [i for i, item in enumerate(node) if _item_name(item) == parts[0]]
    if parts[0].isdigit() and int(parts[0]) < len(node):
        found = [int(parts[0])]
    if len(found) != 1:
        return None
    [place] = found
    name = _item_name(node[place])
    if isinstance(node[place], str) and len(parts) > 1:  # a stage without fields gets the first
        node[place] = {name: {}}
    item, rest = node[place], parts[1:]
    if (
        name is not None and isinstance(item, Mapping) and name in item and rest
    ):  # into a stage's fields, its name said or not
        return (place, name), rest[1:] if rest[0] == name and len(rest) > 1 else rest
    return (place,), rest


def _item_name(item: Any) -> str | None:
    """A stage's name (an item with one key, or nothing but it), or what the item calls its name."""
    if isinstance(item, str):
        return item
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        return item["name"]
    if isinstance(item, Mapping) and len(item) == 1:
        return str(next(iter(item)))
    return None


def _no_item(located: Located, path: Path, node: Any, wanted: str) -> str:
    names = [name for item in node if (name := _item_name(item))] if isinstance(node, list) else []
    if names.count(wanted) > 1:
        indices = [str(i) for i, item in enumerate(node) if _item_name(item) == wanted]
        return f"{located.key(path)} has {wanted} {len(indices)} times; write its place: {' or '.join(indices)}"
    return f"{located.key(path)} has no {wanted}; {nearest(wanted, names) if names else 'it is empty'}"


def _within(node: Any, part: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, Mapping) and part in node


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's core schema for scalars."""

    yaml_implicit_resolvers: dict = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
    ("merge", r"<<", "<"),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node)).replace("_", "").lower()
    if text.lstrip("+-").isdigit():
        return int(text)
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(value) if "e" in text and value.is_integer() else value  # 1e9 is a count as well as 1_000_000_000


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def _parse(text: str, origin: str) -> tuple[Any, dict[Path, str]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        origins: dict[Path, str] = {}
        _positions(node, (), origin, origins, loader)
        return loader.construct_document(node), origins
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(origin, mark) if mark else origin
        raise ConfigError(f"{place}: this is not valid YAML ({error.problem}); mend it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{origin}: this is not valid YAML ({str(error).splitlines()[0]}); mend it") from None
    finally:
        loader.dispose()


def _place(origin: str, mark: Any) -> str:
    """'file:line'; a --set is its own place."""
    return origin if origin.startswith("--set ") else f"{origin}:{mark.line + 1}"


def _positions(node: yaml.Node, path: Path, origin: str, origins: dict[Path, str], loader: _Loader) -> None:
    """Fills the table, and refuses a key that occurs twice, of which YAML would silently keep the second."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            origins[(*path, i)] = _place(origin, item.start_mark)
            _positions(item, (*path, i), origin, origins, loader)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            place = _place(origin, key_node.start_mark)
            if key is None or key_node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise ConfigError(f"{place}: the key {key_node.value!r} is not text; put it in quotes")
            if key in seen:
                dotted = ".".join(map(str, (*path, key)))
                raise ConfigError(f"{place}: {dotted} stands here for the second time; keep one of the two")
            seen.add(key)
            origins[(*path, key)] = place
            _positions(value, (*path, key), origin, origins, loader)
