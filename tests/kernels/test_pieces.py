"""Pieces: the ids of the sentencepiece library, exactly, for every kind of model, script and line."""

from __future__ import annotations

import io
import json
import struct
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.ccnet_normalise import normalise
from gristmill.kernels.text.pieces import _SLOTS, Encoder, encode, encoder

TEXTS = [
    "the quick brown fox jumps over the lazy dog, and the dog sleeps on",
    "grain in, flour out: the miller mills the grain of the millers",
    "съешь же ещё этих мягких французских булок да выпей чаю",
    "ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "いろはにほへと ちりぬるを 我が世誰ぞ常ならむ",
    "他们在磨坊里把谷物磨成面粉",
    "다람쥐 헌 쳇바퀴에 타고파",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "نص حكيم له سر قاطع وذو شأن عظيم",
] * 20
MODELS = {
    "unigram": {},
    "unigram of nfkc": {"normalization_rule_name": "nmt_nfkc"},
    "unigram of nfkc in lower case": {"normalization_rule_name": "nmt_nfkc_cf"},
    "unigram with bytes": {"byte_fallback": True},
    "unigram that keeps spaces": {"remove_extra_whitespaces": False},
    "unigram without a first space": {"add_dummy_prefix": False},
    "unigram of bare text": {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
    "bpe": {"model_type": "bpe"},
    "bpe of nfkc": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc"},
    "bpe with bytes": {"model_type": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False},
    "bpe of bare text": {"model_type": "bpe", "add_dummy_prefix": False, "remove_extra_whitespaces": False},
}
LIBRARY_ONLY = {
    "user-defined": {"user_defined_symbols": ["mill", "zz"]},
    "several words": {"split_by_whitespace": False},
    "suffixes": {"treat_whitespace_as_suffix": True},
    "characters": {"model_type": "char"},
}


def train(path: Path, texts: list[str], vocab_size: int = 400, **settings: object) -> Path:
    settings = {"normalization_rule_name": "identity", "model_type": "unigram", **settings}
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=vocab_size + 256 * bool(settings.get("byte_fallback")),
            hard_vocab_limit=False,
            minloglevel=2,
            **settings,
        )
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, tuple[Encoder, sentencepiece.SentencePieceProcessor]]:
    folder = tmp_path_factory.mktemp("pieces")
    found = {}
    for name, changes in {**MODELS, **LIBRARY_ONLY}.items():
        path = train(folder / f"{name}.model", TEXTS, **changes)
        found[name] = (encoder(path), sentencepiece.SentencePieceProcessor(model_file=str(path)))
    return found


def ids(own: Encoder, lines: list[str]) -> list[list[int]]:
    encoded = [line.encode() for line in lines]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    values, offsets = encode(own, data, np.cumsum([0, *map(len, encoded)]).astype(np.int64))
    assert values.dtype == np.int32
    return [values[a:b].tolist() for a, b in pairwise(offsets)]


LETTERS = sorted(set("".join(TEXTS)))
LINE = st.text(st.sampled_from([*LETTERS, "▁", " ", "\u3000", "\u00a0", "ﬁ", "é", "\u0301", "\u1100", "\u1161", "𝔘"]))
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=60)
@given(lines=st.lists(st.one_of(LINE, ANY, st.sampled_from(TEXTS)), max_size=8))
@example(lines=["", " ", "  ", "▁", " ▁ ", "▁▁ x ▁", "a▁b", "the  the", "the ", " the", "x" * 200, "qqqqqq zzzz 𝔘𝔘 𝔘"])
@example(lines=["\ufdfa", "ﬁﬁ ﬁ", "e\u0301", "\u1112\u1161\u11ab", "¨", "①②", "\x00\x07\u200b", "…"])
def test_ids_are_those_of_the_library(models, name, lines):
    own, library = models[name]
    assert own.model.vocabulary is not None
    assert ids(own, lines) == library.encode(lines)
    assert ids(own, lines) == library.encode(lines)  # from the cache


@pytest.mark.parametrize("name", LIBRARY_ONLY)
def test_models_of_other_kinds_go_through_the_library(models, name):
    own, library = models[name]
    assert own.model.vocabulary is None
    assert own.model.why_not
    lines = [*TEXTS[:12], "the mill zz", "", "▁"]
    assert ids(own, lines) == library.encode(lines)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab ", max_size=300), max_size=4), st.integers(0, 1_000))
def test_ties_and_rounding_fall_as_in_the_library(tmp_path_factory, lines, seed):
    """All strings of a and b up to four letters, at scores of which many sums are equal or nearly so."""
    chance = np.random.default_rng(seed)
    words = [m + "".join(w) for m in ("", "▁") for n in range(1, 5) for w in _strings("ab", n)]
    scores = -chance.integers(1, 12, len(words)) * np.float32(0.1) - chance.integers(0, 3, len(words)) * np.float32(
        1e-6
    )
    path = tmp_path_factory.getbasetemp() / "ties.model"
    path.write_bytes(model_file([("<unk>", 0.0, 2), ("▁", -1.0, 1), *((w, s, 1) for w, s in zip(words, scores))]))
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    lines += [" ".join(lines) * 20]
    assert ids(encoder(path), lines) == library.encode(lines)


def _strings(letters: str, size: int) -> list[str]:
    return [""] if size == 0 else [a + rest for a in letters for rest in _strings(letters, size - 1)]


def model_file(pieces: list[tuple[str, float, int]]) -> bytes:
    """A unigram model with the library's default options and no normalisation."""

    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    def piece(text: str, score: float, kind: int) -> bytes:
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind]))

    return b"".join(piece(*each) for each in pieces) + field(3, field(1, b"identity"))


def test_more_words_than_the_cache_holds(models):
    words = list(map("".join, product("themilro", repeat=6)))[: 9 * _SLOTS // 16]  # it is emptied at half its slots
    lines = [" ".join(words[i : i + 10]) for i in range(0, len(words), 10)]
    own, library = models["unigram"]
    assert ids(own, lines + TEXTS + lines[:100]) == library.encode(lines + TEXTS + lines[:100])


def test_a_line_of_a_megabyte_with_and_without_spaces(models):
    for name in ("unigram", "bpe"):
        own, library = models[name]
        lines = ["the miller " * 90_000, "磨粉面粉" * 20_000]
        assert ids(own, lines) == library.encode(lines)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_broken_bytes_give_something_and_leave_other_lines_alone(models, broken):
    for name in ("unigram", "unigram of nfkc", "bpe with bytes"):
        own, library = models[name]
        lines = [part for each in broken for part in (each, b"the dog")]
        data = np.frombuffer(b"".join(lines), np.uint8)
        values, offsets = encode(own, data, np.cumsum([0, *map(len, lines)]).astype(np.int64))
        for i in range(1, len(lines), 2):
            assert values[offsets[i] : offsets[i + 1]].tolist() == library.encode("the dog")


@pytest.mark.parametrize("content", [b"", b"\x0a", b"hello", bytes(100), b"\x0a\x05\x0a\x7fabc", b"\xff" * 50])
def test_a_file_that_is_no_model_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "sentencepiece.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sentencepiece\.model: not a SentencePiece model .*gristmill lm train"):
        encoder(path)
    with pytest.raises(ValueError, match="cannot be read"):
        encoder(tmp_path / "none.model")


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_damaged_model_is_an_error_or_a_model(tmp_path_factory, data):
    content = bytearray(model_file([("<unk>", 0.0, 2), ("▁a", -1.0, 1), ("a", -2.0, 1)]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.model"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found = encoder(path)
    except (ValueError, RuntimeError):
        return
    ids(found, ["a aa b"])


@pytest.mark.slow
def test_20_000_real_lines_in_many_scripts(shared_data, tmp_path):
    import zstandard

    lines: list[str] = []
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst")):
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            records = (json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n"))
            for record, _ in zip(records, range(300)):
                lines += record["text"][:3000].split("\n")
    lines = lines[:: len(lines) // 20_000]
    encoded = [line.encode() for line in lines]
    data, offsets = normalise(
        np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    )
    lines = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    assert len(lines) >= 20_000
    for changes in ({"normalization_rule_name": "nmt_nfkc"}, {"model_type": "bpe", "byte_fallback": True}):
        path = train(tmp_path / "real.model", lines[::9], 4_000, **changes)
        library = sentencepiece.SentencePieceProcessor(model_file=str(path))
        assert ids(encoder(path), lines) == library.encode(lines)
