"""The stage `quality` beside the library, with a classifier of real text trained here."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from gristmill.pipeline.models.quality.training import Options, fit, line_of, train
from gristmill.stages.interface import DocumentStage
from gristmill.stages.quality import Quality


def texts(path: Path, number: int) -> list[str]:
    with path.open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        return [json.loads(line)["text"] for line in islice(stream, number)]


@pytest.fixture(scope="module")
def model(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """News against encyclopedia articles, two thirds of which are stubs."""
    path = str(tmp_path_factory.mktemp("quality") / "model.bin")
    english = shared_data / "english"
    options = Options(documents=900, dimensions=16, buckets=20_000, rate=0.5)
    news, articles = ([str(english / f"{name}.jsonl.zst")] for name in ("news-digitalgov", "encyclopedia-wikipedia-en"))
    assert train(news, articles, path, options)["auc"] > 0.97
    return path


def batch(values: list[str | None], domains: list[str | None] | None = None, **columns: list[Any]) -> pa.RecordBatch:
    arrays = {
        "text": pa.array(values, pa.large_string()),
        "domain": pa.array(domains or ["english"] * len(values), pa.string()),
        **{name: pa.array(each) for name, each in columns.items()},
    }
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def test_it_is_a_document_stage() -> None:
    assert isinstance(Quality(), DocumentStage)


@pytest.mark.slow
def test_the_score_is_the_librarys_probability_of_the_label(model: str, shared_data: Path) -> None:
    import fasttext

    given = texts(shared_data / "english" / "news-digitalgov.jsonl.zst", 200)
    given += texts(shared_data / "english" / "encyclopedia-wikipedia-en.jsonl.zst", 200) + ["", "\n"]
    labels, scores = fasttext.load_model(model).predict([text.replace("\n", " ") for text in given], k=2)
    expected = [
        min(1.0, dict(zip(names, values))["__label__good"]) for names, values in zip(labels, scores, strict=True)
    ]
    for label in ("good", "__label__good"):
        result = Quality(model=model, label=label).apply(batch(given))
        assert result.column("quality").to_pylist() == pytest.approx(expected, abs=1e-4)
        assert result.schema.names == ["text", "domain", "quality"]
    opposite = Quality(model=model, label="bad").apply(batch(given)).column("quality").to_pylist()
    assert [a + b for a, b in zip(opposite, expected, strict=True)] == pytest.approx([1.0] * len(given), abs=1e-4)


def test_documents_below_the_minimum_are_dropped_with_value_and_limit(model: str, shared_data: Path) -> None:
    given = texts(shared_data / "english" / "encyclopedia-wikipedia-en.jsonl.zst", 100)
    rows = Quality(model=model, minimum=0.5).apply(batch(given)).to_pylist()
    low = [row for row in rows if row["quality"] < 0.5]
    assert len(low) > 50
    assert all((row["dropped_by"], row["value"], row["limit"]) == ("quality.score", row["quality"], 0.5) for row in low)
    assert all(row["dropped_by"] is None and row["limit"] is None for row in rows if row["quality"] >= 0.5)


def test_only_text_of_the_domains_that_is_still_there_is_scored(model: str) -> None:
    rows = batch(
        ["some text"] * 5 + [None],
        ["english", "multilingual", "code", None, "english", "english"],
        dropped_by=[None, None, None, None, "rules.x", None],
    )
    result = Quality(model=model, domains=("english",), minimum=1.0).apply(rows).to_pylist()
    assert [row["quality"] is not None for row in result] == [True, False, False, True, False, False]
    assert [row["dropped_by"] for row in result] == ["quality.score", None, None, "quality.score", "rules.x", None]
    assert Quality(model=model).apply(batch([])).num_rows == 0


def test_what_is_wrong_is_named_with_its_remedy(model: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file gone.bin; train one with `gristmill quality train`"):
        Quality(model="gone.bin").apply(batch(["a"]))
    with pytest.raises(ValueError, match=r"has no label 'fine'; it has (bad, good|good, bad)"):
        Quality(model=model, label="fine").apply(batch(["a"]))
    with pytest.raises(ValueError, match="minimum: 2 is no probability"):
        Quality(minimum=2)
    with pytest.raises(ValueError, match="unknown domain 'eng'"):
        Quality(domains=("eng",))


def test_words_that_look_like_labels_are_not_trained_on(tmp_path: Path) -> None:
    assert line_of("a __label__x b\n__label__ c d__label__e") == "a  b  c d__label__e"
    lines = tmp_path / "train.txt"
    lines.write_text("".join(f"__label__{'ab'[i % 2]} {line_of('__label__c')} word{i % 7}\n" for i in range(60)))
    fit(lines, tmp_path / "model.bin", Options(dimensions=4, buckets=100, min_count=1))
    from gristmill.kernels.text.fasttext_model import load

    assert sorted(load(str(tmp_path / "model.bin")).labels) == ["__label__a", "__label__b"]
