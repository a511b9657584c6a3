"""Every count of `kernels.text.signals` against its definition in plain Python."""

from __future__ import annotations

import functools
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import phrases, signals, utf8

URL = re.compile(r"https?://[!$-_a-z]+")
STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


@functools.cache
def is_a(character: str, flag: int) -> bool:
    return utf8.flags_of(character) & flag != 0


def words(text: str) -> list[str]:
    """Runs without white space, cut before unspaced letters and before letters or digits that follow such a word."""
    out: list[str] = []
    for run in text.split():
        out.append("")
        for c in run:
            after_letter = out[-1] and is_a(out[-1][0], utf8.UNSPACED) and is_a(c, utf8.ALNUM)
            if out[-1] and (is_a(c, utf8.UNSPACED) or after_letter):
                out.append("")
            out[-1] += c
    return out


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            blocks[-1].append(line.strip())
        else:
            blocks.append([])
    return ["\n".join(block) for block in blocks if block]


def sentences(text: str) -> list[str]:
    """Of each line, up to words that end one; a stretch without a letter or digit goes on."""
    out: list[str] = []
    for line in lines(text):
        found: list[tuple[int, int]] = []
        for word in words(line):
            start = line.index(word, found[-1][1] if found else 0)
            found.append((start, start + len(word)))
        begin = 0
        for k, (start, end) in enumerate(found):
            last = k + 1 == len(found)
            word, follows = line[start:end], "" if last else line[found[k + 1][0]]
            stem = word
            while stem and is_a(stem[-1], utf8.CLOSING) and not is_a(stem[-1], utf8.TERMINAL):
                stem = stem[:-1]
            ends = (bool(stem) and is_a(stem[-1], utf8.TERMINAL)) or letterlike_end(stem)
            if stem and stem[-1] in utf8.SOFT_MARKS:
                ends = not follows.islower() and not (len(stem) == 2 and stem[0].isalpha())
            if any(is_a(c, utf8.UNSTOPPED) for c in word) and not last and found[k + 1][0] > end:
                ends = True
            if (ends or last) and any(is_a(c, utf8.ALNUM) for c in line[begin:end]):
                out.append(line[begin:end])
                begin = end if last else found[k + 1][0]
    return out


def line_weight(line: str) -> int:
    """In quarters of a word."""
    return sum(
        4 if not is_a(word[0], utf8.UNSPACED) else 2 if is_a(word[0], utf8.EAST_ASIAN) else 1 for word in words(line)
    )


def letters_per_word(text: str) -> int:
    unspaced = sum(is_a(c, utf8.UNSPACED) for c in text)
    if unspaced * 2 <= len(words(text)):
        return 1
    return 2 if sum(is_a(c, utf8.EAST_ASIAN) for c in text) * 2 >= unspaced else 4


def repeated(units: list[str]) -> list[str]:
    return [unit for k, unit in enumerate(units) if unit in units[:k]]


def covered(tokens: list[str], starts: list[int], n: int) -> int:
    return sum(len(tokens[k]) for k in {s + j for s in starts for j in range(n)})


def grams(tokens: list[str], n: int) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for k in range(len(tokens) - n + 1):
        found.setdefault(tuple(tokens[k : k + n]), []).append(k)
    return found


def top(tokens: list[str], n: int) -> int:
    found = [(len(starts), covered(tokens, starts, n)) for starts in grams(tokens, n).values() if len(starts) > 1]
    return max(found, default=(0, 0))[1]


def duplicate(tokens: list[str], n: int) -> int:
    return covered(tokens, [s for starts in grams(tokens, n).values() for s in starts[1:]], n)


def ascii_lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def unended(line: str) -> bool:
    if line[-1] in utf8.END_MARKS:
        return False
    return not letterlike_end(line)


def letterlike_end(text: str) -> bool:
    return bool(re.search("[\u0530-\u058f]:$|[\u0370-\u03ff];$", text))


def notice(text: str, first: int = phrases.NOTICES) -> bool:
    return any(phrase in ascii_lower(text) for phrase in phrases.PHRASES[:first])


def plain(text: str) -> dict[str, int]:
    """The definitions."""
    w, li, p = words(text), lines(text), paragraphs(text)
    measured = [word for word in w if not any(is_a(c, utf8.UNMEASURED) for c in word)]
    fits = len(measured) * 2 >= len(w)
    stopped = sum(is_a(c, utf8.UNSTOPPED) for c in text) * 2 <= sum(map(str.isalpha, text))
    symbols = [word for word in w if word in phrases.ELLIPSES or word.count("#") * 2 > len(word)]
    step = letters_per_word(text)
    out = {
        "bytes": len(text.encode()),
        "characters": len(text),
        "letters": sum(map(str.isalpha, text)),
        "digits": len(re.findall(r"\d", text)),
        "spaces": sum(map(str.isspace, text)),
        "brackets": len(re.findall(r"[{}()\[\]⟨⟩]", text)),
        "plain": len(re.findall(r"[a-zA-Z0-9\n?!,.]", text)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "url_characters": sum(map(len, URL.findall(text))),
        "pornographic_urls": sum("porn" in url.lower() for url in URL.findall(text)),
        "words": len(w),
        "word_characters": sum(map(len, w)),
        "longest_word": max(map(len, w), default=0),
        "measured_words": len(measured) * fits,
        "measured_word_characters": sum(map(len, measured)) * fits,
        "measured_characters": len(text) * fits,
        "measured_spaces": sum(map(str.isspace, text)) * fits,
        "alpha_words": sum(any(map(str.isalpha, word)) for word in w),
        "symbol_words": len(symbols),
        "stop_words": len(STOP & set(w)),
        "stop_word_occurrences": sum(word in STOP for word in w),
        "total_lines": len(io.StringIO(text, newline="\n").readlines()),
        "line_breaks": text.count("\n"),
        "lines": len(li),
        "line_characters": sum(map(len, li)),
        "short_lines": sum(len(line) <= 30 for line in li),
        "bullet_lines": sum(line[0] in utf8.BULLETS for line in li),
        "bullet_or_dash_lines": sum(line[0] in utf8.BULLETS | {"-", "*"} for line in li),
        "ellipsis_lines": sum(ascii_lower(line).endswith(phrases.ELLIPSIS_ENDS) for line in li),
        "stopped_lines": len(li) * stopped,
        "unended_lines": sum(map(unended, li)) * stopped,
        "paragraphs": len(p),
        "paragraph_characters": sum(map(len, p)),
        "boilerplate_paragraphs": len(p) if "lorem ipsum" in ascii_lower(text) else sum(map(notice, p)),
        "duplicate_lines": len(repeated(li)),
        "duplicate_line_characters": sum(map(len, repeated(li))),
        "duplicate_paragraphs": len(repeated(p)),
        "duplicate_paragraph_characters": sum(map(len, repeated(p))),
    }
    spans = [tuple(sentences(text)[k : k + 3]) for k in range(len(sentences(text)) - 2)]
    out |= {
        "sentences": len(sentences(text)),
        "sentence_spans": len(spans),
        "duplicate_sentence_spans": len(spans) - len(set(spans)),
        "few_word_lines": sum(line_weight(line) < 3 * 4 for line in li),
        "under_five_word_lines": sum(line_weight(line) < 5 * 4 for line in li),
        "terminal_lines": sum(not unended(line) and not line.endswith(("...", "…")) for line in li) * stopped,
        "javascript_lines": sum("javascript" in ascii_lower(line) for line in li),
        "policy_lines": sum(notice(line, phrases.POLICY) for line in li),
        "lorem_ipsum": ascii_lower(text).count("lorem ipsum"),
        "curly_brackets": text.count("{"),
        "spelled_characters": len(text) + 2 * sum(is_a(c, utf8.EAST_ASIAN) for c in text),
    }
    out |= {f"top_{n}_gram_characters": top(w, n * step) for n in (2, 3, 4)}
    return out | {f"duplicate_{n}_gram_characters": duplicate(w, n * step) for n in range(5, 11)}


def counted(texts: list[str]) -> list[dict[str, int]]:
    found = signals.count(*utf8.buffers(pa.array(texts, pa.large_string())))
    return [dict(zip(signals.COUNTS, map(int, row), strict=True)) for row in found]


characters = st.characters(exclude_categories=("Cs",))
separators = st.sampled_from(
    [
        "\n",
        "\r\n",
        "\r",
        "\n\n",
        "\r\n\r\n",
        " \n\t\n",
        " ",
        "  ",
        "\t",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\xa0",
        "\u1680",
    ]
    + ["\u2003", "\u2028", "\u2029", "\u202f", "\u3000", "\ufeff", "\u200b"]
)
fragments = st.sampled_from(
    ["the", "be", "and", "The", "word", "ipsum", "a", "b", "...", "….", "…", "[...]", "-»", "#", "##", "#a", "•", "- x"]
    + ["* y", "◦", "http://a.b/c", "https://PORN.x", "http://", "https://hhttp://x#http://y", "1", "٣", "(x)", "{", "⟩"]
    + [
        "Terms of Use",
        "privacy policy",
        "use cookies",
        "LOREM IPSUM",
        "Read more",
        "read more..",
        "x.",
        "y!",
        '"',
        "。",
    ]
    + ["漢", "字", "かな", "กา", "ที่", "ភាសា", "မြန်မာ", "한국어", "മലയാളം", "ա:", "α;", "ա։", "漢,a", "?:", "ֿ:", "\0"]
    + [
        "Go. ",
        "on. ",
        "(go.) ",
        "J. ",
        "é. ",
        ".",
        'go.") ',
        "No! ",
        "so… ",
        "a։ ",
        "字。",
        "」",
        "？",
        "ไป ",
        "ลา. ",
        "।",
    ]
    + ["JavaScript", "javascripts", "uses cookies", "use of cookies", "Lorem Ipsum", "lorem ipsumlorem ipsum"]
)
documents = st.one_of(
    st.text(characters, max_size=60),
    st.lists(st.one_of(fragments, separators, st.text(characters, max_size=3)), max_size=40).map("".join),
    st.lists(st.sampled_from(["a ", "b ", "c\n", "漢", "字", "ก", "\n"]), max_size=120).map("".join),
)


@settings(max_examples=400, deadline=None)
@given(documents)
@example("")
@example("\n")
@example("no line end")
@example("漢a漢a")
@example("a b a b a b a b a b a b a b a b a b")
@pytest.mark.slow
def test_counts_are_their_definitions(text: str) -> None:
    assert counted([text])[0] == plain(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(documents, max_size=8))
def test_a_document_counts_the_same_beside_any_others(texts: list[str]) -> None:
    assert counted(texts) == [counted([text])[0] for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["english", "multilingual", "code"])
def test_counts_are_their_definitions_on_real_documents(shared_data: Path, folder: str) -> None:
    texts: list[str] = []
    seen: set[str] = set()
    for path in sorted((shared_data / folder).glob("*.jsonl.zst")):
        languages: Counter[str] = Counter()
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                languages[record["lang"]] += 1
                seen.add(record["lang"])
                if languages[record["lang"]] == 3:  # one of every language of every file
                    texts.append(record["text"][:4000])
    for text, found in zip(texts, counted(texts), strict=True):
        assert found == plain(text), text[:80]
    assert len(texts) > 3
    assert folder != "multilingual" or len(seen) >= 50


def test_the_table_says_what_unicodedata_says() -> None:
    table = utf8.table()
    codes = np.arange(0x110000)
    flags = table.flags[table.classes[table.blocks[codes >> 8], codes & 255]]
    spaces = {c for c in range(0x110000) if chr(c).isspace()}
    letters = {c for c in range(0x110000) if chr(c).isalpha()}
    digits = {c for c in range(0x110000) if chr(c).isdecimal()}
    assert set(np.flatnonzero(flags & utf8.SPACE)) == spaces
    assert set(np.flatnonzero(flags & utf8.LETTER)) == letters
    assert set(np.flatnonzero(flags & utf8.DIGIT)) == digits
    assert set(np.flatnonzero(flags & utf8.UNSPACED)) <= letters
    assert not np.any(flags[0xAC00:0xD7A4] & utf8.UNSPACED), "Korean is written with spaces"


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_broken_utf8_is_counted_without_reading_past_the_end(raw: bytes) -> None:
    data = np.frombuffer(raw + b"\xf0\x9f\x98\x80", np.uint8)[: len(raw)]
    row = dict(zip(signals.COUNTS, signals.count(data, np.array([0, len(raw)]))[0], strict=True))
    assert row["bytes"] == len(raw)
    assert len(raw) / 4 <= row["characters"] <= len(raw)


def test_slices_and_offsets_of_arrow_arrays_are_respected() -> None:
    texts = ["one two", "drei vier fünf", "", "六七八", "nine\n\nten"]
    whole = pa.array(texts, pa.large_string())
    for first in range(5):
        for last in range(first, 6):
            found = signals.count(*utf8.buffers(whole.slice(first, last - first)))
            assert [dict(zip(signals.COUNTS, row, strict=True)) for row in found] == [
                plain(text) for text in texts[first:last]
            ]


def test_a_huge_document_counts_like_its_parts() -> None:
    paragraph = "The mill grinds what the farmer brings; nothing more, 漢字 nothing less.\n\n"
    one, many = counted([paragraph])[0], counted([paragraph * 200_000])[0]
    for name in ("bytes", "characters", "words", "lines", "paragraphs", "stop_word_occurrences", "spaces"):
        assert many[name] == 200_000 * one[name]
    assert many["duplicate_lines"] == 199_999
    assert many["duplicate_10_gram_characters"] == 199_999 * one["word_characters"]


def test_megabytes_without_a_space_are_one_word() -> None:
    assert counted(["x" * 3_000_000])[0]["longest_word"] == 3_000_000
