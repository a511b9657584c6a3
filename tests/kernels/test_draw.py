"""Draws: equal to the xxhash package on the documented layout, uniform, independent between purposes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.draw import draw, id_array, id_words, uniform

U64 = st.integers(0, 2**64 - 1)


def layout(seed: int, purpose: str, document: bytes, epoch: int) -> int:
    purpose_word = xxhash.xxh3_64_intdigest(purpose.encode())
    words = seed.to_bytes(8, "little") + purpose_word.to_bytes(8, "little") + document + epoch.to_bytes(8, "little")
    return xxhash.xxh3_64_intdigest(words)


@settings(deadline=None)  # the first call compiles
@given(U64, st.text(), st.lists(st.binary(min_size=16, max_size=16), max_size=20), U64)
def test_draw_is_xxh3_of_the_documented_layout(seed, purpose, documents, epoch):
    got = draw(seed, purpose, pa.array(documents, pa.binary(16)), epoch)
    assert got.dtype == np.uint64
    assert got.tolist() == [layout(seed, purpose, d, epoch) for d in documents]


def test_every_document_may_have_its_own_epoch():
    ids = np.arange(160, dtype=np.uint8).reshape(10, 16)
    epochs = np.arange(10)
    assert draw(7, "blend", ids, epochs).tolist() == [layout(7, "blend", bytes(ids[i]), i) for i in range(10)]


def test_a_slice_draws_what_its_rows_draw_in_the_whole():
    ids = pa.array([i.to_bytes(16, "little") for i in range(100)], pa.binary(16))
    assert (draw(1, "x", ids.slice(30, 20)) == draw(1, "x", ids)[30:50]).all()
    assert (draw(1, "x", pa.chunked_array([ids[:7], ids[7:]])) == draw(1, "x", ids)).all()


def test_draws_are_uniform_and_purposes_are_uncorrelated():
    ids = np.zeros((200_000, 16), np.uint8)
    ids[:, :4] = np.arange(200_000, dtype="<u4").view(np.uint8).reshape(-1, 4)
    one, other, later = (
        uniform(draw(1, "holdout", ids)),
        uniform(draw(1, "place", ids)),
        uniform(draw(1, "place", ids, 1)),
    )
    for sample in (one, other, later):
        counts = np.histogram(sample, 100, (0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 160  # chi-squared, 99 degrees of freedom: p = 1e-4
    assert abs(np.corrcoef([one, other, later]) - np.eye(3)).max() < 0.01


def test_words_and_ids_convert_both_ways():
    ids = pa.array([bytes(range(16)), bytes(16)], pa.binary(16))
    assert id_array(id_words(ids)).equals(ids)
    assert len(draw(1, "x", ids[:0])) == 0
    assert len(id_array(np.empty((0, 16), np.uint8))) == 0


@pytest.mark.parametrize(
    "ids", [pa.array([b"short"], pa.binary()), pa.array([None], pa.binary(16)), np.zeros((3, 8), np.uint8)]
)
def test_anything_but_whole_ids_is_refused(ids):
    with pytest.raises(ValueError, match="id"):
        draw(1, "x", ids)


def test_a_seed_outside_64_bits_is_refused():
    with pytest.raises(ValueError, match="seed -1"):
        draw(-1, "x", np.zeros((1, 16), np.uint8))
