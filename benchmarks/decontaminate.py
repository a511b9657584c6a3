"""Decontamination measured: speed per core, the index, recall of planted questions, what is found in clean text.

    python benchmarks/decontaminate.py          benchmarks/results/decontaminate.json, two minutes

Needs benchmark questions and documents: GRISTMILL_TEST_DATA, or ../shared/data. Claims: 50 MB/s a core; every planted
question that is long enough is found, as it is and with other case, punctuation and spacing; the index of 53,000
records takes under 100 MB. What is found in text that nobody planted anything in is listed by benchmark: it is either
a copy (Wikipedia under BoolQ) or a false alarm, and the longest matches are there to judge.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from gristmill.kernels.text.decontaminate import find  # noqa: E402
from gristmill.kernels.text.utf8 import buffers  # noqa: E402
from gristmill.kernels.text.word_grams import WORD, letters, next_unit  # noqa: E402
from gristmill.pipeline.steps.chain import library_versions  # noqa: E402
from gristmill.stages.benchmark_files import benchmark_texts  # noqa: E402
from gristmill.stages.decontaminate import SHORTEST_WORDS, Decontaminate, shares_of  # noqa: E402
from gristmill.stages.decontamination_index import cache_folder, open_index, owners  # noqa: E402

DATA = Path(os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = Path(__file__).parent / "results" / "decontaminate.json"
PLANTED = 2000
SPEED_BYTES = 40_000_000
REPEATS = 5
WORDS = 13
CLAIMED_MB_S, CLAIMED_INDEX = 50, 100_000_000


def main() -> None:
    files = tuple(str(path) for path in sorted((DATA / "labelled").glob("decontam-*.jsonl.zst")))
    if not files:
        sys.exit(f"no benchmark questions under {DATA}: set GRISTMILL_TEST_DATA")
    with tempfile.TemporaryDirectory(prefix="gristmill-decontaminate-") as folder:
        tempfile.tempdir = folder  # the machine's own index stays
        measure(files)


def measure(files: tuple[str, ...]) -> None:
    Decontaminate(benchmarks=files).apply(batch(["compiles the kernels"]))
    shutil.rmtree(cache_folder())
    begun = time.process_time()
    opened = open_index(files, WORDS, SHORTEST_WORDS, ())
    built = time.process_time()
    open_index(files, WORDS, SHORTEST_WORDS, ())
    reopened = time.process_time()
    documents = texts_of(sorted((DATA / "english").glob("*.jsonl.zst")), SPEED_BYTES)
    other = texts_of(sorted((DATA / "multilingual").glob("wikipedia*.jsonl.zst")), SPEED_BYTES // 2)
    code = texts_of(sorted((DATA / "code").glob("*.jsonl.zst")), SPEED_BYTES // 2)
    result = {
        "claims": {
            "mb_per_second_and_core": CLAIMED_MB_S,
            "planted_questions_found": 1.0,
            "index_bytes": CLAIMED_INDEX,
        },
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "date": datetime.date.today().isoformat(),
        "versions": library_versions(),
        "load": os.getloadavg()[0],
        "index": {
            "files": [Path(path).name for path in files],
            "texts": sum(counts["texts"] for counts in opened.counts.values()),
            "too_short": sum(counts["too_short"] for counts in opened.counts.values()),
            "grams": len(opened.index.hashes),
            "bytes": opened.bytes,
            "built_cpu_s": built - begun,
            "opened_again_cpu_s": reopened - built,
            "benchmarks": opened.counts,
        },
        "speed": {
            name: speed(texts, opened) for name, texts in (("english", documents), ("other", other), ("code", code))
        },
        "recall": recall(files, documents),
        "unplanted": {
            name: unplanted(texts, opened) for name, texts in (("english", documents), ("other", other), ("code", code))
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result)


def texts_of(paths: list[Path], size: int) -> list[str]:
    """Texts of the files in turn, an equal share of `size` bytes from each."""
    found: list[str] = []
    for path in paths:
        left = size // max(1, len(paths))
        with path.open("rb") as file:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
                text = json.loads(line)["text"]
                if not text:
                    continue
                found.append(text)
                left -= len(text.encode())
                if left < 0:
                    break
    return found


def batch(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


def speed(texts: list[str], opened: Any) -> dict[str, float]:
    """MB of text per second of CPU time, the best of some: other programs run here too."""
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        find(data, offsets, opened.index, letters())
        seconds.append(time.process_time() - begun)
    size = len(data) / 1e6
    return {"megabytes": size, "mb_per_second": size / min(seconds), "slowest_mb_per_second": size / max(seconds)}


def weight(text: str) -> int:
    """Quarters of words."""
    data, offsets = buffers(pa.array([text], pa.large_string()))
    total, place, found = 0, 0, 1
    while found:
        _, _, place, found = next_unit(data, place, offsets[1], *letters(), _BASIS, _BASIS)
        total += found
    return int(total)


_BASIS = np.uint64(1)

CHANGES = {
    "as it is": lambda text, draw: text,
    "upper case": lambda text, draw: text.upper(),
    "one word a line": lambda text, draw: "\n".join(text.split()),
    "other punctuation": lambda text, draw: "".join(
        draw.choice(";!:\u2014\u2026") if c in ",.?!;:" and not inside_number(text, i) else c
        for i, c in enumerate(text)
    ),
    "no punctuation": lambda text, draw: "".join(
        " " if c in ',.?!;:"()' and not inside_number(text, i) else c for i, c in enumerate(text)
    ),
}


def inside_number(text: str, i: int) -> bool:
    return 0 < i < len(text) - 1 and text[i - 1].isdigit() and text[i + 1].isdigit()


def recall(files: tuple[str, ...], documents: list[str]) -> dict[str, Any]:
    """Questions between the halves of real documents, as they are and changed; by the stage as it runs."""
    draw = random.Random(1)
    questions = [(name, text) for path in files for name, text in benchmark_texts(path) if len(text) > 20]
    chosen: list[tuple[str, str]] = []
    for name, text in draw.sample(questions, len(questions)):
        if weight(text) >= SHORTEST_WORDS * WORD:
            chosen.append((name, text.strip()))
            if len(chosen) == PLANTED:
                break
    stage = Decontaminate(benchmarks=files, action="drop")
    clean = stage.apply(batch(documents)).column("contaminated").to_pylist()
    carriers = [text for text, grams in zip(documents, clean) if grams == 0 and len(text) > 1000]
    out: dict[str, Any] = {"planted": len(chosen)}
    for change, apply in CHANGES.items():
        planted = []
        for _, text in chosen:
            carrier = draw.choice(carriers)
            planted.append(f"{carrier[:500]}\n{apply(text, draw)}\n{carrier[500:1000]}")
        described = stage.apply(batch(planted)).column("contaminated_by").to_pylist()
        missed = [name for (name, _), found in zip(chosen, described) if name not in dict(shares_of(found))]
        out[change] = {"found": len(chosen) - len(missed), "missed": dict(Counter(missed))}
    return out


def unplanted(texts: list[str], opened: Any) -> dict[str, Any]:
    """What is found in text as it was crawled: documents by benchmark, and the most frequent matches."""
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    rows, starts, ends, entries = find(data, offsets, opened.index, letters())
    documents = Counter(
        name for _, name in {(row, name) for row, e in zip(rows, entries) for name in owners(opened, int(e))}
    )
    matches = Counter(bytes(data[a:b]).decode("utf-8", "replace") for a, b in zip(starts, ends))
    return {
        "documents": len(texts),
        "documents_found": len(set(rows.tolist())),
        "grams": len(rows),
        "by_benchmark": dict(documents.most_common()),
        "most_frequent": [{"gram": gram, "times": times} for gram, times in matches.most_common(12)],
    }


def show(result: dict[str, Any]) -> None:
    index = result["index"]
    print(
        f"index: {index['grams']:,} grams, {index['bytes'] / 1e6:.0f} MB, built in {index['built_cpu_s']:.1f} s of CPU"
    )
    for name, found in result["speed"].items():
        print(f"{name}: {found['mb_per_second']:.0f} MB/s a core over {found['megabytes']:.0f} MB")
    for change in CHANGES:
        print(f"{change}: {result['recall'][change]['found']:,} of {result['recall']['planted']:,} planted found")
    for name, found in result["unplanted"].items():
        print(f"{name}, nothing planted: {found['documents_found']:,} of {found['documents']:,} documents")
        print("   ", ", ".join(f"{k} {v}" for k, v in found["by_benchmark"].items()) or "nothing")


if __name__ == "__main__":
    main()
