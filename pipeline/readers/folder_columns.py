"""What stands beside a record: the columns that its folders give, and the encoding of its file.

`language=de/year=2015/part-0.parquet`, as Spark, Hive and Arrow lay out tables: a folder `key=value` is a column of all
records below it. Values are text; a record's own column of that name goes before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.values import Record
from gristmill.stages.code_keys import KEYS, LANGUAGE_KEYS

NOTHING = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([^=/]+)=([^/]*)")


def folder_columns(path: str) -> dict[str, str]:
    """Of a path below a source's root; what the deepest folder says counts."""
    pairs = (_FOLDER.fullmatch(folder) for folder in path.split("/")[:-1])
    return {unquote(pair[1]): unquote(pair[2]) for pair in pairs if pair and pair[2] not in ("", NOTHING)}


def used_columns(segment: Segment, spec: SourceSpec) -> dict[str, str]:
    """Those that a reader of records looks for; the others are metadata."""
    wanted = {*spec.columns_in_use().values(), *KEYS, *LANGUAGE_KEYS}
    return {key: value for key, value in folder_columns(segment.path).items() if key in wanted}


def with_constants(segment: Segment, spec: SourceSpec) -> SourceSpec:
    """The source with what all records of the file have in their metadata."""
    used = used_columns(segment, spec)
    more = {key: value for key, value in folder_columns(segment.path).items() if key not in used}
    if segment.encoding is not None:
        more["encoding"] = segment.encoding
    return replace(spec, metadata={**more, **spec.metadata}) if more else spec


def add_columns(record: Record, columns: Mapping[str, str]) -> None:
    for key, value in columns.items():
        if record.get(key) is None:
            record[key] = value
