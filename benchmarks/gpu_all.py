"""All GPU benchmarks, one after the other, in under eight minutes on one GPU.

    python benchmarks/gpu_all.py                  results/gpu_<op>.json, one for each
    python benchmarks/gpu_all.py --dry            every script with tiny sizes on the CPU: no times, nothing written

Each script is a process of its own with a share of the time; what one leaves over goes to those after it. When its
time is up it measures no further peer, but ours in any case. What exceeds even that is ended, and what it had measured
stays. The exit code is 1 where ours was wrong or failed, 2 where there is no GPU.

Wanted: torch with CUDA, Triton, numpy, and this repository. Peers are measured where they can be imported, and named
with the reason where not. Liger-Kernel 0.8.5 and cut-cross-entropy 25.1.1 are wheels of pure Python: where nothing can
be installed, unpack them into a folder and name it,

    pip download --no-deps -d wheels liger-kernel==0.8.5 cut-cross-entropy==25.1.1
    for wheel in wheels/*.whl; do python -m zipfile -e $wheel peers; done
    PYTHONPATH=peers python benchmarks/gpu_all.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from gpu_machine import Options, options  # noqa: E402

SECONDS = {
    "layernorm": (35, 20),
    "squared_relu": (30, 20),
    "rope": (30, 20),
    "cross_entropy": (95, 45),
    "adamw": (30, 20),
    "embedding": (30, 20),
    "attention": (75, 30),
    "stack": (115, 75),
}
"""Each script's share, its start (about ten seconds) included; and what is kept for it whatever those before it take,
enough for ours alone."""
ALL = 465
"""No script runs beyond so many seconds after the beginning."""


def main(arguments: list[str] | None = None) -> int:
    given = options(__doc__, arguments)
    if given.dry:
        return max([import_module(f"gpu_{op}").main(["--dry"]) for op in SECONDS])
    return _measure(given)


def _measure(given: Options) -> int:
    begun, code, spare = time.monotonic(), 0, 0.0
    kept = sum(least for _, least in SECONDS.values())
    for op, (share, least) in SECONDS.items():
        kept -= least  # now that of the scripts after this one
        start = time.monotonic()
        hard = max(least, ALL - (start - begun) - kept)
        soft = min(share + spare, hard) - 10
        script = str(Path(__file__).parent / f"gpu_{op}.py")
        command = [sys.executable, script, "--seconds", f"{soft:.0f}", "--output", str(given.output)]
        try:
            done = subprocess.run(command, timeout=hard).returncode
        except subprocess.TimeoutExpired:
            done = 1
            print(f"{op}: ended after {hard:.0f} s; what was measured by then is written", file=sys.stderr)
        code = max(code, done)
        spare += share - (time.monotonic() - start)
    print(f"{len(SECONDS)} benchmarks in {time.monotonic() - begun:.0f} s, results in {given.output}")
    return code


if __name__ == "__main__":
    sys.exit(main())
