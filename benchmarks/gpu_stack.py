"""A training step of eight full-width layers of the 15B, its head and optimizer: ours beside Hugging Face's Nemotron.

    python benchmarks/gpu_stack.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_stack.json

Four sequences of 4,096 tokens, one micro-batch, bf16 parameters; a step is gradients to zero, forward, backward, norm
of the gradients, clip and AdamW on fp32 main copies (6.3 billion parameters, 113 GB of state). FLOPs are the model's,
attention non-causal (`trainer.model.shape.flops_per_token`), 30.6 GFLOP a token; the rate over the 15B's FLOPs a token
is what it would be in tokens of the whole model. "its GEMMs alone" is the time of the linears' GEMMs in cuBLAS, on the
same shapes. Beside it: the same model with every op of ours in plain torch; Hugging Face's Nemotron, with SDPA, and
with Liger's kernels for it, and compiled, in micro-batches of two sequences (its logits in fp32 take the memory), with
torch's fused AdamW on bf16 parameters and moments: less state than ours, and less exact. The check: loss and every
gradient of a small model of the same weights against fp64; each token's loss at full size.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

# State and activations fill an H200 to nine tenths: memory must not be lost between blocks of different sizes.
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch  # noqa: E402
from gpu_frame import OURS, Bench, Case, Entry, Runs, Sample, Target, Work, load  # noqa: E402
from gpu_machine import clock_steps, options  # noqa: E402
from torch import Tensor  # noqa: E402

from gristmill.trainer.model.shape import PRESETS, Shape, flops_per_token  # noqa: E402

WHOLE = PRESETS["nemotron4_15b"]
EIGHT = replace(WHOLE, layers=8)
SMALL = Shape(2, 1024, 8, 2, 128, 4096, 8192, context=512, init_std=0.033)
TINY = Shape(2, 64, 2, 1, 128, 96, 80, context=16, init_std=0.13)
GEMMS, PLAIN, HF = "its GEMMs alone", "plain torch ops", "Hugging Face's Nemotron"
IGNORE = -1
RATE = 1e-5
ALLOWED = 0.1
"""Of a gradient's norm: layers of bf16 add up, to 0.02 to 0.05 in a right model."""


@dataclass(frozen=True)
class Setting:
    """A model's size, and a batch for it: the label of a position is the next token, the last has none."""

    shape: Shape
    tokens: Tensor  # [B, S]
    dtype: torch.dtype

    @property
    def labels(self) -> Tensor:
        return torch.cat([self.tokens[:, 1:], torch.full_like(self.tokens[:, :1], IGNORE)], dim=1)

    @property
    def scale(self) -> float:
        return 1.0 / (self.tokens.shape[0] * (self.tokens.shape[1] - 1))

    def weights(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """The same at every call: drawn, rounded to the setting's dtype, then in `dtype`."""
        from gristmill.trainer.model.nemotron import Nemotron, init_std

        generator = torch.Generator(self.tokens.device).manual_seed(1)
        with torch.device("meta"):
            parameters = list(Nemotron(self.shape).named_parameters())
        for name, parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=generator, device=self.tokens.device, dtype=self.dtype)
            yield name, drawn.mul_(init_std(name, self.shape) or 0.05).to(dtype or self.dtype)


@dataclass(frozen=True)
class Inputs:
    full: Setting
    small: Setting


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("stack", options(__doc__, arguments))
    shape, small = bench.size((EIGHT, SMALL), (TINY, TINY))
    batch = bench.size(4, 2)

    def setting(of: Shape) -> Setting:
        size = (batch, of.context)
        tokens = torch.randint(of.vocab_size, size, generator=bench.generator(), device=bench.device)
        return Setting(of, tokens, bench.dtype)

    tokens, flops = batch * shape.context, flops_per_token(shape)
    attention = 12 * shape.layers * shape.head_dim * shape.heads * shape.context
    also = {
        "tokens_per_s": tokens,
        "tokens_per_s_of_the_15b": tokens * flops / flops_per_token(WHOLE),
        "tflops_attention_causal": tokens * flops_per_token(shape, causal=True) / 1e12,
    }
    few = partial(clock_steps, warm=2, steps=5)
    case = Case(
        f"{shape.layers} layers, {tokens:,} tokens a step",
        lambda: Inputs(setting(shape), setting(small)),
        _right,
        {"step": Work(flops=tokens * flops, also=also), "gemms": Work(flops=tokens * (flops - attention))},
        (
            Entry(OURS, lambda i: _own(i, _ops("cuda")), kept=True, clock=clock_steps),
            Entry(GEMMS, lambda i: _gemms(i.full), kept=True, clock=few),
            Entry(PLAIN, lambda i: _own(i, _ops("plain")), clock=few),
            Entry(f"{HF}, SDPA", lambda i: _theirs(i, lambda model: model), clock=few),
            Entry(f"{HF}, Liger-Kernel", lambda i: _theirs(i, _with_liger), clock=few),
            Entry(f"{HF}, torch.compile", lambda i: _theirs(i, bench.compile), clock=few),
        ),
        (
            Target("TFLOP/s of the model, attention non-causal", lambda f: f[OURS]["step"]["tflops"], 600.0),
            Target("tokens/s of the whole 15B", lambda f: f[OURS]["step"]["tokens_per_s_of_the_15b"], 6380.0),
            Target("share of the step in GEMMs", lambda f: f[GEMMS]["gemms"]["ms"] / f[OURS]["step"]["ms"]),
        ),
        ALLOWED,
        peer_seconds=90.0,
    )
    return bench.run([case])


def _ops(which: str) -> Any:
    """Ops of the trainer on CUDA; or plain torch, with the library's attention, as the whole square does not fit."""
    of_device = load("gristmill.kernels.gpu.registry:load")
    if which == "cuda":
        return of_device("cuda")
    return replace(of_device("cuda", "reference"), attention=load("gristmill.kernels.gpu.attention:attention_sdpa"))


# -- what is right -----------------------------------------------------------------------------------------------------


def _right(i: Inputs) -> dict[str, Sample]:
    """Loss and gradients of the small model in fp64; at full size each token's loss, by plain torch in bf16."""
    state = _state(i.small, _ops("plain"), torch.float64)
    found = {name: Sample(lambda t: t, value) for name, value in _loss_and_gradients(i.small, state).items()}
    del state
    model = _bare(i.full, _ops("plain"))
    with torch.no_grad():
        losses = model.loss(i.full.tokens, i.full.labels, i.full.scale)[1]
    middle = losses.mean()  # without it a loss of 12 hides what differs
    return found | {"token losses at full size": Sample(lambda t: t - middle, losses - middle)}


def _bare(setting: Setting, ops: Any) -> Any:
    """A model with weights alone, no gradients and no state."""
    from torch import nn

    from gristmill.trainer.model.nemotron import Nemotron

    with torch.device("meta"):
        model = Nemotron(setting.shape, ops)
    for name, weight in setting.weights():
        path, _, last = name.rpartition(".")
        setattr(model.get_submodule(path), last, nn.Parameter(weight, requires_grad=False))
    return model


def _state(setting: Setting, ops: Any, dtype: torch.dtype) -> Any:
    """A model in flat buffers; fp64 for the check has its gradients in fp64 too."""
    from gristmill.trainer.model.nemotron import Nemotron
    from gristmill.trainer.parallel.groups import Groups
    from gristmill.trainer.state import FlatState

    with torch.device("meta"):
        model = Nemotron(setting.shape, ops)
    state = FlatState(model, dtype, setting.tokens.device, Groups())
    mains = state.named("main")
    for name, weight in setting.weights():
        mains[name].copy_(weight)
    state.cast_main()
    if dtype == torch.float64:
        for _, parameter in model.named_parameters():
            parameter.main_grad = torch.zeros_like(parameter)  # type: ignore[attr-defined]
    return state


def _loss_and_gradients(setting: Setting, state: Any) -> dict[str, Tensor]:
    from gristmill.trainer.model.names import logical_weights

    state.zero_grad()
    loss, _ = state.model.loss(setting.tokens, setting.labels, setting.scale)
    loss.backward()
    gradients = {name: parameter.main_grad for name, parameter in state.model.named_parameters()}
    named = {f"gradient of {name}": g for name, g in logical_weights(gradients, setting.shape).items()}
    return {"loss": loss.detach(), **named}


# -- implementations ---------------------------------------------------------------------------------------------------


def _own(i: Inputs, ops: Any) -> Runs:
    from gristmill.trainer.config.keys import AdamW
    from gristmill.trainer.optimizer import optimizer_step

    state, settings, number = _state(i.full, ops, i.full.dtype), AdamW(), itertools.count(1)

    def step() -> None:
        state.zero_grad()
        loss, _ = state.model.loss(i.full.tokens, i.full.labels, i.full.scale)
        loss.backward()
        optimizer_step(state, ops, settings, RATE, next(number))

    def results() -> dict[str, Tensor]:
        with torch.no_grad():
            losses = state.model.loss(i.full.tokens, i.full.labels, i.full.scale)[1]
        return {
            **_loss_and_gradients(i.small, _state(i.small, ops, i.small.dtype)),
            "token losses at full size": losses,
        }

    return Runs({"step": step}, results)


def _gemms(setting: Setting) -> Runs:
    """Forward, dx and dW of each linear, dW added in fp32, every layer on the same operands; then the head's."""
    accumulate = load("gristmill.kernels.gpu.linear:accumulate")
    shape, rows = setting.shape, setting.tokens.numel()
    projected = shape.head_dim * (shape.heads + 2 * shape.kv_heads)
    layer = [
        (projected, shape.hidden),
        (shape.hidden, shape.heads * shape.head_dim),
        (shape.ffn, shape.hidden),
        (shape.hidden, shape.ffn),
    ]
    operands = []
    for out, width in [*layer, (shape.vocab_size, shape.hidden)]:
        x, dy, weight = (
            torch.randn(size, device=setting.tokens.device, dtype=setting.dtype)
            for size in ((rows, width), (rows, out), (out, width))
        )
        operands.append((x, dy, weight, torch.zeros(out, width, device=x.device), torch.empty_like(x)))

    def linear(x: Tensor, dy: Tensor, weight: Tensor, main_grad: Tensor, dx: Tensor) -> None:
        torch.mm(dy, weight, out=dx)
        accumulate(main_grad, dy, x)
        torch.mm(x, weight.t(), out=dy)

    def gemms() -> None:
        for _ in range(shape.layers):
            for each in operands[:-1]:
                linear(*each)
        linear(*operands[-1])

    for _, dy, weight, _, _ in operands:  # outputs of a size that stays finite when they are inputs again
        weight.mul_(0.01)
        dy.mul_(0.01)
    return Runs({"gemms": gemms}, dict)


def _with_liger(model: Any) -> Any:
    activations = load("transformers.activations:ACT2FN")
    before = activations["relu2"]
    load("liger_kernel.transformers:apply_liger_kernel_to_nemotron")(model=model)
    activations["relu2"] = type(before)  # it is set for all models of the process, and another comes after this
    return model


def _hugging_face(setting: Setting) -> Any:
    """transformers' model with the setting's weights."""
    from transformers import NemotronConfig, NemotronForCausalLM

    from gristmill.trainer.checkpoints.export import hf_config
    from gristmill.trainer.model.names import logical

    config = NemotronConfig(**hf_config(setting.shape, setting.dtype))
    config._attn_implementation = "sdpa"
    config.use_cache = False
    before = torch.get_default_dtype()
    torch.set_default_dtype(setting.dtype)
    try:
        with torch.device(setting.tokens.device):
            model = NemotronForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for name, weight in setting.weights():
            for theirs, part in logical(name, weight, setting.shape):
                model.get_parameter(theirs).copy_(part)
    return model.train()


def _theirs(i: Inputs, prepared: Callable[[Any], Any]) -> Runs:
    def results() -> dict[str, Tensor]:
        small = _hugging_face(i.small)
        loss = prepared(small)(i.small.tokens, labels=i.small.tokens).loss
        loss.backward()
        named = {f"gradient of {name}": p.grad for name, p in small.named_parameters()}
        return {"loss": loss.detach(), **named}

    found = results()  # before the large model is there
    gc.collect()
    model = _hugging_face(i.full)
    call, parameters = prepared(model), list(model.parameters())
    parts = i.full.tokens.split(2)
    optimizer = torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        for tokens in parts:
            (call(tokens, labels=tokens).loss / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()

    return Runs({"step": step}, lambda: found)


if __name__ == "__main__":
    sys.exit(main())
