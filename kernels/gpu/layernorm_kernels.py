"""Triton kernels of kernels/gpu/layernorm.py, which has the formula and launches them.

    forward     h = x + residual, statistics, y: a tile of whole rows a program, one pass
    backward    dx for tiles p, p + P, p + 2P, ... of program p of P; sums dw and db of its rows in registers
    terms       for rows too wide for that: the two means over a row that dx needs
    columns     and then dx and the sums of dw and db, a block of columns and every P-th tile of rows a program
    reduce      the P partial sums of dw and db added in the order of p

Tiles are [ROWS, COLUMNS], COLUMNS the power of two that holds H. H is constant, so that loads are known to be whole
16 bytes and the forward holds nothing in registers for what lies beyond it (a quarter of 8192 for 6144). The number of
rows is a run-time value that is not specialised on: one build serves every batch size.
"""

from __future__ import annotations

from gristmill.kernels.gpu.jit import jit, tl


@jit(do_not_specialize=["rows"])
def forward(
    x, residual, weight, bias, y, h, mean, rstd, rows, eps,
    H: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)  # [ROWS]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = column < H
    mask = (row < rows)[:, None] & inside
    place = row[:, None] * H + column
    wide = tl.load(x + place, mask=mask, other=0.0, eviction_policy="evict_first").to(tl.float32)
    if HAS_RESIDUAL:
        added = tl.load(residual + place, mask=mask, other=0.0, eviction_policy="evict_first").to(tl.float32)
        stored = (wide + added).to(h.dtype.element_ty)
        tl.store(h + place, stored, mask=mask)
        wide = stored.to(tl.float32)  # the statistics are of h as it is stored, which is what the backward reads
    # Asked for before the reductions, so that they come from the cache while those run.
    gamma = tl.load(weight + column, mask=inside, other=0.0)
    beta = tl.load(bias + column, mask=inside, other=0.0)
    average = tl.sum(tl.where(inside, wide, 0.0), axis=1) / H  # [ROWS]
    centred = tl.where(inside, wide - average[:, None], 0.0)
    scale = 1.0 / tl.sqrt_rn(tl.sum(centred * centred, axis=1) / H + eps)
    tl.store(mean + row, average, mask=row < rows)
    tl.store(rstd + row, scale, mask=row < rows)
    out = centred * scale[:, None] * (1.0 + gamma.to(tl.float32)) + beta.to(tl.float32)
    tl.store(y + place, out.to(y.dtype.element_ty), mask=mask)


@jit(do_not_specialize=["rows"])
def backward(
    dy, dh, h, mean, rstd, weight, dx, dw_partial, db_partial, rows,
    H: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr, HAS_DH: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    column = tl.arange(0, COLUMNS)[None, :]
    inside = column < H
    gamma = 1.0 + tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    dw = tl.zeros([ROWS, COLUMNS], tl.float32)
    db = tl.zeros([ROWS, COLUMNS], tl.float32)
    # STAGES: the next tiles come to shared memory while this one is reduced, or memory would wait at each reduction.
    for first in tl.range(program * ROWS, rows, tl.num_programs(0) * ROWS, num_stages=STAGES):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        mask = (row < rows)[:, None] & inside
        place = row[:, None] * H + column
        wide = tl.load(h + place, mask=mask, other=0.0).to(tl.float32)
        dout = tl.load(dy + place, mask=mask, other=0.0).to(tl.float32)
        average = tl.load(mean + row, mask=row < rows, other=0.0)[:, None]
        scale = tl.load(rstd + row, mask=row < rows, other=0.0)[:, None]
        normed = (wide - average) * scale  # beyond H not 0, but multiplied by dout or dn, which are
        dw += dout * normed
        db += dout
        dn = dout * gamma
        along_ones = (tl.sum(dn, axis=1) / H)[:, None]
        along_normed = (tl.sum(dn * normed, axis=1) / H)[:, None]
        out = (dn - along_ones - normed * along_normed) * scale
        if HAS_DH:
            out += tl.load(dh + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(dx + place, out.to(dx.dtype.element_ty), mask=mask)
    place = program.to(tl.int64) * H + tl.arange(0, COLUMNS)
    tl.store(dw_partial + place, tl.sum(dw, axis=0), mask=tl.arange(0, COLUMNS) < H)
    tl.store(db_partial + place, tl.sum(db, axis=0), mask=tl.arange(0, COLUMNS) < H)


@jit
def terms(
    dy, h, mean, rstd, weight, along_ones, along_normed,
    H: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    average = tl.load(mean + row)
    scale = tl.load(rstd + row)
    ones = tl.zeros([COLUMNS], tl.float32)
    normed = tl.zeros([COLUMNS], tl.float32)
    for first in tl.range(0, H, COLUMNS, num_stages=STAGES):
        column = first + tl.arange(0, COLUMNS)
        inside = column < H
        wide = tl.load(h + row * H + column, mask=inside, other=0.0).to(tl.float32)
        dout = tl.load(dy + row * H + column, mask=inside, other=0.0).to(tl.float32)
        dn = dout * (1.0 + tl.load(weight + column, mask=inside, other=0.0).to(tl.float32))
        ones += dn
        normed += dn * ((wide - average) * scale)
    tl.store(along_ones + row, tl.sum(ones, axis=0) / H)
    tl.store(along_normed + row, tl.sum(normed, axis=0) / H)


@jit(do_not_specialize=["rows"])
def columns(
    dy, dh, h, mean, rstd, weight, along_ones, along_normed, dx, dw_partial, db_partial, rows,
    H: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr, HAS_DH: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < H
    gamma = 1.0 + tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    dw = tl.zeros([ROWS, COLUMNS], tl.float32)
    db = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in tl.range(program * ROWS, rows, tl.num_programs(0) * ROWS, num_stages=STAGES):
        row = (first + tl.arange(0, ROWS)).to(tl.int64)
        mask = (row < rows)[:, None] & inside[None, :]
        place = row[:, None] * H + column[None, :]
        wide = tl.load(h + place, mask=mask, other=0.0).to(tl.float32)
        dout = tl.load(dy + place, mask=mask, other=0.0).to(tl.float32)
        average = tl.load(mean + row, mask=row < rows, other=0.0)[:, None]
        scale = tl.load(rstd + row, mask=row < rows, other=0.0)[:, None]
        ones = tl.load(along_ones + row, mask=row < rows, other=0.0)[:, None]
        slope = tl.load(along_normed + row, mask=row < rows, other=0.0)[:, None]
        normed = (wide - average) * scale
        dw += dout * normed
        db += dout
        out = (dout * gamma - ones - normed * slope) * scale
        if HAS_DH:
            out += tl.load(dh + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(dx + place, out.to(dx.dtype.element_ty), mask=mask)
    place = program.to(tl.int64) * H + column
    tl.store(dw_partial + place, tl.sum(dw, axis=0), mask=inside)
    tl.store(db_partial + place, tl.sum(db, axis=0), mask=inside)


@jit(do_not_specialize=["programs"])
def reduce(
    dw_partial, db_partial, dw, db, programs,
    H: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ADD_W: tl.constexpr, ADD_B: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < H
    w_tile = tl.zeros([ROWS, COLUMNS], tl.float32)
    b_tile = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, programs, ROWS):
        program = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
        mask = (program < programs) & inside[None, :]
        w_tile += tl.load(dw_partial + program * H + column[None, :], mask=mask, other=0.0)
        b_tile += tl.load(db_partial + program * H + column[None, :], mask=mask, other=0.0)
    w_sum = tl.sum(w_tile, axis=0)
    b_sum = tl.sum(b_tile, axis=0)
    if ADD_W:
        w_sum += tl.load(dw + column, mask=inside, other=0.0)
    if ADD_B:
        b_sum += tl.load(db + column, mask=inside, other=0.0)
    tl.store(dw + column, w_sum.to(dw.dtype.element_ty), mask=inside)
    tl.store(db + column, b_sum.to(db.dtype.element_ty), mask=inside)
