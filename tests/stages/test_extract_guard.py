"""The process in which pages are parsed: pages that take too long, crashes, kills, the end of the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from gristmill.stages.document import RAW
from gristmill.stages.extract import TRAFILATURA_DEPTH, Extract
from gristmill.stages.page_engine import Extracted, extract_page
from gristmill.stages.page_guard import Guard

pytestmark = pytest.mark.slow

PAGE = "<html><head><title>T</title></head><body><article><p>" + "Wörter über Wörter, und noch mehr. " * 20
SLOW = "<p>" + "".join(f"<font size={i}>" for i in range(2000)) + "<p>x" * 2000
"""Every paragraph opens 2,000 elements again: seconds and gigabytes for a parser, by the standard."""


def rows(*pages: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {"id": bytes(16), "source": "s", "path": "p", "record": i, "priority": 0, "content": page.encode(),
             "content_type": "text/html"} for i, page in enumerate(pages)
        ], RAW,
    )  # fmt: skip


@pytest.fixture
def guard():
    guards = []

    def make(engine: str = "resiliparse", page_seconds: float = 60.0) -> Guard:
        guards.append(Guard(engine, page_seconds))
        return guards[-1]

    yield make
    for each in guards:
        each.close()


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_the_answer_is_that_of_the_engine_in_the_same_process(guard, engine: str) -> None:
    if engine == "trafilatura":
        pytest.importorskip("trafilatura")
    guarded = guard(engine)
    for html in (PAGE, "", "<p>", "\0", PAGE.replace("ö", "\U0001f600"), "<p>" + "words and words. " * 200_000):
        for url in (None, "http://example.com/ä"):
            assert guarded.extract(html.encode(), url) == extract_page(html, url, engine)


def test_a_page_over_the_limit_is_a_timeout_and_the_next_page_is_fine(guard) -> None:
    guarded = guard(page_seconds=0.2)
    begun = time.monotonic()
    assert guarded.extract(SLOW.encode(), None) == "timeout"
    assert time.monotonic() - begun < 20
    found = guarded.extract(PAGE.encode(), None)
    assert isinstance(found, Extracted)
    assert found.title == "T"


def test_time_of_earlier_pages_and_of_waiting_does_not_count(guard) -> None:
    guarded = guard(page_seconds=0.3)
    page = (PAGE * 200).encode()
    for _ in range(20):
        assert isinstance(guarded.extract(page, None), Extracted)


def test_a_timeout_is_a_verdict_and_the_batch_goes_on() -> None:
    big = PAGE + "<p>many words here</p>" * 150_000
    result = Extract(max_page_seconds=0.05).apply(rows(PAGE, big, PAGE))
    assert result.column("quarantined_by").to_pylist() == [None, "extract.timeout", None]
    assert result.column("dropped_by").null_count == 3
    assert [text is None for text in result.column("text").to_pylist()] == [False, True, False]
    assert Extract().apply(rows(big)).column("quarantined_by").null_count == 1


def test_a_crash_is_about_the_page_and_a_kill_is_not(guard) -> None:
    guarded = guard()
    assert isinstance(guarded.extract(PAGE.encode(), None), Extracted)
    os.kill(guarded._child.pid, signal.SIGSEGV)
    time.sleep(0.2)
    assert guarded.extract(PAGE.encode(), None) == "crashed"
    assert isinstance(guarded.extract(PAGE.encode(), None), Extracted)
    os.kill(guarded._child.pid, signal.SIGKILL)
    time.sleep(0.2)
    with pytest.raises(RuntimeError, match="ended from outside"):
        guarded.extract(PAGE.encode(), None)
    assert isinstance(guarded.extract(PAGE.encode(), None), Extracted)


def test_a_child_that_neither_answers_nor_works_stops_the_task(guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.stages.page_guard.STALLED", 1)
    guarded = guard(page_seconds=0.5)
    assert isinstance(guarded.extract(PAGE.encode(), None), Extracted)
    os.kill(guarded._child.pid, signal.SIGSTOP)
    with pytest.raises(RuntimeError, match="has not answered"):
        guarded.extract(PAGE.encode(), None)
    assert isinstance(guarded.extract(PAGE.encode(), None), Extracted)


def test_the_child_ends_with_its_worker_however_that_ends() -> None:
    program = (
        "import os; from gristmill.stages.page_guard import Guard; guard = Guard('resiliparse', 60); "
        "guard.extract(b'<p>x', None); print(guard._child.pid, flush=True); os._exit(9)"
    )
    pid = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.1)
    pytest.fail("the child outlived its worker")


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_trafilatura_is_given_nothing_that_takes_it_long() -> None:
    pytest.importorskip("trafilatura")
    stage = Extract(engine="trafilatura")
    links = "".join(f'<a href="/x{i}">link {i}</a> ' for i in range(40_000))  # 50 s within 200 elements
    deep = "<div>" * (TRAFILATURA_DEPTH + 1) + "<p>words</p>"  # libxml2 would leave it out and say nothing
    result = stage.apply(rows("<div>" * 200 + links, deep, PAGE))
    assert result.column("quarantined_by").to_pylist() == ["extract.too_tangled", "extract.too_deep", None]


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_page_seconds"):
        Extract(max_page_seconds=0)
