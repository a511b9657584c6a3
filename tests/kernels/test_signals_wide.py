"""Eight bytes at a time against one at a time, and tables that grow against a dictionary."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import repetition, wide


@numba.njit
def run_at(data, at):
    return wide.letter_run(wide.load8(data, at))


@numba.njit
def first_at(data, at, byte):
    return wide.trailing_zeros(wide.byte_mask(wide.load8(data, at), byte)) >> 3


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=12), st.binary(max_size=12))
def test_a_hash_depends_on_the_bytes_alone(text: bytes, before: bytes, after: bytes) -> None:
    data = np.frombuffer(before + text + after, np.uint8)
    assert wide.span_hash(data, len(before), len(before) + len(text)) == wide.hash_of(text)


def test_different_texts_have_different_hashes() -> None:
    texts = {b"a" * n for n in range(100)} | {b"\0" * n for n in range(100)} | {b"%d" % n for n in range(100_000)}
    texts |= {b"aaaaaaa%caaa%caaa%c" % (a, b, c) for a in range(30, 60) for b in range(30, 60) for c in range(30, 60)}
    assert len({wide.hash_of(text) for text in texts}) == len(texts)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(min_size=8, max_size=8), st.text("azAZ`{@[v", min_size=8, max_size=8).map(str.encode)))
def test_letters_and_bytes_are_found_where_they_are(chunk: bytes) -> None:
    data = np.frombuffer(chunk, np.uint8)
    letters = next((k for k, byte in enumerate(chunk) if not (byte < 128 and chr(byte).isalpha())), 8)
    assert run_at(data, 0) == letters
    found = next((k for k, byte in enumerate(chunk) if byte | 0x20 == ord("v")), 8)
    assert first_at(data, 0, ord("v")) == found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(1, 5000))
def test_keys_are_numbered_in_the_order_of_their_first_occurrence(few: list[int], many: int) -> None:
    keys = [*few, *range(many), *few, *range(many)]
    table = repetition.table(len(keys))
    for _ in range(2):  # a cleared table is as good as new
        numbers: dict[int, int] = {}
        for key in keys:
            assert repetition.number(np.uint64(key), table) == numbers.setdefault(key, len(numbers))
        repetition.clear(table)
