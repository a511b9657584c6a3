"""Our attention kernels against the reference in fp64, for borders that leak nothing, and as compiled for Hopper."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from ahead_of_time import TRITONS, Case, compiled

from gristmill.kernels.gpu.attention import allowed_pairs, attention, attention_triton
from gristmill.kernels.gpu.attention_choice import packed

ON_GPU = torch.cuda.is_available()
LONGEST = 400 if ON_GPU else 45


def launch():
    from gristmill.kernels.gpu import attention_launch  # after conftest has chosen the interpreter

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


@pytest.mark.slow
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


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")  # the interpreter's numpy
def test_nothing_passes_a_documents_border(device):
    """Neither values, however large, nor gradients: exactly, in every kind of block that a border cuts."""
    cu = torch.tensor([0, 13, 37, 45], dtype=torch.int32, device=device)
    qkv, dout = projections(1, 45, 2, 1, 16, torch.float32, device)
    out, _ = run(attention_triton, qkv, dout, 1, cu)
    other = qkv.detach().clone()
    other[:, :13] = 1e18
    other[:, 37:] = -1e18
    other[:, :13, 3] = other[:, 37:, 3] = 2e37  # with a gradient of 100, products overflow to infinity
    only = 100 * dout
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


@pytest.mark.parametrize(("batch", "length"), [(0, 5), (2, 0)])
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


# Compiled for Hopper

LOOPED = {"forward": "kv", "backward_q": "kv", "backward_kv": ("q", "dout")}
"""What a kernel's loop loads, through descriptors."""
SPILLED = {"backward_kv": 256}
"""Bytes of spills, stores and loads together, that are allowed: 116 seen with triton 3.7.1, 212 with 3.6; else none."""
STRIDES = [f"{x}_{dimension}" for x in "qkv" for dimension in "bsh"]


def case(kernel, tile, d=128, documents=True, tma=True, dtype="bf16"):
    types = dict.fromkeys(("q", "k", "v", "dout", "out", "dq", "dk", "dv"), f"*{dtype}")
    if tma:
        rows = tile.rows if kernel == "backward_kv" else tile.columns
        types |= dict.fromkeys(LOOPED[kernel], f"tensordesc<{dtype}[1, {rows}, 1, {d}]>")
    types |= {"lse": "*fp32", "delta": "*fp32", "start": "*i32", "end": "*i32", "scale": "fp32", "scale_log2": "fp32"}
    types |= dict.fromkeys(("length", "kv_heads", "members", "groups", "section", *STRIDES), "i32")
    constants = {"D": d, "ROWS": tile.rows, "COLUMNS": tile.columns}
    constants |= {"DOCUMENTS": documents, "TMA": tma, "INTERPRET": False}
    return Case(
        f"gristmill.kernels.gpu.attention_kernels:_{kernel}", types, constants, STRIDES, tile.warps, tile.stages
    )


def tiles(d):
    found = [(kernel, several) for (kernel, dimension), several in launch().TILES.items() if dimension == d]
    return [(kernel, tile) for kernel, several in found for tile in several]


def assembler_says(ptx):
    import triton

    assembler = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(assembler), "--gpu-name", "sm_90a", file.name, "-o", os.devnull]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def assert_built_well(kernel, build, tma=True):
    print(f"{kernel}: {build.registers} registers, {build.spilled_bytes} bytes spilled, triton {build.triton}")
    assert build.wgmma() > 0
    assert build.widest_load() == 16
    assert ("cp.async.bulk.tensor" in build.ptx) == tma
    assert build.spilled_bytes <= SPILLED.get(kernel, 0)
    assert "serialized" not in assembler_says(build.ptx)  # products that wait for each other, for want of registers


@pytest.mark.parametrize("version", TRITONS)
def test_default_tiles_keep_hoppers_tensor_cores_busy_without_spills(version):
    defaults = [(kernel, launch().TILES[kernel, 128][0]) for kernel in LOOPED]
    for (kernel, _), build in zip(defaults, compiled([case(*each) for each in defaults], version)):
        assert_built_well(kernel, build)


@pytest.mark.slow
@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("version", TRITONS)
def test_every_tile_that_may_be_chosen_is_built_as_well(version, d):
    cases = [case(*each, d=d, dtype="fp16" if d == 64 else "bf16") for each in tiles(d)]
    for (kernel, _), build in zip(tiles(d), compiled(cases, version)):
        assert_built_well(kernel, build)


@pytest.mark.parametrize("version", TRITONS)
def test_preprocess_is_read_16_bytes_at_once(version):
    types = {"out": "*bf16", "dout": "*bf16", "delta": "*fp32", "length": "i32", "heads": "i32"}
    constants = {"D": 128, "ROWS": launch().DELTA_ROWS}
    build = compiled([Case("gristmill.kernels.gpu.attention_kernels:_delta", types, constants)], version)[0]
    assert build.widest_load() == 16
    assert build.spilled_bytes == 0


# On a GPU


def errors(op, qkv, dout, kv_heads, cu, right):
    found = run(op, qkv, dout, kv_heads, cu)
    return [((mine.double() - other).norm() / other.norm()).item() for mine, other in zip(found, right)]


@pytest.mark.gpu
@pytest.mark.parametrize(("heads", "kv_heads", "d"), [(48, 8, 128), (6, 1, 128), (4, 4, 64)])
@pytest.mark.parametrize("documents", [False, True], ids=["dense", "documents"])
def test_in_bf16_the_error_is_no_worse_than_the_references(heads, kv_heads, d, documents):
    qkv, dout = projections(2, 1000, heads, kv_heads, d, torch.bfloat16, "cuda")
    cu = packed(2, 1000, 150, qkv.device) if documents else None
    right = exact(qkv, dout, kv_heads, cu)
    ours = errors(attention_triton, qkv, dout, kv_heads, cu, right)
    theirs = errors(attention, qkv, dout, kv_heads, cu, right)
    assert all(a <= 1.05 * b for a, b in zip(ours, theirs)), (ours, theirs)


@pytest.mark.gpu
def test_every_tile_computes_the_same_within_rounding(monkeypatch):
    qkv, dout = projections(2, 700, 12, 2, 128, torch.bfloat16, "cuda")
    cu = packed(2, 700, 150, qkv.device)
    right = run(attention_triton, qkv, dout, 2, cu)
    for kernel, tile in tiles(128):
        monkeypatch.setitem(launch().chosen, (kernel, 128), tile)
        found = run(attention_triton, qkv, dout, 2, cu)
        assert all((a - b).norm() <= 0.01 * b.norm() for a, b in zip(found, right)), (kernel, tile)


@pytest.mark.gpu
def test_in_bf16_two_runs_give_the_same_bits_and_documents_leak_nothing():
    qkv, dout = projections(1, 2000, 12, 2, 128, torch.bfloat16, "cuda")
    cu = torch.tensor([0, 700, 700, 701, 2000], dtype=torch.int32, device="cuda")
    dout[:, :701] = 0
    results = [run(attention_triton, qkv, dout, 2, cu) for _ in range(3)]
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))
    assert torch.count_nonzero(results[0][1][:, :701]) == 0


@pytest.mark.gpu
def test_offsets_beyond_two_to_the_31st_are_right():
    """64 heads of 128 over 66 windows of 4,096: 2.2e9 elements in the fused projection; the last window is right."""
    qkv = torch.randn(66, 4096, 64, 128, dtype=torch.bfloat16, device="cuda").requires_grad_()
    dout = torch.randn(66, 4096, 48, 128, dtype=torch.bfloat16, device="cuda")
    out, gradient = run(attention_triton, qkv, dout, 8)
    alone = run(attention_triton, qkv[-1:].detach().requires_grad_(), dout[-1:], 8)
    assert torch.equal(out[-1:], alone[0])
    assert torch.equal(gradient[-1:], alone[1])
