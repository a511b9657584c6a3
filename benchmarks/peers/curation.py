"""Gopher's, C4's and FineWeb's filters over JSON Lines, one core: Gristmill beside datatrove, on the same file.

    python benchmarks/peers/curation.py [--data FOLDER] [--peers FOLDER]      results/curation.json, ten minutes
    python benchmarks/peers/curation.py --documents 20 --output FILE          a trial of everything, two minutes

Ours: what a run does with it in one worker, JSONL.zst in, Parquet out: the first pass (reader, line rules, signals,
documents and signals as Parquet with checksums) and the rules with their ledger. Theirs: reader, four filters, Parquet
writer, as shipped and with all word and sentence splits given (`datatrove_filters.py`). Ours reads four copies of the
file, theirs one. Seconds are those of the
processor, the best of five; compiling and imports come before. Then our kernel alone, and other languages than English.
Needs the environment of `environments.py datatrove`. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import zstandard

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).parent)]

import environments  # noqa: E402
from machine import described  # noqa: E402

from gristmill.kernels.text import signals, utf8  # noqa: E402
from gristmill.pipeline.engine.engine import Engine, Inline, Silent  # noqa: E402
from gristmill.pipeline.readers.inventory import inventory  # noqa: E402
from gristmill.pipeline.readers.segments import partitions  # noqa: E402
from gristmill.pipeline.readers.source import SourceSpec  # noqa: E402
from gristmill.pipeline.steps.first_pass import first_pass  # noqa: E402
from gristmill.pipeline.steps.selection import Corpus, select  # noqa: E402
from gristmill.stages.lines import Lines  # noqa: E402
from gristmill.stages.rules import Rules  # noqa: E402
from gristmill.stages.signals import Signals, with_columns  # noqa: E402
from gristmill.storage.store import Store  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "curation.json"
ENGLISH = ("academic-plos", "books-standard-ebooks", "news-digitalgov", "us-speeches")
OTHERS = {
    "de": ("opensource-guide", "debian-handbook", "gnome-user-docs"),
    "ru": ("opensource-guide", "debian-handbook", "gnome-user-docs"),
    "zh": ("wikipedia-zh",),
    "ja": ("opensource-guide", "debian-handbook"),
    "ar": ("debian-handbook", "tico19", "bible-cc0"),
    "hi": ("tico19", "opensource-guide", "wikipedia-ml"),
    "th": ("tico19", "libreoffice-help", "wikipedia-ml"),
}
PRESETS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
TIMES = 5
COPIES = 4
COLUMNS = {"timestamp": "date"}


@dataclass(frozen=True)
class Known:
    """In the place of language identification, which the peer's chain has not either."""

    language: str

    name: ClassVar[str] = "known"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ()
    adds: ClassVar[tuple[str, ...]] = ("language", "domain")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        domain = "english" if self.language == "en" else "multilingual"
        columns = {"language": self.language, "domain": domain}
        return with_columns(batch, {k: pa.repeat(pa.scalar(v), batch.num_rows) for k, v in columns.items()})


def ours(path: Path, language: str) -> dict[str, float]:
    """Over COPIES of the file, since a run's fixed costs would be a tenth of the time of one."""
    spec = SourceSpec("documents", f"{path.parent}/{path.name.removesuffix('.jsonl.zst')}*.jsonl.zst", columns=COLUMNS)
    stages = [Known(language), Lines(presets=("c4",)), Signals()]
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Store(folder), Inline(), Silent(), False, lambda: None)
        files = inventory([spec])
        began = time.process_time()
        read = first_pass(
            engine, [spec], files, partitions(files, 10**9), stages, seed=1, max_document_bytes=64_000_000
        )
        chosen = select(engine, Corpus(read), Rules(presets=PRESETS), 1)
        seconds = time.process_time() - began
        counts = read.counts()["read"]
        kept = chosen.last().counts()["rules"].kept
    return {"seconds": seconds, "bytes": counts.bytes_in, "documents": counts.documents_in, "kept": kept}


def kernel(path: Path) -> float:
    """MB/s of the signals' kernel alone."""
    texts = [json.loads(line)["text"] for line in zstandard.open(path, "rt", encoding="utf-8")]
    data, offsets = utf8.buffers(pa.array(texts, pa.large_string()))
    best = float("inf")
    for _ in range(TIMES + 1):
        began = time.process_time()
        signals.count(data, offsets)
        best = min(best, time.process_time() - began)
    return len(data) / 1e6 / best


def write(path: Path, data: Path, language: str, most: int | None) -> int:
    """The documents of a language, at most `most` of a file; their bytes of text."""
    names = [f"english/{n}" for n in ENGLISH] if language == "en" else [f"multilingual/{n}" for n in OTHERS[language]]
    size = 0
    with zstandard.open(path, "wt", encoding="utf-8") as out:
        for name in names:
            taken = 0
            for line in zstandard.open(data / f"{name}.jsonl.zst", "rt", encoding="utf-8"):
                if taken == most:
                    break
                record = json.loads(line)
                if language == "en" or str(record.get("lang", "")).split("-")[0].split("_")[0] == language:
                    size += len(record["text"].encode())
                    out.write(line)
                    taken += 1
    for copy in range(1, COPIES):
        path.with_name(f"{path.name.removesuffix('.jsonl.zst')}-{copy}.jsonl.zst").write_bytes(path.read_bytes())
    return size


def best(run: Any) -> dict[str, float]:
    run()
    found: dict[str, float] = min((run() for _ in range(TIMES)), key=lambda result: result["seconds"])
    return {**found, "mb_per_second": found["bytes"] / 1e6 / found["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peers", type=Path, default=environments.FOLDER)
    parser.add_argument("--documents", type=int, help="of each file of the data at most; all by default")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    environments.FOLDER = options.peers
    environments.check("datatrove")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "english.jsonl.zst"
        write(path, options.data, "en", options.documents)
        mine = best(lambda: ours(path, "en"))
        alone = kernel(path)
        command = [environments.python("datatrove"), str(Path(__file__).parent / "datatrove_filters.py")]
        done = subprocess.run([*command, str(path), f"{folder}/theirs"], stdout=subprocess.PIPE, text=True, check=True)
        theirs = json.loads(done.stdout.splitlines()[-1])
        others = {}
        for language in OTHERS:
            other = Path(folder) / f"{language}.jsonl.zst"
            if write(other, options.data, language, options.documents):
                result = best(lambda other=other, language=language: ours(other, language))
                others[language] = {**result, "kernel_mb_per_second": kernel(other)}
    for each in theirs.values():
        each["mb_per_second"] = each["bytes"] / 1e6 / each["seconds"]
    result = {
        "claim": "40 MB/s a core, 100 times datatrove as shipped, 20 times its filters with words given",
        **described(),
        "peer_versions": environments.versions("datatrove", "datatrove", "spacy"),
        "english": {"ours": mine, "kernel_mb_per_second": alone, "datatrove": theirs},
        "over_datatrove_as_shipped": mine["mb_per_second"] / theirs["shipped"]["mb_per_second"],
        "over_datatrove_with_splits_given": mine["mb_per_second"] / theirs["given"]["mb_per_second"],
        "other_languages": others,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
