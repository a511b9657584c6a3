"""The perplexity stage: what is measured, where the buckets end, and that no order changes either."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import kenlm_files
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import cut, deliver, over_documents

from gristmill.kernels.text.perplexity import MAX_LINE_BYTES, open_model, perplexities
from gristmill.stages.interface import CorpusStage, DocumentStage
from gristmill.stages.perplexity import (
    BINS_PER_OCTAVE,
    CUTOFFS,
    HISTOGRAM,
    Buckets,
    Measure,
    Perplexity,
    bins,
    percentiles,
    upper_edge,
)
from gristmill.stages.registry import load

ENGLISH, GERMAN = "The miller grinds the grain.", "Der Müller mahlt das Korn."
SCHEMA = pa.schema(
    [("text", pa.large_string()), ("language", pa.string()), ("domain", pa.string()), ("dropped_by", pa.string())]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("lm")
    kenlm_files.language_model(path / "en", ["the miller grinds the grain", "grain in, flour out", "0000 mills"] * 30)
    kenlm_files.language_model(path / "de", ["der müller mahlt das korn", "korn rein, mehl raus"] * 30, seed=2)
    (path / "README").write_text("models")
    return str(path)


def batch(*rows: tuple) -> pa.RecordBatch:
    padded = [(*row, None, None)[:4] for row in rows]
    return pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(zip(*padded), SCHEMA)], schema=SCHEMA)


def alone(folder: str, language: str, text: str) -> float:
    data = np.frombuffer(text.encode(), np.uint8)
    return float(perplexities(open_model(Path(folder) / language), data, np.array([0, len(data)]))[0])


def test_each_language_is_measured_by_its_own_model(folder):
    rows = [
        (ENGLISH, "en", "english"),
        (GERMAN, "de", "multilingual"),
        (GERMAN, "en", "english"),
        (ENGLISH, "de", None),
    ]
    found = Measure(folder).apply(batch(*rows, *rows)).column("perplexity").to_pylist()
    assert found == [alone(folder, language, text) for text, language, _ in [*rows, *rows]]


def test_what_is_code_or_out_or_empty_or_of_no_model_has_no_perplexity(folder):
    rows = [
        (ENGLISH, "fr", "multilingual"),
        (ENGLISH, None, None),
        (ENGLISH, "en", "code"),
        (None, "en", "english"),
        ("\n \n", "en", "english"),
        (ENGLISH, "en", "english", "language.score"),
    ]
    result = Measure(folder, limit=1e-9).apply(batch(*rows))
    assert result.column("perplexity").null_count == len(rows)
    assert result.column("perplexity").type == pa.float64()
    assert result.column("dropped_by").to_pylist() == [None] * 5 + ["language.score"]
    assert Measure(folder).apply(batch(*rows)[:0]).column("perplexity").to_pylist() == []


def test_a_row_has_the_same_perplexity_in_any_batch(folder):
    rows = [(f"{ENGLISH} {n}\n{GERMAN * (n % 7)}", "en" if n % 3 else "de", "english") for n in range(60)]
    whole = Measure(folder).apply(batch(*rows)).column("perplexity").to_pylist()
    parts = [Measure(folder).apply(batch(*rows).slice(n, 1)).column("perplexity")[0].as_py() for n in range(60)]
    assert whole == parts


def test_a_limit_drops_what_is_above_it_with_value_and_limit(folder):
    rows = [(ENGLISH, "en", "english"), (GERMAN, "de", "multilingual"), (GERMAN, "fr", "multilingual")]
    en, de = alone(folder, "en", ENGLISH), alone(folder, "de", GERMAN)
    for limit, of in ((max(en, de), {}), (1.0, {0: en, 1: de}), ({"en": en * 0.99}, {0: en}), ({"fr": 1.0}, {})):
        result = Measure(folder, limit).apply(batch(*rows)).to_pylist()
        assert {i: row["value"] for i, row in enumerate(result) if row["dropped_by"] == "perplexity.limit"} == of
        assert {row["limit"] for row in result} - {None} == (
            {limit if isinstance(limit, float) else en * 0.99} if of else set()
        )


@pytest.mark.slow
def test_the_engine_kenlm_finds_the_same_perplexities(folder, shared_data):
    def real(path: str, number: int) -> list[str]:
        with (shared_data / path).open("rb") as file:
            stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
            return [json.loads(line)["text"][:3000] for line in islice(stream, number)]

    texts = [*real("english/news-digitalgov.jsonl.zst", 40), ENGLISH * 3, "1234 Κόσμος\n\n ", "", "\n", "a\0b", "\x07"]
    texts += ["磨" * (MAX_LINE_BYTES // 3 + 5), "x é" * (MAX_LINE_BYTES // 2)]
    rows = [(text, "en", "english") for text in texts] + [
        (GERMAN, "de", None),
        (None, "en", None),
        (GERMAN, "fr", None),
    ]
    ours, library = (Measure(folder, 900.0, engine).apply(batch(*rows)) for engine in ("gristmill", "kenlm"))
    assert library.schema.equals(ours.schema)
    values, expected = (
        found.column("perplexity").to_numpy(zero_copy_only=False).astype(float) for found in (ours, library)
    )
    assert np.isfinite(values).sum() == len(texts) - 3 + 1
    assert np.allclose(values, expected, rtol=1e-5, equal_nan=True)
    assert ours.column("dropped_by").equals(library.column("dropped_by"))


def test_a_reference_engine_names_its_library(monkeypatch):
    assert Perplexity().libraries == Measure().libraries == ("sentencepiece",)
    stage = Perplexity(engine="kenlm")
    assert stage.libraries == stage.parts()[0].libraries == ("sentencepiece", "kenlm")
    with pytest.raises(ValueError, match=r"perplexity.engine is 'srilm': use gristmill or kenlm"):
        Perplexity(engine="srilm")
    monkeypatch.setattr("gristmill.extras.find_spec", lambda name: None if name == "kenlm" else name)
    with pytest.raises(ValueError, match=r'perplexity.engine: kenlm needs kenlm, .*pip install "gristmill.reference."'):
        Perplexity(engine="kenlm")


PERPLEXITY = st.floats(1.0, 1e12) | st.sampled_from([1.0, 2.0, 4.0, 2 ** (1 / 64), 1e300])


@settings(deadline=None)
@given(st.lists(PERPLEXITY, min_size=1))
def test_a_bin_holds_what_lies_between_its_edges(values):
    found = bins(np.array(values))
    assert all(upper_edge(b - 1) <= value < upper_edge(b) for b, value in zip(found.tolist(), values))
    widths = [upper_edge(b) / upper_edge(b - 1) for b in found.tolist()]
    assert np.allclose(widths, 2 ** (1 / BINS_PER_OCTAVE))


@settings(deadline=None)
@given(st.lists(PERPLEXITY, min_size=1), st.tuples(st.integers(1, 50), st.integers(51, 99)))
def test_cutoffs_are_percentiles_at_the_resolution_of_a_bin(values, wanted):
    found = percentiles(bins(np.array(values)), np.ones(len(values), np.int64), wanted)
    for each, share in zip(found, wanted):
        exact = np.percentile(values, share, method="inverted_cdf")
        assert exact < each <= exact * 2 ** (1 / BINS_PER_OCTAVE) * (1 + 1e-12)
        assert sum(value < each for value in values) * 100 >= share * len(values)


def run(stage: Buckets, corpus: pa.Table, sizes: Sequence[int], batch_rows: int = 7) -> list[dict]:
    """What the stage decides on every row, with rows moved between its rounds as the engine moves them."""
    partitions = cut(corpus, sizes)
    first, second = stage.rounds()
    sent = [over_documents(stage.histogram, first, part, None, batch_rows) for part in partitions]
    assert all(table.schema.equals(HISTOGRAM) for table in sent)
    (met,) = deliver(first, sent, 1)
    answer = stage.cutoffs(met) if met is not None else CUTOFFS.empty_table()
    assert answer.schema.equals(CUTOFFS)
    received = deliver(second, [answer], len(partitions))
    rows: list[dict] = []
    for part, table in zip(partitions, received):
        for each in part.select(stage.needs).combine_chunks().to_batches(max_chunksize=batch_rows):
            rows += stage.decide(each, table).to_pylist()
    return rows


def corpus(count: int, seed: int = 3) -> pa.Table:
    chance = np.random.default_rng(seed)
    values = np.exp(chance.normal(6, 1, count))
    languages = chance.choice(["en", "de", "fr"], count, p=[0.6, 0.3, 0.1])
    return pa.table(
        {"language": pa.array(languages, pa.string()), "perplexity": pa.array(values, mask=languages == "fr")}
    )


def test_buckets_are_the_percentiles_of_each_language():
    table = corpus(5_000)
    rows = run(Buckets(), table, [1_700, 0, 3_300], 500)
    for language in ("en", "de"):
        of = [row for row in rows if row["language"] == language]
        shares = [np.mean([row["bucket"] == name for row in of]) for name in ("head", "middle", "tail")]
        assert np.allclose(shares, [0.3, 0.3, 0.4], atol=0.01)
        order = sorted(of, key=lambda row: row["perplexity"])
        names = [row["bucket"] for row in order]
        assert names == sorted(names)  # head, middle, tail
    assert {row["bucket"] for row in rows if row["language"] == "fr"} == {"all"}
    assert all("dropped_by" not in row for row in rows)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(1, 60), st.integers(1, 9))
def test_no_partition_or_batch_changes_a_bucket(data, count, batch_rows):
    table = corpus(count)
    at = data.draw(st.integers(0, count))
    whole = run(Buckets(("head",)), table, [count], 1_000)
    assert run(Buckets(("head",)), table, [at, 0, count - at], batch_rows) == whole
    order = data.draw(st.permutations(range(count)))
    assert run(Buckets(("head",)), table.take(pa.array(order)), [count], batch_rows) == [whole[i] for i in order]


KEEP = [("head", "middle"), ("head",), ("middle",), ("tail",), ("middle", "tail"), ("head", "tail")]


@pytest.mark.parametrize("keep", KEEP, ids="-".join)
def test_what_is_not_kept_is_dropped_with_the_cutoff_that_it_missed(keep):
    table = corpus(400)
    rows = run(Buckets(keep), table, [400], 50)
    shown = {row["language"]: {} for row in rows}
    for row in rows:
        assert (row["dropped_by"] is None) == (row["bucket"] in (*keep, "all"))
        if row["dropped_by"]:
            assert row["dropped_by"] == "perplexity.bucket"
            assert row["value"] == row["perplexity"]
            better = [name for name in keep if name < row["bucket"]]  # the names sort as the buckets do
            nearest = better if better and not (row["bucket"] == "middle" and keep == ("tail",)) else []
            assert (row["value"] >= row["limit"]) == bool(nearest)
            shown[row["language"]].setdefault(row["bucket"], set()).add(row["limit"])
        else:
            assert row["value"] is None
            assert row["limit"] is None
    assert all(len(limits) == 1 for language in shown.values() for limits in language.values())


def test_a_corpus_without_perplexities_is_all_kept():
    table = pa.table({"language": pa.array(["en", None]), "perplexity": pa.nulls(2, pa.float64())})
    for sizes in ([2], [0, 2]):
        rows = run(Buckets(("head",)), table, sizes)
        assert [(row["bucket"], row["dropped_by"]) for row in rows] == [("all", None)] * 2


def test_a_verdict_that_is_there_stays():
    table = corpus(50).append_column("dropped_by", pa.array(["rules.words"] * 50))
    stage = Buckets(("head",))
    sent = stage.histogram(cut(table, [50])[0].combine_chunks().to_batches()[0], None)
    decided = stage.decide(table.combine_chunks().to_batches()[0], stage.cutoffs(sent))
    assert set(decided.column("dropped_by").to_pylist()) == {"rules.words"}


def test_the_stage_is_two_in_one_and_known_by_its_name():
    stage = load("perplexity")(models="m", keep=["head", "middle"], percentiles=[20, 50], limit={"en": 900})
    assert isinstance(stage, Perplexity)
    measure, buckets = stage.parts()
    assert isinstance(measure, DocumentStage)
    assert isinstance(buckets, CorpusStage)
    assert (measure.models, measure.limit) == ("m", {"en": 900})
    assert (buckets.keep, buckets.percentiles) == (("head", "middle"), (20, 50))
    assert {*measure.adds, *buckets.adds} == set(stage.adds)
    assert isinstance(hash(stage), int)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"keep": ["best"]}, "perplexity.keep has 'best': use head, middle, tail"),
        ({"percentiles": [60, 30]}, "perplexity.percentiles is .60, 30.: give two, rising"),
        ({"percentiles": [30]}, "give two, rising, between 0 and 100"),
        ({"percentiles": [0, 100]}, "give two, rising, between 0 and 100"),
        ({"limit": 0}, "perplexity.limit is 0: give a perplexity above 0"),
        ({"limit": {"en": -1.0}}, "perplexity.limit.en is -1.0: give"),
    ],
)
def test_a_wrong_configuration_is_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        Perplexity(**wrong)
