"""Where a run is among its steps, and how long it has left."""

from __future__ import annotations

import pytest

from gristmill.pipeline.engine.outlook import TRUST_S, Outlook

STEPS = {"read": 100.0, "rules": 20.0, "dedup": 60.0, "curate": 20.0}


def foreseeing() -> Outlook:
    outlook = Outlook()
    outlook.foresee(STEPS, 10.0, 0.0)
    return outlook


def test_steps_are_counted_and_those_found_done_are_over() -> None:
    outlook = foreseeing()
    outlook.finish("read", 0.0)  # sealed by an earlier run: it never starts
    assert (outlook.place, outlook.steps) == ("step 1 of 4", 4)
    outlook.start("rules", 8, 3, 0.0)
    assert outlook.place == "step 2 of 4"


def test_a_step_that_never_comes_is_not_waited_for_and_one_unforeseen_counts() -> None:
    outlook = foreseeing()
    outlook.start("read", 1, 0, 0.0)
    outlook.finish("read", 1.0)
    outlook.start("dedup.merge", 1, 0, 1.0)
    assert outlook.place == "step 2 of 5"
    outlook.finish("dedup.merge", 2.0)
    outlook.start("dedup", 1, 0, 2.0)  # without `rules`
    assert outlook.place == "step 3 of 4"
    outlook.finish("dedup", 3.0)
    outlook.start("curate", 1, 0, 3.0)
    assert outlook.place == "step 4 of 4"


def test_without_a_plan_steps_have_numbers_and_no_end() -> None:
    outlook = Outlook()
    outlook.start("encode", 1, 0, 0.0)
    assert (outlook.place, outlook.seconds_left(1.0)) == ("step 1", None)


def test_time_left_is_the_plan_s_scaled_by_what_was_measured() -> None:
    outlook = foreseeing()
    assert outlook.seconds_left(0.0) == pytest.approx(210)
    outlook.start("read", 4, 0, 0.0)
    assert outlook.seconds_left(0.0) == pytest.approx(210)
    outlook.advance()
    assert outlook.seconds_left(25.0) == pytest.approx(75 + 110)  # a quarter in a quarter of the predicted time
    for _ in range(3):
        outlook.advance()
    outlook.finish("read", 300.0)
    scale = (300 + TRUST_S) / (100 + TRUST_S)
    assert outlook.seconds_left(300.0) == pytest.approx(110 * scale)


def test_a_step_that_is_late_makes_the_rest_late() -> None:
    outlook = foreseeing()
    outlook.start("read", 1, 0, 0.0)
    on_time, late = outlook.seconds_left(100.0), outlook.seconds_left(400.0)
    assert on_time is not None
    assert late is not None
    assert late > 3 * on_time


def test_tasks_of_an_earlier_run_take_no_time() -> None:
    outlook = foreseeing()
    outlook.start("read", 4, 3, 0.0)
    assert outlook.seconds_left(0.0) == pytest.approx(25 + 110)
    outlook.advance()
    assert outlook.seconds_left(30.0) == pytest.approx(110 * (30 + TRUST_S) / (25 + TRUST_S))


def test_the_share_done_is_of_the_time_of_the_whole_run() -> None:
    outlook = foreseeing()
    outlook.start("read", 4, 0, 0.0)
    assert outlook.share(0.0) == 0
    outlook.advance()
    assert outlook.share(25.0) == pytest.approx(25 / 210)
    alone = Outlook()
    alone.start("encode", 4, 1, 0.0)
    assert alone.share(9.0) == 0.25


def test_it_never_says_less_than_nothing() -> None:
    outlook = foreseeing()
    for step in STEPS:
        outlook.start(step, 1, 0, 0.0)
        assert (outlook.seconds_left(1e6) or 0) >= 0
        outlook.advance()
        outlook.finish(step, 1.0)
    assert (outlook.seconds_left(2.0) or 0) >= 0
