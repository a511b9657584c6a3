"""The shipped debug configurations as they are, on a small model: ramp, phase switch, continued training."""

from __future__ import annotations

import math
import re

import pytest
from typer.testing import CliRunner

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading
from gristmill.trainer.cli import app
from gristmill.trainer.config.keys import read_config
from gristmill.trainer.config.schedule import Schedule
from gristmill.trainer.metrics import read_metrics

SMALL = [
    "model={preset: debug, overrides: {layers: 1, hidden: 32, heads: 2, kv_heads: 1, head_dim: 16, ffn: 32, "
    "vocab_size: from shards}}",
    "evaluation.max_tokens=2000",
]
THIN = [*SMALL, "phases.0.tokens=44_000", "phases.0.batch_ramp.0.tokens=3_000", "phases.0.batch_ramp.1.tokens=3_000",
        "phases.0.learning_rate.warmup_tokens=2_000", "checkpoint.every_tokens=20_000"]  # fmt: skip
THIN_CONTINUED = [*SMALL, "phases.0.tokens=14_220", "phases.1.tokens=5_780", "data.block_samples=64"]


def run(name: str, overrides: list[str]):
    settings = [word for override in overrides for word in ("--set", override)]
    return CliRunner().invoke(app, ["run", name, *settings], catch_exceptions=False)


def steps_of(folder):
    return [event for event in read_metrics(folder) if event["event"] == "step"]


@pytest.fixture
def demo(shards, tmp_path, monkeypatch):
    """A folder with shards where the debug configurations look for them."""
    (tmp_path / "out" / "shards").mkdir(parents=True)
    (tmp_path / "out" / "shards" / "pretrain").symlink_to(shards)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def test_pre_training_then_continued_training(demo):
    first = run("debug", THIN)
    assert first.exit_code == 0, first.stderr
    lines = steps_of(demo / "train")
    sizes = [b - a for a, b in zip([0, *(s["samples"] for s in lines)], [s["samples"] for s in lines], strict=False)]
    assert sorted(set(sizes)) == [2, 4, 6]
    for size, tokens in ((4, 3_000), (6, 6_000)):  # each taken at the first step boundary after it
        at = sizes.index(size)
        assert lines[at - 1]["tokens"] >= tokens > lines[at - 2]["tokens"]
    assert lines[-1]["loss"] < lines[0]["loss"] - 1

    second = run("debug_continued", THIN_CONTINUED)
    assert second.exit_code == 0, second.stderr
    assert "starting from the weights and moments of out/train/checkpoints/step-" in second.stderr
    on = steps_of(demo / "train_continued")
    assert on[0]["loss"] == pytest.approx(lines[-1]["loss"], abs=0.4)
    assert [line["phase"] for line in on] == sorted(line["phase"] for line in on)
    before = [line for line in on if line["phase"] == 0][-1]
    assert before["tokens"] == pytest.approx(0.711 * on[-1]["tokens"], rel=0.1)
    assert len(before["epochs"]) == 1
    held_out = on[-1]["epochs"]["out/shards/pretrain/holdout"]
    assert held_out > 0
    progress = reading.read_progress(checkpoint_format.committed(demo / "train_continued" / "checkpoints")[-1])
    assert progress["optimizer_step"] == len(lines) + len(on)


def test_the_schedule_is_printed_and_drawn_before_step_1(demo):
    result = run("debug", [*THIN, "phases.0.tokens=9_000"])
    before, _, _ = result.stderr.partition("step 1/")
    table = re.findall(r"^ +0 +([\d,]+) +\d+ +(\d) +[\d,]+ +(\S+)  pretrain$", before, re.MULTILINE)
    assert [sequences for _, sequences, _ in table] == sorted(sequences for _, sequences, _ in table)
    assert {sequences for _, sequences, _ in table} == {"2", "4", "6"}
    assert "the same as a picture: out/train/schedule.svg" in before
    picture = (demo / "train" / "schedule.svg").read_text()
    assert picture.startswith("<svg")
    for text in ("learning rate", "sequences per step", "blend", "pretrain"):
        assert text in picture
    assert table[0][2] == "0.000e+00"


def test_the_debug_configurations_are_the_papers_in_small():
    """Ratios of batch and rate, the place of the switch and its rate."""
    small, large = (Schedule(read_config(n).phases, read_config(n).sequence()) for n in ("debug", "nemotron4_15b"))
    for schedule in (small, large):
        batches = [stretch.sequences for stretch in schedule.stretches]
        assert [b / batches[0] for b in batches] == [1, 2, 3]
        rates = schedule.phases[0].learning_rate
        assert rates.final / rates.peak == pytest.approx(0.1)
    for name, before in (("debug_continued", small), ("nemotron4_15b_continued", large)):
        config = read_config(name)
        schedule = Schedule(config.phases, config.sequence())
        start = schedule.learning_rate(0)
        assert start == before.phases[0].learning_rate.final
        assert schedule.learning_rate(schedule.total_tokens) == pytest.approx(start / 100)
        border = config.phases[0].tokens
        assert border / schedule.total_tokens == pytest.approx(0.711, abs=5e-4)
        assert schedule.learning_rate(border) == pytest.approx(start / 5, rel=5e-3)
        assert math.isclose(config.phases[1].blend[1].weight, 0.1)
