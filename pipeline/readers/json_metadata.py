"""Metadata of many lines at once: the fields that are no column, as JSON with sorted keys.

To parse a thousand small objects as one list, and to write them so, takes a third of the time of a call for each.
What stands in an object of the metadata and is mapped to a column of ours (`metadata.url`) is taken out here, and what
the keys say about source code is noted, because nothing else looks at these fields.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, repeat

from gristmill.pipeline.readers.field_paths import remove, value_at
from gristmill.pipeline.readers.rows import COMPACT, is_encodable, merged, metadata_json
from gristmill.pipeline.readers.values import Record, Value
from gristmill.stages.code_keys import EVIDENT_KEYS, Evidence, code_evidence

MEMORY = 4096
"""Different metadata that are remembered: most corpora repeat a few."""

_MARK = "\x01"  # between two objects; within one it could stand only in a list of strings
_BETWEEN = f",{json.dumps(_MARK)},"
_ENCODER = json.JSONEncoder(**COMPACT)


Values = tuple[str | int | None, ...]
Found = tuple[str | None, Values | None, Evidence | None]
"""What the fields of one line give: their JSON; the values at the paths; what the keys say about source code. Values
are None where the fields could not be parsed, or a path leads to what is neither a string nor such a number."""

UNREADABLE: Found = (None, None, None)


class Metadata:
    """Makes and remembers them.

    given: what every line has beside its own. paths: dotted names of mapped columns, in the order in which
    `pipeline.readers.records.record_row` takes them; numbers: those that may be integers; kept: those that stay where
    they are null. code: whether source code is recognised by keys.
    """

    def __init__(
        self,
        given: Mapping[str, object],
        paths: Sequence[str] = (),
        numbers: Collection[str] = (),
        kept: Collection[str] = (),
        code: bool = True,
    ) -> None:
        self.given = given
        self.paths = paths
        self.numbers = frozenset(numbers)
        self.kept = frozenset(kept)
        self.code = code
        self.known: dict[bytes, Found] = {}

    def of(self, fields: Sequence[bytes]) -> list[Found]:
        """Of each line's fields: `"key": value, ...` as bytes, strings and brackets closed."""
        if len(self.known) > MEMORY:
            self.known.clear()
        new = [each for each in dict.fromkeys(fields) if each not in self.known]
        made = self._together(new)
        self.known.update(zip(new, map(self._alone, new) if made is None else made))
        return [self.known[each] for each in fields]

    def _alone(self, fields: bytes) -> Found:
        try:
            record = json.loads((b"{%b}" % fields).decode())
            values = self._taken(record)
            evidence = code_evidence(record) if self.code else None
            text = metadata_json(self.given, record)
        except (ValueError, RecursionError):
            return UNREADABLE
        return (text, values, evidence) if text is None or is_encodable(text) else UNREADABLE

    def _together(self, fields: Sequence[bytes]) -> list[Found] | None:
        """Of all of them; None where that does not go, as when one is broken or holds NaN."""
        disjoint = EVIDENT_KEYS.isdisjoint
        try:
            records = json.loads((b"[{%b}]" % b"},{".join(fields)).decode())
            if len(records) != len(fields):
                return None
            values: Iterable[Values | None] = [self._taken(record) for record in records] if self.paths else repeat(())
            evidence: Iterable[Evidence | None] = (
                [None if disjoint(record) else code_evidence(record) for record in records]
                if self.code
                else repeat(None)
            )
            records = [
                merged(self.given, record) if self.given or None in record.values() else record for record in records
            ]
            there = [record for record in records if record]
            written = _ENCODER.encode(list(chain.from_iterable(zip(there, repeat(_MARK)))))
        except (ValueError, RecursionError):
            return None
        if self.paths and not is_encodable(written):
            return None
        texts = written.removeprefix("[").removesuffix(f",{json.dumps(_MARK)}]").split(_BETWEEN) if there else []
        if len(texts) != len(there):
            return None
        each = iter(texts)
        return list(zip([next(each) if record else None for record in records], values, evidence))

    def _taken(self, record: Record) -> Values | None:
        """The values at the paths, taken out of the record; None where one is of another type."""
        values: list[str | int | None] = []
        for path in self.paths:
            value = self._value(record, path)
            if isinstance(value, str) and not is_encodable(value):
                return None
            number = path in self.numbers and isinstance(value, int) and not isinstance(value, bool)
            if not (value is None or isinstance(value, str) or number):
                return None
            values.append(value)  # type: ignore[arg-type]
        return tuple(values)

    def _value(self, record: Record, path: str) -> Value:
        """The value at a path, taken out of the record unless it stays where it is null."""
        first, _, name = path.partition(".")
        inner = record.get(first)
        if (
            type(inner) is dict and name in inner and "." not in name and path not in record
        ):  # nearly always; the rest is the definition
            value = inner[name]
            if value is not None or path not in self.kept:
                del inner[name]
                if not inner:
                    del record[first]
            return value
        value = value_at(record, path)
        if value is not None or path not in self.kept:
            remove(record, path)
        return value
