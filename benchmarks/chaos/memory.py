"""Memory of every process of a run, against `runtime.memory_per_worker` of 500 MB.

    tenfold     1 GB of documents, ten times what the demo reads, in the demo's partitions of 8 MB
    one         1 GB of documents in a single partition
    warm        before the others: a small run, so that the kernels are compiled. A worker that compiles them, which
                happens once a machine and version, takes up to 150 MB more
    driver      100,000 and 1,000,000 short documents: what the driver holds must not follow

Real documents, their paragraphs in another order in every pass over the data. The whole pipeline runs on a local Ray
with two workers; the peak resident set of every process (VmHWM, shared libraries included) is read ten times a second.

    python benchmarks/chaos/memory.py [--data ../shared/data] [--cases tenfold one driver] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
import zstandard

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results" / "memory.json"
LIMIT = 500_000_000
SAMPLE_BYTES = 4_000_000  # of the tokenizer: SentencePiece takes about 13 bytes for each


def documents(data: Path) -> Iterator[str]:
    """Texts without end; from the second pass on with their lines in another order."""
    names = [*sorted((data / "english").glob("*.jsonl.zst")), *sorted((data / "multilingual").glob("*.jsonl.zst"))]
    paths = [*names, data / "code" / "code-permissive.jsonl.zst"]
    rng = random.Random(1)
    shuffled = False
    while True:
        for path in paths:
            with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                for line in io.TextIOWrapper(stream, encoding="utf-8"):
                    parts = json.loads(line)["text"].split("\n")
                    if shuffled:
                        rng.shuffle(parts)
                    yield "\n".join(parts)
        shuffled = True


def write(folder: Path, data: Path, *, size: int | None, count: int | None, files: int, longest: int | None) -> int:
    """JSONL of `size` bytes or `count` documents (cut at `longest` characters) in so many files; returns its bytes."""
    folder.mkdir(parents=True)
    opened = [(folder / f"part-{i:03d}.jsonl").open("w", encoding="utf-8") for i in range(files)]
    written = 0
    for number, text in enumerate(documents(data)):
        if number == count or (size is not None and written >= size):
            break
        text = text if longest is None else f"{number} {text}"[:longest]
        line = json.dumps({"id": str(number), "text": text}, ensure_ascii=False) + "\n"
        opened[number % files].write(line)
        written += len(line.encode())
    for file in opened:
        file.close()
    return written


def configuration(folder: Path, model: Path, partition_bytes: int) -> Path:
    config = {
        "output": str(folder / "out"),
        "sources": [{"name": "documents", "uri": str(folder / "input" / "*.jsonl"), "columns": {"id": "id"}}],
        "stages": [{"language": {"model": str(model)}}, {"rules": {}}, {"exact_dedup": {}}, {"near_dedup": {}}],
        "tokenizer": {"vocab_size": 16_384, "sample_bytes": SAMPLE_BYTES},
        "blends": {
            "pretrain": {
                "domains": {"english": 0.85, "multilingual": 0.15},
                "tokens": "max",
                "max_epochs": 4,
                "on_shortage": "renormalize",
            }
        },
        "shards": {"tokens_per_shard": 100_000_000, "holdout": 0.01},
        "plan": {"partition_bytes": partition_bytes},
        "runtime": {"memory_per_worker": LIMIT, "workers": 2},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def peak(pid: int) -> tuple[int, str]:
    """(VmHWM in bytes, command line) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    size = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    return size, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def watched(config: Path) -> dict[str, Any]:
    """Runs the pipeline; the peaks of the driver and of the workers, with what ran when they were reached."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    started = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "run", str(config)]
    driver = subprocess.Popen(command, env=environment, cwd=config.parent, stdout=subprocess.DEVNULL)
    peaks: dict[int, tuple[int, str]] = {}
    tasks: dict[str, int] = {}
    driver_peak = 0
    while driver.poll() is None:
        try:
            driver_peak = max(driver_peak, peak(driver.pid)[0])
        except (OSError, StopIteration):
            continue  # it ended in between
        for child in descendants(driver.pid):
            with suppress(OSError, StopIteration):
                size, name = peak(child)
                if name.startswith("ray::") and size > peaks.get(child, (0, ""))[0]:
                    peaks[child] = (size, name)
                    tasks[name] = max(tasks.get(name, 0), size)
        time.sleep(0.1)
    record = json.loads((config.parent / "out" / "run.json").read_text()) if driver.returncode == 0 else {}
    return {
        "exit_code": driver.returncode,
        "seconds": round(time.monotonic() - started, 1),
        "driver_peak_bytes": driver_peak,
        "worker_peak_bytes": max((size for size, _ in peaks.values()), default=0),
        "workers": len(peaks),
        "highest_by_task": dict(sorted(tasks.items(), key=lambda item: -item[1])[:12]),
        "documents": record["funnel"][0]["documents_in"] if record else None,
        "partitions": next((s["tasks"] for s in record["steps"] if s["name"] == "read"), None) if record else None,
        "tasks": sum(step["tasks"] for step in record["steps"]) if record else None,
        "summary": record.get("summary"),
    }


CASES: dict[str, list[dict[str, Any]]] = {
    "warm": [{"size": 3_000_000, "count": None, "files": 2, "longest": None, "partition_bytes": 1_000_000}],
    "tenfold": [{"size": 1_000_000_000, "count": None, "files": 40, "longest": None, "partition_bytes": 8_000_000}],
    "one": [{"size": 1_000_000_000, "count": None, "files": 1, "longest": None, "partition_bytes": 1_100_000_000}],
    "driver": [
        {"size": None, "count": count, "files": 1, "longest": 300, "partition_bytes": 2_000_000}
        for count in (100_000, 1_000_000)
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    results = json.loads(RESULT.read_text())["cases"] if RESULT.exists() else {}
    for name in dict.fromkeys(["warm", *arguments.cases]):
        results[name] = []
        for case in CASES[name]:
            with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
                place = Path(folder)
                given = {key: value for key, value in case.items() if key != "partition_bytes"}
                size = write(place / "input", arguments.data, **given)
                config = configuration(place, arguments.data / "models" / "lid.176.ftz", case["partition_bytes"])
                outcome = {"input_bytes": size, "partition_bytes": case["partition_bytes"], **watched(config)}
            print(name, json.dumps(outcome, indent=1, ensure_ascii=False), flush=True)
            results[name].append(outcome)
    facts = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("ray", "pyarrow", "numba", "sentencepiece", "fasttext")},
        "memory_per_worker": LIMIT,
        "cases": results,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
