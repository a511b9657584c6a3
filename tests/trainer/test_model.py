"""The model against transformers' NemotronForCausalLM, and its counts against the paper."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gristmill.kernels.gpu import registry
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import PRESETS, Shape, flops_per_token, parameters
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.state import FlatState, initialise

TINY = Shape(2, 64, 8, 2, 8, 256, 512, context=32)
WIDE_HEADS = Shape(3, 48, 4, 2, 16, 96, 300, context=32)  # heads * head_dim above hidden, as in Minitron 8B


def build(shape, ops="reference"):
    with torch.device("meta"):
        model = Nemotron(shape, registry.load("cpu", ops))
    state = FlatState(model, torch.float32, "cpu", Groups())
    initialise(state, seed=1)
    return model, state


def hugging_face(shape, weights):
    from transformers import NemotronConfig, NemotronForCausalLM

    config = NemotronConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        attn_implementation="eager",
    )
    model = NemotronForCausalLM(config)
    model.load_state_dict({name: w.clone() for name, w in weights.items()}, strict=True)
    return model


@pytest.mark.parametrize("ops", ["reference", "auto"])
@pytest.mark.parametrize("shape", [TINY, WIDE_HEADS], ids=["tiny", "wide_heads"])
def test_logits_and_every_gradient_equal_transformers(shape, ops):
    model, state = build(shape, ops)
    torch.manual_seed(0)
    for group in state.groups:  # norms away from their start too
        group.param.add_(torch.randn_like(group.param) * 0.05)
    oracle = hugging_face(shape, logical_weights(state.named("param"), shape))
    tokens = torch.randint(0, shape.vocab_size, (3, 32))
    labels = tokens.roll(-1, dims=1)
    labels[:, -1] = -1
    expected = oracle(tokens).logits
    assert (model.logits(tokens) - expected).abs().max().item() < 1e-5

    expected_loss = torch.nn.functional.cross_entropy(expected.flatten(0, 1), labels.flatten(), ignore_index=-1)
    expected_loss.backward()
    loss, _ = model.loss(tokens, labels, scale=1 / (3 * 31))
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    ours = logical_weights(state.named("main_grad"), shape)
    theirs = {name: p.grad for name, p in oracle.named_parameters()}
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        assert ((ours[name] - gradient).norm() / gradient.norm()).item() < 1e-5, name


def test_autograd_and_main_grad_agree():
    model, state = build(TINY)
    plain = Nemotron(TINY)
    plain.load_state_dict(model.state_dict())
    tokens = torch.randint(0, 512, (2, 16))
    for m in (model, plain):
        m.loss(tokens, tokens, scale=1 / 32)[0].backward()
    grads = state.named("main_grad")
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, rtol=1e-5, atol=1e-8)


def test_15b_has_the_papers_parameters_and_flops():
    shape = PRESETS["nemotron4_15b"]
    assert parameters(shape) == 15_628_775_424
    assert flops_per_token(shape) == 93_994_352_640
    assert flops_per_token(shape, causal=True) == 89_162_514_432
    embeddings = 2 * shape.vocab_size * shape.hidden
    assert round(embeddings / 1e9, 1) == 3.1
    assert round((parameters(shape) - embeddings) / 1e9, 1) == 12.5  # the paper's non-embedding count


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_on_the_meta_device_with_the_counted_parameters(preset):
    with torch.device("meta"):
        model = Nemotron(PRESETS[preset])
    assert sum(p.numel() for p in model.parameters()) == parameters(PRESETS[preset])


@pytest.mark.parametrize("preset", ["nemotron4_15b", "debug"])
def test_forward_on_meta_runs_the_counted_flops(preset):
    """Forward is a third of the formula; the head's GEMM runs in `logits`."""
    shape = PRESETS[preset]
    with torch.device("meta"):
        model = Nemotron(shape, registry.load("meta"))
        tokens = torch.zeros(1, shape.context, dtype=torch.long)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.logits(tokens)
    assert counter.get_total_flops() * 3 == flops_per_token(shape) * shape.context


def test_packed_documents_give_the_logits_of_each_document_alone():
    model, _ = build(TINY, "auto")
    documents = [torch.randint(0, 512, (n,)) for n in (5, 9, 2)]
    packed = torch.cat(documents)[None]
    positions = torch.cat([torch.arange(len(d)) for d in documents])[None]
    cu = torch.tensor([0, 5, 14, 16], dtype=torch.int32)
    together = model.logits(packed, positions, cu)[0]
    alone = torch.cat([model.logits(d[None])[0] for d in documents])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_bf16_training_accumulates_fp32_and_stays_near_fp32():
    model, _ = build(TINY)
    with torch.device("meta"):
        narrow = Nemotron(TINY, registry.load("cpu"))
    narrow_state = FlatState(narrow, torch.bfloat16, "cpu", Groups())
    initialise(narrow_state, seed=1)
    tokens = torch.randint(0, 512, (2, 32))
    wide_loss = model.loss(tokens, tokens, 1 / 64)[0]
    narrow_loss = narrow.loss(tokens, tokens, 1 / 64)[0]
    narrow_loss.backward()
    assert narrow_loss.item() == pytest.approx(wide_loss.item(), rel=1e-2)
    assert all(g.main_grad.dtype == torch.float32 and g.main_grad.any() for g in narrow_state.groups)
    assert narrow_state.groups[0].param.dtype == torch.bfloat16
