"""The GPU that a benchmark runs on: what it is, what it can do, and the clock for all that is measured on it.

`described` and `rates` head every result: device, driver, versions, date; the machine's own rate of a cuBLAS GEMM of
8192 x 8192 x 8192 in bf16, and of a large `copy_`, bytes read and written. Shares in the results are of these two,
taken in the same process. Operands are random: zeros take less power, and a GEMM of zeros ran 13 % faster.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "triton", "numpy", "transformers", "liger-kernel", "cut-cross-entropy")
SIDE = 8192
COPY_BYTES = 4 << 30
"""Of the source: far beyond any GPU's cache."""
REPEATS = 7
"""At least so many timed calls, of those that take longer than a tenth of this of CLOCK_MS."""
CLOCK_MS = 100


@dataclass(frozen=True)
class Options:
    """How a benchmark was called."""

    dry: bool
    seconds: float
    output: Path


def options(document: str | None, arguments: list[str] | None = None) -> Options:
    """Reads the command line; ends with one sentence and exit code 2 where a GPU is wanted and there is none."""
    parser = argparse.ArgumentParser(description=(document or "").split("\n")[0])
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU, no times, nothing written")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="after these, peers that are left are not measured"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args(arguments)
    if given.dry:
        os.environ["TRITON_INTERPRET"] = "1"  # before a kernel is imported
    else:
        need_gpu()
    return Options(given.dry, given.seconds, given.output)


def need_gpu() -> None:
    """Ends the process, exit code 2, where nothing can be measured."""
    said = None
    if not torch.cuda.is_available():
        said = "no CUDA device here: nothing was measured and nothing written; --dry runs every line on the CPU"
    elif os.environ.get("TRITON_INTERPRET") == "1":
        said = "TRITON_INTERPRET=1 would measure Triton's interpreter: unset it"
    if said:
        print(said, file=sys.stderr)
        sys.exit(2)


def described() -> dict[str, Any]:
    """Device, driver, versions, date."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "python": sys.version.split()[0],
        "versions": found,
        "date": time.strftime("%Y-%m-%d"),
    }


def _driver() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({type(error).__name__})"


def rates() -> dict[str, float]:
    """TFLOP/s of cuBLAS at 8192^3 in bf16, GB/s of a large copy."""
    a, b = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    gemm = clock(lambda: torch.mm(a, b, out=out))["ms"]
    source = torch.empty(COPY_BYTES, device="cuda", dtype=torch.uint8).random_()
    target = torch.empty_like(source)
    copy = clock(lambda: target.copy_(source))["ms"]
    return {"cublas_8192_tflops": 2e-9 * SIDE**3 / gemm, "copy_gb_s": 2e-6 * COPY_BYTES / copy}


def clock(run: Callable[[], Any]) -> dict[str, float]:
    """Median, least and most milliseconds of one call on the GPU, the L2 cleared before each; and how many calls."""
    from triton.testing import do_bench

    run()  # compiles
    once = _once(run)
    times = do_bench(run, warmup=25, rep=max(CLOCK_MS, REPEATS * once), return_mode="all")
    return _summary(times)


def clock_steps(run: Callable[[], Any], warm: int = 5, steps: int = 20) -> dict[str, float]:
    """As `clock`, for calls of a second: `steps` of them after `warm`, one after the other as in training."""
    for _ in range(warm):
        run()
    return _summary([_once(run) for _ in range(steps)])


def _once(run: Callable[[], Any]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2
    return {"ms": middle, "least_ms": ordered[0], "most_ms": ordered[-1], "calls": len(ordered)}


def extra_bytes(run: Callable[[], Any]) -> int:
    """Memory that one call takes at its peak beyond what was allocated before it, its results among it."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


class OutOfTime(Exception):
    """What a `time_limit` ends with."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """OutOfTime in the body after so many seconds; in a call of C as soon as that returns. None: no limit."""
    if seconds is None:
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime(f"took more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON, whole or not at all: a benchmark that is ended early leaves what it had measured."""
    partial = path.with_name(f".partial-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)
