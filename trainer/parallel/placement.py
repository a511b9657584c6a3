"""Which part of each weight a tensor-parallel rank holds (Shoeybi et al. 2019, section 3).

    column-parallel, split along the outputs (dimension 0): qkv (query, key and value heads each), up
    row-parallel, split along the inputs (dimension 1):     output, down
    vocabulary-parallel (dimension 0):                      embedding, head
    whole on every rank:                                    the norms

Rank r of `size` holds the r-th of `size` equal parts. `qkv` of a rank is its query heads, then its key heads, then
its value heads, so the logical weights q_proj, k_proj and v_proj are each split evenly along dimension 0.
"""

from __future__ import annotations

import torch

from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Group

SPLIT: dict[str, int | None] = {
    "embedding": 0,
    "head": 0,
    "qkv": 0,
    "output": 1,
    "up": 0,
    "down": 1,
    "weight": None,  # of a norm
    "bias": None,
}
"""Dimension of a model's parameter that is split, by the last part of its name."""

_LOGICAL = {
    "embed_tokens.weight": 0,
    "lm_head.weight": 0,
    "q_proj.weight": 0,
    "k_proj.weight": 0,
    "v_proj.weight": 0,
    "o_proj.weight": 1,
    "up_proj.weight": 0,
    "down_proj.weight": 1,
}


def split_dimension(name: str) -> int | None:
    """0 or 1, or None for a parameter that every tensor-parallel rank holds whole; name: the model's."""
    return SPLIT[name.rsplit(".", 1)[-1]]


def logical_split(name: str) -> int | None:
    """The same for a logical weight (`trainer.model.names`): "model.layers.0.self_attn.q_proj.weight" -> 0."""
    return _LOGICAL.get(".".join(name.rsplit(".", 2)[-2:]))


def logical_part(name: str, full: torch.Size, tensor: Group) -> tuple[slice, ...]:
    """Where this rank's part of logical weight `name`, of global size `full`, lies: a slice per dimension."""
    split = logical_split(name)
    part = [slice(0, size) for size in full]
    if split is not None:
        length = full[split] // tensor.size
        part[split] = slice(tensor.rank * length, (tensor.rank + 1) * length)
    return tuple(part)


def check_divisible(shape: Shape, tensor: int) -> str | None:
    """One sentence on what `tensor` ranks cannot split evenly, None where all is well."""
    for what, size in (
        ("kv_heads", shape.kv_heads),
        ("heads", shape.heads),
        ("ffn", shape.ffn),
        ("vocab_size", shape.vocab_size),
    ):
        if size % tensor:
            return f"{what} {size:,} cannot be split evenly over {tensor} tensor-parallel ranks"
    return None
