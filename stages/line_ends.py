"""What ends a line of prose is made one character, U+000A, before anything looks at lines.

    CRLF, CR, VT, NEL, LS, PS -> LF; a form feed beside the end of a line goes, within a line it ends one

`kernels.text.line_ends` does it. Source code keeps its bytes: a form feed or a carriage return may mean something
there. It runs by itself where text is known and what is code, and its edits are rows of the ledger as any other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.signals import with_columns


@dataclass(frozen=True)
class LineEnds:
    """No configuration."""

    name: ClassVar[str] = "line_ends"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain")
    adds: ClassVar[tuple[str, ...]] = ("text",)
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Edits `text` where the row is not of domain code; a batch without such characters is returned as it is."""
        from gristmill.kernels.text.line_ends import normalise
        from gristmill.kernels.text.utf8 import buffers

        text = batch.column("text")
        prose = pc.and_(text.is_valid(), pc.fill_null(pc.not_equal(batch.column("domain"), "code"), True))
        for name in ("dropped_by", "quarantined_by"):
            if name in batch.schema.names:
                prose = pc.and_(prose, batch.column(name).is_null())
        data, offsets = buffers(text)
        edited = normalise(data, offsets, prose.to_numpy(zero_copy_only=False))
        if edited is None:
            return batch
        out, ends = edited
        validity = None
        if text.null_count:
            validity = pa.py_buffer(np.packbits(text.is_valid().to_numpy(zero_copy_only=False), bitorder="little"))
        found = pa.LargeStringArray.from_buffers(len(text), pa.py_buffer(ends), pa.py_buffer(out), validity)
        return with_columns(batch, {"text": found})
