"""Pieces of one cut copied into pieces of another, and what does not tile a tensor."""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch

from gristmill.trainer.checkpoints.layout import Part, copy, gap, rectangles


def random_ranges(random_: random.Random, elements: int) -> list[tuple[int, int]]:
    cuts = sorted({0, elements, *(random_.randrange(elements + 1) for _ in range(random_.randrange(6)))})
    return list(itertools.pairwise(cuts))


def random_parts(random_: random.Random, size: tuple[int, ...]) -> list[Part]:
    split, count = random_.randrange(len(size)), random_.choice([1, 2, 3, 4])
    length = size[split] // count
    out = []
    for i in range(count):
        at, part = [0] * len(size), list(size)
        at[split], part[split] = i * length, length
        out.append(Part(tuple(at), tuple(part)))
    return out


def box(part: Part) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(part.at, part.size, strict=True))


def test_any_cut_copied_to_any_other_cut_is_the_same_tensor():
    """Random parts and flat ranges on both sides, 1-D and 2-D; each element is copied once."""
    random_ = random.Random(3)
    for _ in range(150):
        size = random_.choice([(12,), (24, 12), (12, 36), (12, 12)])
        whole = np.random.default_rng(random_.randrange(1 << 32)).random(size, np.float32)
        saved = []
        for part in random_parts(random_, size):
            flat = whole[box(part)].reshape(-1)
            saved += [(rectangles(part, a, b), flat[a:b]) for a, b in random_ranges(random_, flat.size)]
        for part in random_parts(random_, size):
            flat = whole[box(part)].reshape(-1)
            for a, b in random_ranges(random_, flat.size):
                shard = torch.full((b - a + 5,), -1.0)
                target = shard[3 : 3 + b - a]  # a view within a buffer, as the state's are
                to = rectangles(part, a, b)
                assert sum(copy(data, from_, target, to) for from_, data in saved) == b - a
                assert torch.equal(target, torch.from_numpy(flat[a:b].copy()))
                assert shard[:3].eq(-1).all()
                assert shard[3 + b - a :].eq(-1).all()


def test_gaps_and_overlaps_are_found_wherever_they_are():
    left, right = Part((0, 0), (4, 3)), Part((0, 3), (4, 3))
    whole = [(0, 5), (5, 12)]
    assert gap((4, 6), {left: whole, right: whole}) is None
    assert gap((4, 6), {left: whole}) == "hold 12 of its 24 elements"
    assert gap((4, 6), {left: whole, right: [(0, 5), (6, 12)]}) == "leave a gap at element 5"
    assert gap((4, 6), {left: whole, right: [(0, 5), (4, 12)]}) == "overlap at element 4"
    assert gap((4, 6), {left: whole, right: [(0, 5)]}) == "end at element 5 of 12"
    assert gap((4, 6), {left: whole, Part((0, 2), (4, 3)): whole}) == "overlap"
    assert gap((4, 5), {left: whole, right: whole}) == "reach beyond its size"
