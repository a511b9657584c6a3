"""A file that is not what its name promises, as a web page called `x.parquet`: one quarantined row says what it is."""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.pipeline.readers.content import HEAD_BYTES, content_of
from gristmill.pipeline.readers.folder import open_segment
from gristmill.pipeline.readers.rows import Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import INPUT_BYTES, beginning


def read_foreign(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    with open_segment(segment) as file:
        head, _ = beginning(file.read(INPUT_BYTES), file.read, HEAD_BYTES)
    kind = content_of(head)
    reason = "read.packed_twice" if kind == "packed" else f"read.{kind}"
    yield quarantined(segment.path, 0, reason, segment.size, head)
