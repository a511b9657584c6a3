"""Where a piece of a tensor lies in the whole, and copying between pieces that were cut differently.

A tensor-parallel rank holds a part of a weight: a box of the whole tensor. ZeRO-1 gives a data-parallel rank flat
ranges of that part, rows one after the other. A flat range of a 2-D part is at most three rectangles of the whole
tensor (the end of a row, whole rows, the beginning of a row), so any piece of one layout and any of another meet in
at most nine rectangles, each one strided copy. 1-D tensors count as one row.

Nothing here knows of files, ranks or names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 24
"""Elements copied at a time: 64 MiB of fp32 beside the tensors themselves."""


@dataclass(frozen=True)
class Part:
    """A box of a tensor: where it begins, and its size, one number per dimension."""

    at: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def elements(self) -> int:
        return prod(self.size)


@dataclass(frozen=True)
class Rectangle:
    """Rows [top, bottom) x columns [left, right) of a tensor, kept at `base` of a flat buffer, rows `stride` apart."""

    top: int
    bottom: int
    left: int
    right: int
    base: int
    stride: int


def part_of(slices: Sequence[slice]) -> Part:
    """The box that `trainer.parallel.placement.logical_part` describes by a slice per dimension."""
    return Part(tuple(s.start for s in slices), tuple(s.stop - s.start for s in slices))


def rectangles(part: Part, start: int, stop: int) -> list[Rectangle]:
    """The flat range [start, stop) of a part, kept in a buffer from its element 0 on; part: 1-D or 2-D."""
    if len(part.size) not in (1, 2):
        raise ValueError(f"a part of {len(part.size)} dimensions: checkpoints hold 1-D and 2-D tensors only")
    top, left = (0, *part.at)[-2:]
    width = part.size[-1]

    def rectangle(first: int, last: int, begin: int, end: int) -> Rectangle:
        return Rectangle(top + first, top + last, left + begin, left + end, first * width + begin - start, width)

    if start == stop:
        return []
    (first, begin), (last, end) = divmod(start, width), divmod(stop, width)
    if first == last:
        return [rectangle(first, first + 1, begin, end)]
    out = []
    if begin:
        out.append(rectangle(first, first + 1, begin, width))
        first += 1
    if first < last:
        out.append(rectangle(first, last, 0, width))
    if end:
        out.append(rectangle(last, last + 1, 0, end))
    return out


def overlaps(source: Iterable[Rectangle], target: Sequence[Rectangle]) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(rows, columns, source base, source stride, target base, target stride) of every rectangle in both."""
    for s in source:
        for t in target:
            top, bottom = max(s.top, t.top), min(s.bottom, t.bottom)
            left, right = max(s.left, t.left), min(s.right, t.right)
            if top < bottom and left < right:
                yield (
                    bottom - top,
                    right - left,
                    s.base + (top - s.top) * s.stride + left - s.left,
                    s.stride,
                    t.base + (top - t.top) * t.stride + left - t.left,
                    t.stride,
                )


def copy(source: np.ndarray, from_: Iterable[Rectangle], target: Tensor, to: Sequence[Rectangle]) -> int:
    """Copies what both hold; source: flat fp32, perhaps a mapped file; target: flat fp32, any device. -> elements.

    Of a mapped file only the pages of the rectangles in common are read.
    """
    copied = 0
    for rows, columns, base, stride, target_base, target_stride in overlaps(from_, to):
        step = max(1, BLOCK_ELEMENTS // columns)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            begin = base + row * stride
            block = np.lib.stride_tricks.as_strided(
                source[begin : begin + (count - 1) * stride + columns],
                (count, columns),
                (stride * source.itemsize, source.itemsize),
                writeable=False,
            )
            offset = target.storage_offset() + target_base + row * target_stride
            view = target.as_strided((count, columns), (target_stride, 1), offset)
            view.copy_(torch.from_numpy(np.array(block)))  # a copy: a mapped file is read-only
        copied += rows * columns
    return copied


def gap(size: Sequence[int], parts: dict[Part, list[tuple[int, int]]]) -> str | None:
    """What keeps `parts`, each with its flat ranges (start, stop), from tiling a tensor exactly once; None: nothing."""
    whole = prod(size)
    boxes = list(parts)
    if any(a < 0 or a + n > full for box in boxes for a, n, full in zip(box.at, box.size, size, strict=True)):
        return "reach beyond its size"
    for i, one in enumerate(boxes):
        if any(_meet(one, other) for other in boxes[:i]):
            return "overlap"
    if sum(box.elements for box in boxes) != whole:
        return f"hold {sum(box.elements for box in boxes):,} of its {whole:,} elements"
    for box, ranges in parts.items():
        reached = 0
        for start, stop in sorted(ranges):
            if start != reached or stop < start:
                return f"{'overlap' if start < reached else 'leave a gap'} at element {min(start, reached):,}"
            reached = stop
        if reached != box.elements:
            return f"end at element {reached:,} of {box.elements:,}"
    return None


def _meet(one: Part, other: Part) -> bool:
    return all(a < b + m and b < a + n for a, n, b, m in zip(one.at, one.size, other.at, other.size, strict=True))
