"""128-bit hashes: of document texts, for exact duplicates, and document ids.

    text hash    xxh3_128 of the UTF-8 text after NFC, CRLF -> LF and an outer strip, nothing more
    document id  xxh3_128(source ‖ 0 ‖ own id), else xxh3_128(source ‖ 0 ‖ path ‖ 0 ‖ record in decimal)

Both are (n, 16) uint8, big-endian digest bytes. One kernel pass finds the span of each text to hash and the
rare texts that must be rewritten first; only those become Python strings. Hashing itself is one call into
the C library per document. NFC is that of the interpreter's Unicode version (`unicodedata.unidata_version`).
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from itertools import pairwise

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128_digest

from gristmill.kernels.text.utf8 import buffers, decode

_SPACE, _UNSETTLED = 254, 255  # beside canonical combining classes, which end at 240 (Unicode 16, UnicodeData.txt)


def text_hashes(texts: pa.Array) -> np.ndarray:
    """(n, 16) uint8: the text hash of each row. texts: large_string; a null hashes as the empty text."""
    return text_hashes_and_stray(texts)[0]


def text_hashes_and_stray(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(the text hashes, how many characters each text has more than what is hashed, or less where NFC makes it
    longer): (n, 16) uint8, (n,) int64."""
    data, offsets = buffers(pc.fill_null(texts, ""))
    starts, ends, rewrite, stray = _spans(data, offsets, *_normalization_table())
    view = data.data
    digests = [xxh3_128_digest(view[a:b]) for a, b in zip(starts.tolist(), ends.tolist())]
    for i in np.flatnonzero(rewrite).tolist():
        text = str(view[offsets[i] : offsets[i + 1]], "utf-8")
        normalised = unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()
        digests[i] = xxh3_128_digest(normalised.encode())
        stray[i] = abs(len(text) - len(normalised))
    return _digest_rows(digests), stray


def document_ids(
    source: str,
    own_ids: pa.Array | None = None,
    *,
    paths: pa.Array | None = None,
    records: pa.Array | None = None,
) -> np.ndarray:
    """(n, 16) uint8: the ids of one source's documents.

    own_ids: strings; a null (or no column) falls back to paths (strings) and records (integers).
    """
    identity = None if own_ids is None else _after_source(source, own_ids)
    if identity is None or identity.null_count:
        if paths is None or records is None:
            raise ValueError(f"source {source}: a document has no id of its own: give paths and records")
        placed = _after_source(source, paths, pc.cast(records, pa.large_string()))
        identity = placed if identity is None else pc.coalesce(identity, placed)
    if identity.null_count:
        raise ValueError(f"source {source}: {identity.null_count} documents have neither an id nor a path and record")
    return _digests(identity)


def derived_ids(parents: np.ndarray, stage: str, ordinals: np.ndarray) -> np.ndarray:
    """(n, 16) uint8: ids of documents that a stage made: xxh3_128(parent id ‖ stage ‖ 0 ‖ ordinal in decimal).

    parents: (n, 16) uint8; ordinals: (n,) integers, the place among the documents made from that parent.
    """
    suffix = stage.encode() + b"\0"
    rows = zip(np.ascontiguousarray(parents).view("V16").ravel().tolist(), ordinals.tolist())
    return _digest_rows([xxh3_128_digest(parent + suffix + b"%d" % n) for parent, n in rows])


def _after_source(source: str, *columns: pa.Array) -> pa.Array:
    strings = [pc.cast(column, pa.large_string()) for column in columns]
    return pc.binary_join_element_wise(
        pa.scalar(source, pa.large_string()), *strings, pa.scalar("\0", pa.large_string())
    )


def _digests(rows: pa.Array) -> np.ndarray:
    data, offsets = buffers(rows)
    view, bounds = data.data, offsets.tolist()
    return _digest_rows([xxh3_128_digest(view[a:b]) for a, b in pairwise(bounds)])


def _digest_rows(digests: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


@cache
def _normalization_table() -> tuple[np.ndarray, np.ndarray]:
    """Two levels over code points, value = leaves[roots[c >> 8], c & 255]: 0: nothing to see; 1-240: combining
    class; _SPACE: str.isspace; _UNSETTLED: NFC_Quick_Check is not Yes (Unicode Standard Annex 15, section 9).
    """
    flat = np.zeros(sys.maxunicode + 1, np.uint8)
    for plane in (range(0x20000), range(0x2F800, 0x2FA20)):  # no mark, space or decomposition elsewhere
        for c in plane:
            char = chr(c)
            flat[c] = _SPACE if char.isspace() else max(flat[c], unicodedata.combining(char))
            decomposition = unicodedata.decomposition(char)
            if decomposition and not decomposition.startswith("<"):
                if unicodedata.normalize("NFC", char) != char:
                    flat[c] = _UNSETTLED  # quick check No
                parts = decomposition.split()
                if len(parts) == 2:
                    flat[int(parts[1], 16)] = _UNSETTLED  # may compose with what stands before it: quick check Maybe
    flat[0x1161:0x1176] = flat[0x11A8:0x11C3] = _UNSETTLED  # Hangul vowels and finals compose by rule (Unicode 3.12)
    return two_levels(flat)


def two_levels(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table over all 0x110000 code points as (roots (4352,) int64, leaves (k, 256)): equal pages stand once."""
    leaves, roots = np.unique(flat.reshape(-1, 256), axis=0, return_inverse=True)
    return roots.astype(np.int64).ravel(), np.ascontiguousarray(leaves)


@numba.njit(cache=True, nogil=True)
def _spans(data, offsets, roots, leaves):
    n = len(offsets) - 1
    starts, ends, rewrite = offsets[:-1].copy(), offsets[1:].copy(), np.zeros(n, np.bool_)
    stray = np.zeros(n, np.int64)
    for i in range(n):
        start, end = offsets[i], offsets[i + 1]
        rewrite[i] = _suspect(data, start, end) and _needs_rewriting(data, start, end, roots, leaves)
        while start < end:
            c, width = decode(data, start, end)
            if leaves[roots[c >> 8], c & 255] != _SPACE:
                break
            start += width
            stray[i] += 1
        while start < end:
            last = end - 1
            while data[last] & 0xC0 == 0x80:
                last -= 1
            c, _ = decode(data, last, end)
            if leaves[roots[c >> 8], c & 255] != _SPACE:
                break
            end = last
            stray[i] += 1
        starts[i], ends[i] = start, end
    return starts, ends, rewrite, stray


@numba.njit(cache=True)
def _suspect(data, start, end):
    """False where every byte is below 0xCC, hence every character below U+0300 and in NFC, and no CR stands."""
    found = np.uint8(0)
    for i in range(start, end):  # no early exit: the loop is one vector OR
        found |= np.uint8(data[i] >= 0xCC) | np.uint8(data[i] == 13)
    return found != 0


@numba.njit(cache=True)
def _needs_rewriting(data, start, end, roots, leaves):
    """True where a CRLF stands, or where the quick check for NFC does not answer yes."""
    previous_class = 0
    i = start
    while i < end:
        b = data[i]
        if b < 0xCC:
            if b == 13 and i + 1 < end and data[i + 1] == 10:
                return True
            previous_class = 0
            i += 1 + (b >= 0xC0)
            continue
        c, width = decode(data, i, end)
        value = leaves[roots[c >> 8], c & 255]
        if value == _SPACE:
            value = 0
        if value == _UNSETTLED or (value != 0 and value < previous_class):
            return True
        previous_class = value
        i += width
    return False
