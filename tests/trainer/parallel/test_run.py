"""The loop on real processes: under torchrun by the command, then resumed by other numbers of processes.

One run in three parts, 2 processes by torchrun, 3 and 4 as forks, against one process that was never interrupted: every
step has the same samples, its loss up to the order of sums, and the weights at the end agree.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from processes import run

from gristmill.trainer import loop
from gristmill.trainer.checkpoints.format import committed
from gristmill.trainer.config.keys import read_config
from gristmill.trainer.loop import train
from gristmill.trainer.metrics import read_metrics
from gristmill.trainer.scoring.generate import load_model
from gristmill.trainer.step import run_step

pytestmark = pytest.mark.slow

RAMP = "phases.0.batch_ramp=[{sequences: 4, tokens: 1000}, {sequences: 6, tokens: 500}, {sequences: 8}]"
SHAPE = "model.overrides.kv_heads=4"


def go_on(path: str, overrides: list[str], stop: int | None) -> dict:
    return train(read_config(path, overrides), stop_after_steps=stop)


def torchrun(processes: int, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(processes),
        "-m",
        "trainer",
        "run",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [*command, str(path), *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def steps_of(folder: Path) -> list[dict]:
    return [event for event in read_metrics(folder) if event["event"] == "step"]


@pytest.fixture
def whole(config_file, tmp_path):
    train(read_config(config_file("whole"), [RAMP, SHAPE]))
    return tmp_path / "whole"


def test_the_ranks_may_change_at_any_step(config_file, tmp_path, whole):
    path = config_file("parts")
    first = torchrun(2, path, "--set", RAMP, "--set", SHAPE, "--stop-after-steps", "5")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("stopped: step 5,") == 1  # of rank 0 alone
    assert first.stderr.count("data 2 · ") == 1
    assert len(steps_of(tmp_path / "parts")) == 5

    lines = steps_of(whole)
    border = next(i for i, line in enumerate(lines) if line["phase"] == 1)
    data3, mixed = [RAMP, SHAPE, "parallel.data=3"], [RAMP, SHAPE, "parallel={tensor: 2, data: 2}"]
    second = run(go_on, 3, str(path), data3, border - 5)
    third = run(go_on, 4, str(path), mixed, None)
    assert [result["step"] for result in second] == [border] * 3
    assert all(result["finished"] for result in third)
    assert len({result["loss"] for result in third}) == 1
    parts = steps_of(tmp_path / "parts")
    assert len(parts) == len(lines)
    for a, b in zip(parts, lines, strict=True):
        for key in ("step", "tokens", "samples", "phase", "learning_rate", "epochs"):
            assert a[key] == b[key]
        for key in ("loss", "grad_norm"):
            assert a[key] == pytest.approx(b[key], rel=1e-4)
        assert a["loss_by_domain"] == pytest.approx(b["loss_by_domain"], rel=1e-4)
    ours, theirs = (read_metrics(folder)[-1] for folder in (tmp_path / "parts", whole))
    assert ours["tokens"] == theirs["tokens"]
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    a, b = (load_model(committed(folder / "checkpoints")[-1]) for folder in (tmp_path / "parts", whole))
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)


def resumed_and_whole(path: str, other: str, overrides: list[str]) -> int:
    """A run that rank 1 is asked to end in step 4, its continuation, one of a piece -> step where the first ended."""

    def told(run, built, feed, step, *rest):
        if run.groups.world.rank == 1 and step.index == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return run_step(run, built, feed, step, *rest)

    loop.run_step = told
    first = train(read_config(path, overrides))
    loop.run_step = run_step
    train(read_config(path, overrides))
    train(read_config(other, overrides))
    return first["step"]


def test_on_the_same_ranks_a_resumed_run_is_the_same_to_the_bit(config_file, tmp_path):
    """TP2 x DP2, and a pipeline of two: losses, norms, and every tensor of the last checkpoint."""
    for layout in ("{tensor: 2, data: 2}", "{pipeline: 2, data: 2, virtual_stages: 1}"):
        name = layout.strip("{}").split(":")[0]
        ended = run(
            resumed_and_whole, 4, str(config_file(name)), str(config_file(f"{name}-whole")),
            [RAMP, SHAPE, f"parallel={layout}", "phases.1.tokens=600", "evaluation.max_tokens=0"],
        )  # fmt: skip
        assert ended == [4] * 4
        parts, whole = (steps_of(tmp_path / folder) for folder in (name, f"{name}-whole"))
        figures = ("step", "tokens", "loss", "grad_norm", "loss_by_domain")
        assert [[line[key] for key in figures] for line in parts] == [[line[key] for key in figures] for line in whole]
        ends = [committed(tmp_path / folder / "checkpoints")[-1] for folder in (name, f"{name}-whole")]
        files = [{p.name: p.read_bytes() for p in end.glob("*.safetensors")} for end in ends]
        assert len(files[0]) == 8
        assert files[0] == files[1]
