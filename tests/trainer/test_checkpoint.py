"""Saves and loads by one process: bits, failures, kills, pruning. Layouts: parallel/test_checkpoint_layouts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading, saving
from gristmill.trainer.checkpoints.format import KINDS, weight_sizes
from gristmill.trainer.errors import TrainerError
from tests.trainer.checkpoint_states import ALONE, SHAPE, build, damaged, same, save, values


@pytest.fixture
def good(tmp_path) -> tuple[Path, dict]:
    """A checkpoint and the tensors in it."""
    state = build()
    return save(tmp_path / "checkpoints", state, 5), values(state)


def test_it_gives_back_every_bit_and_the_progress(good):
    path, saved = good
    state = build(7.0)
    progress = reading.load(path, state, ALONE)
    assert same(values(state), saved)
    assert (progress["step"], progress["samples"], progress["moments"]) == (5, 15, True)
    assert reading.shape_of(path) == SHAPE
    weights = reading.read_weights(path, SHAPE, torch.bfloat16)
    for name, weight in weights.items():
        assert torch.equal(weight.view(-1), saved["main", name].bfloat16())


def test_the_parameters_are_the_rounded_main_copy(good):
    state = build(7.0)
    reading.load(good[0], state, ALONE)
    for name, parameter in state.named("param").items():
        assert torch.equal(parameter, state.named("main")[name].bfloat16())


def test_any_reader_of_safetensors_opens_the_files(good):
    path, saved = good
    with safe_open(path / "weights-00000.safetensors", "pt") as file:
        assert set(file.keys()) == {f"main.{name}" for name in weight_sizes(SHAPE)}
        for name, size in weight_sizes(SHAPE).items():
            assert torch.equal(file.get_tensor(f"main.{name}"), saved["main", name].view(size))


class Held(dict):
    """Part of a progress, at which the thread that writes it stops until `go` is set."""

    def __init__(self):
        super().__init__(held=1)
        self.go = threading.Event()

    def items(self):
        assert self.go.wait(60)
        return super().items()


def test_a_save_under_way_has_the_values_of_its_call_and_the_next_one_waits_for_it(tmp_path):
    """Training goes on before anything is committed; two saves are both whole, each with its own values."""
    state, held = build(1.0), Held()
    saver = saving.Saver(tmp_path, state, ALONE, keep=2)
    saver.save({"step": 1, "data": held})
    for value in (-1.0, 2.0):
        for kind in KINDS:
            for piece in state.pieces(kind):
                piece.data.fill_(value)
    assert saver.check() is None
    assert not checkpoint_format.committed(tmp_path)
    threading.Timer(0.1, held.go.set).start()
    saver.save({"step": 2})
    assert tmp_path / "step-00000001" in checkpoint_format.committed(tmp_path)
    saved = saver.wait()
    assert saved.path == tmp_path / "step-00000002"
    assert saver.check() is None
    for step, path in enumerate(checkpoint_format.committed(tmp_path), 1):
        weights = reading.read_weights(path, SHAPE, torch.float32)
        assert all(bool((weight == step).all()) for weight in weights.values())
        assert reading.problem(path) is None


def test_a_failed_save_is_raised_at_the_next_step_and_the_last_good_one_stays(tmp_path):
    state = build()
    save(tmp_path / "run", state, 1)
    saver = saving.Saver(tmp_path / "run", state, ALONE, keep=1)
    saver.save({"step": 2})
    saver.wait()
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").write_text("a file where the directory was")
    with pytest.raises(
        TrainerError, match=r"rank 0 could not save step 3 \(Not a directory\): make room there or change"
    ):
        saver.save({"step": 3})
    with pytest.raises(TrainerError, match="could not save step 3"):
        saver.check()
    assert reading.newest_good(tmp_path / "moved", pytest.fail) == tmp_path / "moved" / "step-00000002"


def test_a_directory_that_goes_away_under_a_save_stops_it_with_one_sentence(tmp_path):
    """As when a second run starts in it."""
    held = Held()
    saver = saving.Saver(tmp_path, build(), ALONE, keep=1)
    saver.save({"step": 1, "data": held})
    (partial,) = tmp_path.glob(".partial-*")
    while (partial / "done").exists():  # the last step before the files that `held` is written to
        time.sleep(0.01)
    shutil.rmtree(partial)
    held.go.set()
    with pytest.raises(TrainerError, match=r"is gone: let one run only write to this directory$"):
        saver.wait()
    assert not checkpoint_format.committed(tmp_path)


def test_old_ones_go_after_a_commit_and_refused_ones_never_push_good_ones_out(tmp_path):
    state = build()
    for step in (1, 2, 3, 4):
        save(tmp_path, state, step, keep=3)
    assert [path.name for path in checkpoint_format.committed(tmp_path)] == [f"step-0000000{n}" for n in (2, 3, 4)]
    (tmp_path / ".partial-step-00000009-abc" / "done").mkdir(parents=True)
    (tmp_path / ".old-step-00000001").mkdir()
    damaged(tmp_path / "step-00000004", "commit.json", "gone")
    found = reading.newest_good(tmp_path, str, retire=True)
    assert found == tmp_path / "step-00000003"
    save(tmp_path, state, 4, keep=1)
    assert sorted(os.listdir(tmp_path)) == ["refused-step-00000004", "step-00000004"]
    save(tmp_path, build(2.0), 4, keep=1)  # the same step again takes the place of the first
    loaded = build()
    reading.load(tmp_path / "step-00000004", loaded, ALONE)
    assert same(values(loaded), values(build(2.0)))


def test_a_fresh_start_sets_the_directory_aside(good):
    directory = good[0].parent
    assert reading.set_aside(directory) == directory.with_name("checkpoints.old-1")
    assert reading.set_aside(directory) is None
    assert reading.newest_good(directory, pytest.fail) is None
    with pytest.raises(TrainerError, match="holds no checkpoint: correct the path"):
        reading.find(directory, pytest.fail)


def test_a_rank_that_never_writes_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "WAIT_S", 0.05)
    (tmp_path / "done").mkdir()
    saving._leave(tmp_path, 0, {})
    with pytest.raises(TrainerError, match="rank 1 has not written its part"):
        saving._gathered(tmp_path / "done", 2)


@pytest.mark.slow
def test_a_program_that_ends_by_an_exception_ends_its_save_first(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from checkpoint_kills import *\n"
        "saving.Saver(sys.argv[1], build(SMALL, 2, Groups()), Groups(), 1).save(progress(2))\n"
        "raise SystemExit('stopped')\n"
    )
    here = Path(__file__).resolve()
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run", here.parent, here.parents[2]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "stopped" in done.stderr
    assert reading.newest_good(tmp_path / "run", pytest.fail) == tmp_path / "run" / "step-00000002"


@pytest.mark.slow
def test_killed_saves_lose_nothing():
    """SIGKILL before each operation on files, at many moments, and to either of two ranks: see checkpoint_kills."""
    memory = Path("/dev/shm")
    folder = (memory if memory.is_dir() else Path.cwd()) / f"checkpoint-kills-{os.getpid()}"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = Path(__file__).with_name("checkpoint_kills.py")
    try:
        done = subprocess.run(
            [sys.executable, script, folder], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout)
    killed = [r for r in rounds if r["killed"]]
    assert len(killed) >= 40
    assert {r["found"] for r in killed} == {1, 2}
    assert [r for r in rounds if not r["same"] or r["heard"] or not r["again"]] == []
    assert all(r["found"] == 2 for r in rounds if not r["killed"])


def test_saving_leaves_no_thread_behind(tmp_path):
    before = threading.active_count()
    save(tmp_path, build(), 1)
    assert threading.active_count() == before
