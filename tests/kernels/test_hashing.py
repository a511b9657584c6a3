"""Hashes: equal to the definition spelled out in Python, for texts of every script and for ids."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.hashing import derived_ids, document_ids, text_hashes

# Characters that make normalisation work: spaces of every kind, CR, combining marks, Hangul, singletons.
SPACES, MARKS = " \t\r\n\x1c\x85\xa0\u2000\u2028\u3000", "\u0301\u0323\u0327\u093c"
LETTERS = "aeEé한\u1100\u1161\u11a8\u212b\u0958क👩"
DELICATE = st.text(st.sampled_from(SPACES + MARKS + LETTERS))


def hash_by_definition(text: str) -> bytes:
    return xxhash.xxh3_128_digest(unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip().encode())


def hashes(texts: list[str]) -> list[bytes]:
    return [row.tobytes() for row in text_hashes(pa.array(texts, pa.large_string()))]


@settings(deadline=None)
@given(st.lists(st.text() | DELICATE))
@example([" \r\n x\r\ny \u2029", "", " ", "\u3000", "\u2000a"])
def test_text_hash_is_its_definition(texts):
    assert hashes(texts) == [hash_by_definition(t) for t in texts]


def test_every_character_alone_beside_a_letter_and_beside_a_mark():
    characters = [
        chr(c)
        for c in range(sys.maxunicode + 1)
        if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")
    ]
    assert len(characters) > 100_000
    for frame in ("{}", "a{}\u0316", "{}\u0301"):
        texts = [frame.format(c) for c in characters]
        assert hashes(texts) == [hash_by_definition(t) for t in texts]


def test_real_documents_of_170_languages(shared_data):
    import io
    import json

    import zstandard

    texts: list[str] = []
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst")):
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            lines = io.TextIOWrapper(stream, "utf-8", newline="\n")
            texts += [json.loads(line)["text"] for _, line in zip(range(60), lines)]
    assert hashes(texts) == [hash_by_definition(t) for t in texts]


def test_only_line_ends_outer_space_and_composition_are_forgiven():
    same = hashes(["caf\u00e9\nbar", "cafe\u0301\r\nbar", "\n caf\u00e9\nbar\u00a0"])
    assert len(set(same)) == 1
    assert len(set(hashes(["a b", "a  b", "A b", "a b.", "a\rb", "a\nb"]))) == 6


def test_slices_and_nulls_hash_like_their_rows():
    texts = pa.array(["zero", " one", None, "three\r\n", ""], pa.large_string())
    expected = [hash_by_definition(t or "") for t in texts.to_pylist()]
    assert [r.tobytes() for r in text_hashes(texts.slice(1, 3))] == expected[1:4]
    assert [r.tobytes() for r in text_hashes(texts.cast(pa.string()))] == expected
    assert text_hashes(texts[:0]).shape == (0, 16)


def test_a_multi_megabyte_document():
    text = " " + "grist \u0939\u093f\u0928\u094d\u0926\u0940 " * 300_000
    assert hashes([text]) == [hash_by_definition(text)]


def test_ids_follow_their_documented_layout():
    own = pa.array(["a", None, "ü"])
    paths, records = pa.array(["x/y.jsonl"] * 3), pa.array([0, 12345678901, 7], pa.int64())
    expected = [b"web\0a", b"web\0x/y.jsonl\x0012345678901", "web\0ü".encode()]
    got = document_ids("web", own, paths=paths, records=records)
    assert [row.tobytes() for row in got] == [xxhash.xxh3_128_digest(e) for e in expected]
    placed = document_ids("web", paths=paths, records=records)
    assert placed[1].tobytes() == got[1].tobytes()
    assert document_ids("web", own[:0]).shape == (0, 16)


def test_a_document_without_any_identity_is_an_error():
    with pytest.raises(ValueError, match="source web: a document has no id of its own"):
        document_ids("web", pa.array(["a", None]))
    with pytest.raises(ValueError, match="source web: 1 documents have neither"):
        document_ids("web", pa.array(["a", None]), paths=pa.array(["x", None]), records=pa.array([1, 2]))


def test_derived_ids_hash_parent_stage_and_ordinal():
    parents = np.arange(32, dtype=np.uint8).reshape(2, 16)
    got = derived_ids(parents, "split", np.array([0, 10]))
    expected = [xxhash.xxh3_128_digest(parents[i].tobytes() + b"split\0" + n) for i, n in enumerate([b"0", b"10"])]
    assert [row.tobytes() for row in got] == expected
