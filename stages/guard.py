"""A child process that does one kind of work, so that no input can hang, crash or fill a worker.

    worker                                    child, one per worker and kind of work, started with the first request
    content and an address, shared memory ->  a timer over its own CPU time, then the work
    text, and what else in JSON, pipe     <-  or its end: the content is refused, the next gets a new child

C code cannot be interrupted from within, so the limit is the kernel's: SIGPROF ends a child that has spent the seconds
of CPU time that the request allows. CPU time and not the clock's, so that a busy machine refuses nothing. A child's
address space has a limit too; one that is refused memory fails or crashes on that content alone.

A child that is killed from outside, or answers nothing while it spends no CPU time, says nothing about the content:
that raises, and the task is tried again.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gristmill.stages.own import own_function

CHILD_BYTES = 4 << 30
"""Address space of a child; 1,225 real pages took 54 MB of it at most (with trafilatura 114 MB), the
worst page of 10 MB that could be made 1.3 GB."""
STALLED = 20
"""Times the seconds of a request by the clock after which a child that does not answer is given up."""
_HEADER = struct.Struct("<dqq")  # CPU seconds; bytes of the content, of the address, -1: none
_ANSWER = struct.Struct("<qq")  # bytes of the text, -1: none; of what else there is
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}
_PIPE_BYTES = 1 << 16
_KEPT_BYTES = 1 << 25
_ROOM = 1 << 20  # bytes of shared memory to begin with


class Answer(NamedTuple):
    text: str | None
    more: Any
    """JSON values, as the work gave them."""


Work = Callable[[memoryview, str | None], tuple[str | None, Any]]
"""(content, address) -> (text, what else there is as JSON values); a string as the latter is the reason of a refusal.
What it raises is the reason "failed"."""


class Guarded:
    """Work in a child process. Not for several threads at once.

    work: `module:function`, a function of `argument` that imports what the work needs and gives a `Work`.
    """

    def __init__(self, work: str, argument: str, what: str, child_bytes: int = CHILD_BYTES) -> None:
        """what: the process in messages, as in "extract: the process that parses pages". child_bytes: of its address
        space."""
        self.work, self.argument, self.what, self.child_bytes = work, argument, what, child_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._file = _shared_file()
        self._memory: mmap.mmap | None = None

    def ask(self, content: bytes, address: str | None, seconds: float) -> Answer | str:
        """The answer; or why there is none: a reason of the work's own, failed, crashed, timeout.

        RuntimeError where the child came to an end that is not the content's doing.
        """
        child = self._child or self._start()
        name = address.encode("utf-8", "replace") if address is not None else b""
        memory = self._room(len(content) + len(name))
        memory[: len(content)] = content
        memory[len(content) : len(content) + len(name)] = name
        answer = None
        with contextlib.suppress(BrokenPipeError):
            assert child.stdin is not None
            child.stdin.write(_HEADER.pack(seconds, len(content), len(name) if address is not None else -1))
            child.stdin.flush()
            answer = self._answer(child, self.stalled_s(seconds))
        return self._why(child) if answer is None else answer

    def stalled_s(self, seconds: float) -> float:
        """Seconds by the clock after which a child that says nothing is given up."""
        return max(1.0, STALLED * seconds)

    def close(self) -> None:
        """Ends the child; the next request starts another."""
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
        # what one content took is freed before the next: its memory is kept, up to this, and not faulted in again
        environment |= {"MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES), "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES // 2)}
        shared = self._file.fileno()
        given = (self.work, self.argument, str(self.child_bytes), str(shared))
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "gristmill.stages.guard", *given],
            pass_fds=(shared,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a parser says when it fails; the ledger has the document
            env=environment,
        )
        return self._child

    def _answer(self, child: subprocess.Popen[bytes], stalled_s: float) -> Answer | str | None:
        """None where the child has ended."""
        if (sizes := self._read(child, _ANSWER.size, stalled_s)) is None:
            return None
        text_bytes, said_bytes = _ANSWER.unpack(sizes)
        if (data := self._read(child, max(0, text_bytes) + said_bytes, stalled_s)) is None:
            return None
        said = json.loads(data[max(0, text_bytes) :])
        return said if isinstance(said, str) else Answer(data[:text_bytes].decode() if text_bytes >= 0 else None, said)

    def _read(self, child: subprocess.Popen[bytes], size: int, stalled_s: float) -> bytes | None:
        assert child.stdout is not None
        ready = select.poll()
        ready.register(child.stdout, select.POLLIN)
        parts: list[bytes] = []
        while size:
            if not ready.poll(stalled_s * 1000):
                self.close()
                raise RuntimeError(
                    f"{self.what} has not answered for {stalled_s:.0f} s; run again, with fewer workers if this "
                    "machine is overloaded"
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
            f"{self.what} was ended from outside (exit code {code}); run again, with fewer workers if this machine is "
            "short of memory"
        )


def _shared_file() -> BinaryIO:
    """A file that has no name; in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("gristmill-guard"), "r+b", 0)
    return tempfile.TemporaryFile(buffering=0)


def _serve(work_name: str, argument: str, child_bytes: int, shared: int) -> None:
    """The child: answers requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides; its end closes the pipe
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = child_bytes if most == resource.RLIM_INFINITY else min(child_bytes, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between
    work: Work = own_function(work_name)(argument)  # imports before the first request's time begins
    memory = memoryview(b"")
    while header := requests.read(_HEADER.size):
        seconds, size, named = _HEADER.unpack(header)
        if len(memory) < size + max(0, named):
            memory = memoryview(mmap.mmap(shared, 0, access=mmap.ACCESS_READ))
        address = str(memory[size : size + named], "utf-8") if named >= 0 else None
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            text, more = work(memory[:size], address)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # whatever a parser of anybody's files raises, a panic of Rust too, is about this alone
            text, more = None, "failed"
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(answers, text, more)


def _send(answers: BinaryIO, text: str | None, more: Any) -> None:
    data = None if text is None else text.encode("utf-8", "replace")
    said = json.dumps(more).encode()
    answers.write(_ANSWER.pack(-1 if data is None else len(data), len(said)))
    answers.write(data or b"")
    answers.write(said)
    answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
