"""A SentencePiece model's own normalisation of text, such as NFKC: its table of replacements, longest match first.

The table is in the model file: the size of a trie, the trie as a double array (darts-clone; Aoe 1989), the
replacements, each ended by a zero byte. (data, offsets) in, (data, offsets) out; spaces and U+2581 are left to
`kernels.text.pieces`.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.uncounted import inlined


class Replacements(NamedTuple):
    units: np.ndarray  # (u,) uint32: the trie; empty: nothing is replaced
    pool: np.ndarray  # (bytes,) uint8
    plain: np.ndarray  # (256,) bool: ASCII that, before ASCII, nothing begins with


def replacements(table: bytes) -> Replacements:
    """The table as it stands in a model; empty: none. ValueError where it is damaged."""
    size = int.from_bytes(table[:4], "little")
    if table and (size % 4 or not 1024 <= size <= len(table) - 4):
        raise ValueError("a table of replacements that is cut short")
    units = np.frombuffer(table, "<u4", size // 4, 4) if table else np.zeros(0, np.uint32)
    pool = np.frombuffer(table[4 + size :] + b"\0", np.uint8)
    plain = np.zeros(256, np.bool_)
    for first in range(128):
        node, _ = _after(units, 0, first, root=True)
        follows = node >= 0 and any(_after(units, node, second)[0] >= 0 for second in range(128))
        plain[first] = node < 0 or not (follows or _after(units, 0, first, root=True)[1] >= 0)
    return Replacements(units, pool, plain)


def replace(found: Replacements, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data (bytes,) uint8, offsets (n + 1,) int64) of n lines after replacement; the same arrays if there is none.

    A byte that is no UTF-8 becomes U+FFFD, as in the library.
    """
    if len(found.units) == 0:
        return data, offsets
    room = 2 * int(offsets[-1] - offsets[0]) + 256
    while True:
        out = np.empty(room, np.uint8)
        ends = _replace(data, offsets, *found, out)
        if ends[-1] >= 0:
            return out[: ends[-1]], ends
        room *= 4


def _after(units: np.ndarray, node: int, byte: int, root: bool = False) -> tuple[int, int]:
    """(node after a byte, place of its replacement), -1 where there is none."""
    if len(units) == 0:
        return -1, -1
    at = (_offset(int(units[0])) if root else node) ^ byte
    unit = int(units[at]) if at < len(units) else 1 << 31
    if unit & 0x800000FF != byte:
        return -1, -1
    following = at ^ _offset(unit)
    return following, int(units[following]) & 0x7FFFFFFF if unit >> 8 & 1 else -1


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


@numba.njit(cache=True, nogil=True)
def _replace(data, offsets, units, pool, plain, out):
    """Where each line ends in `out`; the last is -1 if `out` is too short."""
    ends = np.zeros(len(offsets), np.int64)
    count = np.uint32(len(units))
    start = units[0] >> np.uint32(10) << ((units[0] & np.uint32(512)) >> np.uint32(6))
    m = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            byte = data[at]
            if m + 4 > len(out):
                ends[-1] = -1
                return ends
            if plain[byte] and (at + 1 == end or data[at + 1] < 0x80):
                out[m] = byte
                m += 1
                at += 1
                continue
            node = start
            longest, place = 0, np.int64(0)
            k = at
            while k < end:
                node ^= np.uint32(data[k])
                if node >= count:
                    break
                unit = units[node]
                if unit & np.uint32(0x800000FF) != data[k]:
                    break
                node ^= unit >> np.uint32(10) << ((unit & np.uint32(512)) >> np.uint32(6))
                k += 1
                if unit & np.uint32(256) and node < count:
                    longest, place = k - at, np.int64(units[node] & np.uint32(0x7FFFFFFF))
            if longest == 0:
                longest = _valid(data, at, end)
                if longest == 0:
                    out[m], out[m + 1], out[m + 2] = 0xEF, 0xBF, 0xBD
                    m += 3
                    longest = 1
                else:
                    for k in range(longest):
                        out[m + k] = data[at + k]
                    m += longest
            else:
                while place < len(pool) and pool[place] != 0:
                    if m == len(out):
                        ends[-1] = -1
                        return ends
                    out[m] = pool[place]
                    m += 1
                    place += 1
            at += longest
        ends[row + 1] = m
    return ends


@inlined
def _valid(data, at, end):
    """Bytes of the UTF-8 character at `at`, 0 where there is none (Unicode Standard, table 3-7)."""
    byte = data[at]
    low, high, size = 0x80, 0xBF, 0
    if byte < 0x80:
        size = 1
    elif 0xC2 <= byte < 0xE0:
        size = 2
    elif 0xE0 <= byte < 0xF0:
        size = 3
        low = 0xA0 if byte == 0xE0 else 0x80
        high = 0x9F if byte == 0xED else 0xBF
    elif 0xF0 <= byte < 0xF5:
        size = 4
        low = 0x90 if byte == 0xF0 else 0x80
        high = 0x8F if byte == 0xF4 else 0xBF
    if at + size > end:
        size = 0
    if size > 1 and not low <= data[at + 1] <= high:
        size = 0
    for k in range(2, size):
        if data[at + k] & 0xC0 != 0x80:
            size = 0
    return size
