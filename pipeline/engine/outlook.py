"""How far a run is: "step 5 of 23", and about how many seconds it has left.

The steps that the plan foresees are a list; a step that comes takes itself and those before it off the list, so that
one that never comes is not waited for, and one that nobody foresaw counts too. Seconds left are the predicted ones of
the steps to come, times what the steps so far took compared to their predictions. Of the step under way, the share of
tasks done says how long it has left, or before the first task is done, its prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TRUST_S = 5.0
"""So many seconds count as having gone as predicted, so that the first short step does not decide the scale."""

OVERDUE = 0.1
"""A step that is past its prediction is taken to have this share of its time so far ahead of it: nothing better is
known."""


@dataclass
class Current:
    """The step under way."""

    name: str
    tasks: int
    found: int
    """Tasks that an earlier run had committed."""
    began: float
    """Monotonic seconds."""
    predicted: float = 0.0
    """Seconds, of the tasks that are left to do."""
    done: int = 0
    """Tasks, those found included."""


@dataclass
class Outlook:
    """Fed with what happens, in the order in which it happens. `now` is monotonic seconds."""

    ahead: dict[str, float] = field(default_factory=dict)
    """Step to come -> its predicted seconds, in order."""
    after_s: float = 0.0
    """Predicted seconds after the last step."""
    foreseen: bool = False
    began: float = 0.0
    over: int = 0
    """Steps that are over."""
    current: Current | None = None
    took: float = 0.0
    expected: float = 0.0
    """Seconds of the steps that were computed, as measured and as predicted."""

    def foresee(self, steps: Mapping[str, float], after_s: float, now: float) -> None:
        self.ahead = dict(steps)
        self.began = now
        self.after_s = after_s
        self.foreseen = bool(steps)

    @property
    def number(self) -> int:
        """Of the step under way, or of the one that has just ended."""
        return self.over + (self.current is not None)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.number + len(self.ahead)

    @property
    def place(self) -> str:
        """'step 5 of 23'; without a plan 'step 5'."""
        return f"step {self.number} of {self.steps}" if self.foreseen else f"step {self.number}"

    def start(self, step: str, tasks: int, found: int, now: float) -> None:
        left = 1 - found / tasks if tasks else 0.0
        self.current = Current(step, tasks, found, now, self._take(step) * left, found)

    def advance(self) -> None:
        if self.current is not None:
            self.current.done += 1

    def finish(self, step: str, now: float) -> None:
        """A step is over; it was not computed in this run where it has not been started."""
        if self.current is None:
            self._take(step)
        elif self.current.predicted:
            self.took += now - self.current.began
            self.expected += self.current.predicted
        self.current = None
        self.over += 1

    def share(self, now: float) -> float:
        """Of the whole run that is done, by time; without a plan, of the step's tasks. 0 to 1."""
        left = self.seconds_left(now)
        if left is not None:
            spent = max(0.0, now - self.began)
            return spent / (spent + left) if spent else 0.0
        return self.current.done / self.current.tasks if self.current and self.current.tasks else 0.0

    def _take(self, step: str) -> float:
        """Predicted seconds of a step that has come."""
        if step not in self.ahead:
            return 0.0
        while True:
            name = next(iter(self.ahead))
            seconds = self.ahead.pop(name)
            if name == step:
                return seconds

    def seconds_left(self, now: float) -> float | None:
        """Of the whole run; None where nothing was predicted."""
        if not self.foreseen:
            return None
        took, expected, left = self.took, self.expected, 0.0
        if self.current is not None:
            spent = now - self.current.began
            scale = (took + TRUST_S) / (expected + TRUST_S)
            computed = self.current.done - self.current.found
            if computed > 0:
                left = spent * (self.current.tasks - self.current.done) / computed
            else:
                left = max(self.current.predicted * scale - spent, OVERDUE * spent)
            if spent > self.current.predicted * scale:  # what is slow here is likely slow in the steps to come
                took, expected = took + spent, expected + self.current.predicted
        scale = (took + TRUST_S) / (expected + TRUST_S)
        return left + scale * (sum(self.ahead.values()) + self.after_s)
