"""What ends a line of prose: equal to three substitutions in Python on any text; what is not chosen stays."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.line_ends import normalise
from gristmill.kernels.text.utf8 import buffers

ENDS = "\n\r\f\v\x85\u2028\u2029"
TEXT = st.text(st.sampled_from(ENDS + "a é—Â\u0084\u2027\u202a漢"), max_size=12) | st.text(max_size=40)


def defined(text: str) -> str:
    text = re.sub("\r\n|[\r\v\x85\u2028\u2029]", "\n", text)
    text = re.sub("(?:(?<=\n)|^)\f+|\f+(?=\n|\\Z)", "", text)
    return re.sub("\f+", "\n", text)


def normalised(texts: list[str], chosen: list[bool] | None = None) -> list[str]:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    found = normalise(data, offsets, np.array([True] * len(texts) if chosen is None else chosen, np.bool_))
    if found is None:
        return texts
    out, ends = found
    return [out[a:b].tobytes().decode() for a, b in pairwise(ends.tolist())]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(TEXT, st.booleans()), max_size=6))
@example([("\r\n", True)])
@example([("a" * 3000 + "\x85", True), ("b" * 1023 + "\u2028b", True)])
def test_line_ends_are_their_definition(rows: list[tuple[str, bool]]) -> None:
    texts, chosen = [text for text, _ in rows], [each for _, each in rows]
    expected = [defined(text) if each else text for text, each in rows]
    assert normalised(texts, chosen) == expected


@pytest.mark.parametrize("end", ["\r\n", "\r", "\v", "\x85", "\u2028", "\u2029", "\f"])
def test_every_end_of_a_line_is_one(end: str) -> None:
    assert normalised([f"one{end}two{end}{end}three"]) == ["one\ntwo\nthree" if end == "\f" else "one\ntwo\n\nthree"]


def test_a_page_of_a_book_begins_without_a_paragraph() -> None:
    assert normalised(["a sentence that\n\fgoes on", "\ftitle", "end\n\f", "a\f\r\nb"]) == [
        "a sentence that\ngoes on", "title", "end\n", "a\nb",
    ]  # fmt: skip


def test_a_text_without_them_is_not_copied() -> None:
    data, offsets = buffers(pa.array(["plain\ntext — “quoted”", "漢字\n"], pa.large_string()))
    assert normalise(data, offsets, np.ones(2, np.bool_)) is None
    assert normalise(data, offsets, np.zeros(2, np.bool_)) is None
    assert normalise(data[:0], offsets[:1], np.ones(0, np.bool_)) is None


def test_slices_begin_where_they_begin() -> None:
    column = pa.array(["\r", "a\rb", "c\r\nd", "\r"], pa.large_string()).slice(1, 2)
    data, offsets = buffers(column)
    found = normalise(data, offsets, np.ones(2, np.bool_))
    assert found is not None
    assert found[0].tobytes() == b"a\nbc\nd"
    assert found[1].tolist() == [0, 3, 6]
