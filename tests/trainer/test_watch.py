"""A step that hangs is explained: this process's file, and rank 0's line for each of several real ones."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group, make_groups
from gristmill.trainer.watch import FOLDER, Watch, summary

sys.path.insert(0, str(Path(__file__).parent / "parallel"))

import pytest
from processes import run

PATIENCE = 0.4
"""Seconds a step may last in these tests."""


def lasting_step():
    threading.Event().wait(4 * PATIENCE)


@pytest.mark.slow
def test_a_long_step_says_where_it_is_once_and_a_short_one_nothing(tmp_path, capsys):
    said: list[str] = []
    with Watch(tmp_path, Group(), PATIENCE, said.append).running() as watch:
        with watch.step(1):
            pass
        time.sleep(2 * PATIENCE)  # between steps
        assert not (tmp_path / FOLDER).exists()
        with watch.step(2):
            lasting_step()
    (line, *rest) = (tmp_path / FOLDER / "rank-00000.txt").read_text().splitlines()
    assert line.startswith("rank 0: step 2 lasts ")
    assert "waits in no collective" in line
    assert any("test_watch.py" in place and "lasting_step" in place for place in rest)
    assert capsys.readouterr().err.count("rank 0: step 2") == 1
    assert not said  # one process has nobody to sum up
    with Watch(tmp_path, Group(), PATIENCE, said.append).running():
        assert not list((tmp_path / FOLDER).iterdir())  # of the run before


def test_a_rank_without_a_file_is_named(tmp_path):
    (tmp_path / "rank-00001.txt").write_text("rank 1: step 3 lasts 9 s\n  more\n")
    assert summary(tmp_path, 2)[1] == "rank 1: step 3 lasts 9 s"
    assert summary(tmp_path, 2)[0].startswith("rank 0: has written nothing: it is dead, or not in a step")


def hang(folder: str) -> list[str]:
    """Rank 3 sleeps in the data; its tensor partner waits for it, and the others for one that never comes further."""
    import torch
    import torch.distributed as dist

    groups = make_groups(2, 1, 2)
    said: list[str] = []
    with Watch(folder, groups.world, PATIENCE, said.append).running() as watch, watch.step(7):
        collectives.all_reduce(torch.ones(3), groups.data, "dp.reduce.decay.0")
        if dist.get_rank() == 3:
            sleeping_in_the_data()
        collectives.all_gather(torch.ones(2), groups.tensor, "tp.gather.layers.1.qkv")
        collectives.all_reduce(torch.ones(1), groups.world, "world.figures")
    return said


def sleeping_in_the_data():
    time.sleep(10 * PATIENCE)


@pytest.mark.slow
def test_every_rank_says_which_collective_it_waits_in(tmp_path):
    said = run(hang, 4, str(tmp_path))
    assert [len(lines) for lines in said] == [4, 0, 0, 0]
    for rank, waits in enumerate(("world.figures", "world.figures", "tp.gather.layers.1.qkv")):
        line = said[0][rank]
        assert line.startswith(f"rank {rank}: step 7 lasts ")
        assert f"waits in {waits} (" in line
    asleep = said[0][3]
    assert "waits in no collective; the last, dp.reduce.decay.0 (all_reduce, 12 bytes, rank 1 of 2), finished" in asleep
    assert "sleeping_in_the_data" in asleep
    details = (tmp_path / FOLDER / "rank-00002.txt").read_text()
    assert "dp.reduce.decay.0 (all_reduce, 12 bytes, rank 1 of 2): took" in details
    assert "tp.gather.layers.1.qkv (all_gather, 16 bytes, rank 0 of 2): waiting" in details
