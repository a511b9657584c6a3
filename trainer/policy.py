"""The policy for bad steps: what is done with a loss or gradient norm that is no number, and with a spike of the loss.

    no number   the loss or the gradient norm (before clipping) is not finite
    spike       loss > spike_factor * median of the losses of the last 64 steps that were taken; not judged before 16

Judged after the backward and before the optimizer, from figures that are the same on every rank. `skip`: nothing is
stepped, AdamW's own count stays, the samples count as consumed and the run goes on with the next ones; a skipped step
is a step in every other respect (schedule, metrics, checkpoints). More than `max_skips` skipped in a row stop the run,
since it is no longer the data. `stop` ends the run at once; checkpoints before it are untouched. The losses and counts
that judge are part of a checkpoint, so a resumed run decides as an uninterrupted one would.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any

from gristmill.trainer.config.keys import Instability
from gristmill.trainer.errors import TrainerError

WINDOW, FEWEST = 64, 16
"""Steps whose median a loss is compared with, and how many there must be."""


class Judge:
    """Knows the last losses and how many steps were skipped: in all, and in a row."""

    def __init__(self, settings: Instability, remembered: dict[str, Any] | None = None):
        """remembered: what `memory` gave when the checkpoint was saved."""
        held = remembered or {"losses": [], "skipped": 0, "in_a_row": 0}
        self._settings = settings
        self._losses: deque[float] = deque(held["losses"], maxlen=WINDOW)
        self.skipped, self._in_a_row = held["skipped"], held["in_a_row"]

    def memory(self) -> dict[str, Any]:
        """For a checkpoint; JSON keeps it exactly."""
        return {"losses": list(self._losses), "skipped": self.skipped, "in_a_row": self._in_a_row}

    def verdict(self, step: int, loss: float, norm: float) -> str | None:
        """None: take the step. A text: skip it, for this reason. TrainerError: stop. step: its number, from 1."""
        trouble, action = self._trouble(loss, norm)
        if trouble is None or action == "ignore":
            self._losses.append(loss)
            self._in_a_row = 0
            return None
        advice = f"look at the batch with --replay {step}; the checkpoints before it are untouched"
        if action == "stop":
            raise TrainerError(f"step {step}: {trouble}: lower the learning rate, set instability to skip, or {advice}")
        if self._in_a_row == self._settings.max_skips:
            raise TrainerError(
                f"step {step}: {trouble}, after {self._in_a_row} skipped steps in a row: lower the learning rate, "
                f"or {advice}"
            )
        self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
        return trouble

    def _trouble(self, loss: float, norm: float) -> tuple[str | None, str]:
        if not math.isfinite(loss) or not math.isfinite(norm):
            return f"the loss is {loss} and the gradient norm {norm}", self._settings.nan
        if len(self._losses) >= FEWEST:
            median = statistics.median(self._losses)
            if loss > self._settings.spike_factor * median:
                return f"the loss {loss:.4f} is a spike over the median {median:.4f}", self._settings.spike
        return None, "take"
