"""Numba kernels over Arrow buffers: bytes and offsets in, numbers out.

Numba's disk cache knows a function by its own file only, not by the inlined functions of other files. So the cache of
these kernels lies in a folder named by the content of all of them: an update never runs yesterday's machine code.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def _cache_folder() -> str:
    here = Path(__file__).parent
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()[:16]
    beside = here / "__pycache__"
    writable = os.access(beside if beside.exists() else here, os.W_OK)
    base = beside if writable else Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"
    return str(base / f"numba-{content}")


os.environ.setdefault("NUMBA_CACHE_DIR", _cache_folder())
