"""Runs with datatrove's Python: four filters over a JSONL file, as shipped and with all splits given.

    python datatrove_filters.py INPUT.jsonl.zst OUTPUT_FOLDER      prints one JSON object

As shipped: JsonlReader, GopherRepetition, GopherQuality, C4Quality, FineWebQuality, ParquetWriter, in one process, in
the order of datatrove's own FineWeb example. With splits given: the same, but words and sentences come from a table
that a run before has filled, so that what is measured is the filters and not spaCy.
"""

from __future__ import annotations

import json
import sys
import time

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import ParquetWriter

FAILED = [0]


def patient(filter_class: type) -> None:
    """A filter that raises on a document, as C4Quality does on some, drops it; how many is part of the result."""
    decide = filter_class.filter

    def tried(self, doc):
        try:
            return decide(self, doc)
        except Exception:
            FAILED[0] += 1
            return False, "failed"

    filter_class.filter = tried


def adapted(self, data, path, id_in_file):
    """Text and id alone: its Parquet writer wants the same metadata of every document."""
    return {"text": data["text"], "id": data.get("id", f"{path}/{id_in_file}"), "media": [], "metadata": {}}


def chain(folder: str, pattern: str, output: str) -> dict[str, float]:
    # a writer that is used in a second run must be a new one
    steps = [
        JsonlReader(folder, glob_pattern=pattern, compression="zstd", adapter=adapted),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(),
        FineWebQualityFilter(),
        ParquetWriter(output),
    ]
    size = 0
    kept = 0

    def counted(documents: DocumentsPipeline) -> DocumentsPipeline:
        nonlocal size
        for document in documents:
            size += len(document.text.encode())
            yield document

    began = time.process_time()
    documents: DocumentsPipeline = None
    for i, step in enumerate(steps):
        documents = step.run(documents, 0, 1)
        if i == 0:
            documents = counted(documents)
    for _ in documents:
        kept += 1
    return {"seconds": time.process_time() - began, "bytes": size, "kept": kept}


def remember_splits() -> None:
    """Puts a table in the place of the functions that split text into words and sentences."""
    for module in (c4_filters, fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
        for name in ("split_into_words", "split_into_sentences"):
            split = getattr(module, name, None)
            if split is not None:
                setattr(module, name, remembered(split))


def remembered(split):
    known: dict[tuple[str, str], list[str]] = {}

    def look_up(text, language):
        key = (text, language)
        if key not in known:
            known[key] = split(text, language)
        return known[key]

    return look_up


def main() -> None:
    for each in (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter):
        patient(each)
    folder, _, name = sys.argv[1].rpartition("/")
    shipped = {**chain(folder, name, f"{sys.argv[2]}/shipped"), "filters_that_raised": FAILED[0]}
    remember_splits()
    chain(folder, name, f"{sys.argv[2]}/warm")
    given = min((chain(folder, name, f"{sys.argv[2]}/given{i}") for i in range(3)), key=lambda run: run["seconds"])
    print(json.dumps({"shipped": shipped, "given": given}))


main()
