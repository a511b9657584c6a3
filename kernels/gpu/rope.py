"""Rotary position embedding on the first r of each head's d dimensions, rotate-half (Su et al. 2021, arXiv 2104.09864).

    for i < r/2, angle a = position * base^(-2i/r):
        z'[i]       = z[i] cos a - z[i + r/2] sin a
        z'[i + r/2] = z[i + r/2] cos a + z[i] sin a
    dimensions r..d pass unchanged

z runs over the query and key heads of the fused projection, [T, heads + 2 kv_heads, d]; the value heads pass
unchanged. The tables are fp32 [S, r/2]; the rotation is computed in fp32 and rounded once. The backward is the
rotation by -a.

`rope` is the definition in plain torch. `rope_triton` turns queries and keys in one launch, in place: of the 15B's
projection it reads and writes 56/64 * 1/2 = 7/16, the rest is not touched. Its backward writes a fresh buffer: a
gradient may have other readers (an addition hands one tensor to both its inputs, a hook or the caller may hold it),
and autograd does not tell a function who else holds it. So its traffic is 16/7 of what work in place would move.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gristmill.kernels.gpu.jit import jit, next_power_of_2, tl, triton


def tables(length: int, rotary_dim: int, base: float, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """cos, sin: fp32 [length, rotary_dim / 2]."""
    exponent = torch.arange(0, rotary_dim, 2, dtype=torch.float32, device=device) / rotary_dim
    angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * (1.0 / base**exponent)
    return angle.cos(), angle.sin()


def rope(qkv: Tensor, rotated_heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """qkv [T, heads + 2 kv_heads, d] with the first `rotated_heads` (= heads + kv_heads) turned.

    cos, sin: fp32 [S, r/2]; positions: int [T], each below S. The result may share qkv's storage.
    """
    return _Rope.apply(qkv, rotated_heads, cos, sin, positions)


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, rotated_heads, cos, sin, positions):
        ctx.save_for_backward(cos, sin, positions)
        ctx.rotated_heads = rotated_heads
        return _rotate(qkv, rotated_heads, cos[positions], sin[positions])

    @staticmethod
    def backward(ctx, dy):
        cos, sin, positions = ctx.saved_tensors
        return _rotate(dy, ctx.rotated_heads, cos[positions], -sin[positions]), None, None, None, None


def _rotate(z: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    wide = torch.promote_types(z.dtype, torch.float32)
    c, s = cos[:, None, :].to(wide), sin[:, None, :].to(wide)  # [T, 1, r/2]
    first, second = z[:, :heads, :half].to(wide), z[:, :heads, half : 2 * half].to(wide)
    out = z.clone()
    out[:, :heads, :half] = first * c - second * s
    out[:, :heads, half : 2 * half] = second * c + first * s
    return out


TILE = 2048
"""Elements of each half that a program turns: with 128 threads two loads of 16 bytes in bf16 from each half."""


@jit(do_not_specialize=("rows", "length"))
def _forward(
    z,  # [T, HEADS, WIDTH], turned in place
    cos,  # [S, HALF]
    sin,
    positions,  # [T]
    rows,  # T * TURNED
    length,  # S
    HEADS: tl.constexpr,
    TURNED: tl.constexpr,
    WIDTH: tl.constexpr,
    HALF: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    """Rows are (token, turned head) pairs, so that 7 heads (8 tensor-parallel ranks) fill a program as 56 do."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    token = row // TURNED
    column = tl.arange(0, BLOCK_HALF)
    inside = (row < rows)[:, None] & (column < HALF)[None, :]
    place = z + (token * HEADS + row % TURNED)[:, None] * WIDTH + column[None, :]
    first, second = tl.load(place, mask=inside), tl.load(place + HALF, mask=inside)
    turned_first, turned_second = _turned(
        first, second, cos, sin, positions, token, row < rows, length, 1, HALF, BLOCK_HALF
    )
    tl.store(place, turned_first, mask=inside)
    tl.store(place + HALF, turned_second, mask=inside)


@jit(do_not_specialize=("rows", "length"))
def _backward(
    dy,  # [T, HEADS, WIDTH]
    dz,  # [T, HEADS, WIDTH], written
    cos,
    sin,
    positions,
    rows,  # T * HEADS
    length,
    HEADS: tl.constexpr,
    TURNED: tl.constexpr,
    WIDTH: tl.constexpr,
    HALF: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
    BLOCK_REST: tl.constexpr,  # 0 where the whole head turns
):
    """Rows are all (token, head) pairs: those turned are turned back, everything else is copied in the same pass."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    token = row // HEADS
    column = tl.arange(0, BLOCK_HALF)
    inside = (row < rows)[:, None] & (column < HALF)[None, :]
    place = row[:, None] * WIDTH + column[None, :]
    first, second = tl.load(dy + place, mask=inside), tl.load(dy + place + HALF, mask=inside)
    if BLOCK_REST:
        column_rest = tl.arange(0, BLOCK_REST)
        inside_rest = (row < rows)[:, None] & (column_rest < WIDTH - 2 * HALF)[None, :]
        place_rest = row[:, None] * WIDTH + 2 * HALF + column_rest[None, :]
        tl.store(dz + place_rest, tl.load(dy + place_rest, mask=inside_rest), mask=inside_rest)
    turns = row % HEADS < TURNED
    turned_first, turned_second = _turned(
        first, second, cos, sin, positions, token, (row < rows) & turns, length, -1, HALF, BLOCK_HALF
    )
    # a choice, not cos 1 and sin 0: an infinity in a value head would become NaN
    tl.store(dz + place, tl.where(turns[:, None], turned_first, first), mask=inside)
    tl.store(dz + place + HALF, tl.where(turns[:, None], turned_second, second), mask=inside)


@jit
def _turned(
    first,  # [ROWS, BLOCK_HALF]
    second,
    cos,
    sin,
    positions,
    token,  # [ROWS]
    wanted,  # [ROWS]
    length,
    SIGN: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    """Both halves turned by SIGN times the angle of their token's position, in the dtype that they came in."""
    wide: tl.constexpr = tl.float64 if first.dtype == tl.float64 else tl.float32
    position = tl.load(positions + token, mask=wanted, other=0).to(tl.int64)
    column = tl.arange(0, BLOCK_HALF)
    # a position outside the tables reads nothing and turns its token into NaN, which no loss survives unseen
    known = (wanted & (position >= 0) & (position < length))[:, None] & (column < HALF)[None, :]
    angle = position[:, None] * HALF + column[None, :]
    c = tl.load(cos + angle, mask=known, other=float("nan")).to(wide)
    s = tl.load(sin + angle, mask=known, other=float("nan")).to(wide) * SIGN
    a, b = first.to(wide), second.to(wide)
    return (a * c - b * s).to(first.dtype), (b * c + a * s).to(first.dtype)


@torch.library.custom_op("gristmill::rope_forward", mutates_args=("qkv",))
def rope_forward(qkv: Tensor, rotated_heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> None:
    """Turns the first `rotated_heads` of contiguous qkv [T, n, d] in place."""
    tokens, heads, width = qkv.shape
    half = cos.shape[1]
    if tokens * rotated_heads * half == 0:
        return
    block = next_power_of_2(half)
    in_program = max(1, TILE // block)
    rows = tokens * rotated_heads
    _forward[(triton.cdiv(rows, in_program),)](
        qkv, cos, sin, positions, rows, cos.shape[0],
        HEADS=heads, TURNED=rotated_heads, WIDTH=width, HALF=half, ROWS=in_program, BLOCK_HALF=block, num_warps=4,
    )  # fmt: skip


@rope_forward.register_fake
def _(qkv, rotated_heads, cos, sin, positions):
    return None


@torch.library.custom_op("gristmill::rope_backward", mutates_args=())
def rope_backward(dy: Tensor, rotated_heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """The gradient of qkv from contiguous dy [T, n, d], in a tensor of its own."""
    tokens, heads, width = dy.shape
    half = cos.shape[1]
    dz = torch.empty_like(dy)
    if dy.numel() == 0:
        return dz
    block, rest = next_power_of_2(max(1, half)), width - 2 * half
    in_program = max(1, TILE // block)
    rows = tokens * heads
    _backward[(triton.cdiv(rows, in_program),)](
        dy, dz, cos, sin, positions, rows, cos.shape[0],
        HEADS=heads, TURNED=rotated_heads, WIDTH=width, HALF=half, ROWS=in_program, BLOCK_HALF=block,
        BLOCK_REST=next_power_of_2(rest) if rest else 0, num_warps=4,
    )  # fmt: skip
    return dz


@rope_backward.register_fake
def _(dy, rotated_heads, cos, sin, positions):
    return torch.empty_like(dy)


class _RopeTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx, whole, shape, rotated_heads, cos, sin, positions):
        ctx.save_for_backward(cos, sin, positions)
        ctx.shape, ctx.rotated_heads = shape, rotated_heads
        ctx.mark_dirty(whole)
        rope_forward(whole.view(shape), rotated_heads, cos, sin, positions)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        dz = rope_backward(dy.contiguous().view(ctx.shape), ctx.rotated_heads, *ctx.saved_tensors)
        return dz.view(dy.shape), None, None, None, None, None


def rope_triton(qkv: Tensor, rotated_heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """`rope`, turning qkv itself where that can be: a caller must not count on qkv being as it was.

    qkv: bf16, fp16, fp32 or fp64 [T, heads + 2 kv_heads, d]; cos, sin: fp32 [S, r/2], r <= d;
    positions: int32 or int64 [T]; a token whose position is not in 0..S-1 becomes NaN.

    Autograd knows of the write: qkv afterwards *is* the turned tensor, and what saved its old value for a backward
    raises there instead of computing from the new one. A leaf that requires its gradient, a view of one, and a qkv
    that is not contiguous are copied first. Raises ValueError where the sizes do not fit each other.
    """
    tokens, heads, width = qkv.shape
    half = cos.shape[-1]
    if not 0 <= rotated_heads <= heads or 2 * half > width or cos.shape != sin.shape or positions.shape != (tokens,):
        raise ValueError(
            f"qkv {tuple(qkv.shape)} with {rotated_heads} heads to turn, tables {tuple(cos.shape)} and "
            f"{tuple(sin.shape)}, positions {tuple(positions.shape)}: these do not fit each other"
        )
    whole = _owner(qkv)
    leaf = whole if whole._base is None else whole._base
    if leaf.is_leaf and leaf.requires_grad and torch.is_grad_enabled():
        whole = whole.clone()
    turned = _RopeTriton.apply(
        whole, qkv.shape, rotated_heads, cos.contiguous(), sin.contiguous(), positions.contiguous()
    )
    return turned.view(qkv.shape)


def _owner(qkv: Tensor) -> Tensor:
    """The tensor to write to so that autograd sees it: qkv, or what qkv is a mere reshape of, or a copy.

    The model's qkv is a reshape of its linear layer's output. Autograd can follow a write through a view, but its
    backward then copies the whole gradient twice (CopySlices); a write to the viewed tensor costs nothing.
    """
    if not qkv.is_contiguous():
        return qkv.contiguous()
    base = qkv._base
    if base is None or base.dtype != qkv.dtype or base.numel() != qkv.numel() or not base.is_contiguous():
        return qkv
    return base
