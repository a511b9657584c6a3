"""The embedding's backward, a sorted segment sum into an fp32 buffer, against index_add_ in fp64."""

from __future__ import annotations

import re
from unittest.mock import MagicMock, patch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from gristmill.kernels.gpu import embedding as module
from gristmill.kernels.gpu.embedding import embedding, embedding_backward, embedding_triton
from tests.kernels.gpu.ahead_of_time import TRITONS, Case, compiled


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def short_pieces():
    """Pieces of 4 rows joined two at a time, so that few rows go every way there is."""
    return patch.multiple(module, PIECE=4, JOINT_ROWS=2)


def problem(device, tokens, vocab, width, dtype=torch.float32):
    """tokens [T], weight [V, H], the gradient dy [T, H] and a buffer [V, H] that is not zero."""
    weight = torch.randn(vocab, width, device=device).to(dtype).requires_grad_()
    dy = torch.randn(len(tokens), width, device=device).to(dtype)
    buffer = torch.randn(vocab, width, device=device)
    return torch.as_tensor(tokens, dtype=torch.int64).to(device), weight, dy, buffer


def assert_adds(tokens, weight, dy, buffer):
    """One backward adds the sums in fp64 to rows that occur, and changes no bit of another."""
    before = buffer.clone()
    y = embedding_triton(tokens, weight, buffer)
    assert torch.equal(y, weight[tokens])
    y.backward(dy)
    assert weight.grad is None
    added = torch.zeros_like(buffer, dtype=torch.float64).index_add_(0, tokens, dy.double())
    # what n roundings of partial sums no larger than the sum of magnitudes can cost, and those of the result
    magnitude = before.double().abs().index_add_(0, tokens, dy.double().abs())
    count = torch.bincount(tokens, minlength=len(buffer))[:, None]
    assert ((buffer - (before + added)).abs() <= (count + 2) * 2.0**-24 * magnitude).all()
    untouched = torch.ones(len(buffer), dtype=torch.bool, device=buffer.device)
    untouched[tokens] = False
    assert torch.equal(buffer[untouched], before[untouched])


@pytest.mark.slow
@given(
    tokens=st.one_of(
        st.lists(st.integers(0, 9), max_size=40),
        st.lists(st.sampled_from([0, 0, 0, 0, 0, 0, 9, 5]), min_size=10, max_size=40),
    ),
    width=st.integers(1, 40),
    dtype=st.sampled_from([torch.float32, torch.float16]),
)
@example([], 8, torch.float32)
@example([3], 8, torch.float32)
@settings(max_examples=20, deadline=None)
def test_rows_are_summed_into_the_buffer_whatever_the_tokens(device, tokens, width, dtype):
    with short_pieces():
        assert_adds(*problem(device, tokens, 10, width, dtype))


@pytest.mark.parametrize("length", [1, 4, 5, 8, 9, 12, 13, 31, 40])
def test_one_token_over_any_number_of_pieces(device, length):
    """Alone, and between others that shift it against the pieces' borders."""
    with short_pieces():
        assert_adds(*problem(device, [2] * length, 3, 5))
        assert_adds(*problem(device, [2, 0, *[1] * length, 0], 3, 5))


def test_one_token_in_every_place_goes_through_whole_pieces(device):
    assert_adds(*problem(device, [7] * (3 * module.PIECE + 1), 9, 16))


def test_no_token_twice(device):
    assert_adds(*problem(device, torch.randperm(80), 90, 16))


def test_first_and_last_row_of_the_vocabulary(device):
    assert_adds(*problem(device, [0, 99, 99, 0, 98, 1], 100, 8))


def test_no_tokens_at_all(device):
    tokens, weight, dy, buffer = problem(device, [], 5, 8)
    assert_adds(tokens, weight, dy, buffer)
    embedding_triton(tokens, weight).backward(dy)
    assert not weight.grad.any()


def test_columns_beyond_one_program(device):
    with patch.multiple(module, PIECE=4, RUN_BLOCK=16, JOINT_BLOCK=8):
        assert_adds(*problem(device, [1, 0, 1, 1, 1, 2, 1, 1], 3, 37))


def test_a_buffer_beyond_two_to_the_31_elements(device):
    """Memory nobody touches is not committed."""
    width = 1 << 14
    vocab = (1 << 31) // width + 5
    buffer = torch.empty(vocab, width, dtype=torch.float16, device=device)
    buffer[-1], buffer[0] = 1, 2
    tokens = torch.tensor([vocab - 1] * 5 + [0] * 2, device=device)
    with short_pieces():
        embedding_backward(torch.ones(7, width, device=device), tokens, buffer)
    assert (buffer[-1] == 6).all()
    assert (buffer[0] == 4).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_without_a_buffer_the_gradient_is_dense_and_the_references(device, dtype):
    with short_pieces():
        tokens, weight, dy, _ = problem(device, [4, 1, *[3] * 11, 0, 4], 6, 9, dtype)
        embedding_triton(tokens, weight).backward(dy)
    got = weight.grad
    weight.grad = None
    embedding(tokens, weight).backward(dy)
    assert got.dtype == dtype
    tolerance = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 1e-3}[dtype]
    torch.testing.assert_close(got, weight.grad, rtol=tolerance, atol=tolerance)


def test_micro_batches_add_up_and_int32_tokens_do_too(device):
    first = problem(device, [1, 4, 1, 1, 0], 5, 8)
    _, weight, dy, buffer = first
    assert_adds(*first)
    assert_adds(torch.tensor([4, 4, 2, 1, 0], dtype=torch.int32, device=device), weight, dy, buffer)


def test_an_expanded_gradient_is_read_right(device):
    tokens, weight, _, buffer = problem(device, [1, 2, 1], 3, 8)
    before = buffer.clone()
    embedding_triton(tokens, weight, buffer).sum().backward()
    torch.testing.assert_close(buffer - before, torch.tensor([0.0, 2, 1], device=device)[:, None].expand(3, 8))


def test_the_same_bits_every_time_and_nothing_of_unwritten_memory(device):
    tokens, weight, dy, start = problem(device, torch.randint(0, 4, (61,)), 6, 8)
    buffers = [start.clone() for _ in range(3)]
    torch.use_deterministic_algorithms(True)  # torch then fills new memory with NaN
    try:
        with short_pieces():
            for buffer in buffers:
                embedding_triton(tokens, weight, buffer).backward(dy)
    finally:
        torch.use_deterministic_algorithms(False)
    assert buffers[0].isfinite().all()
    assert torch.equal(buffers[0], buffers[1])
    assert torch.equal(buffers[0], buffers[2])


def test_rows_of_a_token_are_added_in_the_order_they_came(device):
    """1 + 2^24 - 2^24 is 0 or 1 in fp32, by the order."""
    values = torch.tensor([1.0, 2.0**24, -(2.0**24), 5.0], device=device)[:, None]
    results = []
    for order in ([0, 1, 2, 3], [1, 2, 0, 3]):
        with patch.multiple(module, RUN_ROWS=1):
            buffer = torch.zeros(2, 1, device=device)
            tokens = torch.tensor([0, 0, 0, 1], device=device)
            embedding_backward(values[order], tokens, buffer)
        results.append(buffer[0].item())
    assert results == [0.0, 1.0]


def test_the_host_never_waits_and_no_temporary_has_the_parameters_size(device):
    """Grids and what torch is asked for are the same for any tokens: nothing has a size that depends on them."""
    asked, largest = [], 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            asked[-1].append(func.overloadpacket._qualified_op_name.removeprefix("aten::"))
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.untyped_storage().nbytes())
            return out

    grids = []
    for tokens in (torch.randperm(90), torch.full((90,), 7)):
        tokens, _, dy, buffer = problem(device, tokens, 5000, 16)
        with patch.multiple(module, _runs=MagicMock(), _joints=MagicMock()), Watch():  # the interpreter asks too
            asked.append([])
            embedding_backward._init_fn(dy, tokens, buffer)
            grids.append([kernel.__getitem__.call_args.args for kernel in (module._runs, module._joints)])
    assert grids[0] == grids[1] == [((90, 1),), ((1, 1),)]
    assert asked[0] == asked[1]
    assert set(asked[0]) <= {"_to_copy", "sort", "new_empty", "promote_types"}
    assert largest <= dy.nbytes


def test_a_buffer_that_does_not_fit_is_refused(device):
    tokens, weight, _, buffer = problem(device, [0], 3, 8)
    for wrong in (buffer[:2], buffer.t().contiguous().t()):
        with pytest.raises(ValueError, match="contiguous and of the weight's shape"):
            embedding_triton(tokens, weight, wrong)


def test_op_is_described_to_torch(device):
    tokens, _, dy, buffer = problem(device, [1, 2, 1], 3, 8)
    torch.library.opcheck(embedding_backward, (dy, tokens, buffer), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("direct", [True, False])
def test_meta_and_fake_tensors_pass_through(direct):
    with torch.device("meta"):
        tokens, weight, dy, buffer = torch.empty(4).long(), torch.empty(9, 8), torch.empty(4, 8), torch.empty(9, 8)
        embedding_triton(tokens, weight.requires_grad_(), buffer if direct else None).backward(dy)
    assert direct is (weight.grad is None)
    with FakeTensorMode():
        tokens, weight, dy, buffer = problem("cpu", [1, 2, 1], 3, 8)
        embedding_triton(tokens, weight, buffer if direct else None).backward(dy)
    assert direct is (weight.grad is None)


@pytest.mark.parametrize("version", TRITONS)
def test_compiles_for_hopper_with_wide_loads_and_no_spills(version):
    types = {"dy": "*bf16", "token_at": "*i32", "source_of": "*i64", "weight_grad": "*fp32", "partial": "*fp32"}
    types |= {"count": "i32"}
    cases = []
    for width in (6144, 18432):  # 15B, 340B
        constants = {"WIDTH": width, "PIECE": module.PIECE}
        runs = {"BLOCK": module.RUN_BLOCK, "ROWS": module.RUN_ROWS}
        joints = {"BLOCK": module.JOINT_BLOCK, "ROWS": module.JOINT_ROWS}
        cases.append(Case("gristmill.kernels.gpu.embedding:_runs", types, constants | runs, warps=module.RUN_WARPS))
        cases.append(
            Case("gristmill.kernels.gpu.embedding:_joints", types, constants | joints, warps=module.JOINT_WARPS)
        )
    for build in compiled(cases, version):
        assert build.spilled_bytes == 0
        assert build.widest_load() == 16
        assert not re.search(r"^\s*(@\S+\s+)?(atom|red)\.", build.ptx, re.MULTILINE)


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", ["skewed", "one token", "all different"])
def test_bf16_at_full_width_on_a_gpu_is_as_near_to_fp64_as_the_reference_and_waits_for_nothing(tokens):
    count, vocab, width = 16_384, 256_000, 6144
    made = {
        "skewed": lambda: (torch.rand(count, device="cuda") ** 8 * vocab).long(),
        "one token": lambda: torch.full((count,), vocab - 1, device="cuda"),
        "all different": lambda: torch.randperm(vocab, device="cuda")[:count],
    }
    tokens = made[tokens]()
    weight = torch.empty(vocab, width, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    dy = torch.randn(count, width, device="cuda").bfloat16()
    results = []
    for op in (embedding, embedding_triton, embedding_triton):
        buffer = torch.zeros(vocab, width, device="cuda")
        y = op(tokens, weight, buffer)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error" if op is embedding_triton else "default")
        try:
            y.backward(dy)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results.append(buffer[tokens])
        del buffer, y
    theirs, ours, again = results
    assert torch.equal(ours, again)
    _, place = tokens.unique(return_inverse=True)
    want = torch.zeros(int(place.max()) + 1, width, dtype=torch.float64, device="cuda").index_add_(
        0, place, dy.double()
    )
    error, reference = ((result.double() - want[place]).norm() for result in (ours, theirs))
    # where the reference happens to be exact, what a correctly rounded sum may be off by
    assert error <= 1.05 * reference + 2.0**-24 * want[place].norm()


@pytest.mark.gpu
def test_another_number_of_tokens_compiles_nothing_on_a_gpu():
    kernels = (module._runs, module._joints)
    for kernel in kernels:
        kernel.device_caches.clear()
    for count in (65, 80, 128, 1000):
        tokens, weight, dy, buffer = problem("cuda", torch.randint(0, 50, (count,)), 50, 96)
        embedding_triton(tokens, weight, buffer).backward(dy)
    for kernel in kernels:
        assert sum(len(caches[0]) for caches in kernel.device_caches.values()) == 1
