"""How many source files get their programming language: by path and content, by path alone, by content alone.

    python benchmarks/code_language.py        benchmarks/results/code_language.json, two minutes

Input: `code/code-permissive.jsonl.zst` below GRISTMILL_TEST_DATA or ../shared/data, files of 44 repositories and
packages with a language each. Its labels follow file names: every .h is C, also where it holds templates and classes.
So a second figure leaves headers out, and `headers` says how many of them the content takes for C++. Signs of
`stages.code_signs` were chosen with these files at hand: what is right by content is no figure for unseen files.
Claim: 97 % by path and content.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

RESULT = Path(__file__).parent / "results" / "code_language.json"
CLAIM = 0.97

RECIPE = """
    JavaScript Markdown Java Python PHP C C++ C# Go HTML TypeScript SQL CSS XML Rust Jupyter Ruby Swift JSON TeX Scala
    YAML Shell Dart Lua RST Perl Haskell Pascal Assembly Fortran Makefile Julia Mathematica Visual-Basic VHDL
    Common-Lisp CUDA SystemVerilog Dockerfile R Verilog
"""
"""Parmar et al. 2024 (Data, Data Everywhere), table of programming languages, and R and Verilog of Nemotron-4 15B."""


def main() -> None:
    import pyarrow as pa

    from gristmill.stages.code_content import alone
    from gristmill.stages.code_language import detect
    from gristmill.stages.code_names import language_of_path, programming_language

    rows = labelled()
    truth = [programming_language(row["programming_language"]) for row in rows]
    paths = [row["path"] for row in rows]
    texts = pa.array([row["text"] for row in rows], pa.large_string())
    found = {
        "path_and_content": detect(texts, pa.array(paths, pa.string())).to_pylist(),
        "path": [language_of_path(path) for path in paths],
        "content": alone(texts).to_pylist(),
    }
    recipe = {programming_language(name) for name in RECIPE.split()}
    inside = [name in recipe for name in truth]
    headers = [path.endswith(".h") for path in paths]
    both = found["path_and_content"]
    shares = {}
    for name, languages in found.items():
        right = [one == other for one, other in zip(truth, languages, strict=True)]
        shares[name] = {
            "all": share(right, [True] * len(rows)),
            "recipe": share(right, inside),
            "recipe_without_headers": share(right, [i and not h for i, h in zip(inside, headers, strict=True)]),
        }
    errors = Counter(pair for pair in zip(truth, both, strict=True) if pair[0] != pair[1])
    of_language = {
        name: [one == other for one, other in zip(truth, both) if one == name] for name in sorted(set(truth))
    }
    result = {
        "claim": CLAIM,
        "met": shares["path_and_content"]["all"] >= CLAIM,
        "accuracy": shares,
        "headers": dict(Counter(str(name) for name, header in zip(both, headers, strict=True) if header)),
        "languages": {
            name: {"files": len(hits), "right": round(sum(hits) / len(hits), 4), "recipe": name in recipe}
            for name, hits in of_language.items()
        },
        "confusion": [
            {"label": label, "found": other, "files": number} for (label, other), number in errors.most_common()
        ],
        "files": len(rows),
        "bytes": sum(len(row["text"].encode()) for row in rows),
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"pyarrow": version("pyarrow")},
        "date": time.strftime("%Y-%m-%d"),
        "input": "code/code-permissive.jsonl.zst",
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    show(result)


def labelled() -> list[dict[str, Any]]:
    import zstandard

    folder = Path(os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
    path = folder / "code" / "code-permissive.jsonl.zst"
    if not path.is_file():
        sys.exit(f"no labelled files at {path}: set GRISTMILL_TEST_DATA")
    with path.open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        return [json.loads(line) for line in stream]


def share(right: Sequence[bool], counted: Sequence[bool]) -> float:
    chosen = [hit for hit, counts in zip(right, counted, strict=True) if counts]
    return round(sum(chosen) / len(chosen), 4)


def show(result: dict[str, Any]) -> None:
    print(f"{'':18}{'all':>8}{'recipe':>9}{'without .h':>12}")
    for name, figures in result["accuracy"].items():
        print(f"{name.replace('_', ' '):18}" + "".join(f"{100 * figures[key]:>9.2f}" for key in figures))
    print("headers:", ", ".join(f"{name} {number}" for name, number in result["headers"].items()))
    for row in result["confusion"][:10]:
        print(f"  {row['label']} taken for {row['found']}: {row['files']}")
    print("claim met" if result["met"] else "claim missed")


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
