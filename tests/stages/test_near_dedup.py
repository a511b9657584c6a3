"""Near de-duplication: clusters are the components of shared bands, the survivor is the oldest, however cut."""

from __future__ import annotations

import io
import json
import math
import random
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import STORED, decide, documents, verdicts

from gristmill.stages.interface import DECISION, CorpusStage
from gristmill.stages.near_dedup import BAND, MEMBER, PRESETS, ROOT, NearDedup


@cache
def variants() -> list[str]:
    """60 texts: ten originals of 300 words, each in five versions of rising distance, and ten short or empty texts."""
    generator = random.Random(5)
    texts = ["", " ", "tiny", "tiny", "23 characters, not more", *["four words are few"] * 3, "\u3000", "漢字"]
    for _ in range(10):
        words = [f"{generator.getrandbits(24):06x}" for _ in range(300)]
        for version in range(5):
            texts.append(" ".join(words))
            for _ in range(version):
                words[generator.randrange(300)] = "edited"
    return texts


def by_bands(texts: list[str], stage: NearDedup) -> set[frozenset[int]]:
    """Clusters of two and more: documents joined while any two share a band, found by merging sets."""
    batch = documents({"text": text} for text in texts).append_column(
        "handle", pa.array(np.arange(len(texts), dtype=np.uint64))
    )
    rows = stage.key(batch.combine_chunks().to_batches()[0], None).to_pylist()
    bands = defaultdict(set)
    for row in rows:
        bands[row["route"], row["check"]].add(row["handle"])
    clusters: list[set[int]] = []
    for band in bands.values():
        touching = [c for c in clusters if c & band]
        clusters = [c for c in clusters if not c & band] + [band.union(*touching)]
    return {frozenset(c) for c in clusters if len(c) > 1}


@pytest.mark.parametrize("preset", list(PRESETS))
@settings(deadline=None, max_examples=25)
@given(rng=st.randoms(use_true_random=False), exchange=st.integers(1, 6), keep=st.sampled_from(["oldest", "longest"]))
def test_survivor_is_the_same_whatever_the_partitioning(preset, rng, exchange, keep):
    stage = NearDedup(preset=preset, keep=keep)
    texts = variants()
    fixed = random.Random(9)  # dates belong to documents, not to their order
    dates = [None if fixed.random() < 0.3 else datetime(fixed.randrange(1990, 2000), 1, 1, tzinfo=UTC) for _ in texts]
    never = datetime(9999, 1, 1, tzinfo=UTC)
    expected = {}
    for cluster in by_bands(texts, stage):

        def rank(i: int) -> tuple:
            age, length = dates[i] or never, -len(texts[i].encode())
            return (length, age, i) if keep == "longest" else (age, length, i)

        survivor = min(cluster, key=rank).to_bytes(16, "big")
        for i in cluster:
            expected[i.to_bytes(16, "big")] = (i.to_bytes(16, "big") == survivor, survivor, len(cluster))
    rows = [{"text": t, "timestamp": d, "id": i.to_bytes(16, "big")} for i, (t, d) in enumerate(zip(texts, dates))]
    rng.shuffle(rows)
    first, second = sorted(rng.randint(0, len(rows)) for _ in range(2))
    sizes = [first, second - first, 0, len(rows) - second]
    corpus = documents(rows)
    decided = decide(stage, corpus, sizes, exchange, batch_rows=rng.randint(1, 30))
    assert len(expected) > 30
    assert verdicts(corpus, decided, sizes) == expected


@pytest.mark.parametrize("preset", list(PRESETS))
def test_drafts_of_different_authors_are_never_merged(shared_data, preset):
    import zstandard

    path = shared_data / "labelled" / "neardup-argrewrite.jsonl.zst"
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        drafts = [json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n")]
    corpus = documents({"text": draft["text"]} for draft in drafts)
    sizes = [100, len(drafts) - 100]
    decided = verdicts(corpus, decide(NearDedup(preset=preset), corpus, sizes, batch_rows=64), sizes)
    authors = defaultdict(set)
    for place, draft in enumerate(drafts):
        if (verdict := decided.get(place.to_bytes(16, "big"))) is not None:
            authors[verdict[1]].add(draft["cluster"])
    assert len(authors) > 10  # drafts were found, so the claim is not empty
    assert all(len(found) == 1 for found in authors.values())


def test_a_corpus_of_nothing_but_duplicates_keeps_one():
    text = "a document that everybody copied, word for word"
    corpus = documents({"text": text, "priority": 5 if i else 9} for i in range(3000))
    decided = decide(NearDedup(), corpus, [1000, 2000], batch_rows=500)
    assert set(decided.column("size").to_pylist()) == {3000}
    kept = decided.filter(decided.column("keep"))
    assert kept.column("handle").to_pylist() == [1]  # lower priority wins, then the smallest id


def test_a_corpus_without_duplicates_is_untouched():
    generator = random.Random(1)
    texts = [" ".join(f"{generator.getrandbits(32):x}" for _ in range(40)) for _ in range(500)]
    for preset in PRESETS:
        assert decide(NearDedup(preset=preset), documents({"text": t} for t in texts), batch_rows=100).num_rows == 0


def test_documents_without_a_shingle_are_never_merged():
    corpus = documents({"text": text} for text in ["", "", None, None, "too short", "too short", "a b c d", "a b c d"])
    for preset in PRESETS:
        assert decide(NearDedup(preset=preset), corpus).num_rows == 0


def test_one_huge_document_finds_its_copy():
    huge = " ".join(str(i * i) for i in range(300_000))
    corpus = documents({"text": text} for text in [huge, "another text, and one of ordinary length", huge + " end"])
    for preset in PRESETS:
        decided = decide(NearDedup(preset=preset), corpus).to_pylist()
        assert {row["handle"]: row["keep"] for row in decided} == {0: False, 2: True}  # no dates: the longest stays


def test_a_chain_of_neighbours_is_one_cluster():
    generator = random.Random(2)
    words = [f"{generator.getrandbits(32):08x}" for _ in range(400)]
    corpus = documents({"text": " ".join(words[i : i + 300])} for i in range(0, 100, 2))
    decided = decide(NearDedup(), corpus, [20, 30])
    assert set(decided.column("size").to_pylist()) == {50}  # the ends alone have a similarity of one half


def test_sources_do_not_meet_where_the_scope_is_the_source():
    text = "one and the same text in two sources, long enough for a shingle"
    corpus = documents({"text": text, "source": source} for source in ["web", "books", "web", "books", "news"])
    decided = verdicts(corpus, decide(NearDedup(scope="source"), corpus, [3, 2]), [3, 2])
    assert sorted(size for _, _, size in decided.values()) == [2, 2, 2, 2]
    assert set(decide(NearDedup(), corpus).column("size").to_pylist()) == {5}


def test_the_same_band_hash_with_another_check_is_a_collision_not_a_match():
    table = pa.table({"route": [7, 7, 7, 8], "check": [1, 2, 1, 1], "handle": [10, 11, 12, 13]}, schema=BAND)
    assert NearDedup().edges(table).to_pylist() == [{"handle": 12, "root": 10}]


def test_edges_do_not_depend_on_the_order_of_rows_and_hot_bands_stay_linear():
    generator = np.random.default_rng(1)
    routes, handles = generator.integers(0, 50, 2000).astype(np.uint64), np.arange(2000, dtype=np.uint64)
    table = pa.table({"route": routes, "check": np.zeros(2000, np.uint32), "handle": handles}, schema=BAND)
    edges = NearDedup().edges(table)
    assert edges.equals(NearDedup().edges(table.take(pa.array(generator.permutation(2000)))))
    assert edges.num_rows == 2000 - 50


def test_it_is_a_corpus_stage_and_empty_tables_have_the_schema():
    stage = NearDedup(scope="source")
    assert isinstance(stage, CorpusStage)
    empty = pa.RecordBatch.from_pylist([], pa.schema([*STORED, ("handle", pa.uint64())]))
    assert stage.key(empty, None).schema.equals(BAND)
    assert stage.edges(BAND.empty_table()).schema.equals(ROOT)
    assert stage.components(ROOT.empty_table()).schema.equals(ROOT)
    assert stage.members(empty, None).schema.equals(MEMBER)
    assert stage.members(empty, ROOT.empty_table()).schema.equals(MEMBER)
    assert stage.survivors(MEMBER.empty_table()).schema.equals(DECISION)
    assert decide(stage, documents([]), [0, 0]).num_rows == 0


def planted(jaccard: float, generator: random.Random) -> tuple[str, str, float]:
    """Two texts and the exact similarity of their sets of words: shared and own words, all of them random."""
    shared = round(jaccard * 120)
    own = round((120 - shared) / 2)
    pool = [f"{generator.getrandbits(60):015x}" for _ in range(shared + 2 * own)]
    one, other = pool[: shared + own], pool[:shared] + pool[shared + own :]
    return " ".join(one), " ".join(other), shared / (shared + 2 * own)


@pytest.mark.parametrize("jaccard", [0.6, 0.75, 0.85, 0.95])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_candidates_of_datasketch_come_at_the_rate_of_the_formula(preset, jaccard):
    generator, count = random.Random(int(jaccard * 100)), 200
    pairs = [planted(jaccard, generator) for _ in range(count)]
    corpus = documents({"text": text} for one, other, _ in pairs for text in (one, other))
    batch = corpus.append_column("handle", pa.array(np.arange(2 * count, dtype=np.uint64)))
    stage = NearDedup(preset=preset, shingle="words", size=1, method="datasketch")
    rows = stage.key(batch.combine_chunks().to_batches()[0], None)
    assert rows.schema.equals(BAND)
    bands, width = stage.parameters.bands, stage.parameters.rows
    assert rows.num_rows == 2 * count * bands
    route, check = (rows.column(name).to_numpy().reshape(count, 2, bands) for name in ("route", "check"))
    met = ((route[:, 0] == route[:, 1]) & (check[:, 0] == check[:, 1])).any(1).sum()
    rate = 1 - (1 - pairs[0][2] ** width) ** bands
    assert abs(met - count * rate) <= 4.5 * math.sqrt(count * rate * (1 - rate)) + 1


def test_the_method_datasketch_finds_the_same_copies():
    texts = variants()
    rows = [{"text": text, "source": "ab"[i % 2]} for i, text in enumerate(texts)]
    for stage in (NearDedup(method="datasketch"), NearDedup(method="datasketch", scope="source")):
        ours = NearDedup(scope=stage.scope)
        found, expected = (verdicts(documents(rows), decide(each, documents(rows))) for each in (stage, ours))
        assert len(expected) > 15
        assert len(found.keys() ^ expected.keys()) <= 0.1 * len(expected)  # near the threshold, chance decides
    huge = " ".join(str(i * i) for i in range(20_000))  # more shingles than the library is given at a time
    decided = decide(
        NearDedup(method="datasketch"), documents({"text": text} for text in (huge, huge + " end", "", "x"))
    )
    assert {row["handle"]: row["keep"] for row in decided.to_pylist()} == {0: False, 1: True}


def test_a_reference_method_names_its_library(monkeypatch):
    assert (NearDedup().libraries, NearDedup(method="datasketch").libraries) == ((), ("datasketch",))
    with pytest.raises(ValueError, match=r"near_dedup.method is 'simhash': use minhash or datasketch"):
        NearDedup(method="simhash")  # type: ignore[arg-type]
    monkeypatch.setattr("gristmill.extras.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'datasketch needs datasketch, .*pip install "gristmill.reference."'):
        NearDedup(method="datasketch")


def test_fields_take_the_place_of_the_preset_and_wrong_ones_are_refused():
    assert NearDedup().parameters == ("characters", 24, 20, 13)
    assert NearDedup(preset="fineweb", bands=9, rows=13).parameters == ("words", 5, 9, 13)
    with pytest.raises(ValueError, match="preset is 'dolma': use one of nemo, fineweb"):
        NearDedup(preset="dolma")
    with pytest.raises(ValueError, match=r"near_dedup.rows is 0"):
        NearDedup(rows=0)
    with pytest.raises(ValueError, match="keep is 'random'"):
        NearDedup(keep="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed is -1"):
        NearDedup(seed=-1)
