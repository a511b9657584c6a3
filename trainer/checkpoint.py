"""Checkpoints that are whole or refused: torch's distributed checkpoint, a marker with checksums, a rename.

    <directory>/step-00001200/   .metadata, *.distcp    torch.distributed.checkpoint
                                 progress.json          step, samples, tokens, shape, data, seed
                                 commit.json            size and xxh3_128 of every file; written last

Tensors go by logical names (`trainer.names`) and unflattened: `main.<name>`, `exp_avg.<name>`, `exp_avg_sq.<name>`,
all fp32; the parameters are the rounded `main`. So a checkpoint knows nothing of flat buffers or of how many ranks
wrote it. A directory is written under another name and renamed when complete; loading checks every checksum and
falls back to the newest checkpoint that is good.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from trainer.errors import TrainerError
from trainer.names import logical_weights
from trainer.shape import Shape
from trainer.state import FlatState

MOMENTS = ("exp_avg", "exp_avg_sq")
COMMIT, PROGRESS = "commit.json", "progress.json"
BLOCK_BYTES = 8 << 20


def save(directory: str | Path, state: FlatState, progress: dict[str, Any], keep: int) -> Path:
    """Writes step-<progress["step"]> and removes all but the `keep` newest; progress: see `Progress` in `loop`."""
    shape = state.model.shape
    tensors = {
        f"{kind}.{name}": view
        for kind in ("main", *MOMENTS)
        for name, view in logical_weights(state.named(kind), shape).items()
    }
    path = write(directory, tensors, {**progress, "shape": asdict(shape), "moments": True})
    for old in committed(directory)[:-keep]:
        shutil.rmtree(old)
    return path


def write(directory: str | Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> Path:
    """A checkpoint of these tensors, committed: whatever stops it earlier leaves no `step-` directory."""
    import torch.distributed.checkpoint as dcp

    target = Path(directory) / f"step-{progress['step']:08d}"
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with warnings.catch_warnings():  # torch remarks that one process saves alone, which is meant
        warnings.simplefilter("ignore", UserWarning)
        dcp.save(tensors, checkpoint_id=str(partial), no_dist=True)
    (partial / PROGRESS).write_text(json.dumps(progress, indent=1) + "\n", "utf-8")
    files = {p.name: _sum(p) for p in sorted(partial.iterdir())}
    (partial / COMMIT).write_text(json.dumps({"files": files}, indent=1) + "\n", "utf-8")
    for path in (*partial.iterdir(), partial):
        _sync(path)
    if target.exists():  # refused when it was loaded, or of a run that was rewound
        shutil.rmtree(target)
    partial.rename(target)
    _sync(target.parent)
    return target


def committed(directory: str | Path) -> list[Path]:
    """The checkpoints in `directory`, oldest first; good ones and damaged ones."""
    return sorted(path for path in Path(directory).glob("step-*") if path.is_dir())


def problem(path: Path) -> str | None:
    """What is wrong with a checkpoint, in one sentence; None: every file is as it was written."""
    try:
        files = json.loads((path / COMMIT).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return f"{path}: has no readable {COMMIT}, so it was not written to its end"
    for name, claimed in files.items():
        file = path / name
        if not file.is_file():
            return f"{file}: is missing"
        if file.stat().st_size != claimed["bytes"]:
            return f"{file}: has {file.stat().st_size:,} bytes instead of {claimed['bytes']:,}"
        if _sum(file) != claimed:
            return f"{file}: its content has changed since it was written"
    return None


def newest_good(directory: str | Path, report: Callable[[str], None]) -> Path | None:
    """The newest checkpoint without a problem, None where there is none at all; `report` hears of those refused."""
    found = committed(directory)
    for path in reversed(found):
        trouble = problem(path)
        if trouble is None:
            return path
        report(f"{trouble}: checkpoint refused")
    if found:
        raise TrainerError(f"{directory}: none of its {len(found)} checkpoints is good: restore one or give --fresh")
    return None


def read_progress(path: Path) -> dict[str, Any]:
    """progress.json of a checkpoint."""
    return json.loads((path / PROGRESS).read_text("utf-8"))


def shape_of(path: Path) -> Shape:
    return Shape(**read_progress(path)["shape"])


def load(path: Path, state: FlatState) -> dict[str, Any]:
    """Fills main copy, moments and parameters from a checkpoint and returns its progress.

    Every tensor must be there in its size; imported checkpoints hold no moments, they start at 0.
    """
    progress = read_progress(path)
    shape = state.model.shape
    if progress["shape"] != asdict(shape):
        differing = [key for key, value in asdict(shape).items() if progress["shape"].get(key) != value]
        raise TrainerError(
            f"{path}: its model differs from the configuration in {', '.join(differing)}: "
            "correct model: or give --fresh"
        )
    kinds = ("main", *MOMENTS) if progress["moments"] else ("main",)
    tensors = {
        f"{kind}.{name}": view for kind in kinds for name, view in logical_weights(state.named(kind), shape).items()
    }
    read(path, tensors)
    state.cast_main()
    return progress


def read(path: Path, tensors: dict[str, Tensor]) -> None:
    """Fills tensors, in place, from a checkpoint that must hold each in its size."""
    import torch.distributed.checkpoint as dcp

    held = dcp.FileSystemReader(str(path)).read_metadata().state_dict_metadata
    for name, tensor in tensors.items():
        size = getattr(held.get(name), "size", None)
        if size != tensor.shape:
            raise TrainerError(f"{path}: holds {name} as {size} where {tuple(tensor.shape)} is needed: give --fresh")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dcp.load(tensors, checkpoint_id=str(path), no_dist=True)


def read_weights(path: Path, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
    """{logical name: weight in dtype} of a checkpoint, on the CPU."""
    from trainer.model import Nemotron

    with torch.device("meta"):
        model = Nemotron(shape)
    names = logical_weights(dict(model.named_parameters()), shape)
    tensors = {f"main.{name}": torch.empty(t.shape, dtype=torch.float32) for name, t in names.items()}
    read(path, tensors)
    return {name: tensors.pop(f"main.{name}").to(dtype) for name in names}


def set_aside(directory: str | Path) -> Path | None:
    """Renames a directory of checkpoints to <directory>.old-N for a fresh start; None where there is nothing."""
    path = Path(directory)
    if not committed(path):
        return None
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def _sum(path: Path) -> dict[str, Any]:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return {"bytes": path.stat().st_size, "xxh3_128": digest.hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
