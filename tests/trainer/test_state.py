"""The flat buffers in one process: who owns what of them under ZeRO-1, and the same weights under any layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gristmill.kernels.gpu import registry
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.model.names import logical
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.optimizer import optimizer_step
from gristmill.trainer.parallel import buckets as cutting
from gristmill.trainer.parallel.groups import Group, Groups
from gristmill.trainer.parallel.placement import logical_part
from gristmill.trainer.state import FlatState, initialise

SHAPE = Shape(3, 48, 4, 2, 16, 96, 300, context=32)
SMALL = 12_000
"""Elements of a bucket, rounded up: a layer's matrices lie in two or three, the norms in one."""

KINDS = ("param", "main_grad", "main", "exp_avg", "exp_avg_sq")


def build(groups: Groups, dtype=torch.float32, **options) -> FlatState:
    with torch.device("meta"):
        model = Nemotron(SHAPE, registry.load("cpu"), groups)
    state = FlatState(model, dtype, "cpu", groups, **options)
    initialise(state, seed=7)
    return state


def locals_of(name: str, view: Tensor, tensor: Group) -> Iterator[tuple[str, Tensor]]:
    """(logical name, view) of each weight in a tensor-parallel rank's parameter."""
    return logical(name, view, replace(SHAPE, heads=SHAPE.heads // tensor.size, kv_heads=SHAPE.kv_heads // tensor.size))


@settings(deadline=None)
@given(
    elements=st.integers(1, 200_000),
    size=st.integers(1, 300_000),
    ranks=st.integers(1, 12),
    spans=st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 50_000)), max_size=4),
)
def test_ranks_own_every_element_once_in_aligned_pieces(elements, size, ranks, spans):
    n = cutting.align(elements, ranks)
    buckets = cutting.cut(n, size, ranks)
    assert [b[0] for b in buckets] + [n] == [0] + [b[1] for b in buckets]  # without gaps
    owner = torch.full((n,), -1)
    for rank in range(ranks):
        end = 0
        for start, stop, shard_start in cutting.owned(buckets, rank, ranks):
            assert shard_start == end
            assert not any(x % cutting.ALIGN for x in (start, stop, shard_start))
            assert (owner[start:stop] == -1).all()
            owner[start:stop] = rank
            end += stop - start
        assert end == n // ranks
    for start, stop in buckets:  # what a reduce-scatter delivers: the r-th of equal pieces to rank r
        assert torch.equal(owner[start:stop], torch.arange(ranks).repeat_interleave((stop - start) // ranks))
    for low, length in spans:
        low, high = low % n, min(low % n + length, n)
        times = torch.zeros(n, dtype=torch.int)
        for rank in range(ranks):
            for first, last, _ in cutting.within(cutting.owned(buckets, rank, ranks), low, high):
                times[first:last] += 1
                assert (owner[first:last] == rank).all()
        assert times[low:high].eq(1).all()
        assert times.sum() == high - low
        bucket = torch.arange(len(buckets)).repeat_interleave(torch.tensor([stop - start for start, stop in buckets]))
        assert cutting.touched(buckets, low, high) == bucket[low:high].unique().tolist()


def test_buckets_grow_with_the_ranks_so_that_a_piece_stays_worth_a_message():
    assert [cutting.bucket_size(d) for d in (1, 96, 288)] == [32 << 20, 32 << 20, 72 << 20]


@pytest.mark.parametrize(("tensor", "data", "bucket"), [(1, 1, 100), (1, 3, SMALL), (2, 1, None), (2, 4, 5000)])
def test_every_layout_starts_from_the_same_weights_and_its_pieces_are_the_whole(tensor, data, bucket):
    expected = whole_weights()
    found = {name: torch.full_like(w, torch.nan) for name, w in expected.items()}
    moments = 0
    for t in range(tensor):
        for d in range(data):  # nothing is communicated here, so one process can be every rank in turn
            groups = Groups(tensor=Group(t, tensor), data=Group(d, data))
            state = build(groups, torch.bfloat16, bucket_elements=bucket)
            for piece in state.pieces("main"):
                assert piece.full == expected[piece.name].shape
                part = found[piece.name][logical_part(piece.name, piece.full, groups.tensor)]
                assert part.shape == piece.local
                local = part.flatten()
                assert (
                    local[piece.start : piece.stop].isnan().all() or part.ndim == 1
                )  # norms come from each tensor rank
                local[piece.start : piece.stop] = piece.data
                part.copy_(local.view_as(part))
            for name, view in state.named("param").items():  # parameters are whole from the start
                for key, local in locals_of(name, view, groups.tensor):
                    part = expected[key][logical_part(key, expected[key].shape, groups.tensor)]
                    assert torch.equal(local, part.bfloat16()), key
            moments += sum(p.data.numel() for p in state.pieces("exp_avg"))
            assert all(g.main.numel() * data == g.param.numel() for g in state.groups)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    norms = sum(w.numel() for w in expected.values() if w.ndim == 1)
    assert moments == sum(w.numel() for w in expected.values()) + (tensor - 1) * norms


def test_a_sharded_buffer_is_not_taken_for_the_whole():
    state = build(Groups(data=Group(1, 2)), torch.bfloat16)
    with pytest.raises(ValueError, match="main is sharded over 2 data-parallel ranks: use full or pieces"):
        state.named("main")


def test_fp32_training_stores_nothing_twice():
    for data, per_parameter in ((1, 16), (2, 12)):
        state = build(Groups(data=Group(0, data)))
        assert state.bytes() == per_parameter * sum(g.param.numel() for g in state.groups)
        assert all(
            m.data_ptr() == p.data_ptr()
            for g in state.groups
            for m, p in zip(g.pieces("main"), g.pieces("param"), strict=True)
        )


@cache
def whole_weights() -> dict[str, torch.Tensor]:
    state = build(Groups())
    for w in state.named("main").values():
        if w.ndim == 1:
            assert not w.any()  # norms start at 0
    return {key: w for name, main in state.named("main").items() for key, w in logical(name, main, SHAPE)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_process_trains_to_the_same_bits_however_the_buffers_are_cut(dtype):
    tokens = torch.randint(0, SHAPE.vocab_size, (2, 32), generator=torch.Generator().manual_seed(1))
    results = []
    for bucket in (None, 1, SMALL):
        state = build(Groups(), dtype, bucket_elements=bucket)
        for step in (1, 2):
            state.zero_grad()
            state.reducer.last_micro_batch()
            state.model.loss(tokens, tokens.roll(-1, dims=1), 1 / 64)[0].backward()
            norm = optimizer_step(state, registry.load("cpu"), AdamW(), 1e-3, step)
        results.append([norm, *(w for kind in KINDS for w in state.named(kind).values())])
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))
