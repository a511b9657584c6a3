"""What every rank waits for when a step takes too long.

A thread in each process looks at how long the step at hand has lasted. Past `logging.hang_seconds` it writes, once for
that step, `hang/rank-00003.txt` in the run's directory and the same to standard error: how long, where in the code the
main thread is, the collectives that were started and have not finished, or else the last one that has. The process is
left alone: it may go on, and what ends it is the backend's own time limit.

Rank 0 then waits a moment for the others' files and prints a line for each rank. Ranks of one group that wait in the
same collective wait for the one that is missing there: the rank to look at is the one in another collective or in
none, or the one that wrote nothing, which is dead, cut off from the shared directory, or between steps.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group

FOLDER = "hang"
GRACE_S = 10.0
"""How long rank 0 waits for the other ranks' files: their steps began at other moments."""
_SHOWN = 12
"""Collectives in a rank's file."""


class Watch:
    """Watches the steps of this process; world: all processes. `say` prints rank 0's lines."""

    def __init__(self, directory: str | Path, world: Group, seconds: float, say: Callable[[str], None]):
        self._folder, self._world, self._seconds, self._say = Path(directory) / FOLDER, world, seconds, say
        self._main = threading.get_ident()
        self._step: tuple[int, float] | None = None
        self._wake = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """The thread lives inside the block."""
        for old in self._folder.glob(f"rank-{self._world.rank:05d}.txt"):
            old.unlink()
        thread = threading.Thread(target=self._run, name="gristmill-watch", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._step = None
            self._wake.set()
            thread.join()

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """The block is step `number`."""
        self._step = (number, time.monotonic())
        try:
            yield
        finally:
            self._step = None

    def _run(self) -> None:
        reported = None
        while not self._wake.wait(min(1.0, self._seconds / 4)):
            at = self._step
            if at is None or at[0] == reported or time.monotonic() - at[1] < self._seconds:
                continue
            reported = at[0]
            self._report(*at)

    def _report(self, step: int, since: float) -> None:
        lines = report(self._world.rank, step, time.monotonic() - since, self._main)
        print("\n".join(lines), file=sys.stderr, flush=True)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._folder / f".partial-{self._world.rank:05d}"
            partial.write_text("\n".join(lines) + "\n", "utf-8")
            partial.rename(self._folder / f"rank-{self._world.rank:05d}.txt")
        except OSError as error:
            print(f"{self._folder}: {error}", file=sys.stderr, flush=True)
        if self._world.rank == 0 and self._world.size > 1:
            deadline = time.monotonic() + GRACE_S
            while time.monotonic() < deadline and len(list(self._folder.glob("rank-*.txt"))) < self._world.size:
                time.sleep(0.1)
            for line in summary(self._folder, self._world.size):
                self._say(line)


def report(rank: int, step: int, seconds: float, thread: int) -> list[str]:
    """First line: rank, step and what it waits in; then where the code of `thread` is, and the last collectives."""
    records = collectives.recent()
    now = time.time()
    waiting = [record for record in records if not record.done()]
    if waiting:
        first = ", ".join(f"{_text(r)} for {now - r.started:.0f} s" for r in waiting[:2])
        what = f"waits in {first}" + (f" and {len(waiting) - 2} started later" if len(waiting) > 2 else "")
    elif records:
        ago = now - (records[-1].finished or records[-1].started)
        what = f"waits in no collective; the last, {_text(records[-1])}, finished {ago:.0f} s ago"
    else:
        what = "waits in no collective and has issued none"
    place = _place(thread)
    at = place[-1] if place else "no line"
    lines = [f"rank {rank}: step {step} lasts {seconds:.0f} s, {what}; the code is at {at}"]
    lines += [f"  {line}" for line in place]
    for record in records[-_SHOWN:]:
        state = "waiting" if not record.done() else f"took {(record.finished or now) - record.started:.3f} s"
        lines.append(f"  {time.strftime('%H:%M:%S', time.localtime(record.started))}  {_text(record)}: {state}")
    return lines


def summary(folder: Path, ranks: int) -> list[str]:
    """A line per rank, from the files in `folder`."""
    out = []
    for rank in range(ranks):
        path = folder / f"rank-{rank:05d}.txt"
        try:
            out.append(path.read_text("utf-8").splitlines()[0])
        except (OSError, IndexError):
            out.append(f"rank {rank}: has written nothing: it is dead, or not in a step, or does not see {folder}")
    return out


def _text(record: Any) -> str:
    return f"{record.name} ({record.kind}, {record.bytes:,} bytes, rank {record.group.rank} of {record.group.size})"


def _place(thread: int) -> list[str]:
    """file:line function of the frames of a thread, outermost first; the last few."""
    frame = sys._current_frames().get(thread)
    out: list[str] = []
    while frame is not None and len(out) < 8:
        path = Path(frame.f_code.co_filename)
        out.append(f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return out[::-1]
