"""LayerNorm's Triton kernels against the definition in fp64, the compiler for Hopper, and torch's machinery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from gristmill.kernels.gpu import layernorm_kernels
from gristmill.kernels.gpu.layernorm import layernorm, layernorm_backward, layernorm_forward, layernorm_triton
from tests.kernels.gpu.ahead_of_time import TRITONS, Case, compiled

EPS = 1e-5
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3}
"""Relative error in the L2 norm: a rounding of fp16, some of fp32."""


def inputs(rows, width, dtype, device, residual=True, seed=0):
    """x, residual, weight, bias and the gradients of y and h."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, width), (rows, width), (width,), (width,), (rows, width), (rows, width)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[0] += 3  # a mean that is not 0
    x, r, w, b, dy, dh = [t.to(device, dtype) for t in tensors]
    return [x, r if residual else None, w, b], dy, dh


def run(op, tensors, dy, dh, dtype=None):
    """[y, h, then the gradients of x, residual, weight, bias] with the parts of the loss that are given."""
    leaves = [t if t is None else t.detach().to(dtype or t.dtype).requires_grad_() for t in tensors]
    y, h = op(*leaves, EPS)
    parts = [(out, grad.to(out.dtype)) for out, grad in ((y, dy), (h, dh)) if grad is not None]
    used = [leaf for leaf in leaves if leaf is not None]
    outputs, probes = zip(*parts, strict=True)
    gradients = torch.autograd.grad(outputs, used, probes, allow_unused=True)
    pairs = zip(used, gradients, strict=True)
    return [y, h, *[torch.zeros_like(leaf) if gradient is None else gradient for leaf, gradient in pairs]]


def error(got, expected):
    if not expected.numel():
        return 0.0
    norm = expected.double().norm().item()
    return (got.double() - expected.double()).norm().item() / (norm or 1.0)


def assert_equals_definition(rows, width, dtype, device, residual=True, use="yh"):
    """As near to fp64 as the reference in the same dtype; few columns make rstd huge and rounding errors with it."""
    tensors, dy, dh = inputs(rows, width, dtype, device, residual)
    dy, dh = dy if "y" in use else None, dh if "h" in use else None
    got, reference = (run(op, tensors, dy, dh) for op in (layernorm_triton, layernorm))
    exact = run(layernorm, tensors, dy, dh, torch.float64)
    for value, peer, expected in zip(got, reference, exact, strict=True):
        assert (value.dtype, value.shape) == (peer.dtype, peer.shape)
        assert error(value, expected) <= 2 * error(peer, expected) + TOLERANCE[dtype]
    return got


@pytest.mark.slow
@given(
    rows=st.integers(0, 40),
    width=st.one_of(st.integers(1, 70), st.integers(250, 600)),
    dtype=st.sampled_from(sorted(TOLERANCE, key=str)),
    residual=st.booleans(),
    use=st.sampled_from(["yh", "y", "h"]),
)
@example(rows=0, width=33, dtype=torch.float32, residual=True, use="yh")
@example(rows=1, width=1025, dtype=torch.float16, residual=False, use="y")
@settings(max_examples=25, deadline=None)
def test_equals_the_definition_whatever_the_shape_and_whichever_output_is_used(
    device, rows, width, dtype, residual, use
):
    assert_equals_definition(rows, width, dtype, device, residual, use)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "width"), [(5, 6144), (11, 3000), (5, 8200)])
def test_equals_the_definition_where_rows_are_wide_with_the_same_bits_at_each_call(device, rows, width):
    """3,000: two rows a tile; beyond 8,192: the means of each row first, then blocks of columns."""
    first = assert_equals_definition(rows, width, torch.float32, device)
    tensors, dy, dh = inputs(rows, width, torch.float32, device)
    assert all(torch.equal(a, b) for a, b in zip(first, run(layernorm_triton, tensors, dy, dh), strict=True))


def test_constant_rows_give_the_bias(device):
    """Variance 0: everything is decided by eps."""
    tensors, _, _ = inputs(3, 20, torch.float32, device, residual=False)
    tensors[0] = torch.full_like(tensors[0], 7.0)
    y, _ = layernorm_triton(*tensors, EPS)
    assert torch.equal(y, tensors[3].expand(3, 20))


def test_one_is_added_to_gamma_in_fp32(device):
    """1 + 2^-12 is 1 in fp16: y would be as with gamma 0."""
    tensors, _, _ = inputs(4, 64, torch.float32, device)
    tensors[2] = torch.full((64,), 2.0**-12, dtype=torch.float16, device=device)
    tensors[3] = torch.zeros(64, dtype=torch.float16, device=device)
    y, _ = layernorm_triton(*tensors, EPS)
    expected, _ = layernorm(*[t.double() for t in tensors], EPS)
    assert error(y, expected) < 2.0**-20


def test_a_mean_a_thousand_deviations_away_costs_no_more_than_its_own_rounding(device):
    tensors, dy, dh = inputs(5, 300, torch.float32, device, residual=False)
    tensors[0] += 1000
    exact = run(layernorm, tensors, dy, dh, torch.float64)
    for got, reference, expected in zip(
        run(layernorm_triton, tensors, dy, dh), run(layernorm, tensors, dy, dh), exact, strict=True
    ):
        assert error(got, expected) <= 2 * error(reference, expected) + 1e-6


def test_nan_stays_in_its_row(device):
    tensors, dy, dh = inputs(5, 40, torch.float32, device, residual=False)
    clean = run(layernorm_triton, tensors, dy, dh)
    tensors[0][2, 3] = float("nan")
    y, _, dx, dw, db = run(layernorm_triton, tensors, dy, dh)
    others = [0, 1, 3, 4]
    assert y[2].isnan().all()
    assert dx[2].isnan().all()
    assert dw.isnan().all()
    assert torch.equal(y[others], clean[0][others])
    assert torch.equal(dx[others], clean[2][others])
    assert torch.equal(db, clean[4])


@pytest.mark.parametrize("given_buffers", ["both", "weight", "bias"])
@pytest.mark.parametrize("rows", [0, 21])
def test_weight_gradients_are_added_to_the_buffers_that_are_given(device, rows, given_buffers):
    tensors, dy, dh = inputs(rows, 48, torch.float32, device)
    plain = run(layernorm_triton, tensors, dy, dh)[-2:]
    leaves = [t.detach().requires_grad_() for t in tensors]
    buffers = [
        torch.full((48,), 0.5, device=device) if given_buffers in ("both", name) else None
        for name in ("weight", "bias")
    ]
    for _ in range(2):  # micro-batches
        y, h = layernorm_triton(*leaves, EPS, *buffers)
        torch.autograd.backward([y, h], [dy, dh])
    for leaf, buffer, gradient in zip(leaves[2:], buffers, plain, strict=True):
        assert (leaf.grad is None) == (buffer is not None)
        total = leaf.grad if buffer is None else buffer - 0.5
        torch.testing.assert_close(total, 2 * gradient, rtol=1e-5, atol=1e-5)


def test_h_is_x_itself_without_a_residual(device):
    tensors, _, _ = inputs(3, 16, torch.float32, device, residual=False)
    _, h = layernorm_triton(*tensors, EPS)
    assert h.data_ptr() == tensors[0].data_ptr()


def test_rows_that_are_not_contiguous_are_read_as_they_are(device):
    tensors, dy, _ = inputs(6, 32, torch.float32, device)
    apart = [torch.cat([t, t + 1], dim=1)[:, :32] for t in tensors[:2]] + tensors[2:]
    for got, expected in zip(
        run(layernorm_triton, apart, dy.t().contiguous().t(), None),
        run(layernorm_triton, tensors, dy, None),
        strict=True,
    ):
        assert torch.equal(got, expected)
    leaf = tensors[0].requires_grad_()
    layernorm_triton(leaf, *tensors[1:], EPS)[0].sum().backward()  # an expanded gradient: all strides 0
    assert error(leaf.grad, run(layernorm, tensors, torch.ones_like(dy), None, torch.float64)[2]) < 1e-5


def test_what_does_not_fit_is_refused(device):
    (x, r, w, b), _, _ = inputs(3, 16, torch.float32, device)
    for error_type, arguments in [
        (TypeError, (x.double(), r.double(), w, b, EPS)),
        (TypeError, (x, r, w, b, EPS, torch.zeros(16, dtype=torch.float16, device=device))),
        (ValueError, (x[None], None, w, b, EPS)),
        (ValueError, (x, r[:2], w, b, EPS)),
        (ValueError, (x, r.half(), w, b, EPS)),
        (ValueError, (x, r, w[:8], b, EPS)),
        (ValueError, (x, r, w, b, EPS, None, torch.zeros(8, device=device))),
        (ValueError, (x.new_empty(1, 32769), None, x.new_empty(32769), x.new_empty(32769), EPS)),
    ]:
        with pytest.raises(error_type):
            layernorm_triton(*arguments)


def test_torch_sees_through_it(device):
    """Meta and fake tensors run it, and the fake outputs have the shapes, dtypes and devices of the real ones."""
    for residual in (True, False):
        for fake in (torch.device("meta"), FakeTensorMode()):
            with fake:
                x = torch.empty(5, 16, dtype=torch.bfloat16, requires_grad=True)
                r = torch.empty_like(x) if residual else None
                w, b = (torch.empty(16, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
                y, h = layernorm_triton(x, r, w, b, EPS, torch.empty(16))
                (y.sum() + h.sum()).backward()
            assert (y.shape, h.shape, y.dtype, x.grad.shape) == (x.shape, x.shape, x.dtype, x.shape)
            assert (w.grad, b.grad.dtype, b.grad.shape) == (None, torch.bfloat16, b.shape)
    checks = ["test_schema", "test_faketensor"]
    (x, r, w, b), dy, dh = inputs(5, 16, torch.float32, device)
    for residual in (r, None):
        torch.library.opcheck(layernorm_forward, (x, residual, w, b, EPS), test_utils=checks)
    _, h, mean, rstd = layernorm_forward(x, r, w, b, EPS)
    for stream, *buffers in [(dh, torch.zeros_like(w), torch.zeros_like(b)), (None, None, None), (dh, None, b.clone())]:
        arguments = (dy, stream, h, mean, rstd, w, b.dtype, *buffers)
        torch.library.opcheck(layernorm_backward, arguments, test_utils=checks)


def test_torch_compile_keeps_it_whole(device):
    tensors, dy, dh = inputs(5, 16, torch.float32, device)
    buffers = [torch.zeros(16, device=device) for _ in range(4)]

    def loss(op, leaves, buffers):
        y, h = op(*leaves, EPS, *buffers)
        return (y * dy).sum() + (h * dh).sum()

    gradients = []
    for call, given_buffers in [
        (loss, buffers[:2]),
        (torch.compile(loss, backend="aot_eager", fullgraph=True), buffers[2:]),
    ]:
        leaves = [t.detach().requires_grad_() for t in tensors]
        call(layernorm_triton, leaves, given_buffers).backward()
        gradients.append([leaf.grad for leaf in leaves[:2]] + given_buffers)
    for plain, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, plain)


BF16 = "*bf16"
STATISTICS = {"mean": "*fp32", "rstd": "*fp32"}
FORWARD = (
    dict.fromkeys(("x", "residual", "weight", "bias", "y", "h"), BF16) | STATISTICS | {"rows": "i32", "eps": "fp32"}
)
BACKWARD = dict.fromkeys(("dy", "dh", "h", "weight", "dx"), BF16) | STATISTICS | {"rows": "i32"}
BACKWARD |= {"dw_partial": "*fp32", "db_partial": "*fp32"}
MEANS = {"along_ones": "*fp32", "along_normed": "*fp32"}
"""Types of the kernels' arguments; what a kernel does not take is left out by name."""


def fp32(types):
    return {name: "*fp32" if kind == BF16 else kind for name, kind in types.items()}


def build_cases():
    """What layernorm.py launches for the widths of the 15B, the 4B and the 340B, a narrow one, and fp32."""
    module = "gristmill.kernels.gpu.layernorm_kernels:"
    cases = []
    for width, columns, warps in [(6144, 8192, 8), (3072, 4096, 8), (18432, 32768, 16)]:
        constants = {"H": width, "ROWS": 1, "COLUMNS": columns, "HAS_RESIDUAL": True}
        cases.append(Case(module + "forward", FORWARD, constants, warps=warps))
    for width, rows, columns in [(6144, 1, 8192), (3072, 2, 4096), (1024, 4, 1024)]:
        constants = {"H": width, "ROWS": rows, "COLUMNS": columns, "STAGES": 3, "HAS_DH": True}
        cases.append(Case(module + "backward", BACKWARD, constants, warps=16))
    cases.append(Case(module + "backward", fp32(BACKWARD), {**cases[3].constants, "STAGES": 2}, warps=16))
    constants = {"H": 18432, "COLUMNS": 4096, "STAGES": 3}
    cases.append(Case(module + "terms", BACKWARD | MEANS, constants, warps=8))
    constants = {"H": 18432, "ROWS": 4, "COLUMNS": 1024, "STAGES": 3, "HAS_DH": True}
    cases.append(Case(module + "columns", BACKWARD | MEANS, constants, warps=8))
    constants = {"H": 6144, "ROWS": 64, "COLUMNS": 32, "ADD_W": True, "ADD_B": True}
    types = dict.fromkeys(("dw_partial", "db_partial", "dw", "db"), "*fp32") | {"programs": "i32"}
    return [*cases, Case(module + "reduce", types, constants, warps=4)]


@pytest.mark.parametrize("version", TRITONS)
def test_compiles_for_hopper_with_16_byte_loads_and_no_spills(version):
    for build in compiled(build_cases(), version):
        assert build.spilled_bytes == 0
        assert build.widest_load() == 16


KEYS = """
import json, torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import create_function_from_signature
from gristmill.kernels.gpu import layernorm_kernels

def keys(kernel, **constants):
    bind = create_function_from_signature(kernel.signature, kernel.params, make_backend(GPUTarget("cuda", 90, 32)))
    rest = [name for name in kernel.arg_names if name not in constants]
    found = set()
    for number in (1, 7, 16, 33):
        values = {name: torch.zeros(64) for name in rest} | {"rows": number, "programs": number, "eps": 1e-5}
        found.add(str(bind(*[{**values, **constants}[name] for name in kernel.arg_names])[1]))
    return len(found)

shape = {"H": 64, "ROWS": 1, "COLUMNS": 64}
print(json.dumps([
    keys(layernorm_kernels.forward, **shape, HAS_RESIDUAL=True),
    keys(layernorm_kernels.backward, **shape, STAGES=3, HAS_DH=True),
    keys(layernorm_kernels.terms, H=64, COLUMNS=64, STAGES=3),
    keys(layernorm_kernels.columns, **shape, STAGES=3, HAS_DH=True),
    keys(layernorm_kernels.reduce, **shape, ADD_W=True, ADD_B=True),
]))
"""


@pytest.mark.parametrize("version", TRITONS)
def test_one_build_serves_every_number_of_rows(version):
    """The keys by which Triton's launcher would look builds up, for 1, 7, 16 and 33 rows: one a kernel."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    paths = [TRITONS[version], str(Path(__file__).parents[3])]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run([sys.executable, "-c", KEYS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1] * 5


@pytest.mark.gpu
def test_launches_of_every_number_of_rows_add_one_build():
    kernels = [layernorm_kernels.forward, layernorm_kernels.backward, layernorm_kernels.reduce]

    def builds():
        return [len(kernel.device_caches[torch.cuda.current_device()][0]) for kernel in kernels]

    before = builds()
    for rows in (1, 7, 16, 33):
        tensors, dy, dh = inputs(rows, 1056, torch.bfloat16, "cuda")  # a width that no other test has
        run(layernorm_triton, tensors, dy, dh)
    assert builds() == [number + 1 for number in before]


@pytest.mark.gpu
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("rows", "width"), [(2048, 6144), (1, 6144), (4099, 3072), (513, 18432), (77, 5000)])
def test_bf16_is_as_near_to_fp64_as_the_reference(rows, width, residual):
    tensors, dy, dh = inputs(rows, width, torch.bfloat16, "cuda", residual)
    exact = run(layernorm, tensors, dy, dh, torch.float64)
    reference = run(layernorm, tensors, dy, dh)
    for got, peer, expected in zip(run(layernorm_triton, tensors, dy, dh), reference, exact, strict=True):
        assert error(got, expected) <= 1.05 * error(peer, expected) + 1e-7


@pytest.mark.gpu
def test_rows_beyond_two_to_the_31_elements_are_as_the_others():
    rows, width = 2**31 // 6144 + 100, 6144
    tensors, _, _ = inputs(100, width, torch.bfloat16, "cuda", residual=False)
    x = tensors[0].new_zeros(rows, width)
    x[-100:] = tensors[0]
    weight, bias = tensors[2:]
    leaf = x.requires_grad_()
    y, _ = layernorm_triton(leaf, None, weight, bias, EPS)
    expected, _ = layernorm_triton(tensors[0], None, weight, bias, EPS)
    assert torch.equal(y[-100:], expected)
    dy = torch.zeros_like(y)
    dy[-100:] = 1
    (dx,) = torch.autograd.grad(y, leaf, dy)
    small = tensors[0].requires_grad_()
    (near,) = torch.autograd.grad(layernorm_triton(small, None, weight, bias, EPS)[0].sum(), small)
    assert torch.equal(dx[-100:], near)
