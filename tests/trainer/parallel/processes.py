"""A function on N real processes joined by gloo: `run(function, 4, argument)` -> what each rank returned.

One interpreter is started, imports torch, the model and the function's module once, and forks the ranks, so that N
ranks cost little more than one. Start as few as possible all the same: let one function return what several tests
claim. The function must be of a module's top level; arguments and results go through `torch.save`.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

GRACE_S = 10.0
"""How long the others may go on after one rank has failed: they may be waiting for it in a collective."""


class RankFailed(AssertionError):
    """One of the processes raised or died; the message has its traceback."""


def run(function: Callable[..., Any], ranks: int, *arguments: Any, timeout_s: float = 300.0) -> list[Any]:
    """function(*arguments) on `ranks` processes with torch.distributed initialised (gloo) -> results by rank.

    Inside, `torch.distributed.get_rank()` tells the processes apart, and each has one thread. RankFailed with the
    traceback of the lowest rank that raised; of one that died without, its exit code; also after timeout_s.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        torch.save(arguments, f"{folder}/arguments.pt")
        Path(folder, "job.pickle").write_bytes(pickle.dumps((sys.path, ranks, pickle.dumps(function))))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        command = [sys.executable, str(Path(__file__)), folder]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as late:  # the ranks are daemons of what was killed: they find out and leave
            raise RankFailed(f"{function.__qualname__} on {ranks} ranks took over {timeout_s} s") from late
        errors = {r: Path(folder, f"{r}.txt").read_text() for r in range(ranks) if Path(folder, f"{r}.txt").exists()}
        if errors or done.returncode:
            first = "\n".join(f"rank {r}: {text}" for r, text in list(errors.items())[:2])
            raise RankFailed(f"{function.__qualname__} on {ranks} ranks failed\n{first}\n{done.stderr[-4000:]}")
        return [torch.load(f"{folder}/{r}.pt", weights_only=False) for r in range(ranks)]


def _serve(folder: str) -> int:
    path, ranks, pickled = pickle.loads(Path(folder, "job.pickle").read_bytes())
    sys.path[:] = path
    import torch

    torch.set_num_threads(1)
    function = pickle.loads(pickled)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_rank, args=(function, r, ranks, folder), daemon=True) for r in range(ranks)]
    for process in processes:
        process.start()
    failed_at = None
    while any(process.is_alive() for process in processes):
        time.sleep(0.01)
        if failed_at is None and any(process.exitcode for process in processes):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
            for process in processes:
                process.kill()
    return max(abs(process.exitcode or 0) for process in processes)


def _rank(function: Callable[..., Any], rank: int, ranks: int, folder: str) -> None:
    import ctypes
    import datetime
    import signal

    import torch
    import torch.distributed as dist

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: none outlives the process that started it
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=ranks,
            timeout=datetime.timedelta(seconds=120),
        )
        result = function(*torch.load(f"{folder}/arguments.pt", weights_only=False))
        torch.save(result, f"{folder}/{rank}.pt")
        dist.barrier()  # the store is a file of the folder: nobody leaves while another still connects
        dist.destroy_process_group()
    except BaseException:
        Path(folder, f"{rank}.txt").write_text(traceback.format_exc())
        raise SystemExit(1) from None


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1]))
