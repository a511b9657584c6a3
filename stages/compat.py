"""Signals as another toolkit measures them, for decisions that must be the same as its own: datatrove 0.10.1.

`signals: {compat: datatrove}` adds the columns of `DATATROVE_SIGNALS`, which the presets `datatrove_...` limit. Words
and sentences are those of our own splitter after spaCy's English rules (`kernels.text.tokens`), unless the documents
bring theirs:

    word_spans       list of int64: begin and end of each word in turn, in bytes of the text's UTF-8, ascending
    line_sentences   list of int64: for each line of str.splitlines, how many sentences C4's filter counts in it

`kernels.text.datatrove` says what is peculiar to these definitions. Ours are in `stages.signal_table`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.repetition import DUPLICATE_GRAMS, TOP_GRAMS
from gristmill.stages.signal_table import Signal, columns_of

COMPATIBLE = ("datatrove",)
"""Toolkits that can be named."""

_OF_CHARACTERS = "share of the characters of the text"
_OF_LINES = "share of lines"

DATATROVE_SIGNALS = (
    Signal("datatrove_characters", "code points", "Unicode code points", "characters"),
    Signal("datatrove_words", "words", "words that are not punctuation alone", "real_words"),
    Signal(
        "datatrove_mean_word_length",
        "characters per word",
        "mean length of the words that are not punctuation alone",
        "real_word_characters",
        "real_words",
    ),
    Signal(
        "datatrove_hashes_per_word", "per word", 'occurrences of "#" per word, punctuation included', "hashes", "words"
    ),
    Signal("datatrove_ellipses_per_word", "per word", 'occurrences of "..." or "…" per word', "ellipses", "words"),
    Signal(
        "datatrove_bullet_lines", _OF_LINES, "lines of str.splitlines that start with • or -", "bullet_lines", "lines"
    ),
    Signal(
        "datatrove_ellipsis_lines",
        _OF_LINES,
        "lines of str.splitlines that end with ... or …",
        "ellipsis_lines",
        "lines",
    ),
    Signal(
        "datatrove_alpha_words",
        "share of words",
        "words with a letter, punctuation being words",
        "alpha_words",
        "words",
    ),
    Signal(
        "datatrove_stop_words", "words", "how many of the, be, to, of, and, that, have, with are words", "stop_words"
    ),
    Signal(
        "datatrove_duplicate_paragraphs",
        "share of paragraphs",
        "paragraphs, cut at two or more line breaks, equal to an earlier one",
        "duplicate_paragraphs",
        "paragraphs",
    ),
    Signal(
        "datatrove_duplicate_paragraph_characters",
        _OF_CHARACTERS,
        "characters in paragraphs equal to an earlier one",
        "duplicate_paragraph_characters",
        "characters",
    ),
    Signal(
        "datatrove_duplicate_lines",
        _OF_LINES,
        "lines, cut at one or more line breaks, equal to an earlier one",
        "duplicate_runs",
        "runs",
    ),
    Signal(
        "datatrove_duplicate_line_characters",
        _OF_CHARACTERS,
        "characters in lines equal to an earlier one",
        "duplicate_run_characters",
        "characters",
    ),
    *(
        Signal(
            f"datatrove_top_{n}_gram",
            _OF_CHARACTERS,
            f"length of the most frequent {n} words, with a space between, times their number",
            f"top_{n}_gram_characters",
            "characters",
        )
        for n in TOP_GRAMS
    ),
    *(
        Signal(
            f"datatrove_duplicate_{n}_grams",
            _OF_CHARACTERS,
            f"characters in {n} words that occurred before, searched on from the word after them",
            f"duplicate_{n}_gram_characters",
            "characters",
        )
        for n in DUPLICATE_GRAMS
    ),
    Signal("datatrove_lines", "lines", "lines that hold more than white space", "full_lines"),
    Signal(
        "datatrove_ended_lines",
        _OF_LINES,
        "lines, white space at their ends included, that end with a sentence's end mark",
        "ended_lines",
        "full_lines",
    ),
    Signal("datatrove_short_lines", _OF_LINES, "lines of at most 30 characters", "short_lines", "full_lines"),
    Signal(
        "datatrove_repeated_line_characters",
        "share of the characters but line breaks",
        "characters in lines equal to an earlier one, white space included",
        "duplicate_full_line_characters",
        "line_characters",
    ),
    Signal(
        "datatrove_line_breaks_per_word",
        "per word",
        "line breaks per word, punctuation included",
        "line_breaks",
        "words",
    ),
    Signal(
        "datatrove_lorem_ipsum_lines",
        "lines",
        'lines with "lorem ipsum" that the rules for lines keep',
        "lorem_ipsum_lines",
    ),
    Signal("datatrove_curly_lines", "lines", 'lines with "{" that the rules for lines keep', "curly_lines"),
    Signal("datatrove_sentences", "sentences", "sentences in the lines that the rules for lines keep", "sentences"),
)


def datatrove_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The columns of `DATATROVE_SIGNALS`, null where the text is; batch: `text`, and perhaps spans."""
    from gristmill.kernels.text import datatrove, utf8

    text = batch.column("text")
    words = line_sentences = None
    if "word_spans" in batch.schema.names:
        spans, offsets = _lists(batch.column("word_spans"))
        begins = utf8.buffers(text)[1][:-1]
        first = np.repeat(begins, np.diff(offsets) // 2)
        words = spans[::2] + first, spans[1::2] + first, offsets // 2
    if "line_sentences" in batch.schema.names:
        line_sentences = _lists(batch.column("line_sentences"))
    found = datatrove.count(*utf8.buffers(pc.fill_null(text, "")), words, line_sentences)
    counts = dict(zip(datatrove.COUNTS, found.T, strict=True))
    return columns_of(DATATROVE_SIGNALS, counts, text.is_null().to_numpy(zero_copy_only=False))


def _lists(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(values, offsets) of a column of lists, int64; a null is empty."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    values = pc.list_flatten(column).cast(pa.int64()).to_numpy()
    return np.array(values), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
