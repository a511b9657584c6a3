"""Batch, rate and phase as functions of tokens, against a step-by-step simulation and the papers' numbers."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.trainer.config.keys import Batch, LearningRate, Phase, read_config
from gristmill.trainer.config.schedule import Schedule
from gristmill.trainer.planning.plot import schedule_svg
from gristmill.trainer.planning.schedule_table import HEADINGS, schedule_rows, table_text

RATE = LearningRate(peak=1e-3, final=1e-4, warmup_tokens=500)

phases_strategy = st.lists(
    st.builds(
        lambda tokens, first, until, second: Phase(
            tokens=tokens, shards="x", batch_ramp=(Batch(first, until), Batch(second)), learning_rate=RATE
        ),
        st.integers(1, 5000), st.integers(1, 9), st.integers(1, 3000), st.integers(1, 9),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(phases_strategy, st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_every_step_equals_a_simulation_token_by_token(phases, sequence):
    schedule = Schedule(phases, sequence)
    samples, index = 0, 0
    boundaries: list[int] = []
    while samples * sequence < schedule.total_tokens:
        tokens, start = samples * sequence, 0
        for number, phase in enumerate(phases):  # noqa: B007 (used after the loop)
            if tokens < start + phase.tokens:
                break
            start += phase.tokens
        first = phase.batch_ramp[0]
        batch = first.sequences if tokens - start < first.tokens else phase.batch_ramp[1].sequences
        step = schedule.at(samples)
        boundaries.append(samples)
        assert (step.index, step.phase, step.first_sample, step.sequences) == (index, number, samples, batch)
        assert schedule.step(index) == step
        samples, index = samples + batch, index + 1
    assert (schedule.total_steps, schedule.total_samples) == (index, samples)
    assert schedule.at(samples) is None
    assert schedule.step(index) is None
    boundaries.append(samples)
    for tokens in range(0, schedule.total_tokens + 1, max(1, schedule.total_tokens // 50)):
        assert schedule.boundary(tokens) == next(b for b in boundaries if b * sequence >= tokens)
    starts = [sum(phase.tokens for phase in phases[:i]) for i in range(len(phases) + 1)]
    expected = [next(b for b in boundaries if b * sequence >= start) for start in starts]
    assert [schedule.first_sample(i) for i in range(len(phases) + 1)] == expected


def test_cosine_runs_from_warmup_to_final():
    schedule = Schedule([Phase(tokens=10_500, shards="x", learning_rate=RATE)], 1)
    assert schedule.learning_rate(0) == 0
    assert schedule.learning_rate(250) == pytest.approx(5e-4)
    assert schedule.learning_rate(500) == pytest.approx(1e-3)
    assert schedule.learning_rate(5500) == pytest.approx((1e-3 + 1e-4) / 2)
    assert schedule.learning_rate(10_500) == pytest.approx(1e-4)
    assert schedule.learning_rate(99_999) == pytest.approx(1e-4)


def test_a_phase_without_rate_continues_the_curve():
    one = Schedule([Phase(tokens=1000, shards="x", learning_rate=RATE)], 1)
    two = Schedule([Phase(tokens=700, shards="x", learning_rate=RATE), Phase(tokens=300, shards="y")], 1)
    assert [one.learning_rate(t) for t in range(0, 1001, 50)] == [two.learning_rate(t) for t in range(0, 1001, 50)]


def test_batch_ramp_does_not_bend_the_rate():
    plain = Schedule([Phase(tokens=9000, shards="x", learning_rate=RATE)], 1)
    ramped = Schedule([Phase(tokens=9000, shards="x", learning_rate=RATE, batch_ramp=(Batch(1, 3000), Batch(64)))], 1)
    assert all(plain.learning_rate(t) == ramped.learning_rate(t) for t in range(0, 9000, 100))


def test_the_shipped_pretraining_is_table_2_of_the_paper():
    config = read_config("nemotron4_15b")
    schedule = Schedule(config.phases, 4096)
    batches = {t: schedule.at(t // 4096).sequences for t in (0, 199 * 10**9, 201 * 10**9, 401 * 10**9)}
    assert list(batches.values()) == [384, 384, 768, 1152]
    assert schedule.total_tokens == 8 * 10**12
    assert schedule.learning_rate(16 * 10**9) == pytest.approx(4.5e-4)
    assert schedule.learning_rate(8 * 10**12) == pytest.approx(4.5e-5)


def test_the_ramp_of_the_15b_is_taken_at_the_first_step_boundary_after_200_and_400_billion_tokens():
    schedule = Schedule(read_config("nemotron4_15b").phases, 4096)
    for after, before, batch in ((200 * 10**9, 384, 768), (400 * 10**9, 768, 1152)):
        first = next(step for step in map(schedule.step, itertools.count(127_000)) if step.sequences == batch)
        previous = schedule.step(first.index - 1)
        assert previous.first_sample * 4096 < after <= first.first_sample * 4096
        assert previous.sequences == before


def test_the_table_has_every_change_and_the_blends():
    rows = schedule_rows(read_config("nemotron4_15b_continued"))
    assert {len(row) for row in rows} == {len(HEADINGS)}
    assert [row[6] for row in rows].count("general") == 8
    switch = next(row for row in rows if row[0] == "1")
    assert switch == ("1", "213,303,951,360", "45,205", "1,152", "4,718,592", "9.017e-06", "general 90 % + qa 10 %")
    assert rows[-1][-2] == "4.500e-07"
    pre_training = schedule_rows(read_config("nemotron4_15b"))
    assert [row[3] for row in pre_training[:4]] == ["384", "384", "768", "1,152"]
    assert pre_training[1][5] == "4.500e-04"  # the end of the warm-up
    lines = table_text(read_config("nemotron4_15b"))
    assert len({line.index("pretrain") for line in lines[1:-1]}) == 1


def test_the_picture_has_a_curve_a_staircase_and_an_area_per_source():
    import xml.etree.ElementTree as xml

    svg = schedule_svg(read_config("nemotron4_15b_continued"), "a & b")
    root = xml.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{space}title").text == "a & b"
    texts = [element.text for element in root.iter(f"{space}text")]
    for text in ("learning rate", "sequences per step", "blend", "general", "qa", "300 B", "4.5e-05", "1,152"):
        assert text in texts
    line = root.find(f".//{space}polyline").get("points").split()
    rates = [float(point.split(",")[1]) for point in line]
    assert rates == sorted(rates)  # downwards in the picture is upwards in numbers
    stairs = schedule_svg(read_config("nemotron4_15b"), "x")
    assert stairs.count("H") > 3
    (path,) = [e.get("d") for e in xml.fromstring(stairs).iter(f"{space}path") if e.get("stroke-width")]
    levels = [float(part.split("H")[0].split()[1]) for part in path[1:].split("L")]
    assert levels == sorted(levels, reverse=True)
    assert len(levels) == 3


def test_the_shipped_continuation_switches_at_a_fifth_of_the_rate():
    config = read_config("nemotron4_15b_continued")
    schedule = Schedule(config.phases, 4096)
    first = config.phases[0].tokens
    switch = math.acos(2 * (1 / 5 - 1 / 100) / (1 - 1 / 100) - 1) / math.pi
    assert first / schedule.total_tokens == pytest.approx(switch, abs=5e-4)
    assert schedule.learning_rate(first) == pytest.approx(4.5e-5 / 5, rel=5e-3)
    assert schedule.learning_rate(0) == 4.5e-5
    assert schedule.learning_rate(schedule.total_tokens) == pytest.approx(4.5e-7)
