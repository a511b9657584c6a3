"""What a run says to a monitoring system while it goes on: `metrics.prom`, Prometheus text exposition format 0.0.4.

`Metrics` stands between the engine and another `Progress` and keeps an entry a step: tasks, seconds, bytes written,
the accounting by stage and rule. While a step runs its counts are those of the tasks that this run has committed; once
it is finished they are the whole step's, with what was found done before. The file is replaced in one move, at every
start and finish of a step and at most every INTERVAL_S seconds in between; node_exporter's textfile collector reads it
as it is. Memory: steps x stages x rules, nothing per task. A file that cannot be written never stops a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.engine import Foreseeing, Progress
from gristmill.pipeline.engine.manifest import Manifest, Reported, Sealed
from gristmill.pipeline.engine.outlook import Outlook
from gristmill.pipeline.engine.under_way import Amount
from gristmill.storage.store import Store

PATH = "metrics.prom"
INTERVAL_S = 5.0
"""Least seconds between two files while tasks of one step finish: below Prometheus' usual scrape interval of 15 s."""

STEP = {
    "step_tasks": ("gauge", "Tasks of the step."),
    "step_tasks_done": ("gauge", "Tasks of the step that are committed, those of earlier runs included."),
    "step_tasks_reused": ("gauge", "Tasks of the step that an earlier run had committed."),
    "step_finished": ("gauge", "1 when all tasks of the step have ended, 0 while it runs."),
    "step_seconds": ("gauge", "Wall-clock seconds that this run has spent in the step."),
    "step_written_bytes": ("gauge", "Bytes of the files that the step's tasks have committed."),
}
"""Metrics of a step: name after `gristmill_` -> (type, help)."""

STAGE = {
    "documents_in": ("documents_in", "Documents that the stage took in."),
    "documents_split": ("split", "Documents that the stage made from others."),
    "documents_kept": ("kept", "Documents that the stage kept."),
    "documents_merged": ("merged", "Documents that the stage joined to others."),
    "documents_dropped": ("dropped", "Documents that the stage dropped."),
    "documents_quarantined": ("quarantined", "Documents whose input was unusable."),
    "bytes_in": ("bytes_in", "Bytes of text, of raw pages before extraction, that the stage took in."),
    "bytes_kept": ("bytes_kept", "Bytes of text that the stage kept."),
    "bytes_dropped": ("bytes_dropped", "Bytes of text of the documents that the stage dropped."),
}
"""Metrics of a stage: name after `gristmill_stage_` -> (field of `Counts`, help)."""


@dataclass
class _Step:
    """What is known of one step."""

    tasks: int
    done: int
    reused: int
    began: float | None = None  # monotonic; None: finished
    seconds: float = 0.0
    written: int = 0
    counts: dict[str, Counts] = field(default_factory=dict)

    def add(self, manifest: Manifest[Reported]) -> None:
        self.written += sum(file.bytes for file in manifest.files)
        for stage, counts in manifest.counts.items():
            self.counts.setdefault(stage, Counts()).add(counts)


class Metrics:
    """A `Progress` that writes `metrics.prom` below `store` and passes everything on to `progress`."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store = store
        self.progress = progress
        self.steps: dict[str, _Step] = {}
        self.outlook = Outlook()
        self.started = time.time()
        self.written = float("-inf")

    def foresee(self, steps: Mapping[str, float], after_s: float, running: Callable[[], Amount]) -> None:
        self.outlook.foresee(steps, after_s, time.monotonic())
        if isinstance(self.progress, Foreseeing):
            self.progress.foresee(steps, after_s, running)

    def start(self, step: str, tasks: int, done: int) -> None:
        self.progress.start(step, tasks, done)
        self.outlook.start(step, tasks, done, time.monotonic())
        self.steps[step] = _Step(tasks, done, done, time.monotonic())
        self.write()

    def advance(self, step: str, manifest: Manifest[Reported]) -> None:
        self.progress.advance(step, manifest)
        self.outlook.advance()
        entry = self.steps.get(step)
        if entry is None:
            return
        entry.done += 1
        entry.add(manifest)
        if time.monotonic() - self.written >= INTERVAL_S:
            self.write()

    def finish(self, sealed: Sealed[Reported]) -> None:
        self.progress.finish(sealed)
        self.outlook.finish(sealed.name, time.monotonic())
        entry = _Step(len(sealed.manifests), 0, sealed.reused, seconds=sealed.seconds)
        for _, manifest in sealed.done():
            entry.done += 1
            entry.add(manifest)
        self.steps[sealed.name] = entry
        self.write()

    def write(self) -> None:
        """Replaces the file; whatever goes wrong in that is no reason to stop a run."""
        self.written = time.monotonic()
        with suppress(Exception):
            self.store.write(PATH, self.text().encode())

    def text(self) -> str:
        """The file: HELP and TYPE once a metric, samples in order of the steps."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        now = time.monotonic()
        yield from _head("run_info", "gauge", "The run: version of gristmill and where it writes.")
        yield _sample("run_info", {"version": _version(), "output": self.store.shown}, 1)
        yield from _head("run_started_timestamp_seconds", "gauge", "When the run started, seconds since 1970.")
        yield _sample("run_started_timestamp_seconds", {}, round(self.started, 3))
        yield from _head("run_updated_timestamp_seconds", "gauge", "When this file was written, seconds since 1970.")
        yield _sample("run_updated_timestamp_seconds", {}, round(time.time(), 3))
        yield from self._run_lines(now)
        values = {name: _step_values(entry, now) for name, entry in self.steps.items()}
        for metric, (kind, text) in STEP.items():
            yield from _head(metric, kind, text)
            yield from (_sample(metric, {"step": name}, found[metric]) for name, found in values.items())
        stages = [
            ({"step": step, "stage": stage}, counts)
            for step, entry in self.steps.items()
            for stage, counts in entry.counts.items()
        ]
        for name, (column, text) in STAGE.items():
            yield from _head(f"stage_{name}", "gauge", text)
            yield from (_sample(f"stage_{name}", labels, getattr(counts, column)) for labels, counts in stages)
        for i, what in enumerate(("documents", "bytes")):
            text = f"{what.capitalize()} that left by the rule, the first that a document failed, or by the reason."
            yield from _head(f"rule_{what}", "gauge", text)
            for labels, counts in stages:
                for rule, figures in sorted(counts.rules.items()):
                    yield _sample(f"rule_{what}", {**labels, "rule": rule}, figures[i])

    def _run_lines(self, now: float) -> Iterator[str]:
        """How far the run is; steps to come and time left only where a plan foresaw them."""
        yield from _head("run_steps_done", "gauge", "Steps that are over, those found done included.")
        yield _sample("run_steps_done", {}, self.outlook.over)
        left = self.outlook.seconds_left(now)
        if left is None:
            return
        yield from _head("run_steps", "gauge", "Steps of the run, as far as they are foreseen.")
        yield _sample("run_steps", {}, self.outlook.steps)
        yield from _head("run_left_seconds", "gauge", "Seconds that the run has left: predicted, scaled by what went.")
        yield _sample("run_left_seconds", {}, round(left, 1))


def _step_values(entry: _Step, now: float) -> dict[str, float]:
    return {
        "step_tasks": entry.tasks,
        "step_tasks_done": entry.done,
        "step_tasks_reused": entry.reused,
        "step_finished": int(entry.began is None),
        "step_seconds": round(entry.seconds if entry.began is None else now - entry.began, 3),
        "step_written_bytes": entry.written,
    }


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP gristmill_{name} {_escaped(text)}", f"# TYPE gristmill_{name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text, quote=True)}"' for key, text in labels.items())
    return f"gristmill_{name}{'{' + pairs + '}' if pairs else ''} {value!r}"


def _escaped(text: str, quote: bool = False) -> str:
    """Back slashes and line ends, and in label values double quotes; lone surrogates become '?', as UTF-8 has none."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n").encode(errors="replace").decode()
    return text.replace('"', '\\"') if quote else text


def _version() -> str:
    try:
        return version("gristmill")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
