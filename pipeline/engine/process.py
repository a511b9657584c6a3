"""What a worker process is to the machine: one core, and no more memory than its task needs."""

from __future__ import annotations

import ctypes
from functools import lru_cache

IO_THREADS = 2
MMAP_BYTES = 64 << 20
"""Larger pieces of memory go back to the machine when they are freed. Smaller ones, such as a batch's texts, wait for
the next batch: to get new pages for each took a fifth of the first pass's time."""
TRIM_BYTES = 64 << 20
"""No more than this is held free at the end of the heap within a task; after it nothing is."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h


@lru_cache(maxsize=1)
def prepare() -> None:
    """Once a process, before its first task.

    A task is one core to the scheduler, so Arrow gets one: on 64 cores it would start 64 threads in each worker. Memory
    comes from the C library, which gives back what is freed; after reading 17 MB from Parquet and freeing it, Arrow's
    own allocators kept 35 to 125 MB, the C library 20.
    """
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(IO_THREADS)
    library = _library()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
        library.mallopt(M_ARENA_MAX, 2)
        pa.set_memory_pool(pa.system_memory_pool())


def release_memory() -> None:
    """Gives freed memory back to the machine."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    """glibc, where this is it."""
    try:
        library = ctypes.CDLL("libc.so.6")
        library.malloc_trim, library.mallopt  # noqa: B018
    except (OSError, AttributeError):
        return None
    return library
