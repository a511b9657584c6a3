"""Text from a checkpoint or a Hugging Face directory, on one GPU or a CPU, with a cache of keys and values.

    prefill     all prompts of a batch at once, padded on the right; keys and values of every place are kept
    step        one token per prompt: its query against the keys kept, [B, kv_heads, heads / kv_heads, d] x [.., C, d]

A padded place is never looked at: a row's next token overwrites the first of them, and a query sees only the places up
to its own. So a batch gives each prompt what it would get alone, up to the order of sums in the GEMMs. Positions end at
the model's context: a prompt must leave room for a token, and a continuation that reaches the end stops there.

Not here: more than one GPU, and what a server adds (paged caches, continuous batching): export the model for those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.kernels.gpu import registry
from gristmill.kernels.gpu.attention import attention_sdpa
from gristmill.kernels.gpu.rope import tables
from gristmill.tokenizer.encode import Encoder
from gristmill.trainer.checkpoints import reading
from gristmill.trainer.checkpoints.export import find_checkpoint, is_hf, read_hf
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import Nemotron

Stopped = Literal["end of text", "stop string", "tokens", "context"]


@dataclass(frozen=True)
class Continuation:
    """text: without the prompt, cut before a stop string; ids: its tokens, one that reaches into the stop string among
    them; stopped: by what."""

    text: str
    ids: list[int]
    stopped: Stopped


def choose(device: str, dtype: str) -> tuple[str, torch.dtype]:
    """Device and dtype for inference; "auto": CUDA where there is one, and bfloat16 there, float32 on a CPU."""
    if device not in ("auto", "cpu", "cuda") or dtype not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"device {device}, dtype {dtype}: give auto, cpu or cuda, and auto, float32 or bfloat16")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda is not available here: install a GPU build of torch, or give cpu")
    chosen = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    default = "bfloat16" if chosen == "cuda" else "float32"
    return chosen, getattr(torch, default if dtype == "auto" else dtype)


def find_tokenizer(source: str | Path, given: str | Path | None) -> Encoder:
    """The tokenizer.model `given` (or in the folder given), else the one beside an exported model."""
    path = Path(given if given is not None else source)
    path = path / "tokenizer.model" if path.is_dir() else path
    if given is None and not path.is_file():
        raise ConfigError(f"{source}: has no tokenizer.model beside it: give the one it was trained with (--tokenizer)")
    return Encoder(path)


def load_model(source: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Nemotron:
    """The whole model of a checkpoint (or the newest good one in a folder) or of an exported directory, in `dtype`.

    For inference: no gradients, no optimizer state, and the library's attention, since the one that training measures
    is measured again for every new length.
    """
    if is_hf(source):
        shape, weights = read_hf(source)
    else:
        path = find_checkpoint(source)
        shape = reading.shape_of(path)
        weights = reading.read_weights(path, shape, dtype)
    ops = replace(registry.load(torch.device(device).type), attention=attention_sdpa)
    with torch.device("meta"):
        model = Nemotron(shape, ops).to(dtype)
    model = model.to_empty(device=device).requires_grad_(False).eval()
    for name, view in logical_weights(dict(model.named_parameters()), shape).items():
        view.copy_(weights.pop(name))
    return model


class Cache:
    """Keys and values of a batch of texts that grow token by token.

    keys, values: [layers, B, kv_heads, capacity, d] in the model's dtype; lengths: int64 [B], places in use.
    """

    def __init__(self, model: Nemotron, batch: int, capacity: int):
        shape, like = model.shape, model.head
        size = (shape.layers, batch, shape.kv_heads, capacity, shape.head_dim)
        self.model = model
        # zeros, since a masked place weighs 0 and 0 * NaN is NaN
        self.keys, self.values = (torch.zeros(size, dtype=like.dtype, device=like.device) for _ in range(2))
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=like.device)
        self._longest = 0
        self._weights = dict(model.named_parameters())
        self._tables = tables(capacity, shape.rotary_dim, shape.rope_base, like.device)

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens int64 [B, n], the first lengths[b] of row b are its prompt -> logits after it, [B, V]."""
        batch, count = tokens.shape
        places = torch.arange(count, device=tokens.device).expand(batch, count)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[layer, :, :, :count] = k.transpose(1, 2)
            self.values[layer, :, :, :count] = v.transpose(1, 2)
            return attention_sdpa(q, k, v, self.model.shape.head_dim**-0.5)

        hidden = self._layers(tokens, places, attend).view(batch, count, -1)
        self.lengths.copy_(lengths)
        self._longest = int(lengths.max())
        return self._logits(hidden[torch.arange(batch, device=tokens.device), self.lengths - 1])

    def step(self, tokens: Tensor, goes_on: Tensor) -> Tensor:
        """tokens int64 [B], the next of each row -> logits after them, [B, V].

        goes_on: bool [B]; a row that does not keeps its length, and its logits mean nothing from then on.
        """
        shape, batch = self.model.shape, len(tokens)
        rows, places, used = torch.arange(batch, device=tokens.device), self.lengths, self._longest + 1
        seen = torch.arange(used, device=tokens.device) <= places[:, None]  # [B, C]
        mask = None if batch == 1 else seen[:, None, None]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[layer][rows, :, places] = k[:, 0]
            self.values[layer][rows, :, places] = v[:, 0]
            q = q.view(batch, shape.kv_heads, -1, shape.head_dim)  # the heads that read one key head, as its queries
            k, v = self.keys[layer, :, :, :used], self.values[layer, :, :, :used]
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=shape.head_dim**-0.5)

        logits = self._logits(self._layers(tokens[:, None], places[:, None], attend))
        self.lengths += goes_on
        self._longest = min(used, self.keys.shape[3] - 1)
        return logits

    def _layers(self, tokens: Tensor, places: Tensor, attend) -> Tensor:
        """tokens, places int64 [B, n] -> normed hidden states [B * n, h]."""
        shape, ops, w = self.model.shape, self.model.ops, self._weights
        batch, count = tokens.shape
        turned = shape.heads + shape.kv_heads

        def norm(name: str, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
            return ops.layernorm(x, residual, w[f"{name}.weight"], w[f"{name}.bias"], shape.norm_eps, None, None)

        x, residual = ops.embedding(tokens.reshape(-1), w["embedding"], None), None
        for layer in range(shape.layers):
            at = f"layers.{layer}."
            x, residual = norm(f"{at}attention_norm", x, residual)
            qkv = ops.linear(x, w[f"{at}qkv"], None).view(batch * count, -1, shape.head_dim)
            qkv = ops.rope(qkv, turned, *self._tables, places.reshape(-1)).view(batch, count, -1, shape.head_dim)
            x = attend(layer, *qkv.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=2))
            x = ops.linear(x.reshape(batch * count, -1), w[f"{at}output"], None)
            x, residual = norm(f"{at}mlp_norm", x, residual)
            x = ops.linear(ops.squared_relu(ops.linear(x, w[f"{at}up"], None)), w[f"{at}down"], None)
        return norm("final_norm", x, residual)[0]

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.model.ops.linear(hidden, self._weights["head"], None)


@torch.no_grad()
def generate(
    model: Nemotron,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    temperature: float = 0.0,
    seed: int = 1,
    stop: Sequence[str] = (),
) -> list[Continuation]:
    """Continues each prompt, given as token ids, by at most `tokens` tokens, all in one batch.

    Up to the end-of-text token, which is left out, or to the first of the strings `stop`. temperature 0: always the
    likeliest token; above: drawn, by `seed`. An empty prompt starts a new text. Raises ConfigError for a prompt that
    fills the context and for a tokenizer with more pieces than the model has.
    """
    check_tokenizer(model, encoder)
    context, device = model.shape.context, model.head.device
    given = [list(prompt) or [encoder.eos_id] for prompt in prompts]
    for prompt in given:
        if len(prompt) >= context:
            raise ConfigError(f"the prompt is {len(prompt):,} tokens, the context {context:,}: shorten the prompt")
    ids: list[list[int]] = [[] for _ in given]
    stopped: dict[int, Stopped] = {}
    lengths = torch.tensor([len(prompt) for prompt in given], device=device)
    longest = max(map(len, given))
    padded = torch.tensor([prompt + [encoder.eos_id] * (longest - len(prompt)) for prompt in given], device=device)
    cache = Cache(model, len(given), min(longest + tokens, context))
    random = torch.Generator(device).manual_seed(seed)
    logits = cache.prefill(padded, lengths)
    while True:
        chosen = _choose(logits[:, : encoder.vocab_size].float(), temperature, random)
        for row, token in enumerate(chosen.tolist()):
            if row in stopped:
                continue
            if token == encoder.eos_id:
                stopped[row] = "end of text"
                continue
            ids[row].append(token)
            if stop and _cut(encoder.decode(ids[row]), stop) is not None:
                stopped[row] = "stop string"
            elif len(ids[row]) == tokens:
                stopped[row] = "tokens"
            elif len(given[row]) + len(ids[row]) == context:
                stopped[row] = "context"
        if len(stopped) == len(given):
            break
        going = torch.tensor([row not in stopped for row in range(len(given))], device=device)
        logits = cache.step(chosen, going)
    texts = [encoder.decode(np.array(row, np.int64)) for row in ids]
    cut = [text[: _cut(text, stop)] for text in texts]
    return [Continuation(text, row, stopped[i]) for i, (text, row) in enumerate(zip(cut, ids, strict=True))]


def check_tokenizer(model: Nemotron, encoder: Encoder) -> None:
    """Raises ConfigError if the tokenizer has pieces that the model has no embedding for."""
    if encoder.vocab_size > model.shape.vocab_size:
        raise ConfigError(
            f"the tokenizer has {encoder.vocab_size:,} pieces, the model {model.shape.vocab_size:,}: give the "
            "tokenizer the model was trained with"
        )


def _choose(logits: Tensor, temperature: float, random: torch.Generator) -> Tensor:
    if temperature > 0:
        return torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)[:, 0]
    return logits.argmax(-1)


def _cut(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins."""
    return min((at for at in map(text.find, stop) if at >= 0), default=None)
