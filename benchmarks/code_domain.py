"""How much source code is found without keys and paths, and how much that is none is taken for it.

    python benchmarks/code_domain.py [--data ../shared/data]     a few minutes, one core
    python benchmarks/code_domain.py --fit                       prints WEIGHTS and BIAS of stages/code_shape.py

1. Recall: source files of the test data as texts alone, and with their paths; by language.
2. False positives: prose of the test data; markup among its source files; web pages; tables made of its records; logs,
   change logs and documentation of this computer.
3. Cost: processor time of the stage on prose beside that of language identification, in turn in this process.

The fit is logistic regression (iteratively reweighted least squares, ridge 1e-4), half of its weight on code. With
`--fit` half of the texts, chosen by hash, are left out, and recall and false positives are said of those.
Needs the test data (GRISTMILL_TEST_DATA or ../shared/data). Writes benchmarks/results/code_domain.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import sys
import tarfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import xxhash  # noqa: E402
import zstandard  # noqa: E402
from machine import described  # noqa: E402

from gristmill.kernels.text.code_shape import count  # noqa: E402
from gristmill.kernels.text.utf8 import buffers  # noqa: E402
from gristmill.stages.code_domain import SURE, CodeDomain  # noqa: E402
from gristmill.stages.code_names import MARKUP, programming_language  # noqa: E402
from gristmill.stages.code_shape import AT, FEATURES, LEAST_BYTES, features  # noqa: E402
from gristmill.stages.language import Language  # noqa: E402

RESULT = Path(__file__).parent / "results" / "code_domain.json"
CHARACTERS = 20_000  # of a text: more is not looked at
ROUNDS = 5
FILES = 300  # of a kind, of this computer
RIDGE = 1e-4
SHARES = {"prose": 0.4, "markup": 0.1, "pages": 0.15, "wikitext": 0.05, "tables": 0.15, "logs": 0.1, "changes": 0.05}
"""Of the weight of what is no code in the fit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    code = sources(given.data)
    others = {**negatives(given.data), **of_this_computer()}
    if given.fit:
        fit(code, others)
        return
    result = {"recall": recall(code), "false_positives": {k: share(v) for k, v in others.items()}}
    result["cost"] = cost(others["prose"])
    result |= described()
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


def records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        yield from map(json.loads, io.TextIOWrapper(stream, "utf-8", newline="\n"))


def sources(data: Path) -> list[tuple[str, str, str]]:
    """(language, path, text) of source files in no markup."""
    found = (
        (programming_language(row["programming_language"]), row["path"], row["text"])
        for row in records(data / "code/code-permissive.jsonl.zst")
    )
    return [each for each in found if each[0] not in MARKUP]


def negatives(data: Path) -> dict[str, list[str]]:
    corpora = [path for top in ("english", "multilingual") for path in sorted((data / top).glob("*.jsonl.zst"))]
    prose: list[str] = []
    tables: list[str] = []
    for path in corpora:
        rows = list(records(path))
        prose += [row["text"] for row in rows]
        keys = [key for key in rows[0] if key != "text"]
        for delimiter in ",;\t|":
            for start in range(0, min(len(rows), 120), 30):
                table = io.StringIO()
                writer = csv.writer(table, delimiter=delimiter)
                writer.writerow([*keys, "characters", "share"])
                for row in rows[start : start + 30]:
                    size = len(row["text"])
                    writer.writerow([*(row.get(key) for key in keys), size, round(size / 7, 2)])
                tables.append(table.getvalue())
    markup = [
        row["text"]
        for row in records(data / "code/code-permissive.jsonl.zst")
        if programming_language(row["programming_language"]) in MARKUP - {"json", "jupyter"}
    ]
    pages: list[str] = []
    for path in sorted((data / "web").glob("html-*.tar.zst")):
        stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True)
        with stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            members = (member for member in archive if member.name.endswith((".html", ".htm")))
            for _, member in zip(range(FILES), members):
                file = archive.extractfile(member)
                assert file is not None
                pages.append(file.read().decode("utf-8", "replace")[:CHARACTERS])
    tree = ElementTree.parse(data / "english/mediawiki-export-sample.xml")
    wikitext = [element.text for element in tree.iter() if element.tag.endswith("}text") and element.text]
    return {"prose": prose, "markup": markup, "pages": pages, "wikitext": wikitext, "tables": tables}


def of_this_computer() -> dict[str, list[str]]:
    def read(root: str, pattern: str) -> list[str]:
        paths = sorted(Path(root).rglob(pattern), key=lambda path: xxhash.xxh3_64_intdigest(str(path).encode()))
        texts: list[str] = []
        for path in paths:
            try:
                with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                    texts.append(file.read(CHARACTERS).decode())
            except (OSError, UnicodeDecodeError):
                continue
            if len(texts) == FILES:
                break
        return texts

    libraries = str(Path(os.__file__).parent)
    return {
        "logs": read("/var/log", "*.log") + read("/usr", "*.log") + read("/tmp", "*.log") + made_logs(),
        "changes": read("/usr/share/doc", "changelog*.gz"),
        "licences": read("/usr/share/doc", "copyright"),
        "csv": read("/usr", "*.csv") + read(libraries, "*.csv"),
        "package_metadata": read(sys.prefix, "METADATA"),
    }


def made_logs() -> list[str]:
    """Lines as servers and programs write them, in six formats."""
    stamps = ("2020-03-0{} 12:00:{:02},123 INFO app.pool", "Mar {} 12:00:{:02} host sshd[1234]:",
              "[0{}/Mar/2020:12:00:{:02} +0000]", "2020-03-0{}T12:00:{:02}Z level=info", "[0{}:00:{:02}]",
              "I030{} 12:00:{:02}.123 main.cc:42]")  # fmt: skip
    events = ("connection from 10.0.0.1 port 22", 'GET /index.html HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux)"',
              "timeout=30s, retrying (attempt 3)", "Failed to open file /var/lib/x.db: No such file or directory",
              "user=alice action=login ok=true", "started worker pid=4312", "request id=ab12 processed in 12ms",
              "    at com.foo.Bar.run(Bar.java:42)")  # fmt: skip
    return [
        "\n".join(f"{stamp.format(k % 9 + 1, i)} {events[(i * (k + 3) + k) % len(events)]}" for i in range(40))
        for stamp in stamps
        for k in range(50)
    ]


def found(texts: list[str], paths: list[str] | None = None) -> np.ndarray:
    """(n,) bool: which of the texts the stage takes for code."""
    result = np.zeros(len(texts), np.bool_)
    for start in range(0, len(texts), 2000):
        batch = as_batch(texts[start : start + 2000], paths and paths[start : start + 2000])
        domain = CodeDomain().apply(batch).column("domain")
        result[start : start + 2000] = domain.is_valid().to_numpy(zero_copy_only=False)
    return result


def as_batch(texts: list[str], paths: list[str] | None = None) -> pa.RecordBatch:
    none = pa.nulls(len(texts), pa.string())
    metadata = (
        none if paths is None else pa.array([json.dumps({"path": path}, separators=(",", ":")) for path in paths])
    )
    columns = dict.fromkeys(("domain", "language", "own_id", "url"), none)
    columns |= {name: pa.repeat("a.jsonl", len(texts)) for name in ("source", "path")}
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string()), "metadata": metadata, **columns})


def recall(code: list[tuple[str, str, str]]) -> dict[str, Any]:
    texts = [text for _, _, text in code]
    alone, with_path = found(texts), found(texts, [path for _, path, _ in code])
    languages = np.array([language for language, _, _ in code])
    missed = {
        name: f"{int((~alone[languages == name]).sum())} of {int((languages == name).sum())}"
        for name in sorted(set(languages[~alone]), key=lambda name: -(~alone[languages == name]).sum())[:15]
    }
    return {
        "files": len(code),
        "by_content": round(float(alone.mean()), 4),
        "with_path": round(float(with_path.mean()), 4),
        "missed_by_content": missed,
    }


def share(texts: list[str]) -> dict[str, Any]:
    taken = int(found(texts).sum())
    return {"texts": len(texts), "taken": taken, "share": round(taken / max(1, len(texts)), 6)}


def cost(prose: list[str]) -> dict[str, float]:
    chosen = [text for text in prose if len(text) > 500][:10_000]
    batch = as_batch(chosen)
    size = sum(len(text.encode()) for text in chosen) / 1e6
    model = next(
        path for path in (ROOT / "models/lid.176.ftz", ROOT.parent / "shared/data/models/lid.176.ftz") if path.exists()
    )
    stages = {"code_domain": CodeDomain(), "language": Language(str(model))}
    best = dict.fromkeys(stages, float("inf"))
    for _ in range(ROUNDS):
        for name, stage in stages.items():
            start = time.process_time()
            stage.apply(batch)
            best[name] = min(best[name], time.process_time() - start)
    return {f"{name}_seconds_per_gb": round(seconds / size * 1000, 3) for name, seconds in best.items()}


def fit(code: list[tuple[str, str, str]], others: dict[str, list[str]]) -> None:
    groups = {"code": [text for _, _, text in code], **{name: others[name] for name in SHARES}}
    x, y, weight, held = [], [], [], []
    for name, texts in groups.items():
        data, offsets = buffers(pa.array(texts, pa.large_string()))
        counts = count(data, offsets, np.ones(len(texts), np.bool_))
        long = counts[:, AT.bytes] >= LEAST_BYTES
        x.append(features(counts)[long])
        y.append(np.full(int(long.sum()), float(name == "code")))
        weight.append(np.full(int(long.sum()), (1.0 if name == "code" else SHARES[name]) / long.sum()))
        held.append(np.array([xxhash.xxh3_64_intdigest(text.encode()) % 2 for text in texts], np.bool_)[long])
    inputs, target, weights, left_out = map(np.concatenate, (x, y, weight, held))
    half = regression(inputs[~left_out], target[~left_out], weights[~left_out])
    score = np.c_[inputs, np.ones(len(inputs))] @ half
    for name, start in zip(groups, np.cumsum([0, *map(len, x)])):
        where = slice(start, start + len(x[list(groups).index(name)]))
        print(f"{name}: {np.mean(score[where][left_out[where]] >= SURE):.4f} of those left out score {SURE} or more")
    whole = regression(inputs, target, weights)
    print({name: round(float(value), 2) for name, value in zip(FEATURES, whole)}, round(float(whole[-1]), 2))


def regression(inputs: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficients and intercept."""
    scale = inputs.std(0)
    design = np.c_[inputs / scale, np.ones(len(inputs))]
    ridge = np.diag([RIDGE] * inputs.shape[1] + [0.0])
    found = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (weights * (p - target)) + ridge @ found
        hessian = (design * (weights * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    return np.append(found[:-1] / scale, found[-1])


if __name__ == "__main__":
    main()
