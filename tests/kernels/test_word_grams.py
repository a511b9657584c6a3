"""Grams of words and the search for them are what a plain definition of them says, on any text."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.decontaminate import Index, bit_filter, cut, directory, find
from gristmill.kernels.text.utf8 import EAST_ASIAN_BLOCKS, UNSPACED_BLOCKS, buffers, table
from gristmill.kernels.text.word_grams import BLOCK, grams_of, letters

DELICATE = st.sampled_from("ab B,.' \n5٣éÉßİıςσ\u0301\u00ad漢字กัहिं’-_1")
ANY_TEXT = st.text(DELICATE, max_size=60) | st.text(max_size=30)
FEW_WORDS = st.lists(st.sampled_from(["a", "b", "c", "漢", "ก", "d,", "E."]), max_size=60).map(" ".join)


def within(char: str, blocks: tuple) -> bool:
    return any(first <= ord(char) <= last for first, last in blocks)


def units(text: str) -> list[tuple[str, int]]:
    """(unit, weight in quarters of a word), from the definition in the kernel's docstring."""
    out: list[tuple[str, int]] = []
    word = ""
    text = re.sub(r"(?<=[0-9]),(?=[0-9])", "", text)
    for char in text + " ":
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Cf") or char in "'‘’ʼ＇":
            continue
        spells = category[0] not in "PSZ" and category != "Cc"
        unspaced = within(char, UNSPACED_BLOCKS) and category != "Nd" and spells
        if unspaced and category[0] == "M":
            continue
        if unspaced or not spells:
            out += [(word, 4)] if word else []
            word = ""
        if unspaced:
            out.append((folded(char), 2 if within(char, EAST_ASIAN_BLOCKS) else 1))
        elif spells:
            word += folded(char)
    return out


def folded(char: str) -> str:
    if unicodedata.category(char) == "Nd":
        return str(unicodedata.decimal(char))
    if char == "ß":
        return "ss"
    lower = "i" if char == "ı" else char.casefold() if len(char.casefold()) == 1 else char.lower()
    bare = [c for c in unicodedata.normalize("NFKD", lower) if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    base = bare[0] if len(bare) == 1 else lower[0]
    return "ss" if base == "ß" else base


def grams(text: str, size: int) -> list[tuple[str, ...]]:
    """One for each unit from which `size` quarters of words follow."""
    found = units(text)
    out = []
    for i in range(len(found)):
        weight = 0
        for j in range(i, len(found)):
            weight += found[j][1]
            if weight >= size:
                out.append(tuple(word for word, _ in found[i : j + 1]))
                break
    return out


def index_of(texts: list[str], size: int, shortest: int) -> Index:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    hashes, checks, counts, _, _ = grams_of(data, offsets, size, shortest, letters())
    order = np.lexsort((counts, checks, hashes))
    hashes, checks, counts = hashes[order], checks[order], counts[order].astype(np.uint16)
    numbers = np.zeros(len(hashes), np.uint16)
    filters = bit_filter(hashes), bit_filter(hashes) if shortest < size else np.zeros(0, np.uint64)
    return Index(hashes, checks, counts, numbers, directory(hashes), *filters, size, shortest)


@settings(deadline=None, max_examples=150)
@given(texts=st.lists(ANY_TEXT, max_size=4), words=st.integers(1, 4))
@example(texts=["a b, " * BLOCK, "漢" * (3 * BLOCK), "ก" * 2000, "3,000,000 a", "don't dont", ""], words=3)
def test_grams_are_their_definition(texts: list[str], words: int) -> None:
    size = 4 * words
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    hashes, checks, counts, rows, short = grams_of(data, offsets, size, size, letters())
    expected = [(row, gram) for row, text in enumerate(texts) for gram in grams(text, size)]
    assert rows.tolist() == [row for row, _ in expected]
    assert counts.tolist() == [len(gram) for _, gram in expected]
    for found in (hashes, checks):
        pairs = set(zip([gram for _, gram in expected], found.tolist()))
        assert len(pairs) == len({gram for gram, _ in pairs}) == len({value for _, value in pairs})  # one to one
    assert short.tolist() == [not grams(text, size) for text in texts]


@settings(deadline=None, max_examples=150)
@given(questions=st.lists(FEW_WORDS, max_size=4), texts=st.lists(FEW_WORDS, max_size=4))
def test_what_is_found_is_what_brute_force_finds(questions: list[str], texts: list[str]) -> None:
    size, shortest = 16, 8
    wanted: set[tuple[str, ...]] = set()
    for question in questions:
        whole = [unit for unit, _ in units(question)]
        if long := grams(question, size):
            wanted |= set(long)
        elif sum(weight for _, weight in units(question)) >= shortest:
            wanted.add(tuple(whole))
    expected = 0
    for text in texts:
        words = [unit for unit, _ in units(text)]
        expected += sum(words[i : i + len(g)] == list(g) for i in range(len(words)) for g in wanted)
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    rows, starts, ends, _ = found = find(data, offsets, index_of(questions, size, shortest), letters())
    spelt = [tuple(unit for unit, _ in units(bytes(data[a:b]).decode())) for a, b in zip(starts, ends)]
    assert all(gram in wanted for gram in spelt)
    assert (np.diff(rows) >= 0).all()
    # two short questions may share their first words: of these the first that stands there is given
    assert found.shape[1] <= expected
    at = {(r, a) for r, a in zip(rows.tolist(), starts.tolist())}
    assert len(at) >= len({(r, i) for r, text in enumerate(texts) for i in places(text, wanted)})


def places(text: str, wanted: set[tuple[str, ...]]) -> set[int]:
    words = [unit for unit, _ in units(text)]
    return {i for i in range(len(words)) for g in wanted if words[i : i + len(g)] == list(g)}


def test_case_punctuation_spacing_and_diacritics_do_not_hide_a_gram() -> None:
    question = "How many of the 3,000 façades — don’t guess — were built in Straße 5, by 1900?"
    forms = [
        question.upper(),
        question.replace(" ", "\n\t "),
        unicodedata.normalize("NFD", question),
        question.replace("3,000", "3000").replace("’", "'").replace("—", ",").replace("?", "!"),
        re.sub(r"(?<=\w)(?=\w)", "\u00ad", question),  # soft hyphens
    ]
    data, offsets = buffers(pa.array(forms, pa.large_string()))
    rows = find(data, offsets, index_of([question], 52, 32), letters())[0]
    assert set(rows.tolist()) == set(range(len(forms)))


def test_equal_hashes_of_other_words_are_no_match() -> None:
    text = "one two three four five six seven eight"
    data, offsets = buffers(pa.array([text], pa.large_string()))
    index = index_of([text], 32, 32)
    assert find(data, offsets, index, letters()).shape[1] == 1
    assert find(data, offsets, index._replace(checks=index.checks ^ np.uint64(1)), letters()).shape[1] == 0


@settings(deadline=None, max_examples=200)
@given(
    texts=st.lists(st.text(st.sampled_from("ab \n漢é😀"), max_size=80), min_size=1, max_size=3),
    spans=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 80), st.integers(1, 9)), max_size=5),
    side=st.integers(0, 6),
    shortest=st.integers(1, 9),
    most=st.integers(0, 3),
)
def test_cutting_is_its_definition(texts, spans, side, shortest, most) -> None:
    spans = sorted({(r % len(texts), a, min(a + n, len(texts[r % len(texts)]))) for r, a, n in spans})
    spans = [(r, a, b) for r, a, b in spans if a < b]
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    place = [(r, offsets[r] + len(texts[r][:a].encode()), offsets[r] + len(texts[r][:b].encode())) for r, a, b in spans]
    matches = np.array(place, np.int64).reshape(-1, 3).T
    content, bounds, cuts, longest = cut(data, offsets, matches, side, shortest, most, table())
    got = [bytes(content[a:b]).decode() for a, b in pairwise(bounds)]
    for row, text in enumerate(texts):
        expected, count, most_left = by_hand(text, [(a, b) for r, a, b in spans if r == row], side, shortest)
        assert cuts[row] == count
        assert got[row] == ("" if count > most else expected)
        assert longest[row] == most_left


def by_hand(text: str, spans: list[tuple[int, int]], side: int, shortest: int) -> tuple[str, int, int]:
    if not spans:
        return text, 0, 0
    stop = lambda char: char.isspace() or within(char, UNSPACED_BLOCKS)  # noqa: E731
    gone: list[list[int]] = []
    for a, b in spans:
        a, b = max(0, a - side), min(len(text), b + side)
        while a > 0 and not stop(text[a - 1]):
            a -= 1
        while b < len(text) and not stop(text[b]):
            b += 1
        if gone and a <= gone[-1][1]:
            gone[-1][1] = max(b, gone[-1][1])
        else:
            gone.append([a, b])
    edges = [0, *(edge for each in gone for edge in each), len(text)]
    pieces = [text[a:b].strip() for a, b in zip(edges[::2], edges[1::2])]
    return "\n\n".join(p for p in pieces if len(p) >= shortest), len(gone), max(len(p) for p in pieces)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", b"a \xe6\xbc b \xf0", b"\0\0 a b c d"])
def test_broken_bytes_are_read_to_their_end(content: bytes) -> None:
    data = np.frombuffer(content * 300, np.uint8)
    offsets = np.array([0, len(data)], np.int64)
    grams_of(data, offsets, 8, 4, letters())
    index = index_of(["a b c d"], 8, 4)
    matches = find(data, offsets, index, letters())
    cut(data, offsets, matches, 3, 1, 5, table())
