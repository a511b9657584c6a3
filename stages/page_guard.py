"""Extraction in a process of its own, so that no page can hang, crash or fill a worker.

    worker                                    child, one per worker, started with the first page
    page and address, shared memory   ->      a timer over its own CPU time, then `stages.page_engine`
    text, and metadata in JSON, pipe  <-      or its end: the page is quarantined, the next gets a new child

C code cannot be interrupted from within, so the limit is the kernel's: SIGPROF ends a child that has spent
`page_seconds` of CPU time on one page. CPU time and not the clock's, so that a busy machine quarantines nothing. It is
the last resort: what `stages.extract` counts beforehand keeps every page that is known far below it.

A child that is killed from outside, or answers nothing while it spends no CPU time, says nothing about the page: that
raises, and the task is tried again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

from gristmill.stages.page_blocks import ALL
from gristmill.stages.page_engine import Extracted, extract_page

CHILD_BYTES = 4 << 30
"""Address space of a child; 1,225 real pages took 54 MB of it at most (with trafilatura 114 MB), the
worst page of 10 MB that could be made 0.44 GB."""
STALLED = 20
"""Times `page_seconds` by the clock after which a child that does not answer is given up."""
_HEADER = struct.Struct("<qqq")  # bytes of the page, of the address, -1: none; hints
_ANSWER = struct.Struct("<qq")  # bytes of the text, -1: none; of the metadata
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}
_PIPE_BYTES = 1 << 16
_KEPT_BYTES = 1 << 25
_ROOM = 1 << 20  # bytes of shared memory to begin with


class Guard:
    """Extracts pages in a child process. Not for several threads at once."""

    def __init__(self, engine: str, page_seconds: float) -> None:
        self.engine = engine
        self.page_seconds = page_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._file = _shared_file()
        self._memory: mmap.mmap | None = None

    def extract(self, html: bytes, url: str | None, hints: int = ALL) -> Extracted | str:
        """Of a page in UTF-8, `hints` as by `extract_page`; or why there is nothing: failed, crashed, timeout.

        RuntimeError where the child came to an end that is not the page's doing.
        """
        child = self._child or self._start()
        address = url.encode("utf-8", "replace") if url is not None else b""
        memory = self._room(len(html) + len(address))
        memory[: len(html)] = html
        memory[len(html) : len(html) + len(address)] = address
        answer = None
        with contextlib.suppress(BrokenPipeError):
            assert child.stdin is not None
            child.stdin.write(_HEADER.pack(len(html), len(address) if url is not None else -1, hints))
            child.stdin.flush()
            answer = self._answer(child)
        return self._why(child) if answer is None else answer

    def close(self) -> None:
        """Ends the child; the next page starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()

    def _room(self, size: int) -> mmap.mmap:
        """Memory that the child sees, of at least `size` bytes; it grows by doubling."""
        if self._memory is None or len(self._memory) < size:
            room = max(_ROOM, 1 << (size - 1).bit_length())
            os.ftruncate(self._file.fileno(), room)
            self._memory = mmap.mmap(self._file.fileno(), room)
        return self._memory

    def _start(self) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
        # a page's tree is freed before the next is built: its memory is kept, up to this, and not faulted in again
        environment |= {"MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES), "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES // 2)}
        shared = self._file.fileno()
        self._child = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "gristmill.stages.page_guard",
                self.engine,
                repr(self.page_seconds),
                str(shared),
            ],
            pass_fds=(shared,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a parser says when it fails; the ledger has the page
            env=environment,
        )
        return self._child

    def _answer(self, child: subprocess.Popen[bytes]) -> Extracted | str | None:
        """None where the child has ended."""
        if (sizes := self._read(child, _ANSWER.size)) is None:
            return None
        text_bytes, said_bytes = _ANSWER.unpack(sizes)
        if (data := self._read(child, max(0, text_bytes) + said_bytes)) is None:
            return None
        said = json.loads(data[max(0, text_bytes) :])
        return (
            said if isinstance(said, str) else Extracted(data[:text_bytes].decode() if text_bytes >= 0 else None, *said)
        )

    def _read(self, child: subprocess.Popen[bytes], size: int) -> bytes | None:
        assert child.stdout is not None
        ready = select.poll()
        ready.register(child.stdout, select.POLLIN)
        parts: list[bytes] = []
        while size:
            if not ready.poll(max(1000, STALLED * self.page_seconds * 1000)):
                self.close()
                raise RuntimeError(
                    "extract: the process that parses pages has not answered for "
                    f"{STALLED * self.page_seconds:.0f} s; run again, with fewer workers if this machine is overloaded"
                )
            part = os.read(child.stdout.fileno(), min(size, _PIPE_BYTES))
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _why(self, child: subprocess.Popen[bytes]) -> str:
        code = child.wait()
        self.close()
        if code == -signal.SIGPROF:
            return "timeout"
        if -code in _CRASHES:
            return "crashed"
        raise RuntimeError(
            f"extract: the process that parses pages was ended from outside (exit code {code}); run again, with fewer "
            "workers if this machine is short of memory"
        )


@functools.cache
def guard(engine: str, page_seconds: float, pid: int) -> Guard:
    """This process's guard. pid: of the calling process: a fork must not use its parent's pipes."""
    return Guard(engine, page_seconds)


def _shared_file() -> BinaryIO:
    """A file that has no name; in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("gristmill-page"), "r+b", 0)
    return tempfile.TemporaryFile(buffering=0)


def _serve(engine: str, page_seconds: float, shared: int) -> None:
    """The child: answers pages from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides; its end closes the pipe
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = CHILD_BYTES if most == resource.RLIM_INFINITY else min(CHILD_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between
    extract_page("<p>", None, engine)  # imports before the first page's time begins
    memory = memoryview(b"")
    while header := requests.read(_HEADER.size):
        size, address, hints = _HEADER.unpack(header)
        if len(memory) < size + max(0, address):
            memory = memoryview(mmap.mmap(shared, 0, access=mmap.ACCESS_READ))
        url = str(memory[size : size + address], "utf-8") if address >= 0 else None
        html = str(memory[:size], "utf-8")
        signal.setitimer(signal.ITIMER_PROF, page_seconds)
        try:
            found: Extracted | str = extract_page(html, url, engine, hints)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # whatever a parser of the wild web raises, a panic of Rust too, is about this page alone
            found = "failed"
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, found)


def _send(answers: BinaryIO, found: Extracted | str) -> None:
    text = None if isinstance(found, str) or found.text is None else found.text.encode("utf-8", "replace")
    said = json.dumps(found if isinstance(found, str) else found[1:]).encode()
    answers.write(_ANSWER.pack(-1 if text is None else len(text), len(said)))
    answers.write(text or b"")
    answers.write(said)
    answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
