"""How a flat buffer is cut for ZeRO-1: buckets for overlap, a piece of every bucket for each data-parallel rank.

    bucket b         [b * size, (b + 1) * size), the last one shorter
    rank r of D owns [start + r * length / D, start + (r + 1) * length / D) of every bucket

(Rajbhandari et al. 2020, arXiv 1910.02054, stage 1, with the partition taken bucket by bucket, so that one bucket's
reduce-scatter gives each rank its piece while the gradients of the next bucket are still computed.) The pieces a rank
owns, one after the other, are its shard of n / D elements. Sizes are in elements; every bound is a multiple of ALIGN.

Arithmetic only: no tensors, no communication.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

ALIGN = 128
"""Elements each parameter and each piece starts at a multiple of: 256 bytes in bf16, what vectorised kernels and NCCL
like."""

BUCKET_ELEMENTS = 32 << 20
"""128 MiB of fp32 gradients: the 15B's tensor-parallel part at TP8 makes 59 buckets, a layer spreads over two."""

PIECE_ELEMENTS = 256 << 10
"""Least elements of a rank's piece of a full bucket. A ring passes pieces on D - 1 times a bucket; 1 MiB of fp32 takes
about 20 us at 50 GB/s, above the latency of a hop, so buckets grow with D where a fixed size would be all latency."""


def align(elements: int, ranks: int = 1) -> int:
    """The next multiple of ALIGN * ranks."""
    unit = ALIGN * ranks
    return -(-elements // unit) * unit


def bucket_size(ranks: int) -> int:
    """Elements of a bucket for `ranks` data-parallel ranks where nobody asks for another size."""
    return max(BUCKET_ELEMENTS, PIECE_ELEMENTS * ranks)


def cut(elements: int, size: int, ranks: int) -> list[tuple[int, int]]:
    """(start, stop) of each bucket of `size` elements, rounded up so that `ranks` aligned pieces fit.

    elements: the buffer's, a multiple of ALIGN * ranks (see `align`).
    """
    size = align(max(size, 1), ranks)
    return [(start, min(start + size, elements)) for start in range(0, elements, size)]


def owned(buckets: Sequence[tuple[int, int]], rank: int, ranks: int) -> list[tuple[int, int, int]]:
    """(flat_start, flat_stop, shard_start) of rank's piece of each bucket: where it lies in buffer and shard.

    One rank owns the buffer as one range, however it is cut.
    """
    if ranks == 1:
        return [(0, buckets[-1][1], 0)] if buckets else []
    pieces, shard_start = [], 0
    for start, stop in buckets:
        length = (stop - start) // ranks
        first = start + rank * length
        pieces.append((first, first + length, shard_start))
        shard_start += length
    return pieces


def touched(buckets: Sequence[tuple[int, int]], start: int, stop: int) -> list[int]:
    """Indices of the buckets in which some of the elements start..stop lie."""
    return [i for i, (first, last) in enumerate(buckets) if first < stop and start < last]


def within(pieces: Sequence[tuple[int, int, int]], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """What of the flat elements start..stop the owner of `pieces` has: (flat_start, flat_stop, shard_start)."""
    for first, last, shard_start in pieces:
        low, high = max(first, start), min(last, stop)
        if low < high:
            yield low, high, shard_start + low - first
