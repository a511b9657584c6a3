"""One table: op name and device -> implementation.

Every hot op of the model is looked up here once, when the model is built; the model never asks which device
it runs on. Each op has a plain-torch `reference`, which defines it and runs anywhere (CPU, CUDA, meta); an
entry for a device is a faster implementation with the same signature. Adding a Triton kernel is adding one
`"cuda": "module:function"` to its row.

Not here: GEMMs of their own (cuBLAS does them, inside `linear` and `cross_entropy`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Literal

IMPLEMENTATIONS: dict[str, dict[str, str]] = {
    "embedding": {"reference": "kernels.gpu.embedding:embedding"},
    "layernorm": {"reference": "kernels.gpu.layernorm:layernorm"},
    "linear": {"reference": "kernels.gpu.linear:linear"},
    "rope": {"reference": "kernels.gpu.rope:rope"},
    "attention": {
        "reference": "kernels.gpu.attention:attention",
        "cpu": "kernels.gpu.attention:attention_sdpa",
        "cuda": "kernels.gpu.attention:attention_sdpa",
    },
    "squared_relu": {"reference": "kernels.gpu.squared_relu:squared_relu"},
    "cross_entropy": {"reference": "kernels.gpu.cross_entropy:linear_cross_entropy"},
    "adamw": {"reference": "kernels.gpu.adamw:adamw"},
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
    adamw: Callable


def implementation(name: str, device: str) -> str:
    """`module:function` that serves op `name` on device type `device` ("cpu", "cuda", "meta", or "reference")."""
    row = IMPLEMENTATIONS[name]
    return row.get(device, row["reference"])


def load(device: str, prefer: Literal["auto", "reference"] = "auto") -> Ops:
    """The ops for a device type; prefer="reference" takes the plain-torch definition of every op."""
    chosen = {}
    for field in fields(Ops):
        module, function = implementation(field.name, "reference" if prefer == "reference" else device).split(":")
        chosen[field.name] = getattr(import_module(module), function)
    return Ops(**chosen)
