"""Numbers and nouns as a person says them."""

from __future__ import annotations

import pytest

from gristmill.wording import about, duration, plural


def test_one_is_singular() -> None:
    said = [plural(0, "task"), plural(1, "task"), plural(2, "task"), plural(1_200, "task")]
    assert said == ["0 tasks", "1 task", "2 tasks", "1,200 tasks"]
    assert [plural(n, "query", "queries") for n in (1, 2)] == ["1 query", "2 queries"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "about 10 s"),
        (44, "about 40 s"),
        (100, "about 2 min"),
        (719, "about 12 min"),
        (5_600, "about 1.6 h"),
        (100_000, "about 28 h"),
    ],
)
def test_an_estimate_is_no_more_exact_than_it_is(seconds: float, said: str) -> None:
    assert about(seconds) == said


def test_a_measured_time_is_exact() -> None:
    assert [duration(s) for s in (7.2, 250, 11_100)] == ["7 s", "4 min 10 s", "3 h 05 min"]
