"""Reads checkpoints: chooses the newest that is whole, verifies it, and loads what a rank needs in any layout.

Tensors go by logical names (`trainer.model.names`), all fp32: `main`, `exp_avg`, `exp_avg_sq`; the parameters are the
rounded `main`. So a checkpoint knows nothing of flat buffers, and what TP2 x DP2 has written TP1, TP4 or DP3 load bit
for bit. Loading verifies every checksum first, shared out over the ranks, and falls back to the newest checkpoint that
is good. Rank 0 alone looks what there is and decides; the others are told. Writing is `trainer.checkpoints.saving`, the
files are `trainer.checkpoints.format`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.trainer.checkpoints.format import (
    COMMIT,
    KINDS,
    PROGRESS,
    Index,
    Place,
    checksum,
    committed,
    mapped,
    read_commit,
    read_index,
    step_of,
    step_path,
    weight_sizes,
)
from gristmill.trainer.checkpoints.layout import Part, copy, overlaps, part_of, rectangles
from gristmill.trainer.checkpoints.ranks import ALONE, total
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.flat_groups import Kind
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.parallel.placement import logical_part, logical_split
from gristmill.trainer.state import FlatState

READERS = 4
"""Files a rank verifies at a time: one stream seldom fills a parallel file system."""
_MISSING, _CHANGED, _UNREADABLE = -1, -2, -3


def problem(path: Path, groups: Groups = ALONE, weights_only: bool = False) -> str | None:
    """What is wrong with a checkpoint, in one sentence; None: every file is as it was written.

    Collective: each rank reads its share of the files and all get the same answer. weights_only: leaves the moments
    out, for those who do not read them.
    """
    world = groups.world
    files = read_commit(path)
    (readable,) = total([files is not None], world)
    if files is None or readable < world.size:
        if 0 < readable < world.size:
            return f"{path}: seen by {readable} of {world.size} ranks: it must be where every node sees it"
        return f"{path}: has no readable {COMMIT}, so it was not written to its end"
    names = sorted(name for name in files if not (weights_only and name.startswith("moments-")))
    findings = [0] * len(names)
    mine = range(world.rank, len(names), world.size)
    with ThreadPoolExecutor(READERS) as pool:
        for i, found in zip(mine, pool.map(lambda i: _finding(path / names[i], files[names[i]]), mine), strict=True):
            findings[i] = found
    for name, finding in zip(names, total(findings, world), strict=True):
        if finding:
            said = {_MISSING: "is missing", _CHANGED: "its content has changed since it was written"}
            said[_UNREADABLE] = "cannot be read"
            size = f"has {finding - 1:,} bytes instead of {files[name]['bytes']:,}"
            return f"{path / name}: {said.get(finding, size)}"
    return None


def newest_good(
    directory: str | Path,
    report: Callable[[str], None],
    groups: Groups = ALONE,
    weights_only: bool = False,
    retire: bool = False,
) -> Path | None:
    """The newest checkpoint without a problem, None where there is none at all; collective.

    `report` hears of those refused, on rank 0. retire: renames them to refused-step-N, so that they never count among
    those to keep; for the run that goes on from what is returned. TrainerError where there are some, none of them good.
    """
    first = groups.world.rank == 0
    waiting = [step_of(path) for path in committed(directory)] if first else []
    refused: list[Path] = []
    while True:
        (told,) = total([waiting.pop() + 1 if waiting else 0], groups.world)
        if not told:
            break
        path = step_path(directory, told - 1)
        trouble = problem(path, groups, weights_only)
        if trouble is None:
            for bad in refused if retire and first else []:
                _retire(bad)
            return path
        refused.append(path)
        if first:
            report(f"{trouble}: checkpoint refused")
    if refused:
        raise TrainerError(f"{directory}: none of its {len(refused)} checkpoints is good: restore one or give --fresh")
    return None


def find(source: str | Path, report: Callable[[str], None], groups: Groups = ALONE, weights_only: bool = False) -> Path:
    """`source` itself if it is a checkpoint, which must then be good, else the newest good one in it; collective."""
    source = Path(source)
    (itself,) = total([groups.world.rank == 0 and (source / COMMIT).exists()], groups.world)
    if itself:
        if trouble := problem(source, groups, weights_only):
            raise TrainerError(f"{trouble}: take another checkpoint")
        return source
    found = newest_good(source, report, groups, weights_only)
    if found is None:
        raise TrainerError(f"{source}: holds no checkpoint: correct the path")
    return found


def read_progress(path: Path) -> dict[str, Any]:
    """progress.json of a checkpoint."""
    return json.loads((path / PROGRESS).read_text("utf-8"))


def shape_of(path: Path) -> Shape:
    return Shape(**read_progress(path)["shape"])


def load(path: Path, state: FlatState, groups: Groups) -> dict[str, Any]:
    """Fills main copy, moments and parameters and returns the progress; collective, after `newest_good` or `find`.

    Each rank reads what it owns. TrainerError on every rank, naming what is missing, unless every element of every
    weight and moment was there once and was read. Imported checkpoints hold no moments: these start at 0.
    """
    progress, shape = read_progress(path), state.model.shape
    if progress["shape"] != asdict(shape):
        differing = [key for key, value in asdict(shape).items() if progress["shape"].get(key) != value]
        raise TrainerError(
            f"{path}: its model differs from the configuration in {', '.join(differing)}: "
            "correct model: or give --fresh"
        )
    sizes = weight_sizes(shape)
    kinds: tuple[Kind, ...] = KINDS if progress["moments"] else ("main",)
    failure: TrainerError | None = None
    read = [0] * len(kinds)
    try:
        read = _fill(path, _checked_index(path, sizes, kinds), kinds, state, groups)
    except TrainerError as error:
        failure = error
    except OSError as error:
        failure = TrainerError(f"{path}: cannot be read ({error.strerror or error}): take another checkpoint")
    failures, *read = total([failure is not None, *read], groups.world)
    if failures:
        raise failure or TrainerError(f"{path}: {failures} other ranks could not read it: see their messages")
    needed = sum(prod(size) for size in sizes.values())
    for kind, elements in zip(kinds, read, strict=True):
        if elements != needed:
            raise TrainerError(
                f"{path}: {elements:,} of the {needed:,} elements of {kind} were asked for by the ranks together: "
                "please report this"
            )
    state.cast_main()
    return progress


def read_weights(path: Path, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
    """{logical name: whole weight in dtype} of a checkpoint, on the CPU; one fp32 weight at a time beside them."""
    sizes = weight_sizes(shape)
    index = _checked_index(path, sizes, ("main",))
    weights = {}
    for name, size in sizes.items():
        whole = torch.empty(size, dtype=torch.float32)
        part = Part((0,) * len(size), size)
        _read(path, index, [(Place(name, size, part, 0, whole.numel()), {"main": whole.view(-1)})])
        weights[name] = whole.to(dtype)
    return weights


def set_aside(directory: str | Path) -> Path | None:
    """Renames a directory of checkpoints to <directory>.old-N for a fresh start; None where there is nothing.

    For rank 0; the others learn of it by the next `newest_good`.
    """
    path = Path(directory)
    if not committed(path):
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def _checked_index(path: Path, sizes: dict[str, tuple[int, ...]], kinds: Iterable[Kind]) -> Index:
    index = read_index(path)
    if trouble := index.missing(sizes):
        raise TrainerError(f"{path}: {trouble}: take another checkpoint or give --fresh")
    for kind in kinds:
        if kind not in index.kinds:
            raise TrainerError(f"{path}: {kind} is missing: take another checkpoint or give --fresh")
    return index


def _fill(path: Path, index: Index, kinds: tuple[Kind, ...], state: FlatState, groups: Groups) -> list[int]:
    """Fills what this rank owns; returns the elements per kind, of the norms only one tensor rank's.

    Kinds that the checkpoint does not hold become 0.
    """
    counted = [0] * len(kinds)
    wanted: list[tuple[Place, dict[Kind, Tensor]]] = []
    for pieces in zip(*(state.pieces(kind) for kind in kinds), strict=True):
        name, full, _, start, stop, _ = pieces[0]
        if any((p.name, p.start, p.stop) != (name, start, stop) for p in pieces):
            raise ValueError(f"{name}: moments are not cut as main is")
        place = Place(name, tuple(full), part_of(logical_part(name, full, groups.tensor)), start, stop)
        wanted.append((place, {kind: p.data.detach() for kind, p in zip(kinds, pieces, strict=True)}))
        if groups.tensor.rank == 0 or logical_split(name) is not None:
            counted = [count + p.data.numel() for count, p in zip(counted, pieces, strict=True)]
    _read(path, index, wanted)
    for kind in KINDS:
        for piece in state.pieces(kind) if kind not in kinds else ():
            piece.data.detach().zero_()
    return counted


def _read(path: Path, index: Index, wanted: Iterable[tuple[Place, dict[Kind, Tensor]]]) -> None:
    """Fills flat fp32 tensors, by kind; TrainerError unless each of their elements was found once.

    Files that hold nothing of what is wanted are not opened.
    """
    for place, targets in wanted:
        into = rectangles(place.part, place.start, place.stop)
        found = dict.fromkeys(targets, 0)
        for part, stored in index.parts[place.name].items():
            for s in stored:
                source = rectangles(part, s.start, s.stop)
                if any(overlaps(source, into)):
                    for kind, target in targets.items():
                        found[kind] += copy(mapped(path, index, kind, s), source, target, into)
        for kind, target in targets.items():
            if found[kind] != target.numel():
                raise TrainerError(
                    f"{path}: holds {found[kind]:,} of {target.numel():,} elements of {kind} of {place.name} that "
                    "this rank owns: take another checkpoint"
                )


def _retire(path: Path) -> None:
    number, aside = 1, path.with_name(f"refused-{path.name}")
    while aside.exists():
        number += 1
        aside = path.with_name(f"refused-{path.name}-{number}")
    path.rename(aside)


def _finding(file: Path, claimed: dict[str, Any]) -> int:
    """0 where a file is as claimed, 1 + its size where that differs, else one of the negative numbers above."""
    try:
        if not file.is_file():
            return _MISSING
        if (size := file.stat().st_size) != claimed["bytes"]:
            return size + 1
        return 0 if checksum(file) == claimed else _CHANGED
    except OSError:
        return _UNREADABLE
