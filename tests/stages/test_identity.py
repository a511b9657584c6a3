"""Identity: the first document of an id stays, later ones are quarantined, whatever the exchange."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import decide, documents

from gristmill.stages.identity import KEY, Identity
from gristmill.stages.interface import DECISION, CorpusStage


@settings(deadline=None)
@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 4), max_size=3), st.integers(1, 4))
def test_the_first_by_handle_stays_and_the_rest_are_quarantined(numbers, cuts, exchange):
    corpus = documents({"text": f"text {i}", "id": bytes([n]) * 16} for i, n in enumerate(numbers))
    cuts = [c for c in cuts if c <= len(numbers)][:1]
    sizes = [*cuts, 0, len(numbers) - sum(cuts)]
    handles = [p << 32 | row for p, size in enumerate(sizes) for row in range(size)]
    decided = {row["handle"]: row for row in decide(Identity(), corpus, sizes, exchange).to_pylist()}
    for i, n in enumerate(numbers):
        if numbers.count(n) == 1:
            assert handles[i] not in decided
            continue
        row = decided[handles[i]]
        assert row["keep"] == (numbers.index(n) == i)
        assert row["survivor"] == bytes([n]) * 16
        assert row["size"] == numbers.count(n)
        assert row["quarantine"]


def test_ids_that_share_their_first_half_are_different():
    corpus = documents({"text": "x", "id": bytes(15) + bytes([i])} for i in range(4))
    assert decide(Identity(), corpus).num_rows == 0


def test_it_is_a_corpus_stage_and_nothing_in_gives_nothing_out():
    stage = Identity()
    assert isinstance(stage, CorpusStage)
    assert stage.first(KEY.empty_table()).schema.equals(DECISION)
    assert decide(stage, documents([])).num_rows == 0
    batch = pa.RecordBatch.from_pylist([], pa.schema([("id", pa.binary(16)), ("handle", pa.uint64())]))
    assert stage.key(batch, None).schema.equals(KEY)
