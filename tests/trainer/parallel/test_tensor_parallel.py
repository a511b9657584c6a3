"""Tensor parallelism on real processes against one process, and what each activation policy keeps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist

from gristmill.kernels.gpu import registry
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.flat_groups import part_of
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import IGNORE, Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.optimizer import optimizer_step
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group, Groups, make_groups
from gristmill.trainer.parallel.placement import logical_part
from gristmill.trainer.state import FlatState, initialise
from tests.trainer.parallel.processes import run

pytestmark = pytest.mark.slow

SHAPE = Shape(3, 64, 8, 4, 16, 96, 240, context=32, init_std=0.15)  # heads * head_dim above hidden
BATCH, LENGTH, STEPS = 2, 32, 20
POLICIES = ("all", "lean", "full")
DOCUMENTS = ("joined", "separate")


def build(groups=Groups(), policy="lean", dtype=torch.float32):  # noqa: B008
    """A model in flat buffers, its norms away from their start; the same global weights whatever the groups."""
    with torch.device("meta"):
        model = Nemotron(SHAPE, registry.load("cpu"), groups, policy)
    state = FlatState(model, dtype, "cpu", groups)
    initialise(state, seed=1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            generator = torch.Generator().manual_seed(len(name) + sum(name.encode()))
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, state


def batch(documents):
    """tokens, labels, positions, cu_seqlens: documents of several lengths, one border per window at least."""
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(0, SHAPE.vocab_size, (BATCH, LENGTH), generator=generator)
    tokens[0, 3:6] = 5  # a token that comes again
    labels = tokens.roll(-1, dims=1)
    labels[:, -1] = IGNORE
    if documents == "joined":
        return tokens, labels, None, None
    borders = [0, 5, 21, 32, 33, 50, 64]
    positions = torch.cat([torch.arange(b - a) for a, b in pairwise(borders)]).view(BATCH, LENGTH)
    return tokens, labels, positions, torch.tensor(borders, dtype=torch.int32)


def step(model, state, documents):
    """(loss, token losses, {logical name: gradient of this rank's part}) of one forward and backward."""
    tokens, labels, positions, cu_seqlens = batch(documents)
    state.zero_grad()
    loss, losses = model.loss(tokens, labels, 1 / 62, positions, cu_seqlens, chunk_bytes=20_000)
    loss.backward()
    for group in state.groups:
        if group.name == "no_decay":  # each rank has seen its rows only
            collectives.all_reduce(group.main_grad, state.mesh.tensor, "tp.sum.norms")
    gradients = {name: parameter.main_grad.clone() for name, parameter in model.named_parameters()}
    return loss.detach(), losses, local(gradients, state.mesh.tensor)


def local(named, tensor):
    """By logical name; the heads of a `Shape` are global, those of a rank's `qkv` a part of them."""
    part = replace(SHAPE, heads=SHAPE.heads // tensor.size, kv_heads=SHAPE.kv_heads // tensor.size)
    return logical_weights(named, part)


def trained(groups):
    """({logical name: this rank's part}, losses) after STEPS steps, the documents joined and separate in turn."""
    model, state = build(groups)
    losses = []
    for i in range(STEPS):
        tokens, labels, positions, cu_seqlens = batch(DOCUMENTS[i % 2])
        state.zero_grad()
        state.reducer.last_micro_batch()
        loss, _ = model.loss(tokens, labels, 1 / 62, positions, cu_seqlens)
        loss.backward()
        losses.append(loss.item())
        optimizer_step(state, model.ops, AdamW(), 3e-4, i + 1)
    state.wait()
    return local({name: p.detach() for name, p in model.named_parameters()}, groups.tensor), losses


def on_a_rank():
    """What the claims below compare: this rank's results for every setting, and the collectives of one step."""
    groups = make_groups(dist.get_world_size(), 1, 1)
    results, names = {}, {}
    for policy in POLICIES:
        model, state = build(groups, policy)
        for documents in DOCUMENTS:
            with collectives.counted() as records:
                results[policy, documents] = step(model, state, documents)
            names[policy] = [(r.name, r.kind, r.bytes, r.done()) for r in records]
    parameters = local({name: p.detach() for name, p in model.named_parameters()}, groups.tensor)
    with torch.no_grad():
        logits = model.logits(batch("joined")[0])
    recent = [r.name for r in collectives.recent()]
    return results, parameters, logits, trained(groups), names, recent


@pytest.fixture(scope="module", params=[2, 4], ids=["TP2", "TP4"])
def ranks(request):
    return run(on_a_rank, request.param)


@pytest.fixture(scope="module")
def alone():
    """The same on one process, {documents: (loss, token losses, gradients)}, with its parameters and logits."""
    model, state = build()
    results = {documents: step(model, state, documents) for documents in DOCUMENTS}
    with torch.no_grad():
        logits = model.logits(batch("joined")[0])
    return results, local({n: p.detach() for n, p in model.named_parameters()}, Group()), logits, trained(Groups())


def whole(parts, full):
    """{name: tensor} put together from every rank's parts; norms must be the same on all."""
    out = {}
    for name, like in full.items():
        out[name] = torch.full_like(like, torch.nan)
        for rank, part in enumerate(parts):
            where = logical_part(name, like.shape, Group(rank, len(parts)))
            before = out[name][where]
            assert before.isnan().all() or torch.equal(before, part[name]), name
            out[name][where] = part[name]
    return out


def relative(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_loss_and_every_gradient_are_those_of_one_process(ranks, alone, policy, documents):
    loss, losses, gradients = alone[0][documents]
    for results, *_ in ranks:
        assert relative(results[policy, documents][0], loss) < 1e-5
        assert relative(results[policy, documents][1], losses) < 1e-5
        assert torch.equal(results[policy, documents][1], ranks[0][0][policy, documents][1])  # the same bits everywhere
    got = whole([results[policy, documents][2] for results, *_ in ranks], gradients)
    assert len(got) == 3 + 1 + 10 * SHAPE.layers
    for name, gradient in gradients.items():
        assert relative(got[name], gradient) < 1e-5, name


def test_weights_are_drawn_the_same_and_logits_too(ranks, alone):
    _, parameters, logits, _ = alone
    for name, weight in whole([rank[1] for rank in ranks], parameters).items():
        assert torch.equal(weight, parameters[name]), name
    for rank in ranks:
        assert relative(rank[2], logits) < 1e-5


def test_training_for_20_steps_gives_the_parameters_of_one_process(ranks, alone):
    parameters, losses = alone[3]
    got = whole([rank[3][0] for rank in ranks], parameters)  # which also says that the norms are the same on all ranks
    assert max((got[name] - weight).abs().max().item() for name, weight in parameters.items()) < 1e-6
    assert max((weight - alone[1][name]).abs().max().item() for name, weight in parameters.items()) > 1e-3  # it moved
    for rank in ranks:
        assert rank[3][1] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("documents", DOCUMENTS)
def test_policies_give_the_same_bits_over_ranks(ranks, documents):
    for results, *_ in ranks:
        for policy in ("all", "full"):
            for name, gradient in results["lean", documents][2].items():
                assert torch.equal(results[policy, documents][2][name], gradient), (policy, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("documents", DOCUMENTS)
def test_policies_give_the_same_bits_on_one_process(documents, dtype):
    expected = step(*build(policy="all", dtype=dtype), documents)
    for policy in ("lean", "full"):
        got = step(*build(policy=policy, dtype=dtype), documents)
        assert torch.equal(got[0], expected[0])
        assert all(torch.equal(got[2][name], gradient) for name, gradient in expected[2].items())


@pytest.mark.parametrize("policy", POLICIES)
def test_every_collective_has_a_name_and_a_kind_and_is_done(ranks, policy):
    layers, n = SHAPE.layers, len(ranks)
    activations = BATCH * LENGTH * SHAPE.hidden * 4
    for *_, names, recent in ranks:
        records = names[policy]
        assert all(done for *_, done in records)
        per_layer = 13 if policy == "full" else 10
        assert [size for name, _, size, _ in records if "layers" in name] == [activations] * per_layer * layers
        rest = [(name, kind) for name, kind, *_ in records if "layers" not in name]
        assert rest == [
            ("tp.scatter.embedding", "reduce_scatter"),
            ("tp.gather.head", "all_gather"),
            ("tp.gather.cross_entropy", "all_gather"),
            ("tp.scatter.head.backward", "reduce_scatter"),
            ("tp.gather.embedding.backward", "all_gather"),
            ("tp.sum.norms", "all_reduce"),
        ]
        assert {name: size for name, _, size, _ in records}["tp.gather.cross_entropy"] == BATCH * LENGTH * 12 * n
        assert recent[-1] == "tp.gather.logits"
        assert len(recent) == collectives.KEPT


def test_a_micro_batch_or_a_shape_that_ranks_cannot_split_is_one_sentence():
    with pytest.raises(ConfigError, match=r"parallel.tensor: kv_heads 4 cannot be split evenly over 3"):
        Nemotron(SHAPE, groups=Groups(tensor=Group(0, 3)))
    with torch.device("meta"):
        model = Nemotron(SHAPE, groups=Groups(tensor=Group(0, 4)))
        with pytest.raises(ConfigError, match="42 tokens of a micro-batch cannot be split evenly over 4 ranks"):
            model(torch.zeros(2, 21, dtype=torch.long))


@pytest.mark.parametrize("policy", POLICIES)
def test_parts_are_announced_in_order_and_are_final_when_they_are(policy):
    model, state = build(policy=policy)
    before, finished = [], {}
    model.before_forward.append(before.append)

    def final(part):
        of_part = {n: p.main_grad for n, p in model.named_parameters() if part_of(n) == part}
        finished[part] = {n: gradient.clone() for n, gradient in of_part.items()}

    model.after_backward.append(final)
    step(model, state, "joined")
    assert before == ["embedding", 0, 1, 2, "head"]
    assert list(finished) == ["head", 2, 1, 0, "embedding"]
    known = {name: gradient for part in finished.values() for name, gradient in part.items()}
    assert set(known) == {name for name, _ in model.named_parameters()}
    for name, gradient in known.items():
        assert gradient.any()
        assert torch.equal(gradient, model.get_parameter(name).main_grad), name


@pytest.mark.parametrize("policy", POLICIES)
def test_parameters_without_main_grad_get_the_same_gradients_from_autograd(policy):
    model, state = build(policy=policy)
    expected = step(model, state, "separate")[2]
    plain = Nemotron(SHAPE, registry.load("cpu"), policy=policy)
    plain.load_state_dict(model.state_dict())
    tokens, labels, positions, cu_seqlens = batch("separate")
    plain.loss(tokens, labels, 1 / 62, positions, cu_seqlens)[0].backward()
    for name, gradient in local({n: p.grad for n, p in plain.named_parameters()}, Group()).items():
        assert relative(gradient, expected[name]) < 1e-5, name


def test_what_each_policy_keeps():
    """Of h = hidden, per token and layer: lean keeps two norm outputs less than all, full nothing but one h."""
    kept = {}
    for policy in POLICIES:
        model, state = build(policy=policy)
        mine = {group.param.untyped_storage().data_ptr() for group in state.groups}
        saved = {}

        def keep(tensor, saved=saved, mine=mine):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in mine:
                saved[storage.data_ptr()] = storage  # held: no address is given out twice
            return tensor

        tokens, *_ = batch("joined")
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden = model(tokens)
        kept[policy] = sum(storage.nbytes() for storage in saved.values())
        del hidden
    one = BATCH * LENGTH * SHAPE.hidden * 4
    assert kept["all"] - kept["lean"] == 2 * SHAPE.layers * one
    outside = (SHAPE.layers + 1) * one  # h of each layer and of the final norm
    assert outside <= kept["full"] < outside + 0.25 * one  # and tokens, mean and rstd of the final norm
