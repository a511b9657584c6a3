"""`optimizer:` of the configuration: AdamW's numbers. Apart from `optimizer`, so that reading a file needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdamW:
    """As NVIDIA published for models of this family: beta 0.9 and 0.95, weight decay 0.1, clip at norm 1."""

    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # on matrices and embeddings, not on norms
    clip: float = 1.0  # global gradient norm; 0: no clipping
