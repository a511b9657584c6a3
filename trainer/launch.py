"""A training run on the nodes of a Ray cluster: Ray finds the nodes, torchrun starts the processes on each.

    one actor per node, spread by a placement group; the first one's address and a free port are the rendezvous;
    each runs  torchrun --nnodes N --node-rank i --nproc-per-node P -m trainer run CONFIG ...

and waits for it. When one ends with an error the others are ended too, since they would wait for it for ever, and the
run is started again, up to `restarts` times: it resumes from its last good checkpoint by itself. When this process is
told to end, every node's torchrun is told so, and the run saves a checkpoint after the step at hand. Training does not
go through Ray; configuration, shards and checkpoints must be visible on every node under the same path.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.trainer.errors import ConfigError, TrainerError
from gristmill.wording import plural

if TYPE_CHECKING:
    from gristmill.trainer.config.keys import Config

WORKING_COPIES = "/runtime_resources/working_dir_files/"
"""In the path of the copy of its working directory that Ray gives a job, one on each node, and deletes."""

ENDING_S = 600
"""Seconds a node's processes have to save and end after they were told to, before torchrun kills them (its own
default is 30, little for a checkpoint); torchrun itself gets some more."""
LOST_S = 30
"""The same after another node has failed: there is nothing left to save, and some wait for what will not come."""


def check_paths(config: Config, nodes: int) -> None:
    """ConfigError where a path of the configuration cannot mean the same folder on every node."""
    here = os.getcwd()
    if nodes == 1 and WORKING_COPIES not in here:
        return
    paths = {"checkpoint.directory": config.checkpoint.directory, "logging.directory": config.logging.directory}
    for i, phase in enumerate(config.phases):
        paths |= {f"phases.{i}: shards": source.shards for source in phase.sources()}
    for key, path in paths.items():
        if not os.path.isabs(path) or WORKING_COPIES in path:
            raise ConfigError(f"{key} is {path}: give the absolute path of a folder that every node sees")


def command(arguments: Sequence[str], nodes: int, node: int, processes: int, address: str, port: int) -> list[str]:
    """torchrun's command line on one node. arguments: of `python -m trainer run`."""
    rendezvous = ["--master-addr", address, "--master-port", str(port)]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--node-rank", str(node)),
        *("--nproc-per-node", str(processes), "--shutdown-timeout", str(ENDING_S), *rendezvous),
        *("-m", "gristmill.trainer", "run", *arguments),
    ]


class Node:
    """What runs on each node, as a Ray actor: one torchrun at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False

    def address(self) -> tuple[str, int]:
        """This node's address, as the others reach it, and a port that is free."""
        import socket

        import ray

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def run(self, arguments: list[str], environment: dict[str, str]) -> int:
        """Runs a command to its end; its exit code, negative for a signal. Its output is the actor's."""
        if self._ending:
            return -signal.SIGTERM
        # a driver that is killed takes this actor with it, which must not leave a run behind that nobody knows of
        self._process = subprocess.Popen(arguments, env=os.environ | environment, preexec_fn=_end_with_parent)
        return self._process.wait()

    def end(self, seconds: float) -> None:
        """SIGTERM, and after so many seconds SIGKILL, to torchrun and to the processes it has started."""
        self._ending = True
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            for child in _children(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self._process.kill()

    def again(self) -> None:
        """After `end`: ready for another run."""
        self._ending = False


def _children(pid: int) -> list[int]:
    """Processes that this one has started; Linux only, none elsewhere."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _end_with_parent() -> None:
    """This process gets SIGTERM when the thread that started it ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def launch(
    arguments: Sequence[str],
    nodes: int,
    processes: int,
    gpus: bool,
    restarts: int,
    say: Callable[[str], None],
) -> int:
    """Runs `python -m trainer run *arguments` on `nodes` x `processes`; the exit code, 0 when all ended well.

    gpus: each process gets a GPU, and a node is taken only if it has that many; otherwise a node is one CPU to Ray.
    ConfigError where the cluster has no such nodes.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    need = {"CPU": 1.0, **({"GPU": float(processes)} if gpus else {})}
    if not ray.is_initialized():
        ray.init(log_to_driver=True, logging_level=logging.WARNING)
    fitting = [n for n in ray.nodes() if n["Alive"] and all(n["Resources"].get(k, 0) >= v for k, v in need.items())]
    if len(fitting) < nodes:
        kind = f"{processes} GPUs" if gpus else "a CPU"
        raise ConfigError(
            f"--nodes {nodes}: the Ray cluster has {plural(len(fitting), 'node')} with {kind}: ask for fewer"
        )
    group = placement_group([need] * nodes, strategy="STRICT_SPREAD")
    if not group.wait(60):
        raise TrainerError(f"{nodes} nodes are there but taken by other work on this Ray: end that, or ask for fewer")
    try:
        remote: Any = ray.remote  # its overloads stop at functions of ten arguments
        actor = remote(num_cpus=1, num_gpus=processes if gpus else 0, max_concurrency=4)(Node)
        place = [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i) for i in range(nodes)]
        members = [actor.options(scheduling_strategy=each).remote() for each in place]
        with _ending_them(ray, members) as told:
            for attempt in range(restarts + 1):
                code = _once(ray, members, arguments, processes, say)
                if code == 0 or told.is_set() or attempt == restarts:
                    return code
                say(f"starting again from the last good checkpoint, {restarts - attempt - 1} restarts are left")
                ray.get([member.again.remote() for member in members])
        return code
    finally:
        remove_placement_group(group)


def _once(ray: Any, members: list[Any], arguments: Sequence[str], processes: int, say: Callable[[str], None]) -> int:
    """One run on all nodes; the first exit code that is not 0."""
    address, port = ray.get(members[0].address.remote())
    environment = {"OMP_NUM_THREADS": "1"} if processes > 1 else {}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    runs = {}
    for i, member in enumerate(members):
        runs[member.run.remote(command(arguments, len(members), i, processes, address, port), environment)] = i
    code, left = 0, list(runs)
    while left:
        done, left = ray.wait(left)
        for run in done:
            try:
                ended = ray.get(run)
                why = f"ended with exit code {ended}"
            except ray.exceptions.RayError as error:  # the node itself
                ended, why = 1, f"was lost ({str(error).splitlines()[0]})"
            if ended and not code:
                say(f"node {runs[run]} {why}: ending the others")
                code = ended if ended > 0 else 1
                for i, member in enumerate(members):
                    if i != runs[run]:
                        member.end.remote(LOST_S)
    return code


class _ending_them:
    """SIGTERM and SIGINT to this process end the run on all nodes; the event tells that it was so."""

    def __init__(self, ray: Any, members: list[Any]):
        self._ray, self._members, self._told = ray, members, threading.Event()

    def __enter__(self) -> threading.Event:
        def end(*_: object) -> None:
            if not self._told.is_set():
                self._told.set()
                for member in self._members:
                    member.end.remote(ENDING_S + 30)

        self._before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        return self._told

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
