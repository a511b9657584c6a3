"""Triton kernels of causal grouped-query attention; `attention.py` states the formula and calls them.

    _bounds        cu_seqlens -> first position of each token's document and the one past its last, within its window
    _forward       one program a block of queries of one head: online softmax in base 2, out and lse = log2 sum exp
    _delta         rowsum(out * dout), fp32
    _backward_kv   one program a block of keys: dK, dV, summed over the query heads of the group inside the program
    _backward_q    one program a block of queries: dQ

Two backward kernels instead of one with atomics: every sum has one owner and one order, so gradients are the same
bits in every run; the price is that the scores are formed twice, 7 products instead of 5.

Each loop over blocks runs in up to three phases, so that the blocks which are allowed entirely (most) pay for no
mask: blocks cut by a document border, whole blocks, blocks on the diagonal. Blocks wholly outside are not visited.

The loops load through host-made TMA descriptors [1, rows, 1, d] where `TMA`, else through pointers; both fill rows
beyond the window with zeros. What a program loads once comes through pointers always: a descriptor's reshape would
make the compiler hold it in registers, and then the products wait for each other for want of registers. fp32, which
is for tests, is multiplied exactly ("ieee"), without tensor cores.
"""

from __future__ import annotations

from gristmill.kernels.gpu.jit import jit, tl


@jit
def _place(program, blocks, groups, section, members):
    """Program number -> (step, key-value group of the B * kv_heads, query head in the group).

    Sections of groups one after the other, so that the keys and values in use stay in L2; within a section step by
    step over all its heads, so that what step 0 names (the longest rows) starts first and the short ones fill the end.
    """
    section_at = program // (section * members * blocks)
    within = program % (section * members * blocks)
    heads = tl.minimum(section, groups - section_at * section) * members
    head = within % heads
    return within // heads, section_at * section + head // members, head % members


@jit
def _tile(x, batch, row, head, x_b, x_s, x_h, length, ROWS: tl.constexpr, D: tl.constexpr, TMA: tl.constexpr,
          INTERPRET: tl.constexpr):  # fmt: skip
    """[ROWS, D] of x [B, S, heads, D] from (batch, row, head); zeros beyond the window."""
    if TMA:
        tile = x.load([batch, row, head, 0]).reshape(ROWS, D)
    else:
        at = batch * tl.cast(x_b, tl.int64) + row * tl.cast(x_s, tl.int64) + head * tl.cast(x_h, tl.int64)
        rows = tl.arange(0, ROWS)
        offsets = rows[:, None] * x_s + tl.arange(0, D)[None, :]
        tile = tl.load(x + at + offsets, mask=(row + rows < length)[:, None], other=0.0)
    if INTERPRET:
        tile = tile.to(tl.float32)
    return tile


@jit
def _store(x, tile, batch, row, head, length, heads, ROWS: tl.constexpr, D: tl.constexpr):
    """Into contiguous x [B, S, heads, D]; rows beyond the window are dropped."""
    rows = row + tl.arange(0, ROWS)
    at = (batch.to(tl.int64) * length + rows) * heads + head
    tl.store(x + at[:, None] * D + tl.arange(0, D)[None, :], tile, mask=(rows < length)[:, None])


@jit(do_not_specialize=["total", "length", "borders", "steps"])
def _bounds(cu_seqlens, start, end, total, length, borders, steps, BLOCK: tl.constexpr):
    """start, end: int32 [total]; steps: halvings of `borders` entries until nothing is left."""
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    low = tl.zeros([BLOCK], dtype=tl.int32)  # becomes the number of borders <= token: zero-length documents count
    high = low + borders
    for _ in range(steps):
        middle = (low + high) // 2
        open_ = low < high
        right = open_ & (tl.load(cu_seqlens + middle, mask=open_, other=0).to(tl.int32) <= token)
        low = tl.where(right, middle + 1, low)
        high = tl.where(right, high, middle)
    window = token // length * length
    first = tl.load(cu_seqlens + low - 1, mask=low > 0, other=0).to(tl.int32)
    past = tl.load(cu_seqlens + low, mask=low < borders, other=total).to(tl.int32)
    tl.store(start + token, tl.maximum(first - window, 0), mask=token < total)
    tl.store(end + token, tl.minimum(past - window, length), mask=token < total)


@jit
def _phases(start, batch, row, length, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DOCUMENTS: tl.constexpr):
    """Keys of a block of queries: (first, whole, diagonal, past), multiples of COLUMNS but the last.

    [first, whole) and [diagonal, past) need masks, [whole, diagonal) none. Starts never fall along a window.
    """
    past = tl.minimum(row + ROWS, length)
    diagonal = row // COLUMNS * COLUMNS
    first = 0
    whole = 0
    if DOCUMENTS:
        at = start + batch.to(tl.int64) * length
        first = tl.load(at + row) // COLUMNS * COLUMNS
        whole = tl.minimum((tl.load(at + past - 1) + COLUMNS - 1) // COLUMNS * COLUMNS, diagonal)
    return first, whole, diagonal, past


@jit
def _allowed(rows, columns, starts, DOCUMENTS: tl.constexpr):
    allowed = columns[None, :] <= rows[:, None]
    if DOCUMENTS:
        allowed = allowed & (columns[None, :] >= starts[:, None])
    return allowed


@jit
def _forward_phase(acc, total, top, q_tile, rows, starts, first, past, k, v, batch, head, k_b, k_s, k_h, v_b, v_s, v_h,
                   scale_log2, length, MASKED: tl.constexpr, COLUMNS: tl.constexpr, D: tl.constexpr,
                   DOCUMENTS: tl.constexpr, TMA: tl.constexpr, INTERPRET: tl.constexpr):  # fmt: skip
    for column in range(first, past, COLUMNS):
        k_tile = _tile(k, batch, column, head, k_b, k_s, k_h, length, COLUMNS, D, TMA, INTERPRET)
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")  # [ROWS, COLUMNS] fp32
        if MASKED:
            allowed = _allowed(rows, column + tl.arange(0, COLUMNS), starts, DOCUMENTS)
            scores = tl.where(allowed, scores, float("-inf"))
        risen = tl.maximum(top, tl.max(scores, 1) * scale_log2)
        base = risen
        if MASKED and DOCUMENTS:  # a row none of whose keys came yet: exp2(-inf - 0) is 0 where -inf - -inf is NaN
            base = tl.where(risen == float("-inf"), 0.0, risen)
        p = tl.exp2(scores * scale_log2 - base[:, None])
        shrink = tl.exp2(top - base)
        total = total * shrink + tl.sum(p, 1)
        v_tile = _tile(v, batch, column, head, v_b, v_s, v_h, length, COLUMNS, D, TMA, INTERPRET)
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * shrink[:, None], input_precision="ieee")
        top = risen
    return acc, total, top


@jit(do_not_specialize=["length", "kv_heads", "members", "groups", "section"])
def _forward(q, k, v, out, lse, start, q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, scale_log2, length, kv_heads,
             members, groups, section, D: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
             DOCUMENTS: tl.constexpr, TMA: tl.constexpr, INTERPRET: tl.constexpr):  # fmt: skip
    """out [B, S, heads, D]; lse fp32 [B, heads, S], base 2, of the scaled scores."""
    blocks = (length + ROWS - 1) // ROWS
    step, group, member = _place(tl.program_id(0), blocks, groups, section, members)
    row = (blocks - 1 - step) * ROWS  # the last rows have the most keys: longest first
    batch, kv_head = group // kv_heads, group % kv_heads
    head = kv_head * members + member
    rows = row + tl.arange(0, ROWS)
    starts = rows
    if DOCUMENTS:
        starts = tl.load(start + batch.to(tl.int64) * length + rows, mask=rows < length, other=0)
    first, whole, diagonal, past = _phases(start, batch, row, length, ROWS, COLUMNS, DOCUMENTS)
    q_tile = _tile(q, batch, row, head, q_b, q_s, q_h, length, ROWS, D, False, INTERPRET)
    acc = tl.zeros([ROWS, D], dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)
    top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    if DOCUMENTS:
        acc, total, top = _forward_phase(
            acc, total, top, q_tile, rows, starts, first, whole, k, v, batch, kv_head, k_b, k_s, k_h, v_b, v_s, v_h,
            scale_log2, length, True, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    acc, total, top = _forward_phase(
        acc, total, top, q_tile, rows, starts, whole, diagonal, k, v, batch, kv_head, k_b, k_s, k_h,
        v_b, v_s, v_h, scale_log2, length, False, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    acc, total, top = _forward_phase(
        acc, total, top, q_tile, rows, starts, diagonal, past, k, v, batch, kv_head, k_b, k_s, k_h,
        v_b, v_s, v_h, scale_log2, length, True, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    heads = kv_heads * members
    tl.store(lse + (batch.to(tl.int64) * heads + head) * length + rows, top + tl.log2(total), mask=rows < length)
    _store(out, acc / total[:, None], batch, row, head, length, heads, ROWS, D)


@jit(do_not_specialize=["length", "heads"])
def _delta(out, dout, delta, length, heads, D: tl.constexpr, ROWS: tl.constexpr):
    """delta fp32 [B, heads, S]; out, dout contiguous [B, S, heads, D]."""
    blocks = (length + ROWS - 1) // ROWS
    program = tl.program_id(0)
    head, block = program % heads, program // heads
    batch, rows = block // blocks, block % blocks * ROWS + tl.arange(0, ROWS)
    at = ((batch.to(tl.int64) * length + rows) * heads + head)[:, None] * D + tl.arange(0, D)[None, :]
    inside = (rows < length)[:, None]
    product = tl.load(out + at, mask=inside, other=0.0).to(tl.float32)
    product *= tl.load(dout + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(delta + (batch.to(tl.int64) * heads + head) * length + rows, tl.sum(product, 1), mask=rows < length)


@jit
def _backward_kv_phase(dk, dv, k_tile, v_tile, columns, ends, first, past, q, dout, lse, delta, batch, kv_head, q_b,
                       q_s, q_h, scale_log2, length, heads, members, MASKED: tl.constexpr, ROWS: tl.constexpr,
                       D: tl.constexpr, DOCUMENTS: tl.constexpr, TMA: tl.constexpr,
                       INTERPRET: tl.constexpr):  # fmt: skip
    """Everything transposed, keys in rows: then p and ds feed their products from registers."""
    blocks = tl.maximum((past - first + ROWS - 1) // ROWS, 0)
    do_s = heads * D  # dout is contiguous
    do_b = tl.cast(length, tl.int64) * do_s
    for step in range(members * blocks):  # one loop over heads and blocks: the pipeline fills once
        head = kv_head * members + step // tl.maximum(blocks, 1)
        row = first + step % tl.maximum(blocks, 1) * ROWS
        rows = row + tl.arange(0, ROWS)
        at = (batch.to(tl.int64) * heads + head) * length + rows
        q_tile = _tile(q, batch, row, head, q_b, q_s, q_h, length, ROWS, D, TMA, INTERPRET)
        scores = tl.dot(k_tile, tl.trans(q_tile), input_precision="ieee")  # [COLUMNS, ROWS]
        # +inf beyond the window makes p exactly 0 there, without a mask.
        norm = tl.load(lse + at, mask=rows < length, other=float("inf"))
        p = tl.exp2(scores * scale_log2 - norm[None, :])
        if MASKED:
            allowed = rows[None, :] >= columns[:, None]
            if DOCUMENTS:
                allowed = allowed & (rows[None, :] < ends[:, None])
            p = tl.where(allowed, p, 0.0)
        do_tile = _tile(dout, batch, row, head, do_b, do_s, D, length, ROWS, D, TMA, INTERPRET)
        dv = tl.dot(p.to(do_tile.dtype), do_tile, dv, input_precision="ieee")
        dp = tl.dot(v_tile, tl.trans(do_tile), input_precision="ieee")
        ds = p * (dp - tl.load(delta + at, mask=rows < length, other=0.0)[None, :])
        if MASKED:  # 0 * inf would be NaN
            ds = tl.where(allowed, ds, 0.0)
        dk = tl.dot(ds.to(q_tile.dtype), q_tile, dk, input_precision="ieee")
    return dk, dv


@jit(do_not_specialize=["length", "kv_heads", "members", "groups"])
def _backward_kv(q, k, v, dout, dk, dv, lse, delta, end, q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, scale_log2, scale,
                 length, kv_heads, members, groups, D: tl.constexpr, ROWS: tl.constexpr,
                 COLUMNS: tl.constexpr, DOCUMENTS: tl.constexpr, TMA: tl.constexpr,
                 INTERPRET: tl.constexpr):  # fmt: skip
    """dk, dv [B, S, kv_heads, D]. The first keys have the most queries: block 0 of every group starts first."""
    blocks = (length + COLUMNS - 1) // COLUMNS
    block, group, _ = _place(tl.program_id(0), blocks, groups, groups, 1)
    batch, kv_head = group // kv_heads, group % kv_heads
    column = block * COLUMNS
    columns = column + tl.arange(0, COLUMNS)
    k_tile = _tile(k, batch, column, kv_head, k_b, k_s, k_h, length, COLUMNS, D, False, INTERPRET)
    v_tile = _tile(v, batch, column, kv_head, v_b, v_s, v_h, length, COLUMNS, D, False, INTERPRET)
    # Queries in multiples of ROWS: [first, whole) on the diagonal, [whole, cut) all allowed, [cut, past) by documents.
    first = column // ROWS * ROWS
    past = length
    cut = length
    ends = columns
    if DOCUMENTS:
        at = end + batch.to(tl.int64) * length
        ends = tl.load(at + columns, mask=columns < length, other=0)
        past = tl.load(at + tl.minimum(column + COLUMNS, length) - 1)
        cut = tl.load(at + column) // ROWS * ROWS
    whole = tl.minimum((column + COLUMNS + ROWS - 1) // ROWS * ROWS, past)
    cut = tl.maximum(cut, whole)
    heads = kv_heads * members
    dk_tile = tl.zeros([COLUMNS, D], dtype=tl.float32)
    dv_tile = tl.zeros([COLUMNS, D], dtype=tl.float32)
    dk_tile, dv_tile = _backward_kv_phase(
        dk_tile, dv_tile, k_tile, v_tile, columns, ends, first, whole, q, dout, lse, delta, batch, kv_head, q_b, q_s,
        q_h, scale_log2, length, heads, members, True, ROWS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    dk_tile, dv_tile = _backward_kv_phase(
        dk_tile, dv_tile, k_tile, v_tile, columns, ends, whole, cut, q, dout, lse, delta, batch, kv_head, q_b, q_s,
        q_h, scale_log2, length, heads, members, False, ROWS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    if DOCUMENTS:
        dk_tile, dv_tile = _backward_kv_phase(
            dk_tile, dv_tile, k_tile, v_tile, columns, ends, cut, past, q, dout, lse, delta, batch, kv_head, q_b, q_s,
            q_h, scale_log2, length, heads, members, True, ROWS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    _store(dk, dk_tile * scale, batch, column, kv_head, length, kv_heads, COLUMNS, D)
    _store(dv, dv_tile, batch, column, kv_head, length, kv_heads, COLUMNS, D)


@jit
def _backward_q_phase(dq, q_tile, do_tile, norm, less, rows, starts, first, past, k, v, batch, head, k_b, k_s, k_h, v_b,
                      v_s, v_h, scale_log2, length, MASKED: tl.constexpr, COLUMNS: tl.constexpr, D: tl.constexpr,
                      DOCUMENTS: tl.constexpr, TMA: tl.constexpr, INTERPRET: tl.constexpr):  # fmt: skip
    for column in range(first, past, COLUMNS):
        k_tile = _tile(k, batch, column, head, k_b, k_s, k_h, length, COLUMNS, D, TMA, INTERPRET)
        v_tile = _tile(v, batch, column, head, v_b, v_s, v_h, length, COLUMNS, D, TMA, INTERPRET)
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")  # [ROWS, COLUMNS]
        dp = tl.dot(do_tile, tl.trans(v_tile), input_precision="ieee")
        ds = tl.exp2(scores * scale_log2 - norm[:, None]) * (dp - less[:, None])
        if MASKED:
            ds = tl.where(_allowed(rows, column + tl.arange(0, COLUMNS), starts, DOCUMENTS), ds, 0.0)
        dq = tl.dot(ds.to(k_tile.dtype), k_tile, dq, input_precision="ieee")
    return dq


@jit(do_not_specialize=["length", "kv_heads", "members", "groups", "section"])
def _backward_q(q, k, v, dout, dq, lse, delta, start, q_b, q_s, q_h, k_b, k_s, k_h, v_b, v_s, v_h, scale_log2, scale,
                length, kv_heads, members, groups, section, D: tl.constexpr, ROWS: tl.constexpr,
                COLUMNS: tl.constexpr, DOCUMENTS: tl.constexpr, TMA: tl.constexpr,
                INTERPRET: tl.constexpr):  # fmt: skip
    """dq [B, S, heads, D]; programs and phases as in `_forward`."""
    blocks = (length + ROWS - 1) // ROWS
    step, group, member = _place(tl.program_id(0), blocks, groups, section, members)
    row = (blocks - 1 - step) * ROWS
    batch, kv_head = group // kv_heads, group % kv_heads
    heads = kv_heads * members
    head = kv_head * members + member
    rows = row + tl.arange(0, ROWS)
    inside = rows < length
    starts = rows
    if DOCUMENTS:
        starts = tl.load(start + batch.to(tl.int64) * length + rows, mask=inside, other=0)
    first, whole, diagonal, past = _phases(start, batch, row, length, ROWS, COLUMNS, DOCUMENTS)
    at = (batch.to(tl.int64) * heads + head) * length + rows
    norm = tl.load(lse + at, mask=inside, other=float("inf"))
    less = tl.load(delta + at, mask=inside, other=0.0)
    do_s = heads * D  # dout is contiguous
    do_b = tl.cast(length, tl.int64) * do_s
    q_tile = _tile(q, batch, row, head, q_b, q_s, q_h, length, ROWS, D, False, INTERPRET)
    do_tile = _tile(dout, batch, row, head, do_b, do_s, D, length, ROWS, D, False, INTERPRET)
    dq_tile = tl.zeros([ROWS, D], dtype=tl.float32)
    if DOCUMENTS:
        dq_tile = _backward_q_phase(
            dq_tile, q_tile, do_tile, norm, less, rows, starts, first, whole, k, v, batch, kv_head, k_b, k_s, k_h, v_b,
            v_s, v_h, scale_log2, length, True, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    dq_tile = _backward_q_phase(
        dq_tile, q_tile, do_tile, norm, less, rows, starts, whole, diagonal, k, v, batch, kv_head,
        k_b, k_s, k_h, v_b, v_s, v_h, scale_log2, length, False, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    dq_tile = _backward_q_phase(
        dq_tile, q_tile, do_tile, norm, less, rows, starts, diagonal, past, k, v, batch, kv_head,
        k_b, k_s, k_h, v_b, v_s, v_h, scale_log2, length, True, COLUMNS, D, DOCUMENTS, TMA, INTERPRET)  # fmt: skip
    _store(dq, dq_tile * scale, batch, row, head, length, heads, ROWS, D)
