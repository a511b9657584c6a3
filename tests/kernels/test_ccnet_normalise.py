"""CCNet's normalisation: equal to its definition in Python, byte for byte, for texts of every script."""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.ccnet_normalise import PUNCTUATION, normalise
from gristmill.kernels.text.utf8 import buffers

SPACES = " \t\r\n\x1c\x85\xa0\u2000\u2028\u3000\u200b"
SIGMAS = "ΣσςΑaB.'\u00ad\u0301\u02b0:1"
MARKS = "\u302e\u302f\u1b44\u1b35\U0001d165\U0001d16d\U0001d15e\U00016ff0\u0301\u0323\u0345\u094d\u0b3e\u0f71\x00a"
DELICATE = st.text(st.sampled_from(SPACES + SIGMAS + MARKS + "İIıǅßﬁ한Å１٣—…．´"))


def by_definition(text: str) -> str:
    text = unicodedata.normalize("NFD", text.strip().lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    text = "".join(PUNCTUATION.get(c, c) for c in re.sub(r"\d", "0", text))
    return "".join(c for c in text if unicodedata.category(c) != "Cc")


def normalised(texts: list[str]) -> list[str]:
    data, offsets = normalise(*buffers(pa.array(texts, pa.large_string())))
    assert offsets.dtype == np.int64
    assert (offsets[0], offsets[-1]) == (0, len(data))
    return [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]


@settings(deadline=None, max_examples=500)
@given(st.lists(st.text() | DELICATE))
@example(["ΑΣ", "Σ", "ΑΣ.", "ΑΣ.Β", "Α\u0301Σ\u0301", "aΣ\u200b", " Σ", "1Σ", "ΑΣΣ", "\x00ΑΣ\x00"])
@example(["\U0001d15e\U0001d16d\U0001d165", "a\u302e\U0001d165", "\U0001d16d\x00\U0001d165", "\u302e\u0e47\U0001d165"])
@example(["", " ", "\x00", "\u3000a\x00 \x00b \u2029"])
@pytest.mark.slow
def test_normalised_text_is_its_definition(texts):
    assert normalised(texts) == [by_definition(t) for t in texts]


@pytest.mark.slow
def test_every_character_alone_within_a_word_before_a_sigma_and_beside_marks():
    codes = (c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000)
    characters = [chr(c) for c in codes if unicodedata.category(chr(c)) not in ("Cn", "Co")]
    assert len(characters) > 100_000
    for frame in ("{}", "a{}B", "A{}Σ{}", "AΣ{}a", "\U0001d16d{}\u1b44\u0301"):
        texts = [frame.replace("{}", c) for c in characters]
        assert normalised(texts) == [by_definition(t) for t in texts]


def test_what_the_published_normaliser_gives():
    """Values of cc_net's text_normalizer.normalize, commit 1341eec."""
    given = ["  Ünïcode — “quoted”… 1２٣\t", "ΟΔΥΣΣΕΥΣ", "İstanbul", "100％ 【新】．。", "Ｆｕｌｌ\x07width\x85"]
    assert normalised(given) == ['unicode  -  "quoted"... 000', "οδυσσευς", "istanbul", "000% [新]. .", "ｆｕｌｌwidth"]


@pytest.mark.slow
def test_real_documents_of_170_languages(shared_data):
    import zstandard

    texts: list[str] = []
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst")):
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            records = (json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n"))
            for record, _ in zip(records, range(300)):
                texts += record["text"][:2000].split("\n")
    assert len(texts) > 20_000
    assert normalised(texts) == [by_definition(t) for t in texts]


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, 5))
def test_broken_bytes_are_replaced_and_never_reach_beyond_their_row(raw, cut):
    data = np.frombuffer(raw, np.uint8)
    cut = min(cut, len(raw))
    got, offsets = normalise(data, np.array([0, cut, len(raw)], np.int64))
    for a, b, part in ((0, offsets[1], raw[:cut]), (offsets[1], offsets[2], raw[cut:])):
        alone, _ = normalise(np.frombuffer(part, np.uint8), np.array([0, len(part)], np.int64))
        assert bytes(got[a:b]) == bytes(alone)


def test_slices_of_a_column_and_no_rows():
    column = pa.array(["zero", None, " TWO ", "three"], pa.large_string())
    data, offsets = normalise(*buffers(column.slice(2, 2)))
    assert (bytes(data), offsets.tolist()) == (b"twothree", [0, 3, 8])
    data, offsets = normalise(*buffers(column[:0]))
    assert (len(data), offsets.tolist()) == (0, [0])


def test_a_text_of_many_megabytes():
    text = "Grist, Σίτος 한국 — " * 100_000
    assert normalised([text]) == [by_definition(text)]
