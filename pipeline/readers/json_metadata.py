"""Metadata of many lines at once: the fields that are no column, as JSON with sorted keys.

To parse a thousand small objects as one list, and to write them so, takes a third of the time of a call for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain, repeat

from gristmill.pipeline.readers.rows import COMPACT, merged, metadata_json

MEMORY = 4096
"""Different metadata that are remembered: most corpora repeat a few."""

_MARK = "\x01"  # between two objects; within one it could stand only in a list of strings
_BETWEEN = f",{json.dumps(_MARK)},"
_ENCODER = json.JSONEncoder(**COMPACT)


class Metadata:
    """Makes and remembers them."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self.given = given
        """What every line has beside its own."""
        self.known: dict[bytes, str | None] = {}

    def of(self, fields: Sequence[bytes]) -> tuple[list[str | None], list[bool]]:
        """(JSON or None, whether the fields could be parsed) of each; fields: `"key": value, ...` as bytes, strings and
        brackets closed."""
        if len(self.known) > MEMORY:
            self.known.clear()
        new = [each for each in dict.fromkeys(fields) if each not in self.known]
        made = self._together(new)
        for place, each in enumerate(new):
            if made is not None:
                self.known[each] = made[place]
                continue
            try:
                self.known[each] = metadata_json(self.given, json.loads((b"{%b}" % each).decode()))
            except (ValueError, RecursionError):
                continue
        return [self.known.get(each) for each in fields], [each in self.known for each in fields]

    def _together(self, fields: Sequence[bytes]) -> list[str | None] | None:
        """Of all of them; None where that does not go, as when one is broken or holds NaN."""
        try:
            records = json.loads((b"[{%b}]" % b"},{".join(fields)).decode())
            records = [
                merged(self.given, record) if self.given or None in record.values() else record for record in records
            ]
            there = [record for record in records if record]
            written = _ENCODER.encode(list(chain.from_iterable(zip(there, repeat(_MARK)))))
        except (ValueError, RecursionError):
            return None
        texts = written.removeprefix("[").removesuffix(f",{json.dumps(_MARK)}]").split(_BETWEEN) if there else []
        if len(texts) != len(there) or len(records) != len(fields):
            return None
        each = iter(texts)
        return [next(each) if record else None for record in records]
