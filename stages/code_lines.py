"""The lines of source code, for those who count them: CRLF and CR end a line of it as LF does.

The file itself keeps its bytes. Form feeds and the line ends of Unicode end no line of code: to compilers they are
white space or parts of strings.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_places import is_code


def measured_text(batch: pa.RecordBatch) -> pa.Array:
    """The column `text` with LF for CRLF and CR in rows of domain code; the column itself where none has them."""
    text = batch.column("text")
    at = np.flatnonzero(is_code(batch) & text.is_valid().to_numpy(zero_copy_only=False))
    if not len(at):
        return text
    files = text if len(at) == len(text) else text.take(pa.array(at))
    at = at[pc.match_substring(files, "\r").to_numpy(zero_copy_only=False)]
    if not len(at):
        return text
    lines = pc.replace_substring(text.take(pa.array(at)), "\r\n", "\n")
    lines = pc.replace_substring(lines, "\r", "\n")
    place = np.full(len(text), -1, np.int64)
    place[at] = np.arange(len(at))
    return pc.coalesce(lines.take(pa.array(place, mask=place < 0)), text)
