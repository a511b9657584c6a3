"""The training curve from the trainer's metrics.jsonl, in memory that does not grow with the run.

Lines are events: `start` (parameters, unigram_entropy), `step` (tokens, loss, learning_rate, grad_norm, tokens_per_s)
and `evaluation`. When more than MAX_POINTS steps have been read, neighbours are joined two by two: tokens of the later
one, means weighted by steps, the least and the greatest loss. The trainer is not imported: the file is the contract.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from gristmill.storage.store import Store

NAME = "metrics.jsonl"
FOLDERS = ("train", "training")
MAX_POINTS = 1024


class Start(TypedDict, total=False):
    event: str
    parameters: int
    unigram_entropy: float


class StepEvent(TypedDict):
    step: int
    tokens: int
    loss: float
    learning_rate: NotRequired[float]
    grad_norm: NotRequired[float]
    tokens_per_s: NotRequired[float]
    seconds: NotRequired[float]


class Evaluation(TypedDict, total=False):
    """Of the held-out text, or of one domain of it."""

    loss: float
    """Nats a token."""
    bits_per_byte: float
    tokens: int
    domains: dict[str, Evaluation]


@dataclass(frozen=True)
class Point:
    """Some steps in a row."""

    tokens: int
    steps: int
    loss: float
    least: float
    greatest: float
    learning_rate: float
    grad_norm: float
    tokens_per_s: float

    def join(self, after: Point) -> Point:
        steps = self.steps + after.steps

        def mean(name: str) -> float:
            return (getattr(self, name) * self.steps + getattr(after, name) * after.steps) / steps

        return Point(
            after.tokens,
            steps,
            mean("loss"),
            min(self.least, after.least),
            max(self.greatest, after.greatest),
            mean("learning_rate"),
            mean("grad_norm"),
            mean("tokens_per_s"),
        )


@dataclass
class Training:
    path: str
    others: tuple[str, ...] = ()
    start: Start = field(default_factory=Start)
    points: list[Point] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    last_loss: float = math.nan


def find(store: Store, training: str | None) -> tuple[Store, list[str]]:
    """Where to look and the metrics files there. ValueError where a folder was named and has none."""
    if training is None:
        return store, [p for folder in FOLDERS for p in store.files(folder) if p.endswith(f"/{NAME}")]
    folder, _, last = training.rstrip("/").rpartition("/")
    place = Store(folder or "/" if last == NAME else training)
    found = [path for path in place.files() if path.rsplit("/", 1)[-1] == NAME]
    if not found:
        raise ValueError(f"{training}: no {NAME} there; give the logging.directory of a training run")
    return place, found


def read(store: Store, paths: list[str]) -> Training | None:
    """The run with the most tokens; None where none has a step."""
    runs = [run for run in (_read(store, path) for path in paths) if run.points]
    if not runs:
        return None
    longest = max(runs, key=lambda run: run.points[-1].tokens)
    longest.others = tuple(run.path for run in runs if run is not longest)
    return longest


def _read(store: Store, path: str) -> Training:
    run = Training(path)
    width = 1  # steps to a point
    waiting: Point | None = None
    for event in _events(store, path):
        kind = event.get("event", "step" if "loss" in event else "start")
        if kind == "start":
            run.start.update(event)
        elif kind == "evaluation":
            run.evaluations.append(event)
        elif kind == "step":
            point = _point(event)
            run.steps, run.last_loss = int(event["step"]), point.loss
            run.seconds += float(event.get("seconds", 0.0))
            waiting = waiting.join(point) if waiting else point
            if waiting.steps >= width:
                run.points.append(waiting)
                waiting = None
            if len(run.points) >= MAX_POINTS:
                run.points = [a.join(b) for a, b in zip(run.points[::2], run.points[1::2], strict=True)]
                width *= 2
    if waiting:
        run.points.append(waiting)
    return run


def _events(store: Store, path: str) -> Iterator[Any]:
    """Complete lines; the last one may be half written by a run that is still going."""
    import io

    with store.open_input(path) as handle, io.TextIOWrapper(io.BufferedReader(handle), "utf-8") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _point(event: StepEvent) -> Point:
    loss = float(event["loss"])
    return Point(
        int(event["tokens"]),
        1,
        loss,
        loss,
        loss,
        float(event.get("learning_rate", 0.0)),
        float(event.get("grad_norm", 0.0)),
        float(event.get("tokens_per_s", 0.0)),
    )
