"""A run that goes on sees the samples it would have seen: other ranks, another ramp ahead, a phase's border.

To the bit on the same layout: `test_loop`; with real processes: `parallel/test_run`.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading
from gristmill.trainer.config.keys import read_config
from gristmill.trainer.data.feed import Feed, shares
from gristmill.trainer.errors import ConfigError, TrainerError
from gristmill.trainer.loop import train
from gristmill.trainer.metrics import read_metrics
from gristmill.trainer.parallel.groups import Group, Groups
from gristmill.trainer.setup import Run, check_batches, plan_run

RAMP = "phases.0.batch_ramp=[{sequences: 4, tokens: 1000}, {sequences: 6, tokens: 500}, {sequences: 12}]"


def consumed(run: Run, ranks: list[int], stops: list[int]) -> list[np.ndarray]:
    """Tokens [sequences, s] of each step, taken by real feeds: ranks[i] data-parallel ranks until step stops[i]."""
    steps, samples = [], 0
    for size, stop in zip(ranks, [*stops, 10**9], strict=True):
        feeds = [Feed(run.loader, run.schedule, Group(rank, size), 2, samples) for rank in range(size)]
        while len(steps) < stop and (step := run.schedule.at(samples)) is not None:
            pieces = [feed.take().tokens for rank, feed in enumerate(feeds) for _ in shares(step, Group(rank, size), 2)]
            steps.append(np.concatenate(pieces))
            samples += step.sequences
        for feed in feeds:
            feed.__exit__(None, None, None)
    return steps


def test_any_change_of_ranks_sees_the_same_samples_in_every_step(config_file):
    """x2, x1.5, back, a number that divides no batch; in the ramp's stages and around the phase's border."""
    run = plan_run(read_config(config_file(), [RAMP]), Groups())
    whole = consumed(run, [1], [])
    sizes = [len(step) for step in whole]
    border = next(i for i in range(len(whole)) if run.schedule.step(i).phase == 1)
    first_of_stage = [sizes.index(6), sizes.index(12)]
    assert sizes[:border] == sorted(sizes[:border])
    for ranks in ([1, 2], [2, 3], [2, 4], [3, 1], [4, 5]):
        for stop in (2, first_of_stage[0], first_of_stage[0] + 1, border - 1, border, border + 1):
            changed = consumed(run, ranks, [stop])
            assert all((a == b).all() for a, b in zip(changed, whole, strict=True))
    assert all((a == b).all() for a, b in zip(consumed(run, [1, 2, 3, 4], [2, 5, border]), whole, strict=True))


def steps_of(folder):
    return [event for event in read_metrics(folder) if event["event"] == "step"]


def samples_by_epoch(run: Run, upto: int) -> list:
    """(set, epoch, window) of every sample of the run's steps."""
    out, samples = [], 0
    while samples < upto:
        step = run.schedule.at(samples)
        where = run.loader.locate(step.phase, np.arange(samples, samples + step.sequences))
        out += list(zip(*(part.tolist() for part in where), strict=True))
        samples += step.sequences
    return out


def test_a_ramp_changed_ahead_goes_on_with_the_next_sample(config_file, tmp_path):
    """From where it stands the new ramp holds; the samples are those of the old one, in other batches."""
    path = config_file("ramp")
    train(read_config(path), stop_after_steps=6)
    other = read_config(path, ["phases.0.batch_ramp=[{sequences: 2, tokens: 600}, {sequences: 3}]"])
    stood = steps_of(tmp_path / "ramp")[-1]
    assert stood["phase"] == 0
    train(other, stop_after_steps=2)
    lines = steps_of(tmp_path / "ramp")
    assert [b["samples"] - a["samples"] for a, b in itertools.pairwise(lines[5:])] == [3, 3]
    before, after = (plan_run(config, Groups()) for config in (read_config(path), other))
    upto = lines[-1]["samples"]
    assert samples_by_epoch(after, upto)[:upto] == samples_by_epoch(before, upto)[:upto]


def test_a_ramp_changed_behind_is_refused_where_it_would_move_samples(config_file):
    path = config_file("behind")
    train(read_config(path), stop_after_steps=12)
    with pytest.raises(TrainerError, match=r"phases\.1 began at sample \d+ and would begin at \d+ now: set tokens and"):
        train(read_config(path, ["phases.0.batch_ramp=[{sequences: 8}]"]))
    train(read_config(path, ["phases.1.batch_ramp=[{sequences: 2}]"]), stop_after_steps=1)


def test_a_checkpoint_knows_where_the_data_stands(config_file, tmp_path):
    train(read_config(config_file("run")), stop_after_steps=12)
    progress = reading.read_progress(checkpoint_format.committed(tmp_path / "run" / "checkpoints")[-1])
    run = plan_run(read_config(config_file("run")), Groups())
    assert progress["samples"] == sum(run.schedule.step(i).sequences for i in range(12))
    assert progress["tokens"] == 64 * progress["samples"]
    assert progress["phase_starts"] == [0, run.schedule.first_sample(1)]


def test_batches_that_do_not_suit_the_ranks_are_said_before_a_step(config_file):
    config = read_config(config_file(), [RAMP])

    def remark(data: int, samples: int = 0, pipeline: int = 1, virtual: int = 1) -> str | None:
        groups = Groups(data=Group(0, data), pipeline=Group(0, pipeline))
        changed = read_config(config_file(), [RAMP, f"parallel.virtual_stages={virtual}"]) if virtual > 1 else config
        run = plan_run(changed, groups)
        return check_batches(run, samples)

    assert remark(2) is None
    assert remark(4) == (
        "a step of 6 sequences over 4 data-parallel ranks gives some 2 and some 1: these wait, 25% of the time is idle"
    )
    with pytest.raises(ConfigError, match="a step of 4 sequences is too small for 5 data-parallel ranks"):
        remark(5)
    assert "a step of 6 sequences over 4" in remark(4, samples=16)
    with pytest.raises(ConfigError, match=r"a step of 6 sequences: 3 micro-batches .* no multiple of the 2 pipeline"):
        remark(1, pipeline=2, virtual=2)
