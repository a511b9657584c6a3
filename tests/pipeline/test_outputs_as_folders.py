"""An output opened as its users open it: each folder as one table, by seven libraries, with nothing told to them.

The truth is read file by file: rows from the Parquet, domain, language and step from the names of the folders.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpus import rows_of
from small_run import code, prose

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine.publish import publish, root_problems
from gristmill.pipeline.run import run
from gristmill.pipeline.steps.first_pass import group_name
from gristmill.pipeline.upkeep.verify import verify
from gristmill.pipeline.views.explain.explanation import explain
from gristmill.storage.hive import MAX_BYTES, folder, values
from gristmill.storage.store import Store

ODD = ("q#", "tutor++")
"""Names of programming languages that no folder has as they stand."""
ODDER = ("a/b", "c=d", "50 %", "ü", "..", "x y", "%41", "?*[0]")
"""Names that only a stage of one's own would give."""
FOLDERS = ("curated", "ledger", "signals")


@pytest.fixture(scope="module")
def output(made_once: Any) -> Path:
    """Prose in a language that is stated, prose in none, and code in languages of odd names; duplicates among them."""

    def make(place: Path) -> None:
        texts = [row["text"] for row in prose()]
        sources = code()
        for number, row in enumerate(sources[:20]):
            row["programming_language"] = ODD[number % len(ODD)]
        written = {
            "english": [{"text": text, "licence": "CC0-1.0"} for text in texts],
            "unsaid": [{"text": f"{text} And so on."} for text in texts[:15]],
            "code": sources,
        }
        for name, rows in written.items():
            (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nno JSON\n", "utf-8")
        config = {
            "output": str(place / "out"),
            "sources": [
                {"name": "english", "uri": str(place / "english.jsonl"), "domain": "english", "language": "en"},
                {"name": "unsaid", "uri": str(place / "unsaid.jsonl")},
                {"name": "code", "uri": str(place / "code.jsonl"), "domain": "code"},
            ],
            "stages": [{"rules": {"presets": ["gopher_repetition"]}}, {"exact_dedup": {}}, {"near_dedup": {}}],
            "tokenizer": {"vocab_size": 1200, "sample_bytes": 200_000},
            "blends": {"pretrain": {"domains": {"english": 0.7, "code": 0.3}, "on_shortage": "renormalize"}},
            "shards": {"tokens_per_shard": 100_000, "dtype": "auto", "formats": ["megatron", "datatrove"]},
            "plan": {"partition_bytes": 200_000},
        }
        (place / "pipeline.yaml").write_text(yaml.safe_dump(config))
        run(load(str(place / "pipeline.yaml")), inline=True)

    return made_once("opened", make) / "out"


def truth(output: Path, name: str) -> list[dict[str, Any]]:
    return [row for path in sorted((output / name).rglob("*.parquet")) for row in rows_of(path)]


def by_pandas(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    table = pd.read_parquet(path)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def by_pyarrow(path: Path) -> list[dict[str, Any]]:
    import pyarrow.dataset as ds

    return ds.dataset(path, partitioning="hive").to_table().to_pylist()


def by_polars(path: Path) -> list[dict[str, Any]]:
    import polars as pl

    return pl.scan_parquet(path, hive_partitioning=True).collect().to_dicts()


def by_duckdb(path: Path) -> list[dict[str, Any]]:
    import duckdb

    glob = f"{path}/**/*.parquet"
    return duckdb.sql(f"SELECT * FROM read_parquet('{glob}', hive_partitioning = true)").to_arrow_table().to_pylist()


def by_ray(path: Path) -> list[dict[str, Any]]:
    import ray

    return ray.data.read_parquet(str(path)).take_all()


TOOLS = [by_pandas, by_pyarrow, by_polars, by_duckdb]


def as_row(row: dict[str, Any], columns: list[str]) -> tuple[Any, ...]:
    """What is compared: ids as hex, names as text."""
    return tuple(
        value.hex() if isinstance(value := row[name], bytes) else value if value is None else str(value)
        for name in columns
    )


IDENTIFYING = {
    "curated": ["id", "cluster", "text", "source", "path", "record", "subset", "domain", "language"],
    "ledger": ["id", "survivor", "step", "stage", "rule", "action", "record", "source"],
    "signals": ["id", "source", "path", "record", "domain", "language", "text_bytes"],
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_a_folder_is_one_table(output: Path, name: str, tool: Callable[[Path], list[dict[str, Any]]]) -> None:
    expected, found = truth(output, name), tool(output / name)
    assert len(found) == len(expected) > 10
    assert {*found[0]} == {*expected[0]}
    columns = IDENTIFYING[name]
    assert Counter(as_row(row, columns) for row in found) == Counter(as_row(row, columns) for row in expected)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
def test_whatever_a_language_is_called_it_comes_back(
    tmp_path: Path, tool: Callable[[Path], list[dict[str, Any]]]
) -> None:
    for language in ODDER:
        place = tmp_path / group_name("code", language)
        place.mkdir(parents=True)
        pq.write_table(pa.table({"name": [language]}), place / "part-00000.parquet")
    found = tool(tmp_path)
    assert sorted(row["language"] for row in found) == sorted(ODDER)
    assert all((row["name"], row["domain"]) == (row["language"], "code") for row in found)


@pytest.mark.slow
@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("name", FOLDERS)
def test_ray_data_reads_a_folder_as_one_table(output: Path, name: str) -> None:
    expected, found = truth(output, name), by_ray(output / name)
    assert {*found[0]} == {*expected[0]}
    columns = IDENTIFYING[name]
    assert Counter(as_row(row, columns) for row in found) == Counter(as_row(row, columns) for row in expected)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", FOLDERS)
def test_hugging_face_datasets_read_a_folder(output: Path, name: str, streaming: bool, tmp_path: Path) -> None:
    import datasets

    made = datasets.load_dataset(
        "parquet", data_dir=str(output / name), split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    expected = truth(output, name)
    columns = [
        column for column in IDENTIFYING[name] if name == "signals" or column not in ("domain", "language", "step")
    ]
    assert Counter(as_row(row, columns) for row in made) == Counter(as_row(row, columns) for row in expected)
    if name == "curated":
        named = {row["subset"]: (row["domain"], row["language"]) for row in expected}
        assert all("-".join(pair) == subset for subset, pair in named.items())


@pytest.mark.parametrize("streaming", [False, True])
def test_the_card_names_what_hugging_face_datasets_load(output: Path, streaming: bool, tmp_path: Path) -> None:
    import datasets

    def loaded(name: str | None = None) -> list[dict[str, Any]]:
        return list(
            datasets.load_dataset(str(output), name, split="train", streaming=streaming, cache_dir=str(tmp_path))
        )

    expected = truth(output, "curated")
    assert sorted(row["id"] for row in loaded()) == sorted(row["id"] for row in expected)
    assert sorted(r["id"] for r in loaded("code")) == sorted(r["id"] for r in expected if r["domain"] == "code")
    wanted = {row["subset"] for row in expected}
    names = datasets.get_dataset_config_names(str(output))
    assert {*names} == {"all", "english", "code", "unknown"} | wanted
    assert {"code-q#", "code-tutor++", "unknown-unknown"} < wanted
    assert sum(len(loaded(name)) for name in wanted) == len(expected)


def test_data_folders_hold_parquet_alone_and_lists_stand_in_manifests(output: Path) -> None:
    for name in FOLDERS:
        assert {path.suffix for path in (output / name).rglob("*") if path.is_file()} == {".parquet"}
        assert not [path for path in (output / name).rglob("*") if path.is_dir() and not any(path.iterdir())]
        listed = json.loads((output / "manifests" / f"{name}.json").read_text())["files"]
        assert sum(entry["rows"] for entry in listed) == len(truth(output, name))
    found = {str(path.relative_to(output / "manifests")) for path in (output / "manifests").rglob("*.*")}
    assert found == {"counts.parquet", "rules.parquet", "root.json", "tables.json", "tokenizer.json",
                     "shards/pretrain.json", *(f"{name}.json" for name in FOLDERS)}  # fmt: skip
    assert verify(str(output)) == []


def test_languages_stand_in_folders_percent_encoded_and_come_back(output: Path) -> None:
    folders = {path.parent.name for path in (output / "curated").rglob("*.parquet")}
    assert {"language=q%23", "language=tutor%2B%2B", "language=unknown"} <= folders
    languages = {row["language"] for row in truth(output, "curated")}
    assert {"q#", "tutor++", "python", "en"} <= languages
    record = json.loads((output / "run.json").read_text())
    assert {group["language"] or "unknown" for group in record["groups"]} == languages


def test_files_have_statistics_where_a_reader_can_leave_out_row_groups(output: Path) -> None:
    for name, wanted in (("curated", "record"), ("ledger", "rule"), ("signals", "text_bytes")):
        path = next((output / name).rglob("*.parquet"))
        row_group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {row_group.column(i).path_in_schema: row_group.column(i) for i in range(row_group.num_columns)}
        assert columns[wanted].statistics.has_min_max
        assert columns["source"].statistics.has_min_max
        assert not any(columns[text].is_stats_set for text in ("text", "metadata", "preview") if text in columns)


def test_the_one_line_join_of_signals_with_curated(output: Path) -> None:
    import duckdb

    joined = duckdb.sql(
        f"""SELECT c.id, s.words FROM read_parquet('{output}/curated/**/*.parquet') c
        JOIN read_parquet('{output}/signals/*.parquet') s ON c.id = lower(hex(s.id))"""
    ).fetchall()
    assert sorted(key for key, _ in joined) == sorted(row["id"] for row in truth(output, "curated"))


def test_ids_are_thirty_two_digits_wherever_people_open_them(output: Path) -> None:
    documents = [row for path in (output / "shards").rglob("*.docs.parquet") for row in pq.read_table(path).to_pylist()]
    rows = [*truth(output, "curated"), *truth(output, "ledger"), *documents]
    ids = [row[name] for row in rows for name in ("id", "cluster", "survivor") if row.get(name) is not None]
    assert all(len(each) == 32 and bytes.fromhex(each).hex() == each for each in ids)
    assert {row["id"] for row in documents} <= {row["id"] for row in truth(output, "curated")}
    odd = next(row for row in truth(output, "curated") if row["language"] == "q#")
    found = explain(Store(str(output)), odd["id"])
    assert (found.outcome, found.document["language"]) == ("curated", "q#")
    assert found.curated is not None
    assert found.curated["file"].startswith("curated/domain=code/language=q%23/")


def test_an_output_of_the_earlier_layout_is_one_sentence_until_it_is_run_again(tmp_path: Path) -> None:
    from gristmill.pipeline.views.report.write import write
    from gristmill.pipeline.views.whatif.answer import whatif

    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "files.json").write_text('{"files": []}')
    for view in (lambda: write(str(tmp_path)), lambda: explain(Store(str(tmp_path)), "x"),
                 lambda: whatif(str(tmp_path), ["words >= 1"])):  # fmt: skip
        with pytest.raises(ValueError, match=r"written by an earlier version of gristmill.*run again") as error:
            view()
        assert "\n" not in str(error.value)
    [problem] = verify(str(tmp_path))
    assert "earlier version" in problem


@pytest.mark.parametrize("value", ["a/b", "..", "", None, "c#", "a=b", "50 %", "日本語", "x" * 500, "%41"])
def test_a_value_is_one_folder_and_comes_back(value: str | None) -> None:
    name = folder("language", value)
    assert "/" not in name
    assert len(name.encode()) <= MAX_BYTES + len("language=")
    kept = value if value and len(value) < 100 else None
    assert values(f"curated/{name}/part-00000.parquet") == {"language": kept}
    assert group_name(None, value).count("/") == 1


def test_what_is_no_list_or_not_the_list_that_the_root_names_is_found(output: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(output, tmp_path / "out", ignore=shutil.ignore_patterns("work"))
    listed = copy / "manifests" / "curated.json"
    content = json.loads(listed.read_text())
    listed.write_text(json.dumps({"files": content["files"][:-1]}))
    assert any("is not the list that manifests/root.json names" in problem for problem in verify(str(copy)))
    listed.write_text("{")
    assert any("curated.json: is damaged" in problem for problem in verify(str(copy)))
    listed.unlink()
    assert any("curated.json: missing" in problem for problem in root_problems(Store(str(copy))))
    (copy / "manifests" / "root.json").write_text("[]")
    assert root_problems(Store(str(copy))) == [f"{copy}/manifests/root.json: is damaged; run again to restore it"]


def test_publishing_again_takes_the_files_of_the_earlier_layout_away(output: Path, tmp_path: Path) -> None:
    from gristmill.pipeline.engine.engine import Engine

    engine = Engine(Store(str(tmp_path)))
    (tmp_path / "curated" / "english" / "en").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "curated" / "english" / "en" / "part-00000.parquet")
    (tmp_path / "curated" / "files.json").write_text("{}")
    publish(engine, "curated", [])
    assert not list((tmp_path / "curated").rglob("*")) or not (tmp_path / "curated").exists()


def test_shards_of_a_run_are_read_by_megatron_and_laid_out_for_datatrove(output: Path) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    from megatron.core.datasets.utils import get_blend_from_list

    folder = output / "shards" / "pretrain"
    prefixes, weights = get_blend_from_list((folder / "megatron.txt").read_text().split())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["dtype"] == "uint16"
    assert [*map(int, weights)] == [shard["tokens"] for shard in manifest["shards"]]
    for prefix in prefixes:
        data = indexed.IndexedDataset(str(folder / prefix))
        tokens = np.fromfile(folder / f"{prefix}.ds", "<u2")
        ends = np.fromfile(folder / f"{prefix}.ds.index", "<u8")
        starts = [0, *ends[:-1].tolist()]
        assert len(data) == len(ends) > 3
        for i, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True)):
            assert data[i].tolist() == tokens[start:end].tolist()
        assert set(tokens[ends - 1].tolist()) == {manifest["eos_id"]}
        assert (folder / f"{prefix}.ds").samefile(folder / f"{prefix}.bin")
        lines = (folder / f"{prefix}.ds.metadata").read_text().split("\n")
        assert lines[:2] == [f"gristmill-{manifest['tokenizer_sha256'][:16]}|2", str(len(tokens))]


def test_without_auto_the_bytes_of_the_shards_are_int32_and_the_ds_is_a_file_of_its_own(
    output: Path, tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(output, tmp_path / "out")
    result = run(load(str(output.parent / "pipeline.yaml"), [f"output={copy}", "shards.dtype=int32"]), inline=True)
    assert [step["name"] for step in result.record["steps"] if step["computed"]] == ["blend/pretrain/write"]
    whole, half = copy / "shards" / "pretrain" / "shard-00000", output / "shards" / "pretrain" / "shard-00000"
    assert np.fromfile(f"{whole}.bin", "<i4").tolist() == np.fromfile(f"{half}.bin", "<u2").tolist()
    for suffix in (".ds", ".ds.index", ".docs.parquet"):
        assert Path(f"{whole}{suffix}").read_bytes() == Path(f"{half}{suffix}").read_bytes()
    assert verify(str(copy)) == []
