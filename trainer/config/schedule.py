"""Batch, learning rate and phase of every step, as functions of tokens alone.

    cosine: lr(c) = final + (peak - final) (1 + cos(pi (c - w) / (n - w))) / 2    (Loshchilov and Hutter 2017)
    warm-up: lr(c) = peak c / w  for c < w

c: tokens consumed before the step, counted from the start of the curve's first phase; w: warm-up tokens; n: tokens
of all phases that share the curve. A step takes phase, batch and rate at c; what it overshoots carries into the
next phase. There is no state: step k and the step at any number of samples follow by arithmetic over the ramp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.trainer.config.keys import LearningRate, Phase


@dataclass(frozen=True)
class Step:
    """What one step does: samples first_sample .. first_sample + sequences - 1 of `phase`, at `learning_rate`."""

    index: int  # from 0
    phase: int
    first_sample: int
    sequences: int
    learning_rate: float


@dataclass(frozen=True)
class _Stretch:
    """A span of tokens with one phase and one batch size."""

    start: int
    end: int
    phase: int
    sequences: int


class Schedule:
    """The schedule of a run. sequence: tokens per sample."""

    def __init__(self, phases: Sequence[Phase], sequence: int):
        self.phases = tuple(phases)
        self.sequence = sequence
        self.total_tokens = sum(phase.tokens for phase in phases)
        self.stretches = _stretches(self.phases)
        self._curves = _curves(self.phases)
        self._entries = self._walk()  # per stretch: (first step, first sample) of the steps that start in it

    @property
    def total_steps(self) -> int:
        return self._entries[-1][0]

    @property
    def total_samples(self) -> int:
        return self._entries[-1][1]

    def first_sample(self, phase: int) -> int:
        """Sample at which a phase's first step starts, where its blend begins to count; past the last, all samples."""
        return next((e[1] for s, e in zip(self.stretches, self._entries) if s.phase == phase), self.total_samples)

    def at(self, samples: int) -> Step | None:
        """The step after `samples` samples, None at the end; its index counts this schedule's steps."""
        tokens = samples * self.sequence
        for stretch, (first_step, first_sample) in zip(self.stretches, self._entries, strict=False):
            if stretch.start <= tokens < stretch.end:
                index = first_step + (samples - first_sample) // stretch.sequences
                return Step(index, stretch.phase, samples, stretch.sequences, self.learning_rate(tokens))
        return None

    def boundary(self, tokens: int) -> int:
        """Samples consumed at the first step boundary at or after `tokens` tokens."""
        for i, stretch in enumerate(self.stretches):
            first_sample, after = self._entries[i][1], self._entries[i + 1][1]
            if tokens <= after * self.sequence:
                steps = max(0, -(-(tokens - first_sample * self.sequence) // (stretch.sequences * self.sequence)))
                return first_sample + steps * stretch.sequences
        return self.total_samples

    def step(self, index: int) -> Step | None:
        """Step `index` (from 0), None past the end."""
        for i, stretch in enumerate(self.stretches):
            first_step, first_sample = self._entries[i]
            if first_step <= index < self._entries[i + 1][0]:
                return self.at(first_sample + (index - first_step) * stretch.sequences)
        return None

    def learning_rate(self, tokens: int) -> float:
        """The rate after `tokens` tokens; past the end, the last phase's final one."""
        start, end, curve = next((c for c in self._curves if c[0] <= tokens < c[1]), self._curves[-1])
        done = min(tokens, end) - start
        if done < curve.warmup_tokens:
            return curve.peak * done / curve.warmup_tokens
        if curve.curve == "constant":
            return curve.peak
        fraction = (done - curve.warmup_tokens) / max(1, end - start - curve.warmup_tokens)
        part = (1 + math.cos(math.pi * fraction)) / 2 if curve.curve == "cosine" else 1 - fraction
        return curve.final + (curve.peak - curve.final) * part

    def _walk(self) -> list[tuple[int, int]]:
        entries, step, sample = [], 0, 0
        for stretch in self.stretches:
            entries.append((step, sample))
            steps = max(0, -(-(stretch.end - sample * self.sequence) // (stretch.sequences * self.sequence)))
            step, sample = step + steps, sample + steps * stretch.sequences
        return [*entries, (step, sample)]


def _stretches(phases: tuple[Phase, ...]) -> list[_Stretch]:
    out, start = [], 0
    for index, phase in enumerate(phases):
        end = start + phase.tokens
        at = start
        for i, batch in enumerate(phase.batch_ramp):
            last = i == len(phase.batch_ramp) - 1
            until = end if last or batch.tokens is None else min(end, at + batch.tokens)
            if until > at:
                out.append(_Stretch(at, until, index, batch.sequences))
            at = until
        start = end
    return out


def _curves(phases: tuple[Phase, ...]) -> list[tuple[int, int, LearningRate]]:
    curves: list[tuple[int, int, LearningRate]] = []
    start = 0
    for phase in phases:
        end = start + phase.tokens
        if phase.learning_rate is not None:
            curves.append((start, end, phase.learning_rate))
        else:
            first, _, curve = curves[-1]
            curves[-1] = (first, end, curve)
        start = end
    return curves
