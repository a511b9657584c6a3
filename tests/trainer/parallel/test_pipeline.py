"""Pipeline parallelism: how a model is cut, and real processes against one process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from gristmill.kernels.gpu import registry
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.shape import PRESETS, Shape, parameters
from gristmill.trainer.optimizer import optimizer_step
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.chunks import cut, head_work
from gristmill.trainer.parallel.groups import Group, Groups, make_groups
from gristmill.trainer.parallel.pipeline import MicroBatch, build_chunks, run_micro_batches
from gristmill.trainer.parallel.pipeline_schedule import in_flight
from gristmill.trainer.parallel.placement import logical_part, split_dimension
from gristmill.trainer.state import FlatState, initialise
from tests.trainer.parallel.processes import run

pytestmark = pytest.mark.slow

SHAPE = Shape(7, 32, 4, 2, 8, 64, 640, context=16, init_std=0.2)
STEPS = 20
RATE = 4.5e-4  # the 15B's highest
SETTINGS = AdamW(eps=1e-5)
"""With 1e-8 an element whose gradient is rounding, 1e-8 beside 1e-2, moves as far as any other, by its sign."""


def test_layers_are_cut_evenly_with_the_head_counted_as_its_work():
    def sizes(layers: int, stages: int, virtual: int, head: float = 0.0) -> list[list[int]]:
        return [[chunk.last - chunk.first for chunk in chunks] for chunks in cut(layers, stages, virtual, head)]

    assert sizes(32, 4, 1) == [[8], [8], [8], [8]]
    assert sizes(10, 2, 2) == [[2, 3], [2, 3]]
    assert head_work(PRESETS["nemotron4_15b"]) == pytest.approx(3.57, abs=0.01)
    assert sizes(32, 4, 1, 3.57) == [[9], [9], [9], [5]]
    assert sizes(32, 4, 2, 3.57) == [[4, 5], [4, 5], [4, 5], [4, 1]]
    assert sizes(96, 12, 8)[0] == sizes(96, 12, 8)[11] == [1] * 8
    assert sizes(4, 1, 1, 8.5) == [[4]]
    chunks = [chunk for i in range(2) for rank in cut(7, 3, 2, 1.0) for chunk in rank[i : i + 1]]
    assert [c.first for c in chunks[1:]] == [c.last for c in chunks[:-1]]
    assert [c.embed for c in chunks] == [True] + [False] * 5
    assert [c.head for c in chunks] == [False] * 5 + [True]
    with pytest.raises(ConfigError, match="pipeline 4 x virtual_stages 2 makes 8 chunks of 6 layers: lower"):
        cut(6, 4, 2)


@pytest.mark.parametrize(("name", "tensor", "stages", "virtual"), [("nemotron4_340b", 8, 12, 8), ("debug", 2, 2, 2)])
def test_the_chunks_of_all_ranks_are_the_whole_model(name, tensor, stages, virtual):
    shape, total, names = PRESETS[name], 0, []
    for rank in range(stages):
        groups = Groups(tensor=Group(0, tensor), pipeline=Group(rank, stages))
        with torch.device("meta"):
            chunks = build_chunks(shape, None, groups, "lean", virtual)
        assert len(chunks) == virtual
        assert hasattr(chunks[0], "embedding") == (rank == 0)
        assert hasattr(chunks[-1], "head") == (rank == stages - 1)
        for chunk in chunks:
            for parameter, value in chunk.named_parameters():
                total += value.numel() * (1 if split_dimension(parameter) is None else tensor)
                names.append(parameter)
    assert total == parameters(shape)
    assert len(names) == len(set(names)) == shape.layers * 8 + 4


@dataclass
class Result:
    """What one rank has after a run of one layout."""

    tensor: Group
    losses: list[float]
    token_losses: list[list[torch.Tensor]]
    gradients: dict[str, list[tuple[int, torch.Tensor]]]  # of the first step: logical name -> (start, elements)
    weights: dict[str, list[tuple[int, torch.Tensor]]]  # after the last
    full: dict[str, torch.Size]
    held: list[tuple[int, int]]  # most in flight, by formula, for each step
    transfers: list[tuple[str, int, bool]]  # of the first step: name, bytes, done
    evaluated: float | None


def batches_of(step: int) -> list[MicroBatch]:
    """4 or 8 micro-batches, of 32 and at last 16 tokens; each second one has documents, of its own lengths."""
    generator = torch.Generator().manual_seed(step)
    out = []
    for i in range(8 if step % 5 == 1 else 4):
        rows = 1 if i % 4 == 3 else 2
        tokens = torch.randint(640, (rows, 17), generator=generator)
        x, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        if i % 2:
            out.append(MicroBatch(x, labels))
            continue
        border = 3 + i
        positions = torch.cat([torch.arange(border), torch.arange(16 - border)]).expand(rows, 16)
        cu = [0, *(16 * r + b for r in range(rows) for b in (border, 16))]
        out.append(MicroBatch(x, labels, positions, torch.tensor(cu, dtype=torch.int32)))
    return out


def train(tensor: int, stages: int, data: int, virtual: int, policy: str = "lean", steps: int = STEPS) -> Result:
    groups, ops = make_groups(tensor, stages, data), registry.load("reference")
    with torch.device("meta"):
        chunks = build_chunks(SHAPE, ops, groups, policy, virtual)
    state = FlatState(chunks, torch.float32, "cpu", groups, bucket_elements=4096)
    initialise(state, 7)
    result = Result(
        Group(groups.tensor.rank, tensor), [], [], {}, {}, {p.name: p.full for p in state.pieces("main")}, [], [], None
    )
    now, most = count_in_flight(chunks)
    for step in range(steps):
        every = batches_of(step)
        share = len(every) // data
        mine = every[groups.data.rank * share :][:share]
        scale = 1.0 / sum(batch.tokens.numel() for batch in every)
        state.zero_grad()
        most[0] = 0
        with collectives.counted() as records:
            loss, token_losses = run_micro_batches(chunks, iter(mine), share, scale, groups, state.reducer)
        assert now[0] == 0
        result.held.append((most[0], in_flight(groups.pipeline.rank, stages, virtual, share)))
        if loss is not None:
            result.losses.append(loss.item())
            result.token_losses.append(token_losses)
        if step == 0:
            started = [r.name for r in records if r.name.startswith("dp.reduce")]
            assert len(started) == (sum(len(g.buckets) for g in state.groups) if data > 1 else 0)
            result.transfers = [(r.name, r.bytes, r.done()) for r in records if r.name.startswith("pp.")]
            state.reducer.finish()
            result.gradients = parts(state, "main_grad")
        optimizer_step(state, ops, SETTINGS, RATE, step + 1)
    result.weights = parts(state, "main")
    before = [group.main_grad.clone() for group in state.groups]
    loss, _ = run_micro_batches(chunks, batches_of(0)[:3], 3, 1 / 96, groups, backward=False)
    result.evaluated = None if loss is None else loss.item()
    assert loss is None or not loss.requires_grad
    assert all(torch.equal(a, group.main_grad) for a, group in zip(before, state.groups, strict=True))
    return result


def parts(state: FlatState, kind: Any) -> dict[str, list[tuple[int, torch.Tensor]]]:
    out: dict[str, list[tuple[int, torch.Tensor]]] = {}
    for piece in state.pieces(kind):
        out.setdefault(piece.name, []).append((piece.start, piece.data.clone()))
    return out


def count_in_flight(chunks: list[Any]) -> tuple[list[int], list[int]]:
    """[forwards begun and not yet backpropagated], [their most], by the model's own callbacks."""
    now, most = [0], [0]
    for chunk in chunks:
        first = next(iter(["embedding"] if hasattr(chunk, "embedding") else [*map(int, chunk.layers), "head"]))

        def begun(part: Any, first: Any = first) -> None:
            if part == first:
                now[0] += torch.is_grad_enabled()
                most[0] = max(most[0], now[0])

        def done(part: Any, first: Any = first) -> None:
            now[0] -= part == first

        chunk.before_forward.append(begun)
        chunk.after_backward.append(done)
    return now, most


def layouts(every: list[tuple]) -> dict[tuple, Result]:
    torch.set_num_threads(1)
    return {layout: train(*layout) for layout in every}


TWO = [(1, 2, 1, 2), (1, 2, 1, 1, "lean", 3), (1, 2, 1, 3, "full", 2)]
FOUR = [(2, 2, 1, 2), (1, 2, 2, 2, "lean", 3), (1, 4, 1, 1, "all", 2)]


@pytest.fixture(scope="module")
def one() -> Result:
    return train(1, 1, 1, 1)


@pytest.fixture(scope="module")
def several() -> dict[tuple, list[Result]]:
    """Layout -> result by rank."""
    out = {}
    for every, ranks in ((TWO, 2), (FOUR, 4)):
        results = run(layouts, ranks, every)
        out |= {layout: [result[layout] for result in results] for layout in every}
    return out


def test_one_process_is_the_plain_loop(one):
    """The reference itself: the whole model, micro-batch by micro-batch, without a pipeline."""
    from gristmill.trainer.model.nemotron import Nemotron

    state = FlatState(Nemotron(SHAPE, registry.load("reference")), torch.float32, "cpu", Groups())
    initialise(state, 7)
    state.zero_grad()
    total = torch.zeros(())
    for batch in batches_of(0):
        loss, _ = state.model.loss(batch.tokens, batch.labels, 1 / 112, batch.positions, batch.cu_seqlens)
        loss.backward()
        total += loss.detach()
    assert one.losses[0] == total.item()
    for name, pieces in parts(state, "main_grad").items():
        assert torch.equal(pieces[0][1], one.gradients[name][0][1])


@pytest.mark.parametrize("layout", [*TWO, *FOUR], ids=str)
def test_losses_gradients_and_trained_weights_are_those_of_one_process(layout, one, several):
    """fp32: loss and every gradient within 1e-5 of one process, weights after 20 steps within 1e-6."""
    tensor, stages, data, *_ = layout
    results = several[layout]
    steps = len(results[-1].losses)
    for rank, result in enumerate(results):
        last = rank // (tensor * data) == stages - 1
        assert (len(result.losses), result.evaluated is not None) == ((steps, True) if last else (0, False))
    for step in range(steps):  # a data-parallel rank has the losses of its share
        losses = [results[tensor * (data * (stages - 1) + d)].losses[step] for d in range(data)]
        assert sum(losses) == pytest.approx(one.losses[step], rel=1e-5)
    ends = [results[tensor * (data * (stages - 1) + d)] for d in range(data)]
    tokens = torch.cat([t for end in ends for t in end.token_losses[0]])
    torch.testing.assert_close(tokens, torch.cat(one.token_losses[0]), rtol=1e-5, atol=1e-6)
    seen: dict[str, int] = {}
    for result in results:
        for name, pieces in result.gradients.items():
            whole = one.gradients[name][0][1].view(result.full[name])
            wanted = whole[logical_part(name, whole.shape, result.tensor)].reshape(-1)
            for start, got in pieces:
                difference = (got - wanted[start : start + got.numel()]).norm()
                assert difference <= 1e-5 * wanted.norm(), name
                seen[name] = seen.get(name, 0) + got.numel()
        if steps == STEPS:
            for name, pieces in result.weights.items():
                whole = one.weights[name][0][1].view(result.full[name])
                wanted = whole[logical_part(name, whole.shape, result.tensor)].reshape(-1)
                for start, got in pieces:
                    torch.testing.assert_close(got, wanted[start : start + got.numel()], rtol=0, atol=1e-6)
    copies = {name: tensor if "norm" in name else 1 for name in one.full}
    assert seen == {name: full.numel() * copies[name] for name, full in one.full.items()}
    if steps == STEPS:
        assert ends[0].evaluated == pytest.approx(one.evaluated, rel=1e-5)


def test_without_tensor_parallelism_the_bits_are_those_of_one_process(one, several):
    for result, kinds in [(r, ["gradients", "weights"]) for r in several[TWO[0]]] + [
        (r, ["gradients"]) for r in several[TWO[1]]
    ]:
        for kind in kinds:
            for name, pieces in getattr(result, kind).items():
                assert torch.equal(pieces[0][1], getattr(one, kind)[name][0][1]), name


def test_micro_batches_in_flight_are_as_many_as_the_formula_says(several):
    for results in several.values():
        for result in results:
            for counted, formula in result.held:
                assert counted == formula


def test_one_tensor_goes_each_way_for_each_micro_batch_and_border_and_all_are_named(several):
    results = several[TWO[2]]
    tokens, borders = 3 * 32 + 16, 5  # 6 chunks
    for what in ("send", "receive"):
        sizes = [size for result in results for name, size, _ in result.transfers if name.startswith(f"pp.{what}.")]
        assert sum(sizes) == 2 * borders * tokens * SHAPE.hidden * 4
    assert all(done for result in results for _, _, done in result.transfers)
    names = [name for name, _, _ in results[0].transfers]
    assert "pp.send.F.0.0" in names
    assert "pp.receive.B.0.3" in names
    assert len(names) == len(set(names))
