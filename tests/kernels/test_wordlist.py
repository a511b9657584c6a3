"""Words and phrases of a list: counted as a definition in Python counts them."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.wordlist import compiled, count


def folded(text: str) -> str:
    return "".join(" " if c.isspace() else c.lower()[0] for c in text)


def is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_" or unicodedata.category(text[at])[0] == "M")


def plain(text: str, entries: list[str], bounded: bool) -> int:
    """Places where an entry begins."""
    low = folded(text)
    wanted = [folded(entry.strip()) for entry in entries if entry.strip()]

    def begins(i: int) -> bool:
        ends = [i + len(entry) for entry in wanted if low.startswith(entry, i)]
        return any(not bounded or not (is_word(text, i - 1) or is_word(text, end)) for end in ends)

    return sum(begins(i) for i in range(len(text)))


def counted(texts: list[str], which: list[int], lists) -> list[int]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return count(np.frombuffer(b"".join(encoded), np.uint8), offsets, np.array(which, np.int64), lists).tolist()


ENTRIES = ["bad", "bad word", "badly", "c++", "b", "дурак", "馬鹿", "鹿", "é", "İ", "कमीना", " spaces ", "", "😀"]
TEXT = st.lists(
    st.sampled_from(
        ["bad", "Bad", "BAD WORD", "badl", "badly", "word", "c++", "b", "é", "É", "ДУРАК", "馬鹿", "कमीना", "ा"]
    )
    | st.sampled_from([" ", " ", "\n", "\u00a0", ".", "_", "-", "1", "i", "😀", "\u0301"])
    | st.characters(codec="utf-8"),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_counts_are_their_definition(texts: list[str]) -> None:
    lists = compiled([(ENTRIES, True), (ENTRIES, False), ([], True)])
    for which, bounded in ((0, True), (1, False)):
        expected = [plain(text, ENTRIES, bounded) for text in texts]
        assert counted(texts, [which] * len(texts), lists) == expected
    assert counted(texts, [2] * len(texts), lists) == counted(texts, [-1] * len(texts), lists) == [0] * len(texts)


@pytest.mark.parametrize(
    ("text", "bounded", "anywhere"),
    [
        ("A bad word, badly put: BAD.", 3, 3),
        ("embadded _bad bad1", 0, 3),
        ("so bad", 1, 1),
        ("bad\nword", 1, 1),
        ("C++ is not c", 1, 1),
        ("彼は馬鹿だ", 0, 2),
        ("कमीना", 1, 1),
        ("कमीनाा", 0, 1),
    ],
)
def test_a_bounded_entry_has_no_word_character_beside_it(text: str, bounded: int, anywhere: int) -> None:
    entries = ["bad", "bad word", "badly", "c++", "馬鹿", "鹿", "कमीना"]
    lists = compiled([(entries, True), (entries, False)])
    assert counted([text], [0], lists) == [bounded]
    assert counted([text], [1], lists) == [anywhere]


def test_thousands_of_entries_are_all_found() -> None:
    entries = [f"w{i:x}q" for i in range(20_000)]
    text = " ".join(entries)
    assert counted([text], [0], compiled([(entries, True)])) == [20_000]
    assert counted([text.replace("q", "r")], [0], compiled([(entries, True)])) == [0]
