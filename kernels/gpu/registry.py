"""One table: op name and device -> implementation.

Every hot op of the model is looked up here once, when the model is built; the model never asks which device
it runs on. Each op has a plain-torch `reference`, which defines it and runs anywhere (CPU, CUDA, meta); an
entry for a device is a faster implementation with the same signature. Adding a Triton kernel is adding one
`"cuda": "module:function"` to its row.

No op is a GEMM kernel of ours. `linear` and `cross_entropy` call the library's (cuBLAS on a GPU); what is ours in
`linear` is that its backward adds the weight's gradient to an fp32 buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

IMPLEMENTATIONS: dict[str, dict[str, str]] = {
    "embedding": {
        "reference": "gristmill.kernels.gpu.embedding:embedding",
        "cuda": "gristmill.kernels.gpu.embedding:embedding_triton",
    },
    "layernorm": {
        "reference": "gristmill.kernels.gpu.layernorm:layernorm",
        "cuda": "gristmill.kernels.gpu.layernorm:layernorm_triton",
    },
    "linear": {"reference": "gristmill.kernels.gpu.linear:linear"},
    "rope": {
        "reference": "gristmill.kernels.gpu.rope:rope",
        "cuda": "gristmill.kernels.gpu.rope:rope_triton",
    },
    "attention": {
        "reference": "gristmill.kernels.gpu.attention:attention",
        "cpu": "gristmill.kernels.gpu.attention:attention_sdpa",
        "cuda": "gristmill.kernels.gpu.attention_choice:attention_fastest",
    },
    "squared_relu": {
        "reference": "gristmill.kernels.gpu.squared_relu:squared_relu",
        "cuda": "gristmill.kernels.gpu.squared_relu:squared_relu_triton",
    },
    "cross_entropy": {
        "reference": "gristmill.kernels.gpu.cross_entropy:linear_cross_entropy",
        "cuda": "gristmill.kernels.gpu.cross_entropy:linear_cross_entropy_triton",
    },
    "gradient_norm": {
        "reference": "gristmill.kernels.gpu.gradient_norm:gradient_norm",
        "cuda": "gristmill.kernels.gpu.gradient_norm:gradient_norm_triton",
    },
    "adamw": {
        "reference": "gristmill.kernels.gpu.adamw:adamw",
        "cuda": "gristmill.kernels.gpu.adamw:adamw_triton",
    },
}


@dataclass(frozen=True)
class Ops:
    """The ops of one device; the signatures are those of the references."""

    embedding: Callable
    layernorm: Callable
    linear: Callable
    rope: Callable
    attention: Callable
    squared_relu: Callable
    cross_entropy: Callable
    gradient_norm: Callable
    adamw: Callable


def implementation(name: str, device: str) -> str:
    """`module:function` that serves op `name` on device type `device` ("cpu", "cuda", "meta", or "reference")."""
    row = IMPLEMENTATIONS[name]
    return row.get(device, row["reference"])


def load(device: str, prefer: Literal["auto", "reference"] = "auto") -> Ops:
    """The ops for a device type; prefer="reference" takes the plain-torch definition of every op.

    ImportError where the Triton kernels are asked for and Triton is not installed.
    """
    if device == "cuda" and prefer != "reference" and find_spec("triton") is None:
        raise ImportError("triton is not installed: pip install 'gristmill[gpu]', or set kernels: reference")
    chosen = {}
    for field in fields(Ops):
        module, function = implementation(field.name, "reference" if prefer == "reference" else device).split(":")
        chosen[field.name] = getattr(import_module(module), function)
    return Ops(**chosen)
