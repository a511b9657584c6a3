"""Counts of the shape of code are their definitions in plain Python, and suspects are what has enough of the signs."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.code_shape import COUNTS, HEAD_BYTES, KEYWORDS, SIGN_SHARE, SIGNS, count, suspects
from gristmill.kernels.text.utf8 import buffers

COMMENT = re.compile(rb"//|/\*|\*(?=[ \t/*]|\Z)|#(?=[ \t!#']|\Z)|--|%(?=[ \t%]|\Z)|;(?=[ \t;]|\Z)|!(?=[ \t!]|\Z)")
LETTER = rb"[A-Za-z\x80-\xff]"


def defined(text: str) -> dict[str, int]:
    found = dict.fromkeys(COUNTS, 0)
    lines = re.split(rb"[\r\n]", text.encode())
    for raw in lines if lines[-1] else lines[:-1]:
        line = raw.strip(b" \t")
        if not line:
            found["blank"] += 1
        elif COMMENT.match(line):
            found["comments"] += 1
        else:
            found["lines"] += 1
            found["bytes"] += len(line)
            found["prose_ends"] += line[-1:] in b".!?"
            found["indented"] += raw[:1] in b" \t"
            found["sign_starts"] += re.match(LETTER + rb"|\d", line) is None
            word = re.match(rb"[a-z_]+", line)
            found["keywords"] += bool(
                word and word[0].decode() in KEYWORDS and not re.match(LETTER, line[word.end() : word.end() + 1])
            )
            found["prose_spaces"] += len(re.findall(rb"(?<=[A-Za-z\x80-\xff,]) (?=[A-Za-z\x80-\xff])", line))
            found["calls"] += len(re.findall(rb"(?<=[\w\x80-\xff])\(", line))
            found["underscores"] += len(re.findall(rb"(?:(?<=[A-Za-z\x80-\xff])_|_(?=[A-Za-z\x80-\xff]))", line))
            found["tags"] += len(re.findall(rb"<(?=[A-Za-z\x80-\xff/!])", line))
            for name, signs in (
                ("braces", rb"[{}]"), ("parentheses", rb"[()]"), ("operators", rb"[+*&|%>$@^~]"),
                ("commands", rb"\\"), ("quotes", rb"[\"']"), ("commas", b","), ("digits", rb"\d"),
            ):  # fmt: skip
                found[name] += len(re.findall(signs, line))
    return found


def counted(texts: list[str]) -> list[dict[str, int]]:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    rows = count(data, offsets, np.ones(len(texts), np.bool_)).tolist()
    return [dict(zip(COUNTS, row, strict=True)) for row in rows]


PIECES = st.sampled_from(
    [
        *(
            "if",
            "return ",
            "def f(x):",
            "  ",
            "\t",
            "\n",
            "\r",
            "// x",
            "# y",
            "#z",
            "* a",
            "a_b",
            "_",
            "é",
            "{",
            "}",
            "(",
        )
    ]
    + [
        *(
            ")",
            "<p>",
            "</",
            "<",
            "x < y",
            "\\n",
            "'",
            '"',
            ",",
            ", ",
            ".",
            "?",
            "42",
            "; ",
            "%",
            "--",
            "! ",
            "class",
            "漢",
        )
    ]
)
TEXT = st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=80)


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXT, max_size=4))
@example(["if", "iffy", "add_executable(x)", "a" * 30, "\n\n", "#"])
def test_counts_are_their_definitions(texts: list[str]) -> None:
    assert counted(texts) == [defined(text) for text in texts]


def test_no_more_than_the_head_counts() -> None:
    [found] = counted(["x = 1\n" * 10_000])
    assert HEAD_BYTES <= found["bytes"] < HEAD_BYTES + 5
    [found] = counted(["# a licence\n" * 10_000 + "x = 1\n"])
    assert found["lines"] == 0
    [found] = counted(["y" * 100_000])
    assert found["bytes"] == HEAD_BYTES


@settings(deadline=None)
@given(st.lists(TEXT | st.text(st.sampled_from(SIGNS + "abc "), max_size=600), max_size=5))
def test_suspects_have_their_share_of_signs(texts: list[str]) -> None:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    heads = [text.encode()[:HEAD_BYTES] for text in texts]
    shares = [sum(byte in SIGNS.encode() for byte in head) / max(1, len(head)) for head in heads]
    found = suspects(data, offsets, np.ones(len(texts), np.bool_)).tolist()
    assert found == [share >= SIGN_SHARE for share in shares]
    assert not suspects(data, offsets, np.zeros(len(texts), np.bool_)).any()
