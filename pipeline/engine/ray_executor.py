"""Ray core tasks: bounded in flight, retried, spread over the nodes; a local Ray where none is given.

`RAY_ADDRESS` (set by `ray job submit`) names the cluster to join. What all tasks share is put in the object store
once per step; a task is one partition. A task whose worker or node died is run again by Ray, and what Ray gives up is
a sentence here. Only Rays started here are ended here; they end with their driver, however it ends.
"""

from __future__ import annotations

import logging
import os
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from gristmill.pipeline.engine import ray_progress
from gristmill.pipeline.engine.identity import Payload, Shared
from gristmill.pipeline.engine.manifest import Manifest, StatsT
from gristmill.pipeline.engine.task import Candidate, Work, execute
from gristmill.pipeline.engine.under_way import Amount
from gristmill.storage.store import Store

if TYPE_CHECKING:
    from ray import ObjectRef

IN_FLIGHT_PER_CPU = 2
"""Enough to hide the round trip of 1.6 ms, few enough for the driver's memory."""

RETRIES = 3
"""How often Ray runs a task again whose worker or node died; also for want of memory, where its own default is for
ever (ray-core/scheduling/ray-oom-prevention), so that a partition too large for its node stops the run."""

WORKING_COPIES = "/runtime_resources/working_dir_files/"
"""Where Ray unpacks `--working-dir`; it deletes that when the job is over."""

REMEDY = "lower plan.partition_bytes, or raise runtime.memory_per_worker so that fewer tasks share a node"


class TaskLost(RuntimeError):
    """A task's process died each time that Ray tried it; trying again at once would not help."""

    final = True


class Node(TypedDict):
    """What is used of what Ray says of a node."""

    NodeID: str
    NodeManagerAddress: str
    Resources: dict[str, float]


class Remote(Protocol):
    """`reported` as Ray runs it."""

    def options(self, *, name: str) -> Remote: ...
    def remote(
        self,
        work: ObjectRef[Work[Payload, Shared, StatsT]],
        index: int,
        payload: Payload | Candidate[Payload],
        key: bytes,
    ) -> ObjectRef[Manifest[StatsT]]: ...


class RayExecutor:
    def __init__(self, workers: int | None = None, memory_per_worker: int = 0) -> None:
        """memory_per_worker: bytes that each task reserves, so that Ray places no more on a node than fit.

        Raises RuntimeError where the cluster cannot be joined, ValueError where no node has that memory.
        """
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # read by the driver, in its own cluster or not
        import ray

        self.ray = ray
        self.owned = not ray.is_initialized()
        self.workers = workers
        self.run_id = uuid.uuid4().hex
        self.keys: dict[ObjectRef[Manifest[Any]], bytes] = {}
        """Of the tasks under way, under which they say how far they are."""
        self.joined = bool(os.environ.get("RAY_ADDRESS")) or not self.owned
        if self.owned and self.joined:
            join(os.environ["RAY_ADDRESS"])
        elif self.owned:
            ray.init(
                address="local",  # a Ray of somebody else on this machine is not joined unasked
                num_cpus=workers,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=True,
            )
        largest = max((node["Resources"].get("memory", 0.0) for node in self.alive()), default=0.0)
        if memory_per_worker > largest:
            raise ValueError(
                f"runtime.memory_per_worker is {memory_per_worker:,} bytes, but the largest node has "
                f"{int(largest):,} for tasks; lower it"
            )
        placed = ray.remote(num_cpus=1, memory=memory_per_worker, max_retries=RETRIES, scheduling_strategy="SPREAD")
        self.remote: Remote = placed(reported)  # type: ignore[assignment]

    def alive(self) -> list[Node]:
        return [node for node in self.ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]

    def nodes(self) -> int:
        return len(self.alive())

    def blind_nodes(self, store: Store) -> list[str]:
        """Addresses of the nodes with CPUs that do not see the same folder as the driver or cannot write to it.

        A small task on each looks for a marker of the driver's below `work/`. Nodes that join later are not asked.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        folder, word = f"work/nodes-{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
        store.write(f"{folder}/driver", word.encode())
        try:
            look = self.ray.remote(num_cpus=0, max_retries=RETRIES)(sees)
            asked = {}
            for node in self.alive():
                if node["Resources"].get("CPU"):
                    there = look.options(name="sees the output", scheduling_strategy=On(node["NodeID"], soft=False))
                    asked[there.remote(store, folder, word)] = str(node["NodeManagerAddress"])
            blind = set()
            for answer, address in asked.items():
                try:
                    if not self.ray.get(answer):
                        blind.add(address)
                except self.ray.exceptions.RayTaskError as error:  # as where the code is not there
                    raise explained(error, "sees the output", 0) from error
                except self.ray.exceptions.RayError:  # the node went away meanwhile, and gets no task
                    continue
            return sorted(blind)
        finally:
            store.delete_folder(folder)

    def in_flight(self) -> int:
        """Of the nodes that are there now: a cluster grows and shrinks during a run."""
        limit = IN_FLIGHT_PER_CPU * max(1, int(self.ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
        return min(limit, self.workers) if self.workers is not None and self.joined else limit

    def run(
        self, work: Work[Payload, Shared, StatsT], pending: Mapping[int, Payload | Candidate[Payload]]
    ) -> Iterator[tuple[int, Manifest[StatsT] | Exception]]:
        ray = self.ray
        task = self.remote.options(name=work.name)
        held = ray.put(work)
        limit = self.in_flight()
        queue = iter(pending.items())
        running: dict[ObjectRef[Manifest[StatsT]], int] = {}
        while True:
            while len(running) < limit and (following := next(queue, None)) is not None:
                index, payload = following
                key = ray_progress.key(self.run_id, work.name, index)
                reference = task.remote(held, index, payload, key)
                running[reference], self.keys[reference] = index, key
            if not running:
                ray_progress.forget(self.run_id, work.name)
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                index = running.pop(reference)
                del self.keys[reference]
                outcome: Manifest[StatsT] | Exception
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.RayError as error:
                    outcome = explained(error, work.name, index)
                yield index, outcome

    def under_way(self) -> Amount:
        return ray_progress.read(list(self.keys.values()))

    def close(self) -> None:
        ray_progress.forget(self.run_id)
        if self.owned:
            self.ray.shutdown()


def reported(
    work: Work[Payload, Shared, StatsT], index: int, payload: Payload | Candidate[Payload], key: bytes
) -> Manifest[StatsT]:
    """`execute`, with word to the driver of how far it is."""
    ray_progress.begin(key)
    try:
        return execute(work, index, payload)
    finally:
        ray_progress.end()


def join(address: str) -> None:
    """Joins a cluster. RuntimeError in one sentence where it cannot."""
    import ray

    try:
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    except (ray.exceptions.AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"RAY_ADDRESS={address}: no Ray can be joined there ({first_line(error)}); give the head's host:port, and "
            "where it wants a token RAY_AUTH_MODE=token with it in RAY_AUTH_TOKEN or ~/.ray/auth_token, or unset "
            "RAY_ADDRESS to start a Ray here"
        ) from error


def sees(store: Store, folder: str, word: str) -> bool:
    """Whether this process reads what the driver wrote below `folder`, and may write there itself."""
    try:
        if store.read(f"{folder}/driver") != word.encode():
            return False
        own = f"{folder}/{uuid.uuid4().hex}"
        store.write(own, b"")
        store.delete(own)
    except OSError:
        return False
    return True


def lost_with_the_job(store: Store) -> bool:
    """Whether the output is in the copy of the working directory in which `ray job submit` runs its driver."""
    return store.local and WORKING_COPIES in posixpath.normpath(store.root) + "/"


def explained(error: Exception, step: str, index: int) -> Exception:
    """What a task raised; or, where Ray gave the task up, a sentence with what helps."""
    import ray.exceptions as failures

    told: Exception
    if isinstance(error, failures.RayTaskError):
        cause = error.cause
        if isinstance(cause, MemoryError):
            told = MemoryError(f"the system refused it memory; {REMEDY}")
        elif isinstance(cause, Exception) and not isinstance(cause, failures.RayError):
            return cause
        else:
            told = RuntimeError(last_line(error))
    elif isinstance(error, failures.OutOfMemoryError | failures.WorkerCrashedError):
        ended = isinstance(error, failures.OutOfMemoryError)
        why = "Ray ended it as its node ran out of memory" if ended else "its process was killed or crashed"
        told = TaskLost(
            f"{step}, task {index}: {why}, {RETRIES + 1} times; {REMEDY}; what is done is kept, run again to go on"
        )
    else:
        told = RuntimeError(f"its node or its result was lost ({first_line(error)})")
    told.__cause__ = error
    return told


def last_line(error: BaseException) -> str:
    """Of an exception that could not be sent, which comes as its traceback: what it was."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
