"""Squared ReLU's Triton kernels against torch: every bf16 value, fp32 and fp16 of any shape, built for Hopper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from gristmill.kernels.gpu.squared_relu import (
    BLOCK,
    _backward,
    _forward,
    squared_relu,
    squared_relu_backward,
    squared_relu_forward,
    squared_relu_triton,
)
from tests.kernels.gpu.ahead_of_time import TRITONS, Case, compiled

MODULE = "gristmill.kernels.gpu.squared_relu"


def every_bf16():
    """All bf16 with 1e-18 < x < 1e18, whose squares neither under- nor overflow."""
    x = torch.arange(0x7F80, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = x[(x > 1e-18) & (x < 1e18)]
    assert len(x) == 15_305
    return x


def run(op, x, dy):
    leaf = x.detach().requires_grad_()
    y = op(leaf)
    return y, *torch.autograd.grad(y, leaf, dy)


def test_the_root_of_the_rounded_square_rounds_to_x_with_room_for_an_approximate_root():
    """Rounding the square moves its root by less than 0.71 of the way to where it would round to a neighbour of x.

    The way is at least 2^-9 of x, so a root that is off by less than 0.29 * 2^-9 = 5.6e-4 of x will do; the GPU's
    approximate one is off by some 2^-23.
    """
    x = every_bf16()
    root = x.square().double().sqrt()
    assert torch.equal(root.bfloat16(), x)
    bits = x.view(torch.int16)
    sides = [(bits + step).view(torch.bfloat16).double() for step in (-1, 1)]
    way = torch.stack([(side - x.double()).abs() / 2 for side in sides])
    moved = root - x.double()
    used = torch.where(moved < 0, -moved / way[0], moved / way[1])
    assert used.max() < 0.71
    assert (way.amin(0) / x.double()).min() >= 2.0**-10  # below a power of two; its square is exact
    assert not moved[(way[0] != way[1])].any()


def test_kernels_find_x_again_for_every_bf16(device):
    """Under the interpreter the kernels get bf16 values in fp32, and torch rounds what they give as a GPU stores it."""
    x = every_bf16().to(device)
    if device == "cuda":
        y = squared_relu_forward(x)
        dx = squared_relu_backward(y, torch.ones_like(x))
    else:
        y = squared_relu_forward(x.float()).bfloat16()
        dx = squared_relu_backward(y.float(), torch.ones_like(x, dtype=torch.float32)).bfloat16()
    assert torch.equal(y, x.square())
    assert torch.equal(dx, 2 * x)


@given(
    shape=st.one_of(
        st.just(()),
        st.lists(st.integers(0, 9), max_size=3).map(tuple),
        st.integers(BLOCK - 3, 2 * BLOCK + 3).map(lambda n: (n,)),
    ),
    dtype=st.sampled_from([torch.float32, torch.float16]),
    scale=st.sampled_from([1.0, 1e-3, 100.0]),
)
@example(shape=(0, 7), dtype=torch.float32, scale=1.0)
@example(shape=(2 * BLOCK,), dtype=torch.float16, scale=1.0)
@settings(max_examples=30, deadline=None)
def test_equals_the_definition_to_the_bit(device, shape, dtype, scale):
    """A square, a root and a product, each correctly rounded; torch's own root on a CPU is off by a bit at times."""
    generator = torch.Generator().manual_seed(0)
    x, dy = ((torch.randn(shape, generator=generator) * s).to(device, dtype) for s in (scale, 1.0))
    y, dx = run(squared_relu_triton, x, dy)
    assert (y.dtype, y.shape, dx.dtype, dx.shape) == (dtype, x.shape, dtype, x.shape)
    assert torch.equal(y, x.relu().square())
    expected = 2 * y.double().sqrt().to(dtype) * dy
    if device == "cuda" and dtype == torch.float16:  # the roots of subnormal y are no numbers of fp16
        torch.testing.assert_close(dx, expected, rtol=2e-3, atol=1e-7)
    else:
        assert torch.equal(dx, expected)


@given(st.floats(2.0**-60, 2.0**60, width=32))
@settings(max_examples=30, deadline=None)
def test_the_gradient_in_fp32_is_that_of_x(device, value):
    x = torch.tensor([value, -value], dtype=torch.float32, device=device)
    _, dx = run(squared_relu_triton, x, torch.ones_like(x))
    assert dx.tolist() == [2 * x[0].item(), 0.0]


def test_nan_and_infinity_are_passed_on_as_by_torch(device):
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1e30, -1e30], device=device)
    for got, expected in zip(
        *(run(op, x, torch.ones_like(x)) for op in (squared_relu_triton, squared_relu)), strict=True
    ):
        assert torch.equal(got.nan_to_num(7.0), expected.nan_to_num(7.0))


def test_nothing_but_y_is_saved(device):
    saved = []
    x = torch.randn(5, 6, device=device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        y = squared_relu_triton(x)
    assert [tensor.data_ptr() for tensor in saved] == [y.data_ptr()]


def test_tensors_that_are_not_contiguous_are_read_as_they_are(device):
    x, dy = torch.randn(6, 8, device=device).t(), torch.randn(8, 12, device=device)[:, ::2]
    for got, expected in zip(run(squared_relu_triton, x, dy), run(squared_relu, x, dy), strict=True):
        assert torch.equal(got, expected)
    leaf = x.requires_grad_()
    squared_relu_triton(leaf).sum().backward()  # an expanded gradient: all strides 0
    assert torch.equal(leaf.grad, 2 * x.relu())


def test_fp64_is_refused(device):
    with pytest.raises(TypeError):
        squared_relu_triton(torch.zeros(3, dtype=torch.float64, device=device))


def test_torch_sees_through_it(device):
    for fake in (torch.device("meta"), FakeTensorMode()):
        with fake:
            x = torch.empty(3, 5, dtype=torch.bfloat16, requires_grad=True)
            y = squared_relu_triton(x)
            y.sum().backward()
        assert (y.shape, y.dtype, x.grad.shape) == (x.shape, x.dtype, x.shape)
    x = torch.randn(3, 5, device=device)
    checks = ["test_schema", "test_faketensor"]
    torch.library.opcheck(squared_relu_forward, (x,), test_utils=checks)
    torch.library.opcheck(squared_relu_backward, (x.square(), x), test_utils=checks)


def test_torch_compile_keeps_it_whole(device):
    x = torch.randn(3, 5, device=device)
    whole = torch.compile(lambda leaf: squared_relu_triton(leaf) * 1.0, backend="aot_eager", fullgraph=True)
    for got, expected in zip(run(whole, x, torch.ones_like(x)), run(squared_relu, x, torch.ones_like(x)), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("version", TRITONS)
def test_compiles_for_hopper_with_16_byte_loads_and_no_spills(version):
    cases = [
        Case(
            f"gristmill.kernels.gpu.squared_relu:{kernel}",
            dict.fromkeys(names, kind) | {"n": "i32"},
            {"N": BLOCK},
            ["n"],
        )
        for kernel, names in [("_forward", ("x", "y")), ("_backward", ("y", "dy", "dx"))]
        for kind in ("*bf16", "*fp32")
    ]
    for build in compiled(cases, version):
        assert build.spilled_bytes == 0
        assert build.widest_load() == 16
        assert build.registers <= 80  # twelve warps an SM at the least; in bf16 forty


@pytest.mark.gpu
def test_launches_of_every_batch_size_add_one_build():
    def builds():
        caches = [kernel.device_caches[torch.cuda.current_device()][0] for kernel in (_forward, _backward)]
        return [len(cache) for cache in caches]

    built = []
    for rows in (1, 7, 16, 33):
        x = torch.randn(rows, 48, device="cuda").half()
        run(squared_relu_triton, x, x)
        built.append(builds())
    assert built == built[:1] * 4


@pytest.mark.gpu
def test_bf16_equals_the_reference_to_the_bit():
    x = torch.randn(4099, 24576, device="cuda", dtype=torch.bfloat16)
    dy = torch.randn_like(x)
    for got, expected in zip(run(squared_relu_triton, x, dy), run(squared_relu, x, dy), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.gpu
def test_elements_beyond_two_to_the_31_are_as_the_others():
    x = torch.zeros(2**31 + 4097, device="cuda", dtype=torch.bfloat16)
    x[-4097:] = torch.randn(4097, device="cuda")
    y = squared_relu_forward(x)
    assert torch.equal(y[-4097:], squared_relu(x[-4097:]))
    assert torch.equal(squared_relu_backward(y, x)[-4097:], squared_relu_backward(y[-4097:], x[-4097:]))
