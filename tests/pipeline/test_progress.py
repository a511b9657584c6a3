"""What a person sees: a bar in a terminal, a line now and then in a log, and no escapes where none are wanted."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.engine import Engine, Executor, Inline
from gristmill.pipeline.engine.progress import Terminal, size_text
from gristmill.pipeline.engine.task import Step, Task
from gristmill.storage.store import Store

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_progress import grinding
grinding(sys.argv[1], None, 0.4)
"""


def grind(task: Task[float, None]) -> None:
    """Takes in ten documents, half of them late."""
    counts = task.counts("sieve")
    for _ in range(2):
        counts.documents_in, counts.bytes_in = counts.documents_in + 5, counts.bytes_in + 5_000
        counts.kept, counts.bytes_kept = counts.documents_in, counts.bytes_in
        time.sleep(task.payload)


def grinding(
    output: str, stream: Any, seconds: float, executor: Executor | None = None, interval_s: float = 30
) -> None:
    """Two steps of one task, of the three that were foreseen."""
    progress = Terminal(stream, interval_s)
    executor = executor or Inline()
    progress.foresee({"mill/first": 60.0, "mill/second": 60.0, "third": 600.0}, 0.0, executor.under_way)
    engine = Engine(Store(output), executor, progress)
    for name in ("mill/first", "mill/second"):
        engine.step(name, Step(grind), [seconds], None)
    progress.close()


def test_a_log_has_a_line_a_step_and_one_every_interval(tmp_path: Path) -> None:
    log = io.StringIO()
    grinding(str(tmp_path / "out"), log, 0.4, interval_s=0.3)
    lines = log.getvalue().splitlines()
    ends = [line for line in lines if " in, " in line]
    assert [re.sub(r"[\d.]+ (s|kB/s|MB/s)\b", r"_ \1", line) for line in ends] == [
        "step 1 of 3  mill/first  1 task in _ s; 10 documents in, 10 kept, _ kB/s",
        "step 2 of 3  mill/second  1 task in _ s; 10 documents in, 10 kept, _ kB/s",
    ]
    under_way = [line for line in lines if line.startswith("step 1 of 3  mill/first, 0 of 1 task, ")]
    assert any("5 documents, 5.0 kB, 0 s; about 1" in line for line in under_way), lines
    assert any("10 documents, 10.0 kB" in line for line in under_way), lines
    assert all(re.search(r"; about \d+ min left$", line) for line in under_way)
    assert "\x1b" not in log.getvalue()


def test_steps_that_were_done_before_are_counted_and_said(tmp_path: Path) -> None:
    grinding(str(tmp_path / "out"), io.StringIO(), 0)
    again = io.StringIO()
    grinding(str(tmp_path / "out"), again, 0)
    assert again.getvalue().splitlines() == [
        "step 1 of 3  mill/first  done before (1 task)",
        "step 2 of 3  mill/second  done before (1 task)",
    ]


def test_before_the_first_step_a_log_says_that_it_is_alive() -> None:
    log = io.StringIO()
    progress = Terminal(log, 0.05)
    time.sleep(0.2)
    progress.close()
    assert log.getvalue().startswith("looking at the sources, 0 s\n")


def test_a_log_that_is_closed_does_not_stop_the_run() -> None:
    log = io.StringIO()
    progress = Terminal(log, 0.05)
    log.close()
    time.sleep(0.2)
    progress.close()


def on_terminal(output: Path, **environment: str) -> str:
    """What a terminal of 80 columns is sent, and nothing else hears."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT.format(folder=str(Path(__file__).parent)), str(output)]
    given = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")}
    given |= {"COLUMNS": "80", "TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=given) as process:
        os.close(theirs)
        sent = b""
        while True:
            try:
                more = os.read(ours, 65_536)
            except OSError:  # Linux says so where the other side is closed
                break
            if not more:
                break
            sent += more
    os.close(ours)
    assert process.returncode == 0, sent.decode()
    return sent.decode()


@pytest.mark.slow
def test_a_terminal_has_a_bar_that_fits_into_80_columns(tmp_path: Path) -> None:
    sent = on_terminal(tmp_path / "out")
    assert "\x1b" in sent
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).rstrip("\r") for line in re.split("[\r\n]+", sent)]
    assert max(map(len, lines)) <= 80, lines
    assert any("step 1 of 3  mill/first  ━━━" in line and "about 1" in line for line in lines), lines
    assert any(re.search(r"  0/1  (5|10)\.0 kB  ", line) for line in lines), lines


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_escapes_where_none_are_wanted(environment: dict[str, str], tmp_path: Path) -> None:
    sent = on_terminal(tmp_path / "out", **environment)
    assert "\x1b" not in sent
    assert sent.count("step 1 of 3  mill/first  1 task in") == 1


@pytest.mark.slow
def test_tasks_on_ray_say_how_far_they_are_before_they_end(tmp_path: Path) -> None:
    from gristmill.pipeline.engine.ray_executor import RayExecutor
    from gristmill.pipeline.engine.ray_progress import REPORT_S

    executor = RayExecutor(workers=1)
    log = io.StringIO()
    try:
        grinding(str(tmp_path / "out"), log, REPORT_S, executor, interval_s=1)
    finally:
        executor.close()
    assert "step 1 of 3  mill/first, 0 of 1 task, 5 documents, 5.0 kB, " in log.getvalue()
    assert "step 2 of 3  mill/second, 0 of 1 task, 5 documents, 5.0 kB, " in log.getvalue()


def test_sizes_are_decimal() -> None:
    said = [size_text(n) for n in (0, 999, 999.6, 1_000, 999_950, 12_300_000, 5e15)]
    assert said == ["0 B", "999 B", "1.0 kB", "1.0 kB", "1.0 MB", "12.3 MB", "5000.0 TB"]


def test_counts_under_way_are_those_of_a_task_s_first_stage() -> None:
    from gristmill.pipeline.engine.under_way import Amount, here, running, taken_in

    counts = {"read": Counts(3, bytes_in=30), "language": Counts(2, bytes_in=20)}
    assert (taken_in(counts), taken_in({}), here()) == (Amount(3, 30), Amount(), Amount())
    with running(counts):
        assert here() == Amount(3, 30)
    assert here() == Amount()
