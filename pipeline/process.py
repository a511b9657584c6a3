"""What a worker process is to the machine: one core, and no more memory than its task needs."""

from __future__ import annotations

import ctypes
from functools import lru_cache

IO_THREADS = 2


@lru_cache(maxsize=1)
def one_core() -> None:
    """A task is one core to the scheduler, so Arrow gets one: on 64 cores it would start 64 threads in each worker."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(IO_THREADS)


def release_memory() -> None:
    """Gives freed memory back: allocators keep it, a hundred megabytes and more after a task, for nobody's use."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):  # not glibc
        return None
