"""A keyed permutation of 0 .. n-1 with random access and no memory: Feistel network with cycle walking.

Luby and Rackoff 1988; Black and Rogaway 2002 for cycle walking. A balanced Feistel network permutes 0 .. 2^(2b) - 1,
the smallest such range that holds n (so at most 4n); a value that lands at n or above is permuted again until it
is below n. Rounds mix with splitmix64's finaliser (Steele et al. 2014). Vectorised over numpy uint64.

Keys come from xxh3_64 over (seed, purpose, identity, epoch) in the fixed layout of `kernels.text.draw`.
"""

from __future__ import annotations

import struct

import numpy as np
import xxhash

ROUNDS = 6
"""Four are a strong pseudorandom permutation if the rounds are random (Luby and Rackoff 1988); six for margin."""


def key64(seed: int, purpose: str, identity: bytes = b"", epoch: int = 0) -> int:
    """A 64-bit key: little-endian u64 seed, u64 xxh3_64(purpose), 16 bytes xxh3_128(identity), u64 epoch."""
    identity16 = xxhash.xxh3_128_digest(identity)
    return xxhash.xxh3_64_intdigest(
        struct.pack("<QQ16sQ", seed, xxhash.xxh3_64_intdigest(purpose.encode()), identity16, epoch)
    )


def permute(index: np.ndarray, n: int, key: int) -> np.ndarray:
    """index: int64 [m], each in 0 .. n-1 -> int64 [m], the images under the permutation that `key` names."""
    bits = max(1, -(-(n - 1).bit_length() // 2))  # of one half
    out = np.asarray(index, dtype=np.int64).astype(np.uint64)
    if len(out) and int(out.max()) >= n:
        raise ValueError(f"index {int(out.max())} is outside 0 .. {n - 1}")
    keys = [np.uint64(xxhash.xxh3_64_intdigest(struct.pack("<QQ", key, r))) for r in range(ROUNDS)]
    walking = np.arange(len(out))
    while len(walking):
        out[walking] = _feistel(out[walking], bits, keys)
        walking = walking[out[walking] >= n]
    return out.astype(np.int64)


def _feistel(value: np.ndarray, bits: int, keys: list[np.uint64]) -> np.ndarray:
    mask, shift = np.uint64((1 << bits) - 1), np.uint64(bits)
    left, right = value >> shift, value & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return left << shift | right


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
