"""What is done with a bad step: the judge alone, and runs that are made to stumble."""

from __future__ import annotations

import json
import math

import pytest

from gristmill.trainer import loop
from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading
from gristmill.trainer.config.keys import Instability, read_config
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.loop import train
from gristmill.trainer.metrics import read_metrics
from gristmill.trainer.policy import FEWEST, WINDOW, Judge
from gristmill.trainer.step import run_step

SKIP = Instability(nan="skip", spike="skip", spike_factor=1.5, max_skips=3)


def seasoned(settings: Instability, losses: int = FEWEST) -> Judge:
    judge = Judge(settings)
    for step in range(losses):
        assert judge.verdict(step + 1, 2.0, 1.0) is None
    return judge


def test_no_number_stops_by_default_and_says_what_to_do():
    for loss, norm in ((math.nan, 1.0), (2.0, math.inf), (math.inf, math.nan)):
        with pytest.raises(TrainerError, match=r"step 7: the loss is .*: lower the learning rate, .*--replay 7"):
            Judge(Instability()).verdict(7, loss, norm)


def test_a_spike_is_ignored_by_default():
    judge = seasoned(Instability())
    assert judge.verdict(20, 50.0, 1.0) is None


def test_a_spike_is_a_multiple_of_the_median_of_the_last_steps_and_not_judged_too_early():
    early = seasoned(SKIP, FEWEST - 1)
    assert early.verdict(20, 50.0, 1.0) is None
    judge = seasoned(SKIP)
    assert judge.verdict(20, 3.0, 1.0) is None
    assert judge.verdict(21, 3.01, 1.0) == "the loss 3.0100 is a spike over the median 2.0000"
    for step in range(WINDOW):  # a level that holds becomes the median
        assert judge.verdict(22 + step, 2.9, 1.0) is None
    assert judge.verdict(99, 3.01, 1.0) is None
    assert judge.skipped == 1


def test_skipped_losses_do_not_move_the_median_and_too_many_in_a_row_stop():
    judge = seasoned(SKIP)
    for step in (20, 21, 22):
        assert "spike" in (judge.verdict(step, 9.0, 1.0) or "")
    with pytest.raises(TrainerError, match=r"step 23: .* after 3 skipped steps in a row"):
        judge.verdict(23, 9.0, 1.0)
    again = seasoned(SKIP)
    for step in range(10):  # a good step between begins the count anew
        assert again.verdict(step, math.nan, 1.0) is not None
        assert again.verdict(step, 2.0, 1.0) is None
    assert again.skipped == 10


def test_what_is_remembered_decides_as_if_never_interrupted():
    judge = seasoned(SKIP, 40)
    judge.verdict(41, 9.0, 1.0)
    other = Judge(SKIP, json.loads(json.dumps(judge.memory())))
    for step, loss in enumerate((2.1 / 3, 9.0, 9.0, 2.0, 9.0, 9.0, 9.0), 42):
        assert judge.verdict(step, loss, 1.0) == other.verdict(step, loss, 1.0)
    assert judge.memory() == other.memory()


def stumble(monkeypatch, at: set[int]) -> None:
    """The loss of the steps of these numbers is judged as if it were no number."""

    def stumbling(run, built, feed, step, number, verdict, asked):
        def poisoned(loss, norm):
            return verdict(math.nan, norm) if step.index + 1 in at else verdict(loss, norm)

        return run_step(run, built, feed, step, number, poisoned, asked)

    monkeypatch.setattr(loop, "run_step", stumbling)


def lines(folder):
    return [event for event in read_metrics(folder) if event["event"] == "step"]


def test_a_skipped_step_leaves_the_model_and_the_run_goes_on_resumed_or_not(config_file, tmp_path, monkeypatch):
    """Bitwise the same with an interruption right after the skipped step."""
    stumble(monkeypatch, {4, 5})
    overrides = ["instability={nan: skip, max_skips: 2}"]
    train(read_config(config_file("whole"), overrides))
    whole = lines(tmp_path / "whole")
    assert [line["step"] for line in whole if "skipped" in line] == [4, 5]
    assert [line["skipped_steps"] for line in whole][2:7] == [0, 1, 2, 2, 2]
    assert "the loss is nan" in whole[3]["skipped"]
    assert "skipped, the loss is nan" in (tmp_path / "whole" / "train.log").read_text()
    progress = reading.read_progress(checkpoint_format.committed(tmp_path / "whole" / "checkpoints")[-1])
    assert progress["optimizer_step"] == progress["step"] - 2
    for name, stop in (("a", 4), ("b", 5)):
        config = read_config(config_file(name), overrides)
        train(config, stop_after_steps=stop)
        train(config)
        parts = [[{k: line[k] for k in ("step", "loss", "grad_norm")} for line in run]
                 for run in (lines(tmp_path / name), whole)]  # fmt: skip
        assert parts[0] == parts[1]


def test_too_many_skipped_steps_stop_the_run_also_over_an_interruption(config_file, monkeypatch):
    stumble(monkeypatch, {4, 5, 6})
    config = read_config(config_file("bad"), ["instability={nan: skip, max_skips: 2}"])
    train(config, stop_after_steps=5)
    with pytest.raises(TrainerError, match=r"step 6: .* after 2 skipped steps in a row"):
        train(config)
