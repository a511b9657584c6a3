"""The licence of source files: from their SPDX line where no record states one, and a list of those to keep.

`SPDX-License-Identifier: <expression>` in the first 40 lines (SPDX Specification 2.3, annex E) fills `license` where it
is null. A licence is an SPDX expression or, as records of collections state it, names joined by OR. `allow` keeps
files under one of these licences: of alternatives (OR, /) one must be listed, of what applies together (AND, WITH its
exception left out) all. It recognises no licence texts and knows nothing of the files beside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_places import is_code
from gristmill.stages.signals import with_columns

HEAD_CHARACTERS = 4096
_SPDX = (
    r"(?i)^(?:[^\n]*\n){0,39}?[^\n]*SPDX-License-Identifier:[ \t]*"
    r"(?P<license>\(?[A-Za-z0-9][A-Za-z0-9.+-]*\)?(?:[ \t]+(?:AND|OR|WITH)[ \t]+\(?[A-Za-z0-9][A-Za-z0-9.+-]*\)?)*)"
)


@dataclass(frozen=True)
class CodeLicense:
    allow: tuple[str, ...] = ()
    """SPDX identifiers in any case; empty: every licence, and none."""

    name: ClassVar[str] = "code_license"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "license")
    adds: ClassVar[tuple[str, ...]] = ("license", "dropped_by")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if isinstance(self.allow, str):
            raise ValueError(f"stages.code_license.allow: {self.allow!r} is not a list; write [{self.allow}]")
        object.__setattr__(self, "allow", tuple(self.allow))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `license` of code, and `dropped_by` (code_license.unknown, code_license.unlisted) where `allow` says
        which. Other rows stay as they are."""
        code = pa.array(is_code(batch))
        stated = batch.column("license")
        license_ = pc.if_else(code, pc.coalesce(stated, spdx(batch.column("text"))), stated)
        columns = {"license": license_}
        if self.allow:
            allow = frozenset(name.lower() for name in self.allow)
            coded = license_.dictionary_encode()
            listed = np.array([_allowed(name, allow) for name in coded.dictionary.to_pylist()] + [False])
            index = pc.fill_null(coded.indices, len(listed) - 1).to_numpy(zero_copy_only=False)
            none = pa.scalar(None, pa.string())
            reason = pc.if_else(license_.is_null(), "code_license.unknown", "code_license.unlisted")
            reason = pc.if_else(pc.and_(code, pa.array(~listed[index])), reason, none)
            if "dropped_by" in batch.schema.names:
                reason = pc.coalesce(batch.column("dropped_by"), reason)
            columns["dropped_by"] = reason
        return with_columns(batch, columns)


def spdx(texts: pa.Array) -> pa.Array:
    """(n,) string: the SPDX expression in the first lines of (n,) texts, null where there is none."""
    heads = pc.utf8_slice_codeunits(texts, 0, HEAD_CHARACTERS)
    return pc.struct_field(pc.extract_regex(heads, _SPDX), "license").cast(pa.string())


@lru_cache(maxsize=4096)
def _allowed(expression: str, allow: frozenset[str]) -> bool:
    """Whether one of the alternatives is listed in all its parts; brackets group, and AND binds before OR."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", re.sub(r"(?i)\bwith\s+[\w.+-]+", "", expression))
    place = 0

    def either() -> bool:
        nonlocal place
        found = both()
        while place < len(tokens) and tokens[place].upper() in ("OR", "/"):
            place += 1
            found |= both()
        return found

    def both() -> bool:
        nonlocal place
        found = one()
        while place < len(tokens) and tokens[place].upper() not in ("OR", "/", ")"):
            place += tokens[place].upper() == "AND"
            found &= one()
        return found

    def one() -> bool:
        nonlocal place
        if place >= len(tokens):
            return False
        place += 1
        if tokens[place - 1] != "(":
            return tokens[place - 1].lower() in allow
        found = either()
        place += place < len(tokens)
        return found

    result = either()
    return result and place >= len(tokens)
