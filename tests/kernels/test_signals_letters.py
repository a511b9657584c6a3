"""Letters that are taken in runs have every flag that `utf8` gives them one by one."""

from __future__ import annotations

import random
import string
from types import FunctionType

import numba
import numpy as np
import pytest

from gristmill.kernels.text import counts, signals, utf8
from gristmill.kernels.text.counts import BESIDE, byte_classes, letter_classes

FLAGS = {name: value for name, value in vars(utf8).items() if name.isupper() and isinstance(value, int)}
FLAGS = {name: value for name, value in FLAGS.items() if value & (value - 1) == 0}
CODES = len(counts.COUNTS)
WORDS, FIRST = CODES + 20, CODES + 21
"""Places in a row of the probe, after the counts: characters by flag, words, flags of a line's first and last character
and of words."""


@numba.njit(_nrt=False)
def note_word(c, word_hash, length, word_flags, signs):
    c[FIRST + 2 + c[WORDS]] = word_flags
    c[WORDS] += 1


@numba.njit(_nrt=False)
def note_line(c, data, begin, end, first, last, length, weight):
    c[FIRST], c[FIRST + 1] = first, last


@numba.njit(_nrt=False)
def note_characters(c, seen, flags, size):
    for k in range(len(flags)):
        for bit in range(20):
            if flags[k] >> bit & 1:
                c[CODES + bit] += seen[k]
    return 1


@pytest.fixture(scope="module")
def probe():
    """`signals.count`'s own scan; what it tells at the ends of words, lines and documents is noted and not counted."""
    scan = signals._count.py_func
    told = {"end_word": note_word, "end_line": note_line, "sum_classes": note_characters}
    names = {**scan.__globals__, **told, "count_stop_words": numba.njit(_nrt=False)(lambda c, occurrences, table: None)}
    return numba.njit(_nrt=False)(FunctionType(scan.__code__, names))


def noted(probe, texts: list[str]) -> np.ndarray:
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)]).astype(np.int64)
    table = utf8.table()
    classes, flags = byte_classes(table)
    out = np.zeros((len(texts), FIRST + 32), np.int64)
    seen = np.zeros(len(flags), np.int64)
    cases = letter_classes(classes, flags)
    probe(out, seen, data, offsets, table.blocks, classes, flags, *cases, *signals._room(len(data)))
    return out


def test_flags_are_single_bits_and_are_all_probed() -> None:
    assert {"SPACE", "LETTER", "LOWER", "CLOSING"} <= FLAGS.keys()
    assert sorted(FLAGS.values()) == [1 << bit for bit in range(20)]


@pytest.mark.parametrize("code", range(128))
def test_every_ascii_character_has_the_flags_of_the_definition(code: int) -> None:
    classes, flags = byte_classes(utf8.table())
    expected = utf8.flags_of(chr(code))
    assert flags[classes[0, code]] & ~BESIDE == expected
    capital, small = letter_classes(classes, flags)
    if chr(code) in string.ascii_letters:
        assert flags[capital if chr(code).isupper() else small] == expected


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_of_some_letters_of_a_case_is_refused_and_not_dropped(flag: str) -> None:
    """As a new flag for vowels would be: a run tells nothing of which letters it holds."""
    for letter in "eE":
        classes, flags = byte_classes(utf8.table())
        classes[0, ord(letter)] = len(flags)
        with pytest.raises(ValueError, match="letters of one case differ"):
            letter_classes(classes, np.append(flags, utf8.flags_of(letter) ^ FLAGS[flag]))


@pytest.mark.slow
def test_words_taken_in_runs_have_every_flag_of_their_characters(probe) -> None:
    draw = random.Random(7)
    others = [chr(code) for code in range(128) if not chr(code).isspace() and chr(code) not in ".?!"]
    texts = []
    for other in [*others, "é", "Ä", "я", "Я", "ß", "ª"]:
        for place in range(10):
            word = "".join(draw.choice(string.ascii_letters) for _ in range(draw.randrange(1, 20)))
            texts.append(f"x{word[:place]}{other}{word[place:]} {word} {word.lower()} {word.upper()} tail of it")
    texts += ["x lower UPPER Title mIxEd", "abcdefgh", "ABCDEFGH", "x aaaaaaaA aaaaaaaa"]
    texts += [f"a{string.ascii_uppercase * 3}"]
    for row, text in zip(noted(probe, texts), texts, strict=True):
        words = text.split(" ")
        assert row[WORDS] == len(words)
        for got, word in zip(row[FIRST + 2 :], words):
            expected = np.bitwise_or.reduce([utf8.flags_of(character) for character in word])
            assert got & ~BESIDE == expected, (text, word)
        assert row[FIRST] & ~BESIDE == utf8.flags_of(text[0])
        assert row[FIRST + 1] & ~BESIDE == utf8.flags_of(text[-1]), text
        for name, flag in FLAGS.items():
            number = sum(bool(utf8.flags_of(character) & flag) for character in text)
            assert row[CODES + flag.bit_length() - 1] == number, (text, name)


def test_a_signal_of_small_letters_sees_them(probe) -> None:
    """The share of words with a small letter, of texts without a sentence's end."""
    texts = ["ALPHA Beta GAMMA delta EPSILON", "ALPHABETICAL GAMMADELTA", "alphabetic GAMMADELTA betabetabeta BETABETA"]
    rows = noted(probe, texts)
    shares = [np.mean(row[FIRST + 2 : FIRST + 2 + row[WORDS]] & utf8.LOWER != 0) for row in rows]
    assert shares == [0.4, 0, 0.5]
