"""Text to token ids and back, exactly, over Arrow columns.

Ids are SentencePiece's own but for U+2581: SentencePiece writes spaces as that character and would give the text's
own back as a space; here it is its three byte pieces, so that decode(encode(text)) == text for every valid UTF-8
text. Control pieces (`<s>`, `</s>`, ...) are never made from text; their literal spelling is ordinary characters.
Decoding is a gather of piece bytes and needs no SentencePiece.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPACE_MARK = "\u2581"


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
        offsets = np.zeros(len(column) + 1, np.int64)
        if not len(column):
            return np.empty(0, np.int32), offsets
        encoded = self._processor.encode(
            column.to_pylist(), return_type="numpy", add_eos=eos, num_threads=self._num_threads
        )
        for i in np.flatnonzero(pc.match_substring(column, SPACE_MARK).to_numpy(zero_copy_only=False)):
            encoded[i] = self._encode_marked(column[int(i)].as_py(), eos)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        return np.concatenate(encoded), offsets

    def encode(self, text: str, *, eos: bool = False) -> np.ndarray:
        """Ids of one text, (tokens,) int32."""
        return self.encode_batch([text], eos=eos)[0]

    def decode_batch(self, values: np.ndarray, offsets: np.ndarray) -> pa.LargeStringArray:
        """The texts of ids as `encode_batch` gives them. Ids cut inside a character are an error."""
        data, ends = self.decode_bytes(values, offsets)
        column = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(data)]
        )
        return column.cast(pa.large_string())

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

    def _encode_marked(self, text: str, eos: bool) -> np.ndarray:
        """A text that holds U+2581. No merge reaches across a byte piece, so what is between is encoded alone."""
        between = self._processor.encode(text.split(SPACE_MARK), return_type="numpy", num_threads=self._num_threads)
        mark = np.array(self._mark_ids, np.int32)
        parts = [between[0]]
        for segment in between[1:]:
            parts += [mark, segment]
        return np.concatenate([*parts, np.array([self.eos_id] if eos else [], np.int32)])
