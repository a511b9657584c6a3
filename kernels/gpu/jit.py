"""Where the kernels take Triton from, and what they ask of the machine.

    jit         triton.jit; without Triton (it is for Linux) the function as it is, which nobody calls then
    INTERPRET   whether kernels run under Triton's interpreter on a CPU, by TRITON_INTERPRET=1 at import
    sms(x)      streaming multiprocessors of x's GPU; a few where there is none, so that grids stay small

Kernels load, convert to fp32 at once and store: the interpreter computes bf16 wrongly without an error. For `tl.dot`
it needs fp32 operands (`INTERPRET` is a constexpr of such kernels). Offsets that may pass 2^31 are int64.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """triton.jit, with its options or without, where there is Triton."""
    if triton is not None:
        return triton.jit(function, **options)
    return function if function is not None else lambda decorated: decorated


INTERPRET = os.environ.get("TRITON_INTERPRET") == "1"


def sms(x: Tensor) -> int:
    """Streaming multiprocessors of the GPU that x is on."""
    return _sms(x.device.index or 0) if x.is_cuda else 4


@functools.cache
def _sms(index: int) -> int:
    return int(torch.cuda.get_device_properties(index).multi_processor_count)


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least n >= 1."""
    return 1 << (n - 1).bit_length()
