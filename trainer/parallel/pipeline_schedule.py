"""Interleaved 1F1B: in which order a pipeline rank runs forwards, backwards, sends and receives (pure functions).

Narayanan et al. 2021 (arXiv 2104.04473), section 2.2. A model is cut into p * v chunks; rank r of p holds chunks
r, p + r, 2p + r ...; m micro-batches pass through all of them. Forwards go through a rank's chunks p micro-batches at
a time, backwards in the same order through the chunks from the last to the first. A rank runs `warm_up` forwards,
then one forward and one backward by turns, then the backwards that are left:

    warm-up of rank r       v = 1: p - 1 - r        v > 1: 2 (p - 1 - r) + (v - 1) p
    in flight on rank r     min(warm-up + 1, v m)   pairs (chunk, micro-batch) forwarded and not yet backpropagated
    bubble                  (p - 1) / (v m)         idle time over working time, where all chunks take equal time

The 2 for v > 1 gives a message one forward and backward's time to arrive, at p - 1 - r more micro-batches in flight.

A rank's program also has its sends and receives. All events of all ranks are put in one order that respects what
waits for what, and a program is that order as seen by one rank. Hence no deadlock, even where a send returns only
when the other side receives and where a rank's transfers run one after the other: the first unfinished event of the
common order can always go on. A receive stands where its sender begins to compute what it will send, so that it is
waiting, a whole forward or backward ahead, when the data comes.

No tensors and no torch here; `trainer.parallel.pipeline` runs the programs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

FORWARD_TIME, BACKWARD_TIME = 1, 2
"""Of a chunk, in any unit: a backward has two matrix products for each of the forward. Order depends on the ratio."""


class Action(NamedTuple):
    """The forward ("F") or backward ("B") of one micro-batch through one of this rank's chunks, numbered from 0."""

    kind: Literal["F", "B"]
    chunk: int
    micro_batch: int


class Operation(NamedTuple):
    """ "run" an action, "send" what it made to the rank that needs it, or "receive" (start to) what it needs."""

    what: Literal["run", "send", "receive"]
    action: Action


def problem(stages: int, virtual: int, micro_batches: int, backward: bool = True) -> str | None:
    """One sentence on why `micro_batches` cannot go through `stages` ranks with `virtual` chunks each, or None.

    Forwards alone may be any number.
    """
    if stages == 1 and virtual > 1:
        return f"parallel.virtual_stages {virtual} is for several pipeline ranks and there is one: set it to 1"
    if backward and virtual > 1 and micro_batches % stages:
        return (
            f"{micro_batches:,} micro-batches per step and data-parallel rank are no multiple of the {stages} "
            f"pipeline ranks, which interleaving (virtual_stages {virtual}) needs: change batch_ramp, micro_batch_size "
            "or parallel.data, or set parallel.virtual_stages to 1"
        )
    return None


def bubble(stages: int, virtual: int, micro_batches: int) -> float:
    """Idle time over working time of a step: (p - 1) / (v m)."""
    return (stages - 1) / (virtual * micro_batches)


def warm_up(rank: int, stages: int, virtual: int, micro_batches: int) -> int:
    """Forwards of `rank` before its first pair of forward and backward."""
    after = stages - 1 - rank
    wanted = after if virtual == 1 else 2 * after + (virtual - 1) * stages
    return min(wanted, virtual * micro_batches)


def in_flight(rank: int, stages: int, virtual: int, micro_batches: int) -> int:
    """Most (chunk, micro-batch) pairs that `rank` holds activations of at any time."""
    return min(warm_up(rank, stages, virtual, micro_batches) + 1, virtual * micro_batches)


def schedule(rank: int, stages: int, virtual: int, micro_batches: int, backward: bool = True) -> list[Action]:
    """All of rank's actions in order; backward=False: the forwards only, for evaluation. ValueError: `problem`."""
    if trouble := problem(stages, virtual, micro_batches, backward):
        raise ValueError(trouble)
    turn = stages if virtual > 1 else micro_batches  # micro-batches through a chunk before the next chunk's turn
    forwards = [
        Action("F", chunk, first + i)
        for first in range(0, micro_batches, turn)
        for chunk in range(virtual)
        for i in range(min(turn, micro_batches - first))
    ]
    if not backward:
        return forwards
    backwards = [Action("B", virtual - 1 - chunk, micro_batch) for _, chunk, micro_batch in forwards]
    ahead = warm_up(rank, stages, virtual, micro_batches)
    steady = [action for pair in zip(forwards[ahead:], backwards, strict=False) for action in pair]
    return [*forwards[:ahead], *steady, *backwards[len(backwards) - ahead :]]


def source(rank: int, action: Action, stages: int, virtual: int) -> tuple[int, Action] | None:
    """(rank, action) that makes what `action` on `rank` takes from another rank; None for what starts from tokens or
    from the loss."""
    step = -1 if action.kind == "F" else 1
    chunk = action.chunk * stages + rank + step  # of the whole model
    if stages == 1 or not 0 <= chunk < stages * virtual:
        return None
    return chunk % stages, action._replace(chunk=chunk // stages)


@lru_cache(maxsize=64)
def programs(stages: int, virtual: int, micro_batches: int, backward: bool = True) -> tuple[tuple[Operation, ...], ...]:
    """rank -> its operations in order, for all ranks; the same on every rank that asks."""
    starts = start_times(stages, virtual, micro_batches, backward)
    events: list[tuple[int, int, int, Action]] = []  # (time, 0 run or 1 message, rank that runs or receives, action)
    for (rank, action), time in starts.items():
        events.append((time, 0, rank, action))
        if origin := source(rank, action, stages, virtual):
            events.append((starts[origin], 1, rank, action))
    out: list[list[Operation]] = [[] for _ in range(stages)]
    for _, message, rank, action in sorted(events):
        if not message:
            out[rank].append(Operation("run", action))
            continue
        sender, made_by = source(rank, action, stages, virtual)  # type: ignore[misc]  # not None: it is a message
        out[sender].append(Operation("send", made_by))
        out[rank].append(Operation("receive", action))
    return tuple(map(tuple, out))


def start_times(stages: int, virtual: int, micro_batches: int, backward: bool = True) -> dict[tuple[int, Action], int]:
    """(rank, action) -> when it starts if every action runs as soon as its rank is free and its input made, and
    messages take no time."""
    waiting = [schedule(rank, stages, virtual, micro_batches, backward)[::-1] for rank in range(stages)]
    free = [0] * stages
    starts: dict[tuple[int, Action], int] = {}
    ends: dict[tuple[int, Action], int] = {}
    while any(waiting):
        before = len(starts)
        for rank, actions in enumerate(waiting):
            while actions:
                origin = source(rank, actions[-1], stages, virtual)
                if origin is not None and origin not in ends:
                    break
                action = actions.pop()
                start = max(free[rank], ends[origin] if origin else 0)
                free[rank] = start + (FORWARD_TIME if action.kind == "F" else BACKWARD_TIME)
                starts[rank, action], ends[rank, action] = start, free[rank]
        if len(starts) == before:
            raise AssertionError(f"no rank can go on: {[actions[-1] for actions in waiting if actions]}")
    return starts
