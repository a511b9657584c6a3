"""Items of a list of domains or URL prefixes, found in its bytes.

One item a line: a domain or a URL with or without a scheme; or a hosts file, the address first. Numba, since such lists
have millions of lines.
"""

from __future__ import annotations

import numba
import numpy as np


def list_items(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, ends, lines) int64 of the items of a list: an item a line, lines from 0.

    Lines that begin with # or ! are comments, as is what follows white space. Of a hosts file (the address first) every
    name with a dot is an item. `*.` or `.` before a domain is left out.
    """
    return _list_items(np.frombuffer(data, np.uint8))  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def _is_address(data, start, end):
    """Whether it is an IP address: digits and dots, or hexadecimal digits and colons."""
    dots = colons = letters = 0
    for i in range(start, end):
        byte = data[i] | 32
        dots += data[i] == 46
        colons += data[i] == 58
        letters += 97 <= byte <= 102
        if not (48 <= data[i] <= 58 or data[i] == 46 or 97 <= byte <= 102):
            return False
    return colons > 1 or (dots == 3 and letters == 0)


@numba.njit(cache=True, nogil=True)
def _list_items(data):
    n = len(data)
    most = 1
    for i in range(n):
        most += data[i] <= 32
    starts, ends, lines = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    count = line = at = 0
    while at < n:
        first = True
        hosts = False
        while at < n and data[at] != 10:
            if data[at] <= 32:
                at += 1
                continue
            start = at
            while at < n and data[at] > 32:
                at += 1
            if data[start] == 35 or (first and data[start] == 33) or (not first and not hosts):
                while at < n and data[at] != 10:
                    at += 1
                break
            if first and _is_address(data, start, at):
                i = at  # a hosts file, if a name follows
                while i < n and data[i] <= 32 and data[i] != 10:
                    i += 1
                hosts = i < n and data[i] != 10 and data[i] != 35
                first = False
                if hosts:
                    continue
            first = False
            dots = 0
            for i in range(start, at):
                dots += data[i] == 46
            if hosts and (dots == 0 or _is_address(data, start, at)):
                continue  # localhost and its kind
            if at - start > 2 and data[start] == 42 and data[start + 1] == 46:
                start += 2
            elif data[start] == 46:
                start += 1
            if at > start:
                starts[count], ends[count], lines[count] = start, at, line
                count += 1
        at += 1
        line += 1
    return starts[:count].copy(), ends[:count].copy(), lines[:count].copy()
