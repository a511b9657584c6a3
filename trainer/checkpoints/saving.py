"""Saving while training goes on: a copy in CPU memory, a thread that writes, a commit when every rank has written.

A save of all ranks goes through the directory, which every node sees; the thread issues no collectives.

    rank 0       makes .partial-step-N-<token>, tells everybody the token (one small collective at the step boundary)
    every rank   copies what it owns to CPU memory (pinned on a GPU machine); training goes on
    its thread   writes its files, hashing as it writes, syncs them, and leaves done/rank-R.json with the checksums
    rank 0's     waits for all of these, checks that they hold every element of the model exactly once, writes index,
                 progress and the commit marker, syncs, renames the directory to step-N, then removes old checkpoints

Killed at any point, what is there is the checkpoints before and perhaps a .partial- directory, which the next save
removes. A directory goes away by being renamed to .old- first, so none is ever half there under its own name.
A program that ends by an exception ends the save under way first.

CPU memory: 12 bytes per parameter and data-parallel share, kept from the first save on.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gristmill.trainer.checkpoints.format import (
    KINDS,
    Place,
    commit,
    committed,
    merge,
    step_of,
    step_path,
    sync,
    weight_sizes,
    write_pieces,
    write_text,
)
from gristmill.trainer.checkpoints.layout import Part, part_of
from gristmill.trainer.checkpoints.ranks import total
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.parallel.placement import logical_part, logical_split
from gristmill.trainer.state import FlatState

WAIT_S = 1800.0
"""Rank 0 waits this long for the other ranks' files after its own are written."""
LEAVING_S = 60.0
"""And this long where its program is ending: other ranks may have died of the same cause."""


class Saved(NamedTuple):
    """A save that ended: where it is or will be, and what this rank wrote of it."""

    path: Path
    seconds: float
    bytes: int


class Saver:
    """Saves a run's state; one for the whole run, on every rank, so that its CPU memory is allocated once."""

    def __init__(self, directory: str | Path, state: FlatState, groups: Groups, keep: int):
        """keep: newest checkpoints that stay, at least 1."""
        self.directory, self.keep = Path(directory), keep
        self._state, self._groups = state, groups
        self._copies: dict[str, list[Tensor]] = {}
        self._thread: threading.Thread | None = None
        self._failure: TrainerError | None = None
        self._saved: Saved | None = None

    def save(self, progress: dict[str, Any]) -> None:
        """Takes the state as it is now; collective, between two steps. Waits for the save before it.

        progress: what `reading.load` gives back, with "step"; shape and moments are added.
        TrainerError on every rank where an earlier save failed, or this one cannot begin, on any.
        """
        self._join()
        token = 0
        if self._groups.world.rank == 0 and self._failure is None:
            token = secrets.randbits(40) + 1
            try:
                _prepare(self.directory, self._partial(progress["step"], token))
            except OSError as error:
                self._failure = self._sentence(progress["step"], error)
        token, failures = total([token, int(self._failure is not None)], self._groups.world)
        if failures:
            raise self._failure or TrainerError(f"{self.directory}: another rank could not save: see its message")
        (seen,) = total([self._partial(progress["step"], token).is_dir()], self._groups.world)
        if seen < self._groups.world.size:
            raise TrainerError(
                f"{self.directory}: seen by {seen} of {self._groups.world.size} ranks: set checkpoint.directory "
                "to a folder that every node sees"
            )
        progress = {**progress, "shape": asdict(self._state.model.shape), "moments": True}
        places = self._copy()
        self._thread = threading.Thread(target=self._run, args=(places, progress, token))
        self._thread.start()

    def check(self) -> Saved | None:
        """A save that has ended since the last call, None if none has; TrainerError where it failed. For every step."""
        if self._failure is not None:
            raise self._failure
        saved, self._saved = self._saved, None
        return saved

    def wait(self) -> Saved | None:
        """`check` once the save under way, if any, has ended: on rank 0 it is committed then, on others written."""
        self._join()
        return self.check()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _copy(self) -> list[Place]:
        """Fills `_copies` with what this rank writes: all it owns, but of the norms only one tensor rank's."""
        tensor = self._groups.tensor
        places: list[Place] = []
        device = torch.device("cpu")
        for kind in KINDS:
            pieces = [p for p in self._state.pieces(kind) if tensor.rank == 0 or logical_split(p.name) is not None]
            here = [
                Place(p.name, tuple(p.full), part_of(logical_part(p.name, p.full, tensor)), p.start, p.stop)
                for p in pieces
            ]
            if kind not in self._copies:
                pin = any(p.data.is_cuda for p in pieces)
                buffer = torch.empty(sum(p.data.numel() for p in pieces), dtype=torch.float32, pin_memory=pin)
                self._copies[kind] = list(buffer.split([p.data.numel() for p in pieces]))
            for copy, piece in zip(self._copies[kind], pieces, strict=True):
                copy.copy_(piece.data.detach(), non_blocking=True)
                device = piece.data.device
            if places and here != places:
                raise ValueError(f"{kind} is not cut as main is")
            places = here
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return places

    def _run(self, places: list[Place], progress: dict[str, Any], token: int) -> None:
        """The thread."""
        began, step, rank = time.perf_counter(), progress["step"], self._groups.world.rank
        partial = self._partial(step, token)
        try:
            written = write_pieces(partial, rank, places, self._copies)
            _leave(partial, rank, written)
            if rank == 0:
                _commit_all(partial, step_path(self.directory, step), progress, self._groups.world.size)
                _prune(self.directory, step, self.keep)
            size = sum(file["bytes"] for file in written["files"].values())
            self._saved = Saved(step_path(self.directory, step), time.perf_counter() - began, size)
        except Exception as error:  # raised again in the training thread
            self._failure = error if isinstance(error, TrainerError) else self._sentence(step, error)
            if rank != 0:
                _leave_failure(partial, rank, str(self._failure))

    def _partial(self, step: int, token: int) -> Path:
        return self.directory / f".partial-step-{step:08d}-{token:x}"

    def _sentence(self, step: int, error: Exception) -> TrainerError:
        start = f"{self.directory}: rank {self._groups.world.rank} could not save step {step:,}"
        if isinstance(error, FileNotFoundError):
            return TrainerError(f"{start}: {error.filename} is gone: let one run only write to this directory")
        if isinstance(error, OSError):
            return TrainerError(
                f"{start} ({error.strerror or error}): make room there or change checkpoint.directory; "
                "the checkpoints before it are untouched"
            )
        return TrainerError(f"{start} ({error!r}); the checkpoints before it are untouched")


def save(directory: str | Path, state: FlatState, groups: Groups, progress: dict[str, Any], keep: int) -> Path:
    """Saves and waits; collective. On rank 0 it is committed on return."""
    saver = Saver(directory, state, groups, keep)
    saver.save(progress)
    saver.wait()
    return step_path(directory, progress["step"])


def write(directory: str | Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> Path:
    """A checkpoint of whole tensors by one process: {"main.<logical name>": weight of any float type}, moments alike.

    progress needs "step", "shape" and "moments".
    """
    kinds = [kind for kind in KINDS if any(name.startswith(f"{kind}.") for name in tensors)]
    names = [name.removeprefix("main.") for name in tensors if name.startswith("main.")]
    places = []
    for name in names:
        size = tuple(tensors[f"main.{name}"].shape)
        places.append(Place(name, size, Part((0,) * len(size), size), 0, tensors[f"main.{name}"].numel()))
    target = step_path(directory, progress["step"])
    partial = target.with_name(f".partial-{target.name}-{secrets.randbits(40):x}")
    _prepare(Path(directory), partial)
    written = write_pieces(partial, 0, places, {kind: [tensors[f"{kind}.{name}"] for name in names] for kind in kinds})
    _leave(partial, 0, written)
    _commit_all(partial, target, progress, 1)
    return target


def _prepare(directory: Path, partial: Path) -> None:
    """Removes what killed saves have left and makes the directory to write into."""
    for left in (*directory.glob(".partial-step-*"), *directory.glob(".old-step-*")):
        shutil.rmtree(left, ignore_errors=True)
    (partial / "done").mkdir(parents=True)


def _leave(partial: Path, rank: int, content: dict[str, Any]) -> None:
    """Writes done/rank-R.json, whole or not at all."""
    hidden = partial / "done" / f".rank-{rank:05d}"
    write_text(hidden, json.dumps(content))
    hidden.rename(partial / "done" / f"rank-{rank:05d}.json")


def _leave_failure(partial: Path, rank: int, sentence: str) -> None:
    with suppress(OSError):  # rank 0 then says that it waited in vain
        _leave(partial, rank, {"failed": sentence})


def _commit_all(partial: Path, target: Path, progress: dict[str, Any], ranks: int) -> None:
    """Makes `partial` the checkpoint `target` once all ranks have written; TrainerError where it would not be whole."""
    index, files = merge(_gathered(partial / "done", ranks))
    needed = set(KINDS) if progress["moments"] else {"main"}
    trouble = index.missing(weight_sizes(Shape(**progress["shape"])))
    if needed - index.kinds:
        trouble = f"{min(needed - index.kinds)} is missing"
    if trouble:
        raise TrainerError(f"{target}: not committed, for it would not be whole: {trouble}; please report this")
    shutil.rmtree(partial / "done")
    commit(partial, index, files, progress)
    old = target.with_name(f".old-{partial.name.removeprefix('.partial-')}")
    if target.exists():  # of a run that went back to before it
        target.rename(old)
    partial.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _gathered(done: Path, ranks: int) -> list[dict[str, Any]]:
    """What every rank has left, by rank; TrainerError where one failed or does not come."""
    found: dict[str, dict[str, Any]] = {}
    began, pause = time.monotonic(), 0.01
    while True:
        for name in sorted(name for name in os.listdir(done) if name.startswith("rank-") and name not in found):
            found[name] = json.loads((done / name).read_text("utf-8"))
            if "failed" in found[name]:
                raise TrainerError(found[name]["failed"])
        if len(found) == ranks:
            return [found[name] for name in sorted(found)]
        patience = WAIT_S if threading.main_thread().is_alive() else LEAVING_S
        if time.monotonic() - began > patience:
            absent = next(rank for rank in range(ranks) if f"rank-{rank:05d}.json" not in found)
            raise TrainerError(
                f"{done.parent}: rank {absent} has not written its part within {patience:.0f} s: "
                "look at its log, and whether its node sees this directory"
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _prune(directory: Path, step: int, keep: int) -> None:
    """Removes all but the `keep` newest up to `step`; what cannot be removed now goes with a later save."""
    for path in [path for path in committed(directory) if step_of(path) <= step][:-keep]:
        old = path.with_name(f".old-{path.name}")
        path.rename(old)
        shutil.rmtree(old, ignore_errors=True)
