"""The report's figures against counting in Python, and the commands from a curated folder to a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from articles import ARTICLE_ONE
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gristmill.tokenizer.build import Recipe, build, count, curated_batches
from gristmill.tokenizer.cli import app
from gristmill.tokenizer.report import figures, measure, measure_all, report

LANGUAGES = ["en", "de", "fr", "es", "ru", "uk", "el", "zh", "ja", "ko", "ar", "he", "hi", "th", "vi", "tr", "ka", "hy"]


def batch(texts, domains, languages) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "id": pa.array([xxhash.xxh3_128_digest(f"{i}{t}".encode()) for i, t in enumerate(texts)], pa.binary(16)),
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array(domains, pa.string()),
            "language": pa.array(languages, pa.string()),
        }
    )


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=5))
@pytest.mark.slow
def test_figures_are_those_of_counting(encoder, texts):
    found = report(encoder, [batch(texts, ["english"] * len(texts), ["en"] * len(texts))])["all"]
    ids = [i for text in texts for i in encoder.encode(text).tolist()]
    spelled = sum(len(c.encode()) for t in texts for c in t if encoder.is_byte[encoder.encode(c)].all())
    assert found["documents"] == len(texts)
    assert found["bytes"] == sum(len(text.encode()) for text in texts)
    assert found["characters"] == sum(map(len, texts))
    assert found["tokens"] == len(ids)
    assert found["byte_tokens"] == sum(encoder.is_byte[i] for i in ids) == spelled
    assert found["byte_characters"] == sum(encoder.is_byte[encoder.encode(c)].all() for t in texts for c in t)
    assert found["round_trip_failures"] == 0


def test_words_are_runs_without_white_space(encoder):
    texts = ["two  words\n", "\u3000é\u00a0x\t", "", "a\x0bb\x85c"]
    found = report(encoder, [batch(texts, ["english"] * 4, ["en"] * 4)])
    assert found["all"]["words"] == 2 + 2 + 0 + 3
    assert found["all"]["fertility"] == found["all"]["tokens"] / 7


def test_languages_without_spaces_have_no_fertility(encoder):
    found = report(encoder, [batch(ARTICLE_ONE, ["multilingual"] * 18, LANGUAGES)])
    without = {row["language"] for row in found["languages"] if row["fertility"] is None}
    assert without == {"zh", "ja", "th"}


def test_parts_add_up_to_the_whole(encoder, texts):
    whole = batch(texts[:12], ["code"] * 12, ["Python", "C"] * 6)
    parts = measure_all((whole.slice(i, 5) for i in range(0, 12, 5)), encoder)
    assert figures(parts, encoder) == figures(measure(whole, encoder), encoder) == report(encoder, [whole])


def test_an_empty_corpus_has_no_ratios(encoder):
    found = report(encoder, [])["all"]
    assert found["tokens"] == 0
    assert found["bytes_per_token"] is None


@pytest.fixture(scope="module")
def curated(texts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "curated"
    (folder / "code").mkdir(parents=True)
    pq.write_table(pa.table(batch(texts[:10], ["code"] * 10, ["Python"] * 10)), folder / "code/0.parquet")
    sentences = [f"{text} {i}\n" for i in range(30) for text in ARTICLE_ONE]
    domains = ["english", *["multilingual"] * 17] * 30
    pq.write_table(pa.table(batch(sentences, domains, LANGUAGES * 30)), folder / "a.parquet")
    return folder


def test_a_curated_folder_becomes_a_tokenizer_with_its_report(curated, tmp_path):
    batches = curated_batches(str(curated))
    corpus = count(batches)
    assert len(corpus) == 19
    recipe = Recipe(vocab_size=2500, sample_bytes=600_000, measure_bytes=100_000)
    content = build(batches, corpus, tmp_path / "a", recipe)
    build(batches, corpus, tmp_path / "b", recipe)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "tokenizer.model",
        "tokenizer.json",
        "tokenizer_config.json",
        "report.json",
    }
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert content["training"]["vocab_size"] == 2500
    assert content["all"]["round_trip_failures"] == 0
    assert content["sample"]["groups"][0]["domain"] == "code"
    assert json.loads((tmp_path / "a/report.json").read_bytes()) == content


@pytest.mark.slow
def test_commands_train_encode_and_report(curated, tmp_path):
    run = CliRunner().invoke
    trained = run(app, ["train", str(curated), "--output", str(tmp_path / "t"), "--vocab-size", "300000"])
    assert trained.exit_code == 0, trained.output
    assert "of memory" in trained.output
    assert "300,000 were asked for" in trained.output
    model = str(tmp_path / "t/tokenizer.model")
    (tmp_path / "x.txt").write_text("born free\n", "utf-8")
    encoded = run(app, ["encode", str(tmp_path / "x.txt"), "--model", model])
    assert np.array(encoded.output.split(), int).size > 0
    measured = run(app, ["report", str(curated), "--model", model, "--output", str(tmp_path / "r.json")])
    assert "round trip: exact" in measured.output
    assert json.loads((tmp_path / "r.json").read_bytes())["all"]["documents"] == 550


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere", "--output", "made"], "nowhere: no such file or folder"),
        (["encode", "nowhere.txt", "--model", "nowhere.model"], "nowhere.model: no such tokenizer"),
        (["report", "nowhere", "--model", "nowhere.model"], "nowhere.model: no such tokenizer"),
    ],
)
def test_wrong_commands_are_one_sentence_and_exit_2(arguments, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gristmill.tokenizer", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_loads_nothing_heavy():
    script = (
        "import sys, gristmill.tokenizer.cli; "
        "print([m for m in ('numpy', 'pyarrow', 'sentencepiece', 'numba', 'ray', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
