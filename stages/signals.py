"""Signals: one numeric column per property of a document that a rule may limit.

Every signal is a count of `kernels.text.signals` or the ratio of two; `SIGNALS` is the table of them. A ratio whose
denominator is 0 is null, and a rule says nothing about a null: a page without lines has no share of duplicate
lines, and Chinese, which has no spaces, has no mean word length. Signals of a null text are null.

It decides nothing: `stages.rules` does. All signals are computed in one pass over the bytes, whichever rules follow, so
that a limit can be changed later without reading the text again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from kernels.text.repetition import DUPLICATE_GRAMS, TOP_GRAMS


@dataclass(frozen=True)
class Signal:
    """A count, or the ratio of two: columns of `kernels.text.signals.count` or of `_counts`."""

    name: str
    unit: str
    definition: str
    numerator: str
    denominator: str | None = None

    @property
    def dtype(self) -> pa.DataType:
        return pa.int64() if self.denominator is None else pa.float64()


_SHARE_OF_CHARACTERS = "share of characters"
_SHARE_OF_WORDS = "share of words"
_SHARE_OF_LINES = "share of lines"
_SHARE_OF_PARAGRAPHS = "share of paragraphs"
_LETTERS = "in scripts written without spaces a word is two letters (Chinese, Japanese) or four (Thai, Khmer, others)"

_ROWS = (
    Signal("bytes", "bytes", "UTF-8 bytes of the text", "bytes"),
    Signal("characters", "code points", "Unicode code points of the text", "characters"),
    Signal(
        "words",
        "words",
        "runs of characters without white space; in scripts written without spaces (Chinese, Japanese, Thai, Khmer, "
        "Lao, Burmese, Tibetan and others) each letter with the marks that follow it",
        "words",
    ),
    Signal(
        "mean_word_length",
        "characters per word",
        "mean length of the words of scripts that limits in letters of English fit; null where they are fewer than "
        "half of the words, as in Chinese, Japanese, Korean, Thai, Khmer, Lao, Burmese and Malayalam",
        "measured_word_characters",
        "measured_words",
    ),
    Signal("max_word_length", "characters", "length of the longest word", "longest_word"),
    Signal("alpha_words", _SHARE_OF_WORDS, "words with at least one letter of any script", "alpha_words", "words"),
    Signal(
        "symbol_words",
        _SHARE_OF_WORDS,
        'words that are an ellipsis (... [...] (...) … […] -») or more than half "#"',
        "symbol_words",
        "words",
    ),
    Signal("hashes_per_word", "per word", 'occurrences of "#" per word', "hashes", "words"),
    Signal("ellipses_per_word", "per word", 'occurrences of "..." or "…" per word', "ellipses", "words"),
    Signal(
        "stop_words",
        "words",
        "how many of the, be, to, of, and, that, have, with occur as lower-case words",
        "stop_words",
    ),
    Signal(
        "stop_word_occurrences",
        "words",
        "words that are one of the, be, to, of, and, that, have, with",
        "stop_word_occurrences",
    ),
    Signal("total_lines", "lines", "lines as an editor counts them, blank ones too", "total_lines"),
    Signal("lines", "lines", "lines that hold more than white space", "lines"),
    Signal("paragraphs", "paragraphs", "runs of lines without a blank line between", "paragraphs"),
    Signal("line_breaks_per_word", "per word", "line breaks (U+000A) per word", "line_breaks", "words"),
    Signal("short_lines", _SHARE_OF_LINES, "lines of at most 30 characters", "short_lines", "lines"),
    Signal(
        "bullet_lines", _SHARE_OF_LINES, "lines that start with one of • ‣ ⁃ ⁌ ⁍ ∙ ○ ● ◘ ◦ ⦾ ⦿", "bullet_lines", "lines"
    ),
    Signal(
        "bullet_or_dash_lines",
        _SHARE_OF_LINES,
        "lines that start with a bullet, a hyphen or an asterisk",
        "bullet_or_dash_lines",
        "lines",
    ),
    Signal(
        "ellipsis_lines", _SHARE_OF_LINES, 'lines that end with an ellipsis or "read more"', "ellipsis_lines", "lines"
    ),
    Signal(
        "lines_without_end_mark",
        _SHARE_OF_LINES,
        "lines that do not end with a sentence's end mark or a quote of any script; null where most letters are of a "
        "script without a full stop, as in Thai and Lao",
        "unended_lines",
        "stopped_lines",
    ),
    Signal(
        "non_alphanumeric",
        _SHARE_OF_CHARACTERS,
        "characters, spaces included, that are not ASCII letters or digits, new lines or one of ? ! , .",
        "not_plain",
        "characters",
    ),
    Signal("numbers", _SHARE_OF_CHARACTERS, "decimal digits of any script", "digits", "characters"),
    Signal("urls", _SHARE_OF_CHARACTERS, "characters in http and https URLs", "url_characters", "characters"),
    Signal(
        "whitespace",
        _SHARE_OF_CHARACTERS,
        "white space, at both ends too; null where mean_word_length is, since short words have more spaces between",
        "measured_spaces",
        "measured_characters",
    ),
    Signal("parentheses", _SHARE_OF_CHARACTERS, "characters that are one of ( ) [ ] { } ⟨ ⟩", "brackets", "characters"),
    Signal(
        "boilerplate_paragraphs",
        _SHARE_OF_PARAGRAPHS,
        "paragraphs with a policy or cookie notice; 1 if the text holds lorem ipsum",
        "boilerplate_paragraphs",
        "paragraphs",
    ),
    Signal(
        "pornographic_urls",
        "URLs",
        'URLs, those in the text and the document\'s own, that contain "porn"',
        "pornographic_urls",
    ),
    Signal("duplicate_lines", _SHARE_OF_LINES, "lines equal to an earlier line", "duplicate_lines", "lines"),
    Signal(
        "duplicate_line_characters",
        "share of the characters in lines",
        "characters in lines equal to an earlier line",
        "duplicate_line_characters",
        "line_characters",
    ),
    Signal(
        "duplicate_paragraphs",
        _SHARE_OF_PARAGRAPHS,
        "paragraphs equal to an earlier paragraph",
        "duplicate_paragraphs",
        "paragraphs",
    ),
    Signal(
        "duplicate_paragraph_characters",
        "share of the characters in paragraphs",
        "characters in paragraphs equal to an earlier paragraph",
        "duplicate_paragraph_characters",
        "paragraph_characters",
    ),
    *(
        Signal(
            f"top_{n}_gram",
            "share of the characters in words",
            f"characters in occurrences of the most frequent sequence of {n} words, if it occurs twice; {_LETTERS}",
            f"top_{n}_gram_characters",
            "word_characters",
        )
        for n in TOP_GRAMS
    ),
    *(
        Signal(
            f"duplicate_{n}_grams",
            "share of the characters in words",
            f"characters in sequences of {n} words that occurred before, overlaps counted once; {_LETTERS}",
            f"duplicate_{n}_gram_characters",
            "word_characters",
        )
        for n in DUPLICATE_GRAMS
    ),
    Signal(
        "comments",
        _SHARE_OF_CHARACTERS,
        "characters in comments and docstrings, marks included; null outside code and for languages without comments",
        "comment_characters",
        "commentable_characters",
    ),
    Signal(
        "characters_per_token",
        "characters per token",
        "characters per token of the tokenizer; null, since signals are measured before a tokenizer is trained",
        "characters",
        "tokens",
    ),
)

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in _ROWS}
"""Every signal by name."""

PREVIEW_CHARACTERS = 240


@dataclass(frozen=True)
class Signals:
    """Adds every column of `SIGNALS` and `preview`, the first 240 characters with white space folded.

    add: signals of one's own as `module:function`. The function takes the record batch and returns a numeric Arrow
        array of as many rows; the column has the function's name.
    """

    add: tuple[str, ...] = ()

    name: ClassVar[str] = "signals"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language", "url")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "add", tuple(self.add))
        for reference in self.add:
            _function(reference)

    @property
    def adds(self) -> tuple[str, ...]:
        return (*SIGNALS, "preview", *(own_column(reference) for reference in self.add))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from kernels.text.preview import preview

        text = batch.column("text")
        counts = _counts(batch)
        missing = text.is_null().to_numpy(zero_copy_only=False)
        columns: dict[str, pa.Array] = {}
        for signal in _ROWS:
            values = counts[signal.numerator]
            if signal.denominator is None:
                columns[signal.name] = pa.array(values, pa.int64(), mask=missing)
            else:
                below = counts[signal.denominator]
                ratio = np.divide(values, below, out=np.zeros(len(values)), where=below != 0)
                columns[signal.name] = pa.array(ratio, pa.float64(), mask=missing | (below == 0))
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
    from kernels.text import signals, utf8

    data, offsets = utf8.buffers(batch.column("text"))
    counts = dict(zip(signals.COUNTS, signals.count(data, offsets).T, strict=True))
    counts["not_plain"] = counts["characters"] - counts["plain"]
    counts["tokens"] = np.zeros(batch.num_rows, np.int64)
    counts["pornographic_urls"] = counts["pornographic_urls"] + _own_url_is_pornographic(batch.column("url"))
    counts |= _code_counts(batch, data, offsets, counts["characters"])
    return counts


def _own_url_is_pornographic(url: pa.Array) -> np.ndarray:
    import pyarrow.compute as pc

    found = pc.match_substring(url, "porn", ignore_case=True)
    return pc.fill_null(found, False).to_numpy(zero_copy_only=False).astype(np.int64)


def _code_counts(
    batch: pa.RecordBatch, data: np.ndarray, offsets: np.ndarray, characters: np.ndarray
) -> dict[str, np.ndarray]:
    """Characters in comments, and all characters of documents whose comments are known (else 0)."""
    import pyarrow.compute as pc

    from kernels.text.comments import comment_characters, syntax_number

    languages = batch.column("language").dictionary_encode()
    numbers = np.array([syntax_number(name) for name in languages.dictionary.to_pylist()] + [-1], np.int64)
    syntaxes = numbers[pc.fill_null(languages.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]
    code = pc.fill_null(pc.equal(batch.column("domain"), "code"), False).to_numpy(zero_copy_only=False)
    syntaxes = np.where(code, syntaxes, -1)
    found = comment_characters(data, offsets, syntaxes)
    return {"comment_characters": found, "commentable_characters": np.where(found < 0, 0, characters)}


def _function(reference: str) -> Callable[[pa.RecordBatch], pa.Array]:
    module, colon, name = reference.partition(":")
    try:
        if not colon:
            raise ImportError
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"signals.add: cannot import {reference!r}: write module:function, both importable") from error
