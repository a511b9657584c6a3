"""The first characters of a text on one line: " ".join(text[:4 * limit].split())[:limit], as bytes to bytes.

White space is `utf8.SPACE`. It reads at most four times as many characters as it may give, so a text that starts
with a great deal of white space has a shorter preview.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from gristmill.kernels.text import utf8


def preview(text: pa.Array, limit: int) -> pa.Array:
    """text: Arrow large_string. Returns Arrow string, `limit` characters at most per row; null stays null."""
    data, offsets = utf8.buffers(text)
    sizes = np.minimum(np.diff(offsets), 4 * limit)  # a character has at most four bytes
    folded = np.empty(int(sizes.sum()), np.uint8)
    ends = np.zeros(len(text) + 1, np.int32)
    table = utf8.table()
    _fold(data, offsets, limit, table.blocks, table.classes, table.flags, folded, ends)
    valid = None if text.null_count == 0 else text.is_valid()
    validity = None if valid is None else pa.py_buffer(np.packbits(valid.to_numpy(False), bitorder="little"))
    buffers = [validity, pa.py_buffer(ends), pa.py_buffer(folded[: ends[-1]])]
    return pa.StringArray.from_buffers(len(text), buffers[1], buffers[2], buffers[0])


@numba.njit(cache=True)
def _fold(data, offsets, limit, blocks, classes, flags, folded, ends):
    at = 0
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        read = written = 0
        gap = False
        while i < end and read < 4 * limit and written < limit:
            code, width = utf8.decode(data, i, end)
            read += 1
            if flags[classes[blocks[code >> 8], code & 255]] & utf8.SPACE:
                gap = written > 0
            else:
                if gap:
                    folded[at] = 32
                    at += 1
                    written += 1
                    gap = False
                    if written == limit:
                        break
                folded[at : at + width] = data[i : i + width]
                at += width
                written += 1
            i += width
        ends[row + 1] = at
