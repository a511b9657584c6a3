"""The shape of a table of separated values: by which character, told from its first lines.

One of `, ; tab |`, of those that part the header: the one under which most of the first records have as many columns
as it has. A header that none of them parts is that of one column. `.tsv` is separated by tabs whatever it holds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

from gristmill.pipeline.readers.content import HEAD_BYTES
from gristmill.stages.text_encoding import wide_encoding

SEPARATORS = (",", "\t", ";", "|")
RECORDS = 50  # of the beginning, that tell
AGREEING = 0.9  # share of them with as many values as the header, in a table


def head_lines(head: bytes) -> list[str]:
    """Lines of a file's first bytes, without the last where it may be cut off."""
    encoding = wide_encoding(head) or "utf-8"
    text = head[: len(head) & ~3 if encoding != "utf-8" else None].decode(encoding, "replace").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    return lines[:-1] if len(lines) > 1 and len(head) >= HEAD_BYTES else lines


def separator_of(lines: Iterable[str], path: str) -> str:
    lines = list(lines)
    if ".tsv" in path.lower().rpartition("/")[2] or ".tab" in path.lower().rpartition("/")[2]:
        return "\t"
    return max(SEPARATORS, key=lambda separator: (_score(lines, separator)[1] > 1, _score(lines, separator)))


def header_of(lines: list[str], path: str) -> list[str]:
    """Names of the columns that have one; none where most rows have other numbers of values, as of damaged files."""
    if _score(lines, separator_of(lines, path))[0] < AGREEING:
        return []
    try:
        first = next((record for record in csv.reader(lines, delimiter=separator_of(lines, path)) if record), [])
    except csv.Error:
        return []
    return [name.strip() for name in first if name.strip()]


def is_table(head: bytes, path: str) -> bool:
    """Whether the lines have as many columns as the first, at least two."""
    lines = head_lines(head)
    agreeing, columns = _score(lines, separator_of(lines, path))
    return columns > 1 and agreeing >= AGREEING and len(lines) > 1


def _score(lines: list[str], separator: str) -> tuple[float, int]:
    """(share of the records with as many columns as the header, columns)."""
    counts: list[int] = []
    try:
        for record in csv.reader(lines, delimiter=separator):
            if record:
                counts.append(len(record))
            if len(counts) == RECORDS:
                break
    except csv.Error:
        pass
    if not counts:
        return 0.0, 0
    return sum(number == counts[0] for number in counts) / len(counts), counts[0]
