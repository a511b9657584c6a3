"""The table of signals: what each is called, counted in, and how it is made of counts.

A signal is a count of `kernels.text.signals` or the ratio of two, but for those that another stage measures. It
measures nothing: `stages.signals` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.repetition import DUPLICATE_GRAMS, TOP_GRAMS


@dataclass(frozen=True)
class Signal:
    """A count, or the ratio of two: columns of `kernels.text.signals.count` or those that
    `stages.signals` makes of them.

    Without a numerator it is measured by another stage: the column is left as it is, or null where there is none.
    """

    name: str
    unit: str
    definition: str
    numerator: str | None
    denominator: str | None = None

    @property
    def dtype(self) -> pa.DataType:
        return pa.int64() if self.numerator and self.denominator is None else pa.float64()


_SHARE_OF_CHARACTERS = "share of characters"
_SHARE_OF_WORDS = "share of words"
_SHARE_OF_LINES = "share of lines"
_SHARE_OF_PARAGRAPHS = "share of paragraphs"
_LETTERS = "in scripts written without spaces a word is two letters (Chinese, Japanese) or four (Thai, Khmer, others)"

ROWS = (
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
    Signal(
        "sentences",
        "sentences",
        "stretches of a line up to a sentence's end mark of any script, with quotes and brackets after it, or to the "
        "end of the line; not at a full stop before a lower-case letter or after a single letter; in scripts without a "
        "full stop up to white space",
        "sentences",
    ),
    Signal("paragraphs", "paragraphs", "runs of lines without a blank line between", "paragraphs"),
    Signal("line_breaks_per_word", "per word", "line breaks (U+000A) per word", "line_breaks", "words"),
    Signal("short_lines", _SHARE_OF_LINES, "lines of at most 30 characters", "short_lines", "lines"),
    Signal("few_word_lines", _SHARE_OF_LINES, f"lines of fewer than 3 words; {_LETTERS}", "few_word_lines", "lines"),
    Signal(
        "under_five_word_lines",
        _SHARE_OF_LINES,
        f"lines of fewer than 5 words; {_LETTERS}",
        "under_five_word_lines",
        "lines",
    ),
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
        "terminal_lines",
        _SHARE_OF_LINES,
        "lines that end with a sentence's end mark or a quote of any script, but not with an ellipsis; null where "
        "lines_without_end_mark is",
        "terminal_lines",
        "stopped_lines",
    ),
    Signal("javascript_lines", "lines", 'lines that hold "javascript" in any case', "javascript_lines"),
    Signal(
        "policy_lines",
        "lines",
        "lines that hold terms of use, privacy policy, cookie policy, uses cookies, use of cookies or use cookies",
        "policy_lines",
    ),
    Signal("lorem_ipsum", "occurrences", 'occurrences of "lorem ipsum" in any case', "lorem_ipsum"),
    Signal("curly_brackets", "characters", 'occurrences of "{"', "curly_brackets"),
    Signal(
        "non_alphanumeric",
        _SHARE_OF_CHARACTERS,
        "characters, spaces included, that are not ASCII letters or digits, new lines or one of ? ! , .",
        "not_plain",
        "characters",
    ),
    Signal("numbers", _SHARE_OF_CHARACTERS, "decimal digits of any script", "digits", "characters"),
    Signal(
        "urls",
        _SHARE_OF_CHARACTERS,
        "characters in http and https URLs; a letter of Chinese or Japanese counts as three characters of the text",
        "url_characters",
        "spelled_characters",
    ),
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
    Signal(
        "duplicate_sentence_spans",
        "share of spans",
        "spans of three sentences in a row that stood in the text before, of all such spans",
        "duplicate_sentence_spans",
        "sentence_spans",
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
    Signal("language_score", "probability", "of the language, by the stage language; null where it did not run", None),
    Signal(
        "perplexity",
        "perplexity per token",
        "of the language's model, by the stage perplexity; null where it did not run before",
        None,
    ),
)

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in ROWS}
"""Every signal by name."""


def columns_of(signals: Iterable[Signal], counts: Mapping[str, np.ndarray], missing: np.ndarray) -> dict[str, pa.Array]:
    """The columns of the signals that are made of counts, (rows,) int64 each; missing: (rows,) bool, null in all."""
    columns: dict[str, pa.Array] = {}
    for signal in signals:
        if signal.numerator is None:
            continue
        values = counts[signal.numerator]
        if signal.denominator is None:
            columns[signal.name] = pa.array(values, pa.int64(), mask=missing)
        else:
            below = counts[signal.denominator]
            ratio = np.divide(values, below, out=np.zeros(len(values)), where=below != 0)
            columns[signal.name] = pa.array(ratio, pa.float64(), mask=missing | (below == 0))
    return columns
