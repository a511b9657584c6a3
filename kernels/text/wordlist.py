"""How often words and phrases of a list occur in text, for many texts and lists at once.

    count(data, offsets, which, lists) -> (rows,) int64

A place counts once, however many entries begin there. In a *bounded* list an entry begins and ends where no word
character is beside it: no letter, digit, mark of a letter or "_" (the \\W of regular expressions, but that vowel signs
belong to their word). In the others it may stand anywhere, for scripts written without spaces. Case is folded
character by character, and any white space character is a space. Entries are a trie over code points in one hash
table: (node, code point) -> node.

It does not know which languages need which.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.hashing import two_levels
from gristmill.kernels.text.utf8 import decode

_WORD = 1 << 21  # beside the folded code point
_CODE = _WORD - 1
_STARTS = 4096  # first characters by their low 12 bits
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio


class Lists(NamedTuple):
    """Lists of words, compiled; list k is row k of `starts` and entry k of `roots` and `bounded`."""

    roots: np.ndarray  # (lists,) int64: node of the trie
    bounded: np.ndarray  # (lists,) bool
    starts: np.ndarray  # (lists, 4096) bool: low bits of the first characters
    keys: np.ndarray  # (slots,) uint64: node << 21 | code point, plus 1; 0: free
    nexts: np.ndarray  # (slots,) int64
    final: np.ndarray  # (nodes,) bool: an entry ends here


@functools.cache
def folding() -> tuple[np.ndarray, np.ndarray]:
    """(roots, leaves) of `two_levels`: the folded code point, with `_WORD` for word characters."""
    flat = np.arange(0x110000, dtype=np.int32)
    for code in (*range(0x40000), *range(0xE0000, 0xE0200)):  # beyond are no letters
        character = chr(code)
        folded = 32 if character.isspace() else ord(character.lower()[0])
        word = character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"
        flat[code] = folded | _WORD * word
    return two_levels(flat)


def compiled(lists: Sequence[tuple[Sequence[str], bool]]) -> Lists:
    """`lists`: (entries, whether they need boundaries) each; empty entries are left out."""
    roots, leaves = folding()
    children: dict[tuple[int, int], int] = {}
    final = [False] * len(lists)
    starts = np.zeros((len(lists), _STARTS), np.bool_)
    for k, (entries, _) in enumerate(lists):
        for entry in entries:
            codes = [int(leaves[roots[ord(c) >> 8], ord(c) & 255]) & _CODE for c in entry.strip()]
            node = k
            for code in codes:
                node = children.setdefault((node, code), len(final))
                final += [False] * (node == len(final))
            if codes:
                final[node] = True
                starts[k, codes[0] & (_STARTS - 1)] = True
    slots = 1 << max(4, (2 * len(children)).bit_length())
    keys, nexts = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    for (node, code), child in children.items():
        _insert(keys, nexts, np.uint64((node << 21 | code) + 1), child)
    bounded = np.array([bounded for _, bounded in lists], np.bool_)
    return Lists(np.arange(len(lists)), bounded, starts, keys, nexts, np.array(final, np.bool_))


def count(data: np.ndarray, offsets: np.ndarray, which: np.ndarray, lists: Lists) -> np.ndarray:
    """(rows,) int64: places in each text where an entry of its list begins.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64. which: (rows,) int64, the list of each text, -1:
    none.
    """
    out = np.zeros(len(offsets) - 1, np.int64)
    _count(data, offsets, which, *lists, *folding(), out)
    return out


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, which, roots, bounded, starts, keys, nexts, final, pages, leaves, out):
    for row in range(len(offsets) - 1):
        k = which[row]
        if k < 0:
            continue
        begin, end = offsets[row], offsets[row + 1]
        needs_boundary = bounded[k]
        first = starts[k]
        root = roots[k]
        found = 0
        inside = False  # behind a word character
        i = begin
        while i < end:
            code, width = np.int64(data[i]), 1
            if code < 0x80:
                folded = leaves[pages[0], code]
            else:
                code, width = decode(data, i, end)
                folded = leaves[pages[code >> 8], code & 255]
            if not (inside and needs_boundary) and first[folded & (_STARTS - 1)]:
                found += _begins(data, i, end, root, needs_boundary, keys, nexts, final, pages, leaves)
            inside = folded & _WORD != 0
            i += width
        out[row] = found


@numba.njit(cache=True, nogil=True)
def _begins(data, i, end, node, needs_boundary, keys, nexts, final, pages, leaves):
    """Whether an entry begins at byte i."""
    while i < end:
        code, width = decode(data, i, end)
        folded = leaves[pages[code >> 8], code & 255]
        key = (np.uint64(node) << np.uint64(21) | np.uint64(folded & _CODE)) + np.uint64(1)
        slot = _slot(keys, key)
        if keys[slot] == 0:
            return False
        node = nexts[slot]
        i += width
        if final[node]:
            if not needs_boundary or i == end:
                return True
            code, width = decode(data, i, end)
            if leaves[pages[code >> 8], code & 255] & _WORD == 0:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _slot(keys, key):
    """Where the key stands, or the free place where it would."""
    mask = np.uint64(len(keys) - 1)
    slot = (key * _GOLDEN) >> np.uint64(20) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def _insert(keys, nexts, key, child):
    slot = _slot(keys, key)
    keys[slot], nexts[slot] = key, child
