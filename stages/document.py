"""The one schema of a document, and of what the passes write about it.

A document travels as a row of an Arrow record batch. `DOCUMENT` is what a reader yields and what is
stored between passes; `VERDICT` are the columns with which a stage says that a row leaves; `CURATED`
is what users read in `curated/`. A row's *handle* is its address in the first pass's output:
partition << 32 | row, an unsigned 64-bit integer that depends on the plan alone.
"""

from __future__ import annotations

import pyarrow as pa

ID = pa.binary(16)
"""128-bit document id, xxh3_128, big-endian digest bytes."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

DOCUMENT = pa.schema(
    [
        pa.field("id", ID, nullable=False),
        pa.field("text", pa.large_string()),  # null until `extract` when `content` holds the raw page
        pa.field("source", pa.string(), nullable=False),  # the source's name in the configuration
        pa.field("path", pa.string(), nullable=False),  # below the source's root; '/' separators
        pa.field("record", pa.int64(), nullable=False),  # see readers: byte offset, row number, or 0
        pa.field("own_id", pa.string()),
        pa.field("domain", pa.string()),  # english | multilingual | code; a reader's prose is decided by `language`
        pa.field("category", pa.string()),  # web, books, news, papers, encyclopedia, legal, finance, misc
        pa.field("language", pa.string()),  # ISO 639-1, or the programming language for code
        pa.field("url", pa.string()),
        pa.field("timestamp", TIMESTAMP),
        pa.field("priority", pa.int32(), nullable=False),  # lower wins among duplicates
        pa.field("title", pa.string()),
        pa.field("site", pa.string()),  # its name, or its host
        pa.field("canonical_url", pa.string()),  # where the page says that it belongs
        pa.field("published", TIMESTAMP),  # when the page says that it was; `timestamp` is when the source had it
        pa.field("license", pa.string()),  # as stated: an SPDX expression or a sentence
        pa.field("metadata", pa.string()),  # JSON object of the columns that have no place above
    ]
)

RAW = pa.schema(
    [
        *DOCUMENT,
        pa.field("content", pa.large_binary()),  # the raw page; null where the reader gave text
        pa.field("content_type", pa.string()),  # media type as served, parameters included
    ]
)
"""What readers yield. `extract` turns `content` into `text` and removes the last two columns."""

VERDICT = pa.schema(
    [
        pa.field("dropped_by", pa.string()),  # `stage.rule` of the first failing rule; null: stays
        pa.field("value", pa.float64()),  # what was measured
        pa.field("limit", pa.float64()),  # what it was measured against
        pa.field("failed", pa.binary()),  # little-endian bit mask of all failing rules, in configured order
        pa.field("quarantined_by", pa.string()),  # `stage.reason`: the input was unusable; null: fine
        pa.field("edited_by", pa.string()),  # `stage.reason` of an edit, for the ledger; null: `stage.edited`
    ]
)
"""Columns a per-document stage may add. A row with neither `dropped_by` nor `quarantined_by` is kept."""

CURATED = pa.schema(
    [
        *DOCUMENT,
        pa.field("cluster", ID, nullable=False),  # of near-duplicates: id of the survivor; else the document's own id
        pa.field("perplexity", pa.float64()),  # null where no language model measured it
        pa.field("bucket", pa.string()),  # head | middle | tail of its language's perplexities, or all
        pa.field("quality", pa.float64()),  # a classifier's probability
    ]
)
MEASURED = ("perplexity", "bucket", "quality")
"""Columns of `CURATED` that stages measure, if they are configured; else null."""

DOMAINS = ("english", "multilingual", "code")


def handle(partition: int, row: int) -> int:
    """Address of a row of the first pass: partition (< 2^31) in the high, row (< 2^32) in the low half."""
    return partition << 32 | row
