"""The list under `stages:`: from YAML to stages in order, and whether the list makes sense.

A stage needs columns that a reader or an earlier stage gives; signals count as given from the first stage on that
decides, because the engine measures them at the end of the first pass. A stage that edits text stands before the first
stage that decides or after the last, because between them text does not move.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from gristmill.settings.located import Located, Path
from gristmill.settings.validation import message, validated
from gristmill.stages.document import RAW
from gristmill.stages.interface import Stage, parts_of, traits
from gristmill.stages.registry import MEASURING, STAGES, load
from gristmill.user_data import found, remedy

RECIPE: tuple[Mapping[str, Any], ...] = (
    {"extract": {}},
    {"language": {}},
    {"rules": {"presets": ["gopher_quality", "gopher_repetition", "nemotron", "code"]}},
    {"exact_dedup": {}},
    {"near_dedup": {}},
)
"""The stages of a configuration that lists none."""

GIVEN = (*RAW.names, "text_bytes", "handle")
"""Columns that every document has: a reader's, and two of the engine's."""

EXAMPLE = "- near_dedup: {preset: nemo}"


def build_stages(
    located: Located, languages: Sequence[str] | None, problems: list[str], files: bool = True
) -> tuple[Stage, ...]:
    """The stages in order; what is wrong is appended to `problems`, and the tuple is then incomplete.

    `languages` goes to the stages that have a field of that name and are given none.
    """
    given = located.data.get("stages")
    items = list(RECIPE) if given is None else given
    if not isinstance(items, list):
        problems.append(f"{located.where(('stages',))}: stages should be a list, as in {EXAMPLE}")
        return ()
    built: list[tuple[Path, Stage]] = []
    for i, item in enumerate(items):
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, Mapping) or len(item) != 1:
            place = located.where(("stages", i))
            problems.append(f"{place}: stages.{i} should be one name with its fields, as in {EXAMPLE}")
            continue
        [(name, values)] = item.items()
        path: Path = ("stages", i, name)
        stage = _stage(name, {} if values is None else values, located, path, languages, problems)
        if stage is not None:
            built.append((path, stage))
    if len(built) == len(items):
        _check_columns(built, located, problems)
        _check_editing(built, located, problems)
        _check_joining(built, located, problems)
    if files:
        _check_files(built, located, problems)
    return tuple(stage for _, stage in built)


def _stage(
    name: str, values: Any, located: Located, path: Path, languages: Sequence[str] | None, problems: list[str]
) -> Stage | None:
    try:
        cls = load(name)
    except ValueError as error:
        problems.append(f"{located.where(path)}: stages: {error}")
        return None
    takes_languages = any(entry.name == "languages" for entry in fields(cls))
    if languages is not None and takes_languages and isinstance(values, Mapping) and "languages" not in values:
        values = {**values, "languages": list(languages)}
    stage: Stage | None = validated(cls, values, located, path, problems)
    return stage and with_fetched(stage)


def with_fetched(stage: Stage) -> Stage:
    """A stage whose models are not where it says, with those of that name that `gristmill fetch` has put elsewhere."""
    named = {name: getattr(stage, name) for name in stage.files}
    moved = {name: found(value) for name, value in named.items() if isinstance(value, str) and found(value) != value}
    return replace(stage, **moved) if moved and is_dataclass(stage) else stage


def _check_columns(built: Sequence[tuple[Path, Stage]], located: Located, problems: list[str]) -> None:
    available = set(GIVEN)
    for i, (path, stage) in enumerate(built):
        if _decides(stage):
            available |= {column for name in MEASURING for column in load(name)().adds}
        lacking = [column for column in stage.needs if column not in available]
        if lacking:
            later = [other.name for _, other in built[i + 1 :] if lacking[0] in other.adds]
            known = next((name for name in STAGES if name != stage.name and _adds(name, lacking[0])), None)
            first = f"move {later[0]}" if later else f"put {known}" if known else "put a stage that does"
            problems.append(
                f"{located.where(path)}: {located.key(path)} needs the column {lacking[0]}, which no stage before it "
                f"adds; {first} before it"
            )
        available |= set(stage.adds)


def _adds(name: str, column: str) -> bool:
    try:
        return column in load(name)().adds
    except ValueError:  # what it needs is not installed
        return False


def _decides(stage: Stage) -> bool:
    return any(traits(part).decides for part in parts_of(stage))


def _check_editing(built: Sequence[tuple[Path, Stage]], located: Located, problems: list[str]) -> None:
    deciding = [i for i, (_, stage) in enumerate(built) if _decides(stage)]
    for i, (path, stage) in enumerate(built):
        if stage.edits and deciding and deciding[0] < i < deciding[-1]:
            first, last = built[deciding[0]][1].name, built[deciding[-1]][1].name
            problems.append(
                f"{located.where(path)}: {located.key(path)} edits text, which it cannot between {first} and {last}; "
                f"put it before {first} or after {last}"
            )


def _check_joining(built: Sequence[tuple[Path, Stage]], located: Located, problems: list[str]) -> None:
    for path, stage in built[:-1]:
        if traits(stage).joins:
            problems.append(
                f"{located.where(path)}: {located.key(path)} joins what all other stages leave; make it the last one"
            )


def _check_files(built: Sequence[tuple[Path, Stage]], located: Located, problems: list[str]) -> None:
    for path, stage in built:
        for name in stage.files:
            value = getattr(stage, name)
            for uri in [value] if isinstance(value, str) else value or ():
                if missing(str(uri)):
                    problems.append(message(f"{uri!r} does not exist; {remedy(str(uri))}", located, (*path, name)))


def missing(uri: str) -> bool:
    """True if `uri` is a path on this machine, or a pattern of paths, and nothing is there. The plan asks elsewhere."""
    path = uri.removeprefix("machine:") or "/" if uri.startswith("machine:") else uri.removeprefix("file://")
    if "://" in path or os.path.exists(path):
        return False
    return not (glob.has_magic(path) and any(True for _ in glob.iglob(path, recursive=True)))
