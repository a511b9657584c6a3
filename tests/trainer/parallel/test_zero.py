"""ZeRO-1 on four gloo processes, with and without tensor parallelism, against one process."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from gristmill.kernels.gpu import registry
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.flat_groups import Kind, by_part
from gristmill.trainer.model.nemotron import Part
from gristmill.trainer.optimizer import gradient_norm, optimizer_step
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group, Groups, make_groups
from gristmill.trainer.parallel.placement import logical_part
from gristmill.trainer.state import FlatState
from tests.trainer.parallel.processes import run
from tests.trainer.test_state import SHAPE, SMALL, build, locals_of

pytestmark = pytest.mark.slow

SEQUENCES, LENGTH, STEPS, RATE = 8, 32, 20, 1e-3
SETTINGS = AdamW(eps=1e-5)
"""With eps 1e-8 AdamW makes a full step of a gradient of 1e-8, which is rounding in fp32 and not the same twice."""


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """tokens, labels [SEQUENCES, LENGTH] of a step, for all ranks: counting, from anywhere."""
    starts = torch.randint(0, SHAPE.vocab_size, (SEQUENCES, 1), generator=torch.Generator().manual_seed(step))
    tokens = (starts + torch.arange(LENGTH)) % SHAPE.vocab_size
    return tokens, (tokens + 1) % SHAPE.vocab_size


def backward(state: FlatState, step: int, announce: str = "last") -> float:
    """This rank's micro-batches of a step; announce: how the reducer learns of the last one. -> sum of their losses."""
    data = state.mesh.data
    share = SEQUENCES // data.size
    tokens, labels = (x[data.rank * share : (data.rank + 1) * share].split(1) for x in batch(step))
    state.zero_grad()
    if announce == "mixed":
        announce = ("last", "count", "never")[data.rank % 3]
    if announce == "count":
        state.reducer.expect(len(tokens))
    total = 0.0
    for i, (x, y) in enumerate(zip(tokens, labels, strict=True)):
        if announce == "last" and i == len(tokens) - 1:
            state.reducer.last_micro_batch()
        loss, _ = state.model.loss(x, y, 1 / (SEQUENCES * LENGTH))
        loss.backward()
        total += loss.item()
    return total


def train(groups: Groups, steps: int = STEPS, **options) -> dict[str, Any]:
    """steps -> losses, norms, gradients of the first step and weights after the last: this rank's parts."""
    state, ops = build(groups, **options), registry.load("cpu")
    losses, norms = [], []
    for step in range(steps):
        loss = backward(state, step)
        if step == 0:
            gradients = by_logical_name(state, "main_grad")
        norms.append(optimizer_step(state, ops, SETTINGS, RATE, step + 1))
        losses.append(collectives.all_reduce(torch.tensor(loss), groups.data, "loss").item())
    weights = by_logical_name(state, "param")
    assert all(torch.equal(w, m.to(w.dtype)) for w, m in zip(weights.values(), by_logical_name(state, "main").values()))
    return {"losses": losses, "norms": norms, "gradients": gradients, "weights": weights}


def by_logical_name(state: FlatState, kind: Kind) -> dict[str, torch.Tensor]:
    named = state.full(kind)
    return {key: v.clone() for name, w in named.items() for key, v in locals_of(name, w, state.mesh.tensor)}


def watched(groups: Groups, **options) -> dict[str, Any]:
    """The second step's callbacks, with what was under way at each, and its collectives."""
    state, ops = build(groups, bucket_elements=SMALL, **options), registry.load("cpu")
    events: list[tuple[str, Part, set[str], set[str]]] = []
    with collectives.counted() as records:

        def note(kind: str, part: Part) -> None:
            reduced = {r.name.removeprefix("dp.reduce.") for r in records[begun:] if r.name.startswith("dp.reduce.")}
            awaited = {r.name.removeprefix("dp.gather.") for r in records if "dp.gather" in r.name and not r.finished}
            events.append((kind, part, reduced, awaited))

        begun = 0
        state.model.before_forward.append(partial(note, "forward"))
        state.model.after_backward.append(partial(note, "backward"))
        backward(state, 0)
        optimizer_step(state, ops, SETTINGS, RATE, 1)
        begun, events = len(records), []
        backward(state, 1)
        optimizer_step(state, ops, SETTINGS, RATE, 2)
    named = {part: {f"{state.groups[g].name}.{b}" for g, b in keys} for part, keys in by_part(state.groups).items()}
    elements = {g.name: g.param.numel() for g in state.groups}
    sent = [(r.name, r.bytes) for r in records[begun:]]
    return {"events": events, "buckets": named, "elements": elements, "records": sent}


def exchanges(groups: Groups) -> dict[str, Any]:
    """The gradients of one step by every way of reducing them, and by none."""
    out: dict[str, Any] = {}
    for key, announce, options in (
        ("announced", "last", {}),
        ("counted", "count", {}),
        ("late", "never", {}),
        ("mixed", "mixed", {}),
        ("bf16", "last", {"reduce_dtype": torch.bfloat16}),
    ):
        state = build(groups, bucket_elements=SMALL, **options)
        if key == "late":
            backward(state, 5)  # a step that is given up while its gradients travel
            backward(state, 5, announce)
            out["own"] = {name: g.clone() for name, g in state.named("main_grad").items()}
        else:
            backward(state, 5, announce)
        if key == "bf16":  # more micro-batches than were said would be lost for the buckets that are on their way
            x, y = batch(5)
            with pytest.raises(RuntimeError, match="backward of head ran again after the last micro-batch"):
                state.model.loss(x[:1], y[:1], 1.0)[0].backward()
            backward(state, 5)
        out[key] = {name: g.clone() for name, g in state.full("main_grad").items()}
    norms = [gradient_norm(state, registry.load("cpu")) for _ in range(2)]
    assert torch.equal(*norms)  # finished reductions are not done twice
    return out


def four_ranks() -> dict[str, Any]:
    data, both = make_groups(1, 1, 4), make_groups(2, 1, 2)
    return {
        "dp4": train(data, bucket_elements=SMALL),
        "tp2dp2": train(both, bucket_elements=SMALL),
        "bf16": train(both, STEPS // 2, dtype=torch.bfloat16, reduce_dtype=torch.bfloat16),
        "watched": watched(data, dtype=torch.bfloat16),
        "watched_both": watched(both, dtype=torch.bfloat16, reduce_dtype=torch.bfloat16),
        "exchanges": exchanges(data),
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run(four_ranks, 4)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return train(Groups())


@pytest.mark.parametrize(("layout", "tensor"), [("dp4", 1), ("tp2dp2", 2)])
def test_many_ranks_train_as_one_process_does(ranks, alone, layout, tensor):
    for rank, results in enumerate(ranks):
        seen, group = results[layout], Group(rank % tensor, tensor)
        assert seen["losses"][0] == pytest.approx(alone["losses"][0], rel=1e-5)
        assert seen["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert torch.stack(seen["norms"]).tolist() == pytest.approx(torch.stack(alone["norms"]).tolist(), rel=1e-5)
        for name, whole in alone["gradients"].items():
            part = whole[logical_part(name, whole.shape, group)]
            assert ((seen["gradients"][name] - part).norm() / part.norm()).item() < 1e-5, name
        for name, whole in alone["weights"].items():
            part = whole[logical_part(name, whole.shape, group)]
            assert (seen["weights"][name] - part).abs().max().item() < 1e-6, name


@pytest.mark.parametrize("layout", ["dp4", "tp2dp2", "bf16"])
def test_ranks_agree_bit_for_bit_on_what_they_share(ranks, layout):
    tensor = 1 if layout == "dp4" else 2
    for rank, results in enumerate(ranks):
        seen, first = results[layout], ranks[rank % tensor][layout]
        assert all(torch.equal(a, b) for a, b in zip(seen["norms"], ranks[0][layout]["norms"], strict=True))
        assert all(torch.equal(w, first["weights"][name]) for name, w in seen["weights"].items())
        for name, w in seen["weights"].items():
            assert w.ndim == 2 or torch.equal(w, ranks[0][layout]["weights"][name]), (
                name
            )  # norms: over tensor ranks too


def test_bf16_training_with_gradients_in_bf16_stays_near_fp32(ranks, alone):
    losses = ranks[0]["bf16"]["losses"]
    assert losses == pytest.approx(alone["losses"][: len(losses)], rel=2e-3)
    assert losses[-1] < losses[0] - 0.2


def test_gradients_are_the_same_whenever_their_reduction_starts(ranks):
    for results in ranks:
        ways = results["exchanges"]
        for name, g in ways["announced"].items():
            assert torch.equal(g, ways["counted"][name])
            assert torch.equal(g, ways["late"][name])
            assert torch.equal(g, ways["mixed"][name])
            assert torch.equal(g, ranks[0]["exchanges"]["announced"][name])


def test_gradients_in_bf16_are_rounded_once_and_added_in_fp32_in_the_order_of_the_ranks(ranks):
    for name, g in ranks[2]["exchanges"]["bf16"].items():
        total = torch.zeros_like(g)
        for results in ranks:
            total += results["exchanges"]["own"][name].bfloat16()
        assert torch.equal(g, total), name


def test_buckets_are_reduced_while_the_backward_runs_and_gathered_as_the_forward_needs_them(ranks):
    for results in ranks:
        seen = results["watched"]
        events, buckets = seen["events"], seen["buckets"]
        parts = ["embedding", *range(SHAPE.layers), "head"]
        one = [("forward", part) for part in parts] + [("backward", part) for part in reversed(parts)]
        assert [event[:2] for event in events] == one * (SEQUENCES // 4)
        assert events[0][3] >= {b for b in buckets["head"] if b not in buckets["embedding"]}  # still travelling
        for kind, part, _, awaited in events:
            if kind == "forward":
                assert not awaited & buckets[part]
        assert not any(
            reduced for *_, reduced, _ in events[: -len(parts)]
        )  # not before the last micro-batch's backward
        for i, (_, _, reduced, _) in enumerate(events[-len(parts) :]):
            passed, to_come = list(reversed(parts))[: i + 1], list(reversed(parts))[i + 1 :]
            final = set().union(*(buckets[p] for p in passed)) - set().union(*(buckets[p] for p in to_come))
            assert reduced == final


@pytest.mark.parametrize(("run", "tensor", "data", "reduce_bytes"), [("watched", 1, 4, 4), ("watched_both", 2, 2, 2)])
def test_bytes_of_a_step_are_the_formulas(ranks, run, tensor, data, reduce_bytes):
    for results in ranks:
        seen = results[run]
        n = sum(seen["elements"].values())
        sums = {
            prefix: sum(size for name, size in seen["records"] if name.startswith(prefix))
            for prefix in ("dp.reduce.", "dp.gather.", "tp.reduce.no_decay.", "world.norm")
        }
        assert sums == {
            "dp.reduce.": n * reduce_bytes,
            "dp.gather.": n * 2,
            "tp.reduce.no_decay.": seen["elements"]["no_decay"] // data * 4 if tensor > 1 else 0,
            "world.norm": 4 * 8,
        }
