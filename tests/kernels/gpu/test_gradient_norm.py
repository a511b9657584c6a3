"""The gradient norm's kernels against exact sums, against the reference, and as compiled for Hopper."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.gpu.gradient_norm import BLOCK, PIECE, gradient_norm, gradient_norm_triton
from tests.kernels.gpu.ahead_of_time import TRITONS, Case, compiled

LENGTHS = st.one_of(
    st.integers(0, 9), st.integers(0, 3 * PIECE), st.sampled_from([PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3, BLOCK])
)


def randn(n: int, device: str, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)).to(device)


@pytest.mark.slow
@given(st.lists(LENGTHS, min_size=1, max_size=4), st.sampled_from([1.0, 1e-25, 1e25]))
@settings(max_examples=25, deadline=None)
def test_the_sum_of_squares_is_exact_to_fp64_and_the_norm_to_fp32(device, lengths, size):
    buffers = [randn(n, device, n) * size for n in lengths]
    norm, squares = gradient_norm_triton(buffers)
    exact = math.fsum(x * x for buffer in buffers for x in buffer.tolist())
    assert (norm.dtype, squares.dtype, norm.shape, squares.shape) == (torch.float32, torch.float64, (), ())
    assert norm.device.type == squares.device.type == device
    assert squares.item() == pytest.approx(exact, rel=1e-14)
    assert norm.item() == pytest.approx(math.sqrt(exact), rel=2.0**-24 + 1e-14)
    reference = gradient_norm(buffers)
    assert squares.item() == pytest.approx(reference[1].item(), rel=1e-13)
    assert norm.item() == pytest.approx(reference[0].item(), rel=2.0**-23)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [3, PIECE, PIECE + 2])
def test_one_bad_gradient_anywhere_shows(device, n, bad):
    for at in (0, n // 2, n - 1):
        x = randn(n, device)
        x[at] = bad
        for op in (gradient_norm, gradient_norm_triton):
            for result in op([randn(100, device), x]):
                assert math.isnan(result.item()) if math.isnan(bad) else result.item() == math.inf


def test_nothing_beyond_a_buffer_counts(device):
    memory = torch.full((PIECE + 100,), math.nan, device=device)
    for n in (1, 2, 3, 4, 5, 2047, PIECE - 1, PIECE, PIECE + 5):
        memory.fill_(math.nan)[16 : 16 + n] = 1
        norm, squares = gradient_norm_triton([memory[16 : 16 + n]])
        assert squares.item() == n
        assert norm.item() == torch.tensor(float(n)).sqrt().item()


def test_pieces_are_fixed_so_that_a_cut_between_them_and_a_second_run_give_the_same_bits(device):
    x = randn(4 * PIECE + 77, device)
    whole = gradient_norm_triton([x])
    empty = x[:0]
    for cut in ([x], [x[: 2 * PIECE], x[2 * PIECE :]], [empty, x[:PIECE], empty, x[PIECE : 3 * PIECE], x[3 * PIECE :]]):
        assert all(torch.equal(a, b) for a, b in zip(gradient_norm_triton(cut), whole, strict=True))


def test_ranks_sums_of_squares_add_up(device):
    x = randn(5000, device)
    total = sum(gradient_norm_triton([shard])[1].item() for shard in x.split(1250))
    assert total == pytest.approx(gradient_norm_triton([x])[1].item(), rel=1e-14)


def test_no_elements_have_norm_zero(device):
    for op in (gradient_norm, gradient_norm_triton):
        for buffers in (
            [torch.zeros(0, device=device)],
            [torch.zeros(0, device=device), torch.zeros(10, device=device)],
        ):
            assert [x.item() for x in op(buffers)] == [0, 0]


def test_the_reference_is_the_norm_of_the_norms_as_torch_computes_them(device):
    """Bit for bit: training on a CPU is the same whatever becomes of the kernels."""
    buffers = [randn(100_000, device), randn(333, device, 1)]
    norm, squares = gradient_norm(buffers)
    each = [torch.linalg.vector_norm(x, dtype=torch.float64).square() for x in buffers]
    assert torch.equal(norm, torch.stack(each).sum().sqrt().float())
    assert torch.equal(squares, torch.stack(each).sum())


def test_buffers_that_the_kernel_would_misread_are_refused(device):
    for wrong in (torch.zeros(10, device=device).half(), torch.zeros(10, device=device)[::2]):
        with pytest.raises(ValueError, match="buffer 1"):
            gradient_norm_triton([torch.zeros(3, device=device), wrong])


def test_meta_and_fake_tensors_see_through(device):
    norm, squares = gradient_norm_triton([torch.zeros(2**40, device="meta")])
    assert (norm.dtype, squares.dtype, norm.shape, norm.device.type) == (torch.float32, torch.float64, (), "meta")
    torch.library.opcheck(
        torch.ops.gristmill.gradient_norm.default,
        ([randn(10, device), randn(7, device)],),
        test_utils=("test_schema", "test_faketensor"),
    )


@pytest.mark.parametrize("version", TRITONS)
def test_hopper_reads_sixteen_bytes_a_thread_without_spills_at_64_bit_offsets(version):
    sizes = {"PIECE": PIECE, "BLOCK": BLOCK}
    cases = [
        Case(
            "gristmill.kernels.gpu.gradient_norm:_partial_sums", {"x": "*fp32", "partials": "*fp64", "n": "i64"}, sizes
        ),
        Case(
            "gristmill.kernels.gpu.gradient_norm:_total",
            {"partials": "*fp64", "norm": "*fp32", "squares": "*fp64", "n": "i32"},
            {"BLOCK": 2 * BLOCK},
            warps=16,
        ),
    ]
    sums, total = compiled(cases, version)
    assert sums.spilled_bytes == total.spilled_bytes == 0
    assert sums.registers <= 64  # eight programs of four warps on a multiprocessor
    assert sums.widest_load() == 16
    assert re.findall(r"ld\.global(\S*)", sums.ptx).count(".b32") == 1  # the up to three elements at the end
    (program,) = re.findall(r"mov\.u32\s+(%r\d+), %ctaid\.x", sums.ptx)
    uses = [line for line in sums.ptx.splitlines() if re.search(rf"{program}\b", line) and "ctaid" not in line]
    assert uses
    assert all(re.match(r"\s*(mul\.wide|cvt\.[us]64)", line) for line in uses)


@pytest.mark.gpu
def test_every_run_gives_the_same_bits():
    buffers = [randn(50_000_001, "cuda"), randn(777, "cuda", 1)]
    first = gradient_norm_triton(buffers)
    for _ in range(20):
        assert all(torch.equal(a, b) for a, b in zip(gradient_norm_triton(buffers), first, strict=True))


@pytest.mark.gpu
def test_elements_beyond_2_31_count():
    n = 2**31 + 2 * PIECE + 3
    if torch.cuda.mem_get_info()[0] < 5 * n:
        pytest.skip("too little GPU memory")
    x = torch.zeros(n, device="cuda")
    x[2**31 :] = 2
    assert gradient_norm_triton([x])[1].item() == 4 * (2 * PIECE + 3)
