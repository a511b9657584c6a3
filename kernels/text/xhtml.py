"""XHTML written so that an HTML parser reads what an XML parser would.

    <title/>  <a id="x"/>         <title></title>  <a id="x"></a>     empty elements but the void ones
    <br></br>                     <br>                                to HTML </br> is another <br>
    <![CDATA[a < b]]>             a &lt; b                            HTML has none outside svg and math
    <!DOCTYPE html [ … ]>         <!DOCTYPE html >                    HTML ends it at the first '>'
    <?php …?>  <?xml …?>          nothing

To HTML `<title/>`, `<script src="x"/>` or `<iframe/>` is a start tag, and everything that follows is its text; `<a/>`
and `<div/>` stay open. What lies in a script, style or comment is copied as it stands. One pass, without a tree: a
page that is not well-formed keeps what it has, for the HTML parser to make the best of.

    page (n,) uint8 -> page (m,) uint8
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.tags import (
    RAW,
    SCRIPT,
    VOID,
    behind_attributes,
    behind_comment,
    behind_raw,
    find,
    flags_of,
    is_letter,
    is_space,
    name_at,
    name_hash,
    tag_table,
)

MAX_INSTRUCTION = 4096
_PLAINTEXT = np.uint64(name_hash("plaintext"))
"""HTML has no end tag for it."""


def as_html(page: bytes) -> bytes:
    """`page`, UTF-8 markup that is XHTML by its own account, for an HTML parser."""
    data = np.frombuffer(page, np.uint8)
    tables = (*tag_table(), _PLAINTEXT)
    size, changed = _written(data, np.empty(0, np.uint8), *tables)
    if not changed:
        return page
    out = np.empty(size, np.uint8)
    _written(data, out, *tables)
    return out.tobytes()


@numba.njit(cache=True, nogil=True)
def _copy(data, begin, end, out, size):
    if len(out):
        for i in range(begin, end):
            out[size + i - begin] = data[i]
    return size + end - begin


@numba.njit(cache=True, nogil=True)
def _escaped(data, begin, end, out, size):
    """Copies text of a CDATA section, with what would be markup as references."""
    for i in range(begin, end):
        byte = data[i]
        if byte == 38 or byte == 60:
            if len(out):
                out[size] = 38
                out[size + 1] = 97 if byte == 38 else 108  # &amp; &lt;
                out[size + 2] = 109 if byte == 38 else 116
                if byte == 38:
                    out[size + 3] = 112
                out[size + (4 if byte == 38 else 3)] = 59
            size += 5 if byte == 38 else 4
        else:
            if len(out):
                out[size] = byte
            size += 1
    return size


@numba.njit(cache=True, nogil=True)
def _behind_subset(data, at):
    """Place behind the ']' and '>' that end the internal subset of a doctype, past the quoted values of its entities;
    -1: it has no end."""
    n = len(data)
    quote = 0
    while at < n:
        byte = data[at]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte == 34 or byte == 39:
            quote = byte
        elif byte == 93:
            behind = at + 1
            while behind < n and is_space(data[behind]):
                behind += 1
            if behind < n and data[behind] == 62:
                return behind + 1
            at = behind - 1
        at += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _behind_instruction(data, at):
    """Place behind '?>'; behind the first '>', as in HTML, where that is far away."""
    n = len(data)
    first = -1
    for i in range(at, min(n, at + MAX_INSTRUCTION)):
        if data[i] == 62:
            if data[i - 1] == 63:
                return i + 1
            first = i + 1 if first < 0 else first
    return first if first >= 0 else min(n, at + MAX_INSTRUCTION)


@numba.njit(cache=True, nogil=True)
def _written(data, out, hashes, flags, asked, plaintext):
    """(bytes of the page as HTML, whether they are others); they are written where `out` is not empty."""
    n = len(data)
    size = at = 0
    endless = changed = False
    while at < n:
        begin = at
        if data[at] != 60 or at + 1 >= n:
            while at < n and (at == begin or data[at] != 60):
                at += 1
            size = _copy(data, begin, at, out, size)
            continue
        following = data[at + 1]
        is_end = following == 47 and at + 2 < n and is_letter(data[at + 2])
        if is_end or is_letter(following):
            name, behind = name_at(data, at + 2 if is_end else at + 1)
            _, at, closed, _, _ = behind_attributes(data, behind, asked)
            at = min(at, n)
            kind = flags_of(name, hashes, flags)
            if is_end and kind & VOID:
                changed = True
                continue
            if not closed or is_end or kind & VOID or data[at - 1] != 62:
                size = _copy(data, begin, at, out, size)
                if not is_end and kind & RAW and at < n:
                    to = behind_raw(data, at, name, name == asked[SCRIPT])
                    size = _copy(data, at, to, out, size)
                    at = to
                continue
            changed = True
            if name == plaintext:
                continue
            until = at - 2  # of '/>'
            while data[until] != 47:
                until -= 1
            size = _copy(data, begin, until, out, size)
            if len(out):
                out[size], out[size + 1], out[size + 2] = 62, 60, 47
            size = _copy(data, begin + 1, behind, out, size + 3)
            if len(out):
                out[size] = 62
            size += 1
        elif following == 33 and at + 3 < n and data[at + 2] == 45 and data[at + 3] == 45:
            at = min(behind_comment(data, at + 4), n)
            size = _copy(data, begin, at, out, size)
        elif following == 33 and at + 8 < n and data[at + 2] == 91 and data[at + 8] == 91:  # <![CDATA[
            changed = True
            at = find(data, at + 9, 93, 93, 62)
            ended = at >= begin + 12 and data[at - 1] == 62 and data[at - 2] == 93 and data[at - 3] == 93
            size = _escaped(data, begin + 9, at - 3 if ended else at, out, size)
        elif following == 33:
            while at < n and data[at] != 62 and (data[at] != 91 or endless):
                at += 1
            size = _copy(data, begin, at, out, size)
            if at < n and data[at] == 91:
                changed = True
                behind = _behind_subset(data, at + 1)
                endless = behind < 0  # nor has any that follows: looked for once
                at = at + 1 if endless else behind - 1
        elif following == 63:
            changed = True
            at = _behind_instruction(data, begin + 2)
        else:
            size = _copy(data, begin, at + 1, out, size)
            at += 1
    return size, changed
