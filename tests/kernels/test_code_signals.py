"""Counts of source files are their definitions in plain Python, on random text and on every real file."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import code_signals, utf8

BASE64 = re.compile(r"[a-zA-Z0-9+/\n=]{64,}")
HEXADECIMAL = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}")
UNICODE = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")
HIDDEN = re.compile(
    r"(?ais)<!--.*?(?:-->|\Z)|<(script|style)(?=[\s/>]).*?(?:</\1(?=[\s/>])[^>]*(?:>|\Z)|\Z)|<[a-z/!?][^>]*(?:>|\Z)"
)


def defined(text: str) -> dict[str, int]:
    lines = text.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    covered: set[int] = set()
    longest = 0
    for pattern in (BASE64, HEXADECIMAL, UNICODE):
        for match in pattern.finditer(text):
            covered.update(range(*match.span()))
            longest = max(longest, len(match[0]))
    return {
        "characters": len(text),
        "lines": len(lines),
        "line_characters": sum(map(len, lines)),
        "longest_line": max(map(len, lines), default=0),
        "letters": sum(c.isalpha() for c in text),
        "alphanumerics": sum(unicodedata.category(c)[0] in "LN" for c in text),
        "xml_header": int("<?xml version=" in text[:100]),
        "encoded_characters": len(covered),
        "longest_encoded": longest,
        "visible_characters": len(HIDDEN.sub("", text)),
    }


def counted(texts: list[str]) -> list[dict[str, int]]:
    column = pa.array(texts, pa.large_string())
    all_rows = np.ones(len(texts), bool)
    rows = code_signals.count(*utf8.buffers(column), all_rows, all_rows)
    return [dict(zip(code_signals.COUNTS, row, strict=True)) for row in rows.tolist()]


PIECES = st.sampled_from(
    [*("0x1f,", "\\x41", "ab ", "AB\n", "7f,", "c0\t", "é", "_", "0x", ",", " ", "\u2003", "x", "Ⅷ", "\\u00e9")]
    + [*("\\u12", "QUJD", "\n", "=", "+/", "<script>", "</script >", "<style\n", "</style>", "<!--", "-->", "<p>")]
    + [*("</p", ">", "<", "<!", "a<b", "漢字", "<?xml version=", "<SCRIPT/>", "<scriptx>", "</sty", "&amp;", "\r\n")]
)
TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(PIECES, max_size=60).map("".join),
    st.tuples(PIECES, st.integers(1, 90), st.lists(PIECES, max_size=20)).map(lambda t: t[0] * t[1] + "".join(t[2])),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXT, max_size=4))
@pytest.mark.slow
def test_counts_are_their_definitions(texts: list[str]) -> None:
    assert counted(texts) == [defined(text) for text in texts]


@pytest.mark.slow
def test_counts_of_real_files_are_their_definitions(shared_data: Path) -> None:
    with (shared_data / "code" / "code-permissive.jsonl.zst").open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        texts = [json.loads(line)["text"] for line in stream]
    for text, counts in zip(texts, counted(texts), strict=True):
        assert counts == defined(text)


def test_rows_that_are_not_asked_for_are_not_counted() -> None:
    column = pa.array(["<p>abc</p>", "<p>abc</p>", None], pa.large_string())
    rows = code_signals.count(*utf8.buffers(column), np.array([True, False, False]), np.zeros(3, bool))
    assert rows[0].any()
    assert not rows[1:].any()
    assert rows[0, code_signals.AT.visible_characters] == 0


@settings(deadline=None)
@given(st.lists(st.text(alphabet="aBÉ\n", max_size=40), max_size=4), st.integers(1, 5), st.integers(1, 30))
def test_heads_are_the_first_lines_in_lower_case(texts: list[str], lines: int, most: int) -> None:
    data, offsets = code_signals.heads(*utf8.buffers(pa.array(texts, pa.large_string())), lines, most)
    found = [bytes(data[a:b]) for a, b in pairwise(offsets)]
    first = ["\n".join(text.split("\n")[:lines]).encode() for text in texts]
    assert found == [re.sub(rb"[A-Z]", lambda m: m[0].lower(), head[:most]) for head in first]
