"""Line breaks of a page's source between characters of scripts that are written without spaces.

An HTML parser makes a space of every line break. Between two characters of such scripts (Chinese, Japanese, Thai,
Khmer and the like, `unspaced`) that space is not part of the text: authors only wrapped their lines. CSS
Text 3, section 4.1.3, lets browsers remove it; this does so before the page is parsed, through inline tags and
comments as well. Spaces without a line break stay, and so does everything in <pre>, <textarea>, scripts and styles.

    page (n,) uint8 -> page (m <= n,) uint8
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.page_hints import BLOCKS, is_joined, reference
from gristmill.kernels.text.tags import (
    RAW,
    SCRIPT,
    behind_attributes,
    behind_comment,
    behind_raw,
    flags_of,
    is_letter,
    is_space,
    name_at,
    name_hash,
    tag_table,
)

INLINE = (
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd label mark nobr q rb rp rt rtc ruby s samp small "
    "span strike strong sub sup time tt u var wbr"
)
"""Elements whose tags do not end a line of text (HTML Standard, section 15.3)."""
MAX_RUNS = 16
"""Runs of white space between two characters; where inline tags make more of them, the breaks stay."""


def without_source_breaks(page: bytes) -> bytes:
    """`page`, UTF-8, without the breaks; the same object where it has none."""
    out, size = _without(np.frombuffer(page, np.uint8), BLOCKS, *tag_table(), *_names())
    return page if size == len(page) else out[:size].tobytes()


@functools.cache
def _names() -> tuple[np.ndarray, np.uint64]:
    return np.sort(np.array([name_hash(name) for name in INLINE.split()], np.uint64)), np.uint64(name_hash("pre"))


@numba.njit(cache=True, nogil=True)
def _without(data, blocks, hashes, flags, asked, inline, pre):
    n = len(data)
    out = np.empty(n, np.uint8)
    size = at = 0
    begins = np.empty(MAX_RUNS, np.int64)  # white space since the last character, as places in `out`
    ends = np.empty(MAX_RUNS, np.int64)
    runs = 0
    after = broken = preformatted = False  # such a character came last; a line break since; within <pre>
    while at < n:
        byte = data[at]
        begin = at
        if byte == 60 and at + 1 < n:
            following = data[at + 1]
            is_end = following == 47 and at + 2 < n and is_letter(data[at + 2])
            if is_end or is_letter(following):
                name, at = name_at(data, at + 2 if is_end else at + 1)
                _, at, _, _, _ = behind_attributes(data, at, asked)
                place = np.searchsorted(inline, name)
                if place >= len(inline) or inline[place] != name:
                    after = False
                    if name == pre:
                        preformatted = not is_end
                    elif not is_end and flags_of(name, hashes, flags) & RAW:
                        at = behind_raw(data, at, name, name == asked[SCRIPT])
            elif following == 33 and at + 3 < n and data[at + 2] == 45 and data[at + 3] == 45:
                at = behind_comment(data, at + 4)
            elif following == 33 or following == 63 or following == 47:
                while at < n and data[at] != 62:
                    at += 1
                at += 1
            else:
                after = False
                at += 1
            at = min(at, n)
            for i in range(begin, at):
                out[size] = data[i]
                size += 1
            continue
        if is_space(byte):
            while at < n and is_space(data[at]):
                broken = broken or data[at] == 10 or data[at] == 13
                out[size] = data[at]
                size += 1
                at += 1
            if after:
                if runs == MAX_RUNS:
                    after = False
                else:
                    begins[runs], ends[runs] = size - (at - begin), size
                    runs += 1
            continue
        if byte == 38:
            code, at = reference(data, at)
        else:
            code, width = utf8.decode(data, at, n)
            at += width
        unspaced = not preformatted and is_joined(code, blocks)
        if unspaced and after and broken and runs:
            to = begins[0]
            for k in range(runs):
                until = begins[k + 1] if k + 1 < runs else size
                for i in range(ends[k], until):
                    out[to] = out[i]
                    to += 1
            size = to
        after, broken, runs = unspaced, False, 0
        for i in range(begin, at):
            out[size] = data[i]
            size += 1
    return out, size
