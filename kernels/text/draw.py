"""The only source of randomness: a keyed 64-bit draw per document.

    draw(seed, purpose, id, epoch) = xxh3_64 of 40 bytes, without an xxh3 seed:
    bytes  0- 7  seed                      unsigned, little-endian
    bytes  8-15  xxh3_64(purpose, UTF-8)   unsigned, little-endian
    bytes 16-31  document id               as stored
    bytes 32-39  epoch                     unsigned, little-endian

A draw depends on nothing else: not on order, partition, process or machine. Different purposes give
independent draws of the same document. The 40 bytes are never built: XXH3's formula for inputs of 33 to
64 bytes is evaluated on the five words (xxHash 0.8 specification, "Medium inputs").
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa
import xxhash

_SECRET = np.frombuffer(  # first 64 bytes of XXH3's default secret (xxHash 0.8 specification), as little-endian words
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    ),
    dtype="<u8",
)
_PRIME64_1 = np.uint64(0x9E3779B185EBCA87)  # xxHash 0.8 specification
_AVALANCHE = np.uint64(0x165667919E3779F9)  # the same, XXH3_avalanche
_LENGTH = np.uint64(40)


def draw(
    seed: int, purpose: str, ids: pa.Array | pa.ChunkedArray | np.ndarray, epoch: int | np.ndarray = 0
) -> np.ndarray:
    """One draw per document.

    seed: 0 <= seed < 2^64. ids: Arrow fixed_size_binary(16) without nulls, or (n, 16) uint8.
    epoch: one number, or (n,) integers. Returns (n,) uint64, uniform over 0 .. 2^64 - 1.
    """
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed {seed} is outside 0 .. 2^64 - 1: choose a seed within it")
    words = id_words(ids)
    epochs = np.broadcast_to(np.asarray(epoch).astype(np.uint64), (len(words),))
    return _draw(np.uint64(seed), np.uint64(xxhash.xxh3_64_intdigest(purpose.encode())), words, epochs)


def uniform(draws: np.ndarray) -> np.ndarray:
    """(n,) uint64 draws as float64 in [0, 1): the upper 53 bits over 2^53, exactly."""
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53


def id_words(ids: pa.Array | pa.ChunkedArray | np.ndarray) -> np.ndarray:
    """(n, 2) uint64: each 16-byte id as two little-endian words; no copy where the ids are contiguous.

    ids: Arrow fixed_size_binary(16) without nulls, or (n, 16) uint8.
    """
    if isinstance(ids, np.ndarray):
        if ids.dtype != np.uint8 or ids.ndim != 2 or ids.shape[1] != 16:
            raise ValueError(f"ids are {ids.dtype}{ids.shape}: need uint8 of shape (n, 16)")
        return np.ascontiguousarray(ids).view("<u8")
    if ids.type != pa.binary(16):
        raise ValueError(f"ids are {ids.type}: need fixed_size_binary(16)")
    if ids.null_count:
        raise ValueError(f"{ids.null_count} of {len(ids)} ids are null: every document needs an id")
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if len(ids) == 0:
        return np.empty((0, 2), "<u8")
    words = np.frombuffer(ids.buffers()[1], "<u8", count=2 * len(ids), offset=16 * ids.offset)
    return words.reshape(-1, 2)


def id_array(ids: np.ndarray) -> pa.FixedSizeBinaryArray:
    """(n, 16) uint8, or (n, 2) uint64 as of `id_words`, as an Arrow fixed_size_binary(16) array of n ids."""
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))]
    )


@numba.njit(cache=True, nogil=True)
def _draw(seed, purpose, ids, epochs):
    out = np.empty(len(ids), np.uint64)
    for i in range(len(ids)):
        low, high = ids[i, 0], ids[i, 1]
        h = _LENGTH * _PRIME64_1
        # 16 bytes from 16 and from length - 32, then from 0 and from length - 16
        h += _fold(low ^ _SECRET[4], high ^ _SECRET[5]) + _fold(purpose ^ _SECRET[6], low ^ _SECRET[7])
        h += _fold(seed ^ _SECRET[0], purpose ^ _SECRET[1]) + _fold(high ^ _SECRET[2], epochs[i] ^ _SECRET[3])
        h ^= h >> np.uint64(37)
        h *= _AVALANCHE
        out[i] = h ^ (h >> np.uint64(32))
    return out


@numba.njit(cache=True, inline="always")
def _fold(x, y):
    """Low half XOR high half of the 128-bit product."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, y0, y1 = x & mask, x >> half, y & mask, y >> half
    cross = (x0 * y0 >> half) + (x1 * y0 & mask) + x0 * y1
    return (x * y) ^ (x1 * y1 + (x1 * y0 >> half) + (cross >> half))
