"""What a model needs, before anything is started: FLOPs, bytes per rank, MFU.

States per rank (Rajbhandari et al. 2020, ZeRO stage 1, mixed precision), n parameters per tensor-parallel rank:

    2 n  bf16 parameters + 4 n  fp32 gradients + 12 n / data parallel  (fp32 main copy and two moments)

Activations kept per token and layer, bytes, of which a rank holds 1 / tensor parallel with sequence parallelism:
norm inputs 4 h, norm outputs 4 h, q 2 hd, k and v 4 kd, attention output 2 hd + 4 heads, squared ReLU's output 2 f
(it alone is kept of the MLP, see kernels/gpu/squared_relu). hd, kd: heads times head dimension; f: MLP width.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.shape import Shape, parameters

PEAK_BF16_FLOPS: dict[str, float] = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12}
"""Dense bf16 FLOP/s per GPU, NVIDIA's data sheets (SXM), by a part of the device's name."""


@dataclass(frozen=True)
class Memory:
    """Bytes per rank."""

    parameters: int
    gradients: int
    optimizer: int

    @property
    def states(self) -> int:
        return self.parameters + self.gradients + self.optimizer


def parameters_per_rank(shape: Shape, tensor: int) -> int:
    """Matrices and embeddings are split over tensor-parallel ranks, norms are on each."""
    norms = shape.layers * 4 * shape.hidden + 2 * shape.hidden
    return (parameters(shape) - norms) // tensor + norms


def state_memory(shape: Shape, tensor: int, data: int, gradient_bytes: int = 4, parameter_bytes: int = 2) -> Memory:
    """parameter_bytes 4 (fp32 training): the parameters are their own main copy."""
    n = parameters_per_rank(shape, tensor)
    optimizer = 12 if parameter_bytes < 4 else 8
    return Memory(parameter_bytes * n, gradient_bytes * n, optimizer * n // data)


def activation_bytes(shape: Shape, tokens: int, tensor: int, recompute_norms: bool = False) -> int:
    """Kept between forward and backward of `tokens` tokens through all layers, bf16, per rank."""
    heads, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norm_outputs = 0 if recompute_norms else 4 * shape.hidden
    per_layer = 4 * shape.hidden + norm_outputs + 4 * heads + 4 * keys + 4 * shape.heads + 2 * shape.ffn
    return shape.layers * tokens * per_layer // tensor


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 FLOP/s of the GPU of this name, None where the table has none."""
    return next((peak for part, peak in PEAK_BF16_FLOPS.items() if part in device_name), None)
