"""The files of a checkpoint: safetensors per rank, an index over all of them, checksums, a commit marker.

    step-00001200/  weights-00003.safetensors    rank 3's pieces of the fp32 main copy
                    moments-00003.safetensors    its pieces of exp_avg, then of exp_avg_sq, in the same order
                    index.json                   per logical weight: size, parts, and which file holds which range
                    progress.json                step, samples, tokens, shape, data, seed
                    commit.json                  bytes and xxh3_128 of every other file, and of this list; written last

A rank's pieces lie one after the other, so index.json gives an offset in elements which holds for all three kinds.
In a file a piece is called `main.<logical name>`, followed by its place where it is not the whole weight: any reader
of safetensors opens it.

Of our own instead of torch.distributed.checkpoint, which can write such pieces as rectangles but (torch 2.13):
plans with collectives, so an asynchronous save needs a process group of its own, and hangs with a rank that dies;
has no checksums; reads a whole stored chunk where a few columns of it are needed; does not check at load that the
chunks found cover a tensor, so a gap leaves what was there; keeps its index as a pickle, which is trusted before
anything is verified and has three entries for a piece of each kind: 76 MB at the 15B's 2,304 ranks, where index.json
has 2.1 MB, and every rank reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from gristmill.trainer.checkpoints.layout import Part, gap
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.flat_groups import Kind
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape

COMMIT, INDEX, PROGRESS = "commit.json", "index.json", "progress.json"
FILES: dict[str, tuple[Kind, ...]] = {"weights": ("main",), "moments": ("exp_avg", "exp_avg_sq")}
"""Kinds of tensor by the file that holds them: weights alone can be verified, read and archived."""
KINDS: tuple[Kind, ...] = tuple(kind for kinds in FILES.values() for kind in kinds)
VERSION = 1
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class Place:
    """One piece without its data: the flat range [start, stop) of `part` of a weight of size `full`."""

    name: str
    full: tuple[int, ...]
    part: Part
    start: int
    stop: int

    def key(self, kind: str) -> str:
        if self.stop - self.start == prod(self.full):
            return f"{kind}.{self.name}"
        at, size = (".".join(map(str, n)) for n in (self.part.at, self.part.size))
        return f"{kind}.{self.name}|{at}+{size}|{self.start}:{self.stop}"


@dataclass(frozen=True)
class Stored:
    """Where a piece is: rank `file`'s files, `offset` elements after the first of each kind."""

    file: int
    start: int
    stop: int
    offset: int


@dataclass(frozen=True)
class Index:
    """sizes and parts by logical name; begins[file][kind]: the byte a rank's first element lies at in its file."""

    sizes: dict[str, tuple[int, ...]]
    parts: dict[str, dict[Part, list[Stored]]]
    begins: list[dict[str, int]]

    @property
    def kinds(self) -> set[str]:
        """What every file has."""
        return set.intersection(*(set(begin) for begin in self.begins)) if self.begins else set()

    def missing(self, sizes: dict[str, tuple[int, ...]]) -> str | None:
        """Why this index does not hold weights of these sizes, each element once, and no others; None: it does."""
        for name, size in sizes.items():
            if name not in self.sizes:
                return f"{name} is missing"
            if self.sizes[name] != size:
                return f"{name} is held as {self.sizes[name]} where {size} is needed"
            ranges = {part: [(s.start, s.stop) for s in stored] for part, stored in self.parts[name].items()}
            if trouble := gap(size, ranges):
                return f"the pieces of {name} {trouble}"
        if extra := sorted(set(self.sizes) - set(sizes)):
            return f"{extra[0]} belongs to another model"
        return None


def step_of(path: Path) -> int:
    """Of a checkpoint's directory name; -1 for any other."""
    found = re.fullmatch(r"step-(\d+)", path.name)
    return int(found[1]) if found else -1


def step_path(directory: str | Path, step: int) -> Path:
    return Path(directory) / f"step-{step:08d}"


def committed(directory: str | Path) -> list[Path]:
    """The checkpoints in `directory`, oldest first; good ones and damaged ones."""
    found = (path for path in Path(directory).glob("step-*") if step_of(path) >= 0 and path.is_dir())
    return sorted(found, key=step_of)


def weight_sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Size of every logical weight of the model."""
    with torch.device("meta"):
        named: dict[str, Tensor] = dict(Nemotron(shape).named_parameters())
    return {name: tuple(weight.shape) for name, weight in logical_weights(named, shape).items()}


def file_name(stem: str, rank: int) -> str:
    return f"{stem}-{rank:05d}.safetensors"


def write_pieces(
    folder: Path, rank: int, places: Sequence[Place], tensors: Mapping[str, Sequence[Tensor]]
) -> dict[str, Any]:
    """Writes a rank's files, synced; tensors: per kind one CPU tensor for each place. -> what `merge` needs of it."""
    files: dict[str, Any] = {}
    begins: dict[str, int] = {}
    for stem, kinds in FILES.items():
        held = [kind for kind in kinds if kind in tensors]
        if not held:
            continue
        entries = [(p.key(kind), p, t) for kind in held for p, t in zip(places, tensors[kind], strict=True)]
        name = file_name(stem, rank)
        files[name], data = _write_safetensors(folder / name, entries)
        own = sum(p.stop - p.start for p in places) * 4
        begins |= {kind: data + i * own for i, kind in enumerate(held)}
    pieces, offset = [], 0
    for p in places:
        pieces.append([p.name, p.full, p.part.at, p.part.size, p.start, p.stop, offset])
        offset += p.stop - p.start
    return {"files": files, "begins": begins, "pieces": pieces}


def merge(ranks: Sequence[dict[str, Any]]) -> tuple[Index, dict[str, Any]]:
    """The index over the results of `write_pieces` of all ranks, and the checksums of their files."""
    index = Index({}, {}, [rank["begins"] for rank in ranks])
    for file, rank in enumerate(ranks):
        for name, full, at, size, start, stop, offset in rank["pieces"]:
            index.sizes[name] = tuple(full)
            parts = index.parts.setdefault(name, {})
            parts.setdefault(Part(tuple(at), tuple(size)), []).append(Stored(file, start, stop, offset))
    return index, {name: claimed for rank in ranks for name, claimed in rank["files"].items()}


def commit(folder: Path, index: Index, files: dict[str, Any], progress: dict[str, Any]) -> None:
    """index.json, progress.json, then commit.json over all files; each synced before the next, the folder last."""
    files = dict(files)
    for name, content in ((INDEX, _index_json(index)), (PROGRESS, json.dumps(progress, indent=1))):
        files[name] = write_text(folder / name, content + "\n")
    write_text(folder / COMMIT, _commit_text(files))
    sync(folder)


def read_commit(path: Path) -> dict[str, Any] | None:
    """{file: {"bytes", "xxh3_128"}} of a checkpoint; None where commit.json is absent or not as it was written."""
    try:
        text = (path / COMMIT).read_text("utf-8")
        files = json.loads(text)["files"]
        return files if text == _commit_text(files) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_index(path: Path) -> Index:
    content = json.loads((path / INDEX).read_text("utf-8"))
    if content["version"] != VERSION:
        raise TrainerError(
            f"{path}: has format {content['version']}, this program reads {VERSION}: read it with its own"
        )
    index = Index({}, {}, content["begins"])
    for name, weight in content["weights"].items():
        index.sizes[name] = tuple(weight["size"])
        index.parts[name] = {
            Part(tuple(part["at"]), tuple(part["size"])): [Stored(*stored) for stored in part["pieces"]]
            for part in weight["parts"]
        }
    return index


def mapped(path: Path, index: Index, kind: Kind, stored: Stored) -> np.ndarray:
    """A stored piece of one kind, fp32 [stop - start], mapped read-only: only what is touched is read."""
    stem = next(stem for stem, kinds in FILES.items() if kind in kinds)
    name = path / file_name(stem, stored.file)
    begin = index.begins[stored.file][kind] + 4 * stored.offset
    try:
        return np.memmap(name, np.dtype("<f4"), "r", begin, (stored.stop - stored.start,))
    except (OSError, ValueError) as error:
        raise TrainerError(f"{name}: cannot be read ({error}): take another checkpoint") from None


def checksum(path: Path) -> dict[str, Any]:
    digest, size = xxhash.xxh3_128(), 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "xxh3_128": digest.hexdigest()}


def write_text(path: Path, text: str) -> dict[str, Any]:
    """Writes and syncs; returns bytes and checksum."""
    content = text.encode()
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": len(content), "xxh3_128": xxhash.xxh3_128(content).hexdigest()}


def sync(path: Path) -> None:
    """fsync of a file or, for the names in it, of a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_safetensors(path: Path, entries: Sequence[tuple[str, Place, Tensor]]) -> tuple[dict[str, Any], int]:
    """fp32 tensors in this order, hashed while they are written -> (bytes and checksum, where the data begins)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, place, _ in entries:
        begin, end = end, end + (place.stop - place.start) * 4
        whole = key.endswith(place.name)
        shape = list(place.full) if whole else [place.stop - place.start]
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned for mapping
    digest, size = xxhash.xxh3_128(), 0
    with open(path, "wb") as file:
        for block in _blocks(len(text).to_bytes(8, "little") + text, (tensor for _, _, tensor in entries)):
            digest.update(block)
            file.write(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size, "xxh3_128": digest.hexdigest()}, 8 + len(text)


def _blocks(head: bytes, tensors: Iterable[Tensor]) -> Iterator[bytes | memoryview]:
    yield head
    for tensor in tensors:
        data = tensor.detach().to("cpu", torch.float32).contiguous().view(-1).numpy()
        raw = data.astype("<f4", copy=False).view(np.uint8)
        for begin in range(0, len(raw), BLOCK_BYTES):
            yield raw[begin : begin + BLOCK_BYTES].data


def _index_json(index: Index) -> str:
    weights = {
        name: {
            "size": size,
            "parts": [
                {"at": part.at, "size": part.size, "pieces": [[s.file, s.start, s.stop, s.offset] for s in stored]}
                for part, stored in index.parts[name].items()
            ],
        }
        for name, size in index.sizes.items()
    }
    return json.dumps({"version": VERSION, "begins": index.begins, "weights": weights}, separators=(",", ":"))


def _commit_text(files: dict[str, Any]) -> str:
    """Any changed bit changes the text, its own checksum, or a claim about a file."""
    own = xxhash.xxh3_128(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"files": files, "xxh3_128": own}, indent=1) + "\n"
