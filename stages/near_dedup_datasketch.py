"""MinHash bands by datasketch's MinHash: the reference that `stages.near_dedup` can choose as method.

The same shingles and the same banding as `kernels.text.minhash`, the library's hash functions over them. So documents
of similarity J meet with the same probability, 1 - (1 - J^rows)^bands, but not the same documents in the same bands.
Many times slower.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gristmill.extras import library
from gristmill.kernels.text.minhash import family, hash_bands
from gristmill.kernels.text.shingle import Shingling, shingle_hashes

PURPOSE = "stages.near_dedup.method: datasketch"
CHUNK = 4096
"""Shingles given to the library at a time: it makes a matrix of shingles by hashes, 4 MB at 260 hashes."""


def band_hashes(
    texts: pa.Array, shingles: Shingling, permutations: int, bands: int, seed: int, scopes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(route (n, bands) uint64, check (n, bands) uint32, has (n,) bool), as `kernels.text.minhash.band_hashes`."""
    signed, has = signatures(texts, shingles, permutations, seed)
    return *hash_bands(signed, has, family(permutations, seed), bands, scopes), has


def signatures(texts: pa.Array, shingles: Shingling, permutations: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(signatures (n, permutations) uint32, has (n,) bool). texts: large_string without nulls.

    seed: 0 to 2^64 - 1, folded to the 32 bits that the library takes.
    """
    minhash = library("datasketch", PURPOSE).MinHash
    empty = minhash(permutations, seed=(seed ^ seed >> 32) & 0xFFFFFFFF)
    out = np.full((len(texts), permutations), 0xFFFFFFFF, np.uint32)
    has = np.zeros(len(texts), bool)
    for i, hashes in enumerate(shingle_hashes(texts, shingles)):
        distinct = np.unique(hashes).astype("<u4")
        has[i] = len(distinct) > 0
        sketch = empty.copy()
        for first in range(0, len(distinct), CHUNK):
            sketch.update_batch([value.tobytes() for value in distinct[first : first + CHUNK]])
        out[i] = sketch.hashvalues
    return out, has
