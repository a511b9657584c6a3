"""Compiled functions without reference counting, for scans that hand arrays from function to function at every word.

    @uncounted   compiled, cached on disk
    @inlined     compiled into its callers by LLVM

Numba counts the references to every array that a function is given, with two atomic operations a call: half of the
time of a scan whose functions take nanoseconds. Such a function, and all that it calls, may slice and index arrays but
make none: scratch comes from outside, and its caller holds it. The switch, `_nrt`, is Numba's own for functions that
run without its runtime; it is not in its documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

uncounted: Callable[..., Any] = numba.njit(cache=True, _nrt=False)  # type: ignore[call-overload]
inlined: Callable[..., Any] = numba.njit(forceinline=True, _nrt=False)  # type: ignore[call-overload]
