"""What a step is given makes its fingerprint, what its tasks say survives JSON, and another format is refused."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gristmill.pipeline.engine
import gristmill.pipeline.models.lm
import gristmill.pipeline.steps
from gristmill.pipeline.engine import identity
from gristmill.pipeline.engine.commit import FORMAT, FORMAT_PATH, signed
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming
from gristmill.pipeline.engine.identity import IMMATERIAL, UPSTREAM, by_content, digest
from gristmill.pipeline.engine.manifest import File, Role, Stats
from gristmill.pipeline.engine.records import from_json, shape, to_json
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.first_pass import Input
from gristmill.pipeline.steps.resources import Equipped
from gristmill.stages.extract import Extract
from gristmill.storage.store import Store


@dataclass(frozen=True)
class Given:
    """What a toy is given: by content, by what is upstream, and what does not matter."""

    number: int
    file: File | None = field(metadata=UPSTREAM)
    place: str = field(metadata=IMMATERIAL)


@dataclass(frozen=True)
class MoreGiven(Given):
    added: int


@dataclass(frozen=True)
class Said(Stats):
    length: int


@dataclass(frozen=True)
class SaidMore(Said):
    words: int


def toy(task: Task[Given, Given]) -> Said:
    with task.output.open(Role.DOCUMENTS, ".txt") as file:
        file.write(b"x")
    return Said(task.payload.number)


def toy_that_says_more(task: Task[Given, Given]) -> SaidMore:
    return SaidMore(task.payload.number, 0)


def test_every_field_of_what_a_step_is_given_changes_its_fingerprint_unless_it_is_marked(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    first, other = (File(Role.DOCUMENTS, f"{at}/file", 1, 1, checksum) for at, checksum in (("a", "x"), ("b", "y")))
    plain = Given(1, first, "here")
    before = engine.step("before", Step(toy), [plain], plain)

    def mark(payload: Given, shared: Given, step: Step = Step(toy), upstream: tuple[Any, ...] = ()) -> str:  # noqa: B008
        return engine.step("toy", step, [payload], shared, upstream=upstream).fingerprint

    whole = mark(plain, plain)
    changed = [replace(plain, number=2), replace(plain, file=other), *(MoreGiven(1, first, "here", i) for i in (0, 1))]
    marks = [whole, *(mark(each, plain) for each in changed), *(mark(plain, each) for each in changed)]
    assert len(set(marks)) == 1 + 2 * len(changed)
    assert mark(replace(plain, place="there"), replace(plain, place="there")) == whole
    assert mark(replace(plain, file=replace(first, path="c/file")), plain) == whole
    assert mark(plain, plain, Step(toy, version=2)) != whole
    assert mark(plain, plain, Step(toy_that_says_more)) != whole
    after = mark(plain, plain, upstream=(before,))
    assert mark(replace(plain, file=other), plain, upstream=(before,)) == after
    assert mark(replace(plain, number=2), plain, upstream=(before,)) != after


def test_a_task_is_taken_over_unless_what_it_is_given_changed(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    shared = Given(0, None, "")
    for numbers in ((1, 2, 3), (1, 2, 4)):
        engine.step("toy", Step(toy), [Given(number, None, "") for number in numbers], shared)
    assert (engine.adopted, engine.recomputed) == ({"toy": 2}, {"toy": 4})


def steps() -> dict[str, Step]:
    """Every step of the pipeline by where it is defined."""
    found = {}
    for package in (gristmill.pipeline.engine, gristmill.pipeline.steps, gristmill.pipeline.models.lm):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Step) and value.function.__module__ == module.name:
                    found[f"{module.name}.{name}"] = value
    return found


def dataclasses_of(kind: Any) -> set[type]:
    """Those in an annotation, and in the fields of those."""
    own = get_origin(kind) or kind
    if isinstance(own, type) and is_dataclass(own):
        inside = [*get_args(kind), *get_type_hints(own).values()]
        return {own}.union(*(dataclasses_of(hint) for hint in inside))
    return set().union(*(dataclasses_of(hint) for hint in get_args(kind)))


def test_every_field_that_a_step_of_the_pipeline_is_given_enters_unless_it_is_marked() -> None:
    assert len(steps()) >= 25
    kinds: set[type] = set()
    for step in steps().values():
        hints = get_type_hints(step.function)
        payload, shared = get_args(hints["task"])
        assert not (isinstance(payload, type) and issubclass(payload, tuple | dict)), step
        kinds |= dataclasses_of(payload) | dataclasses_of(shared)
        assert hints["return"] is NoneType or issubclass(hints["return"], Stats), step
    assert {Input, Equipped, File, Incoming} < kinds
    for kind in kinds - {File, Incoming}:
        more = make_dataclass(kind.__name__, [("another", int)], bases=(kind,), frozen=True, kw_only=True)
        one, two = (filled(kind, more, another) for another in (1, 2))
        assert digest(by_content(one)) != digest(by_content(two)), kind


def filled(kind: type, more: type, another: int) -> Any:
    """An instance with `another`; with nothing in it where anything will do."""
    if kind is Input:
        return more(Partition(0, "s", (), 0), SourceSpec("s", "a"), (), (), another=another)
    value = object.__new__(more)
    for each in fields(more):
        object.__setattr__(value, each.name, () if kind is Equipped else None)
    object.__setattr__(value, "another", another)
    return value


def test_where_the_files_are_is_no_part_of_what_the_first_pass_is_given() -> None:
    def given(uri: str, size: int = 1) -> Input:
        segments = (Segment(f"{uri}/x.jsonl", "x.jsonl", size, 0, size),)
        return Input(Partition(0, "s", segments, size), SourceSpec("s", uri), ("e",), ())

    assert digest(by_content(given("/here"))) == digest(by_content(given("s3://there")))
    assert digest(by_content(given("/here"))) != digest(by_content(given("/here", 2)))


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Of distributions, to be changed."""
    found: dict[str, str] = {}
    version = identity.version
    monkeypatch.setattr(identity, "version", lambda name: found.get(name) or version(name))
    identity.installed.cache_clear()
    yield found
    identity.installed.cache_clear()


def test_a_step_runs_again_for_another_version_of_a_library_that_it_calls_and_of_no_other(
    versions: dict[str, str],
) -> None:
    known = {name: (step, [step.identity("x", None)]) for name, step in steps().items()}
    pages = {engine: Equipped((Extract(engine=engine),), {}) for engine in ("resiliparse", "trafilatura")}
    stages = {engine: [digest(by_content(each))] for engine, each in pages.items()}
    for library in ("fasttext", "kenlm", "trafilatura", "sentencepiece", "pyarrow"):
        versions[library] = "99"
        identity.installed.cache_clear()
        for name, (step, seen) in known.items():
            seen.append(step.identity("x", None))
            assert (seen[-1] != seen[-2]) == (library in step.libraries), (name, library)
        for engine, seen in stages.items():
            seen.append(digest(by_content(pages[engine])))
            assert (seen[-1] != seen[-2]) == (library == engine), (engine, library)


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "committed"])
def test_a_work_folder_of_another_format_is_refused_in_one_sentence_and_nothing_is_changed(
    tmp_path: Path, sealed: bool
) -> None:
    folder = tmp_path / "work" / "curate-0123456789abcdef"
    file = {"role": "curated/english/en/part-00000.parquet", "path": "x", "rows": 1, "bytes": 1, "checksum": ""}
    line = signed(json.dumps({"index": 0, "files": [file], "counts": {}, "stats": {"groups": {}}, "key": ""}).encode())
    (folder / "tasks").mkdir(parents=True)
    if sealed:
        table = pa.table({"index": [0], "rows": [1], "bytes": [1], "manifest": [line.decode()]})
        pq.write_table(table.replace_schema_metadata({"tasks": "1"}), folder / "step.parquet")
    else:
        (folder / "tasks" / "0000000.json").write_bytes(line)
    (tmp_path / "curated").mkdir()
    (tmp_path / "curated" / "files.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    given = Given(1, None, "")
    sentence = f"{re.escape(str(tmp_path))}/work: .* of format 1, .*; delete that folder, or choose another output; .*"
    with pytest.raises(ValueError, match=sentence) as error:
        Engine(Store(str(tmp_path))).step("curate", Step(toy), [given], given)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / FORMAT_PATH).write_text('{"format": 99}')
    with pytest.raises(ValueError, match="of format 99"):
        Engine(Store(str(tmp_path))).step("curate", Step(toy), [given], given)
    shutil.rmtree(tmp_path / "work")
    assert len(Engine(Store(str(tmp_path))).step("curate", Step(toy), [given], given).manifests) == 1
    assert json.loads((tmp_path / FORMAT_PATH).read_text()) == {"format": FORMAT}


@dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Everything(Stats):
    parts: tuple[Part, ...]
    by_name: dict[str, Part]
    by_size: dict[int, float]
    rows: tuple[tuple[int, ...], ...]
    best: Part | None
    role: Role


def test_statistics_of_any_shape_survive_json_and_others_are_refused() -> None:
    part = Part("a\0é", (1, 2))
    for best in (part, None):
        stats = Everything((part,), {"x": part}, {3: 0.1}, ((1,), ()), best, Role.LEDGER)
        assert from_json(Everything, json.loads(json.dumps(to_json(stats)))) == stats
    whole = to_json(stats)
    for broken in ({**whole, "parts": 1}, {**whole, "role": "no role"}, {**whole, "more": 1}, {"parts": []}, []):
        with pytest.raises(TypeError):
            from_json(Everything, broken)
    for step in steps().values():
        assert shape(step.stats)
