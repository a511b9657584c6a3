"""AdamW's kernel against torch's AdamW in fp64, against the reference, and as compiled for Hopper."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.gpu.adamw import BLOCK, adamw, adamw_triton
from tests.kernels.gpu.ahead_of_time import TRITONS, Build, Case, compiled

GUARD = 16
"""Elements before and after a buffer that must stay as they are."""

SETTINGS: dict[str, Any] = {"learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}


def guarded(values: torch.Tensor) -> torch.Tensor:
    """A buffer of the values with 7s around it in the same memory."""
    memory = torch.full((len(values) + 2 * GUARD,), 7.0, dtype=values.dtype, device=values.device)
    inner = memory[GUARD : GUARD + len(values)]
    return inner.copy_(values)


def unharmed(buffer: torch.Tensor) -> bool:
    memory = torch.empty(0, dtype=buffer.dtype, device=buffer.device).set_(buffer.untyped_storage())
    return bool((torch.cat([memory[:GUARD], memory[GUARD + len(buffer) :]]) == 7).all())


def state(n: int, device: str, dtype: torch.dtype | None = torch.float16, seed: int = 0):
    """param, main, grad, exp_avg, exp_avg_sq in the middle of training, guarded; param is main where dtype is None."""
    generator = torch.Generator().manual_seed(seed)
    main, grad, m = (torch.randn(n, generator=generator).to(device) for _ in range(3))
    main, m, v = guarded(main), guarded(m * 0.1), guarded(m.square() * torch.rand(n, generator=generator).to(device))
    return main if dtype is None else guarded(main.to(dtype)), main, guarded(grad), m, v


@given(
    st.one_of(
        st.integers(0, 9), st.integers(0, 3 * BLOCK), st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
    ),
    st.sampled_from([None, torch.float32, torch.float16]),
    st.integers(1, 10_000),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([1e-8, 1e-2]),
)
@settings(max_examples=40, deadline=None)
def test_a_step_is_the_formula_to_fp32_rounding_whatever_the_length(device, n, dtype, step, weight_decay, eps):
    param, main, grad, m, v = state(n, device, dtype)
    wanted = [x.double().clone() for x in (main, grad, m, v)]
    scale = torch.tensor(0.37, device=device)
    numbers = SETTINGS | {"step": step, "weight_decay": weight_decay, "eps": eps}
    adamw_triton(param, main, grad, m, v, grad_scale=scale, **numbers)
    reference = [x.float() for x in wanted]
    adamw(reference[0], *reference, grad_scale=scale, **numbers)

    w64, g64, m64, v64 = wanted
    g64 *= scale.double()
    m64.mul_(0.9).add_(0.1 * g64)
    v64.mul_(0.95).add_(0.05 * g64 * g64)
    update = (m64 / (1 - 0.9**step)) / ((v64 / (1 - 0.95**step)).sqrt() + eps)
    w64.sub_(3e-3 * (weight_decay * w64 + update))
    ulp = 2.0**-23
    for got, want, peer, size in (
        (main, w64, reference[0], w64.abs()),
        (m, m64, reference[2], 1),
        (v, v64, reference[3], 1),
    ):
        assert ((got - want).abs() <= 2 * ulp * (size + 1e-2 + want.abs())).all()
        assert ((got - peer).abs() <= 4 * ulp * (size + 1e-2 + want.abs())).all()
    assert torch.equal(param, main.to(param.dtype))
    assert all(unharmed(x) for x in (param, main, grad, m, v))


@pytest.mark.parametrize(
    ("beta2", "learning_rate", "weight_decay"), [(0.95, 3e-3, 0.1), (0.95, 3e-3, 0.0), (0.999, 1e-4, 0.1)]
)
def test_many_steps_stay_within_a_millionth_of_torch_in_fp64(device, beta2, learning_rate, weight_decay):
    n, steps = 1000, 200
    numbers = SETTINGS | {"beta2": beta2, "learning_rate": learning_rate, "weight_decay": weight_decay}
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(n, generator=generator)
    peer = torch.nn.Parameter(start.double().to(device))
    optimizer = torch.optim.AdamW([peer], lr=learning_rate, betas=(0.9, beta2), eps=1e-8, weight_decay=weight_decay)
    errors = []
    grads = [torch.randn(n, generator=generator) * (torch.rand(n, generator=generator) > 0.3) for _ in range(steps)]
    for grad in grads:
        peer.grad = grad.double().to(device) * 0.5
        optimizer.step()
    for op in (adamw_triton, adamw):
        main, m, v = start.to(device, copy=True), torch.zeros(n, device=device), torch.zeros(n, device=device)
        for step, grad in enumerate(grads, 1):
            op(main, main, grad.to(device), m, v, step=step, grad_scale=torch.tensor(0.5, device=device), **numbers)
        errors.append(((main - peer.detach()).norm() / peer.detach().norm()).item())
    ours, reference = errors
    assert ours < 1e-6
    assert ours <= 1.05 * reference


def test_weight_decay_is_not_rounded_as_one_minus_it_would_be(device):
    """lr * wd = 1e-6: 1 - 1e-6 in fp32 is 1 - 1.0133e-6, an error of 1.3 % that the kernel must not have."""
    n, steps = 4 * BLOCK, 40
    main = torch.rand(n, device=device) + 0.5
    before, zero = main.double(), torch.zeros(n, device=device)
    for step in range(1, steps + 1):
        numbers = SETTINGS | {"step": step, "learning_rate": 1e-5}
        adamw_triton(main, main, zero, zero.clone(), zero.clone(), grad_scale=torch.ones((), device=device), **numbers)
    decay = -math.log((main.double().sum() / before.sum()).item()) / steps
    assert decay == pytest.approx(1e-6, rel=4e-3)


def test_the_clip_scale_is_read_on_the_device_in_any_dtype(device):
    main, grads = [], []
    for scale in (torch.tensor(0.25), torch.tensor(0.25, dtype=torch.float64), torch.tensor(0.25, dtype=torch.float16)):
        param, w, grad, m, v = state(100, device)
        adamw_triton(param, w, grad, m, v, step=3, grad_scale=scale.to(device), **SETTINGS)
        main.append(w)
        grads.append(grad)
    param, w, grad, m, v = state(100, device)
    assert all(torch.equal(g, grad) for g in grads)
    adamw_triton(param, w, grad * 0.25, m, v, step=3, grad_scale=torch.tensor(1.0, device=device), **SETTINGS)
    assert all(torch.equal(w, x) for x in main)


def test_a_shard_gives_the_bits_that_the_whole_gives(device):
    whole, parts = state(3001, device), state(3001, device)
    scale = torch.tensor(0.5, device=device)
    adamw_triton(*whole, step=7, grad_scale=scale, **SETTINGS)
    for piece in (slice(0, 1024), slice(1024, 1025), slice(1025, 3001)):
        adamw_triton(*(x[piece] for x in parts), step=7, grad_scale=scale, **SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_what_the_kernel_would_read_beyond_is_refused(device):
    scale = torch.tensor(1.0, device=device)
    for i in range(5):
        for wrong in (lambda x: x[:-1], lambda x: torch.cat([x, x])[::2], lambda x: x.view(1, -1)):
            buffers = list(state(10, device))
            buffers[i] = wrong(buffers[i])
            with pytest.raises(ValueError, match="expected contiguous"):
                adamw_triton(*buffers, step=1, grad_scale=scale, **SETTINGS)
        if i:
            buffers = list(state(10, device))
            buffers[i] = buffers[i].half()
            with pytest.raises(ValueError, match="of fp32"):
                adamw_triton(*buffers, step=1, grad_scale=scale, **SETTINGS)
    with pytest.raises(ValueError, match="on meta"):
        adamw_triton(*state(10, device), step=1, grad_scale=scale.to("meta"), **SETTINGS)


def test_meta_and_fake_tensors_see_through(device):
    adamw_triton(
        *(x.to("meta") for x in state(10, device)), step=1, grad_scale=torch.ones((), device="meta"), **SETTINGS
    )
    numbers = (0.1, 0.05, 0.03, 3e-4, 4.0, 1e-8)
    for dtype in (None, torch.float16):
        param, *rest = state(10, device, dtype)
        arguments = (None if dtype is None else param, *rest, torch.tensor(0.5, device=device), *numbers)
        torch.library.opcheck(
            torch.ops.gristmill.adamw.default, arguments, test_utils=("test_schema", "test_faketensor")
        )


TYPES = dict.fromkeys(["main", "grad", "exp_avg", "exp_avg_sq", "grad_scale"], "*fp32")
TYPES |= dict.fromkeys(["gain1", "gain2", "rate", "decay", "root", "eps"], "fp32")
CASES = [
    Case("gristmill.kernels.gpu.adamw:_step", TYPES | {"param": "*bf16", "n": "i32"}, {"CAST": True, "BLOCK": BLOCK}),
    Case("gristmill.kernels.gpu.adamw:_step", TYPES | {"param": "*bf16", "n": "i64"}, {"CAST": True, "BLOCK": BLOCK}),
    Case("gristmill.kernels.gpu.adamw:_step", TYPES | {"param": "*fp32", "n": "i64"}, {"CAST": False, "BLOCK": BLOCK}),
]


@cache
def builds(version: str) -> list[Build]:
    return compiled(CASES, version)


@pytest.mark.parametrize("version", TRITONS)
def test_hopper_reads_and_writes_sixteen_bytes_a_thread_without_spills_or_shared_memory(version):
    for case, build in zip(CASES, builds(version), strict=True):
        assert build.spilled_bytes == 0
        assert build.registers <= 64  # eight programs of four warps on a multiprocessor
        assert "bar.sync" not in build.ptx  # no change of layout between loads and stores
        assert build.widest_load() == 16
        loads, stores = (re.findall(rf"{kind}\.global(\S*)", build.ptx) for kind in ("ld", "st"))
        each = BLOCK // 128 // 4
        assert loads.count(".v4.b32") == 4 * each
        assert loads.count(".b32") == 1 + 4  # the scale, and the up to three elements at the end
        assert stores.count(".v4.b32") == 3 * each
        assert stores.count(".v2.b32") == each * case.constants["CAST"]  # bf16
        assert ("cvt.rn.bf16" in build.ptx) == case.constants["CAST"]  # to nearest even


@pytest.mark.parametrize("version", TRITONS)
def test_offsets_are_64_bit_from_the_program_on(version):
    for build in builds(version):
        (program,) = re.findall(r"mov\.u32\s+(%r\d+), %ctaid\.x", build.ptx)
        uses = [line for line in build.ptx.splitlines() if re.search(rf"{program}\b", line) and "ctaid" not in line]
        assert uses
        assert all(re.match(r"\s*(mul\.wide|cvt\.[us]64)", line) for line in uses)


_KEYS = """
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import create_function_from_signature

from gristmill.kernels.gpu.adamw import _step
from tests.kernels.gpu.ahead_of_time import TRITONS, Build, Case, compiled

bind = create_function_from_signature(_step.signature, _step.params, make_backend(GPUTarget("cuda", 90, 32)))
x, keys = torch.zeros(64), set()
for numbers in ((0.1, 0.05, 1e-4, 1e-5, 4.0, 1e-8), (1.0, 0.0, 16.0, 0.0, 1.0, 0.0)):
    for n in (1, 3, 128, 1 << 20):
        keys.add(str(bind(x, x, x, x, x, x[0], n, *numbers, True, 1024)[1]))
print(len(keys))
"""


@pytest.mark.parametrize("version", TRITONS)
def test_no_learning_rate_step_or_length_compiles_anew(version):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [TRITONS[version], os.getcwd()]))
    done = subprocess.run([sys.executable, "-c", _KEYS], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.gpu
def test_bf16_parameters_are_main_rounded_to_nearest_even():
    param, main, grad, m, v = state(1 << 20, "cuda", torch.bfloat16)
    adamw_triton(param, main, grad, m, v, step=3, grad_scale=torch.tensor(0.5, device="cuda"), **SETTINGS)
    assert torch.equal(param, main.bfloat16())


@pytest.mark.gpu
def test_elements_beyond_2_31_are_stepped():
    n, tail = 2**31 + 5000, 6001
    if torch.cuda.mem_get_info()[0] < 20 * n:
        pytest.skip("too little GPU memory")
    torch.manual_seed(0)
    main, grad = torch.randn(n, device="cuda"), torch.randn(n, device="cuda")
    m, v, param = torch.zeros_like(main), torch.zeros_like(main), torch.zeros(n, device="cuda", dtype=torch.bfloat16)
    ends = [x[-tail:].clone() for x in (param, main, grad, m, v)]
    scale = torch.tensor(0.5, device="cuda")
    adamw_triton(param, main, grad, m, v, step=1, grad_scale=scale, **SETTINGS)
    adamw_triton(*ends, step=1, grad_scale=scale, **SETTINGS)
    assert all(torch.equal(x[-tail:], end) for x, end in zip((param, main, grad, m, v), ends, strict=True))
    assert v.count_nonzero() > n - 1000
