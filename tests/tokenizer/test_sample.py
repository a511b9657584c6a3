"""The training sample: budget, lifting of small languages, independence of order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from gristmill.tokenizer.sample import choose, choose_batch, count_bytes, plan_sample

CORPUS = {
    ("english", "en"): 10**9,
    ("multilingual", "de"): 10**8,
    ("multilingual", "is"): 10**6,
    ("code", "Python"): 10**7,
    ("code", "C"): 10**6,
}


def ids(n: int) -> pa.Array:
    return pa.array([xxhash.xxh3_128_digest(str(i).encode()) for i in range(n)], pa.binary(16))


groups = st.tuples(st.sampled_from(["english", "multilingual", "code"]), st.sampled_from("abcdef"))


@given(st.dictionaries(groups, st.integers(1, 10**12), min_size=1), st.integers(1, 10**13), st.floats(0, 1))
def test_the_budget_is_met_as_far_as_there_is_text(corpus, budget, alpha):
    sample = plan_sample(corpus, budget, seed=1, alpha=alpha)
    wanted = min(budget, sum(corpus.values()))
    assert sum(g.target_bytes for g in sample.groups) == pytest.approx(wanted, rel=1e-9, abs=len(corpus))
    assert all(0 <= g.fraction <= 1 and g.target_bytes <= g.bytes for g in sample.groups)


def test_shares_of_domains_hold_where_there_is_enough():
    sample = plan_sample(CORPUS, 2_000_000, seed=1, shares={"english": 0.5, "multilingual": 0.35, "code": 0.15})
    by_domain = {d: sum(g.target_bytes for g in sample.groups if g.domain == d) for d, _ in CORPUS}
    assert by_domain == {"english": 1_000_000, "multilingual": 700_000, "code": 300_000}


def test_small_languages_are_lifted_by_alpha():
    def share(alpha):
        targets = {g.language: g.target_bytes for g in plan_sample(CORPUS, 10**6, seed=1, alpha=alpha).groups}
        return targets["is"] / targets["de"]

    assert share(1.0) == pytest.approx(0.01, rel=1e-3)
    assert share(0.3) == pytest.approx(0.01**0.3, rel=1e-3)
    assert share(0.0) == pytest.approx(1, rel=1e-3)


def test_the_fraction_is_met_in_expectation_and_the_ends_are_exact():
    documents = ids(50_000)
    assert choose(documents, 0.2, 1).mean() == pytest.approx(0.2, abs=0.01)
    assert choose(documents, 1.0, 1).all()
    assert not choose(documents, 0.0, 1).any()


def test_a_larger_fraction_keeps_what_a_smaller_one_chose():
    documents = ids(2000)
    assert not (choose(documents, 0.1, 1) & ~choose(documents, 0.3, 1)).any()
    assert (choose(documents, 0.5, 1) != choose(documents, 0.5, 2)).any()


def test_the_choice_does_not_depend_on_order_or_batches():
    n = 600
    keys = [*CORPUS, ("code", "unseen")]
    batch = pa.record_batch(
        {
            "id": ids(n),
            "domain": pa.array([keys[i % len(keys)][0] for i in range(n)]),
            "language": pa.array([keys[i % len(keys)][1] for i in range(n)]).dictionary_encode(),
        }
    )
    sample = plan_sample(dict.fromkeys(CORPUS, 1000), 2500, seed=3)
    whole = choose_batch(batch, sample)
    order = np.random.default_rng(0).permutation(n)
    mixed = choose_batch(batch.take(pa.array(order)), sample)
    parts = np.concatenate([choose_batch(batch.slice(i, 100), sample) for i in range(0, n, 100)])
    assert (whole[order] == mixed).all()
    assert (whole == parts).all()
    assert not whole[len(CORPUS) :: len(keys)].any()  # the group the plan does not know


def test_bytes_are_counted_per_domain_and_language():
    batch = pa.record_batch({"text": ["é", "ab", None], "domain": ["english"] * 3, "language": ["en", None, "en"]})
    assert count_bytes(batch) == {("english", "en"): 2, ("english", ""): 2}


@pytest.mark.parametrize(
    ("corpus", "options", "message"),
    [
        ({}, {}, "no text in the domains"),
        (CORPUS, {"shares": {"law": 1}}, "no text in the domains"),
        (CORPUS, {"alpha": 2}, "alpha is 2"),
        (CORPUS, {"shares": {"code": -1}}, "share of code is -1"),
        (CORPUS, {"budget_bytes": 0}, "is 0 bytes"),
    ],
)
def test_errors_are_one_sentence(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        plan_sample(corpus, **{"budget_bytes": 1000, "seed": 1, **options})


def test_the_record_is_json_and_names_what_was_taken():
    import json

    record = json.loads(json.dumps(plan_sample(CORPUS, 10**6, seed=1).record()))
    assert (record["budget_bytes"], record["alpha"], record["seed"]) == (10**6, 0.3, 1)
    assert {(g["domain"], g["language"]) for g in record["groups"]} == set(CORPUS)
