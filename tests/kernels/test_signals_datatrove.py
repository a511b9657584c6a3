"""datatrove's measures against their definition in plain Python, and our splitter against words recorded from spaCy."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import datatrove, datatrove_c4, tokens, utf8

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


def is_a(character: str, flag: int) -> bool:
    return bool(datatrove_c4.kinds()[ord(character)] & flag)


def lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def repeated(units: list[str]) -> list[str]:
    return [unit for k, unit in enumerate(units) if unit in units[:k]]


def top(words: list[str], n: int) -> int:
    keys = Counter(" ".join(words[k : k + n]) for k in range(len(words) - n + 1))
    return len(keys.most_common(1)[0][0]) * keys.most_common(1)[0][1] if keys else 0


def duplicate(words: list[str], n: int) -> int:
    seen, characters, k = set(), 0, 0
    while k < len(words) - n + 1:
        key = "".join(words[k : k + n])
        characters += len(key) * (key in seen)
        k += n if key in seen else 1
        seen.add(key)
    return characters


def decision(line: str) -> int:
    words, line = line.split(), CITATION.sub("", line)
    if any(len(word) > 1000 for word in words):
        return datatrove_c4.LONG_WORD
    if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("..."):
        return datatrove_c4.UNENDED
    if len(words) < 3:
        return datatrove_c4.FEW_WORDS
    if "lorem ipsum" in lower(line):
        return datatrove_c4.LOREM_IPSUM
    if "javascript" in lower(line):
        return datatrove_c4.JAVASCRIPT
    if "{" in line:
        return datatrove_c4.CURLY
    return datatrove_c4.POLICY if any(phrase in lower(line) for phrase in POLICY) else datatrove_c4.KEPT


def plain(text: str, words: list[str], sentences: list[int]) -> dict[str, int]:
    """The definitions; sentences of each line of str.splitlines."""
    lines, runs, paragraphs = text.splitlines(), re.split("\n+", text), re.split("\n{2,}", text.strip())
    full = [line for line in text.split("\n") if line.strip()]
    real = [word for word in words if not all(is_a(c, datatrove_c4.SYMBOL) for c in word)]
    decisions = [decision(line.strip()) for line in lines]
    out = {
        "characters": len(text),
        "words": len(words),
        "real_words": len(real),
        "real_word_characters": sum(map(len, real)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "alpha_words": sum(any(map(str.isalpha, word)) for word in words),
        "stop_words": len(STOP & set(words)),
        "paragraphs": len(paragraphs),
        "duplicate_paragraphs": len(repeated(paragraphs)),
        "duplicate_paragraph_characters": sum(map(len, repeated(paragraphs))),
        "runs": len(runs),
        "duplicate_runs": len(repeated(runs)),
        "duplicate_run_characters": sum(map(len, repeated(runs))),
        "full_lines": len(full),
        "ended_lines": sum(is_a(line[-1], datatrove_c4.STOP) for line in full),
        "short_lines": sum(len(line) <= 30 for line in full),
        "duplicate_full_line_characters": sum(map(len, repeated(full))),
        "line_characters": len(text.replace("\n", "")),
        "line_breaks": text.count("\n"),
        "sentences": sum(n for n, fate in zip(sentences, decisions, strict=True) if fate == datatrove_c4.KEPT),
        "lorem_ipsum_lines": decisions.count(datatrove_c4.LOREM_IPSUM),
        "curly_lines": decisions.count(datatrove_c4.CURLY),
    }
    out |= {f"top_{n}_gram_characters": top(words, n) for n in (2, 3, 4)}
    return out | {f"duplicate_{n}_gram_characters": duplicate(words, n) for n in range(5, 11)}


def column(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return utf8.buffers(pa.array(texts, pa.large_string()))


def spans_of(texts: list[str]) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[list[str]]]:
    """Words as regular expressions find them: any split of a text will do."""
    starts, ends, offsets, words, begin = [], [], [0], [], 0
    for text in texts:
        found = list(re.finditer(r"\w+|[^\w\s]", text))
        words.append([match.group() for match in found])
        starts += [begin + len(text[: match.start()].encode()) for match in found]
        ends += [begin + len(text[: match.end()].encode()) for match in found]
        offsets.append(len(starts))
        begin += len(text.encode())
    return (np.array(starts, np.int64), np.array(ends, np.int64), np.array(offsets, np.int64)), words


fragments = st.sampled_from(
    [
        "the",
        "of",
        "and",
        "The",
        "a",
        "b",
        "ab",
        "...",
        "…",
        "#",
        "•",
        "- x",
        "１",
        "。",
        "字",
        "ไทย",
        "x.",
        "y!",
        '"',
        "é",
    ]
    + [
        "[1]",
        "[edit]",
        "[citation needed]",
        "[]",
        "[٣]",
        "[x]",
        "lorem ipsum",
        "Lorem Ipsum.",
        "JavaScript on.",
        "{",
        "}",
    ]
    + ["We use cookies now.", "One two three.", "See it? Go!", "k" * 1001, "read. [1]", "։", "؟"]
    + [
        " ",
        "  ",
        "\n",
        "\n\n",
        "\n\n\n",
        "\r\n",
        "\r",
        "\t",
        "\x0b",
        "\x85",
        "\u2028",
        "\u2029",
        "\u3000",
        "\x1c",
        "\x1f",
    ]
)
documents = st.one_of(
    st.lists(fragments, max_size=30).map("".join),
    st.lists(st.sampled_from(["a ", "b ", "ab ", "a", "b", "c\n", "\n\n"]), max_size=80).map("".join),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(documents, max_size=4))
@example([""])
@example(["\n\na\n\n"])
@example(["a bc ab c a bc ab c a bc ab c"])
def test_counts_are_their_definitions_with_the_words_given(texts: list[str]) -> None:
    spans, words = spans_of(texts)
    sentences = [list(range(1, len(text.splitlines()) + 1)) for text in texts]
    flat = np.array([n for each in sentences for n in each], np.int64)
    line_offsets = np.concatenate([[0], np.cumsum([len(each) for each in sentences])]).astype(np.int64)
    found = datatrove.count(*column(texts), spans, (flat, line_offsets))
    for text, split, lines, row in zip(texts, words, sentences, found, strict=True):
        assert dict(zip(datatrove.COUNTS, map(int, row), strict=True)) == plain(text, split, lines)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_lines_are_decided_as_c4_defines(text: str) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    assert datatrove_c4.line_decisions(data, 0, len(data)) == [decision(line.strip()) for line in text.splitlines()]


def split(text: str) -> tuple[list[str], int]:
    data = np.frombuffer(text.encode(), np.uint8)
    room = [np.empty(len(data) + 2, np.int64) for _ in range(4)]
    n = tokens.split(data, 0, len(data), tokens.kinds(), *room)
    words = [bytes(data[start:end]).decode() for start, end in zip(room[2][:n], room[3][:n], strict=True)]
    return words, tokens.sentences(data, room[2], room[3], n, tokens.kinds())


@settings(max_examples=300, deadline=None)
@given(documents)
@example("Mr. O'Neill's 10km/h, isn't it... (e.g. a--b)!")
def test_the_splitter_cuts_the_text_and_loses_nothing_but_white_space(text: str) -> None:
    words, sentences = split(text)
    assert "".join(words) == "".join(text.split())
    assert all(words)
    assert 1 <= sentences <= len(words) + 1


# Words separated by spaces, and sentences, as spaCy 3.8.18's blank English pipeline with its sentencizer gave them.
RECORDED = {
    "Mr. Smith's don't-care attitude (e.g. \"no\") isn't U.S. policy.": (
        "Mr. Smith 's don't - care attitude ( e.g. \" no \" ) is n't U.S. policy .",
        1,
    ),
    "He'd go—maybe. We'll see... Can't you? I'm 10km/h fast, $5.00 or 20% more!": (
        "He 'd go — maybe . We 'll see ... Ca n't you ? I 'm 10 km/h fast , $ 5.00 or 20 % more !",
        3,
    ),
    "See http://a.example/b?c=d, or write to foo@bar.example; it's free. And/or not: 3-4 e-mails, pp. 10–12.": (
        "See http://a.example/b?c=d , or write to foo@bar.example ; it 's free . "
        "And / or not : 3 - 4 e - mails , pp . 10–12 .",
        3,
    ),
    "The “quoted” end.” Next (in brackets.) Then J. R. Smith of Acme Inc. left etc. and so on.": (
        "The “ quoted ” end . ” Next ( in brackets . ) Then J. R. Smith of Acme Inc. left etc . and so on .",
        4,
    ),
    "* item one\n* item_two: a=b, x<y; 1,000.50 and 3.14.": (
        "* item one * item_two : a = b , x < y ; 1,000.50 and 3.14 .",
        1,
    ),
}


@pytest.mark.parametrize("text", RECORDED)
def test_english_is_split_as_recorded(text: str) -> None:
    words, sentences = split(text)
    assert (" ".join(words), sentences) == RECORDED[text]


def test_numbers_are_cut_from_words_at_hyphens() -> None:
    assert split("2-day 600-x-400 3-4")[0] == ["2", "-", "day", "600", "-", "x-400", "3", "-", "4"]


def test_each_letter_of_a_script_without_spaces_is_a_word() -> None:
    assert split("漢字かな，abc。ไทย")[0] == ["漢", "字", "か", "な", "，", "abc", "。", "ไ", "ท", "ย"]
