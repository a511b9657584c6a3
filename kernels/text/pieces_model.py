"""A SentencePiece model file as arrays: pieces, their scores, a trie over their bytes, and how text is prepared.

The file is a protocol buffer (`ModelProto` of sentencepiece_model.proto); a few of its fields are read here, without
the protobuf package. `vocabulary` is None for a model that `kernels.text.pieces` does not encode as the library
does: pieces with a space mark inside, user-defined or unused pieces, model types other than unigram and BPE.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.pieces_normalise import Replacements, replacements
from gristmill.kernels.text.pieces_trie import build
from gristmill.kernels.text.uncounted import inlined

Settings = dict[int, tuple[int, ...]]

UNIGRAM, BPE = 1, 2  # TrainerSpec.ModelType
_NORMAL, _UNKNOWN, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 4, 5, 6  # SentencePiece.Type
_UNKNOWN_PENALTY = np.float32(10)  # sentencepiece, unigram_model.cc, kUnkPenalty


class Vocabulary(NamedTuple):
    """Arrays and plain values, all that the kernels need."""

    scores: np.ndarray  # (pieces,) float32
    units: np.ndarray  # (u,) uint64: trie over the normal pieces, as `kernels.text.pieces_trie` has it
    root: int  # its base
    byte_ids: np.ndarray  # (256,) int32: pieces that stand for bytes; (0,): the model has none
    unknown: int
    unknown_score: np.float32
    bpe: bool
    dummy_prefix: bool  # a space before the text
    collapse: bool  # spaces at the ends go, runs of them become one


class Model(NamedTuple):
    data: np.ndarray  # (bytes,) uint8: the pieces' UTF-8 end to end
    offsets: np.ndarray  # (pieces + 1,) int64
    unknown: int  # piece of what is unknown
    vocabulary: Vocabulary | None
    why_not: str  # why there is no vocabulary
    replacements: Replacements


def read_model(path: str | Path) -> Model:
    """ValueError where the file is no SentencePiece model."""
    path = Path(path)
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); train it with `gristmill lm train`") from error
    except (ValueError, IndexError) as error:
        why = f"not a SentencePiece model ({error})"
        raise ValueError(f"{path}: {why}; train it again with `gristmill lm train`") from error


def parse(proto: bytes) -> Model:
    """ValueError where the bytes are no model."""
    message = np.frombuffer(proto, np.uint8)
    fields = _fields(message)
    pieces, scores, types = _pieces(message, fields[fields[:, 0] == 1])
    unknown = np.flatnonzero(types == _UNKNOWN)
    if len(types) == 0 or len(unknown) != 1:
        raise ValueError("no pieces, or none for what is unknown")
    trainer, normalizer = (_settings(message, fields[fields[:, 0] == number]) for number in (2, 3))
    offsets = np.zeros(len(types) + 1, np.int64)
    np.cumsum(pieces[:, 1] - pieces[:, 0], out=offsets[1:])
    data = _gather(message, pieces, offsets)
    why = _why_not(data, offsets, types, trainer, normalizer)
    found = None if why else _vocabulary(data, offsets, scores, types, int(unknown[0]), trainer, normalizer)
    return Model(data, offsets, int(unknown[0]), found, why, replacements(_bytes(message, normalizer.get(2))))


def _why_not(data: np.ndarray, offsets: np.ndarray, types: np.ndarray, trainer: Settings, normalizer: Settings) -> str:
    if trainer.get(3, (UNIGRAM,))[0] not in (UNIGRAM, BPE):
        return "its type is neither unigram nor BPE"
    if trainer.get(24, (0,))[0] or not normalizer.get(5, (1,))[0]:
        return "it does not write spaces as marks before words"
    if np.isin(types, (_USER_DEFINED, _UNUSED)).any():
        return "it has user-defined or unused pieces"
    if _marked_inside(data, offsets, types == _NORMAL):
        return "it has pieces of several words"
    return ""


def _vocabulary(
    data: np.ndarray,
    offsets: np.ndarray,
    scores: np.ndarray,
    types: np.ndarray,
    unknown: int,
    trainer: Settings,
    normalizer: Settings,
) -> Vocabulary:
    normal = np.flatnonzero(types == _NORMAL).astype(np.int32)
    units, root = build(data, offsets, normal)
    byte_ids = np.zeros(256 if trainer.get(35, (0,))[0] else 0, np.int32)
    if len(byte_ids):
        for i in np.flatnonzero(types == _BYTE).tolist():
            byte_ids[int(data[offsets[i] + 1 : offsets[i + 1] - 1].tobytes(), 16)] = i  # <0x0A>
    return Vocabulary(
        scores=scores,
        units=units,
        root=root,
        byte_ids=byte_ids,
        unknown=unknown,
        unknown_score=np.float32(scores[normal].min(initial=np.inf) - _UNKNOWN_PENALTY),
        bpe=trainer.get(3, (UNIGRAM,))[0] == BPE,
        dummy_prefix=bool(normalizer.get(3, (1,))[0]),
        collapse=bool(normalizer.get(4, (1,))[0]),
    )


def _settings(message: np.ndarray, fields: np.ndarray) -> Settings:
    """Fields of the last message of `fields` by number: (value,) or the span of its bytes."""
    if len(fields) == 0:
        return {}
    begin, end = fields[-1, 2:].tolist()
    found = _fields(message[begin:end]).tolist()
    return {number: (first,) if kind == 0 else (begin + first, begin + last) for number, kind, first, last in found}


def _bytes(message: np.ndarray, span: tuple[int, ...] | None) -> bytes:
    return message[span[0] : span[1]].tobytes() if span else b""


@numba.njit(cache=True, nogil=True)
def _varint(message, at):
    """(value, place behind it); a place of -1 where it is cut short."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= np.uint64(byte & 0x7F) << shift
        at += 1
        shift += np.uint64(7)
        if byte < 0x80:
            return np.int64(value), at
    return np.int64(0), -1


@numba.njit(cache=True, nogil=True)
def _field(message, at):
    """(number, wire type, value or first byte, 0 or place behind the last byte, place behind the field)."""
    tag, at = _varint(message, at)
    kind = tag & 7
    size = np.int64(8) if kind == 1 else np.int64(4)
    value = np.int64(0)
    if at >= 0 and (kind == 0 or kind == 2):
        value, at = _varint(message, at)
        size = value
    if at < 0 or kind in (3, 4, 6, 7) or (kind != 0 and not 0 <= size <= len(message) - at):
        raise ValueError("a field is cut short")
    if kind == 0:
        return tag >> 3, kind, value, np.int64(0), at
    return tag >> 3, kind, at, at + size, at + size


@numba.njit(cache=True, nogil=True)
def _fields(message):
    """(fields, 4) int64 of a protocol buffer message, as `_field` has them."""
    count = 0
    at = 0
    while at < len(message):
        at = _field(message, at)[4]
        count += 1
    found = np.empty((count, 4), np.int64)
    at = 0
    for i in range(count):
        found[i, 0], found[i, 1], found[i, 2], found[i, 3], at = _field(message, at)
    return found


@numba.njit(cache=True, nogil=True)
def _pieces(message, fields):
    """(spans (n, 2) int64 of the pieces' bytes, scores (n,) float32, types (n,) uint8)."""
    n = len(fields)
    spans = np.zeros((n, 2), np.int64)
    scores = np.zeros(n, np.uint32)
    types = np.full(n, _NORMAL, np.uint8)
    for i in range(n):
        begin, end = fields[i, 2], fields[i, 3]
        at = 0
        while at < end - begin:
            number, _, first, last, at = _field(message[begin:end], at)
            if number == 1:
                spans[i, 0], spans[i, 1] = begin + first, begin + last
            elif number == 2:
                for k in range(4):
                    scores[i] |= np.uint32(message[begin + first + k]) << np.uint32(8 * k)
            elif number == 3:
                types[i] = first
    return spans, scores.view(np.float32), types


@numba.njit(cache=True, nogil=True)
def _gather(message, spans, offsets):
    data = np.empty(offsets[-1], np.uint8)
    for i in range(len(spans)):
        data[offsets[i] : offsets[i + 1]] = message[spans[i, 0] : spans[i, 1]]
    return data


@numba.njit(cache=True, nogil=True)
def _marked_inside(data, offsets, asked):
    """Whether a piece that is asked for holds a mark that it does not begin with."""
    for i in range(len(asked)):
        if asked[i]:
            for at in range(offsets[i] + 1, offsets[i + 1] - 2):
                if data[at] == 0xE2 and data[at + 1] == 0x96 and data[at + 2] == 0x81:
                    return True
    return False


SPELLED = 1 << 30
"""Beside the second and later pieces that spell an unknown character in bytes."""


@inlined
def width(word, at, end):
    """Bytes of the character at `at`, as its first byte has it, at most what is left."""
    byte = word[at]
    size = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    return min(size, end - at)


@inlined
def emit(out, count, word, begin, end, found, unknown, byte_ids):
    """Writes one piece and gives the new count: `found`, or for an unknown character (-1) the complement of the
    unknown piece or of its first byte's piece, then its other bytes' pieces with `SPELLED`."""
    if found >= 0:
        out[count] = found
    elif len(byte_ids) == 0:
        out[count] = ~unknown
    else:
        out[count] = ~byte_ids[word[begin]]
        for at in range(begin + 1, end):
            out[count + at - begin] = byte_ids[word[at]] | SPELLED
        count += end - begin - 1
    return count + 1
