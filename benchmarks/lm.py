"""Language models beside KenLM's: the same n-grams, probs and backoffs as lmplz, and what both take.

    python benchmarks/lm.py            benchmarks/results/lm.json; some minutes

Claims: every prob and backoff is within 1e-4 of lmplz's for the same lines, order and pruning, and `lm.binary` is, byte
for byte, what build_binary makes of our `lm.arpa`. Time is of one process each from pieces to both files: ours the
steps `count` to `write`, theirs lmplz (-S 1G) and build_binary; the smallest of `REPEATS` runs in turn. lmplz has
threads of its own; CPU seconds count them. Needs GRISTMILL_TEST_DATA or ../shared/data, and `python
benchmarks/peers/environments.py kenlm`.
"""

from __future__ import annotations

import argparse
import filecmp
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

RESULT = Path(__file__).parent / "results" / "lm.json"
CLAIM = 1e-4
REPEATS = 2
ORDER = 5
PRUNED = ("0", "0,0,1,1,1")
MEMORY = "1G"
LANGUAGES = {"en": "english", "zh": "multilingual", "de": "multilingual", "ko": "multilingual", "th": "multilingual"}
MAX_BYTES = 28_000_000
"""Of English: 5.6 million pieces."""
STEPS = ("count", "adjust", "estimate", "write")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--ours", nargs=3, metavar=("FOLDER", "LANGUAGE", "PRUNE"), help="one run of ours, as JSON")
    arguments.add_argument("--languages", default=",".join(LANGUAGES))
    arguments.add_argument("--result", default=str(RESULT))
    given = arguments.parse_args()
    if given.ours:
        print(json.dumps(ours(*given.ours)))
        return
    from machine import described

    data = Path(os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
    result: dict[str, Any] = {
        "claim": f"probs and backoffs within {CLAIM} of lmplz's; lm.binary is what build_binary makes of lm.arpa",
        **described("sentencepiece", "kenlm"),
        "lmplz": f"--order {ORDER} -S {MEMORY} --discount_fallback --skip_symbols",
        "repeats": REPEATS,
        "models": [],
    }
    with tempfile.TemporaryDirectory(prefix="gristmill-lm-") as folder:
        for language in given.languages.split(","):
            prepare(Path(folder), data, language)
            for prune in PRUNED:
                result["models"].append(compared(Path(folder), language, prune))
                show(result["models"][-1])
    result["holds"] = all(model["max_difference"] <= CLAIM and model["same_binary"] for model in result["models"])
    Path(given.result).parent.mkdir(exist_ok=True)
    Path(given.result).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print("holds" if result["holds"] else "does not hold", f"({result['claim']})")


def prepare(folder: Path, data: Path, language: str) -> None:
    """A file of the language's documents, its pieces, and the lines in pieces for lmplz. Compiles what we use."""
    import zstandard

    with (folder / f"{language}.jsonl").open("w", encoding="utf-8") as out:
        for path in sorted((data / LANGUAGES[language]).glob("*.jsonl.zst")):
            with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                for line in io.TextIOWrapper(stream, "utf-8", newline="\n"):
                    if json.loads(line)["lang"] == language:
                        out.write(line)
    run_ours(folder, language, "0")
    write_lines(folder, language)


def write_lines(folder: Path, language: str) -> None:
    from sentencepiece import SentencePieceProcessor

    from gristmill.pipeline.engine.commit import read_seal
    from gristmill.pipeline.models.lm.columns import batches
    from gristmill.storage.store import Store

    encoder = SentencePieceProcessor(model_file=str(folder / "lm" / language / "sentencepiece.model"))
    pieces = [encoder.id_to_piece(i) for i in range(len(encoder))]
    store = Store(str(folder))
    [step] = [name for name in store.folders("work") if name.startswith(f"lm-{language}-encode-")]
    with (folder / f"{language}.pieces").open("w", encoding="utf-8") as out:
        for manifest in read_seal(store, f"work/{step}") or ():
            for batch in batches(store, manifest.file("ids")):
                for line in batch.column(0).to_pylist():
                    out.write(" ".join(pieces[i] for i in line) + "\n")


def compared(folder: Path, language: str, prune: str) -> dict[str, Any]:
    mine, theirs = [], []
    for _ in range(REPEATS):
        mine.append(run_ours(folder, language, prune))
        theirs.append(run_theirs(folder, language, prune))
    record = json.loads((folder / "lm" / language / "lm.json").read_text())
    differences = differing(folder / "lm" / language / "lm.arpa", folder / "theirs.arpa")
    both = best(mine), best(theirs)
    return {
        "language": language,
        "prune": prune,
        "bytes": record["text"]["bytes"],
        "tokens": record["text"]["trained_pieces"],
        "ngrams": record["ngrams"],
        **differences,
        "same_binary": same_binary(folder, language),
        "ours": both[0],
        "kenlm": both[1],
        "ratios": {key: round(both[1][key] / both[0][key], 2) for key in ("seconds", "cpu_s", "peak_bytes")},
    }


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    fastest = min(runs, key=lambda run: run["seconds"])
    return fastest | {"cpu_s": min(run["cpu_s"] for run in runs), "runs": [run["seconds"] for run in runs]}


def run_ours(folder: Path, language: str, prune: str) -> dict[str, Any]:
    """All from `count` on anew, in a process of its own."""
    for step in STEPS:
        for path in (folder / "work").glob(f"lm-{language}-{step}-*"):
            shutil.rmtree(path)
    command = [sys.executable, __file__, "--ours", str(folder), language, prune]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(folder: str, language: str, prune: str) -> dict[str, Any]:
    from gristmill.pipeline.engine.engine import Silent
    from gristmill.pipeline.models.lm.options import Options
    from gristmill.pipeline.models.lm.train import train

    class Watch(Silent):
        seconds: dict[str, float] = {}
        cpu: dict[str, float] = {}
        begun = 0.0

        def start(self, step: str, tasks: int, done: int) -> None:
            self.begun = time.process_time()

        def finish(self, sealed: Any) -> None:
            name = sealed.name.rpartition("/")[2]
            self.seconds[name] = sealed.seconds
            self.cpu[name] = time.process_time() - self.begun

    before = peak()
    options = Options(
        languages=(language,),
        order=ORDER,
        prune=tuple(map(int, prune.split(","))),
        max_bytes=MAX_BYTES,
        columns={"language": "lang"},
    )
    watch = Watch()
    text = str(Path(folder) / f"{language}.jsonl")
    train(options, str(Path(folder) / "lm"), texts=[text], inline=True, progress=watch)
    return {
        "seconds": sum(watch.seconds[step] for step in STEPS),
        "cpu_s": sum(watch.cpu[step] for step in STEPS),
        "peak_bytes": peak(),
        "peak_before_bytes": before,
        "steps": {name: round(seconds, 3) for name, seconds in watch.seconds.items()},
    }


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_theirs(folder: Path, language: str, prune: str) -> dict[str, Any]:
    from peers.environments import tool

    arpa, binary = folder / "theirs.arpa", folder / "theirs.binary"
    estimate = [tool("lmplz"), "-o", str(ORDER), "-S", MEMORY, "-T", str(folder / "lmplz-")]
    estimate += ["--discount_fallback", "--skip_symbols", "--text", str(folder / f"{language}.pieces")]
    runs = [measured([*estimate, "--arpa", str(arpa), "--prune", *prune.split(",")])]
    runs.append(measured([tool("build_binary"), "probing", str(arpa), str(binary)]))
    return {
        "seconds": sum(run["seconds"] for run in runs),
        "cpu_s": sum(run["cpu_s"] for run in runs),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "lmplz": runs[0],
        "build_binary": runs[1],
    }


def measured(command: list[str]) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory of a program."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def differing(mine: Path, theirs: Path) -> dict[str, Any]:
    """Largest differences over all n-grams, which must be the same in the same order."""
    prob = backoff = 0.0
    ngrams = 0
    for a, b in zip_longest(entries(mine), entries(theirs)):
        if a is None or b is None or a[1] != b[1]:
            raise AssertionError(f"n-gram {ngrams + 1}: {a} here, {b} of lmplz")
        ngrams += 1
        prob = max(prob, abs(float(a[0]) - float(b[0])))
        if len(a) > 2:
            backoff = max(backoff, abs(float(a[2]) - float(b[2])))
    return {"compared": ngrams, "max_prob": prob, "max_backoff": backoff, "max_difference": max(prob, backoff)}


def entries(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            if "\t" in line:
                yield line.rstrip("\n").split("\t")


def same_binary(folder: Path, language: str) -> bool:
    from peers.environments import tool

    built = folder / "built.binary"
    model = folder / "lm" / language
    subprocess.run([tool("build_binary"), "probing", model / "lm.arpa", built], check=True, capture_output=True)
    return filecmp.cmp(built, model / "lm.binary", shallow=False)


def show(model: dict[str, Any]) -> None:
    mine, theirs, ratios = model["ours"], model["kenlm"], model["ratios"]
    print(
        f"{model['language']} {model['prune']:<10}{model['tokens'] / 1e6:6.2f} M pieces"
        f"{model['compared'] / 1e6:7.2f} M n-grams, differ by {model['max_difference']:.1e}, "
        f"binary {'same' if model['same_binary'] else 'DIFFERENT'}; "
        f"{mine['seconds']:.1f} s beside {theirs['seconds']:.1f} ({ratios['seconds']}x), "
        f"CPU {mine['cpu_s']:.1f} beside {theirs['cpu_s']:.1f}, "
        f"{mine['peak_bytes'] / 1e6:,.0f} MB beside {theirs['peak_bytes'] / 1e6:,.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
