"""Hosts of URLs and their place in lists: bytes in, row numbers out.

    places(data, starts, ends)   where in each URL its host is, and what follows it
    table(items), find(...)      does a URL's host, a domain above it, or such a host with the begin of the path stand
                                 in the list: FNV-1a of every suffix of the host, open addressing, bytes compared

A host is what browsers ask for: without user, port and trailing dots, in lower case, international names as `xn--`
(RFC 3490, where ß is ss). It knows no public suffixes, fetches nothing and decides nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import numba
import numpy as np

BASIS, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a, 64 bits
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: the low bits of FNV alone are of the last bytes
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # full stops that IDNA takes for dots, RFC 3490 section 3.1
FOLD = np.array([byte | 32 if 65 <= byte <= 90 else byte for byte in range(256)], np.uint8)
"""ASCII letters in lower case."""


class Places(NamedTuple):
    """Row i: its host is data[begin[i] : split[i]], in any case; what follows it is data[rest[i] : end[i]]."""

    data: np.ndarray  # (bytes,) uint8
    begin: np.ndarray  # (n,) int64
    split: np.ndarray  # (n,) int64
    rest: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64


class Table(NamedTuple):
    """The items of a list and where to find them. Slots are -1 where empty, tags the low half of an item's hash."""

    items: Places
    slots: np.ndarray  # (2^k,) int32
    tags: np.ndarray  # (2^k,) uint32
    hosts: np.ndarray  # (2^j,) int32: an item with a path, by its host alone
    host_tags: np.ndarray  # (2^j,) uint32


def places(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Places:
    """data (bytes,) uint8; starts, ends (n,) int64: URLs with or without a scheme. `data` is copied only where a host
    has percent escapes or letters beyond ASCII."""
    begin, split, rest, end, odd = _places(data, starts, ends)
    rewritten, size = [data.tobytes()] if len(odd) else [], len(data)
    for row in odd.tolist():
        host = _ascii_host(data[begin[row] : split[row]].tobytes())
        rewritten.append(host)
        begin[row], split[row] = size, size + len(host)
        size += len(host)
    return Places(np.frombuffer(b"".join(rewritten), np.uint8) if rewritten else data, begin, split, rest, end)


def _ascii_host(host: bytes) -> bytes:
    """A host with percent escapes or letters beyond ASCII as it is looked up; as it is where it cannot be one."""
    name = _DOTS.sub(".", unquote_to_bytes(host).decode("utf-8", "replace")).rstrip(".")
    labels = []
    for label in name.split("."):
        try:
            labels.append(label.encode("idna") if label else b"")
        except UnicodeError:
            labels.append(label.casefold().encode())
    return b".".join(labels).lower()


def table(items: Places) -> Table:
    """A trailing '/' of an item is left out; of equal items the first counts."""
    data, begin, split, rest, end = items
    end = end - ((end > rest) & (data[np.maximum(end - 1, 0)] == ord("/")) if len(data) else 0)
    items = Places(data, begin, split, rest, end)
    return Table(
        items, *_filled(items, np.flatnonzero(split > begin), True), *_filled(items, np.flatnonzero(end > rest), False)
    )


def _filled(items: Places, chosen: np.ndarray, paths: bool) -> tuple[np.ndarray, np.ndarray]:
    size = 1 << max(4, (len(chosen) * 3 // 2).bit_length())
    slots, tags = np.full(size, -1, np.int32), np.zeros(size, np.uint32)
    _fill(*items, chosen, paths, slots, tags)
    return slots, tags


def find(urls: Places, listed: Table) -> np.ndarray:
    """(n,) int64: for each URL the item of its host, or of the nearest domain above, by itself or with the begin of the
    path; -1 where there is none. A path's begin ends before / ? # & or at the end."""
    return _find(*urls, *listed.items, *listed[1:])  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def _places(data, starts, ends):
    n = len(starts)
    begin, split = np.empty(n, np.int64), np.empty(n, np.int64)
    rest, end = np.empty(n, np.int64), np.empty(n, np.int64)
    odd = np.empty(n, np.int64)
    odds = 0
    for row in range(n):
        at, stop = starts[row], ends[row]
        while at < stop and data[at] <= 32:
            at += 1
        while stop > at and data[stop - 1] <= 32:
            stop -= 1
        i = at  # the scheme: a letter, then letters, digits, + - .
        while i < stop and (97 <= (data[i] | 32) <= 122 or (i > at and 43 <= data[i] <= 57 and data[i] != 47)):
            i += 1
        if i > at and i + 2 < stop and data[i] == 58 and data[i + 1] == 47 and data[i + 2] == 47:  # ://
            at = i + 3
        elif at + 1 < stop and data[at] == 47 and data[at + 1] == 47:
            at += 2
        behind = at
        host = at
        is_odd = False
        while behind < stop:
            byte = data[behind]
            if byte == 47 or byte == 63 or byte == 35 or byte == 92:
                break
            if byte == 64:  # what is before the last @ is the user
                host = behind + 1
                is_odd = False
            is_odd |= byte >= 128 or byte == 37
            behind += 1
        last = host
        if host < behind and data[host] == 91:  # [IPv6]
            host += 1
            last = host
            while last < behind and data[last] != 93:
                last += 1
        else:
            while last < behind and data[last] != 58:
                last += 1
        while last > host and data[last - 1] == 46:
            last -= 1
        begin[row], split[row], rest[row], end[row] = host, last, behind, stop
        if is_odd:
            odd[odds] = row
            odds += 1
    return begin, split, rest, end, odd[:odds].copy()


@numba.njit(cache=True, nogil=True)
def hashed(data, start, end, value):
    """FNV-1a, ASCII letters in lower case."""
    for i in range(start, end):
        value = (value ^ np.uint64(FOLD[data[i]])) * PRIME
    return value


@numba.njit(cache=True, nogil=True)
def slot(value, size):
    return np.int64((value * _MIX) >> np.uint64(32)) & (size - 1)


@numba.njit(cache=True, nogil=True)
def same_host(a, a_start, a_end, b, b_start, b_end):
    if a_end - a_start != b_end - b_start:
        return False
    same = True
    for i in range(a_end - a_start):
        same &= FOLD[a[a_start + i]] == FOLD[b[b_start + i]]
    return same


@numba.njit(cache=True, nogil=True)
def _same(a, a_start, a_end, b, b_start, b_end):
    if a_end - a_start != b_end - b_start:
        return False
    same = True
    for i in range(a_end - a_start):
        same &= a[a_start + i] == b[b_start + i]
    return same


@numba.njit(cache=True, nogil=True)
def _path_hash(data, start, end, value):
    for i in range(start, end):
        value = (value ^ np.uint64(data[i])) * PRIME
    return value


@numba.njit(cache=True, nogil=True)
def _fill(data, begin, split, rest, end, chosen, paths, slots, tags):
    size = len(slots)
    for item in chosen:
        value = hashed(data, begin[item], split[item], BASIS)
        if paths:
            value = _path_hash(data, rest[item], end[item], value)
        at = slot(value, size)
        while slots[at] >= 0:
            other = slots[at]
            if (
                tags[at] == np.uint32(value)
                and same_host(data, begin[item], split[item], data, begin[other], split[other])
                and (not paths or _same(data, rest[item], end[item], data, rest[other], end[other]))
            ):
                break
            at = (at + 1) & (size - 1)
        if slots[at] < 0:
            slots[at], tags[at] = item, np.uint32(value)


@numba.njit(cache=True, nogil=True)
def _find(
    data, begin, split, rest, end, items, item_begin, item_split, item_rest, item_end, slots, tags, hosts, host_tags
):
    result = np.full(len(begin), -1, np.int64)
    size, hosts_size = len(slots), len(hosts)
    for row in range(len(begin)):
        start, stop = begin[row], split[row]
        while start < stop and result[row] < 0:
            value = hashed(data, start, stop, BASIS)
            at = slot(value, size)
            while slots[at] >= 0:
                item = slots[at]
                if (
                    tags[at] == np.uint32(value)
                    and item_end[item] == item_rest[item]
                    and same_host(data, start, stop, items, item_begin[item], item_split[item])
                ):
                    result[row] = item
                    break
                at = (at + 1) & (size - 1)
            at = slot(value, hosts_size)
            while result[row] < 0 and hosts[at] >= 0:
                item = hosts[at]
                if host_tags[at] == np.uint32(value) and same_host(
                    data, start, stop, items, item_begin[item], item_split[item]
                ):
                    result[row] = _find_path(
                        data, start, stop, rest[row], end[row], value,
                        items, item_begin, item_split, item_rest, item_end, slots, tags,
                    )  # fmt: skip
                    break
                at = (at + 1) & (hosts_size - 1)
            while start < stop and data[start] != 46:
                start += 1
            start += 1
    return result


@numba.njit(cache=True, nogil=True)
def _find_path(
    data, start, stop, rest, end, value, items, item_begin, item_split, item_rest, item_end, slots, tags
):  # fmt: skip
    """Item of this host and a begin of this path."""
    size = len(slots)
    for i in range(rest, end):
        value = (value ^ np.uint64(data[i])) * PRIME
        following = data[i + 1] if i + 1 < end else 47
        if following != 47 and following != 63 and following != 35 and following != 38:
            continue
        at = slot(value, size)
        while slots[at] >= 0:
            item = slots[at]
            if (
                tags[at] == np.uint32(value)
                and _same(data, rest, i + 1, items, item_rest[item], item_end[item])
                and same_host(data, start, stop, items, item_begin[item], item_split[item])
            ):
                return item
            at = (at + 1) & (size - 1)
    return -1
