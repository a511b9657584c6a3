"""Which attention is fastest on this GPU for this shape: measured once a process, printed, remembered.

    candidates, dense        ours · SDPA by cuDNN · SDPA by FlashAttention
    candidates, documents    ours · torch's variable-length FlashAttention · FlexAttention · SDPA with a mask

`attention_fastest` has the signature of `attention`, and measures at the first call of each shape: forward and
backward on random numbers, laid out as splits of the fused projection, about a second and the time to compile. A
candidate that fails, or whose output or gradient is not that of the others, is named in the line that is printed and
never taken. Nothing is measured on a CPU, which gets `attention_sdpa`, nor where deterministic algorithms are asked
for (`torch.use_deterministic_algorithms`), which gets ours: the library's backwards add up in any order.
"""

from __future__ import annotations

import statistics
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gristmill.kernels.gpu import jit
from gristmill.kernels.gpu.attention import HEAD_DIMS, attention_sdpa, attention_triton

Attention = Callable[[Tensor, Tensor, Tensor, float, Tensor | None], Tensor]

OURS = "ours"
TOLERANCE = 0.05
"""Largest deviation from another candidate, of the largest value: bf16 rounds to 0.004, a wrong mask gives near 1."""
SECONDS = 0.1
"""Time to measure one candidate for, but at least once and at most ten times, after two calls that warm up."""
DOCUMENT_TOKENS = 600
"""Mean length of the documents that stand in where the caller has none: web documents under this tokenizer."""
MASK_BYTES = 1 << 30
"""A mask of B x S x S above this is not tried."""


@dataclass(frozen=True)
class Shape:
    """What the choice depends on."""

    batch: int
    length: int
    heads: int
    kv_heads: int
    d: int
    dtype: torch.dtype
    device: torch.device
    documents: bool

    def __str__(self) -> str:
        kind = "documents" if self.documents else "dense"
        return f"[{self.batch}, {self.length}, {self.heads}/{self.kv_heads}, {self.d}] {str(self.dtype)[6:]} {kind}"


@dataclass(frozen=True)
class Choice:
    """name: the fastest; times: candidate -> seconds of forward and backward, or what it failed with."""

    name: str
    times: dict[str, float | str]

    def __str__(self) -> str:
        times = self.times.items()
        each = [f"{name} {time * 1e3:.2f} ms" if isinstance(time, float) else f"{name}: {time}" for name, time in times]
        return f"{self.name} ({', '.join(each)})" if each else self.name


chosen: dict[Shape, Choice] = {}
"""What this process uses. A trainer that wants all ranks alike puts one rank's choices here before the first step."""


def attention_fastest(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    """As `attention`, by the fastest implementation for these shapes; the first call of each shape measures."""
    if not q.is_cuda:
        return attention_sdpa(q, k, v, scale, cu_seqlens)
    batch, length, heads, d = q.shape
    shape = Shape(batch, length, heads, k.shape[2], d, q.dtype, q.device, cu_seqlens is not None)
    choice = chosen.get(shape) or choose(shape, cu_seqlens)
    return CANDIDATES[choice.name](q, k, v, scale, cu_seqlens)


def choose(shape: Shape, cu_seqlens: Tensor | None = None) -> Choice:
    """Measure, print one line, remember. cu_seqlens: what to measure with, else documents of `DOCUMENT_TOKENS`."""
    if shape in chosen:
        return chosen[shape]
    if shape.device.type != "cuda":
        choice = Choice("SDPA", {})
    elif torch.are_deterministic_algorithms_enabled() and jit.triton is not None and shape.d in HEAD_DIMS:
        choice = Choice(OURS, {})
    else:
        choice = measure(shape, names(shape), cu_seqlens)
        print(f"attention {shape}: {choice}", flush=True)
    chosen[shape] = choice
    return choice


def names(shape: Shape) -> list[str]:
    """The candidates for a shape."""
    ours = [OURS] if jit.triton is not None else []
    if not shape.documents:
        return [*ours, "SDPA cuDNN", "SDPA flash"]
    masked = ["SDPA masked"] if shape.batch * shape.length**2 <= MASK_BYTES else []
    return [*ours, "flash varlen", "FlexAttention", *masked]


def measure(shape: Shape, candidates: Sequence[str], cu_seqlens: Tensor | None = None) -> Choice:
    """Time each candidate; of those that agree the fastest, or SDPA's own choice where none is left."""
    q, k, v, dout = _inputs(shape)
    if shape.documents and cu_seqlens is None:
        cu_seqlens = packed(shape.batch, shape.length, DOCUMENT_TOKENS, shape.device)
    times: dict[str, float | str] = {}
    results: dict[str, list[Tensor]] = {}
    for name in candidates:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SDPA warns why a backend does not serve, then raises
                if name == OURS:
                    tune(q, k, v, dout, cu_seqlens)
                times[name], results[name] = _time(CANDIDATES[name], q, k, v, dout, cu_seqlens)
        except Exception as error:  # whatever a candidate does, the others remain
            times[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error) else ''}"
    for name in disagreeing(results):
        times[name] = "its results are not the others'"
    fastest = sorted((t, name) for name, t in times.items() if isinstance(t, float))
    return Choice(fastest[0][1] if fastest else "SDPA", times)


def disagreeing(results: dict[str, list[Tensor]]) -> list[str]:
    """Those that differ from all others, where there are two or more to compare with; ours where there is one."""

    def near(a: str, b: str) -> bool:
        pairs = zip(results[a], results[b], strict=True)
        return all(bool((x - y).abs().max() <= TOLERANCE * y.abs().max()) for x, y in pairs)

    lonely = [a for a in results if len(results) > 1 and not any(near(a, b) for b in results if b != a)]
    return [OURS] if len(results) == 2 and OURS in lonely else lonely


def tune(q: Tensor, k: Tensor, v: Tensor, dout: Tensor, cu_seqlens: Tensor | None) -> None:
    """Set the fastest tile of each of our kernels for this head dimension, by the first shape that asks."""
    from gristmill.kernels.gpu import attention_launch as launch

    if q.dtype == torch.float32:
        return
    d = q.shape[3]
    for kernel in ("forward", "backward_kv", "backward_q"):
        tiles = launch.TILES.get((kernel, d), ())
        if (kernel, d) in launch.chosen or len(tiles) < 2:
            continue
        times: dict[launch.Tile, float] = {}
        for tile in tiles:
            launch.chosen[kernel, d] = tile
            try:
                times[tile], _ = _time(attention_triton, q, k, v, dout, cu_seqlens, backward=kernel != "forward")
            except Exception:  # too large for this GPU; if all are, the measurement of ours says so
                continue
        launch.chosen[kernel, d] = min(times, key=times.__getitem__, default=tiles[0])


def packed(batch: int, length: int, mean: int, device: torch.device) -> Tensor:
    """cu_seqlens int32 of windows full of documents whose lengths vary from one to seven quarters of the mean."""
    borders, at, step = [0], 0, 0
    while at < batch * length:
        window = (at // length + 1) * length
        at = min(at + max(1, mean * (1 + step * 5 % 7) // 4), window)
        borders.append(at)
        step += 1
    return torch.tensor(borders, dtype=torch.int32, device=device)


def _inputs(shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v as the model has them, splits of one tensor, and a gradient; drawn without touching torch's seeds."""
    random = torch.Generator(shape.device).manual_seed(0)
    heads = [shape.heads, shape.kv_heads, shape.kv_heads]

    def normal(heads: int) -> Tensor:
        size = (shape.batch, shape.length, heads, shape.d)
        return torch.randn(size, generator=random, dtype=shape.dtype, device=shape.device)

    q, k, v = (x.requires_grad_() for x in normal(sum(heads)).split(heads, dim=2))
    return q, k, v, normal(shape.heads)


def _time(
    run: Attention, q: Tensor, k: Tensor, v: Tensor, dout: Tensor, cu_seqlens: Tensor | None, backward: bool = True
) -> tuple[float, list[Tensor]]:
    """(median seconds, [out, dq, dk, dv])."""
    leaves = q, k, v = [x.detach().requires_grad_() for x in (q, k, v)]

    def once() -> list[Tensor]:
        with torch.enable_grad():
            out = run(q, k, v, q.shape[3] ** -0.5, cu_seqlens)
        gradients = torch.autograd.grad(out, leaves, dout) if backward else ()
        return [out.detach(), *gradients]

    results = once()
    once()  # the first may have compiled, and have woken the clocks
    seconds: list[float] = []
    while len(seconds) < 10 and sum(seconds) < SECONDS:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        once()
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(seconds), results


def _sdpa_by(backend: SDPBackend) -> Attention:
    def run(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
        with sdpa_kernel(backend):
            return attention_sdpa(q, k, v, scale, cu_seqlens)

    return run


def _flash_varlen(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    """torch.nn.attention.varlen, torch 2.10 and later."""
    from torch.nn.attention.varlen import varlen_attn

    flash: Any = varlen_attn
    flat = [x.flatten(0, 1) for x in (q, k, v)]  # [B * S, heads, d], views
    longest = q.shape[1]  # no document is longer
    grouped = q.shape[2] != k.shape[2]
    causal = (-1, 0)
    out: Tensor = flash(
        *flat, cu_seqlens, cu_seqlens, longest, longest, scale=scale, window_size=causal, enable_gqa=grouped
    )
    return out.view(q.shape)


_masks: list[tuple[weakref.ref, int, Any]] = []
"""The last cu_seqlens, its version, and FlexAttention's mask of it: all layers of a step share one."""


def _flex(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    assert cu_seqlens is not None
    version = cu_seqlens._version
    if not (_masks and _masks[0][1] == version and _masks[0][0]() is cu_seqlens):
        _masks[:] = [(weakref.ref(cu_seqlens), version, _flex_mask(q.shape[0], q.shape[1], cu_seqlens))]
    _, attend = _flex_compiled()
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]
    out: Tensor = attend(*heads_first, scale=scale, block_mask=_masks[0][2], enable_gqa=q.shape[2] != k.shape[2])
    return out.transpose(1, 2)


def _flex_mask(batch: int, length: int, cu_seqlens: Tensor) -> Any:
    token = torch.arange(batch * length, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    document = torch.searchsorted(cu_seqlens, token, right=True).view(batch, length)

    def same(b, h, i, j):
        return (i >= j) & (document[b, i] == document[b, j])

    make, _ = _flex_compiled()
    return make(same, batch, None, length, length, device=cu_seqlens.device)


_compiled: list[Callable] = []


def _flex_compiled() -> list[Callable]:
    if not _compiled:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        _compiled[:] = [torch.compile(create_block_mask), torch.compile(flex_attention)]
    return _compiled


CANDIDATES: dict[str, Attention] = {
    OURS: attention_triton,
    "SDPA": attention_sdpa,
    "SDPA masked": attention_sdpa,
    "SDPA cuDNN": _sdpa_by(SDPBackend.CUDNN_ATTENTION),
    "SDPA flash": _sdpa_by(SDPBackend.FLASH_ATTENTION),
    "flash varlen": _flash_varlen,
    "FlexAttention": _flex,
}
"""Name -> implementation, all with the signature of `attention`."""
