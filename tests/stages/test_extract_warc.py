"""Pages out of WARC files as crawled: every record accounted for, revisits and what is no HTML counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa

from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.rows import READ
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.stages.extract import Extract

BROKEN = {"chatnoir-resiliparse__clipped.warc.gz", "warcio__example-wrong-chunks.warc.gz"}


def read_file(file: Path) -> tuple[pa.Table, Counter[str]]:
    size = file.stat().st_size
    skipped: Counter[str] = Counter()
    partition = Partition(0, "web", (Segment(str(file), file.name, size, 0, size),), size)
    spec = SourceSpec(name="web", uri=str(file))
    batches = read(partition, spec, max_document_bytes=1 << 26, batch_bytes=1 << 24, skipped=skipped)
    return pa.Table.from_batches(list(batches), READ), skipped


def test_every_record_of_real_archives_is_a_row_or_counted_and_pages_give_text(shared_data: Path) -> None:
    folder = shared_data / "web" / "warc"
    outcome: Counter[str] = Counter()
    revisits = 0
    for line in (folder / "MANIFEST.jsonl").read_text().splitlines():
        described = json.loads(line)
        file = folder / described["file"]
        if file.suffix in (".wat", ".txt") or file.name in BROKEN:
            continue
        table, skipped = read_file(file)
        types = described["types"]
        assert table.num_rows == types.get("response", 0) + types.get("conversion", 0), file.name
        for kind in ("revisit", "request", "warcinfo", "metadata", "resource"):
            assert skipped[f"warc.{kind}"] == types.get(kind, 0), file.name
        revisits += skipped["warc.revisit"]
        for batch in table.to_batches():
            result = Extract().apply(batch)
            for row in result.to_pylist():
                outcome[row["quarantined_by"] or row["dropped_by"] or "text"] += 1
                assert (row["text"] is None) == (row["quarantined_by"] is not None or row["dropped_by"] is not None)
    assert revisits == 135
    assert outcome["warc.not_text"] == 202
    assert outcome["text"] > 60
    assert not any(name.startswith("extract.") and name != "extract.empty" for name in outcome)
