"""Merge rounds between senders and receivers, so that no task opens more than `max_segments` files."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass

from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, checked, neighbours, opened
from gristmill.pipeline.engine.manifest import Reported, Role, Sealed
from gristmill.pipeline.engine.sending import Sender
from gristmill.pipeline.engine.task import Step, Task


def sent(sealed: Sealed[Reported]) -> list[str]:
    """The exchange files of a step in order of its tasks."""
    return [file.path for _, manifest in sealed.done() if (file := manifest.file(Role.EXCHANGE)) is not None]


@dataclass(frozen=True, slots=True)
class Merging:
    max_segments: int


def merged(engine: Engine, step: Sealed[Reported], partitions: int, max_segments: int) -> list[Incoming]:
    """What each of `partitions` receivers reads: at most `max_segments` files, after as many merge rounds as it takes.

    A merge task reads one range of partitions of up to `max_segments` senders and writes one file, so that senders
    become fewer by that factor while a task's volume stays that of about one partition's worth of senders.
    """
    paths = sent(step)
    ranges = [(0, partitions, paths)]
    round_number = 0
    upstream: Sealed[Reported] = step
    while max(len(group) for _, _, group in ranges) > max_segments:
        tasks: list[Incoming] = []
        for first, end, group in ranges:
            width = max(1, -(-(end - first) // max_segments))
            for start in range(first, end, width):
                stop = min(start + width, end)
                parts = [group[i : i + max_segments] for i in range(0, len(group), max_segments)]
                tasks += [Incoming(part, start, stop) for part in parts]
        upstream = engine.step(
            f"{step.name}.merge{round_number}", MERGE, tasks, Merging(max_segments), upstream=[upstream]
        )
        joined: dict[tuple[int, int], list[str]] = {}
        for index, manifest in upstream.done():
            file = manifest.file(Role.EXCHANGE)
            joined.setdefault((tasks[index].first, tasks[index].end), []).extend([file.path] if file else [])
        ranges = [(start, stop, group) for (start, stop), group in joined.items()]
        round_number += 1
    result = [Incoming([], partition, partition + 1) for partition in range(partitions)]
    for first, end, group in ranges:
        for partition in range(first, end):
            result[partition] = Incoming(group, partition, partition + 1)
    return result


def merge(task: Task[Incoming, Merging]) -> None:
    """One merge task: copies the segments of a range of partitions, by partition, then sender; nothing is decoded.

    What comes from a remote storage is put aside on the local disk first, a read for each sender and run.
    """
    incoming = task.payload
    entries = []
    with ExitStack() as files, Sender(task.output) as sender:
        aside = None if task.store.local else files.enter_context(tempfile.TemporaryFile())
        for order, (path, index) in enumerate(incoming.entries(task.store)):
            file = files.enter_context(opened(task.store, path))
            for run in neighbours(index):
                moved = 0
                if aside is not None:
                    moved = aside.tell() - run[0][1]
                    file.seek(run[0][1])
                    aside.write(file.read(run[-1][1] + run[-1][2] - run[0][1]))
                for row in run:
                    entries.append((row[0], order, row[1], path, row, row[1] + moved, aside or file))
            if aside is not None:
                file.close()
        entries.sort(key=lambda entry: entry[:3])
        for partition, _, _, path, (_, offset, length, rows, checksum), place, source in entries:
            source.seek(place)
            sender.copy(partition, checked(source.read(length), path, offset, checksum), rows)


MERGE = Step(merge)
