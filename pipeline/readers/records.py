"""From a record with named values (a JSON object, a Parquet row) to a row.

Values are anyone's: a text that is no string is none, an id or a URL of another type is written out, and what names a
language or a category must look like a name, because folders are named for it; other values stay in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TypeAlias

from gristmill.pipeline.readers.rows import Row, encodable, metadata_json
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.stages.languages import language_of_path, programming_language

Value: TypeAlias = (
    "bool | int | float | str | bytes | date | time | timedelta | Decimal"
    " | list[Value] | tuple[Value, ...] | dict[str, Value] | None"
)
"""What JSON and Arrow have for a value; a datetime is a date."""
Record = dict[str, Value]

PATH_COLUMNS = ("path", "file_path", "filename")
LICENSE_COLUMNS = ("licenses", "detected_licenses", "max_stars_repo_licenses")
"""Beside `license`: what The Stack (Kocetkov et al. 2022, Lozhkov et al. 2024) calls them."""
_NAME = re.compile(r"[\w+#*'(][\w+#*'().@ -]{0,59}")


def record_row(path: str, at: int, record: Record, columns: Mapping[str, str], spec: SourceSpec) -> Row | None:
    """`record` is consumed: what is left of it becomes metadata. None where it holds neither text nor page."""
    text = record.pop(columns["text"], None)
    content = record.pop(columns["content"], None) if "content" in columns else None
    if content is not None:
        text = None
        content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        if not isinstance(content, bytes):
            return None
    elif not isinstance(text, str):
        return None
    own_id = record.pop(columns["id"], None) if "id" in columns else None
    url = record.pop(columns["url"], None)
    language = name_of(record, columns["language"])
    category = name_of(record, columns["category"]) if "category" in columns else None
    title = _plain(record, columns["title"])
    license_ = _license(record, columns["license"])
    moment = record.pop(columns["timestamp"], None)
    timestamp = parse_timestamp(moment)
    if moment is not None and timestamp is None:
        record["timestamp"] = moment
    domain, language = domain_and_language(record, columns, spec, language, _string(own_id))
    return Row(
        path,
        at,
        text,
        content,
        "text/html; charset=utf-8" if content is not None else None,
        own_id=_string(own_id),
        domain=domain,
        category=category,
        language=language,
        url=_string(url),
        timestamp=timestamp,
        title=title,
        license=license_,
        metadata=metadata_json(spec.metadata, record) if spec.metadata or record else None,
    )


def domain_and_language(
    record: Record, columns: Mapping[str, str], spec: SourceSpec, language: str | None, own_id: str | None
) -> tuple[str | None, str | None]:
    """('code', programming language) where the record names one or the source holds code, else the stated language."""
    if spec.domain in ("english", "multilingual"):
        return None, language or spec.language
    named = name_of(record, columns["programming_language"])
    if named:
        return "code", programming_language(named)
    if spec.domain == "code":
        if language or spec.language:
            return "code", programming_language(language or spec.language or "")
        places = [record.get(name) for name in PATH_COLUMNS] + [own_id]
        found = (language_of_path(place) for place in places if isinstance(place, str))
        return "code", next((name for name in found if name), "other")
    return None, language or spec.language


def name_of(record: Record, column: str) -> str | None:
    """The column's value if it can be the name of something: not empty, short, no path and no control characters."""
    value = record.pop(column, None)
    if value is None or value == "":
        return None
    name = _string(value)
    if name is not None and _NAME.fullmatch(name.replace("/", "-").strip()):
        return name
    record[column] = value
    return None


def _plain(record: Record, column: str) -> str | None:
    """The column's value if it is a string; else it stays among the metadata."""
    value = record.get(column)
    if not isinstance(value, str):
        return None
    del record[column]
    return encodable(value) or None


def _license(record: Record, column: str) -> str | None:
    """A licence, or a list of them joined by OR, as collections of source code state them."""
    for name in (column, *LICENSE_COLUMNS):
        value = record.get(name)
        if isinstance(value, list) and value:
            stated = [each for each in value if isinstance(each, str)]
            if len(stated) == len(value):
                del record[name]
                return encodable(" OR ".join(stated))
        if isinstance(value, str):
            del record[name]
            return encodable(value) or None
    return None


def _string(value: Value) -> str | None:
    """None for nothing and for a number of more digits than Python writes."""
    if value is None or isinstance(value, str):
        return value and encodable(value)
    try:
        return encodable(str(value))
    except ValueError:
        return None
