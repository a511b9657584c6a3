"""Exact de-duplication: equal to a dictionary of normalised texts and a sorted list, however the corpus is cut."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import STORED, decide, documents, verdicts

from gristmill.stages.exact_dedup import KEY, ExactDedup
from gristmill.stages.interface import DECISION, CorpusStage

DATES = st.none() | st.integers(1, 3).map(lambda year: datetime(2000 + year, 1, 1, tzinfo=UTC))
TEXTS = st.sampled_from(["", "a", " a\r\n", "a\nb", "a\r\nb", "caf\u00e9", "cafe\u0301", "A", "longer text"])
ROW = st.fixed_dictionaries(
    {"text": TEXTS, "timestamp": DATES, "priority": st.integers(-1, 1), "source": st.sampled_from(["web", "books"])}
)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def by_definition(rows: list[dict], keep: str, scope: str) -> dict[bytes, tuple]:
    def rank(row: dict) -> tuple:
        age = (row["timestamp"] or NEVER).timestamp()
        if keep == "newest" and row["timestamp"]:
            age = -age
        length = -len(row["text"].encode())
        text = row["text"]
        stray = abs(len(text) - len(unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()))
        order = (length, age, row["priority"]) if keep == "longest" else (age, row["priority"], stray, length)
        return (*order, row["id"])

    clusters: dict[tuple, list[dict]] = {}
    for row in rows:
        text = unicodedata.normalize("NFC", row["text"]).replace("\r\n", "\n").strip()
        clusters.setdefault((text, row["source"] if scope == "source" else ""), []).append(row)
    out: dict[bytes, tuple] = {}
    for members in clusters.values():
        survivor = min(members, key=rank)["id"]
        if len(members) > 1:
            out |= {row["id"]: (row["id"] == survivor, survivor, len(members)) for row in members}
    return out


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(ROW, max_size=25),
    random=st.randoms(use_true_random=False),
    exchange=st.integers(1, 5),
    keep=st.sampled_from(["oldest", "newest", "longest"]),
    scope=st.sampled_from(["global", "source"]),
)
def test_survivor_is_the_one_defined_whatever_the_order_and_partitioning(rows, random, exchange, keep, scope):
    rows = [{**row, "id": bytes([251 * i % 256]) * 16} for i, row in enumerate(rows)]
    random.shuffle(rows)
    first = random.randint(0, len(rows))
    sizes = [first, 0, len(rows) - first]
    corpus = documents(rows)
    decided = decide(ExactDedup(keep=keep, scope=scope), corpus, sizes, exchange, batch_rows=random.randint(1, 9))
    assert verdicts(corpus, decided, sizes) == by_definition(rows, keep, scope)


def test_a_corpus_of_nothing_but_duplicates_keeps_one_and_one_without_any_is_untouched():
    corpus = documents({"text": "the same"} for _ in range(1000))
    decided = decide(ExactDedup(), corpus, [400, 600])
    assert decided.column("keep").to_pylist().count(True) == 1
    assert set(decided.column("size").to_pylist()) == {1000}
    assert not any(decided.column("quarantine").to_pylist())
    assert decide(ExactDedup(), documents({"text": f"text {i}"} for i in range(1000))).num_rows == 0


def test_dates_before_1970_are_older_than_those_after():
    dates = [datetime(1999, 1, 1, tzinfo=UTC), None, datetime(1850, 5, 5, tzinfo=UTC)]
    corpus = documents({"text": "x", "timestamp": date} for date in dates)
    decided = decide(ExactDedup(), corpus)
    assert decided.filter(decided.column("keep")).column("handle").to_pylist() == [2]


def test_among_undated_copies_the_one_without_stray_spaces_stays():
    corpus = documents({"text": text} for text in ("words \n", "  words", "words", "words\r\n"))
    decided = decide(ExactDedup(), corpus)
    assert decided.filter(decided.column("keep")).column("handle").to_pylist() == [2]


def test_age_and_priority_come_before_stray_spaces():
    old = datetime(2001, 1, 1, tzinfo=UTC)
    for better in ({"timestamp": old}, {"priority": -1}):
        decided = decide(ExactDedup(), documents([{"text": "words"}, {"text": " words ", **better}]))
        assert decided.filter(decided.column("keep")).column("handle").to_pylist() == [1]


def test_it_is_a_corpus_stage_and_empty_tables_have_the_schema():
    stage = ExactDedup(scope="source")
    assert isinstance(stage, CorpusStage)
    assert stage.survivors(KEY.empty_table()).schema.equals(DECISION)
    empty = pa.RecordBatch.from_pylist([], pa.schema([*STORED, ("handle", pa.uint64())]))
    assert stage.key(empty, None).schema.equals(KEY)
    assert decide(stage, documents([]), [0, 0]).num_rows == 0


def test_unknown_settings_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"exact_dedup.keep is 'best': use one of oldest, newest, longest"):
        ExactDedup(keep="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"exact_dedup.scope is 'host': use global or source"):
        ExactDedup(scope="host")  # type: ignore[arg-type]
