"""Saves that are killed at every operation on files and at many moments, by SIGKILL; what can be loaded afterwards.

`python checkpoint_kills.py FOLDER` prints one JSON list of rounds. In each, a good checkpoint of step 1 is there, a
forked process (or two, joined by gloo) saves step 2 and would then remove step 1, and one of them is killed:

    {"how", "killed": it did not get to its end, "found": step of the newest good one, "same": its tensors are those
     of that step, "heard": checkpoints that were refused, "again": step 2 could be saved afterwards, what was left}
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gristmill.trainer.checkpoints import reading, saving
from gristmill.trainer.checkpoints.format import KINDS
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups, make_groups
from gristmill.trainer.state import FlatState

SMALL = Shape(1, 16, 4, 2, 4, 32, 64, context=16)
LARGE = Shape(1, 256, 4, 2, 64, 1024, 2048, context=16)
OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree"}
MOMENTS = 10


def build(shape: Shape, step: int, groups: Groups) -> FlatState:
    """Every element of step N's state is N, 2 N or 3 N."""
    with torch.device("meta"):
        model = Nemotron(shape, groups=groups)
    state = FlatState(model, torch.bfloat16, "cpu", groups, bucket_elements=500)
    for factor, kind in enumerate(KINDS, 1):
        for piece in state.pieces(kind):
            piece.data.fill_(float(step * factor))
    return state


def progress(step: int) -> dict:
    return {"step": step, "samples": step}


def save_second(folder: Path, shape: Shape, groups: Groups) -> None:
    saving.save(folder, build(shape, 2, groups), groups, progress(2), keep=1)


def killed_at(operation: int, folder: Path) -> None:
    """SIGKILL for this process just before its operation number `operation` on files."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in OPERATIONS and (event != "open" or str(folder) in str(arguments[0])):
            count += 1
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(function: Callable[[], None]) -> int:
    """Process id of a child that runs it and leaves."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> bool:
    """Waits; whether it got to its end."""
    return os.waitpid(child, 0)[1] == 0


def examine(folder: Path, shape: Shape, how: str, killed: bool) -> dict:
    heard: list[str] = []
    path = reading.newest_good(folder, heard.append)
    state = build(shape, 9, Groups())
    step = reading.load(path, state, Groups())["step"]
    same = all(
        bool((piece.data == step * factor).all())
        for factor, kind in enumerate(KINDS, 1)
        for piece in state.pieces(kind)
    )
    save_second(folder, shape, Groups())
    left = [name for name in os.listdir(folder) if name != "step-00000002"]
    again = reading.newest_good(folder, heard.append).name == "step-00000002" and not left
    return {"how": how, "killed": killed, "found": step, "same": same, "heard": heard, "again": again}


def start(folder: Path, shape: Shape) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    saving.save(folder, build(shape, 1, Groups()), Groups(), progress(1), keep=1)


def one_process(folder: Path) -> list[dict]:
    """Killed before each of its operations on files, until one save is not killed any more."""
    rounds: list[dict] = []
    while not rounds or rounds[-1]["killed"]:
        operation = len(rounds) + 1
        start(folder, SMALL)

        def child(operation: int = operation) -> None:
            killed_at(operation, folder)
            save_second(folder, SMALL, Groups())

        killed = not ended(forked(child))
        rounds.append(examine(folder, SMALL, f"operation {operation}", killed))
    return rounds


def many_moments(folder: Path) -> list[dict]:
    """Killed at moments spread over the time a larger save takes."""
    start(folder, LARGE)
    began = time.perf_counter()
    save_second(folder, LARGE, Groups())
    seconds = time.perf_counter() - began
    rounds = []
    for moment in range(MOMENTS):
        start(folder, LARGE)
        child = forked(lambda: save_second(folder, LARGE, Groups()))
        time.sleep(seconds * moment / MOMENTS)
        os.kill(child, signal.SIGKILL)
        rounds.append(examine(folder, LARGE, f"moment {moment}", not ended(child)))
    return rounds


def two_ranks(folder: Path) -> list[dict]:
    """One of two ranks is killed before an operation: rank 1 before each, rank 0, which commits, before every third."""
    rounds: list[dict] = []
    for victim in (0, 1):
        operation, killed = 0, True
        while killed:
            operation += 1 if victim else 3
            start(folder, SMALL)
            store = folder.with_name(f"store-{victim}-{operation}")

            def child(rank: int, victim: int = victim, operation: int = operation, store: Path = store) -> None:
                torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
                groups = make_groups(1, 1, 2)
                if rank == victim:
                    killed_at(operation, folder)
                save_second(folder, SMALL, groups)

            children = [forked(lambda rank=rank: child(rank)) for rank in (0, 1)]
            killed = not ended(children[victim])
            other = children[1 - victim]
            if killed:
                time.sleep(0.05)
                os.kill(other, signal.SIGKILL)
            ended(other)
            rounds.append(examine(folder, SMALL, f"rank {victim}, operation {operation}", killed))
    return rounds


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    rounds = one_process(place / "one") + many_moments(place / "large") + two_ranks(place / "two")
    print(json.dumps(rounds))
