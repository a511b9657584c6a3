"""Partial rotary embedding in place, and its backward in a buffer of its own, against the reference in fp64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from gristmill.kernels.gpu import registry
from gristmill.kernels.gpu import rope as module
from gristmill.kernels.gpu.rope import rope, rope_backward, rope_forward, rope_triton, tables
from tests.kernels.gpu.ahead_of_time import TRITONS, Case, compiled

TOLERANCE = {torch.float64: 1e-14, torch.float32: 2e-6, torch.float16: 1e-3}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def problem(device, tokens, heads, d, r, dtype=torch.float32, index=torch.int64, length=50):
    """A leaf [T, heads, d], a gradient for it, tables and positions."""
    z = torch.randn(tokens, heads, d, device=device, dtype=torch.float64).to(dtype)
    dy = torch.randn(tokens, heads, d, device=device, dtype=torch.float64).to(dtype)
    positions = torch.randint(0, length, (tokens,), device=device, dtype=index)
    return z.requires_grad_(), dy, (*tables(length, r, 10_000.0, device), positions)


def exact(z, turned, rest, dy):
    """Result and gradient of the definition in fp64."""
    wide = z.detach().double().requires_grad_()
    out = rope(wide, turned, *rest)
    out.backward(dy.double())
    return out.detach(), wide.grad


def assert_close(got, want, dtype):
    torch.testing.assert_close(got.double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@given(
    tokens=st.integers(0, 40),
    heads=st.integers(1, 9),
    kv=st.integers(1, 4),
    half=st.integers(1, 20),
    rest=st.integers(0, 40),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.float64]),
    index=st.sampled_from([torch.int32, torch.int64]),
)
@settings(max_examples=20, deadline=None)
def test_result_and_gradient_are_the_references(device, tokens, heads, kv, half, rest, dtype, index):
    z, dy, where = problem(device, tokens, heads + 2 * kv, 2 * half + rest, 2 * half, dtype, index)
    out = rope_triton(z, heads + kv, *where)
    out.backward(dy)
    want, want_grad = exact(z, heads + kv, where, dy)
    assert out.dtype == dtype
    assert_close(out, want, dtype)
    assert_close(z.grad, want_grad, dtype)
    assert torch.equal(out[:, heads + kv :], z[:, heads + kv :])
    assert torch.equal(out[..., 2 * half :], z[..., 2 * half :])


@pytest.mark.parametrize("shape", [(7, 64, 56), (33, 8, 7)])
def test_the_15b_shape_and_its_eighth_fill_programs_across_tokens(device, shape):
    tokens, heads, turned = shape
    z, dy, where = problem(device, tokens, heads, 128, 64)
    out = rope_triton(z, turned, *where)
    out.backward(dy)
    want, want_grad = exact(z, turned, where, dy)
    assert_close(out, want, torch.float32)
    assert_close(z.grad, want_grad, torch.float32)


def test_gradcheck_in_fp64_through_the_models_reshape(device):
    z, _, where = problem(device, 2, 3, 5, 4, torch.float64)
    torch.autograd.gradcheck(lambda z: rope_triton((z.flatten(1) * 1.0).view(2, 3, 5), 2, *where), (z,))


def test_a_reshape_of_a_layers_output_is_turned_in_place_and_its_gradient_not_copied(device):
    """linear -> reshape -> rope -> an op that saves its input, as in the model."""
    heads, turned, d = 6, 4, 8
    _, dy, where = problem(device, 5, heads, d, 4, length=9)
    grads = []
    for op in (rope, rope_triton):
        torch.manual_seed(1)
        x = torch.randn(5, 12, device=device, requires_grad=True)
        w = torch.randn(heads * d, 12, device=device, requires_grad=True)
        qkv = F.linear(x, w).view(-1, heads, d)
        out = op(qkv, turned, *where)
        if op is rope_triton:
            assert out.data_ptr() == qkv.data_ptr()
            assert out.grad_fn.name() == "ViewBackward0"  # AsStrided or CopySlices would copy the gradient
            assert out.grad_fn.next_functions[0][0].name() == "_RopeTritonBackward"
        (out.square().sin() * dy).sum().backward()
        grads.append((x.grad, w.grad))
    for got, want in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reshaped", [True, False])
def test_qkv_itself_is_the_turned_tensor_to_autograd(device, reshaped):
    z, dy, where = problem(device, 4, 3, 8, 4)
    qkv = z * 1.0
    if reshaped:
        qkv = qkv.view(2, 2, 3, 8).view(4, 3, 8)
    rope_triton(qkv, 2, *where)
    (qkv * dy).sum().backward()
    _, want = exact(z, 2, where, dy)
    assert_close(z.grad, want, torch.float32)


def test_part_of_a_larger_tensor_is_turned_in_place_too(device):
    z, dy, where = problem(device, 4, 3, 8, 4)
    whole = torch.cat([z, z]) * 1.0
    out = rope_triton(whole[4:], 2, *where)
    assert out.data_ptr() == whole[4:].data_ptr()
    assert torch.equal(whole[:4], z)
    out.backward(dy)
    _, want = exact(z, 2, where, dy)
    assert_close(z.grad, want, torch.float32)


def test_a_producer_that_needs_its_old_output_raises_instead_of_computing_from_the_new_one(device):
    z, dy, where = problem(device, 4, 3, 8, 4)
    for producer in (torch.tanh, lambda z: torch.tanh(z).view(2, 2, 3, 8).view(4, 3, 8)):
        out = rope_triton(producer(z), 2, *where)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward(dy)


def test_a_gradient_with_other_readers_stays_as_it_was(device):
    z, dy, where = problem(device, 4, 3, 8, 4)
    other = torch.zeros_like(z, requires_grad=True)
    seen, before = [], dy.clone()
    turned = rope_triton(z * 1.0, 2, *where)
    turned.register_hook(seen.append)
    (turned + other).backward(dy)
    assert torch.equal(other.grad, before)
    assert torch.equal(seen[0], before)
    assert torch.equal(dy, before)
    _, want = exact(z, 2, where, dy)
    assert_close(z.grad, want, torch.float32)


def test_an_expanded_gradient_is_read_right(device):
    z, _, where = problem(device, 4, 3, 8, 4)
    rope_triton(z * 1.0, 2, *where).sum().backward()
    _, want = exact(z, 2, where, torch.ones_like(z))
    assert_close(z.grad, want, torch.float32)


@pytest.mark.parametrize("given", ["leaf", "view of a leaf", "strided"])
def test_leaves_and_strided_inputs_are_copied_first(device, given):
    z, dy, where = problem(device, 4, 3, 8, 4)
    before = z.detach().clone()
    made = {
        "leaf": lambda: z,
        "view of a leaf": lambda: z[:4],
        "strided": lambda: z.transpose(0, 1).clone().transpose(0, 1),
    }
    out = rope_triton(made[given](), 2, *where)
    out.backward(dy)
    want, want_grad = exact(z, 2, where, dy)
    assert torch.equal(z, before)
    assert_close(out, want, torch.float32)
    assert_close(z.grad, want_grad, torch.float32)


def test_positions_restart_with_each_document(device):
    z, _, (cos, sin, _) = problem(device, 9, 3, 8, 4)
    packed = rope_triton(z, 2, cos, sin, torch.cat([torch.arange(4), torch.arange(5)]).to(device))
    for document in (slice(0, 4), slice(4, 9)):
        alone = rope_triton(z[document], 2, cos, sin, torch.arange(document.stop - document.start, device=device))
        assert torch.equal(packed[document], alone)


def test_a_position_outside_the_tables_makes_its_token_nan_and_no_other(device):
    z, _, (cos, sin, _) = problem(device, 4, 3, 8, 4, length=6)
    out = rope_triton(z, 2, cos, sin, torch.tensor([0, -1, 5, 6], device=device))
    bad = out.isnan()
    assert bad[[1, 3], :2, :4].all()
    assert bad.sum() == 2 * 2 * 4


def test_an_infinite_gradient_of_a_value_head_stays_infinite(device):
    z, dy, where = problem(device, 4, 3, 8, 4)
    dy[:, 2] = torch.inf
    rope_triton(z, 2, *where).backward(dy)
    assert torch.equal(z.grad[:, 2], dy[:, 2])
    assert z.grad[:, :2].isfinite().all()


def test_sizes_that_do_not_fit_are_refused(device):
    z, _, (cos, sin, positions) = problem(device, 4, 3, 8, 4)
    for heads, c, p in ((4, cos, positions), (2, cos[:, :1], positions), (2, cos, positions[:3])):
        with pytest.raises(ValueError, match="do not fit"):
            rope_triton(z, heads, c, sin, p)


def test_offsets_pass_two_to_the_31(device):
    """The last of nine tokens begins 2^31 elements in; memory nobody touches is not committed."""
    heads, d = 1 << 21, 128
    qkv = torch.empty(9, heads, d, dtype=torch.float16, device=device)
    qkv[:, 0] = torch.randn(9, d, device=device)
    _, _, where = problem(device, 9, 1, d, 64)
    before = qkv[:, :1].clone()
    rope_forward(qkv, 1, *where)
    assert_close(qkv[:, :1], rope(before.double(), 1, *where), torch.float16)


def test_a_small_model_learns_the_same_with_it(device):
    from gristmill.trainer.model.nemotron import Nemotron
    from gristmill.trainer.model.shape import Shape

    shape = Shape(layers=2, hidden=16, heads=4, kv_heads=2, head_dim=8, ffn=16, vocab_size=40, context=8)
    reference = registry.load("reference")
    tokens, labels = torch.randint(0, 40, (2, 2, 8), device=device)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 0]], device=device)
    cu_seqlens = torch.tensor([0, 3, 8, 15, 16], dtype=torch.int32, device=device)
    grads = []
    for ops in (reference, replace(reference, rope=rope_triton)):
        model = Nemotron(shape, ops).to(device)
        torch.manual_seed(2)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.3)
        loss, _ = model.loss(tokens, labels, 1 / 16, positions, cu_seqlens)
        loss.backward()
        grads.append([loss.detach(), *(parameter.grad for parameter in model.parameters())])
    for got, want in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_ops_are_described_to_torch(device):
    z, _, where = problem(device, 5, 4, 8, 4)
    for op in (rope_forward, rope_backward):
        torch.library.opcheck(op, (z.detach().clone(), 3, *where), test_utils=("test_schema", "test_faketensor"))


def test_meta_and_fake_tensors_pass_through():
    with torch.device("meta"):
        z, dy, where = problem("meta", 5, 4, 8, 4)
        rope_triton(z, 3, *where).backward(dy)
    assert z.grad.shape == z.shape
    with FakeTensorMode():
        z, dy, where = problem("cpu", 5, 4, 8, 4)
        rope_triton(z * 1.0, 3, *where).backward(dy)
    assert z.grad.shape == z.shape


def test_torch_compile_takes_it_into_one_graph(device):
    z, dy, where = problem(device, 4, 3, 8, 4)
    chain = torch.compile(
        lambda z: rope_triton((z * 1.0).view(4, 3, 8), 2, *where), fullgraph=True, backend="aot_eager"
    )
    out = chain(z)
    out.backward(dy)
    want, want_grad = exact(z, 2, where, dy)
    assert_close(out, want, torch.float32)
    assert_close(z.grad, want_grad, torch.float32)


@pytest.mark.parametrize("version", TRITONS)
def test_compiles_for_hopper_with_wide_loads_and_no_spills(version):
    cases = []
    # 15B, an eighth of it, 340B: heads, heads turned, d, half
    for heads, turned, d, half in ((64, 56, 128, 32), (8, 7, 128, 32), (112, 104, 192, 48)):
        constants = {
            "HEADS": heads,
            "TURNED": turned,
            "WIDTH": d,
            "HALF": half,
            "BLOCK_HALF": 1 << (half - 1).bit_length(),
        }
        constants["ROWS"] = module.TILE // constants["BLOCK_HALF"]
        types = {"cos": "*fp32", "sin": "*fp32", "positions": "*i64", "rows": "i32", "length": "i32"}
        cases.append(Case("gristmill.kernels.gpu.rope:_forward", {"z": "*bf16"} | types, constants))
        rest = {"BLOCK_REST": 1 << (d - 2 * half - 1).bit_length()}
        cases.append(
            Case("gristmill.kernels.gpu.rope:_backward", {"dy": "*bf16", "dz": "*bf16"} | types, constants | rest)
        )
    for build in compiled(cases, version):
        assert build.spilled_bytes == 0
        assert build.widest_load() == 16
        assert "ld.global.b16" not in build.ptx  # nothing of qkv is read element by element


@pytest.mark.gpu
def test_bf16_is_as_near_to_fp64_as_the_reference_in_bf16():
    z, dy, where = problem("cuda", 4096, 64, 128, 64, torch.bfloat16, length=4096)
    want, want_grad = exact(z, 56, where, dy)
    errors = []
    for op in (rope, rope_triton):
        z.grad = None
        out = op(z, 56, *where)
        out.backward(dy)
        errors.append(((out.double() - want).norm(), (z.grad.double() - want_grad).norm()))
    for ours, theirs in zip(errors[1], errors[0], strict=True):
        assert ours <= 1.05 * theirs


@pytest.mark.gpu
def test_backward_offsets_pass_two_to_the_31_on_a_gpu():
    tokens = (1 << 31) // (64 * 128) + 16
    dy = torch.empty(tokens, 64, 128, dtype=torch.bfloat16, device="cuda")
    dy[-16:] = torch.randn(16, 64, 128, device="cuda")
    _, _, (cos, sin, positions) = problem("cuda", tokens, 1, 128, 64)
    got = rope_backward(dy, 56, cos, sin, positions)[-16:]
    want = rope(dy[-16:].double(), 56, cos, -sin, positions[-16:])
    torch.testing.assert_close(got.double(), want, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
def test_another_number_of_tokens_compiles_nothing_on_a_gpu():
    for kernel in (module._forward, module._backward):
        kernel.device_caches.clear()
    for tokens in (1, 2, 16, 17, 333):
        z, dy, where = problem("cuda", tokens, 8, 128, 64, torch.bfloat16)
        rope_triton(z, 7, *where).backward(dy)
    for kernel in (module._forward, module._backward):
        assert sum(len(caches[0]) for caches in kernel.device_caches.values()) == 1
