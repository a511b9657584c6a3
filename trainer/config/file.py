"""A YAML file as frozen dataclasses, with errors that name file, line, key and the nearest valid name.

The dataclasses are the schema: field names are the keys, type hints the types, defaults the defaults. Understood are
int, float, bool, str, Literal, `X | None`, tuple[X, ...] and nested dataclasses; a dataclass with `SHORTHAND` may be
given as a plain value, which fills that field. `--set a.b=c` and `--set phases.0.tokens=1e6` edit the tree before it
is read. Every problem is a `ConfigError`.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from gristmill.trainer.errors import ConfigError

T = TypeVar("T")


def load_config(path: str | Path, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """The file at `path` as `schema`, after the overrides "key.key=value" (values are YAML)."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): give the path of a YAML file") from error
    return parse_config(text, str(path), schema, overrides)


def parse_config(text: str, name: str, schema: type[T], overrides: Iterable[str] = ()) -> T:
    """As `load_config`, from the text; `name` stands in the errors."""
    root = _compose(text, name)
    if root is None:
        root = yaml.MappingNode("tag:yaml.org,2002:map", [], _mark(name))
    _spell_out(root, schema)
    for override in overrides:
        _set(root, override)
    return _read(root, schema, "")


def _compose(text: str, name: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    loader.name = name
    try:
        return loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(f"{name}{line}: this is not YAML, {problem}: correct that line") from error
    finally:
        loader.dispose()


def _spell_out(root: yaml.Node, schema: Any) -> None:
    """Writes shorthands of the top level as mappings, so that an override can reach into them."""
    hints = get_type_hints(schema)
    for i, (name, node) in enumerate(root.value if isinstance(root, yaml.MappingNode) else ()):
        shorthand = getattr(hints.get(name.value), "SHORTHAND", None)
        if shorthand and isinstance(node, yaml.ScalarNode):
            key = yaml.ScalarNode("tag:yaml.org,2002:str", shorthand, node.start_mark)
            mapping = yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)], node.start_mark)
            root.value[i] = (name, mapping)


def _mark(name: str) -> yaml.Mark:
    return yaml.Mark(name, 0, 0, 0, None, 0)


def _set(root: yaml.Node, override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: write it as key.key=value")
    value = _compose(text, f"--set {override}")
    if value is None:
        value = yaml.ScalarNode("tag:yaml.org,2002:null", "", _mark(f"--set {override}"))
    node = root
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, yaml.SequenceNode):
            if not key.isdigit() or int(key) >= len(node.value):
                raise ConfigError(
                    f"--set {override}: '{'.'.join(keys[:depth])}' is a list of {len(node.value)}, "
                    f"'{key}' is no index into it: use 0 to {len(node.value) - 1}"
                )
            if last:
                node.value[int(key)] = value
            else:
                node = node.value[int(key)]
            continue
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"--set {override}: '{'.'.join(keys[:depth])}' is a plain value and has no keys")
        node = _set_key(node, key, value if last else None)


def _set_key(node: yaml.MappingNode, key: str, value: yaml.Node | None) -> yaml.Node:
    """Puts value at key; with None gives what is there, a new mapping where nothing is."""
    for i, (name, held) in enumerate(node.value):
        if name.value == key:
            if value is not None:
                node.value[i] = (name, value)
            return node.value[i][1] if value is not None else held
    mark = value.start_mark if value is not None else node.start_mark
    new = value if value is not None else yaml.MappingNode("tag:yaml.org,2002:map", [], mark)
    node.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", key, mark), new))
    return new


def _read(node: yaml.Node, kind: Any, key: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(node, get_args(kind), key)
    if origin is Literal:
        value = _scalar(node)
        if value in get_args(kind):
            return value
        raise _wrong(node, key, "one of " + ", ".join(map(str, get_args(kind))))
    if origin is tuple:
        if not isinstance(node, yaml.SequenceNode):
            raise _wrong(node, key, "a list")
        return tuple(_read(item, get_args(kind)[0], f"{key}.{i}") for i, item in enumerate(node.value))
    if is_dataclass(kind):
        return _read_dataclass(node, kind, key)
    value = _scalar(node)
    if kind is float or kind is int:
        return _number(node, kind, value, key)
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    raise _wrong(node, key, {str: "a text", bool: "true or false"}[kind])


def _read_union(node: yaml.Node, kinds: tuple, key: str) -> Any:
    if types.NoneType in kinds:
        if isinstance(node, yaml.ScalarNode) and _scalar(node) is None:
            return None
        kinds = tuple(k for k in kinds if k is not types.NoneType)
    for kind in kinds[:-1]:
        try:
            return _read(node, kind, key)
        except ConfigError:
            continue
    return _read(node, kinds[-1], key)


def _read_dataclass(node: yaml.Node, kind: Any, key: str) -> Any:
    hints = get_type_hints(kind)
    shorthand = getattr(kind, "SHORTHAND", None)
    if shorthand and isinstance(node, yaml.ScalarNode):
        return _build(kind, {shorthand: _read(node, hints[shorthand], key)}, node, key)
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, key, "a mapping with the keys " + ", ".join(f.name for f in fields(kind)))
    names = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for name_node, value_node in node.value:
        name = str(name_node.value)
        full = f"{key}.{name}" if key else name
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "valid here are " + ", ".join(names)
            raise ConfigError(f"{_place(name_node)}: unknown key '{full}': {hint}")
        if name in values:
            raise ConfigError(f"{_place(name_node)}: key '{full}' is given twice: remove one")
        values[name] = _read(value_node, hints[name], full)
    for field in fields(kind):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            full = f"{key}.{field.name}" if key else field.name
            raise ConfigError(f"{_place(node)}: key '{full}' is missing: add it")
    return _build(kind, values, node, key)


def _build(kind: Any, values: dict, node: yaml.Node, key: str) -> Any:
    try:
        return kind(**values)
    except ValueError as error:  # a dataclass's own check
        raise ConfigError(f"{_place(node)}: {f'in {key}, ' if key else ''}{error}") from error


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        return node
    return yaml.SafeLoader("").construct_object(node)


def _number(node: yaml.Node, kind: type, value: Any, key: str) -> Any:
    expected = "a whole number" if kind is int else "a number"
    if isinstance(value, str):  # YAML 1.1 takes 1e-8 for a text
        try:
            value = float(value)
        except ValueError:
            raise _wrong(node, key, expected) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(node, key, expected)
    if kind is int and value != int(value):
        raise _wrong(node, key, expected)
    return kind(value)


def _wrong(node: yaml.Node, key: str, expected: str) -> ConfigError:
    got = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    if isinstance(node, yaml.ScalarNode):
        got = f"'{node.value}'"
    return ConfigError(f"{_place(node)}: key '{key or 'the file'}' is {got}: give {expected}")


def _place(node: yaml.Node) -> str:
    mark = node.start_mark
    return mark.name if mark.name.startswith("--set ") else f"{mark.name}:{mark.line + 1}"
