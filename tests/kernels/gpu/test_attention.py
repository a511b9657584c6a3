"""Our attention kernels against the reference in fp64, for borders that leak nothing, and as compiled for Hopper."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from ahead_of_time import TRITONS, Case, compiled

from kernels.gpu import attention_choice as choice
from kernels.gpu.attention import allowed_pairs, attention, attention_sdpa, attention_triton

ON_GPU = torch.cuda.is_available()
LONGEST = 400 if ON_GPU else 45


def launch():
    from kernels.gpu import attention_launch  # after conftest has chosen the interpreter

    return attention_launch


def projections(batch, length, heads, kv_heads, d, dtype, device, scale=1.0):
    """Fused [B, S, heads + 2 kv_heads, d], of which q, k, v are splits without copies, and a gradient of the output."""
    random = torch.Generator().manual_seed(batch * 1000 + length)
    qkv = torch.randn(batch, length, heads + 2 * kv_heads, d, generator=random) * scale
    dout = torch.randn(batch, length, heads, d, generator=random)
    return qkv.to(device, dtype).requires_grad_(), dout.to(device, dtype)


def run(op, qkv, dout, kv_heads, cu_seqlens=None):
    """(out, gradient of the fused projection)."""
    heads = qkv.shape[2] - 2 * kv_heads
    out = op(*qkv.split([heads, kv_heads, kv_heads], dim=2), qkv.shape[3] ** -0.5, cu_seqlens)
    return out.detach(), torch.autograd.grad(out, qkv, dout)[0]


def exact(qkv, dout, kv_heads, cu_seqlens=None):
    return run(attention, qkv.detach().double().requires_grad_(), dout.double(), kv_heads, cu_seqlens)


def borders(draw, batch, length):
    """cu_seqlens of any documents: the windows' borders, and cuts anywhere, some twice (empty documents)."""
    cuts = draw(st.lists(st.integers(0, batch * length), max_size=5))
    return sorted([*cuts, *cuts[:1], *(window * length for window in range(batch + 1))])


@st.composite
def problems(draw):
    batch, length = draw(st.integers(1, 2)), draw(st.integers(1, LONGEST))
    kv_heads, group = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 3)]))
    d = draw(st.sampled_from([16, 32]))
    cu = draw(st.none() | st.just(()))
    return batch, length, kv_heads, group, d, None if cu is None else borders(draw, batch, length)


def check(problem, dtype, device):
    batch, length, kv_heads, group, d, cu = problem
    cu = None if cu is None else torch.tensor(cu, dtype=torch.int32, device=device)
    qkv, dout = projections(batch, length, kv_heads * group, kv_heads, d, dtype, device)
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-2}[dtype]
    for mine, right in zip(run(attention_triton, qkv, dout, kv_heads, cu), exact(qkv, dout, kv_heads, cu)):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_output_and_gradients_are_the_definitions(device, dtype):
    @settings(max_examples=40 if ON_GPU else 4, deadline=None)
    @given(problems())
    def of(problem):
        check(problem, dtype, device)

    of()


@pytest.mark.parametrize(
    "problem",
    [
        (1, 1, 1, 1, 16, None),
        (1, 33, 1, 6, 16, None),
        (1, 40, 2, 6 if ON_GPU else 1, 64, [0, 0, 1, 2, 2, 20, 40]),
        (2, 17, 1, 1, 16, [0, 16, 17, 34, 34]),
        (1, 9, 1, 1, 16, list(range(10))),
    ],
    ids=["one token", "6/1", "empty and one-token documents", "tail", "every token its own"],
)
def test_named_shapes_are_the_definitions(device, problem):
    check(problem, torch.float32, device)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 60))
def test_bounds_of_documents_are_the_references_mask(device, data, batch, length):
    cu = torch.tensor(borders(data.draw, batch, length), dtype=torch.int32, device=device)
    start, end = (x.view(batch, length).long() for x in launch().bounds(cu, batch, length))
    at = torch.arange(length, device=device)
    allowed = allowed_pairs(batch, length, cu, torch.device(device))
    assert torch.equal(allowed, (at[:, None] >= at) & (at >= start[:, :, None]))
    assert torch.equal(allowed, (at[:, None] >= at) & (at[:, None] < end[:, None, :]))


def test_nothing_passes_a_documents_border(device):
    """Neither values, however large, nor gradients: exactly, in every kind of block that a border cuts."""
    cu = torch.tensor([0, 13, 37, 45], dtype=torch.int32, device=device)
    qkv, dout = projections(1, 45, 2, 1, 16, torch.float32, device)
    out, _ = run(attention_triton, qkv, dout, 1, cu)
    other = qkv.detach().clone()
    other[:, :13] = 1e18  # scores overflow to infinity
    other[:, 37:] = -1e18
    only = dout.clone()
    only[:, :13] = 0
    only[:, 37:] = 0
    changed, gradient = run(attention_triton, other.requires_grad_(), only, 1, cu)
    assert torch.equal(changed[:, 13:37], out[:, 13:37])
    assert torch.count_nonzero(gradient[:, :13]) == 0
    assert torch.count_nonzero(gradient[:, 37:]) == 0
    assert torch.equal(gradient[:, 13:37], run(attention_triton, qkv, only, 1, cu)[1][:, 13:37])
    assert gradient[:, 13:37].abs().min() > 0


@pytest.mark.parametrize("cu", [None, [0, 5, 19, 37]], ids=["dense", "documents"])
def test_descriptors_and_pointers_load_the_same(device, monkeypatch, cu):
    cu = None if cu is None else torch.tensor(cu, dtype=torch.int32, device=device)
    dtype = torch.float16 if ON_GPU else torch.float32
    qkv, dout = projections(1, 37, 2, 1, 16, dtype, device)
    results = []
    for descriptors in (True, False):
        monkeypatch.setattr(launch(), "takes_descriptors", lambda *x, d=descriptors: d)
        results.append(run(attention_triton, qkv, dout, 1, cu))
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_inputs_of_any_strides_are_read_as_they_are(device):
    q, k, v = (torch.randn(2, 2, 19, 16, device=device).transpose(1, 2) for _ in range(3))  # heads first in memory
    out = attention_triton(q, k, v, 0.25)
    torch.testing.assert_close(out, attention(q, k, v, 0.25))
    across = [x.transpose(1, 3).contiguous().transpose(1, 3) for x in (q, k, v)]  # last dimension not contiguous
    assert torch.equal(attention_triton(*across, 0.25), out)


def test_two_runs_give_the_same_bits(device):
    qkv, dout = projections(2, LONGEST - 6, 2, 1, 16, torch.float16, device)
    assert all(torch.equal(a, b) for a, b in zip(*(run(attention_triton, qkv, dout, 1) for _ in range(2))))


@pytest.mark.parametrize("batch,length", [(0, 5), (2, 0)])
def test_no_tokens_are_served(device, batch, length):
    qkv, dout = projections(batch, length, 2, 1, 16, torch.float32, device)
    cu = torch.zeros(batch + 1, dtype=torch.int32, device=device)
    out, gradient = run(attention_triton, qkv, dout, 1, cu)
    assert out.shape == dout.shape
    assert gradient.shape == qkv.shape


def test_what_the_kernels_cannot_do_is_said():
    q, k = torch.zeros(1, 4, 6, 16), torch.zeros(1, 4, 4, 16)
    with pytest.raises(ValueError, match="do not fit"):
        attention_triton(q, k, k, 1.0)
    with pytest.raises(ValueError, match="head dimension 24"):
        attention_triton(*[torch.zeros(1, 4, 2, 24)] * 3, 1.0)
    with pytest.raises(TypeError, match="float64"):
        attention_triton(q.double(), q.double(), q.double(), 1.0)
    with pytest.raises(ValueError, match="scale"):
        attention_triton(q, q, q, 0.0)
    with pytest.raises(ValueError, match="cu_seqlens is on meta"):
        attention_triton(q, q, q, 1.0, torch.zeros(2, dtype=torch.int32, device="meta"))


def test_meta_tensors_and_flop_counter_see_through():
    """FLOPs as torch counts its own SDPA: the whole square, two products forward and five backward."""
    qkv = torch.empty(2, 4096, 64, 128, dtype=torch.bfloat16, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = attention_triton(*qkv.split([48, 8, 8], dim=2), 0.1)
        out.backward(torch.empty_like(out))
    assert out.shape == (2, 4096, 48, 128)
    assert out.is_contiguous()
    assert qkv.grad is not None
    assert counter.get_total_flops() == 14 * 2 * 48 * 4096**2 * 128


def test_ops_satisfy_torch_library(device):
    qkv, dout = projections(1, 5, 2, 1, 16, torch.float32, device)
    q, k, v = qkv.detach().split([2, 1, 1], dim=2)
    cu = torch.tensor([0, 2, 5], dtype=torch.int32, device=device)
    forward, backward = torch.ops.gristmill.attention_forward, torch.ops.gristmill.attention_backward
    out, lse = forward(q, k, v, 0.25, cu)
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(forward.default, (q, k, v, 0.25, cu), test_utils=tests)
    torch.library.opcheck(backward.default, (dout, q, k, v, out, lse, 0.25, cu), test_utils=tests)


# Choice


def shape(documents=False, device="cpu"):
    return choice.Shape(1, 64, 2, 1, 16, torch.float32, torch.device(device), documents)


def test_a_cpu_gets_sdpa_without_measuring(monkeypatch):
    monkeypatch.setattr(choice, "measure", lambda *_: pytest.fail("measured"))
    q = torch.randn(1, 5, 2, 16)
    assert torch.equal(choice.attention_fastest(q, q, q, 0.3), attention_sdpa(q, q, q, 0.3))
    assert choice.choose(shape()).name == "SDPA"


def test_the_fastest_of_those_that_work_and_agree_is_chosen(monkeypatch):
    def time(run, q, k, v, dout, cu_seqlens, backward=True):
        if run == "breaks":
            raise RuntimeError("no kernel\nfor this shape")
        return {"slow": 3e-3, "fast": 1e-3, "wrong": 1e-6}[run], [q.detach() * (2.0 if run == "wrong" else 1.0)]

    monkeypatch.setattr(choice, "_time", time)
    names = ["slow", "fast", "wrong", "breaks"]
    monkeypatch.setattr(choice, "CANDIDATES", {name: name for name in names})
    found = choice.measure(shape(documents=True), names)
    assert found.name == "fast"
    assert str(found) == (
        "fast (slow 3.00 ms, fast 1.00 ms, wrong: its results are not the others', "
        "breaks: RuntimeError: no kernel)"
    )
    assert choice.measure(shape(), ["breaks"]).name == "SDPA"


def test_ours_gives_way_where_one_other_disagrees():
    x = torch.ones(3)
    assert choice.disagreeing({"ours": [x], "b": [x * 1.5]}) == ["ours"]
    assert choice.disagreeing({"ours": [x], "b": [x * 1.001]}) == []
    assert choice.disagreeing({"ours": [x]}) == []


def test_documents_to_measure_with_fill_the_windows():
    cu = choice.packed(3, 4096, 600, torch.device("cpu"))
    lengths = cu.diff()
    assert cu[0] == 0
    assert cu[-1] == 3 * 4096
    assert {4096, 8192} <= set(cu.tolist())
    assert lengths.min() > 0
    assert 450 < lengths.double().mean() < 650


# Compiled for Hopper

POINTERS = {"out": "bf16", "dq": "bf16", "dk": "bf16", "dv": "bf16"}
STRIDES = [f"{x}_{dimension}" for x in "qkv" for dimension in "bsh"]


def case(kernel, tile, documents=True, d=128, group=6, tma=True):
    load = {"rows": f"tensordesc<bf16[1, {tile.rows}, 1, {d}]>", "columns": f"tensordesc<bf16[1, {tile.columns}, 1, {d}]>"}
    if not tma:
        load = dict.fromkeys(load, "*bf16")
    types = {"q": load["rows"], "dout": load["rows"], "k": load["columns"], "v": load["columns"]}
    types |= dict.fromkeys(("out", "dq", "dk", "dv"), "*bf16") | {"lse": "*fp32", "delta": "*fp32"}
    types |= {"start": "*i32", "end": "*i32", "scale": "fp32", "scale_log2": "fp32"}
    types |= dict.fromkeys(("length", "kv_heads", "groups", "section", *STRIDES), "i32")
    constants = {"GROUP": group, "D": d, "ROWS": tile.rows, "COLUMNS": tile.columns}
    constants |= {"DOCUMENTS": documents, "TMA": tma, "INTERPRET": False}
    return Case(f"kernels.gpu.attention_kernels:_{kernel}", types, constants, STRIDES, tile.warps, tile.stages)


def tiles(d, every=False):
    found = {kernel: launch().TILES[kernel, d] for kernel in ("forward", "backward_kv", "backward_q")}
    return [(kernel, tile) for kernel, several in found.items() for tile in several[: None if every else 1]]


