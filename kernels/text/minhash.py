"""MinHash signatures and their LSH bands (Broder 1997; Leskovec, Rajaraman, Ullman, chapter 3), one fused kernel.

    signature[p] = min over shingle hashes h of (a_p h + b_p) mod 2^32, a_p odd: a permutation of 32-bit numbers
    P(two documents share a band) = 1 - (1 - J^rows)^bands, J the Jaccard similarity of their shingle sets

A band of a signature leaves the kernel as `route`, a 64-bit hash of band index, scope and its rows, and `check`, an
independent 32-bit hash of the same: pairs are candidates where both agree. Signatures themselves are not kept.
A document without a shingle has no signature.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from gristmill.kernels.text.draw import draw
from gristmill.kernels.text.shingle import Shingling, fill, mix, scratch, start
from gristmill.kernels.text.utf8 import buffers

_LANES = 64  # a block is padded to a multiple with its last hash, so that the vector loop leaves no remainder
_CHECK_PRIME = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: odd multiplier of the check hash


class Family(NamedTuple):
    """Hash functions of a seed; make it with `family`."""

    multipliers: np.ndarray  # (permutations,) uint32, odd
    increments: np.ndarray  # (permutations,) uint32
    keys: np.ndarray  # (2,) uint64: start of route and check


def family(permutations: int, seed: int) -> Family:
    """`permutations` functions drawn from `seed` (0 .. 2^64 - 1)."""
    numbers = np.zeros((max(permutations, 2), 16), np.uint8)
    numbers[:, :8] = np.arange(len(numbers), dtype="<u8").view(np.uint8).reshape(-1, 8)
    multipliers = (draw(seed, "minhash.multiplier", numbers[:permutations]) >> np.uint64(32)).astype(np.uint32)
    increments = (draw(seed, "minhash.increment", numbers[:permutations]) >> np.uint64(32)).astype(np.uint32)
    return Family(multipliers | np.uint32(1), increments, draw(seed, "minhash.band", numbers[:2]))


def signatures(texts: pa.Array, shingles: Shingling, functions: Family) -> tuple[np.ndarray, np.ndarray]:
    """(signatures (n, permutations) uint32, has (n,) bool). texts: large_string without nulls.

    Where `has` is False the document has no shingle and its row is all 2^32 - 1.
    """
    data, offsets = buffers(texts)
    out = np.full((len(texts), len(functions.multipliers)), 0xFFFFFFFF, np.uint32)
    return out, _signatures(data, offsets, shingles, functions, out)


def band_hashes(
    texts: pa.Array, shingles: Shingling, functions: Family, bands: int, scopes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(route (n, bands) uint64, check (n, bands) uint32, has (n,) bool). texts: large_string without nulls.

    The signature's length must be a multiple of `bands`. scopes: (n,) uint64; documents of different scopes share
    no band. Rows where `has` is False are zero and mean nothing.
    """
    permutations = len(functions.multipliers)
    if bands < 1 or permutations % bands:
        raise ValueError(f"{permutations} hashes do not divide into {bands} bands: choose bands x rows hashes")
    data, offsets = buffers(texts)
    if scopes is None:
        scopes = np.zeros(len(texts), np.uint64)
    return _band_hashes(data, offsets, shingles, functions, bands, scopes)


def hash_bands(
    signatures: np.ndarray, has: np.ndarray, functions: Family, bands: int, scopes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(route (n, bands) uint64, check (n, bands) uint32) of signatures that are there already, as `band_hashes` makes
    them. signatures: (n, permutations) uint32; has: (n,) bool; of `functions` only the keys are used."""
    if bands < 1 or signatures.shape[1] % bands:
        raise ValueError(f"{signatures.shape[1]} hashes do not divide into {bands} bands: choose bands x rows hashes")
    if scopes is None:
        scopes = np.zeros(len(signatures), np.uint64)
    return _hash_bands(signatures, has, functions.keys, bands, scopes)


@numba.njit(cache=True, nogil=True)
def _signatures(data, offsets, shingles, functions, out):
    n = len(offsets) - 1
    has = np.zeros(n, np.bool_)
    state, units, block = scratch(shingles)
    for i in range(n):
        has[i] = _sign(data, offsets[i], offsets[i + 1], shingles, functions, state, units, block, out[i])
    return has


@numba.njit(cache=True, nogil=True)
def _band_hashes(data, offsets, shingles, functions, bands, scopes):
    n = len(offsets) - 1
    rows = len(functions.multipliers) // bands
    route, check = np.zeros((n, bands), np.uint64), np.zeros((n, bands), np.uint32)
    has = np.zeros(n, np.bool_)
    signature = np.empty(bands * rows, np.uint32)
    state, units, block = scratch(shingles)
    for i in range(n):
        has[i] = _sign(data, offsets[i], offsets[i + 1], shingles, functions, state, units, block, signature)
        if has[i]:
            _band(signature, functions.keys, scopes[i], route[i], check[i])
    return route, check, has


@numba.njit(cache=True, nogil=True)
def _hash_bands(signatures, has, keys, bands, scopes):
    n = len(signatures)
    route, check = np.zeros((n, bands), np.uint64), np.zeros((n, bands), np.uint32)
    for i in range(n):
        if has[i]:
            _band(signatures[i], keys, scopes[i], route[i], check[i])
    return route, check


@numba.njit(cache=True, inline="always")
def _band(signature, keys, scope, route, check):
    """Fills `route` (bands,) and `check` (bands,) of one signature."""
    rows = len(signature) // len(route)
    for band in range(len(route)):
        r = mix(keys[0] ^ mix(scope + np.uint64(band)))
        c = keys[1] + mix(scope ^ np.uint64(band))
        for m in signature[band * rows : (band + 1) * rows]:
            r = mix(r ^ np.uint64(m))
            c = (c ^ (c >> np.uint64(29)) ^ np.uint64(m)) * _CHECK_PRIME
        route[band] = r
        check[band] = np.uint32(mix(c) >> np.uint64(32))


@numba.njit(cache=True)
def _sign(data, position, end, shingles, functions, state, units, block, signature):
    """Fills `signature`; False where the document has no shingle."""
    signature[:] = np.uint32(0xFFFFFFFF)
    start(state, units)
    any_shingle = False
    while position <= end:
        position, count = fill(data, position, end, shingles, state, units, block)
        if count:
            any_shingle = True
            padded = min((count + _LANES - 1) // _LANES * _LANES, len(block))  # the last hash again changes no minimum
            block[count:padded] = block[count - 1]
            _lower(signature, functions.multipliers, functions.increments, block, padded)
    return any_shingle


@numba.njit(cache=True)
def _lower(signature, multipliers, increments, block, count):
    """signature[p] = min(signature[p], a_p h + b_p) for the first `count` hashes; four functions share a load."""
    for p in range(len(signature)):
        a, b, least = multipliers[p], increments[p], signature[p]
        for i in range(count):
            least = min(least, np.uint32(a * block[i] + b))
        signature[p] = least
