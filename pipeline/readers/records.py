"""From a record with named values (a JSON object, a Parquet row) to a row.

Columns are named or are dotted paths into objects (`pipeline.readers.field_paths`); what is taken leaves the record.
Values are anyone's: a text that is no string is none, an id or a URL of another type is written out, and what names a
language or a category must look like a name, because folders are named for it; other values stay in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gristmill.pipeline.readers.field_paths import remove, value_at
from gristmill.pipeline.readers.rows import Row, encodable, metadata_json
from gristmill.pipeline.readers.source import PROSE_DOMAINS, SourceSpec
from gristmill.pipeline.readers.timestamps import is_missing, parse_timestamp
from gristmill.pipeline.readers.values import Record as Record
from gristmill.pipeline.readers.values import Value as Value
from gristmill.pipeline.readers.values import identifier, is_nan, written
from gristmill.stages.code_keys import NOTHING, Evidence, code_evidence
from gristmill.stages.code_places import PATH_KEYS
from gristmill.stages.languages import language_of_path, programming_language

LICENSE_COLUMNS = ("licenses", "detected_licenses", "max_stars_repo_licenses")
"""Beside `license`: what The Stack (Kocetkov et al. 2022, Lozhkov et al. 2024) calls them."""
UNREAD = "timestamp"
"""Where the metadata keep a date that could not be read or that no document can have."""
_NAME = re.compile(r"[\w+#*'(][\w+#*'().@ -]{0,59}")


def record_row(path: str, at: int, record: Record, columns: Mapping[str, str], spec: SourceSpec) -> Row | None:
    """`record` is consumed: what is left of it becomes metadata. None where it holds neither text nor page."""
    text = _taken(record, columns["text"])
    content = _raw(record, columns["content"]) if "content" in columns else None
    if content is not None:
        text = None
        content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        if not isinstance(content, bytes):
            return None
    elif not isinstance(text, str):
        return None
    own_id = identifier(_taken(record, columns["id"])) if "id" in columns else None
    url = written(_taken(record, columns["url"])) or None
    language = name_of(record, columns["language"])
    category = name_of(record, columns["category"]) if "category" in columns else None
    title = _plain(record, columns["title"])
    license_ = _license(record, columns["license"])
    moment = _taken(record, columns["timestamp"])
    timestamp = parse_timestamp(moment)
    if timestamp is None and not is_missing(moment):
        record[UNREAD if UNREAD not in record else columns["timestamp"]] = moment
    domain, language = domain_and_language(record, columns, spec, language, own_id)
    return Row(
        path,
        at,
        text,
        content,
        "text/html; charset=utf-8" if content is not None else None,
        own_id=own_id and encodable(spec.own_id(path, own_id)),
        domain=domain,
        category=category,
        language=language,
        url=url and encodable(url),
        timestamp=timestamp,
        title=title,
        license=license_,
        metadata=metadata_json(spec.metadata, record) if spec.metadata or record else None,
    )


def domain_and_language(
    record: Record,
    columns: Mapping[str, str],
    spec: SourceSpec,
    language: str | None,
    own_id: str | None,
    evidence: Evidence | None = None,
) -> tuple[str | None, str | None]:
    """('code', programming language) where the record is source code by its keys or the source holds code, else the
    stated language. evidence: what the other keys of the record say, if that was asked already."""
    if spec.domain in PROSE_DOMAINS:
        return None, language or spec.language
    named = name_of(record, columns["programming_language"])
    if named:
        return "code", programming_language(named)
    if spec.domain == "code":
        if language or spec.language:
            return "code", programming_language(language or spec.language or "")
        places = [value_at(record, name) for name in PATH_KEYS] + [own_id]
        found = (language_of_path(place) for place in places if isinstance(place, str))
        return "code", next((name for name in found if name), "other")
    if evidence is None:
        evidence = code_evidence(record) or NOTHING
    if evidence is not NOTHING and (code := evidence.code(language)):
        return "code", code
    return None, language or spec.language


def name_of(record: Record, column: str) -> str | None:
    """The column's value if it can be the name of something: not empty, short, no path and no control characters."""
    value = value_at(record, column)
    if value is None or value == "" or is_nan(value):
        remove(record, column)
        return None
    name = written(value)
    if name is None or not _NAME.fullmatch(name.replace("/", "-").strip()):
        return None
    remove(record, column)
    return encodable(name)


def _raw(record: Record, column: str) -> Value:
    """The column's value, taken out of the record."""
    if column in record:
        return record.pop(column)
    value = value_at(record, column)
    remove(record, column)
    return value


def _taken(record: Record, column: str) -> Value:
    """The same; bytes are text where they are UTF-8: files are written without that annotation."""
    return _text(_raw(record, column))


def _text(value: Value) -> Value:
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _plain(record: Record, column: str) -> str | None:
    """The column's value if it is a string; else it stays among the metadata."""
    value = _text(value_at(record, column))
    if not isinstance(value, str):
        return None
    remove(record, column)
    return encodable(value) or None


def _license(record: Record, column: str) -> str | None:
    """A licence, or a list of them joined by OR, as collections of source code state them."""
    for name in (column, *LICENSE_COLUMNS):
        value = _text(value_at(record, name))
        if isinstance(value, list) and value:
            stated = [each for each in map(_text, value) if isinstance(each, str)]
            if len(stated) == len(value):
                remove(record, name)
                return encodable(" OR ".join(stated))
        if isinstance(value, str):
            remove(record, name)
            return encodable(value) or None
    return None
