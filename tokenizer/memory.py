"""Memory that this machine has left for a process, so that training can be refused before it begins."""

from __future__ import annotations

import os
import re
from pathlib import Path

MEMORY_FILE = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""(limit, use) of a container, in the two versions of control groups."""


def available_bytes() -> int | None:
    """What can still be taken: of the machine, or of the container where that is less; None where nobody says."""
    found = [_of_machine(), *(_of_group(GROUP / limit, GROUP / use) for limit, use in LIMITS)]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", MEMORY_FILE.read_text("ascii", "replace"), re.M)
    except OSError:
        match = None
    if match is not None:
        return int(match[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_group(limit: Path, use: Path) -> int | None:
    try:
        return max(0, int(limit.read_text("ascii")) - int(use.read_text("ascii")))
    except (OSError, ValueError):  # not there, or "max"
        return None
