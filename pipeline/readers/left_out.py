"""Files that a source's folder or pattern holds and that are not read: counted by extension, with the reason.

Nothing is left out without a row here: the rows go into `run.json` (`inputs.left_out`) and, as sentences, into the
notes of the run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

MAX_ROWS = 50  # of one source; what is beyond them is one row an explanation
_EXTENSION = re.compile(r"(\.[a-z0-9_+-]{1,11}){1,2}")
_PACKED = (".gz", ".zst", ".bz2", ".xz", ".gzip", ".bgz", ".zstd")


class LeftOutRecord(TypedDict):
    """A `LeftOut` as JSON values."""

    source: str
    extension: str
    files: int
    bytes: int
    why: str
    example: str


@dataclass(frozen=True)
class LeftOut:
    """Files of one source with one extension that are left out for one reason."""

    source: str
    extension: str
    """In lower case, with its dot and that of a compression: `.md`, `.json.gz`; empty for none and for a number."""
    files: int
    bytes: int
    """As stored."""
    why: str
    """How a sentence goes on that begins "they are left out: ...", as in "it holds Parquet"."""
    example: str
    """Path of the first of them, below the source's root."""

    def record(self) -> LeftOutRecord:
        record: LeftOutRecord = asdict(self)  # type: ignore[assignment]
        return record


def tally(source: str, files: Iterable[tuple[str, int, str]]) -> list[LeftOut]:
    """files: (path, bytes, why) in the order of the paths. Sorted by reason, most files first, then by extension."""
    rows: dict[tuple[str, str], LeftOut] = {}
    for path, size, why in files:
        _add(rows, LeftOut(source, extension_of(path), 1, size, why, path))
    found = sorted(rows.values(), key=lambda row: (-row.files, row.why, row.extension))
    if len(found) > MAX_ROWS:
        rest: dict[tuple[str, str], LeftOut] = {}
        for row in found[MAX_ROWS:]:
            _add(rest, LeftOut(source, "others", row.files, row.bytes, row.why, row.example))
        found = [*found[:MAX_ROWS], *rest.values()]
    order = {why: place for place, why in enumerate(dict.fromkeys(row.why for row in found))}
    return sorted(found, key=lambda row: order[row.why])


def _add(rows: dict[tuple[str, str], LeftOut], row: LeftOut) -> None:
    key = row.why, row.extension
    if (known := rows.get(key)) is not None:
        row = LeftOut(
            row.source,
            row.extension,
            known.files + row.files,
            known.bytes + row.bytes,
            row.why,
            min(known.example, row.example),
        )
    rows[key] = row


def extension_of(path: str) -> str:
    name = posixpath.basename(path).lower()
    stem, last = posixpath.splitext(name)
    if last in _PACKED:
        last = posixpath.splitext(stem)[1] + last
    return last if _EXTENSION.fullmatch(last) and not last[1:].isdigit() else ""


def sentences(rows: Sequence[LeftOut]) -> list[str]:
    """One for each source and reason: how many files with which extensions, and one of them."""
    groups: dict[tuple[str, str], list[LeftOut]] = {}
    for row in rows:
        groups.setdefault((row.source, row.why), []).append(row)
    return [_sentence(source, why, group) for (source, why), group in groups.items()]


def _sentence(source: str, why: str, rows: Sequence[LeftOut]) -> str:
    files = sum(row.files for row in rows)
    kinds = ", ".join(f"{row.files:,} {row.extension or 'without an extension'}" for row in rows)
    if files == 1:
        which = f"{rows[0].example!r}"
    else:
        which = f"{files:,} files ({kinds}; {rows[0].example!r} is one)"
    verb = "is" if files == 1 else "are"
    return f"source {source}: {which} {verb} left out, {sum(row.bytes for row in rows):,} bytes: {why}"
