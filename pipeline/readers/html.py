"""Web pages as files: an .html file, a folder or an archive of them. A page is a document, as `content` for `extract`.

Other than `text` and `tree`, which take what is beside the pages too. A file is a page by its name (.html, .htm,
.xhtml), or by its first bytes where its name says neither that nor that it is something else, as `index.php?id=3` in a
mirror. Everything else is counted. `record` is 0, in an archive the offset of the member's header.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from gristmill.pipeline.readers.archive import Entry, entries
from gristmill.pipeline.readers.files import BINARY, HTML, page_type
from gristmill.pipeline.readers.rows import Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.stages.extract import is_html

OTHER = BINARY | {
    ".css", ".csv", ".js", ".json", ".jsonl", ".map", ".md", ".mjs", ".py", ".rss", ".svg", ".ts", ".txt", ".xml",
    ".xsl", ".yaml", ".yml",
}  # fmt: skip


def read_html(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    for entry in entries(segment, max_document_bytes, may_be_page, skipped):
        if entry.data is None:
            yield quarantined(entry.path, entry.record, entry.reason or "read.truncated", entry.size, entry.head)
        elif not entry.data.strip():
            skipped["html.empty"] += 1
        elif _is_page(entry):
            metadata = metadata_json(spec.metadata)
            yield Row(
                entry.path,
                entry.record,
                content=entry.data,
                content_type=page_type(entry.name),
                category="web",
                language=spec.language,
                metadata=metadata,
            )
        else:
            skipped["html.no_page"] += 1


def may_be_page(name: str) -> bool:
    return posixpath.splitext(name.lower())[1] not in OTHER


def _is_page(entry: Entry) -> bool:
    return entry.name.lower().endswith(HTML) or (entry.data is not None and is_html("", entry.data))
