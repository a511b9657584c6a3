"""What a step costs: from its tasks, amounts and exchanges to seconds, bytes, memory and requests.

    core-seconds  tasks · task_seconds + units · seconds + segments · segment_seconds + index bytes · index_seconds
    seconds       step_seconds + tasks · commit_seconds + first_seconds
                  + max(⌈tasks / workers⌉ · core-seconds / tasks, longest task)

Which steps there are is in `pipeline.plan.steps`; rates are `pipeline.plan.rates`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gristmill.pipeline.plan.exchange import Shuffle, shuffle
from gristmill.pipeline.plan.rates import Rates, StepRate, canonical
from gristmill.pipeline.steps.curate import ROW_GROUP_BYTES
from gristmill.pipeline.steps.record import PlannedStep


@dataclass(frozen=True)
class StepPlan:
    """One step of a run. Bytes and requests are those of all its tasks."""

    name: str
    tasks: int
    files: int
    """Exchange files that a task opens at most; 0 where it receives nothing."""
    bytes_read: int
    bytes_written: int
    core_seconds: float
    longest_s: float
    """Of its longest task."""
    seconds: float
    """With the workers of the plan."""
    memory: int
    """At the peak of its largest task, of the whole process."""
    gets: int
    puts: int
    sent: int = 0
    """Of the bytes written, those into an exchange."""
    segments: int = 0
    rows: int = 0

    def to_dict(self) -> PlannedStep:
        return {
            "name": self.name,
            "tasks": self.tasks,
            "files": self.files,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "core_seconds": self.core_seconds,
            "longest_s": self.longest_s,
            "seconds": self.seconds,
            "memory": self.memory,
            "gets": self.gets,
            "puts": self.puts,
            "sent": self.sent,
            "segments": self.segments,
            "rows": self.rows,
        }

    @property
    def stage(self) -> str:
        """What the step belongs to: `near_dedup` of `near_dedup.key.merge0`, `blend` of `blend/pretrain/write`."""
        return "blend" if self.name.startswith("blend") else self.name.split(".")[0]


@dataclass
class Costs:
    """The steps planned so far, and what of them is published."""

    rates: Rates
    workers: int
    max_segments: int
    steps: list[StepPlan] = field(default_factory=list)
    published: int = 0
    """Files."""
    published_bytes: float = 0.0

    @property
    def written(self) -> int:
        """By the last step."""
        return self.steps[-1].bytes_written

    def publish(self, files: int, size: float) -> None:
        self.published += files
        self.published_bytes += size

    def add(
        self,
        name: str,
        like: str,
        tasks: int,
        amounts: Mapping[str, float],
        largest: float,
        read: float,
        files: int,
        received: Shuffle | None = None,
        receivers: int = 0,
        more: float = 1.0,
        per_sender: float | None = None,
        extra: float = 0.0,
    ) -> Shuffle | None:
        """Plans a step of `tasks` tasks over `amounts`, of which the largest task has a share of `largest`.

        like: the step whose rates it has if it has none of its own. received: the exchange that it reads. receivers:
        of the exchange that it writes, which is returned, with its merge rounds planned too. more: its work and rows
        compared to what was measured. per_sender: segments a sender writes where routes are not spread evenly. extra:
        seconds of stages that its rate knows nothing of.
        """
        rate = self.rates.step(canonical(name), like or canonical(name))
        units = amounts.get(rate.unit, 0.0) * more
        segments = received.segments if received else 0
        indexes = received.indexes if received else 0
        sent: Shuffle | None = None
        if receivers:
            rows = rate.rows * amounts.get("documents", amounts.get("copies", 0.0)) * more
            content = rate.sent * amounts.get(rate.sent_unit, 0.0) * more
            sent = shuffle(tasks, receivers, rows, content, rate.segment_bytes, self.max_segments, per_sender)
        cost = units * rate.seconds + extra
        cost += (segments + (sent.segments if sent else 0)) * self.rates.segment_seconds
        cost += indexes * self.rates.index_seconds
        written = units * rate.written + tasks * rate.task_written + (sent.bytes if sent else 0)
        self.append(
            name,
            rate,
            tasks,
            cost,
            max(largest, 1 / tasks) * cost,
            read + indexes + (received.bytes if received else 0),
            written,
            peak(rate, units * largest, amounts.get("bytes", 0.0) * largest),
            gets=(received.gets if received else 0) + (parquet_gets(tasks, read) if read else 0),
            puts=files * tasks,
            files=received.files if received else 0,
            sent=sent,
        )
        for number, merge in enumerate(sent.merges if sent else ()):
            assert sent is not None
            rate = self.rates.steps["merge"]
            cost = sent.bytes * rate.seconds + 2 * merge.segments * self.rates.segment_seconds
            cost += merge.indexes * self.rates.index_seconds
            self.append(
                f"{name}.merge{number}",
                rate,
                merge.tasks,
                cost,
                cost / merge.tasks,
                sent.bytes + merge.indexes,
                sent.bytes,
                peak(rate, sent.bytes / merge.tasks, 0.0),
                gets=merge.gets,
                puts=merge.tasks,
                files=merge.files,
                sent=sent,
            )
        return sent

    def append(
        self,
        name: str,
        rate: StepRate,
        tasks: int,
        cost: float,
        longest: float,
        read: float,
        written: float,
        memory: float,
        *,
        gets: int,
        puts: int,
        files: int = 0,
        sent: Shuffle | None = None,
    ) -> None:
        core = tasks * rate.task_seconds + cost
        longest += rate.task_seconds
        waves = math.ceil(tasks / self.workers) * core / tasks
        seconds = self.rates.step_seconds + tasks * self.rates.commit_seconds + max(waves, longest)
        self.steps.append(
            StepPlan(
                name,
                tasks,
                files,
                round(read),
                round(written),
                core + min(tasks, self.workers) * rate.first_seconds,
                longest,
                seconds + rate.first_seconds,
                round(memory),
                gets,
                puts + tasks,  # its manifest
                sent.bytes if sent else 0,
                sent.segments if sent else 0,
                sent.rows if sent else 0,
            )
        )

    def rewrite(self, written: float) -> None:
        """The last step writes so many bytes, whatever its rate says."""
        self.steps[-1] = replace(self.steps[-1], bytes_written=round(written))


def peak(rate: StepRate, units: float, size: float) -> float:
    """Memory of a task of so many units and bytes of text."""
    share = min(1.0, rate.held_bytes / size) if rate.held_bytes and size else 1.0
    return rate.memory + rate.memory_per_unit * units * share


def parquet_gets(files: int, size: float) -> int:
    """Requests to read Parquet files of `size` bytes in all: its size, its end, and its row groups one by one."""
    return 2 * files + max(files, round(size / ROW_GROUP_BYTES))
