"""Rays on this machine for the cluster tests: processes, a run that can be killed at work, a cluster of two raylets.

Every Ray is started on free ports with a temporary directory of its own, and ended by the handles of what was started.
Linux only: what runs where is read from /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attack

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    """Of a process that starts a Ray or joins one: nothing of a Ray around these tests."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = {"PYTHONPATH": str(ROOT), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return plain | paths | {"RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "120"} | more


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title(pid: int) -> str:
    """Of a Ray worker: `ray::` and the name of its task, or `ray::IDLE`."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().strip()
    except OSError:
        return ""


def state(pid: int) -> tuple[str, str]:
    """(its letter, when it began); a process that is no more has the letter X."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", ""
    return words[0], words[19]


def descendants(pid: int) -> dict[int, str]:
    """pid -> when it began, which together name a process for good."""
    found = {}
    for child in children(pid):
        found[child] = state(child)[1]
        found |= descendants(child)
    return found


def alive(processes: Mapping[int, str]) -> dict[int, str]:
    """pid -> title of those that still run; a dead one that nobody has waited for does not."""
    return {pid: title(pid) for pid, began in processes.items() if state(pid) in [(x, began) for x in "RSDTtI"]}


def end(processes: Mapping[int, str]) -> None:
    for pid in alive(processes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def raylet_of(pid: int) -> int:
    """The raylet that a driver or `ray start --block` has started."""
    return next(child for child in children(pid) if title(child).endswith("/raylet"))


def catch(raylet: int, step: str, timeout_s: float = 30.0) -> int:
    """Stops a worker of the raylet that is in the middle of a task of the step; returns its pid."""
    wanted = f"ray::{step}"
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        for pid in children(raylet):
            if title(pid) == wanted:
                os.kill(pid, signal.SIGSTOP)
                if title(pid) == wanted:
                    return pid
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError(f"no worker of raylet {raylet} was seen at work on {step}")


class Drive:
    """A run with Ray in a process of its own, which waits at the start of some steps; a context manager."""

    def __init__(self, config: Path, output: Path, gates: Sequence[str], **variables: str) -> None:
        command = [sys.executable, attack.__file__, "drive", str(config), str(output), "2", *gates]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(**variables)
        )
        self.events: list[list[Any]] = []

    def __enter__(self) -> Drive:
        return self

    def until(self, *event: Any) -> bool:
        """Waits until this is said; False where the run ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1][: len(event)] == list(event):
                return True
        return False

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __exit__(self, *exception: object) -> None:
        below = descendants(self.process.pid)
        self.process.kill()
        self.process.communicate()
        end(below)


def free_ports(count: int) -> list[int]:
    """Below the range from which the system takes ports for connections."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")


class Raylets:
    """A head and a second node of one CPU each, by `ray start --block`; a context manager.

    The second node lives in a mount namespace of its own, in which the folder `hidden` is another, where the system
    allows that.
    """

    def __init__(self, folder: Path, mode: str) -> None:
        self.temporary = tempfile.mkdtemp(prefix="gm", dir="/tmp")  # paths of sockets are at most 107 bytes long
        self.hidden = folder / "hidden"
        self.hidden.mkdir()
        self.hides = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
        # a node's death is seen in seconds instead of half a minute
        quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "6"}
        self.variables = {"RAY_AUTH_MODE": mode, "HOME": str(folder), "RAY_health_check_initial_delay_ms": "0"} | quick
        if mode == "token":
            self.ray("get-auth-token", "--generate", check=True)
        port, dashboard = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        self.head = self._start(
            "--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--temp-dir={self.temporary}/head"
        )
        self.node = self.start_node()

    def _start(self, *options: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        names = ("--dashboard-agent-listen-port", "--metrics-export-port")
        ports = [f"{name}={port}" for name, port in zip(names, free_ports(2), strict=True)]
        if "--head" in options:
            ports += [f"--ray-client-server-port={free_ports(1)[0]}", "--disable-usage-stats"]
        command = [*before, str(BIN / "ray"), "start", "--block", *options, *ports]
        command += ["--num-cpus=1", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**self.variables)
        )
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "will now block" in line:
                return process
        raise RuntimeError("".join(said))

    def start_node(self) -> subprocess.Popen[str]:
        hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(self.hidden)]
        # of its own, or it would unpack a job's working directory over the one that the head works in
        folder = f"--temp-dir={self.temporary}/node"
        self.node = self._start(f"--address={self.address}", folder, before=hide if self.hides else ())
        return self.node

    @contextlib.contextmanager
    def head_at_rest(self) -> Iterator[None]:
        """Stops the head's workers, so that there is work left for a node that still has to start its own."""
        workers = [pid for pid in children(raylet_of(self.head.pid)) if title(pid) == "ray::IDLE"]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)

    def kill_node(self, worker: int) -> None:
        """SIGKILL to the second node's raylet; `worker`, stopped in mid-task, goes on as an orphan."""
        below = descendants(self.node.pid)
        os.kill(raylet_of(self.node.pid), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
        self.node.communicate()
        end(below)

    def ray(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """The command line, which joins with standard output what goes to standard error."""
        return subprocess.run(
            [str(BIN / "ray"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=check,
            cwd=ROOT,
            env=environment(**self.variables),
        )

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        job = ("job", "submit", f"--address={self.dashboard}", "--working-dir=.")
        return self.ray(*job, "--", "python", "-m", "pipeline", "run", *arguments)

    def status(self, job: str) -> str:
        listed = self.ray("list", "jobs", f"--address={self.dashboard}", "--format=json").stdout
        return next(entry["status"] for entry in json.loads(listed) if entry["submission_id"] == job)

    def __enter__(self) -> Raylets:
        return self

    def __exit__(self, *exception: object) -> None:
        below = descendants(self.node.pid) | descendants(self.head.pid)
        for process in (self.node, self.head):
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        end(below)
        shutil.rmtree(self.temporary, ignore_errors=True)
