"""The index of benchmark grams: built once on a machine, mapped into memory by all its workers.

A folder in the machine's temporary folder, named by what it holds: the content of the benchmark files, the size of a
gram and the fields. Who comes first builds it under a lock and moves it into its place; the others wait, then map the
arrays of `kernels.text.decontaminate.Index` (about 24 bytes a gram). A folder whose arrays are not what its
`index.json` says is built again. It decides nothing about documents.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from gristmill.kernels.text.decontaminate import Index, bit_filter, directory, find
from gristmill.kernels.text.utf8 import buffers
from gristmill.kernels.text.word_grams import WORD, grams_of, letters
from gristmill.stages.benchmark_files import benchmark_texts

FORMAT = 1
"""Raised when the same benchmarks give another index."""
MAX_GRAMS = 50_000_000
"""1.2 GB in memory, some 250 million words of questions. All questions of 30 known benchmarks have 3 million."""
TEXT_BYTES = 8 << 20
"""Benchmark text that is cut into grams at once."""
PROBE_CHARACTERS = 4000
"""Of a file's first question with a gram, what is planted to see that it is found."""
CARRIER = "What stands here is of no benchmark and only carries what follows:\n"


@dataclass(frozen=True)
class Benchmarks:
    """An opened index. names: by number. counts: name -> texts, too_short, grams."""

    index: Index
    names: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    bytes: int


def open_index(paths: Sequence[str], words: int, shortest: int, fields: Sequence[str]) -> Benchmarks:
    """The index of the files, from the machine's cache or built now, with its self-test passed.

    words, shortest: a gram's and the shortest whole text's size in words. Raises ValueError for a file of no use,
    RuntimeError where a file yields no gram or a planted question is not found.
    """
    folder = cache_folder() / _digest(paths, words, shortest, fields)
    with _locked(folder.with_suffix(".lock")):
        found = _mapped(folder)
        if found is None:
            _build(folder, paths, words, shortest, fields)
            found = _mapped(folder)
    if found is None:
        raise RuntimeError(f"{folder}: cannot be read back after it was written; look for a full or failing disk")
    benchmarks, probes = found
    _test(benchmarks, probes)
    return benchmarks


def cache_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}" / "decontamination"


def _digest(paths: Sequence[str], words: int, shortest: int, fields: Sequence[str]) -> str:
    state = xxhash.xxh3_128(repr((FORMAT, unicodedata.unidata_version, words, shortest, tuple(fields))).encode())
    for path in paths:
        if not os.path.isfile(path):
            raise ValueError(f"{path}: no such file; check stages.decontaminate.benchmarks")
        content = xxhash.xxh3_128()
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                content.update(block)
        state.update(os.path.basename(path).encode() + b"\0" + content.digest())
    return state.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for whoever builds the same index; the lock goes with its process, however that ends."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mapped(folder: Path) -> tuple[Benchmarks, list[dict[str, str]]] | None:
    """None where there is no such index, or it is damaged."""
    try:
        about: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
        arrays = {name: _array(folder / f"{name}.npy") for name in about["checksums"]}
    except (OSError, EOFError, ValueError, KeyError):
        return None
    if any(_checksum(array) != about["checksums"][name] for name, array in arrays.items()):
        return None
    index = Index(**arrays, size=about["size"], shortest=about["shortest"])
    size = sum(array.nbytes for array in arrays.values())
    return Benchmarks(index, tuple(about["names"]), about["counts"], size), about["probes"]


def _array(path: Path) -> np.ndarray:
    """Mapped; of no elements there is nothing to map."""
    if path.stat().st_size <= 128:  # the header alone
        return np.asarray(np.load(path))
    return np.asarray(np.load(path, mmap_mode="r"))


def _checksum(array: np.ndarray) -> str:
    return xxhash.xxh3_64(array.data.cast("B") if array.size else b"").hexdigest()


def _build(folder: Path, paths: Sequence[str], words: int, shortest: int, fields: Sequence[str]) -> None:
    size, least = words * WORD, shortest * WORD
    parts: list[tuple[np.ndarray, ...]] = []
    numbers: dict[str, int] = {}
    counts: dict[str, dict[str, int]] = {}
    probes: list[dict[str, str]] = []
    grams = 0
    for path in paths:
        probe: dict[str, str] | None = None
        for names, texts in _batches(path, fields):
            data, offsets = buffers(pa.array(texts, pa.large_string()))
            hashes, checks, units, text, short = grams_of(data, offsets, size, least, letters())
            for name in dict.fromkeys(names):
                numbers.setdefault(name, len(numbers))
                counts.setdefault(name, {"texts": 0, "too_short": 0, "grams": 0})
            if len(numbers) > 1 << 16:
                raise ValueError(f"{path}: more than 65,536 benchmarks are named; leave out the field benchmark")
            for name, brief in zip(names, short.tolist()):
                counts[name]["texts"] += 1
                counts[name]["too_short"] += brief
            number = np.array([numbers[name] for name in names], np.uint16)
            whole = np.bincount(text, minlength=len(texts))[text] == 1  # a gram of its own may be a whole short text
            parts.append((hashes, checks, units.astype(np.uint16), number[text], whole))
            grams += len(hashes)
            if grams > MAX_GRAMS:
                raise ValueError(
                    f"{path}: more than {MAX_GRAMS:,} grams; index the questions alone (stages.decontaminate.fields) "
                    "or leave this benchmark out"
                )
            if probe is None and len(text):
                first = int(text[0])
                probe = {"file": path, "benchmark": names[first], "text": texts[first][:PROBE_CHARACTERS]}
        if probe is None:
            raise RuntimeError(
                f"{path}: yields no gram, since none of its texts has {shortest} words; name its text fields in "
                "stages.decontaminate.fields or leave it out"
            )
        probes.append(probe)
    columns = [np.concatenate(column) for column in zip(*parts)]
    order = np.lexsort((columns[3], columns[2], columns[1], columns[0]))
    hashes, checks, units, owned_by, whole = (column[order] for column in columns)
    first_of_kind = np.ones(len(hashes), np.bool_)
    first_of_kind[1:] = np.any([a[1:] != a[:-1] for a in (hashes, checks, units, owned_by)], axis=0)
    columns = [a[first_of_kind] for a in (hashes, checks, units, owned_by, whole)]
    hashes, checks, units, owned_by, whole = columns
    for name, place in numbers.items():
        counts[name]["grams"] = int((owned_by == place).sum())
    arrays = {
        "hashes": hashes,
        "checks": checks,
        "units": units,
        "benchmarks": owned_by,
        "directory": directory(hashes),
        "filter": bit_filter(hashes),
        "short_filter": bit_filter(hashes[whole]) if size > least else np.zeros(0, np.uint64),
    }
    about = {
        "size": size,
        "shortest": least,
        "names": list(numbers),
        "counts": counts,
        "probes": probes,
        "checksums": {name: _checksum(array) for name, array in arrays.items()},
    }
    _written(folder, arrays, about)


def _batches(path: str, fields: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    names: list[str] = []
    texts: list[str] = []
    size = 0
    for name, text in benchmark_texts(path, fields):
        names.append(name)
        texts.append(text.encode("utf-8", "replace").decode() if not text.isascii() else text)  # JSON may hold halves
        size += len(text)
        if size > TEXT_BYTES:
            yield names, texts
            names, texts, size = [], [], 0
    if texts:
        yield names, texts


def _written(folder: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    temporary = folder.parent / f".{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        (temporary / "index.json").write_text(json.dumps(about, ensure_ascii=False))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one; who has mapped it keeps its files
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _test(benchmarks: Benchmarks, probes: Sequence[dict[str, str]]) -> None:
    """One question of every file, between other words, must be found under its benchmark's name."""
    texts = [f"{CARRIER}{probe['text']}\n{CARRIER}" for probe in probes]
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    rows, _, _, entries = find(data, offsets, benchmarks.index, letters())
    found = {(int(row), name) for row, entry in zip(rows, entries) for name in owners(benchmarks, int(entry))}
    for row, probe in enumerate(probes):
        if (row, probe["benchmark"]) not in found:
            raise RuntimeError(
                f"{probe['file']}: a planted question of {probe['benchmark']} is not found; remove {cache_folder()} "
                "and run again"
            )


def owners(benchmarks: Benchmarks, entry: int) -> list[str]:
    """Names of the benchmarks that hold the gram of an entry which `find` gave."""
    index = benchmarks.index
    names = []
    k = entry
    while (
        k < len(index.hashes)
        and index.hashes[k] == index.hashes[entry]
        and index.checks[k] == index.checks[entry]
        and index.units[k] == index.units[entry]
    ):
        names.append(benchmarks.names[index.benchmarks[k]])
        k += 1
    return names
