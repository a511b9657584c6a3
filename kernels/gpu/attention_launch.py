"""Launches of the attention kernels: shapes of the tiles, strides, descriptors, grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gristmill.kernels.gpu import attention_kernels as kernels
from gristmill.kernels.gpu.jit import INTERPRET, triton

L2_BYTES = 24 << 20
"""Keys and values in use at one time: under half of the 50 MB of L2 that an H100 has, 60 MB on an H200."""


@dataclass(frozen=True)
class Tile:
    """rows: queries in a block; columns: keys in a block; warps and pipeline stages of a program."""

    rows: int
    columns: int
    warps: int
    stages: int


TILES: dict[tuple[str, int], tuple[Tile, ...]] = {
    ("forward", 128): (Tile(128, 128, 8, 2), Tile(128, 64, 8, 3), Tile(64, 64, 4, 3)),
    ("backward_kv", 128): (Tile(64, 128, 8, 2), Tile(32, 128, 8, 2), Tile(64, 64, 4, 2)),
    ("backward_q", 128): (Tile(128, 64, 8, 2), Tile(128, 64, 8, 3), Tile(64, 64, 4, 2)),
    ("forward", 64): (Tile(128, 128, 8, 3), Tile(128, 64, 4, 3)),
    ("backward_kv", 64): (Tile(64, 128, 8, 2), Tile(64, 64, 4, 2)),
    ("backward_q", 64): (Tile(128, 64, 8, 3), Tile(64, 64, 4, 3)),
    ("forward", 32): (Tile(128, 64, 4, 3),),
    ("backward_kv", 32): (Tile(64, 64, 4, 2),),
    ("backward_q", 32): (Tile(64, 64, 4, 2),),
    ("forward", 16): (Tile(128, 64, 4, 3),),
    ("backward_kv", 16): (Tile(64, 64, 4, 2),),
    ("backward_q", 16): (Tile(64, 64, 4, 2),),
}
"""(kernel, d) -> tiles worth measuring on Hopper for 16-bit types, which `attention_choice` does; the first is the
default. They are those for which the compiler says for sm_90: products that do not wait for each other, no spills in
forward and backward_q, at most a few registers outside the loops in backward_kv, whose two accumulators of 128 x 128
take half of all registers. Tiles of 4 warps let two programs share a multiprocessor, for small grids (one kv head).
"""

DELTA_ROWS = 64
"""Rows of a program of the preprocess: 16 KB of each input at d = 128."""

EXACT = Tile(32, 32, 4, 1)
"""For fp32, which is for tests: no tensor cores, twice the bytes."""

INTERPRETED = Tile(32, 16, 1, 1)
"""Small, so that short windows have blocks of every kind."""

chosen: dict[tuple[str, int], Tile] = {}
"""What was measured to be fastest in this process; `attention_choice` writes it."""


def tile(kernel: str, d: int, dtype: torch.dtype) -> Tile:
    """The tile that `kernel` runs with."""
    if INTERPRET:
        return INTERPRETED
    if dtype == torch.float32:
        return EXACT
    return chosen.get((kernel, d), TILES[kernel, d][0])


def forward(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
    """-> out [B, S, heads, d], lse fp32 [B, heads, S], base 2."""
    batch, length, heads, d = q.shape
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = q.new_empty((batch, heads, length), dtype=torch.float32)
    if not q.numel():
        return out, lse
    q, k, v = _rows(q), _rows(k), _rows(v)
    start, _ = bounds(cu_seqlens, batch, length)
    t = tile("forward", d, q.dtype)
    tma = takes_descriptors(q, k, v)
    inputs = (q, *_sources(k, v, rows=t.columns, tma=tma))
    sizes = (scale * math.log2(math.e), length, k.shape[2], heads // k.shape[2], batch * k.shape[2], _section(k))
    grid = (triton.cdiv(length, t.rows) * batch * heads,)
    kernels._forward[grid](*inputs, out, lse, start, *_strides(q, k, v), *sizes, **_constants(t, d, cu_seqlens, tma))
    return out, lse


def backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """-> dq [B, S, heads, d], dk, dv [B, S, kv_heads, d]."""
    batch, length, heads, d = q.shape
    dq, dk, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    if not q.numel():
        return dq, dk, dv
    q, k, v = _rows(q), _rows(k), _rows(v)
    dout = dout.contiguous()  # it is, but where a loss sums the output itself
    start, end = bounds(cu_seqlens, batch, length)
    delta = torch.empty_like(lse)
    rows = 16 if INTERPRET else DELTA_ROWS
    grid = (triton.cdiv(length, rows) * batch * heads,)
    kernels._delta[grid](out, dout, delta, length, heads, D=d, ROWS=rows, num_warps=4)

    tma = takes_descriptors(q, k, v, dout)
    sizes = (scale * math.log2(math.e), scale, length, k.shape[2], heads // k.shape[2], batch * k.shape[2])
    t = tile("backward_kv", d, q.dtype)
    looped = _sources(q, dout, rows=t.rows, tma=tma)
    inputs = (looped[0], k, v, looped[1])
    grid = (triton.cdiv(length, t.columns) * batch * k.shape[2],)
    constants = _constants(t, d, cu_seqlens, tma)
    kernels._backward_kv[grid](*inputs, dk, dv, lse, delta, end, *_strides(q, k, v), *sizes, **constants)

    t = tile("backward_q", d, q.dtype)
    inputs = (q, *_sources(k, v, rows=t.columns, tma=tma), dout)
    grid = (triton.cdiv(length, t.rows) * batch * heads,)
    constants = _constants(t, d, cu_seqlens, tma)
    kernels._backward_q[grid](*inputs, dq, lse, delta, start, *_strides(q, k, v), *sizes, _section(k), **constants)
    return dq, dk, dv


def bounds(cu_seqlens: Tensor | None, batch: int, length: int) -> tuple[Tensor | None, Tensor | None]:
    """Per token, within its window: where its document starts and where it ends, int32 [B * S] each."""
    if cu_seqlens is None:
        return None, None
    total = batch * length
    cu_seqlens = cu_seqlens.contiguous()
    start, end = torch.empty((2, total), dtype=torch.int32, device=cu_seqlens.device)
    borders = cu_seqlens.numel()
    block = 256
    kernels._bounds[(triton.cdiv(total, block),)](
        cu_seqlens, start, end, total, length, borders, borders.bit_length(), BLOCK=block, num_warps=4
    )
    return start, end


def takes_descriptors(*tensors: Tensor) -> bool:
    """Whether TMA can load all of them: Hopper or later, bases and strides in multiples of 16 bytes."""
    if not tensors[0].is_cuda or torch.cuda.get_device_capability(tensors[0].device) < (9, 0):
        return False
    return all(_aligned(x) for x in tensors)


def _aligned(x: Tensor) -> bool:
    size = x.element_size()
    return x.data_ptr() % 16 == 0 and all(stride * size % 16 == 0 for stride in _outer_strides(x))


def _sources(*tensors: Tensor, rows: int, tma: bool) -> list[Any]:
    """The tensors as they are, or descriptors that load `rows` rows of one head."""
    if not tma:
        return list(tensors)
    from triton.tools.tensor_descriptor import TensorDescriptor

    return [TensorDescriptor(x, list(x.shape), [*_outer_strides(x), 1], [1, rows, 1, x.shape[3]]) for x in tensors]


def _outer_strides(x: Tensor) -> list[int]:
    """Strides of [B, S, heads]; of a dimension of size 1, whose stride may be anything, that of its rows together."""
    return [stride if size > 1 else x.shape[3] for size, stride in zip(x.shape[:3], x.stride()[:3])]


def _strides(*tensors: Tensor) -> list[int]:
    return [stride for x in tensors for stride in _outer_strides(x)]


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(3) == 1 else x.contiguous()


def _section(k: Tensor) -> int:
    """Groups whose keys and values are in use at one time."""
    batch, length, kv_heads, d = k.shape
    return min(batch * kv_heads, max(1, L2_BYTES // (2 * length * d * k.element_size())))


def _constants(t: Tile, d: int, cu_seqlens: Tensor | None, tma: bool) -> dict[str, Any]:
    return {
        "D": d,
        "ROWS": t.rows,
        "COLUMNS": t.columns,
        "DOCUMENTS": cu_seqlens is not None,
        "TMA": tma,
        "INTERPRET": INTERPRET,
        "num_warps": t.warps,
        "num_stages": t.stages,
    }
