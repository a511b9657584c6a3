"""Language identification by our kernel beside the fastText library: same answers, how much faster, how good.

    python benchmarks/language.py [--data ../shared/data] [--model MODEL]      some minutes, one core

1. Agreement: every labelled text and every document of the test data, first choices and probabilities. A difference
   counts as a tie where the library's own two first choices are within 1e-4.
2. Speed: MB of text a second, library and kernel in turn in this process, processor time, the best of five rounds. The
   library's time has what the stage did with it: line ends to spaces, columns to Python strings and back.
3. Windows: how much of a text has to be read, as agreement with the whole of it and speed.
4. Accuracy: macro over the recipe's languages (`stages.languages`) on each labelled set, and by language.

Needs the test data (GRISTMILL_TEST_DATA or ../shared/data). Writes benchmarks/results/language.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import zstandard  # noqa: E402

from gristmill.kernels.text.fasttext_model import Model, load  # noqa: E402
from gristmill.kernels.text.fasttext_predict import predict  # noqa: E402
from gristmill.stages.language import LINE_BYTES, shares  # noqa: E402
from gristmill.stages.languages import DEFAULT_LANGUAGES, iso_code  # noqa: E402

RESULT = Path(__file__).parent / "results" / "language.json"
CLAIM = 5.0
TIE = 1e-4
ROUNDS = 5
SAMPLE_BYTES = 12_000_000
SETS = {"lingua": "lid-lingua-testdata", "tatoeba": "lid-tatoeba-laser", "udhr": "lid-udhr"}
WINDOWS = [(window, size) for size in (600, 1500, 3000, 9000) for window in ("first", "three")]
LENGTHS = (16, 32, 48, 64, 96, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    path = str(given.model or given.data / "models" / "lid.176.ftz")
    import fasttext

    fasttext.FastText.eprint = lambda *_: None
    model, library = load(path), fasttext.load_model(path)
    predict(column([""]), model)  # compiled from here on

    labelled = {name: list(records(given.data / "labelled" / f"{file}.jsonl.zst")) for name, file in SETS.items()}
    documents = {
        domain: [row for file in sorted((given.data / domain).glob("*.jsonl.zst")) for row in records(file)]
        for domain in ("english", "multilingual", "code")
    }
    agreement = {
        **{name: agree(model, library, [row["text"] for row in rows]) for name, rows in labelled.items()},
        **{f"documents, {name}": agree(model, library, texts_of(rows)) for name, rows in documents.items()},
    }
    result = {
        "claim": f"the library's first choice on every text, at least {CLAIM:g} times its MB/s on whole documents",
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {name: version(name) for name in ("fasttext", "numba", "numpy", "pyarrow")},
        "load": os.getloadavg()[0],
        "model": {
            "bytes": model.bytes,
            "rows": model.rows,
            "dimensions": model.dimensions,
            "labels": len(model.labels),
        },
        "agreement": agreement,
        "speed": speed(model, library, documents),
        "windows": windows(model, documents),
        "accuracy": {name: accuracy(model, rows) for name, rows in split(labelled).items()},
        "lines": by_length(path, model, given.data / "english"),
        "worker_private_kb": private_memory(path),
    }
    ratios = [row["ratio"] for row in result["speed"].values()]
    result["holds"] = min(ratios) >= CLAIM and all(row["different"] == 0 for row in agreement.values())
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    show(result)


def records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
            yield json.loads(line)


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def texts_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows]


def by_library(texts: pa.Array, library: Any, k: int = 1) -> tuple[list[list[str]], list[Any]]:
    lines = pc.replace_substring(texts, "\n", " ").to_pylist()
    found: tuple[list[list[str]], list[Any]] = library.f.multilinePredict(
        [line + "\n" for line in lines], k, 0.0, "strict"
    )
    return found


def agree(model: Model, library: Any, texts: list[str]) -> dict[str, Any]:
    """different: texts with another first choice that is no tie."""
    differ = ties = 0
    most = 0.0
    for first in range(0, len(texts), 5000):
        part = column(texts[first : first + 5000])
        labels, scores = predict(part, model)
        names, values = by_library(part, library, 2)
        expected = np.array([min(1.0, float(row[0])) if len(row) else 0.0 for row in values])
        most = max(most, float(np.abs(expected - scores).max(initial=0.0)))
        for label, found, score in zip(labels.tolist(), names, values, strict=True):
            if (model.labels[label] if label >= 0 else None) != (found[0] if found else None):
                tied = len(score) > 1 and score[0] - score[1] < TIE
                ties, differ = ties + tied, differ + (not tied)
    return {"texts": len(texts), "different": differ, "tied": ties, "largest_difference_of_probability": most}


def speed(model: Model, library: Any, documents: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    result = {}
    for name, rows in documents.items():
        texts, size = sampled(texts_of(rows))
        ours, theirs = timed(partial(predict, texts, model), partial(by_library, texts, library))
        result[name] = {
            "documents": len(texts),
            "bytes": size,
            "mb_per_s": size / 1e6 / ours,
            "library_mb_per_s": size / 1e6 / theirs,
            "ratio": theirs / ours,
        }
    return result


def sampled(texts: list[str]) -> tuple[pa.Array, int]:
    """Every n-th text, so that SAMPLE_BYTES come together."""
    sizes = np.array([len(text.encode()) for text in texts])
    step = max(1, int(sizes.sum() // SAMPLE_BYTES))
    return column(texts[::step]), int(sizes[::step].sum())


def timed(*functions: Callable[[], Any]) -> list[float]:
    """Least processor time of each, taken in turn."""
    best = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for i, function in enumerate(functions):
            began = time.process_time()
            function()
            best[i] = min(best[i], time.process_time() - began)
    return best


def windows(model: Model, documents: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    texts = [text for name in ("english", "multilingual") for text in texts_of(documents[name])]
    sizes = np.array([len(text.encode()) for text in texts])
    whole, scores = predict(column(texts), model)
    some, size = sampled(texts)
    (base,) = timed(partial(predict, some, model))
    rows = []
    for window, limit in WINDOWS:
        labels, _ = predict(column(texts), model, window, limit)
        longer = sizes > limit
        sure = longer & (scores >= 0.5)
        (seconds,) = timed(partial(predict, some, model, window, limit))
        rows.append(
            {
                "window": window,
                "window_bytes": limit,
                "longer_documents": int(longer.sum()),
                "agreement": float((labels == whole)[longer].mean()),
                "agreement_of_sure": float((labels == whole)[sure].mean()),
                "mb_per_s": size / 1e6 / seconds,
                "times_whole": base / seconds,
            }
        )
    return rows


def split(labelled: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """lingua by its kinds: sentences, word pairs, single words."""
    kinds = sorted({row["kind"] for row in labelled["lingua"]})
    found = {f"lingua {kind}": [row for row in labelled["lingua"] if row["kind"] == kind] for kind in kinds}
    return {**found, "tatoeba": labelled["tatoeba"], "udhr": labelled["udhr"]}


def accuracy(model: Model, rows: list[dict[str, Any]]) -> dict[str, Any]:
    codes = [iso_code(label) for label in model.labels]
    hits: dict[str, list[bool]] = {}
    for row, label in zip(rows, predict(column(texts_of(rows)), model)[0].tolist(), strict=True):
        truth = iso_code(row["lang"])
        if truth in DEFAULT_LANGUAGES:
            hits.setdefault(truth, []).append(label >= 0 and codes[label] == truth)
    by_language = {code: sum(found) / len(found) for code, found in sorted(hits.items())}
    return {
        "macro": sum(by_language.values()) / len(by_language),
        "languages": len(by_language),
        "texts": sum(map(len, hits.values())),
        "by_language": {code: round(value, 4) for code, value in by_language.items()},
    }


def by_length(path: str, model: Model, folder: Path) -> dict[str, Any]:
    """How often a line of English news and papers alone is found English, by its bytes; and `language_share` there."""
    rows = [row for name in ("news-digitalgov", "academic-plos") for row in records(folder / f"{name}.jsonl.zst")]
    lines = [line for row in rows for line in row["text"].split("\n") if line.strip()]
    sizes = np.array([len(line.encode()) for line in lines])
    labels, _ = predict(column(lines), model)
    english = labels == model.labels.index("__label__en")
    bounds = [1, *LENGTHS, 1 << 40]
    table = {
        f"{low} to {high - 1}" if high < 1 << 40 else f"{low} and more": float(
            english[(sizes >= low) & (sizes < high)].mean()
        )
        for low, high in pairwise(bounds)
    }
    texts = column(texts_of(rows))
    values = shares(texts, pa.repeat("en", len(texts)), path).drop_null().to_numpy()
    quantiles = {f"{q:g}": float(np.quantile(values, q)) for q in (0.01, 0.05, 0.5)}
    return {"least_bytes": LINE_BYTES, "lines": len(lines), "english": table, "share_of_documents": quantiles}


def private_memory(path: str) -> int | None:
    """kB that belong to a second process alone once it has read all of the model; None without /proc."""
    code = f"""
from gristmill.kernels.text.fasttext_model import load
def private():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty"))
before = private()
model = load({path!r})
[array.sum() for array in model.weights[:7]]
print(private() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    return int(done.stdout) if done.returncode == 0 else None


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores of {model}, {memory / 1e9:.0f} GB, Python {platform.python_version()}"


def show(result: dict[str, Any]) -> None:
    print(f"{'agreement':<26}{'texts':>9}{'different':>11}{'tied':>6}{'probability within':>20}")
    for name, row in result["agreement"].items():
        most = row["largest_difference_of_probability"]
        print(f"{name:<26}{row['texts']:>9,}{row['different']:>11}{row['tied']:>6}{most:>20.1e}")
    print(f"\n{'speed, MB/s on one core':<26}{'ours':>9}{'library':>11}{'ratio':>8}")
    for name, row in result["speed"].items():
        print(f"{name:<26}{row['mb_per_s']:>9.1f}{row['library_mb_per_s']:>11.1f}{row['ratio']:>8.1f}")
    print(f"\n{'window':<26}{'agreement':>11}{'sure ones':>11}{'MB/s':>9}")
    for row in result["windows"]:
        name = f"{row['window']}, {row['window_bytes']:,} bytes"
        print(f"{name:<26}{row['agreement']:>11.4f}{row['agreement_of_sure']:>11.4f}{row['mb_per_s']:>9.0f}")
    print(f"\n{'accuracy, macro':<26}{'languages':>10}{'texts':>10}{'accuracy':>10}")
    for name, row in result["accuracy"].items():
        print(f"{name:<26}{row['languages']:>10}{row['texts']:>10,}{row['macro']:>10.4f}")
    print(f"\na further worker: {result['worker_private_kb']} kB of its own")
    print("holds" if result["holds"] else "does not hold", f"({result['claim']}; load {result['load']:.1f})")


if __name__ == "__main__":
    main()
