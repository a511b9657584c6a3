"""What a person sees while a run goes on: "step 5 of 23", what is done, and about how long the whole has left.

On a terminal that is a line with a bar, at its foot. Where there is no terminal, as in a log or the log of a Ray job,
it is a plain line every 30 seconds. In either case each step leaves a line when it ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from gristmill.pipeline.engine.manifest import Manifest, Reported, Sealed
from gristmill.pipeline.engine.outlook import Outlook
from gristmill.pipeline.engine.under_way import Amount, taken_in
from gristmill.terminal import columns, takes_escapes, wrapped
from gristmill.wording import about, duration, plural

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

INTERVAL_S = 30.0
"""Between two lines where there is no terminal."""

ASK_S = 5.0
"""Least seconds between two questions to the workers how far their tasks are."""

BAR, SHORTEST_BAR = 20, 6
"""Most and least columns of the bar."""


def size_text(count: float) -> str:
    """Bytes, decimal: 12.3 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if round(count, 1 if unit != "B" else 0) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def step_line(sealed: Sealed[Reported]) -> str:
    """What a step was: tasks, time, counts, rate and what left most."""
    if sealed.reused and sealed.reused == len(sealed.manifests):
        return f"{sealed.name}  done before ({plural(sealed.reused, 'task')})"
    line = f"{sealed.name}  {plural(len(sealed.manifests), 'task')} in {precise(sealed.seconds)}"
    if sealed.reused:
        line += f", {sealed.reused:,} done before"
    counts = sealed.counts()
    if not counts:
        return line
    first, last = next(iter(counts.values())), list(counts.values())[-1]
    rate = first.bytes_in / sealed.seconds if sealed.seconds else 0.0
    line += f"; {plural(first.documents_in, 'document')} in, {last.kept:,} kept, {size_text(rate)}/s"
    rules = {rule: n for each in counts.values() for rule, (n, _) in each.rules.items()}
    if rules:
        most = max(sorted(rules), key=lambda rule: rules[rule])
        line += f"; most left by {most} ({rules[most]:,})"
    return line


def precise(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


class Terminal:
    """A `Progress` that shows itself on standard error."""

    def __init__(self, stream: TextIO | None = None, interval_s: float = INTERVAL_S) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.interval_s = interval_s
        self.outlook = Outlook()
        self.doing = "looking at the sources"
        """Where no step is under way."""
        self.began = time.monotonic()
        self.amount = Amount()
        """Of the finished tasks of the step under way."""
        self.running: Callable[[], Amount] = Amount
        self.asked = (float("-inf"), Amount())
        self.said = self.began
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.live: Live | None = None
        if takes_escapes(self.stream):
            self.live = self._live()
            self.live.start()
        else:
            threading.Thread(target=self._every, name="progress", daemon=True).start()

    def foresee(self, steps: Mapping[str, float], after_s: float, running: Callable[[], Amount]) -> None:
        """steps: predicted seconds by step, in order. after_s: of what follows. running: what tasks under way did."""
        with self.lock:
            self.outlook.foresee(steps, after_s, time.monotonic())
            self.running = running
            self._idle("starting")

    def start(self, step: str, tasks: int, done: int) -> None:
        with self.lock:
            self.began = time.monotonic()
            self.amount, self.asked = Amount(), (float("-inf"), Amount())
            self.outlook.start(step, tasks, done, self.began)

    def advance(self, step: str, manifest: Manifest[Reported]) -> None:
        with self.lock:
            self.outlook.advance()
            self.amount += taken_in(manifest.counts)
            self.asked = (float("-inf"), Amount())

    def finish(self, sealed: Sealed[Reported]) -> None:
        with self.lock:
            self.outlook.finish(sealed.name, time.monotonic())
            more = self.outlook.ahead or not self.outlook.foreseen
            self._idle("preparing the next step" if more else "publishing and writing the report")
        self._say(f"{self.outlook.place}  {step_line(sealed)}")

    def say(self, sentence: str) -> None:
        """A line of its own, above the bars."""
        self._say(sentence)

    def close(self) -> None:
        self.ended.set()
        if self.live:
            self.live.stop()

    def status(self) -> list[str]:
        """Now, in parts: the step or what is done between two, its tasks, amounts, time so far, time left."""
        now = time.monotonic()
        running = self._running(now)  # which may take seconds to answer: the run does not wait for it
        with self.lock:
            current, left = self.outlook.current, self.outlook.seconds_left(now)
            parts = [f"{self.outlook.place}  {current.name}" if current else self.doing]
            if current:
                amount = self.amount + running
                parts.append(f"{current.done:,} of {plural(current.tasks, 'task')}")
                parts.append(plural(amount.documents, "document") if amount.documents else "")
                parts.append(size_text(amount.bytes) if amount.bytes else "")
            else:
                parts += ["", "", ""]
            parts.append(duration(now - self.began))
            parts.append(f"{about(left)} left" if left is not None else "")
            return parts

    def _idle(self, doing: str) -> None:
        self.doing, self.began = doing, time.monotonic()

    def _running(self, now: float) -> Amount:
        """What the tasks under way have done, asked for now and then."""
        if now - self.asked[0] >= (ASK_S if self.live else 0):
            try:
                self.asked = (now, self.running())
            except Exception:  # a cluster that does not answer is no reason to stop a run
                self.asked = (now, self.asked[1])
        return self.asked[1]

    def _say(self, line: str) -> None:
        """A line that stays."""
        self.said = time.monotonic()
        text = "\n".join(wrapped([line], self.stream))
        if self.live:
            self.live.console.print(text, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def _every(self) -> None:
        """A line whenever nothing has been said for so long; in a thread of its own."""
        while not self.ended.wait(max(0.0, self.said + self.interval_s - time.monotonic())):
            if time.monotonic() - self.said < self.interval_s:
                continue
            *done, left = self.status()
            try:
                self._say(", ".join(filter(None, done)) + (f"; {left}" if left else ""))
            except (OSError, ValueError):  # the stream was closed
                return

    def _live(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self.stream, highlight=False, markup=False, soft_wrap=True)
        return Live(console=console, get_renderable=self._bar, refresh_per_second=2, transient=True)

    def _bar(self) -> Text:
        """The foot of the terminal, one line: what does not fit beside the bar is left out, the amounts first."""
        from rich.text import Text

        what, tasks, documents, size, spent, left = self.status()
        current = self.outlook.current
        width = columns() - 1
        tasks = f"{current.done:,}/{current.tasks:,}" if current else ""
        parts = {"tasks": tasks, "documents": documents, "size": size, "spent": spent, "left": left}
        for name in ("documents", "size", "spent", "tasks"):
            if len("  ".join(filter(None, [what, "━" * SHORTEST_BAR, *parts.values()]))) > width:
                parts[name] = ""
        after = "  ".join(filter(None, parts.values()))
        room = width - len(after) - 2
        text = Text(what if len(what) <= room else f"{what[: room - 1]}…", no_wrap=True, end="")
        bar = min(BAR, room - len(what) - 2)
        if bar >= SHORTEST_BAR:
            full = int(bar * self.outlook.share(time.monotonic()))
            text.append("  ").append("━" * full, "green").append("━" * (bar - full), "bright_black")
        return text.append(f"  {after}" if after else "")
