"""The stateless loader: shares, permutation, windows, documents, phases."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenizer.shards import ShardReader
from gristmill.trainer.config.keys import Batch, LearningRate, Phase, Source
from gristmill.trainer.config.schedule import Schedule, Step
from gristmill.trainer.data.blend import UNIT, Blend
from gristmill.trainer.data.feed import Feed, shares
from gristmill.trainer.data.loader import Loader
from gristmill.trainer.data.permutation import key64, permute
from gristmill.trainer.data.shard_set import ShardSet
from gristmill.trainer.data.unigram import unigram_entropy
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.parallel.groups import Group

LENGTH = 64


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permutation_is_a_bijection_and_random_access(n, key):
    images = permute(np.arange(n), n, key)
    assert sorted(images.tolist()) == list(range(n))
    some = np.array([0, n - 1, n // 2])
    assert permute(some, n, key).tolist() == images[some].tolist()


def test_permutation_works_beyond_32_bits_and_differs_by_key():
    n = 2_000_000_011
    index = np.array([0, 1, n - 1, 1_234_567_890])
    a, b = permute(index, n, key64(1, "x", epoch=0)), permute(index, n, key64(1, "x", epoch=1))
    assert a.max() < n
    assert a.min() >= 0
    assert a.tolist() != b.tolist()


def test_permutation_leaves_no_order():
    """Neighbours land apart: rank correlation of index and image is that of chance (sd 1/sqrt(n))."""
    n = 10_000
    images = permute(np.arange(n), n, 7)
    assert abs(np.corrcoef(np.arange(n), images)[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(images[:-1], images[1:])[0, 1]) < 5 / np.sqrt(n)


@given(
    st.lists(st.one_of(st.floats(0.01, 1.0), st.sampled_from([1.0, 2.0, 5.0, 20.0])), min_size=1, max_size=12),
    st.integers(0, 2**20),
    st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_every_source_is_within_one_sample_of_its_share_at_every_moment(given_weights, first_block, more):
    """At the start of a run and far into it, in exact arithmetic; all samples of a source come once, in order."""
    block = int(sum(given_weights) / min(given_weights)) + 2 + more
    blend = Blend(given_weights, block)
    shares = [int(share) for share in blend.shares]
    for start in (0, first_block * block):
        counts = blend.counts(start).tolist()
        source, local = blend.locate(np.arange(start, start + 3 * block + 17))
        for done, (k, number) in enumerate(zip(source.tolist(), local.tolist(), strict=True), start + 1):
            assert number == counts[k]
            counts[k] += 1
            assert all(abs(c * UNIT - done * share) < UNIT for c, share in zip(counts, shares, strict=True))
        assert blend.counts(done).tolist() == counts


def test_blend_is_random_access_far_into_a_run():
    blend = Blend([0.7, 0.2, 0.1])
    g = np.array([65_536 * 200 + 5, 3, 65_536 * 200 + 6])
    source, local = blend.locate(g)
    again = [tuple(int(x[0]) for x in Blend([7, 2, 1]).locate(np.array([i]))) for i in g]
    assert list(zip(source.tolist(), local.tolist(), strict=True)) == again


def test_blend_refuses_a_weight_below_one_sample_per_block():
    with pytest.raises(ValueError, match=r"raise data\.block_samples to"):
        Blend([1.0, 1e-6])


def test_windows_cover_every_token_of_a_shard_once_as_a_label(shards):
    shard_set = ShardSet(shards, LENGTH)
    readers = [ShardReader(shards / f"shard-0000{i}") for i in range(2)]
    expected = [(len(r.tokens) - 1) // LENGTH for r in readers]
    assert len(shard_set) == sum(expected)
    labels = np.concatenate([shard_set.window(w).tokens[1:] for w in range(expected[0])])
    assert labels.tolist() == readers[0].tokens[1 : 1 + len(labels)].tolist()
    assert shard_set.window(expected[0]).tokens.tolist() == readers[1].tokens[: LENGTH + 1].tolist()


def test_windows_of_uint16_shards_are_those_of_int32(shards, half_shards):
    half = ShardSet(half_shards, LENGTH)
    whole = ShardSet(shards, LENGTH)
    assert half.reader(0).dtype.itemsize == 2
    assert len(half) == len(whole)
    for w in range(0, len(whole), 5):
        one, other = half.window(w), whole.window(w)
        for field in ("tokens", "begins", "domains"):
            assert getattr(one, field).tolist() == getattr(other, field).tolist()
    data, schedule = loader(half_shards, shards)
    samples = data.fetch(1, np.arange(schedule.first_sample(1), schedule.first_sample(1) + 8))
    assert samples.tokens.dtype == samples.labels.dtype == np.int64


def test_document_starts_are_those_after_an_eos(shards):
    shard_set = ShardSet(shards, LENGTH)
    found = 0
    for w in range(0, len(shard_set), 7):
        window = shard_set.window(w)
        assert window.begins.tolist() == [0, *(np.flatnonzero(window.tokens[: LENGTH - 1] == 3) + 1).tolist()]
        found += len(window.begins) - 1
    assert found > 5


def test_a_label_has_the_domain_of_the_document_it_lies_in(shards, other_shards):
    """Of every window, against a table with a row per token; over two sets the loader numbers domains alike."""
    shard_set = ShardSet(shards, LENGTH)
    window = 0
    for i in range(2):
        reader = ShardReader(shards / f"shard-0000{i}")
        names = np.repeat(reader.documents(["domain"])["domain"].to_numpy(zero_copy_only=False), reader.lengths)
        for start in range(0, (len(names) - 1) // LENGTH * LENGTH, LENGTH):
            expected = names[start + 1 : start + 1 + LENGTH].tolist()
            assert [shard_set.domains[code] for code in shard_set.window(window).domains] == expected
            window += 1
    assert window == len(shard_set)
    data, schedule = loader(shards, other_shards)
    first = schedule.first_sample(1)
    samples = data.fetch(1, np.arange(first, first + 20))
    assert data.domains == ["code", "english"]
    assert samples.domains.shape == samples.labels.shape
    assert set(np.unique(samples.domains)) == {0, 1}


FLAT = (Batch(4),)


def loader(shards, other, seed=1, ramp=FLAT, first=20_000, weight=0.4):
    blend = (Source(str(shards), 1 - weight), Source(str(other), weight))
    phases = (
        Phase(tokens=first, shards=str(shards), batch_ramp=ramp, learning_rate=LearningRate(1e-3)),
        Phase(tokens=30_000, blend=blend, batch_ramp=ramp),
    )
    schedule = Schedule(phases, LENGTH)
    return Loader(phases, schedule, seed, 32), schedule


def test_every_window_is_seen_once_per_epoch_in_a_new_order(shards, other_shards):
    data, _ = loader(shards, other_shards, first=10_000_000)
    size = len(data.sets[0])
    _, epoch, window = data.locate(0, np.arange(2 * size))
    assert epoch.tolist() == [0] * size + [1] * size
    assert sorted(window[:size].tolist()) == sorted(window[size:].tolist()) == list(range(size))
    assert window[:size].tolist() != window[size:].tolist()


def test_samples_do_not_depend_on_how_they_are_batched_or_sliced(shards, other_shards):
    """Any batch ramp, micro-batch or data-parallel slice: sample g of a phase is the same tokens."""
    data, _ = loader(shards, other_shards)
    other, _ = loader(shards, other_shards, ramp=(Batch(2, 3000), Batch(7)))
    whole = data.fetch(0, np.arange(100, 124)).tokens
    for pieces in (2, 3, 8):
        parts = [other.fetch(0, piece).tokens for piece in np.split(np.arange(100, 124), pieces)]
        assert (np.concatenate(parts) == whole).all()


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 50), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_ranks_of_a_step_share_its_samples_in_order(sequences, micro_batch, ranks, first):
    """Also where the ranks do not divide the batch: every sample once, no rank more than one sample above another."""
    step = Step(0, 0, first, sequences, 1e-3)
    of_rank = [shares(step, Group(rank, ranks), micro_batch) for rank in range(ranks)]
    flat = [sample for pieces in of_rank for piece in pieces for sample in piece.tolist()]
    assert flat == list(range(first, first + sequences))
    sizes = [sum(map(len, pieces)) for pieces in of_rank]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(piece) <= micro_batch for pieces in of_rank for piece in pieces)


def test_the_feed_gives_what_the_steps_need_and_then_ends(shards, other_shards):
    data, schedule = loader(shards, other_shards, ramp=(Batch(3, 3000), Batch(5)), first=5_000)
    start = 24
    with Feed(data, schedule, Group(1, 2), 2, start) as feed:
        samples = start
        while (step := schedule.at(samples)) is not None:
            for piece in shares(step, Group(1, 2), 2):
                assert (feed.take().tokens == data.fetch(step.phase, piece).tokens).all()
            samples += step.sequences
        with pytest.raises(IndexError):
            feed.take()


def test_a_source_goes_on_in_the_next_phase_where_it_stopped(shards, other_shards):
    """To the window, though the last step of the first phase reaches past its end: nothing twice, nothing left out."""
    data, schedule = loader(shards, other_shards, ramp=(Batch(9),))
    start, total = schedule.first_sample(1), schedule.total_samples
    assert start * LENGTH > 20_000
    _, _, before = data.locate(0, np.arange(start))
    member, epoch, window = data.locate(1, np.arange(start, total))
    assert (epoch == 0).all()
    seen = [*before.tolist(), *window[member == 0].tolist()]
    assert len(seen) > start + 200
    one_phase, _ = loader(shards, other_shards, first=10**7)
    assert seen == one_phase.locate(0, np.arange(len(seen)))[2].tolist()
    consumed = data.consumed(1, total)
    assert consumed == {str(shards): len(seen) / len(data.sets[0]), str(other_shards): consumed[str(other_shards)]}
    assert dict(data.epochs) == consumed


def test_seed_and_content_decide_the_order_the_path_does_not(shards, other_shards, tmp_path):
    moved = shutil.copytree(shards, tmp_path / "elsewhere")
    a, b, c = (loader(*args)[0] for args in ((shards, other_shards), (moved, other_shards), (shards, other_shards, 2)))
    ids = np.arange(50)
    assert a.locate(0, ids)[2].tolist() == b.locate(0, ids)[2].tolist() != c.locate(0, ids)[2].tolist()


def test_positions_and_borders_follow_the_documents(shards, other_shards):
    data, _ = loader(shards, other_shards)
    samples = data.fetch(0, np.arange(12))
    flat, positions, cu = samples.tokens.reshape(-1), samples.positions.reshape(-1), samples.cu_seqlens
    assert cu[0] == 0
    assert cu[-1] == flat.size
    assert set(range(0, flat.size, LENGTH)) <= set(cu.tolist())
    for start, end in itertools.pairwise(cu):
        assert positions[start:end].tolist() == list(range(end - start))
        assert not (flat[start : end - 1] == 3).any()
    assert (samples.labels[:, :-1] == samples.tokens[:, 1:]).all()


def test_unigram_entropy_is_that_of_the_mixed_frequencies(shards, other_shards):
    sets = [ShardSet(shards, LENGTH), ShardSet(other_shards, LENGTH)]
    p: Counter = Counter()
    for shard_set, weight in zip(sets, (0.25, 0.75), strict=True):
        tokens = np.concatenate([shard_set.reader(i).tokens for i in range(2)]).tolist()
        for token, count in Counter(tokens).items():
            p[token] += weight * count / len(tokens)
    expected = -sum(q * np.log(q) for q in p.values())
    assert unigram_entropy(sets, (1, 3)) == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fit_is_said_in_one_sentence(shards, other_shards, tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.json: no such file"):
        loader(tmp_path, other_shards)
    phases = (Phase(tokens=10**7, shards=str(shards), learning_rate=LearningRate(1e-3)),)
    with pytest.raises(ConfigError, match="lower sequence_length"):
        Loader(phases, Schedule(phases, 10**6), 1, 32)
    torn = shutil.copytree(shards, tmp_path / "torn")
    (torn / "shard-00000.bin").write_bytes((torn / "shard-00000.bin").read_bytes()[:-400])
    with pytest.raises(ConfigError, match="copy the shard again"):
        loader(torn, other_shards)[0].fetch(0, np.arange(40))
