"""The rows of the table of GPU results, from `results/gpu_*.json`; "not measured" wherever there is no figure.

A row: what is done, ours, its target, the fastest peer of the same run, the script. Nothing is estimated: without its
result a row keeps its place and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[str, str, str, str, str]
NONE = "not measured"
HEAD = ("what, bf16", "Gristmill", "target on an H200", "fastest peer", "measured by")
STACK = "8 layers, 16,384 tokens a step"


@dataclass(frozen=True)
class Line:
    """One pass of one case; `share` names what its rate is a share of."""

    what: str
    op: str
    case: str
    passed: str
    target: str
    share: str = "of_copy"


BOTH = ("forward", "backward")
COPY = "90 % of copy"
FASTER = "faster than SDPA flash and FlexAttention"
LINES = (
    *(Line(f"residual add + LayerNorm, {p}", "layernorm", "16,384 x 6,144", p, COPY) for p in BOTH),
    *(Line(f"squared ReLU, {p}", "squared_relu", "16,384 x 24,576", p, COPY) for p in BOTH),
    *(Line(f"rotary embedding, {p}", "rope", "16,384 tokens, 48 and 8 heads", p, COPY) for p in BOTH),
    Line("AdamW", "adamw", "step, 100,663,296 parameters", "step", COPY),
    Line("gradient norm", "adamw", "gradient norm, 100,663,296 parameters", "norm", "–"),
    Line("embedding, backward", "embedding", "16,384 tokens", "backward", "–", ""),
    *(
        Line(
            f"linear + cross-entropy, {tokens} tokens",
            "cross_entropy",
            f"{tokens} tokens, vocabulary 256,000",
            "step",
            f"1.10 × the time of its GEMMs, 1 GiB{more}",
            "of_cublas",
        )
        for tokens, more in (("4,096", ", 2 × Liger"), ("16,384", ""))
    ),
    *(
        Line(f"attention, {kind}, {p}", "attention", f"{kind}, 48 and 8 heads", p, FASTER, "of_cublas")
        for kind in ("dense", "packed")
        for p in BOTH
    ),
    Line("eight layers, head and optimizer, a step", "stack", STACK, "step", "600 TFLOP/s", "of_cublas"),
)
"""Sizes are those of the targets; a case's name may go on after the one given here."""

NO_PEERS = ("ours", "its three GEMMs alone", "its GEMMs alone")


def rows(results: Mapping[str, Any]) -> Iterator[Row]:
    for line in LINES:
        yield _row(line, results)


def _row(line: Line, results: Mapping[str, Any]) -> Row:
    cases = results.get(f"gpu_{line.op}", {}).get("cases", {})
    here = [case for name, case in cases.items() if name.startswith(line.case)] or [{"figures": {}}]
    figures = {name: figure[line.passed] for name, figure in here[0]["figures"].items() if line.passed in figure}
    ours = figures.get("ours")
    peers = {name: figure for name, figure in figures.items() if name not in NO_PEERS}
    beside = NONE
    if peers:
        name = min(peers, key=lambda each: peers[each]["ms"])
        beside = f"{name}: {peers[name]['ms']:.3g} ms"
        if ours:
            beside += f", {peers[name]['ms'] / ours['ms']:.2f}×"
    shown = f"{ours['ms']:.3g} ms{_rate(ours, line.share)}" if ours else NONE
    return line.what, shown, line.target, beside, f"`benchmarks/gpu_{line.op}.py`"


def _rate(figure: Mapping[str, float], share: str) -> str:
    if share == "of_copy":
        return f", {figure['gb_s']:,.0f} GB/s, {figure['of_copy']:.0%} of copy"
    if share == "of_cublas":
        return f", {figure['tflops']:.0f} TFLOP/s, {figure['of_cublas']:.0%} of cuBLAS"
    return ""


def sentence(results: Mapping[str, Any]) -> str:
    """What the README says of GPUs, in one line."""
    found = {name: result for name, result in results.items() if name.startswith("gpu_")}
    if not found:
        return "On a GPU: not measured."
    stack = found.get("gpu_stack", {}).get("cases", {}).get(STACK, {}).get("figures", {}).get("ours", {}).get("step")
    rate = f"{stack['tflops']:.0f} TFLOP/s of the model, {stack['tokens_per_s']:,.0f} tokens/s" if stack else NONE
    newest = max(found.values(), key=lambda result: result["date"])
    return (
        f"On one {newest['device']}, {newest['date']}: eight layers of the 15B with head and optimizer, {rate}; "
        "[all kernels](docs/training.md#on-a-gpu)."
    )
