"""What a person sees while a run goes on: bars in a terminal, and one line a step in either case."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gristmill.pipeline.engine.manifest import Manifest, Reported, Sealed

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def size_text(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def step_line(sealed: Sealed[Reported]) -> str:
    """One line: counts, rate and what left most."""
    head = f"{sealed.name:<28}"
    if sealed.reused and sealed.reused == len(sealed.manifests):
        return f"{head} done before ({sealed.reused} tasks)"
    line = f"{head} {len(sealed.manifests):>4} tasks {sealed.seconds:7.1f} s"
    counts = sealed.counts()
    if not counts:
        return line
    first, last = next(iter(counts.values())), list(counts.values())[-1]
    rate = first.bytes_in / sealed.seconds if sealed.seconds else 0.0
    line += f"  {first.documents_in:,} documents in, {last.kept:,} kept, {size_text(rate)}/s"
    rules = {rule: n for each in counts.values() for rule, (n, _) in each.rules.items()}
    if rules:
        most = max(sorted(rules), key=lambda rule: rules[rule])
        line += f"; most left by {most} ({rules[most]:,})"
    if sealed.reused:
        line += f"; {sealed.reused} tasks done before"
    return line


class Terminal:
    """Rich progress bars on a terminal; plain lines elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bars: Progress | None = None
        if self.console.is_terminal:
            self.bars = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.bars.start()
        self.current: TaskID | None = None
        self.begun = time.monotonic()

    def start(self, step: str, tasks: int, done: int) -> None:
        if self.bars:
            self.current = self.bars.add_task(step, total=tasks, completed=done)

    def advance(self, step: str, manifest: Manifest[Reported]) -> None:
        if self.bars and self.current is not None:
            self.bars.advance(self.current)

    def finish(self, sealed: Sealed[Reported]) -> None:
        if self.bars and self.current is not None:
            self.bars.remove_task(self.current)
            self.current = None
        self.console.print(step_line(sealed), markup=False)

    def say(self, sentence: str) -> None:
        """A line of its own, above the bars."""
        self.console.print(sentence, markup=False)

    def close(self) -> None:
        if self.bars:
            self.bars.stop()
