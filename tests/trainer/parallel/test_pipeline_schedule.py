"""The interleaved 1F1B schedule, for pipelines of any size: order, memory, idle time, no deadlock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.trainer.parallel.pipeline_schedule import (
    BACKWARD_TIME,
    FORWARD_TIME,
    bubble,
    in_flight,
    problem,
    programs,
    schedule,
    source,
    start_times,
)


@st.composite
def pipelines(draw) -> tuple[int, int, int]:
    """(stages, virtual, micro-batches) that are possible."""
    stages = draw(st.integers(1, 7))
    virtual = draw(st.integers(1, 5)) if stages > 1 else 1
    batches = stages * draw(st.integers(1, 4)) if virtual > 1 else draw(st.integers(1, 20))
    return stages, virtual, batches


@given(pipelines())
@settings(deadline=None, max_examples=150)
def test_every_micro_batch_passes_every_chunk_once_each_way_within_the_bound_on_memory(sizes):
    stages, virtual, batches = sizes
    for rank in range(stages):
        actions = schedule(rank, stages, virtual, batches)
        assert len(actions) == len(set(actions)) == 2 * virtual * batches
        held, most = set(), 0
        for kind, chunk, batch in actions:
            assert ((chunk, batch) in held) == (kind == "B")
            held ^= {(chunk, batch)}
            most = max(most, len(held))
        assert not held
        ahead = stages - 1 - rank if virtual == 1 else 2 * (stages - 1 - rank) + (virtual - 1) * stages
        assert most == min(ahead + 1, virtual * batches) == in_flight(rank, stages, virtual, batches)
        for chunk in range(virtual):  # gradients are added in the order of the micro-batches
            assert [a.micro_batch for a in actions if a[:2] == ("B", chunk)] == list(range(batches))
        assert schedule(rank, stages, virtual, batches, backward=False) == [a for a in actions if a.kind == "F"]


def test_the_order_of_a_small_pipeline_written_out():
    """Two ranks of two chunks, four micro-batches: kind, chunk, micro-batch (the rule of Narayanan et al. 2021)."""
    orders = [" ".join(f"{kind}{chunk}{batch}" for kind, chunk, batch in schedule(rank, 2, 2, 4)) for rank in (0, 1)]
    assert orders == [
        "F00 F01 F10 F11 F02 B10 F03 B11 F12 B00 F13 B01 B12 B13 B02 B03",
        "F00 F01 F10 B10 F11 B11 F02 B00 F03 B01 F12 B12 F13 B13 B02 B03",
    ]


@given(pipelines())
@settings(deadline=None, max_examples=100)
def test_no_rank_idles_longer_than_the_bubble(sizes):
    stages, virtual, batches = sizes
    times = {"F": FORWARD_TIME, "B": BACKWARD_TIME}
    end = max(start + times[action.kind] for (_, action), start in start_times(*sizes).items())
    work = virtual * batches * (FORWARD_TIME + BACKWARD_TIME)
    assert end == pytest.approx(work * (1 + bubble(stages, virtual, batches)))


@given(pipelines(), st.booleans(), st.integers(0, 6))
@settings(deadline=None, max_examples=100)
def test_programs_run_to_the_end_even_if_every_transfer_blocks_both_sides(sizes, backward, more):
    """A send returns when the other side is in its receive, and the other way round: nothing is buffered."""
    stages, virtual, batches = sizes
    batches += 0 if backward else more  # forwards alone may be any number
    waiting = [list(program)[::-1] for program in programs(stages, virtual, batches, backward)]
    ran: set[Any] = set()
    came: set[Any] = set()
    while any(waiting):
        progress = False
        for rank, operations in enumerate(waiting):
            while operations and operations[-1].what == "run":
                action = operations.pop().action
                origin = source(rank, action, stages, virtual)
                assert origin is None or (rank, action) in came
                ran.add((rank, action))
                progress = True
            if operations and operations[-1].what == "receive":
                sender, made = source(rank, operations[-1].action, stages, virtual)
                if waiting[sender] and waiting[sender][-1] == ("send", made):
                    assert (sender, made) in ran
                    waiting[sender].pop()
                    came.add((rank, operations.pop().action))
                    progress = True
        assert progress, waiting
    assert len(ran) == stages * virtual * batches * (2 if backward else 1)


def test_what_cannot_be_scheduled_is_said_in_one_sentence():
    assert problem(4, 1, 3) is None
    assert problem(4, 2, 8) is None
    assert problem(4, 2, 6, backward=False) is None
    assert problem(4, 2, 6) == (
        "6 micro-batches per step and data-parallel rank are no multiple of the 4 pipeline ranks, which interleaving "
        "(virtual_stages 2) needs: change batch_ramp, micro_batch_size or parallel.data, or set "
        "parallel.virtual_stages to 1"
    )
    assert "there is one: set it to 1" in problem(1, 2, 8)
    with pytest.raises(ValueError, match="no multiple of the 4 pipeline ranks"):
        schedule(0, 4, 2, 6)
