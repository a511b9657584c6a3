"""YAML with a memory: the plain data of a file, and for every key where it came from.

`read` gives a `Located`: the data, and a table from a path to its origin, as in 'pipeline.yaml:12'. `override` sets one
`a.b=c` of the command line and puts '--set a.b=c' into the table. A path is a tuple of keys and list indices. Scalars
follow YAML 1.2 (`no` is Norwegian, not false; 1e9 is a number; dates stay text), with 200_000_000 allowed. What the
keys mean is not known here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from gristmill.settings.errors import ConfigError

__all__ = [
    *("ConfigError", "Located", "Path", "Plain"),
    *("child", "near_name", "nearest", "override", "parse", "read", "split", "within"),
]

Path = tuple[str | int, ...]

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""What YAML can say."""


@dataclass
class Located:
    data: dict[str, Plain]
    file: str
    origins: dict[Path, str] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """'file:line' or '--set ...' of a path, of the nearest one above it that the file has, or the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.file

    def key(self, path: Path) -> str:
        """The path as a person writes it: items of lists by their name where they have one."""
        parts: list[str] = []
        node: Plain = self.data
        said: str | None = None  # a stage's item and its one key have the same name, which is said once
        for part in path:
            inside = within(node, part)
            name = _item_name(child(node, part)) if inside and isinstance(node, list) else None
            if part != said:
                text = name or str(part)
                parts.append(f'"{text}"' if "." in text and not name else text)
            node = child(node, part) if inside else None
            said = name if node == name or (isinstance(node, dict) and name in node) else None
        return ".".join(parts)

    def find(self, dotted: str, below: Path = ()) -> Path | None:
        """The longest existing path that `dotted` names, None if not even its first part exists.

        `below`: the path that `dotted` starts from.
        """
        node: Plain = self.data
        for part in below:
            if not within(node, part):
                return None
            node = child(node, part)
        path, parts = below, split(dotted)
        while parts:
            step = _step(node, parts)
            if step is None:
                break
            into, parts = step
            path += into
            for part in into:
                node = child(node, part)
        return path if len(path) > len(below) else None


def read(file: str, command: str | None = None, keys: Sequence[str] = ()) -> Located:
    """Parses a file. ConfigError where it is missing, not YAML, has a key twice or is not a mapping.

    `command`, `keys`: an example of a command line and of the file's keys, for the sentences of these errors.
    """
    example = f", as in `{command}`" if command else ""
    try:
        with open(file, encoding="utf-8") as handle:
            text = handle.read()
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name a configuration{example}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as a UTF-8 text file ({error}); check the name{example}") from None
    return parse(text, file, keys)


def parse(text: str, file: str, keys: Sequence[str] = ()) -> Located:
    """The same from the text; `file` is its name in errors."""
    data, origins = _compose(text, file)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        example = f", as in {', '.join(f'`{key}:`' for key in keys)}" if keys else ""
        raise ConfigError(f"{file}:1: the file is {_kind(data)}, not a mapping; write keys{example}")
    return Located(data, file, origins)


def override(located: Located, assignment: str) -> None:
    """Sets one `a.b.c=value` (value in YAML) in place. List items go by index, by their one key, or by their `name`."""
    origin = f"--set {assignment}"
    dotted, equals, text = assignment.partition("=")
    if not equals or not all(part.strip() for part in re.sub(r'"[^"]*"', "quoted", dotted).split(".")):
        raise ConfigError(f"{origin}: is not an assignment; write --set key=value, as in --set seed=2")
    value, _ = _compose(text, origin)
    parts = split(dotted.strip())
    node: Plain = located.data
    path: Path = ()
    while True:
        step = _step(node, parts)
        if step is None:
            if not isinstance(node, dict):
                raise ConfigError(f"{origin}: {_no_item(located, path, node, parts[0])}")
            step = (parts[0],), parts[1:]
        into, parts = step
        for part in into[:-1]:
            node = child(node, part)
        path += into
        if not parts:
            _put(node, into[-1], value)
            break
        below = child(node, into[-1]) if within(node, into[-1]) else None
        if below is None:
            below = {}
            _put(node, into[-1], below)
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
    near = near_name(name, valid)
    return f"did you mean {near}" if near else f"the keys are {', '.join(valid)}"


def near_name(name: str, valid: Sequence[str]) -> str | None:
    """The valid name that `name` is a misspelling of."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return near[0] if near else None


def _step(node: Plain, parts: list[str]) -> tuple[Path, list[str]] | None:
    """(keys or indices to go down by, what is left of the parts). A key that holds dots wins over its beginning."""
    if isinstance(node, dict):
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
    item, rest = node[place], parts[1:]
    name = _item_name(item)
    if isinstance(item, str) and rest:  # a stage without fields gets the first
        node[place] = item = {item: {}}
    if isinstance(item, dict) and name in item and rest:  # into a stage's fields, its name said or not
        return (place, str(name)), rest[1:] if rest[0] == name and len(rest) > 1 else rest
    return (place,), rest


def _item_name(item: Plain) -> str | None:
    """What a list's item is called: its `name`; or its one key, if its fields are below that; or itself if text."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict):
        return None
    if isinstance(name := item.get("name"), str):
        return name
    if len(item) == 1:
        [(key, fields)] = item.items()
        return key if fields is None or isinstance(fields, dict) else None
    return None


def _no_item(located: Located, path: Path, node: Plain, wanted: str) -> str:
    items = node if isinstance(node, list) else []
    names = [name for item in items if (name := _item_name(item))]
    key = located.key(path)
    if names.count(wanted) > 1:
        indices = [str(i) for i, item in enumerate(items) if _item_name(item) == wanted]
        return f"{key} has {wanted} {len(indices)} times; write its place: {' or '.join(indices)}"
    if not items:
        return f"{key} has no {wanted}; it is empty"
    places = f"it is a list of {len(items)}, write a place from 0 to {len(items) - 1}"
    if not names:
        return f"{key} has no {wanted}; {places}"
    return f"{key} has no {wanted}; {nearest(wanted, names)}" + (f"; {places}" if wanted.isdigit() else "")


def within(node: Plain, part: str | int) -> bool:
    """Whether `child` finds something."""
    if isinstance(node, list):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, dict) and part in node


def child(node: Plain, part: str | int) -> Plain:
    """The value at a key or an index. KeyError, IndexError where there is none."""
    if isinstance(node, list) and isinstance(part, int):
        return node[part]
    if isinstance(node, dict) and isinstance(part, str):
        return node[part]
    raise KeyError(part)


def _put(node: Plain, part: str | int, value: Plain) -> None:
    if isinstance(node, list):
        node[int(part)] = value
    elif isinstance(node, dict):
        node[str(part)] = value


def _kind(data: Plain) -> str:
    return "a list" if isinstance(data, list) else f"the one value {data!r}"


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's core schema for scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


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


def _compose(text: str, origin: str) -> tuple[Plain, dict[Path, str]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        origins: dict[Path, str] = {(): _place(origin, node.start_mark)}
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


def _place(origin: str, mark: yaml.Mark) -> str:
    """'file:line'; a --set is its own place."""
    return origin if origin.startswith("--set ") else f"{origin}:{mark.line + 1}"


def _positions(node: yaml.Node, path: Path, origin: str, origins: dict[Path, str], loader: _Loader) -> None:
    """Fills the table, and refuses a key that occurs twice, of which YAML would silently keep the second."""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            origins[(*path, i)] = _place(origin, item.start_mark)
            _positions(item, (*path, i), origin, origins, loader)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            place = _place(origin, key_node.start_mark)
            if key is None:
                raise ConfigError(f"{place}: a key here is a list or a mapping; write a name")
            if key_node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                raise ConfigError(f"{place}: the key {key_node.value!r} is not text; put it in quotes")
            if key in seen:
                dotted = ".".join(map(str, (*path, key)))
                raise ConfigError(f"{place}: {dotted} stands here for the second time; keep one of the two")
            seen.add(key)
            origins[(*path, key)] = place
            _positions(value, (*path, key), origin, origins, loader)
