"""The shape of a Nemotron: the numbers that fix it, the family's presets, its parameters and FLOPs.

    parameters = 2 V h + L (2 h d (heads + kv) + 2 h f + 4 h) + 2 h
    FLOPs per trained token = 12 L h d (heads + kv) + 12 L d heads s + 12 L h f + 6 V h     (attention non-causal)

h hidden, d head dimension, f MLP width, s context, V vocabulary; forward and backward, 2 FLOPs per multiply-add.
The non-causal convention is the one that reproduces the paper's MFU; causal counting halves the middle term.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Shape:
    """Sizes of one model. Init: normal(0, init_std); projections into the residual stream init_std / sqrt(2 layers)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab_size: int
    context: int = 4096
    rotary_fraction: float = 0.5  # of each head's dimensions; NVIDIA's published configuration
    rope_base: float = 10_000.0  # Su et al. 2021, section 3.2.2
    norm_eps: float = 1e-5
    init_std: float = 0.0134  # NVIDIA's published configuration of Nemotron-4 15B

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}: it must be above 0")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is no multiple of kv_heads {self.kv_heads}")
        if self.rotary_dim % 2 or self.rotary_dim > self.head_dim:
            raise ValueError(f"rotary_fraction {self.rotary_fraction} of head_dim {self.head_dim} is no even number")

    @property
    def rotary_dim(self) -> int:
        return int(self.head_dim * self.rotary_fraction)


PRESETS: dict[str, Shape] = {
    # Parmar et al. 2024 (arXiv 2402.16819), Table 1; MLP width from NVIDIA's published configuration
    "nemotron4_15b": Shape(32, 6144, 48, 8, 128, 24_576, 256_000),
    # Nemotron-4 340B technical report (arXiv 2406.11704), Table 1
    "nemotron4_340b": Shape(96, 18_432, 96, 8, 192, 73_728, 256_000),
    # Muralidharan et al. 2024 (arXiv 2407.14679), Table 6
    "minitron_8b": Shape(32, 4096, 48, 8, 128, 16_384, 256_000),
    "minitron_4b": Shape(32, 3072, 24, 8, 128, 9_216, 256_000),
    # Ours, for a CPU: init_std keeps the 15B's init_std * sqrt(hidden) = 1.05
    "debug": Shape(4, 128, 4, 2, 32, 512, 16_384, context=256, init_std=0.093),
}


def parameters(shape: Shape) -> int:
    """Number of parameters."""
    h, projected = shape.hidden, shape.head_dim * (shape.heads + shape.kv_heads)
    per_layer = 2 * h * projected + 2 * h * shape.ffn + 4 * h
    return 2 * shape.vocab_size * h + shape.layers * per_layer + 2 * h


def flops_per_token(shape: Shape, causal: bool = False, sequence: int | None = None) -> int:
    """FLOPs of forward and backward per token; causal=False counts the whole S x S square of the attention."""
    h, d = shape.hidden, shape.head_dim
    projections = 12 * shape.layers * h * d * (shape.heads + shape.kv_heads)
    attention = 12 * shape.layers * d * shape.heads * (sequence or shape.context)
    mlp = 12 * shape.layers * h * shape.ffn
    head = 6 * shape.vocab_size * h
    return projections + (attention // 2 if causal else attention) + mlp + head
