"""Small states to be saved and loaded, and damage to what was saved."""

from __future__ import annotations

from pathlib import Path

import torch

from gristmill.trainer.checkpoints import saving
from gristmill.trainer.checkpoints.format import KINDS
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.state import FlatState

SHAPE = Shape(2, 16, 4, 2, 4, 32, 64, context=16)
ALONE = Groups()


def build(fill: float | None = None, shape: Shape = SHAPE) -> FlatState:
    """A state with random contents, or with this number in every element."""
    with torch.device("meta"):
        model = Nemotron(shape)
    state = FlatState(model, torch.bfloat16, "cpu", ALONE)
    for kind in KINDS:
        for piece in state.pieces(kind):
            piece.data.normal_() if fill is None else piece.data.fill_(fill)
    return state


def values(state: FlatState) -> dict[tuple[str, str], torch.Tensor]:
    return {(kind, piece.name): piece.data.clone() for kind in KINDS for piece in state.pieces(kind)}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def save(directory: Path, state: FlatState, step: int, keep: int = 9) -> Path:
    return saving.save(directory, state, ALONE, {"step": step, "samples": 3 * step}, keep)


def damaged(path: Path, name: str, how: str) -> None:
    data = bytearray((path / name).read_bytes())
    if how == "gone":
        (path / name).unlink()
        return
    if how == "empty":
        data.clear()
    elif how == "short":
        del data[-1]
    elif how == "long":
        data += b"\0"
    else:
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[how]] ^= 4
    (path / name).write_bytes(data)
