"""In fp32 the model is transformers' NemotronForCausalLM: logits, loss and every gradient, documents packed or not."""

from __future__ import annotations

import itertools

import pytest
import torch

from gristmill.kernels.gpu import registry
from gristmill.trainer.checkpoints.export import hf_config
from gristmill.trainer.data.loader import document_layout
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import IGNORE, Nemotron, init_std
from gristmill.trainer.model.shape import PRESETS, Shape

MID = Shape(8, 512, 8, 2, 64, 2048, 8192, context=512, init_std=0.0463)  # init_std * sqrt(hidden) as in the 15B
CASES = {
    "debug": (PRESETS["debug"], 2),
    "mid": (MID, 1),
    "wide_heads": (Shape(3, 48, 4, 2, 16, 96, 300, 32, init_std=0.15), 3),  # heads * head_dim above hidden
    "whole_rotary": (Shape(2, 64, 4, 4, 16, 128, 256, 48, rotary_fraction=1.0, rope_base=500.0, init_std=0.13), 2),
}


def build(shape: Shape):
    """Our model with `main_grad` as in training, and theirs with the same weights."""
    from transformers import NemotronConfig, NemotronForCausalLM

    torch.manual_seed(0)
    model = Nemotron(shape, registry.load("cpu"))
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=init_std(name, shape) or 0.05)  # norms away from their start too
        parameter.main_grad = torch.zeros_like(parameter)
    theirs = NemotronForCausalLM(
        NemotronConfig(**hf_config(shape, torch.float32), attn_implementation="eager", use_cache=False)
    )
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    theirs.load_state_dict(logical_weights(weights, shape), strict=True)
    return model, theirs


def batch(shape: Shape, windows: int):
    tokens = torch.randint(0, shape.vocab_size, (windows, shape.context))
    labels = tokens.roll(-1, dims=1)
    labels[:, -1] = IGNORE
    return tokens, labels


def assert_same_gradients(model: Nemotron, theirs) -> None:
    ours = logical_weights({name: p.main_grad for name, p in model.named_parameters()}, model.shape)
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    assert set(ours) == set(expected)
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        assert ((ours[name] - gradient).norm() / gradient.norm()).item() < 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_logits_loss_and_every_gradient(case):
    shape, windows = CASES[case]
    model, theirs = build(shape)
    tokens, labels = batch(shape, windows)
    expected = theirs(tokens).logits
    with torch.no_grad():
        assert (model.logits(tokens) - expected).abs().max().item() < 1e-5
    wanted = torch.nn.functional.cross_entropy(expected.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
    wanted.backward()
    loss, each = model.loss(tokens, labels, scale=1 / (windows * (shape.context - 1)))
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert each.shape == (tokens.numel(),)
    assert_same_gradients(model, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_packed_documents_are_each_document_alone(case):
    """Ours: documents end to end with `cu_seqlens`. Theirs: one forward and backward per document."""
    shape, windows = CASES[case]
    model, theirs = build(shape)
    tokens, labels = batch(shape, windows)
    cuts = [0, shape.context // 7, shape.context // 7 + 1, shape.context // 2]  # a document of one token among them
    begins = [torch.tensor(cuts if row == 0 else [0, 5 * row]).numpy() for row in range(windows)]
    positions, borders = (torch.from_numpy(a) for a in document_layout(begins, shape.context))
    spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(borders)]

    logits = []
    for span in spans:
        mine = theirs(tokens.flatten()[None, span]).logits[0]
        logits.append(mine.detach())
        (torch.nn.functional.cross_entropy(mine, labels.flatten()[span], ignore_index=IGNORE, reduction="sum")
         / labels.numel()).backward()  # fmt: skip
    with torch.no_grad():
        packed = model.logits(tokens, positions, borders).flatten(0, 1)
    assert (packed - torch.cat(logits)).abs().max().item() < 1e-5
    model.loss(tokens, labels, 1 / labels.numel(), positions, borders)[0].backward()
    assert_same_gradients(model, theirs)


@pytest.mark.slow
def test_packed_documents_are_theirs_under_a_mask_of_blocks():
    """The other way to say it to transformers: one window with a 4-D mask and positions that start over."""
    shape, _ = CASES["debug"]
    model, theirs = build(shape)
    tokens, labels = batch(shape, 1)
    positions, borders = (torch.from_numpy(a) for a in document_layout([torch.tensor([0, 30, 200]).numpy()], 256))
    document = torch.searchsorted(borders, torch.arange(256), right=True)
    allowed = (document[:, None] == document) & torch.ones(256, 256, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, 256, 256).masked_fill_(~allowed, torch.finfo(torch.float32).min)
    expected = theirs(tokens, attention_mask=mask, position_ids=positions).logits
    with torch.no_grad():
        assert (model.logits(tokens, positions, borders) - expected).abs().max().item() < 1e-5
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), labels.flatten(), ignore_index=IGNORE).backward()
    model.loss(tokens, labels, 1 / 255, positions, borders)[0].backward()
    assert_same_gradients(model, theirs)
