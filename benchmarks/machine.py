"""What a result says of the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def described(*packages: str) -> dict[str, Any]:
    """Machine, date and the versions of packages, for the head of a result."""
    cores, size = os.cpu_count(), memory() / 1e9
    return {
        "machine": f"{cores} cores of {processor()}, {size:.0f} GB, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("numpy", "numba", "pyarrow", *packages)},
    }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
