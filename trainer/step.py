"""One training step on this rank: its micro-batches forward and backward, figures all ranks agree on, the optimizer.

The scale of the loss, 1 / tokens of the whole step, goes into the loss kernel, so gradients add up over micro-batches
and ranks in `main_grad` and need no division. Before the optimizer one small all-reduce in fp64 gives every rank the
loss, the losses and tokens of each domain, and how many ranks were asked to stop; so all decide alike whether the step
is taken, skipped, or the last one. A label's loss belongs to the domain of the document that the label lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gristmill.trainer.config.schedule import Step
from gristmill.trainer.data.feed import Feed, shares
from gristmill.trainer.data.loader import Samples
from gristmill.trainer.optimizer import gradient_norm, optimizer_step
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.pipeline import MicroBatch, run_micro_batches
from gristmill.trainer.setup import Built, Run


@dataclass(frozen=True)
class Figures:
    """Of one step, the same on every rank but for `data_wait_s`."""

    loss: float  # nats per token
    domains: dict[str, float]  # the same of each domain that has tokens in the step
    norm: float  # of the gradients, before clipping
    skipped: str | None  # why the optimizer did not step
    stop: bool  # some rank was asked to
    data_wait_s: float


def run_step(
    run: Run,
    built: Built,
    feed: Feed,
    step: Step,
    optimizer_number: int,
    verdict: Callable[[float, float], str | None] = lambda loss, norm: None,
    asked: Callable[[], bool] = lambda: False,
) -> Figures:
    """Consumes the step's micro-batches from `feed` and updates the state.

    optimizer_number: AdamW's step, from 1. verdict(loss, norm): None takes the step, a reason skips the optimizer.
    asked: whether this rank was asked to stop, which all learn.
    """
    state, config = built.state, run.config
    state.zero_grad()
    feed.waited_s = 0.0
    count = len(shares(step, run.groups.data, config.micro_batch_size))
    domains: list[Tensor] = []
    scale = 1.0 / (step.sequences * run.schedule.sequence)
    batches = _micro_batches(feed, count, config.data.documents == "separate", built.device, domains)
    loss, token_losses = run_micro_batches(built.chunks, batches, count, scale, run.groups, state.reducer)
    total, of_domains, stopping = _agree(run, built.device, loss, token_losses, domains, asked())
    norm = gradient_norm(state, built.ops)
    skipped = verdict(total, norm.item())
    if skipped is None:
        optimizer_step(state, built.ops, config.optimizer, step.learning_rate, optimizer_number, norm)
    return Figures(total, of_domains, norm.item(), skipped, stopping, feed.waited_s)


def _micro_batches(
    feed: Feed, count: int, separate: bool, device: torch.device, domains: list[Tensor]
) -> Iterator[MicroBatch]:
    """The step's micro-batches on the device; appends each one's domains, int16 [T], to `domains`."""

    def there(array) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor

    for _ in range(count):
        samples: Samples = feed.take()
        domains.append(there(samples.domains).reshape(-1))
        layout = (there(samples.positions), there(samples.cu_seqlens)) if separate else (None, None)
        yield MicroBatch(there(samples.tokens), there(samples.labels), *layout)


def _agree(
    run: Run,
    device: torch.device,
    loss: Tensor | None,
    token_losses: list[Tensor],
    domains: list[Tensor],
    stop: bool,
) -> tuple[float, dict[str, float], bool]:
    """Loss, loss of each domain, whether a rank was asked to stop: sums over the ranks, each data rank's part once."""
    names = run.loader.domains
    figures = torch.zeros(2 + 2 * len(names), dtype=torch.float64, device=device)
    figures[0] = float(stop)
    if loss is not None and run.groups.tensor.rank == 0:
        figures[1] = loss
        for losses, codes in zip(token_losses, domains, strict=True):
            for i in range(len(names)):  # sums in a fixed order, which a scatter on a GPU has not
                mine = codes == i
                figures[2 + i] += losses.where(mine, 0.0).sum(dtype=torch.float64)
                figures[2 + len(names) + i] += mine.sum()
    collectives.all_reduce(figures, run.groups.world, "world.figures")
    asked, total, *rest = figures.tolist()
    sums = zip(names, rest[: len(names)], rest[len(names) :], strict=True)
    return total, {name: value / tokens for name, value, tokens in sums if tokens}, asked > 0
