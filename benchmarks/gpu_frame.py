"""What every GPU benchmark does with its cases and implementations; the scripts `gpu_*.py` say only which.

A `Case` is an op at one size: random inputs, what is right for a sample of the results (fp64), the bytes or FLOPs that
each pass needs, and the targets. An `Entry` is an implementation: from a case's inputs it makes `Runs`, the calls to
time. Ours comes first in all cases, then each peer in its turn until the time is up. An entry is checked before it is
timed: where it is wrong, fails, cannot be imported or is not reached, the reason is written in place of a figure.

    {"op", device and versions, "machine": rates, "cases": {case: {"figures": {entry: {pass: {"ms", ...}, "error"}},
     "not_measured": {entry: reason}, "targets": [{"what", "target", "figure", "met"}]}}}

Passes with bytes have `gb_s` and `of_copy`, those with FLOPs `tflops` and `of_cublas`; `extra_gib` is the memory at the
peak beyond what was there before. `error` is the largest |got - right| / |right| over the sampled tensors (2-norms).
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import gpu_machine
import torch
from gpu_machine import Options
from torch import Tensor

OURS, EAGER, COMPILED, LIGER, CCE = "ours", "torch eager", "torch.compile", "Liger-Kernel", "cut-cross-entropy"
ALLOWED = 0.03
"""Of a result's norm. Right implementations in bf16 are off by 0.002 to 0.015; a wrong row or term, by far more."""
DRY_ALLOWED = 1e-3
PEER_SECONDS = 45.0
"""A peer gets no more for one case, compiling included."""

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Runs:
    """An implementation on a case's inputs: a call for each pass, and the results that are checked, by name."""

    passes: Mapping[str, Callable[[], Any]]
    results: Callable[[], Mapping[str, Tensor]]
    returned_bytes: int = 0
    """Of results that every implementation has to allocate: not counted as extra."""


@dataclass(frozen=True)
class Entry:
    name: str
    build: Callable[[Any], Runs]
    kept: bool = False
    """Measured whatever the time: ours, and what a target is a ratio to."""
    clock: Callable[[Callable[[], Any]], dict[str, float]] = gpu_machine.clock


@dataclass(frozen=True)
class Sample:
    """The part of a result that is checked, and what is right for it."""

    pick: Callable[[Tensor], Tensor]
    right: Tensor


@dataclass(frozen=True)
class Work:
    """What one pass needs. `also`: amounts that are written per second under their name."""

    bytes: float = 0
    flops: float = 0
    also: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """`figure` from a case's figures, at least or at most; with neither limit it is only written down."""

    what: str
    figure: Callable[[Figures], float | None]
    least: float | None = None
    most: float | None = None

    def judged(self, figures: Figures) -> dict[str, Any]:
        try:
            figure = self.figure(figures)
        except (KeyError, TypeError):  # not measured
            figure = None
        met = None
        if figure is not None and (self.least, self.most) != (None, None):
            met = (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)
        limit = (
            f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}" if self.most else None
        )
        return {"what": self.what, "target": limit, "figure": rounded(figure), "met": met}


@dataclass(frozen=True)
class Case:
    name: str
    inputs: Callable[[], Any]
    """New ones, the same each time."""
    right: Callable[[Any], Mapping[str, Sample]]
    work: Mapping[str, Work]
    entries: Sequence[Entry]
    targets: Sequence[Target] = ()
    allowed: float = ALLOWED
    peer_seconds: float = PEER_SECONDS


def of_copy(which: str, least: float = 0.9) -> Target:
    return Target(f"{which}: share of the copy rate", lambda f: f[OURS][which]["of_copy"], least)


def times_faster(peer: str, which: str, least: float = 1.0) -> Target:
    """How many times faster than a peer."""
    return Target(f"{which}: times faster than {peer}", lambda f: f[peer][which]["ms"] / f[OURS][which]["ms"], least)


def rounded(x: Any) -> Any:
    """Five digits, in whatever is written."""
    if isinstance(x, Mapping):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [rounded(value) for value in x]
    return float(f"{x:.5g}") if isinstance(x, float) else x


class Bench:
    """One benchmark's run. `device`, `dtype` and `size` are what its cases are made of."""

    def __init__(self, op: str, given: Options):
        self.op, self.dry = op, given.dry
        self.device = torch.device("cpu" if given.dry else "cuda")
        self.dtype = torch.float32 if given.dry else torch.bfloat16
        self._ends = time.monotonic() + given.seconds
        self._path = given.output / f"gpu_{op}.json"
        self._right: dict[str, Mapping[str, Sample]] = {}
        self._failed = False
        self.result: dict[str, Any] = {"op": op, "command": f"python benchmarks/gpu_{op}.py"}
        if self.dry:
            return
        self.result |= {**gpu_machine.described(), "machine": rounded(gpu_machine.rates())}
        torch.cuda.empty_cache()
        head, machine = self.result, self.result["machine"]
        print(
            f"{op}: {head['device']}, driver {head['driver']}, "
            + ", ".join(f"{name} {number}" for name, number in head["versions"].items())
            + f", {head['date']}\ncuBLAS 8192^3 bf16 {machine['cublas_8192_tflops']:.0f} TFLOP/s, "
            f"copy {machine['copy_gb_s']:,.0f} GB/s",
            flush=True,
        )

    def size(self, full: Any, tiny: Any) -> Any:
        return tiny if self.dry else full

    def generator(self, seed: int = 1) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def randn(
        self, generator: torch.Generator, *size: int, std: float = 1.0, dtype: torch.dtype | None = None
    ) -> Tensor:
        return torch.randn(size, generator=generator, device=self.device, dtype=dtype or self.dtype).mul_(std)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """torch.compile for the sizes at hand; without a GPU it only traces."""
        torch._dynamo.reset()
        return torch.compile(function, backend="eager") if self.dry else torch.compile(function, dynamic=False)

    def run(self, cases: Sequence[Case]) -> int:
        """Measures all cases; the exit code: 1 where ours is wrong or fails."""
        self.result["cases"] = {
            case.name: {"figures": {}, "not_measured": {e.name: "not reached" for e in case.entries}} for case in cases
        }
        for turn in range(max(len(case.entries) for case in cases)):
            for case in cases:
                if turn < len(case.entries):
                    self._measure(case, case.entries[turn])
        for case in cases:
            for each in case.targets if self.dry else ():
                each.figure(_made_up(case))  # a target of an entry or a pass that is not there raises here
            for target in self.result["cases"][case.name].get("targets", ()):
                if target["met"] is not None:
                    print(
                        f"{'met' if target['met'] else 'MISSED'}: {case.name}, {target['what']} {target['figure']:.3g}"
                    )
        return int(self._failed)

    def _measure(self, case: Case, entry: Entry) -> None:
        place = self.result["cases"][case.name]
        left = self._ends - time.monotonic()
        if not entry.kept and left <= 0:
            place["not_measured"][entry.name] = reason = "not reached in the time given"
        else:
            figure, reason = self._figure(case, entry, None if entry.kept else min(case.peer_seconds, left))
            if figure is not None:
                place["figures"][entry.name] = figure
                del place["not_measured"][entry.name]
            else:
                place["not_measured"][entry.name] = reason
                self._failed |= entry.kept
        gc.collect()
        if not self.dry:
            torch.cuda.empty_cache()
            place["targets"] = [target.judged(place["figures"]) for target in case.targets]
            gpu_machine.write(self._path, self.result)
        self._say(case, entry, reason)

    def _figure(self, case: Case, entry: Entry, limit: float | None) -> tuple[dict[str, Any] | None, str]:
        """(the figure, "") or (None, why there is none)."""
        try:
            if case.name not in self._right:
                self._right[case.name] = case.right(case.inputs())
            with gpu_machine.time_limit(limit):
                runs = entry.build(case.inputs())
                with torch.no_grad():
                    errors = self._errors(case, {k: v.detach() for k, v in _enabled(runs.results).items()})
                name = max(errors, key=lambda key: errors[key], default="")
                worst = errors.get(name, 0.0)
                allowed = DRY_ALLOWED if self.dry else case.allowed
                if not worst <= allowed:  # nor where it is not a number
                    return None, f"wrong: {name} is off by {worst:.2g} of its norm, {allowed:g} is allowed"
                figure = {which: self._timed(case, entry, which, runs) for which in runs.passes}
                return rounded({**figure, "error": worst, "errors": errors}), ""
        except (Exception, SystemExit) as error:
            if self.dry and entry.kept:
                traceback.print_exc()
            return None, _reason(error)

    def _errors(self, case: Case, results: Mapping[str, Tensor]) -> dict[str, float]:
        errors = {}
        for name, result in results.items():
            sample = self._right[case.name][name]
            right = sample.right.double()
            difference = sample.pick(result).double() - right
            errors[name] = (difference.norm() / right.norm().clamp(min=1e-30)).item()
        return {name: float("inf") if error != error else error for name, error in errors.items()}

    def _timed(self, case: Case, entry: Entry, which: str, runs: Runs) -> dict[str, Any]:
        run, work = runs.passes[which], case.work[which]
        if self.dry:
            run()
            return {}
        extra = gpu_machine.extra_bytes(run) - runs.returned_bytes
        figure: dict[str, Any] = {**entry.clock(run), "extra_gib": extra / 2**30}
        machine, seconds = self.result["machine"], figure["ms"] / 1e3
        if work.bytes:
            rate = work.bytes / seconds / 1e9
            figure |= {"gb_s": rate, "of_copy": rate / machine["copy_gb_s"]}
        if work.flops:
            rate = work.flops / seconds / 1e12
            figure |= {"tflops": rate, "of_cublas": rate / machine["cublas_8192_tflops"]}
        return figure | {name: amount / seconds for name, amount in work.also.items()}

    def _say(self, case: Case, entry: Entry, reason: str) -> None:
        parts = [f"  {case.name:34} {entry.name:40}"]
        for which, values in self.result["cases"][case.name]["figures"].get(entry.name, {}).items():
            if isinstance(values, dict) and "ms" in values:
                rate = f" {values['gb_s']:,.0f} GB/s" if "gb_s" in values else ""
                rate += f" {values['tflops']:.0f} TFLOP/s" if "tflops" in values else ""
                parts.append(f"{which} {values['ms']:.3f} ms{rate}")
        print(" ".join([*parts, reason or ("right" if self.dry else "")]).rstrip(), flush=True)


def _made_up(case: Case) -> Figures:
    keys = ("ms", "extra_gib", "gb_s", "of_copy", "tflops", "of_cublas")
    return {e.name: {p: dict.fromkeys((*keys, *work.also), 1.0) for p, work in case.work.items()} for e in case.entries}


def _enabled(results: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    with torch.enable_grad():
        return results()


def _reason(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return f"not importable: {error}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def load(name: str) -> Any:
    """What `module:name` names, imported only now, when the device is known."""
    module, function = name.split(":")
    return getattr(import_module(module), function)


def trained(
    call: Callable[[], Any],
    leaves: Mapping[str, Tensor],
    gradients: Sequence[Tensor],
    names: Sequence[str],
    buffers: Mapping[str, Tensor] | None = None,
) -> Runs:
    """Runs "forward" and "backward" of a differentiable call with outputs `names`; results: these, and "d" + each leaf.

    buffers: gradients that the backward adds to instead, under their result's name; they are zeroed for the check.
    """
    held = [leaf for leaf in leaves.values() if leaf.requires_grad]
    first = _tuple(call())

    def backward(outputs: tuple[Tensor, ...] = first) -> Sequence[Tensor | None]:
        return torch.autograd.grad(outputs, held, gradients, retain_graph=True, allow_unused=True)

    def results() -> dict[str, Tensor]:
        for buffer in (buffers or {}).values():
            buffer.zero_()
        outputs = _tuple(call())
        found = dict(zip(leaves, backward(outputs), strict=True))
        given = {f"d{name}": gradient for name, gradient in found.items() if gradient is not None}
        return {**dict(zip(names, outputs, strict=True)), **given, **(buffers or {})}

    return Runs({"forward": call, "backward": backward}, results)


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
