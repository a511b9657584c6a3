"""The programming language of source files, by name and content, in place of the name alone.

Readers name a file's language by its record or its extension. Extensions of several languages (.h, .m, .pl, .v, ...)
and files without one need the text: `detect` takes the languages that the path allows and lets `stages.code_content`
choose. What a text says has no say where the path allows one language only.

    stage `code_language`: fills `language` of the rows of domain code that have a text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_content import alone, among
from gristmill.stages.code_names import candidates_of_path
from gristmill.stages.code_places import NEEDS, is_code, places
from gristmill.stages.signals import with_columns


@dataclass(frozen=True)
class CodeLanguage:
    trust: Literal["stated", "detected"] = "stated"
    """stated: the language that a record names stays, and only files of trees and archives, and records without one,
    are looked at. detected: path and content decide wherever they tell; what a record names stays elsewhere."""

    name: ClassVar[str] = "code_language"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("text", "language", *NEEDS)
    adds: ClassVar[tuple[str, ...]] = ("language",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.trust not in ("stated", "detected"):
            raise ValueError(f"stages.code_language.trust: {self.trust!r} is neither stated nor detected; give one")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Replaces `language`; rows of other domains and rows without text stay as they are."""
        stated = batch.column("language")
        where = places(batch)
        open_to = is_code(batch) & batch.column("text").is_valid().to_numpy(zero_copy_only=False)
        if self.trust == "stated":
            unknown = pc.fill_null(pc.equal(stated, "other"), True).to_numpy(zero_copy_only=False)
            open_to &= where.tree | unknown
        at = np.flatnonzero(open_to)
        if not len(at):
            return batch
        found = detect(batch.column("text").take(pa.array(at)), where.path.take(pa.array(at)))
        place = np.full(batch.num_rows, -1, np.int64)
        place[at] = np.arange(len(at))
        language = pc.coalesce(found.take(pa.array(place, mask=place < 0)), stated)
        return with_columns(batch, {"language": language})


def detect(texts: pa.Array, paths: pa.Array) -> pa.Array:
    """(n,) string: languages of (n,) texts at (n,) paths, null where neither tells. A null path is none."""
    allowed = [candidates_of_path(path) if path else () for path in paths.to_pylist()]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, candidates in enumerate(allowed):
        groups.setdefault(candidates, []).append(i)
    pieces: list[pa.Array] = []
    order: list[int] = []
    for candidates, at in groups.items():
        if len(candidates) == 1:
            pieces.append(pa.repeat(pa.scalar(candidates[0], pa.string()), len(at)))
        else:
            some = texts.take(pa.array(at, pa.int64()))
            pieces.append(among(some, candidates) if candidates else alone(some))
        order += at
    if not pieces:
        return pa.nulls(0, pa.string())
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(pieces).take(pa.array(back))
