"""Text to token ids and back, exactly, over Arrow columns.

Ids are SentencePiece's own but for U+2581: SentencePiece writes spaces as that character and would give the text's
own back as a space; here it is its three byte pieces, so that decode(encode(text)) == text for every valid UTF-8
text. Control pieces (`<s>`, `</s>`, ...) are never made from text; their literal spelling is ordinary characters.
Decoding is a gather of piece bytes and needs no SentencePiece.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPACE_MARK = "\u2581"

SEGMENT_BYTES = 4096
"""Measured on 14 MB of mixed text with 256,000 pieces: 4.2 MB/s with whole documents, 5.1 with segments of 4 kB."""

_CHANGED_BY_NORMALIZERS = " a  \tb\u00a0\ufb01 \n "


class Encoder:
    """A trained `tokenizer.model`, ready to encode and decode.

    Attributes: vocab_size; eos_id; bos_id; pad_id; unk_id; model_sha256; is_byte, (vocab_size,) bool: the
    byte pieces; piece_bytes and piece_offsets: the UTF-8 bytes each id stands for, (total,) uint8 and
    (vocab_size + 1,) int64; control pieces stand for none.
    """

    def __init__(self, model_path: str | Path, num_threads: int = 1):
        """num_threads: SentencePiece's, per batch; ids do not depend on it."""
        import sentencepiece

        path = Path(model_path)
        if not path.is_file():
            raise ValueError(f"{path}: no such tokenizer; train one with `gristmill tokenizer train`")
        model = path.read_bytes()
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ValueError(f"{path}: not a SentencePiece model; train one: `gristmill tokenizer train`") from error
        self._num_threads = num_threads
        self.model_sha256 = hashlib.sha256(model).hexdigest()
        self.vocab_size: int = self._processor.vocab_size()
        self.unk_id: int = self._processor.unk_id()
        self.pad_id: int = self._processor.pad_id()
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        ids = range(self.vocab_size)
        self.is_byte = np.fromiter(map(self._processor.is_byte, ids), bool, self.vocab_size)
        pieces = [self._stands_for(i) for i in ids]
        self.piece_bytes = np.frombuffer(b"".join(pieces), np.uint8)
        self.piece_offsets = np.zeros(self.vocab_size + 1, np.int64)
        np.cumsum([len(piece) for piece in pieces], out=self.piece_offsets[1:])
        normal = self._processor.normalize(_CHANGED_BY_NORMALIZERS)
        self._space_starts_piece = normal == _CHANGED_BY_NORMALIZERS.replace(" ", SPACE_MARK) and not any(
            SPACE_MARK in piece.lstrip(SPACE_MARK) for piece in map(self.piece, ids)
        )
        self._mark_ids = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_MARK.encode()]
        if not all(self.is_byte[i] for i in self._mark_ids):
            raise ValueError(f"{path}: the model has no byte pieces; train one with byte_fallback")

    def encode_batch(
        self, texts: pa.Array | pa.ChunkedArray | list[str], *, eos: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, end to end: (tokens,) int32, and where each text starts: (n + 1,) int64.

        eos: append the end-of-text id to each. A null is an error.
        """
        column = texts if isinstance(texts, pa.Array | pa.ChunkedArray) else pa.array(texts, pa.large_string())
        if column.null_count:
            raise ValueError(f"{column.null_count} of {len(column)} texts are null: drop them before encoding")
        column = column.cast(pa.large_string())
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        segments, first = self._segments(column)
        encoded = self._processor.encode(segments.to_pylist(), return_type="numpy", num_threads=self._num_threads)
        for i in np.flatnonzero(pc.match_substring(segments, SPACE_MARK).to_numpy(zero_copy_only=False)):
            encoded[i] = self._encode_marked(segments[int(i)].as_py())
        ends = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=ends[1:])
        values, offsets = np.concatenate([np.empty(0, np.int32), *encoded]), ends[first]
        if eos:
            values = np.insert(values, offsets[1:], self.eos_id)
            offsets += np.arange(len(offsets))
        return values, offsets

    def encode(self, text: str, *, eos: bool = False) -> np.ndarray:
        """Ids of one text, (tokens,) int32."""
        return self.encode_batch([text], eos=eos)[0]

    def decode_batch(self, values: np.ndarray, offsets: np.ndarray) -> pa.LargeStringArray:
        """The texts of ids as `encode_batch` gives them. Ids cut inside a character are an error."""
        return self.decode_binary(values, offsets).cast(pa.large_string())

    def decode_binary(self, values: np.ndarray, offsets: np.ndarray) -> pa.LargeBinaryArray:
        """The UTF-8 bytes of texts, of any ids."""
        data, ends = self.decode_bytes(values, offsets)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends) - 1, buffers)

    def decode(self, ids: np.ndarray | list[int]) -> str:
        """The text of some ids; bytes that are not UTF-8, as at the edge of a window, become U+FFFD."""
        values = np.asarray(ids, np.int64)
        return self.decode_bytes(values, np.array([0, len(values)]))[0].tobytes().decode(errors="replace")

    def decode_bytes(self, values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """UTF-8 bytes of ids: (bytes,) uint8 of all texts end to end, and where each starts: (n + 1,) int64."""
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < self.vocab_size:
            raise ValueError(f"token ids run from {values.min()} to {values.max()}, pieces to {self.vocab_size - 1}")
        lengths = np.diff(self.piece_offsets)[values]
        ends = np.zeros(len(values) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        shift = np.repeat(self.piece_offsets[:-1][values] - ends[:-1], lengths)  # output position -> piece position
        return self.piece_bytes[np.arange(ends[-1]) + shift], ends[offsets]

    def piece(self, token: int) -> str:
        """How SentencePiece writes a piece: spaces as U+2581, bytes as <0xXX>."""
        return self._processor.id_to_piece(token)

    def score(self, token: int) -> float:
        """Minus the rank at which the piece was merged in training; 0 for pieces that were given."""
        return self._processor.get_score(token)

    def is_control(self, token: int) -> bool:
        """Whether a piece stands for no text: `<unk>`, `<pad>`, `<s>`, `</s>`."""
        return self._processor.is_control(token) or self._processor.is_unknown(token)

    def _stands_for(self, token: int) -> bytes:
        if self.is_byte[token]:
            return bytes([int(self.piece(token)[1:-1], 16)])
        return b"" if self.is_control(token) else self.piece(token).replace(SPACE_MARK, " ").encode()

    def _segments(self, column: pa.LargeStringArray) -> tuple[pa.LargeStringArray, np.ndarray]:
        """Texts cut to about SEGMENT_BYTES, and where each text's segments start: (n + 1,) int64.

        Cut before a space that follows another character, where no piece reaches across: ids stay the same, and
        SentencePiece's memory and time, which grow faster than the text, are those of a segment.
        """
        _, buffer, data = column.buffers()
        size = len(column) + 1
        starts = (
            np.frombuffer(buffer, np.int64)[column.offset : column.offset + size] if buffer else np.zeros(size, int)
        )
        if not self._space_starts_piece or not (np.diff(starts) > SEGMENT_BYTES).any():
            return column, np.arange(len(column) + 1)
        text = np.frombuffer(data, np.uint8)[: starts[-1]]
        allowed = np.flatnonzero((text[1:] == ord(" ")) & (text[:-1] != ord(" "))) + 1
        grid = np.concatenate([np.arange(a + SEGMENT_BYTES, b, SEGMENT_BYTES) for a, b in pairwise(starts.tolist())])
        places = np.searchsorted(allowed, grid)
        cuts = allowed[places[places < len(allowed)]]  # may fall into a later text, where it is as harmless
        bounds = np.sort(np.concatenate([starts, np.setdiff1d(cuts, starts)]))  # empty texts repeat a start
        segments = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), data)
        first = np.searchsorted(bounds, starts, "left") + _repeats(starts)
        return segments, first

    def _encode_marked(self, text: str) -> np.ndarray:
        """A text that holds U+2581. No merge reaches across a byte piece, so what is between is encoded alone."""
        between = self._processor.encode(text.split(SPACE_MARK), return_type="numpy", num_threads=self._num_threads)
        mark = np.array(self._mark_ids, np.int32)
        parts = [between[0]]
        for segment in between[1:]:
            parts += [mark, segment]
        return np.concatenate(parts)


def _repeats(starts: np.ndarray) -> np.ndarray:
    """(n,) int64: how many equal starts come directly before each, of sorted starts."""
    return np.arange(len(starts)) - np.searchsorted(starts, starts, "left")
