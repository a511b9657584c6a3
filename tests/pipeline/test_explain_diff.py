"""The difference that `gristmill explain` shows: blocks are equal and in order, close to difflib's, in bounded work."""

from __future__ import annotations

import random
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.views.explain.diff import WORK, Work, difference, ended, matches, units


@given(st.lists(st.integers(0, 6), max_size=60), st.lists(st.integers(0, 6), max_size=60))
@settings(max_examples=200, deadline=None)
def test_matching_blocks_are_equal_and_in_order(a: list[int], b: list[int]) -> None:
    end_a = end_b = 0
    for i, j, n in matches(a, b, Work(WORK)):
        assert n > 0
        assert i >= end_a
        assert j >= end_b
        assert a[i : i + n] == b[j : j + n]
        end_a, end_b = i + n, j + n


@given(st.text(max_size=400), st.text(max_size=400))
@settings(max_examples=200, deadline=None)
def test_units_are_the_text_and_a_difference_counts_what_is_alone(first: str, second: str) -> None:
    assert "".join(units(first)) == first
    found = difference(first, second)
    assert found.equal == (first == second)
    assert len(ended(first)) - found.removed == len(ended(second)) - found.added
    if found.equal:
        assert (found.hunks, found.similarity) == ([], 1.0)


def test_a_difference_is_about_as_small_as_difflibs() -> None:
    draw = random.Random(3)
    first = [f"line {draw.randrange(40)} of a text" for _ in range(300)]
    second = [line for line in first if draw.random() > 0.1]
    for _ in range(20):
        second.insert(draw.randrange(len(second)), f"line {draw.randrange(40)} more")
    numbers = {line: n for n, line in enumerate({*first, *second})}
    ours = sum(n for _, _, n in matches([numbers[x] for x in first], [numbers[x] for x in second], Work(WORK)))
    theirs = sum(block.size for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks())
    assert ours >= 0.95 * theirs


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["all alike\n", "no line ends at all, only this ", "a"])
def test_long_texts_take_no_quadratic_time(unit: str) -> None:
    draw = random.Random(5)
    pieces = [unit * draw.randrange(1, 30) + str(draw.randrange(9)) for _ in range(1_500)]
    other = [piece for piece in pieces if draw.random() > 0.3]
    draw.shuffle(other)
    found = difference("".join(pieces), "".join(other))  # of 1e5 words: comparing all pairs would take hours
    assert found.hunks
    numbers = [draw.randrange(3) for _ in range(100_000)]
    work = Work(WORK)
    blocks = matches(numbers, numbers[50_000:] + numbers[:50_000], work)
    assert sum(n for _, _, n in blocks) >= 50_000
    assert work.left >= 0
