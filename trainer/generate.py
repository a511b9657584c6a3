"""Text from a checkpoint: the prompt goes through the whole model again for every new token.

For a look at what a run has learned. No key-value cache and no batching: serving is not this project's subject
(export the model for that).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kernels.gpu import registry
from tokenizer.encode import Encoder
from trainer.checkpoint import read_weights, shape_of
from trainer.errors import ConfigError
from trainer.export import find_checkpoint
from trainer.model import Nemotron
from trainer.names import logical_weights
from trainer.shape import Shape


def load_model(source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Nemotron:
    """The model of a checkpoint, for inference: without gradients and optimizer state."""
    path = find_checkpoint(source)
    shape = shape_of(path)
    weights = read_weights(path, shape, dtype)
    with torch.device(device):
        model = Nemotron(shape, registry.load(device)).to(dtype).requires_grad_(False)
    for name, view in logical_weights(dict(model.named_parameters()), shape).items():
        view.copy_(weights[name])
    return model


@torch.no_grad()
def generate(
    model: Nemotron, encoder: Encoder, prompt: str, tokens: int, temperature: float = 0.8, seed: int = 1
) -> str:
    """The prompt's continuation by at most `tokens` tokens, up to the end-of-text token; temperature 0: greedy."""
    shape: Shape = model.shape
    if encoder.vocab_size > shape.vocab_size:
        raise ConfigError(
            f"the tokenizer has {encoder.vocab_size:,} pieces, the model {shape.vocab_size:,}: give the tokenizer the "
            "model was trained with"
        )
    device = model.head.device
    generator = torch.Generator(device).manual_seed(seed)
    ids = encoder.encode(prompt).tolist() or [encoder.eos_id]
    start = len(ids)
    for _ in range(tokens):
        window = torch.tensor([ids[-shape.context :]], device=device)
        logits = model.logits(window)[0, -1, : encoder.vocab_size].float()
        if temperature > 0:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        else:
            chosen = logits.argmax()
        if int(chosen) == encoder.eos_id:
            break
        ids.append(int(chosen))
    return encoder.decode(np.array(ids[start:], np.int32))
