"""Signals: one numeric column per property of a document that a rule may limit.

Every signal is a count of `kernels.text.signals` or the ratio of two, but for those that another stage measures;
`stages.signal_table` has them all. A ratio whose denominator is 0 is null, and a rule says nothing about a null: a page
without lines has no share of duplicate lines, and Chinese, which has no spaces, has no mean word length. Signals of a
null text are null.

It decides nothing: `stages.rules` does. All signals are computed in one pass over the bytes, whichever rules follow, so
that a limit can be changed later without reading the text again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from gristmill.stages.code_lines import measured_text
from gristmill.stages.compat import COMPATIBLE, DATATROVE_SIGNALS, datatrove_columns
from gristmill.stages.own import own_function
from gristmill.stages.signal_table import SIGNALS, Signal, columns_of

__all__ = ["SIGNALS", "Signal", "Signals", "own_column", "with_columns"]

PREVIEW_CHARACTERS = 240


@dataclass(frozen=True)
class Signals:
    """Adds every column of `SIGNALS` and `preview`, the first 240 characters with white space folded.

    add: signals of one's own as `module:function`. The function takes the record batch and returns a numeric Arrow
        array of as many rows; the column has the function's name.
    compat: "datatrove": adds that toolkit's own measures (`stages.compat`), which the presets `datatrove_...` limit.
    """

    add: tuple[str, ...] = ()
    compat: str | None = None

    name: ClassVar[str] = "signals"
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language", "url")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "add", tuple(self.add))
        for reference in self.add:
            _function(reference)
        if self.compat not in (None, *COMPATIBLE):
            raise ValueError(f"signals.compat: {self.compat!r} is no toolkit that is known: write {COMPATIBLE[0]}")

    @property
    def adds(self) -> tuple[str, ...]:
        compatible = tuple(signal.name for signal in DATATROVE_SIGNALS) if self.compat else ()
        return (*SIGNALS, *compatible, "preview", *(own_column(reference) for reference in self.add))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from gristmill.kernels.text.preview import preview

        text = batch.column("text")
        missing = text.is_null().to_numpy(zero_copy_only=False)
        columns = columns_of(SIGNALS.values(), _counts(batch), missing)
        for name in SIGNALS.keys() - columns.keys() - set(batch.schema.names):
            columns[name] = pa.nulls(batch.num_rows, SIGNALS[name].dtype)
        columns = {name: columns[name] for name in SIGNALS if name in columns}
        if self.compat:
            columns |= datatrove_columns(batch)
        columns["preview"] = preview(text, PREVIEW_CHARACTERS)
        for reference in self.add:
            column = _function(reference)(batch)
            if len(column) != batch.num_rows:
                raise ValueError(
                    f"signals.add: {reference} returned {len(column)} values for {batch.num_rows} documents: "
                    "return one per document"
                )
            columns[own_column(reference)] = column
        return with_columns(batch, columns)


def own_column(reference: str) -> str:
    """Column of the signal `module:function`: the function's name."""
    return reference.rpartition(":")[2]


def with_columns(batch: pa.RecordBatch, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """The batch with columns replaced in place or added at the end."""
    fields = {field.name: field for field in batch.schema}
    fields |= {name: pa.field(name, column.type) for name, column in columns.items()}
    arrays = [columns[name] if name in columns else batch.column(name) for name in fields]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(list(fields.values()), batch.schema.metadata))


def _counts(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """(rows,) int64 by the names that `SIGNALS` uses."""
    from gristmill.kernels.text import signals, utf8

    data, offsets = utf8.buffers(measured_text(batch))
    counts = dict(zip(signals.COUNTS, signals.count(data, offsets).T, strict=True))
    counts["bytes"] = np.diff(utf8.buffers(batch.column("text"))[1])
    counts["not_plain"] = counts["characters"] - counts["plain"]
    counts["tokens"] = np.zeros(batch.num_rows, np.int64)
    counts["pornographic_urls"] = counts["pornographic_urls"] + _own_url_is_pornographic(batch.column("url"))
    counts |= _code_counts(batch, data, offsets, counts["characters"])
    return counts


def _own_url_is_pornographic(url: pa.Array) -> np.ndarray:
    import pyarrow.compute as pc

    found = pc.match_substring(url, "porn", ignore_case=True)
    flags: np.ndarray = pc.fill_null(found, False).to_numpy(zero_copy_only=False).astype(np.int64)
    return flags


def _code_counts(
    batch: pa.RecordBatch, data: np.ndarray, offsets: np.ndarray, characters: np.ndarray
) -> dict[str, np.ndarray]:
    """Characters in comments, and all characters of documents whose comments are known (else 0)."""
    import pyarrow.compute as pc

    from gristmill.kernels.text.comments import comment_characters, syntax_number

    languages = batch.column("language").dictionary_encode()
    numbers = np.array([syntax_number(name) for name in languages.dictionary.to_pylist()] + [-1], np.int64)
    syntaxes = numbers[pc.fill_null(languages.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]
    code = pc.fill_null(pc.equal(batch.column("domain"), "code"), False).to_numpy(zero_copy_only=False)
    syntaxes = np.where(code, syntaxes, -1)
    found = comment_characters(data, offsets, syntaxes)
    return {"comment_characters": found, "commentable_characters": np.where(found < 0, 0, characters)}


def _function(reference: str) -> Callable[[pa.RecordBatch], pa.Array]:
    try:
        return own_function(reference)
    except ValueError as error:
        raise ValueError(f"signals.add: {error}") from error
