"""Trains the vocabulary: SentencePiece BPE that keeps every byte of white space and splits numbers into digits.

Settings of the Nemotron-4 tokenizer (Parmar et al. 2024, section 2): white space preserved, digits split, unknown
characters as bytes. `split_digits` of SentencePiece covers ASCII and full-width digits only, so all decimal digits
of Unicode are user-defined symbols, which never merge. Documents are fed as sentences of at most
MAX_SENTENCE_BYTES, new lines inside them, so that new lines take part in merges. The model's bytes depend on the
multiset of sentences alone: not on their order, the output's path or the number of cores.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

VOCAB_SIZE = 256_000  # Parmar et al. 2024, section 2
UNK, PAD, BOS, EOS = 0, 1, 2, 3  # as in the published Nemotron-4 tokenizer; pad is ours

MAX_SENTENCE_BYTES = 4096
"""SentencePiece addresses a symbol in an unbroken word with 16 bits, and skips what is over `max_sentence_length`."""

NUM_THREADS = 8
"""A constant because SentencePiece stores it in the model file; changes nothing else."""

PROCESS_BYTES = 22.0
"""For a byte of sample, measured with 16,384 pieces; 15.7 with 256,000."""

RESERVED = ("\u2581", "\u2585")
"""SentencePiece's own marks for a space and for a rare character; documents that hold one are not trained on."""

# The zeros of category Nd in Unicode 14, each followed by its nine: 660 digits. A table, since the interpreter's
# Unicode version would otherwise decide the vocabulary.
_DIGIT_ZEROS = (
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0,
    0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620,
    0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0,
    0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60,
    0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
)  # fmt: skip
DIGITS = tuple(chr(zero + i) for zero in _DIGIT_ZEROS for i in range(10))

SETTINGS: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "split_digits": True,
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "unk_id": UNK,
    "pad_id": PAD,
    "bos_id": BOS,
    "eos_id": EOS,
    "max_sentence_length": MAX_SENTENCE_BYTES,
    "num_threads": NUM_THREADS,
    "hard_vocab_limit": False,  # a small corpus gives fewer pieces; `train` decides what that means
    "minloglevel": 2,
}


class TooFewPieces(ValueError):
    """`least`: pieces that the text's characters, the bytes, the digits and the control pieces take."""

    def __init__(self, sentence: str, least: int) -> None:
        super().__init__(sentence)
        self.least = least


class TrainedRecord(TypedDict):
    """A `Trained` as JSON values."""

    vocab_size: int
    requested_vocab_size: int
    model_sha256: str
    documents: int
    documents_left_out: int
    sentences: int
    bytes: int


@dataclass(frozen=True)
class Trained:
    """What came of a training run; JSON values."""

    vocab_size: int
    requested_vocab_size: int
    model_sha256: str
    documents: int
    documents_left_out: int  # they hold a character of RESERVED
    sentences: int
    bytes: int

    def record(self) -> TrainedRecord:
        return {
            "vocab_size": self.vocab_size,
            "requested_vocab_size": self.requested_vocab_size,
            "model_sha256": self.model_sha256,
            "documents": self.documents,
            "documents_left_out": self.documents_left_out,
            "sentences": self.sentences,
            "bytes": self.bytes,
        }


def train(
    texts: Iterable[str],
    out_dir: str | Path,
    vocab_size: int = VOCAB_SIZE,
    *,
    character_coverage: float = 0.9995,
    shrink: bool = True,
) -> Trained:
    """Trains on documents and writes `out_dir/tokenizer.model`.

    character_coverage: share of the text's characters that get a piece of their own, the rest is spelled in bytes
    (SentencePiece's default; with 256,000 pieces this is several thousand characters). shrink: where the text holds
    fewer than `vocab_size` distinct pieces, keep those there are and say so in the result; False raises instead.
    Memory grows with the text (see `cost`). Raises ValueError with one sentence otherwise, `TooFewPieces` where
    `vocab_size` has no room for the characters.
    """
    import sentencepiece

    counts = dict.fromkeys(("documents", "left_out", "sentences", "bytes"), 0)
    model = io.BytesIO()
    failures: list[BaseException] = []
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(_watched(texts, failures), counts),
            model_writer=model,
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            user_defined_symbols=list(DIGITS),
            **SETTINGS,
        )
    except (RuntimeError, OSError) as error:
        if not failures:
            raise _failure(str(error), vocab_size, counts) from error
    if failures:
        raise failures[0]
    size = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size()
    if size < vocab_size and not shrink:
        raise ValueError(
            f"vocab_size {vocab_size} is more than {counts['bytes']:,} bytes of text can give: the largest possible "
            f"is {size}; lower it, sample more text, or allow shrinking"
        )
    two_digits = pieces_with_digits(model.getvalue())
    if two_digits:
        raise ValueError(f"the trained vocabulary joins digits in {len(two_digits)} pieces, {two_digits[0]!r} first")
    path = Path(out_dir) / "tokenizer.model"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return Trained(
        vocab_size=size,
        requested_vocab_size=vocab_size,
        model_sha256=hashlib.sha256(model.getvalue()).hexdigest(),
        documents=counts["documents"],
        documents_left_out=counts["left_out"],
        sentences=counts["sentences"],
        bytes=counts["bytes"],
    )


def cost(text_bytes: int) -> dict[str, float]:
    """Memory in bytes and CPU seconds to expect at most: 13 bytes and 0.19 µs per byte of text.

    Measured with sentencepiece 0.2.3, 256,000 pieces: 267 MB in 170 languages, where unspaced scripts weigh most,
    took 3.3 GB and 46 s, 150 MB of mostly spaced text 1.1 GB and 28 s. The vocabulary's size hardly matters.
    """
    return {"memory_bytes": 13.0 * text_bytes + 1e8, "cpu_s": 0.19e-6 * text_bytes + 1.0}


def process_bytes(text_bytes: int) -> int:
    """Memory in bytes of the whole process at most: 22 for a byte of text, 13 of them SentencePiece's."""
    return int(PROCESS_BYTES * text_bytes + 5e8)


def pieces_with_digits(model: bytes) -> list[str]:
    """Learned pieces that hold a digit of DIGITS beside another character. There must be none."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    digits = set(DIGITS)
    return [
        piece
        for i in range(processor.vocab_size())
        if len(piece := processor.id_to_piece(i)) > 1
        and not (processor.is_byte(i) or processor.is_control(i) or processor.is_unknown(i))
        and not digits.isdisjoint(piece)
    ]


def _watched(texts: Iterable[str], failures: list[BaseException]) -> Iterator[str]:
    """The same texts; what goes wrong while they are read is kept, as SentencePiece takes it for their end."""
    try:
        yield from texts
    except Exception as error:
        failures.append(error)
        raise


def _sentences(texts: Iterable[str], counts: dict[str, int]) -> Iterator[str]:
    for text in texts:
        if any(mark in text for mark in RESERVED):
            counts["left_out"] += 1
            continue
        counts["documents"] += 1
        for sentence in cut(text):
            counts["sentences"] += 1
            counts["bytes"] += len(sentence.encode())
            yield sentence


def cut(text: str, limit: int = MAX_SENTENCE_BYTES) -> Iterator[str]:
    """The text in pieces of at most `limit` (4 or more) UTF-8 bytes; joined they are the text.

    Cuts before the last new line that fits, else before the last space, else between two characters: white space
    stays with what follows it, since SentencePiece strips new lines off a sentence's end.
    """
    data = text.encode()
    start = 0
    while len(data) - start > limit:
        end = start + limit
        while data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        for mark in (b"\n", b" "):
            found = data.rfind(mark, start + limit // 2, end)
            if found > start:
                end = found
                break
        yield data[start:end].decode()
        start = end
    if start < len(data):
        yield data[start:].decode()


def _failure(error: str, vocab_size: int, counts: dict[str, int]) -> ValueError:
    """SentencePiece's error in one sentence of ours."""
    if not counts["sentences"]:
        return ValueError("there is no text to train a tokenizer on: the sample is empty")
    if "smaller than required_chars" in error:
        least = error.split(" vs ")[1].split(".")[0]
        return TooFewPieces(
            f"vocab_size {vocab_size} is too small: the text's characters, 256 bytes and {len(DIGITS)} digits "
            f"alone need {least}; raise it or lower character_coverage",
            int(least),
        )
    if "vocab_size()" in error or "user_defined" in error or "insert_id" in error:
        return ValueError(
            f"vocab_size {vocab_size} is too small: 256 bytes, {len(DIGITS)} digits and 4 control pieces come first"
        )
    return ValueError(f"SentencePiece could not train: {error}")
