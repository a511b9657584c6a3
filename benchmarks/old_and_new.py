"""One commit beside another, in one run: the per-document chain, the demo, `--help`.

    python benchmarks/old_and_new.py OLD NEW DATA --result benchmarks/results/old_and_new.json

OLD and NEW are two checkouts; the environment is that of the Python that runs this. Only the command line of a checkout
is used, so that both may be laid out as they like. The two take turns, and of each the best of its turns counts. The
chain is every step that looks at each document's text, over the inputs and the configuration of `golden.py`; one
process, kernels compiled beforehand. The demo is what `make demo` runs, without the installing. DATA is the folder of
real text. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from golden import CONFIGURATION, Checkout, write, write_inputs
from machine import described

CHAIN = ("read", "perplexity", "rules", "quality", "curate.send", "curate")
"""Steps that look at every document; `read` has the most of them."""
LIMITS = {"chain": 1 / 0.97, "demo": 1.05, "help": 1.05}
"""The new commit's seconds over the old one's. Five percent of `--help` are eight milliseconds, its noise."""


def python(checkout: Path, folder: Path, *arguments: str) -> float:
    """Seconds that a command of the checkout takes."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "RAY_AUTH_MODE": "disabled"}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)}\n{done.stderr}")
    return time.perf_counter() - begin


def chain(checkout: Path, folder: Path, configuration: Path) -> float:
    """Seconds of the chain's steps, as the run's own record has them."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        python(checkout, folder, "pipeline", "run", str(configuration), "--inline", "--output", output)
        record = json.loads((Path(output) / "run.json").read_text())
    return sum(step["seconds"] for step in record["steps"] if step["name"] in CHAIN)


def demo(checkout: Path, folder: Path, model: Path) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        (Path(name) / "models").mkdir()
        (Path(name) / "models" / model.name).symlink_to(model)
        return (
            python(checkout, Path(name), "pipeline", "run", str(checkout / "pipeline.yaml"))
            + python(checkout, Path(name), "trainer", "run", str(checkout / "trainer" / "configs" / "debug.yaml"))
            + python(checkout, Path(name), "pipeline", "report")
        )


def beside(old: Path, new: Path, turns: int, measure: Callable[[Path], float]) -> dict[str, float]:
    """The best of `turns` turns of each, after one each that does not count."""
    seconds: dict[Path, list[float]] = {old: [], new: []}
    for turn in range(turns + 1):
        for checkout in (old, new) if turn % 2 else (new, old):
            took = measure(checkout)
            seconds[checkout] += [took] if turn else []
    best = {checkout: min(found) for checkout, found in seconds.items()}
    return {"old": best[old], "new": best[new], "new_over_old": best[new] / best[old]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("old", "new", "data"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    old, new, data = options.old.resolve(), options.new.resolve(), options.data.resolve()
    model = data / "models" / "lid.176.ftz"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(data, folder)
        configuration = folder / "golden.yaml"
        text = CONFIGURATION.read_text().replace("DATA/", f"{data}/").replace("WORK/", f"{folder}/")
        write(configuration, text.encode())
        Checkout(new, folder / "tmp").train(folder)
        measured = {
            "help": beside(old, new, 5 * options.turns, lambda at: python(at, folder, "pipeline", "--help")),
            "chain": beside(old, new, options.turns, lambda at: chain(at, folder, configuration)),
            "demo": beside(old, new, max(1, options.turns - 1), lambda at: demo(at, folder, model)),
        }
    holds = {name: measured[name]["new_over_old"] <= limit for name, limit in LIMITS.items()}
    result = {**described(), "seconds": measured, "limits": LIMITS, "holds": holds}
    text = json.dumps(result, indent=1) + "\n"
    if options.result:
        options.result.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
