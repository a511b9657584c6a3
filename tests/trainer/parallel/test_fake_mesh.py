"""The 15B on 2,304 ranks (data 288 x tensor 8) that do not exist: groups, shards and the collectives of one step.

torch's fake process group gives every rank its groups and moves nothing, the meta device tensors of the real shapes
without memory. So one process runs a whole step of one rank, and what it would send is counted twice: from the
collectives' own records, and from the operators that torch dispatches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gristmill.kernels.gpu import registry
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import PRESETS, flops_per_token, parameters
from gristmill.trainer.optimizer import optimizer_step
from gristmill.trainer.parallel import buckets, collectives
from gristmill.trainer.parallel.groups import Group, Groups, make_groups
from gristmill.trainer.parallel.placement import logical_part
from gristmill.trainer.state import FlatState

pytestmark = pytest.mark.slow

SHAPE = PRESETS["nemotron4_15b"]
TENSOR, DATA = 8, 288
WORLD = TENSOR * DATA
MICRO_BATCHES, SEQUENCES = 2, 2  # 4 sequences a replica and step, as in the 15B's training
TOKENS = SEQUENCES * SHAPE.context


@dataclass
class Mesh:
    """What a rank of the fake world sees."""

    groups: Groups
    members: dict[str, list[int]]


@pytest.fixture
def mesh():
    """Makes this process a rank of a fake world; the world is left again afterwards."""

    def enter(rank, tensor=TENSOR, pipeline=1, data=DATA):
        if dist.is_initialized():
            dist.destroy_process_group()
        dist.init_process_group("fake", rank=rank, world_size=tensor * pipeline * data, store=FakeStore())
        groups = make_groups(tensor, pipeline, data)
        named = {name: getattr(groups, name) for name in ("tensor", "pipeline", "data", "world")}
        members = {name: dist.get_process_group_ranks(g.handle) if g.handle else [rank] for name, g in named.items()}
        return Mesh(groups, members)

    yield enter
    if dist.is_initialized():
        dist.destroy_process_group()


def test_every_rank_is_in_the_groups_that_the_layout_names(mesh):
    for rank in (*range(0, WORLD, 97), WORLD - 1):  # every tensor rank three times
        seen = mesh(rank)
        t, d = rank % TENSOR, rank // TENSOR
        assert (seen.groups.tensor.rank, seen.groups.tensor.size) == (t, TENSOR)
        assert (seen.groups.data.rank, seen.groups.data.size) == (d, DATA)
        assert (seen.groups.pipeline, seen.groups.world.rank) == (Group(), rank)
        assert seen.members["tensor"] == [d * TENSOR + i for i in range(TENSOR)]
        assert seen.members["data"] == [i * TENSOR + t for i in range(DATA)]
        assert seen.members["world"] == list(range(WORLD))


def test_pipeline_ranks_come_last(mesh):
    """tensor 8 x pipeline 12 x data 2, the 340B's layout on 192 ranks."""
    seen = mesh(8 * (1 + 2 * 5) + 3, tensor=8, pipeline=12, data=2)
    assert (seen.groups.tensor.rank, seen.groups.data.rank, seen.groups.pipeline.rank) == (3, 1, 5)
    assert seen.members["pipeline"] == [8 * (1 + 2 * p) + 3 for p in range(12)]
    assert seen.members["data"] == [8 * (d + 2 * 5) + 3 for d in range(2)]


def test_another_number_of_processes_than_the_layout_needs_is_one_sentence(mesh):
    mesh(0)
    with pytest.raises(ConfigError, match="asks for 16 processes, there are 2304"):
        make_groups(8, 1, 2)


def test_shards_of_all_ranks_are_the_whole_model_once():
    full = logical_weights(dict(on_meta(Groups()).named_parameters()), SHAPE)
    assert sum(w.numel() for w in full.values()) == parameters(SHAPE)
    for name, weight in full.items():
        parts = [logical_part(name, weight.shape, Group(t, TENSOR)) for t in range(TENSOR)]
        if "norm" in name:
            assert all(part == (slice(0, SHAPE.hidden),) for part in parts)
            continue
        (split,) = (i for i in range(2) if parts[0][i].stop < weight.shape[i])
        borders = [(part[split].start, part[split].stop) for part in parts]
        assert borders == [(weight.shape[split] // 8 * t, weight.shape[split] // 8 * (t + 1)) for t in range(TENSOR)]
    for t in (0, 5):
        model = on_meta(Groups(tensor=Group(t, TENSOR)))
        norms = (4 * SHAPE.layers + 2) * SHAPE.hidden
        assert sum(p.numel() for p in model.parameters()) == (parameters(SHAPE) - norms) // TENSOR + norms
        for d in (0, 1, 143, DATA - 1):
            state = FlatState(on_meta(Groups(tensor=Group(t, TENSOR))), torch.bfloat16, "meta", mesh_of(t, d))
            for group in state.groups:
                assert group.main.numel() * DATA == group.param.numel()
                every = [buckets.owned(group.buckets, r, DATA) for r in range(DATA)]
                assert group.owned == every[d]
                ranges = sorted((start, stop) for pieces in every for start, stop, _ in pieces)
                assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
                assert ranges[-1][1] == group.param.numel()


def on_meta(groups, policy="lean", shape=SHAPE):
    with torch.device("meta"):
        return Nemotron(shape, registry.load("meta"), groups, policy)


def mesh_of(t, d):
    return Groups(tensor=Group(t, TENSOR), data=Group(d, DATA), world=Group(TENSOR * d + t, WORLD))


@dataclass
class Dispatched(TorchDispatchMode):
    """Bytes of every collective that torch dispatches: of its largest tensor, which is the whole one."""

    sizes: list[int] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            leaves = torch.utils._pytree.tree_leaves(args)
            self.sizes.append(max(x.numel() * x.element_size() for x in leaves if isinstance(x, torch.Tensor)))
        return func(*args, **(kwargs or {}))


def one_step(groups, policy, device="meta", shape=SHAPE):
    """(state, records, sizes of what was dispatched, FLOPs) of one step in bf16."""
    model = on_meta(groups, policy, shape)
    state = FlatState(model, torch.bfloat16, device, groups)
    tokens = torch.zeros(SEQUENCES, SHAPE.context, dtype=torch.long, device=device)
    with collectives.counted() as records, Dispatched() as dispatched:
        state.zero_grad()
        with FlopCounterMode(display=False) as flops:
            for i in range(MICRO_BATCHES):
                if i == MICRO_BATCHES - 1:
                    state.reducer.last_micro_batch()
                model.loss(tokens, tokens, 1.0)[0].backward()
        optimizer_step(state, model.ops, AdamW(), 1e-4, 1)
        state.wait()
    return state, records, dispatched.sizes, flops.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["lean", "full"])
def test_collectives_of_a_step_and_their_bytes_follow_the_formula(mesh, policy):
    """The formula of docs/training.md; bytes are those of whole tensors, of which a ring sends (n - 1) / n."""
    state, records, dispatched, flops = one_step(mesh(1_000).groups, policy)
    decay, no_decay = state.groups
    norms, elements = no_decay.param.numel(), decay.param.numel() + no_decay.param.numel()

    def total(*beginnings):
        chosen = [r for r in records if r.name.startswith(beginnings)]
        return len(chosen), sum(r.bytes for r in chosen)

    activations = TOKENS * SHAPE.hidden * 2  # of a micro-batch, bf16
    of_layers = (13 if policy == "full" else 10) * SHAPE.layers * MICRO_BATCHES
    assert total("tp.gather.layers", "tp.scatter.layers") == (of_layers, of_layers * activations)
    outside = 4 * MICRO_BATCHES
    ends = ("tp.scatter.embedding", "tp.gather.embedding", "tp.gather.head", "tp.scatter.head")
    assert total(*ends) == (outside, outside * activations)
    assert total("tp.gather.cross_entropy") == (MICRO_BATCHES, MICRO_BATCHES * TOKENS * 12 * TENSOR)
    assert total("tp.reduce.no_decay") == (len(no_decay.buckets), 4 * norms // DATA)
    gathers = len(decay.buckets) + len(no_decay.buckets)
    assert total("dp.reduce") == (gathers, 4 * elements)
    assert total("dp.gather") == (gathers, 2 * elements)
    assert total("world.norm") == (1, 8 * WORLD)
    assert sum(r.bytes for r in records) == sum(dispatched)
    assert all(r.done() for r in records)

    local = parameters(SHAPE) // TENSOR
    assert 0 <= elements / local - 1 < 0.003  # whole norms on every rank, and padding
    whole = flops_per_token(SHAPE) * TOKENS * MICRO_BATCHES // TENSOR
    if policy == "lean":
        assert flops == whole
    else:  # forward again, but for the MLP's second product
        h, d = SHAPE.hidden, SHAPE.head_dim
        again = 4 * h * d * (SHAPE.heads + SHAPE.kv_heads) + 4 * d * SHAPE.heads * SHAPE.context + 2 * h * SHAPE.ffn
        assert flops == whole + SHAPE.layers * again * TOKENS * MICRO_BATCHES // TENSOR


@pytest.mark.parametrize("policy", ["all", "lean", "full"])
def test_a_step_under_fake_tensors_issues_what_it_does_on_the_meta_device(mesh, policy):
    """What predicts memory runs under FakeTensorMode."""
    shape, groups = replace(SHAPE, layers=2), mesh(3).groups
    *_, expected, flops = one_step(groups, policy, "meta", shape)
    with FakeTensorMode():
        *_, sizes, again = one_step(groups, policy, "cpu", shape)
    assert (sizes, again) == (expected, flops)
