"""Golden bytes: every stage over real text, and checksums of all that is published.

    python benchmarks/golden.py DATA --write benchmarks/results/golden.json
    python benchmarks/golden.py DATA --compare benchmarks/results/golden.json

Use it to show that a change of the code leaves the output as it was. First it trains language models and a quality
model. Then it runs the pipeline four times: two partition sizes, each in one process and with two Ray workers. The
number of workers must not change a byte, so the script fails if the two runs of one partition size differ. Partition
sizes do change bytes, so each has its own checksums.

The script only uses the command line of the checkout that `--checkout` names. That way one environment can run an old
and a new commit. DATA is the folder of real text (`../shared/data`). The inputs are every n-th record or page of it,
so they are the same each time. `golden.yaml` is the configuration.

Not covered, because the data has none: EPUB, JATS, LaTeX and Stack Exchange. `machine:` is left out, since it differs
from one machine to the next.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import zstandard
from machine import described

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = Path(__file__).with_suffix(".yaml")
FOLDERS = ("curated", "signals", "ledger", "tokenizer", "shards", "manifests")
PARTITION_BYTES = (1_000_000, 4_000_000)
WAYS = {"inline": ["--inline"], "two workers": ["--workers", "2"]}
SHOWN = 5
"""How many differing files are named for each folder."""

LISTS = {
    "domains.txt": "# hosts and the beginnings of two addresses\nsoldaini.net\n0.0.0.0 kyleclo.com\n"
    "iana.org/numbers\ncommoncrawl.org/faq\n",
    "words.txt": "ccbot\n",
    "subwords.txt": "topicmodeling\n",
    "soft_words.txt": "data\ncrash\nmission\n",
    "allow.txt": "commoncrawl.org/faq\n",
    "bad_words/en.txt": "murder\nbloody\nguilty pleasure\n",
    "bad_words/de.txt": "mord\nverdammt\n",
    "bad_words/zh": "谋杀\n殺人\n",
}
"""Lists for `urls` and `bad_words`. Their words are ordinary ones that a few documents of the data contain."""

DAMAGED = (
    b'{"id": "a", "text": "The first of two records with one id. It is the one that stays, for it stands first."}\n'
    b'{"id": "a", "text": "The second record with this id has another text. It goes to quarantine."}\n'
    b'{"id": "b", "text": "A record that ends too early\n'
    b'{"id": "c", "text": "NUL \\u0000 stays, and bytes that are no UTF-8 do not: \xff\xfe"}\n'
    b"no JSON at all\n\n[1, 2]\n"
    b'{"id": "d", "text": null}\n{"id": "e"}\n{"id": "f", "text": ""}\n'
)
"""A source with faults: a repeated id, broken JSON, bytes that are not UTF-8, records without text."""


def lines(path: Path, every: int, first: int = 0) -> list[bytes]:
    """Lines first, first + every, ... of a .jsonl.zst file, line ends included."""
    with zstandard.open(path, "rb") as file:
        return file.read().splitlines(keepends=True)[first::every]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def pages(path: Path, every: int) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every n-th file of a .tar.zst file, in the order of names."""
    with zstandard.open(path, "rb") as file, tarfile.open(fileobj=io.BytesIO(file.read())) as archive:
        for member in sorted(filter(tarfile.TarInfo.isfile, archive), key=lambda member: member.name)[::every]:
            yield member.name, archive.extractfile(member).read()  # type: ignore[union-attr]


def tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """An uncompressed archive. Its bytes depend only on names and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_inputs(data: Path, work: Path) -> None:
    """Writes below input/ what `golden.yaml` reads, the text that models are trained on, and the lists.

    Models are trained on records that the sources do not take.
    """
    english, code = data / "english", data / "code" / "code-permissive.jsonl.zst"
    folder = work / "input"
    training = folder / "training"
    encyclopedia = english / "encyclopedia-wikipedia-en.jsonl.zst"
    write(folder / "encyclopedia.jsonl", b"".join(lines(encyclopedia, 15)))
    records = [json.loads(line) for line in lines(english / "academic-plos.jsonl.zst", 4)]
    pq.write_table(pa.Table.from_pylist(records), folder / "academic.parquet", row_group_size=7)
    for number, line in enumerate(lines(english / "books-standard-ebooks.jsonl.zst", 3)):
        write(folder / "books" / f"chapter-{number:02d}.txt", json.loads(line)["text"].encode())
    write(folder / "news.jsonl.gz", gzip.compress(b"".join(lines(english / "news-digitalgov.jsonl.zst", 6)), mtime=0))
    write(folder / "speeches.jsonl.bz2", bz2.compress(b"".join(lines(english / "us-speeches.jsonl.zst", 3))))
    compressor = zstandard.ZstdCompressor()
    for path in sorted((data / "multilingual").glob("*.jsonl.zst")):
        write(folder / "multilingual" / path.name, compressor.compress(b"".join(lines(path, 15))))
    questions = data / "labelled" / "decontam-benchmarks.jsonl.zst"
    write(folder / "questions.jsonl.xz", lzma.compress(b"".join(lines(questions, 97))))
    write(folder / "code.jsonl", b"".join(lines(code, 8)))
    for line in lines(code, 40, 1):
        record = json.loads(line)
        repository = record["source"].replace("/", "-").replace(" ", "-")
        write(folder / "tree" / repository / record["path"].lstrip("/"), record["text"].encode())
    web = data / "web"
    for name, content in pages(web / "html-debian-handbook.tar.zst", 80):
        write(folder / "handbook" / name, content)
    write(folder / "pages.tar", tar(pages(web / "html-trafilatura-eval.tar.zst", 25)))
    write(folder / "readability.tar.gz", gzip.compress(tar(pages(web / "html-readability.tar.zst", 5)), mtime=0))
    write(folder / "damaged" / "records.jsonl", DAMAGED)
    cut = gzip.compress(b"".join(lines(english / "us-speeches.jsonl.zst", 40, 1)), mtime=0)
    write(folder / "damaged" / "cut.jsonl.gz", cut[: len(cut) * 2 // 3])

    write(training / "en.jsonl", b"".join(lines(encyclopedia, 15, 1)))
    write(training / "other.jsonl", b"".join(lines(data / "multilingual" / "debian-handbook.jsonl.zst", 5, 1)))
    write(training / "bad.jsonl", b"".join(lines(data / "multilingual" / "gnome-user-docs.jsonl.zst", 9, 1)))
    for name, text in LISTS.items():
        write(folder / "lists" / name, text.encode())


class Checkout:
    """Runs commands of the checkout in `folder`, even if this environment has another one installed."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        """temporary: the pipeline's temporary folder. It caches indexes there, which two commits must not share."""
        self.folder = folder.resolve()
        temporary.mkdir(parents=True, exist_ok=True)
        self.environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        self.environment |= {"PYTHONPATH": str(self.folder), "OMP_WAIT_POLICY": "passive", "TMPDIR": str(temporary)}
        module = "gristmill.pipeline.cli" if (self.folder / "gristmill").is_dir() else "pipeline.cli"
        file = self.python("-c", f"import {module} as cli; print(cli.__file__)").strip()
        if not Path(file).is_relative_to(self.folder):
            raise SystemExit(f"golden: {file} would be run, which is not in {self.folder}")

    def python(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"golden: {' '.join(command)} failed in {self.folder}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def commit(self) -> str:
        command = ["git", "-C", str(self.folder), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def train(self, work: Path) -> None:
        training, models = work / "input" / "training", work / "models"
        texts = ["--text", str(training / "en.jsonl"), "--text", str(training / "other.jsonl")]
        options = ["--columns", "language=lang", "--languages", "en,de,ru,zh", "--pieces", "4000", "--inline"]
        options += ["--max-bytes", "1000000", "--arpa", "gz", "--output", str(models / "lm")]
        self.python("-m", "pipeline", "lm", "train", *texts, *options)
        sides = ["--good", str(training / "en.jsonl"), "--bad", str(training / "bad.jsonl")]
        sizes = ["--documents", "1500", "--epochs", "3", "--dimensions", "16", "--buckets", "20000"]
        sizes += ["--output", str(models / "quality" / "quality.bin")]
        self.python("-m", "pipeline", "quality", "train", *sides, *sizes)

    def run(self, configuration: Path, output: Path, partition_bytes: int, way: list[str]) -> float:
        """Runs the pipeline; returns the seconds it took."""
        began = time.monotonic()
        options = ["--output", str(output), "--set", f"plan.partition_bytes={partition_bytes}", *way]
        self.python("-m", "pipeline", "run", str(configuration), *options)
        return time.monotonic() - began


def digests(folder: Path) -> dict[str, Any]:
    """Number of files, bytes, one digest of all, and the first 16 digits of each file's SHA-256 by its path."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    sums = {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}
    whole = hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in sums.items()).encode()).hexdigest()
    size = sum(path.stat().st_size for path in files.values())
    return {"files": len(files), "bytes": size, "sha256": whole, "each": {name: sums[name][:16] for name in sums}}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Compares results of `digests` by folder. Returns one line for each folder that differs."""
    said = []
    for folder in sorted({*first, *second}):
        a, b = (side.get(folder, {"sha256": None, "each": {}}) for side in (first, second))
        if a["sha256"] == b["sha256"]:
            continue
        names = sorted(name for name in {*a["each"], *b["each"]} if a["each"].get(name) != b["each"].get(name))
        marks = ["missing" if name not in b["each"] else "new" if name not in a["each"] else "other" for name in names]
        shown = ", ".join(f"{name} ({mark})" for name, mark in list(zip(names, marks, strict=True))[:SHOWN])
        said.append(f"{folder}: {len(names)} files differ: {shown}{', ...' if len(names) > SHOWN else ''}")
    return said


def exercised(output: Path) -> dict[str, Any]:
    """What the run had to do, from its accounting and its ledger.

    steps: documents and bytes by step and stage. reasons: documents by action and reason. rules: how many documents
    fail each rule, whether or not it is the first that they fail.
    """
    counts = pq.read_table(output / "manifests" / "counts.parquet")
    steps: dict[str, dict[str, int]] = {}
    for row in counts.to_pylist():
        step = steps.setdefault(f"{row['step']}/{row['stage']}", {})
        for name in ("documents_in", "kept", "merged", "dropped", "quarantined", "bytes_in", "bytes_kept"):
            step[name] = step.get(name, 0) + (row.get(name) or 0)
    columns = ["action", "rule", "failed"]
    table = ds.dataset(output / "ledger", partitioning="hive").to_table(columns=columns)
    reasons = table.group_by(["action", "rule"]).aggregate([([], "count_all")]).sort_by("rule").to_pylist()
    rules = pq.read_table(output / "manifests" / "rules.parquet").column("rule").to_pylist()
    failed = [0] * len(rules)
    for mask in pc.drop_null(table.column("failed")).to_pylist():
        for index in range(len(rules)):
            failed[index] += mask[index // 8] >> index % 8 & 1
    return {
        "steps": steps,
        "reasons": {f"{row['action']} {row['rule']}": row["count_all"] for row in reasons},
        "rules": dict(zip(rules, failed, strict=True)),
    }


def measured(data: Path, checkout: Checkout, work: Path) -> dict[str, Any]:
    """Writes the inputs, trains the models, runs the pipeline four times. SystemExit if workers change the output."""
    write_inputs(data, work)
    text = CONFIGURATION.read_text().replace("DATA/", f"{data}/").replace("WORK/", f"{work}/")
    write(work / "golden.yaml", text.encode())
    began = time.monotonic()
    checkout.train(work)
    print(f"models: {time.monotonic() - began:.0f} s", flush=True)
    seconds: dict[str, float] = {}
    outputs: dict[str, Any] = {"models": {name: digests(work / "models" / name) for name in ("lm", "quality")}}
    for partition_bytes in PARTITION_BYTES:
        runs = []
        for way, arguments in WAYS.items():
            name = f"{partition_bytes} bytes, {way}"
            output = work / f"out-{partition_bytes}-{way.replace(' ', '-')}"
            seconds[name] = round(checkout.run(work / "golden.yaml", output, partition_bytes, arguments), 1)
            print(f"partitions of {name}: {seconds[name]} s", flush=True)
            runs.append({folder: digests(output / folder) for folder in FOLDERS})
        if said := differences(*runs):
            head = f"golden: {' and '.join(WAYS)} differ with partitions of {partition_bytes} bytes"
            raise SystemExit("\n".join([f"{head}; run again with --work to keep the outputs:", *said]))
        outputs[f"partitions of {partition_bytes} bytes"] = runs[0]
    inputs = digests(work / "input")
    return {
        **described("ray", "sentencepiece", "zstandard", "xxhash", "resiliparse"),
        "commit": checkout.commit(),
        "configuration": hashlib.sha256(CONFIGURATION.read_bytes()).hexdigest(),
        "inputs": {name: inputs[name] for name in ("files", "bytes", "sha256")},
        "seconds": seconds,
        "exercised": exercised(output),
        "outputs": outputs,
    }


def compared(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Prints what is the same and what differs. Returns the exit code."""
    for name in ("configuration", "inputs", "versions"):
        if before[name] != now[name]:
            print(f"{name} are not the same, so outputs may differ for that reason: {before[name]} and {now[name]}")
    code = 0
    for run in sorted({*before["outputs"], *now["outputs"]}):
        first, second = before["outputs"].get(run, {}), now["outputs"].get(run, {})
        said = differences(first, second)
        same = [name for name in second if first.get(name, {}).get("sha256") == second[name]["sha256"]]
        print("\n".join([f"{run}:", *(f"  {name}: same" for name in same), *(f"  {line}" for line in said)]))
        code |= bool(said)
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of real text")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose pipeline to run; default: this script's")
    parser.add_argument("--work", type=Path, help="an empty folder for inputs and outputs; default: a temporary one")
    parser.add_argument("--write", type=Path, help="where to write the result")
    parser.add_argument("--compare", type=Path, help="an earlier result to compare with; exit code 1 where they differ")
    options = parser.parse_args()
    if options.work and options.work.exists() and any(options.work.iterdir()):
        parser.error(f"--work {options.work} is not empty")
    with tempfile.TemporaryDirectory(prefix="golden-", ignore_cleanup_errors=True) as temporary:
        work = (options.work or Path(temporary) / "work").resolve()
        checkout = Checkout(options.checkout, Path(temporary) / "tmp")
        result = measured(options.data.resolve(), checkout, work)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.compare:
        sys.exit(compared(json.loads(options.compare.read_text()), result))


if __name__ == "__main__":
    main()
