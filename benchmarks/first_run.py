"""From a folder of one's own to shards: `gristmill init`, then `gristmill run`, as a newcomer would, on two cores.

    python benchmarks/first_run.py [--megabytes 100] [--formats jsonl,parquet,csv,warc,repositories] [--data FOLDER]

100 MB of text each as JSON Lines, Parquet, CSV, WARC (.warc.gz of pages as crawled) and folders of source code: real
text (GRISTMILL_TEST_DATA, or ../shared/data), each document twice, the second time with an edit, so that half survives
de-duplication. Each format has processes, a cache and a work folder of its own: kernels are compiled there for the
first time, and the tokenizer is trained. The language model is there already, as after `gristmill fetch`. Claim: shards
within ten minutes. Where all formats ran at 100 MB results/first_run.json is written; else the figures are printed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from machine import described  # noqa: E402

MEGABYTES = 100
CORES = 2
CLAIM_S = 600
FILE_BYTES = 25_000_000  # of text in one file, so that a format has several
PROSE = ("english/*.jsonl.zst", "multilingual/*.jsonl.zst")
CODE = "code/code-permissive.jsonl.zst"
PAGES = "web/html-*.tar.zst"
RESULT = ROOT / "benchmarks" / "results" / "first_run.json"

Document = dict[str, Any]


def records(path: Path) -> Iterator[Document]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def prose(data: Path) -> Iterator[Document]:
    """All collections in turn, a document of each."""
    pools = [records(path) for pattern in PROSE for path in sorted(data.glob(pattern))]
    while pools:
        for pool in list(pools):
            record = next(pool, None)
            if record is None:
                pools.remove(pool)
            elif len(record["text"]) > 200:
                yield {
                    "doc_id": record["id"],
                    "body": record["text"],
                    "link": record.get("url") or f"https://example.org/{record['id']}",
                    "published": record.get("date") or "2021-05-04",
                    "lang": record["lang"],
                }


def sources(data: Path) -> Iterator[Document]:
    for record in records(data / CODE):
        place = re.sub(r"[^\w./+-]", "_", record.get("path") or f"{record['id']}.txt").strip("/")
        yield {"body": record["text"], "link": place, "doc_id": record["id"]}


def pages(data: Path) -> Iterator[Document]:
    for path in sorted(data.glob(PAGES)):
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None and member.name.endswith((".html", ".htm")):
                    link = f"https://example.org/{member.name}"
                    yield {"body": content.read(), "link": link, "doc_id": member.name}


def twice(documents: Iterator[Document], size: int) -> tuple[list[Document], int]:
    """(documents of `size` bytes in all, each and then its edited copy; their bytes)."""
    first: list[Document] = []
    total = 0
    for document in documents:
        if total >= size // 2:
            break
        first.append(document)
        total += length(document["body"])
    edited = [
        document
        | {"body": edit(document["body"], i), "doc_id": f"{document['doc_id']}-copy", "link": copied(document["link"])}
        for i, document in enumerate(first)
    ]
    return first + edited, 2 * total


def length(body: str | bytes) -> int:
    return len(body.encode()) if isinstance(body, str) else len(body)


def edit(body: Any, i: int) -> Any:
    """A word changed in the middle: the copy is no exact one."""
    middle = body.find(b" " if isinstance(body, bytes) else " ", len(body) // 2)
    word = f" copied{i}"
    return body[: max(0, middle)] + (word.encode() if isinstance(body, bytes) else word) + body[max(0, middle) :]


def copied(link: str) -> str:
    return f"copy/{link}" if "://" not in link else f"{link}?copy=1"


def parts(documents: list[Document]) -> Iterator[tuple[int, list[Document]]]:
    part: list[Document] = []
    size = number = 0
    for document in documents:
        part.append(document)
        size += length(document["body"])
        if size >= FILE_BYTES:
            yield number, part
            part, size, number = [], 0, number + 1
    if part:
        yield number, part


def write_jsonl(documents: list[Document], folder: Path) -> None:
    for number, part in parts(documents):
        with (folder / f"part-{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(document, ensure_ascii=False) + "\n" for document in part)


def write_parquet(documents: list[Document], folder: Path) -> None:
    for number, part in parts(documents):
        pq.write_table(pa.Table.from_pylist(part), folder / f"part-{number}.parquet")


def write_csv(documents: list[Document], folder: Path) -> None:
    for number, part in parts(documents):
        with (folder / f"part-{number}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, part[0])
            writer.writeheader()
            writer.writerows(part)


def write_warc(documents: list[Document], folder: Path) -> None:
    """A gzip member a record, as crawlers write."""
    import gzip

    for number, part in parts(documents):
        with (folder / f"crawl-{number}.warc.gz").open("wb") as file:
            for document in part:
                block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + document["body"]
                head = (
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {document['link'].replace(' ', '%20')}\r\n"
                    f"WARC-Date: 2021-05-04T10:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
                    f"Content-Length: {len(block)}\r\n\r\n"
                )
                file.write(gzip.compress(head.encode() + block + b"\r\n\r\n", 6))


def write_repositories(documents: list[Document], folder: Path) -> None:
    """Checkouts of some hundred files."""
    for i, document in enumerate(documents):
        repository = folder / f"repository-{i // 400}"
        if not repository.is_dir():
            (repository / ".git").mkdir(parents=True)
            (repository / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        path = repository / str(i) / Path(document["link"]).name[-100:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document["body"], "utf-8", errors="surrogatepass")


FORMATS: dict[str, tuple[Callable[[Path], Iterator[Document]], Callable[[list[Document], Path], None]]] = {
    "jsonl": (prose, write_jsonl),
    "parquet": (prose, write_parquet),
    "csv": (prose, write_csv),
    "warc": (pages, write_warc),
    "repositories": (sources, write_repositories),
}


def measured(name: str, data: Path, size: int, folder: Path) -> dict[str, Any]:
    documents, written = twice(FORMATS[name][0](data), size)
    inputs = folder / "data"
    inputs.mkdir(parents=True)
    FORMATS[name][1](documents, inputs)
    stored = sum(path.stat().st_size for path in inputs.rglob("*") if path.is_file())
    models = folder / "models"
    models.mkdir()
    (models / "lid.176.ftz").symlink_to(data / "models" / "lid.176.ftz")
    for inner in ("home", "cache", "tmp"):
        (folder / inner).mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "NUMBA_"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NUMBA_CACHE_DIR": str(folder / "cache" / "numba"),
        "RAY_TMPDIR": tempfile.gettempdir(),  # paths of sockets must be short
    }
    seconds = {}
    for step, arguments in (
        ("init", ["init", "data", "-o", "pipeline.yaml"]),
        ("run", ["run", "pipeline.yaml", "--workers", str(CORES)]),
    ):
        began = time.monotonic()
        with (folder / f"{step}.log").open("w") as log:
            done = subprocess.run(
                [sys.executable, "-m", "gristmill", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=pinned,
            )
        seconds[step] = round(time.monotonic() - began, 1)
        if done.returncode:
            return {"bytes": written, "seconds": seconds, "failed": (folder / f"{step}.log").read_text()[-2000:]}
    record = json.loads((folder / "out" / "run.json").read_text("utf-8"))
    blend = record["blends"]["pretrain"]
    kept = {row["stage"]: row["kept"] for row in record["funnel"]}
    return {
        "bytes": written,
        "stored_bytes": stored,
        "documents": len(documents),
        "seconds": seconds | {"whole": round(sum(seconds.values()), 1)},
        "kept": {name: number for name, number in kept.items() if name in KEPT},
        "tokens": blend["tokens"],
        "shards": blend["shards"],
        "pieces": (record["tokenizer"] or {}).get("vocab_size"),
        "steps": {step["name"]: step["seconds"] for step in record["steps"]},
        "configuration": (folder / "pipeline.yaml").read_text("utf-8").splitlines(),
    }


KEPT = ("read", "rules", "exact_dedup", "near_dedup", "curate")


def pinned() -> None:
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--keep", type=Path, help="leave inputs, logs and outputs below this folder")
    given = parser.parse_args()
    if not (given.data / CODE).is_file():
        sys.exit(f"no documents at {given.data}: give --data, or set GRISTMILL_TEST_DATA")
    result: dict[str, Any] = described("ray", "sentencepiece") | {
        "cores": CORES,
        "megabytes": given.megabytes,
        "claim_s": CLAIM_S,
        "formats": {},
    }
    for name in given.formats.split(","):
        with tempfile.TemporaryDirectory(prefix="first-run-") as temporary:
            folder = (given.keep or Path(temporary)) / name
            found = measured(name, given.data, int(given.megabytes * 1e6), folder.absolute())
        result["formats"][name] = found
        longest = sorted(found.get("steps", {}).items(), key=lambda step: -step[1])[:5]
        print(name, found["seconds"], ", ".join(f"{step} {s:.0f} s" for step, s in longest), found.get("failed", ""))
    if given.megabytes == MEGABYTES and set(result["formats"]) == set(FORMATS):
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    else:
        print(json.dumps(result, indent=1, ensure_ascii=False))
    late = [n for n, f in result["formats"].items() if "failed" in f or f["seconds"]["whole"] > CLAIM_S]
    if late:
        print(f"not within {CLAIM_S} s, or failed: {', '.join(late)}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
