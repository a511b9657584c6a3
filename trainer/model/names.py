"""One logical name per weight: Hugging Face's, used in checkpoints and exports alike.

A parameter of the model holds one logical tensor, except `qkv`, whose rows are q_proj, k_proj and v_proj one
after the other. `logical` gives views, never copies: writing to them writes to the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from gristmill.trainer.model.shape import Shape

_OUTSIDE = {
    "embedding": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
    "final_norm.bias": "model.norm.bias",
    "head": "lm_head.weight",
}
_IN_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention_norm.bias": "input_layernorm.bias",
    "output": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "mlp_norm.bias": "post_attention_layernorm.bias",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}


def logical(name: str, tensor: Tensor, shape: Shape) -> Iterator[tuple[str, Tensor]]:
    """(logical name, view) of each weight in the model's parameter `name`, whose tensor may be any of its layout."""
    if name in _OUTSIDE:
        yield _OUTSIDE[name], tensor
        return
    _, index, inner = name.split(".", 2)
    prefix = f"model.layers.{index}."
    if inner != "qkv":
        yield prefix + _IN_LAYER[inner], tensor
        return
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    for part, rows in zip("qkv", tensor.split([q, kv, kv]), strict=True):
        yield f"{prefix}self_attn.{part}_proj.weight", rows


def logical_weights(named: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """All of a model's {parameter name: tensor} by logical name, as views."""
    return {key: view for name, tensor in named.items() for key, view in logical(name, tensor, shape)}
