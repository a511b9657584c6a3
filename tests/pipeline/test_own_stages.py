"""Stages and readers of one's own do all that ours do: decide by rules, join, decide over the corpus, read a format."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.config.keys import ConfigError, load
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.run import run

OWN = r'''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.draw import id_array
from gristmill.kernels.text.hashing import text_hashes
from gristmill.stages.document import ID
from gristmill.stages.interface import MERGED, Arrangement, Round
from gristmill.stages.presets.rule import Rule
from gristmill.stages.signals import with_columns
from gristmill.stages.survivor import CANDIDATE, COLUMNS, candidates, decisions, id_order, ranking


@dataclass(frozen=True)
class Short:
    """Drops short texts, by a signal that nobody lists."""

    name: ClassVar[str] = "short"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("words",)
    adds: ClassVar[tuple[str, ...]] = ("dropped_by",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    decides: ClassVar[bool] = True

    def rules(self):
        return (Rule("short.words", "words", 3, None, source="own"),)

    def apply(self, batch):
        short = pc.less(batch.column("words"), 3)
        return with_columns(batch, {"dropped_by": pc.if_else(short, "short.words", pa.scalar(None, pa.string()))})


KEY = pa.schema([pa.field("route", pa.uint64()), pa.field("hash", ID), *CANDIDATE])


@dataclass(frozen=True)
class OneOfUrl:
    name: ClassVar[str] = "one_of_url"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("id", "url", "timestamp", "priority")
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def rounds(self):
        return (
            Round("key", over="documents", send="key", columns=("url", *COLUMNS)),
            Round("survivors", over="exchange", send="document"),
        )

    def key(self, batch, received):
        hashes = id_array(text_hashes(batch.column("url").cast(pa.large_string())))
        return pa.Table.from_arrays([pa.array(id_order(hashes)[0]), hashes, *candidates(batch)], schema=KEY)

    def survivors(self, table):
        return decisions(table, id_order(table.column("hash")), ranking(table, "oldest"), "one_of_url.again")


@dataclass(frozen=True)
class Unnamed(OneOfUrl):
    """Its decisions name no rule."""

    name: ClassVar[str] = "unnamed"

    def survivors(self, table):
        decided = super().survivors(table)
        return decided.set_column(decided.schema.get_field_index("rule"), "rule", pa.nulls(len(decided), pa.string()))


@dataclass(frozen=True)
class Threads:
    """Makes one document of all English ones, in the order of their ids."""

    name: ClassVar[str] = "threads"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("id", "text")
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()
    joins: ClassVar[tuple[str, ...]] = ("english",)

    def apply(self, batch):
        return batch

    def route(self, batch):
        return pa.array(np.full(batch.num_rows, 7, np.uint64))

    def keys(self, batch):
        size = pc.binary_length(batch.column("text")).cast(pa.int64())
        return pa.RecordBatch.from_arrays([batch.column("id").cast(pa.binary()), size], ["id", "bytes"])

    def arrange(self, keys):
        order = pc.sort_indices(keys.column("id")).to_numpy().astype(np.int64)
        return Arrangement(order, np.zeros(len(order), np.int64), np.zeros(1, np.int64))

    def combine(self, rows, document, ordinal):
        text = pa.array(["\n".join(rows.column("text").to_pylist())], pa.large_string())
        first = rows.slice(0, 1).set_column(rows.schema.get_field_index("text"), "text", text)
        return first.append_column(MERGED, pa.array([rows.num_rows], pa.int64()))


def read_lines(segment, spec, max_document_bytes, skipped):
    from gristmill.pipeline.readers.rows import Row

    with open(segment.uri) as file:
        for number, line in enumerate(file):
            if line.strip():
                url, text = line.rstrip("\n").split("|")
                folder = spec.uri.rpartition("/")[2]
                yield Row(f"{folder}/{segment.path}", number, text, language="en", url=url)
            else:
                skipped["lines.empty"] += 1


numbers = 3
'''

TEXT = "the mill grinds what the miller brings to it in the morning and in the evening of the day"


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_of_all.py").write_text(OWN)
    yield
    sys.modules.pop("own_of_all", None)


def configuration(*stages: str, source: str = "own_of_all:read_lines") -> str:
    Path("texts").mkdir(exist_ok=True)
    words = TEXT.split()
    texts = [f"u{number % 20}|{' '.join(words[number % 7 :])} {number}" for number in range(30)]
    Path("texts/a.lines").write_text("\n".join([*texts, "", "v|short text", "w|short too"]))
    origin = {"name": "texts", "uri": "texts", "format": source, "domain": "english", "language": "en"}
    config: dict[str, Any] = {
        "output": "out",
        "sources": [origin],
        "stages": list(stages),
        "tokenizer": {"vocab_size": 1000},
        "blends": {"all": {"domains": {"english": 1}}},
    }
    Path("own.yaml").write_text(json.dumps(config))
    return "own.yaml"


def rows(pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(Path("out").glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_a_run_of_own_stages_and_an_own_reader_decides_joins_and_tells_by_attributes() -> None:
    names = ("Short", "OneOfUrl", "Threads")
    record = run(load(configuration(*(f"own_of_all:{name}" for name in names))), inline=True).record
    told = [row["rule"] for row in rows("ledger/*/part-*.parquet")]
    assert {rule: told.count(rule) for rule in set(told)} == {
        "short.words": 2,
        "one_of_url.again": 10,
        "threads.joined": 20,
    }
    assert [row["rule"] for row in rows("manifests/rules.parquet")] == ["short.words"]
    [joined] = rows("curated/**/*.parquet")
    assert len(joined["text"].split("\n")) == 20
    assert record["inputs"]["skipped"] == {"lines.empty": 1}
    kept = rows("work/one_of_url-*/files/selection-*.parquet")
    assert sum(row["alive"] for row in kept) == 20
    assert all(row["cluster"] is None for row in kept)


def test_a_stage_that_clusters_names_the_survivor_as_the_cluster() -> None:
    source = Path("own_of_all.py").read_text()
    Path("own_clustering.py").write_text(source.replace('"one_of_url"', '"one_of_url"\n    clusters = True', 1))
    run(load(configuration("own_clustering:OneOfUrl")), inline=True)
    kept = [row for row in rows("work/one_of_url-*/files/selection-*.parquet") if row["alive"]]
    assert sum(row["cluster"] is not None for row in kept) == 10


def test_a_decision_by_no_rule_is_refused_in_a_sentence() -> None:
    with pytest.raises(Exception, match="unnamed: drops a document by no rule; fill `rule` of its decisions"):
        run(load(configuration("own_of_all:Unnamed")), inline=True)


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ("no_such_module_here:read", "there is no module no_such_module_here on the Python path or in"),
        ("own_of_all:gone", "the module own_of_all has no function gone; check its name"),
        ("own_of_all:numbers", "numbers of the module own_of_all is not callable; name a function"),
        (":read", "names no function; write module:function"),
        ("pipeline.readers.jsonl:read_jsonl", "pipeline.readers.jsonl is now gristmill.pipeline.readers.jsonl; write"),
        ("jsnl", "unknown format 'jsnl'; use one of jsonl, json, parquet,"),
    ],
)
def test_a_reader_that_is_none_is_one_sentence_with_its_place(reader: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(configuration(source=reader))
    [sentence] = str(caught.value).splitlines()
    assert sentence.startswith("own.yaml:1: sources.texts.format: ")
    assert said in sentence


def test_a_reader_of_ones_own_is_asked_for_by_its_name_alone() -> None:
    assert SourceSpec("s", "x", format="own_of_all:read_lines").stated == "own_of_all:read_lines"
    assert SourceSpec("s", "machine:", format=None).stated == "machine"
