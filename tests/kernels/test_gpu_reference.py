"""The plain-torch references of kernels/gpu against torch in fp64, autograd and brute force."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.gpu import registry
from gristmill.kernels.gpu.adamw import PIECE, adamw
from gristmill.kernels.gpu.attention import attention, attention_sdpa
from gristmill.kernels.gpu.cross_entropy import chunk_rows, linear_cross_entropy
from gristmill.kernels.gpu.embedding import embedding
from gristmill.kernels.gpu.layernorm import layernorm
from gristmill.kernels.gpu.linear import linear
from gristmill.kernels.gpu.rope import rope, tables
from gristmill.kernels.gpu.squared_relu import squared_relu


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def leaf(*shape, dtype=torch.float64, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float64) * scale).to(dtype).requires_grad_()


def test_every_op_has_a_reference_and_loads_for_every_device():
    assert {f.name for f in fields(registry.Ops)} == set(registry.IMPLEMENTATIONS)
    assert all("reference" in row for row in registry.IMPLEMENTATIONS.values())
    for device in ("cpu", "cuda", "meta"):
        registry.load(device)
    assert registry.load("cpu", prefer="reference").attention is attention


@pytest.mark.slow
def test_kernels_import_nothing_but_torch_triton_numpy():
    code = """
import sys
from gristmill.kernels.gpu import registry
registry.load("cpu")
heavy = {"transformers", "numba", "pyarrow", "ray", "sentencepiece", "trainer", "tokenizer", "pipeline"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_references_satisfy_gradcheck_in_fp64():
    x, r, w, b = leaf(5, 8), leaf(5, 8), leaf(8), leaf(8)
    torch.autograd.gradcheck(lambda *a: layernorm(*a, 1e-5), (x, r, w, b))
    torch.autograd.gradcheck(lambda x, w, b: layernorm(x, None, w, b, 1e-5), (x, w, b))
    torch.autograd.gradcheck(linear, (x, leaf(3, 8)))
    torch.autograd.gradcheck(squared_relu, (x,))
    torch.autograd.gradcheck(lambda w: embedding(torch.tensor([1, 0, 1, 3]), w), (leaf(4, 6),))
    cos, sin = tables(7, 4, 10_000.0, "cpu")
    positions = torch.tensor([0, 1, 2, 6, 3])
    torch.autograd.gradcheck(lambda z: rope(z, 3, cos, sin, positions), (leaf(5, 4, 8),))
    labels = torch.tensor([1, -1, 0, 8, 4])
    torch.autograd.gradcheck(lambda x, w: linear_cross_entropy(x, w, labels, 0.3, None, 200)[0], (x, leaf(9, 8)))


def test_layernorm_adds_one_to_gamma_in_fp32():
    """1 + 2^-12 is 1 in bf16: a norm that adds in the storage dtype would lose the weight."""
    x = leaf(4, 64, dtype=torch.bfloat16, scale=100)
    w, b = torch.full((64,), 2.0**-12, dtype=torch.bfloat16), torch.zeros(64, dtype=torch.bfloat16)
    y, h = layernorm(x, None, w, b, 1e-5)
    exact = F.layer_norm(x.double(), (64,), 1 + w.double(), b.double(), 1e-5)
    assert torch.equal(y, exact.bfloat16())
    assert torch.equal(h, x)


def test_layernorm_with_residual_equals_torch():
    x, r, w, b = leaf(6, 32), leaf(6, 32), leaf(32), leaf(32)
    y, h = layernorm(x, r, w, b, 1e-5)
    expected = F.layer_norm(x + r, (32,), 1 + w, b, 1e-5)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(h, x + r)


def test_weight_gradients_accumulate_into_fp32_buffers_over_micro_batches():
    """Two micro-batches into a buffer equal autograd's sum, and autograd gets nothing for the weight."""
    w, table = leaf(16, 8, dtype=torch.float32), leaf(11, 8, dtype=torch.float32)
    gamma, beta = leaf(8, dtype=torch.float32), leaf(8, dtype=torch.float32)
    parameters = (w, table, gamma, beta)
    buffers = [torch.zeros_like(p) for p in parameters]
    for direct in (False, True):
        for start in (0, 7):
            tokens = torch.arange(start, start + 9) % 11
            g = buffers if direct else [None] * 4
            x = embedding(tokens, table, g[1])
            y, _ = layernorm(x, None, gamma, beta, 1e-5, g[2], g[3])
            squared_relu(linear(y, w, g[0])).sum().backward()
        if not direct:
            expected = [p.grad.clone() for p in parameters]
            for p in parameters:
                p.grad = None
    assert all(p.grad is None for p in parameters)
    for got, want in zip(buffers, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_rope_turns_the_rotary_part_and_leaves_the_rest_and_the_values():
    heads, kv, d, r = 4, 2, 16, 8
    z = leaf(6, heads + 2 * kv, d, dtype=torch.float32)
    cos, sin = tables(6, r, 10_000.0, "cpu")
    out = rope(z, heads + kv, cos, sin, torch.arange(6))
    assert torch.equal(out[:, heads + kv :], z[:, heads + kv :])
    assert torch.equal(out[..., r:], z[..., r:])
    for t in range(6):  # the definition, as a complex product
        for i in range(r // 2):
            angle = torch.tensor(t * 10_000.0 ** (-2 * i / r))
            turned = torch.complex(z[t, :6, i], z[t, :6, i + r // 2]) * torch.polar(torch.tensor(1.0), angle)
            torch.testing.assert_close(out[t, :6, i], turned.real, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(out[t, :6, i + r // 2], turned.imag, atol=1e-5, rtol=1e-5)


def test_rope_depends_on_distance_only():
    q, k = torch.randn(1, 1, 8), torch.randn(1, 1, 8)
    cos, sin = tables(64, 8, 10_000.0, "cpu")

    def score(i, j):
        a = rope(q, 1, cos, sin, torch.tensor([i]))
        return (a * rope(k, 1, cos, sin, torch.tensor([j]))).sum()

    torch.testing.assert_close(score(5, 3), score(45, 43))


def test_squared_relu_recovers_the_gradient_from_y_for_every_bf16():
    """All bf16 with 1e-18 < x < 1e18: sqrt of the rounded square, rounded, is x to the bit; so is the gradient."""
    x = torch.arange(0x7F80, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = x[(x > 1e-18) & (x < 1e18)]
    assert len(x) == 15_305
    y = x.square()
    assert torch.equal(y.sqrt(), x)
    leaf_x = torch.cat([x, -x]).requires_grad_()
    squared_relu(leaf_x).backward(torch.ones_like(leaf_x))
    assert torch.equal(leaf_x.grad, torch.cat([2 * x, torch.zeros_like(x)]))


@given(st.floats(2.0**-60, 2.0**60, width=32))
@settings(max_examples=200, deadline=None)
def test_squared_relu_is_exact_in_fp32(value):
    x = torch.tensor([value], dtype=torch.float32, requires_grad=True)
    squared_relu(x).sum().backward()
    assert x.grad.item() == 2 * x.item()


def test_attention_equals_the_definition_and_sdpa_equals_it():
    b, s, heads, kv, d = 2, 7, 6, 2, 4
    q, k, v = leaf(b, s, heads, d), leaf(b, s, kv, d), leaf(b, s, kv, d)
    cu = torch.tensor([0, 3, 7, 8, 14], dtype=torch.int32)
    for cu_seqlens in (None, cu):
        out = attention(q, k, v, 0.5, cu_seqlens)
        for n in range(b):
            for i in range(s):
                first = 0
                if cu_seqlens is not None:
                    first = int(cu_seqlens[cu_seqlens <= n * s + i].max()) - n * s
                for h in range(heads):
                    weights = (k[n, first : i + 1, h // 3] @ q[n, i, h] * 0.5).softmax(0)
                    torch.testing.assert_close(out[n, i, h], weights @ v[n, first : i + 1, h // 3])
        fast = attention_sdpa(q, k, v, 0.5, cu_seqlens)
        torch.testing.assert_close(fast, out)
        probe = torch.randn_like(out)
        for a, e in zip(
            torch.autograd.grad(fast, (q, k, v), probe), torch.autograd.grad(out, (q, k, v), probe), strict=True
        ):
            torch.testing.assert_close(a, e)


def test_no_gradient_leaks_across_a_document_border():
    q, k, v = leaf(1, 8, 2, 4), leaf(1, 8, 2, 4), leaf(1, 8, 2, 4)
    for op in (attention, attention_sdpa):
        out = op(q, k, v, 0.5, torch.tensor([0, 5, 8], dtype=torch.int32))
        for gradient in torch.autograd.grad(out[:, 5:].sum(), (q, k, v)):
            assert not gradient[:, :5].any()


@pytest.mark.parametrize("chunk_bytes", [1, 4000, 1 << 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cross_entropy_equals_torch_in_fp64(chunk_bytes, dtype):
    t, h, v = 37, 24, 101
    x, w = leaf(t, h, dtype=dtype), leaf(v, h, dtype=dtype, scale=0.5)
    labels = torch.randint(0, v, (t,))
    labels[::5] = -1
    scale = 1.0 / int((labels >= 0).sum())
    buffer = torch.full((v, h), 0.25)
    loss, losses = linear_cross_entropy(x, w, labels, scale, buffer, chunk_bytes)
    loss.backward()
    x64, w64 = x.detach().double().requires_grad_(), w.detach().double().requires_grad_()
    expected = F.cross_entropy(x64 @ w64.t(), labels, ignore_index=-1)
    expected.backward()
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]  # bf16: the logits themselves are rounded
    assert loss.dtype == losses.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    assert not losses[::5].any()
    assert w.grad is None
    assert relative(x.grad, x64.grad) < tolerance
    assert relative(buffer - 0.25, w64.grad) < tolerance * 10  # 0.25 + dW is rounded in fp32


def test_cross_entropy_never_holds_more_than_a_chunk_of_logits():
    t, h, v = 512, 8, 4096
    x, w = leaf(t, h, dtype=torch.float32), leaf(v, h, dtype=torch.float32)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.untyped_storage().nbytes())
            return out

    budget = 1 << 20
    with Watch():
        linear_cross_entropy(x, w, torch.zeros(t, dtype=torch.long), 1.0, torch.zeros(v, h), budget)[0].backward()
    assert chunk_rows(v, torch.float32, budget) == 64
    assert largest <= budget


def test_cross_entropy_survives_huge_logits_and_computes_no_gradient_in_evaluation():
    x, w = torch.full((2, 4), 1e4), torch.eye(8, 4) * 1e4
    labels = torch.tensor([0, 7])
    with torch.no_grad():
        _, losses = linear_cross_entropy(x.requires_grad_(), w.requires_grad_(), labels)
    torch.testing.assert_close(losses.double(), F.cross_entropy((x @ w.t()).double(), labels, reduction="none"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adamw_equals_torch_with_clip_scale_and_cast(dtype):
    n = 1000
    main = torch.randn(n)
    peer = torch.nn.Parameter(main.clone())
    optimizer = torch.optim.AdamW([peer], lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    param = main if dtype == torch.float32 else main.to(dtype)
    m, v = torch.zeros(n), torch.zeros(n)
    for step in range(1, 6):
        grad = torch.randn(n)
        peer.grad = grad * 0.5
        optimizer.step()
        adamw(
            param, main, grad, m, v, step=step, learning_rate=3e-3, beta1=0.9, beta2=0.95, eps=1e-8,
            weight_decay=0.1, grad_scale=torch.tensor(0.5),
        )  # fmt: skip
    torch.testing.assert_close(main, peer.detach(), rtol=1e-6, atol=1e-7)
    assert torch.equal(param, main.to(dtype))


def test_adamw_gives_the_same_bits_in_pieces():
    n = PIECE + 1000
    whole, grad = torch.randn(n), torch.randn(n)
    tail = whole[PIECE:].clone()
    settings = {"step": 1, "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    settings["grad_scale"] = torch.tensor(1.0)
    adamw(whole, whole, grad, torch.zeros(n), torch.zeros(n), **settings)
    adamw(tail, tail, grad[PIECE:], torch.zeros(1000), torch.zeros(1000), **settings)
    assert torch.equal(whole[PIECE:], tail)


def relative(a, b):
    return ((a.double() - b).norm() / b.norm()).item()
