"""Line-level edits: C4's and RefinedWeb's rules for what is no running text.

Rules are rows as those for documents, minimum <= measure <= maximum for some domains and languages, but of a line:
`stages.presets.LINE_PRESETS`. A line is dropped by the first row it fails, or something is cut out of it; measures and
cuts are those of `kernels.text.line_rules`. Lines that stay are the same bytes in the same order, with the blank lines
between them. Code has no line rules and is left alone. It runs before the signals, which therefore measure what stays.

It drops a document only where no line is left (`lines.empty`); `rules` may limit the columns that it adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.line_rules import COUNTED, EDITED_WORDS, EDITS, MEASURES, NOTES, POLICIES
from gristmill.kernels.text.lines import BLANK_REMOVED, COUNTS, EDITED, LONG_LINE, Rules, edit, fates
from gristmill.stages.presets.resolve import Scope, distinct, listed, resolved
from gristmill.stages.presets.rule import Rule
from gristmill.stages.presets.table import LINE_PRESETS
from gristmill.stages.signal_table import Signal
from gristmill.stages.signals import with_columns

MEANINGS = {
    "words": "words; in scripts written without spaces a letter is half a word (Chinese, Japanese) or a quarter",
    "longest_word": "characters of the longest word",
    "end_mark": "1 if it ends in a sentence's end mark or a quote of any script but in no ellipsis, else 0; not asked "
    "of lines in scripts without a full stop, as in Thai and Lao",
    "javascript": '1 if it holds "javascript" in any case',
    "policy": f"1 if it holds {', '.join(POLICIES)} in any case",
    "uppercase": "share of characters that are upper-case letters",
    "digits": "share of characters that are decimal digits",
    "counter": f"1 if it is a number and one of {', '.join(COUNTED)}",
    "citation_numbers": 'cut out: "[" digits "]"',
    "citation_notes": f"cut out: {' '.join(NOTES)}",
    "items_in_cart": f'cut out of a line of at most {EDITED_WORDS} words: "items in cart"',
    "read_more": f'cut off the end of a line of at most {EDITED_WORDS} words: "read more..."',
    "sign_in": f'cut off the beginning of a line of at most {EDITED_WORDS} words: "sign-in"',
}
"""What each measure and cut is, of a line without the white space at its ends."""

_WHAT = {
    **dict.fromkeys(MEASURES, "lines that a limit on {} removed"),
    **dict.fromkeys(EDITS, "lines of which nothing was left after {} were cut out"),
}

LINE_SIGNALS = (
    Signal("lines_removed", "lines", "lines that the stage lines removed, blank ones not counted", "lines_removed"),
    Signal("lines_edited", "lines", "lines of which the stage lines cut something out", "lines_edited"),
    Signal("share_of_lines_removed", "share of lines", "lines that the stage lines removed", "lines_removed", "lines"),
    Signal(
        "words_removed",
        "share of words",
        "words of the lines and phrases that the stage lines removed",
        "words_lost",
        "words",
    ),
    Signal(
        "words_flagged",
        "share of words",
        "words of the lines and phrases that the rules refinedweb of the stage lines removed",
        "words_flagged",
        "words",
    ),
    Signal("long_lines", "lines", f"lines of at least {LONG_LINE} characters that stay", "long_lines"),
    *(
        Signal(f"lines_removed_by_{name}", "lines", _WHAT[name].format(name), f"lines_removed_by_{name}")
        for name in (*MEASURES, *EDITS)
    ),
)
"""Columns that `Lines` adds; null for documents that no line rule is asked of, as code, shares where there is no
word."""

FLAGGED = "refinedweb"
"""Penedo et al. 2023, G.2: "if the words in the flagged lines represent more than 5 % of the total document words, the
document is discarded"."""


@dataclass(frozen=True)
class Lines:
    """Removes lines, and cuts phrases out of lines; in YAML the fields are as here.

    presets: names of `LINE_PRESETS`, in the order in which they are tried on each line.
    set: changed limits, {'preset.measure': {min: ..., max: ...}}, or a bare measure for every preset that has it; null
        removes a limit, and of a cut `max: null` leaves what would be cut.

    Raises ValueError, with the nearest valid name, for an unknown preset, measure or key.
    """

    presets: tuple[str, ...] = ("c4",)
    set: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict, hash=False)

    name: ClassVar[str] = "lines"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language")
    adds: ClassVar[tuple[str, ...]] = ("text", *(signal.name for signal in LINE_SIGNALS), "dropped_by")
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "presets", tuple(listed("lines.presets", self.presets)))
        self.rules()

    def rules(self) -> tuple[Rule, ...]:
        """The rows in the order in which they are tried."""
        return distinct("lines", resolved("lines", LINE_PRESETS, self.presets, self.set))

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Edits `text`, fills the columns of `LINE_SIGNALS` and `dropped_by`: lines.empty, where every line that a text
        had was removed; its text stays as it was. Rows that have no text or are already out stay as they are."""
        from gristmill.kernels.text import utf8

        text = batch.column("text")
        names = [name for name in ("dropped_by", "quarantined_by") if name in batch.schema.names]
        alive = text.is_valid()
        for name in names:
            alive = pc.and_(alive, batch.column(name).is_null())
        rules = self.rules()
        scope = self._scope(rules, batch.column("domain"), batch.column("language"))
        scope = np.where(alive.to_numpy(zero_copy_only=False), scope, np.uint64(0))
        data, offsets = utf8.buffers(text)
        edited, ends, found = edit(data, offsets, scope, _for_kernel(rules))
        counts = dict(zip(COUNTS, found.T, strict=True))
        columns = _columns(counts, scope == 0)
        empty = (counts["lines"] > 0) & (counts["lines"] == counts["lines_removed"])
        reason = pc.if_else(pa.array(empty), "lines.empty", pa.scalar(None, pa.string()))
        dropped = batch.column("dropped_by") if "dropped_by" in names else pa.nulls(len(text), pa.string())
        columns["text"] = _text(edited, ends, text)
        columns["dropped_by"] = pc.coalesce(dropped, reason)
        return with_columns(batch, columns)

    def reasons(self, text: str, domain: str | None, language: str | None) -> list[tuple[bool, str | None]]:
        """Of each line, as by splitting at U+000A, whether it stays, and the row that removes it or cut something out
        of it. Of blank lines that go with the lines around them no row is named."""
        rules = self.rules()
        [scope] = self._scope(rules, pa.array([domain], pa.string()), pa.array([language], pa.string())).tolist()
        found = fates(np.frombuffer(text.encode(), np.uint8), scope, _for_kernel(rules)).tolist()
        numbers = [fate if fate >= 0 else EDITED - fate if fate <= EDITED else None for fate in found]
        return [
            (fate < 0 and fate != BLANK_REMOVED, None if number is None else rules[number].name)
            for fate, number in zip(found, numbers)
        ]

    def _scope(self, rules: tuple[Rule, ...], domain: pa.Array, language: pa.Array) -> np.ndarray:
        """(rows,) uint64, bit k: rule k is asked of the document."""
        scope = Scope(domain, language)
        masks = np.zeros(len(domain), np.uint64)
        for k, rule in enumerate(rules):
            masks |= scope.holds(rule).astype(np.uint64) << np.uint64(k)
        return masks


def _for_kernel(rules: tuple[Rule, ...]) -> Rules:
    """Rows without a limit, which `set` has made so, are never failed."""
    order: tuple[str, ...] = (*MEASURES, *EDITS)
    return Rules(
        np.array([order.index(rule.signal) for rule in rules], np.int64),
        np.array([-np.inf if rule.minimum is None else rule.minimum for rule in rules], np.float64),
        np.array([np.inf if rule.maximum is None else rule.maximum for rule in rules], np.float64),
        np.array([rule.name.partition(".")[0] == FLAGGED for rule in rules], np.bool_),
    )


def _columns(counts: dict[str, np.ndarray], missing: np.ndarray) -> dict[str, Any]:
    counts = counts | {"words_lost": counts["words"] - counts["words_kept"]}
    columns = {}
    for signal in LINE_SIGNALS:
        values = counts[signal.numerator or signal.name]
        if signal.denominator is None:
            columns[signal.name] = pa.array(values, pa.int64(), mask=missing)
        else:
            below = counts[signal.denominator]
            ratio = np.divide(values, below, out=np.zeros(len(values)), where=below != 0)
            columns[signal.name] = pa.array(ratio, pa.float64(), mask=missing | (below == 0))
    return columns


def _text(data: np.ndarray, offsets: np.ndarray, like: pa.Array) -> pa.Array:
    """The buffers as a large_string, null where `like` is."""
    validity = None
    if like.null_count:
        validity = pa.py_buffer(np.packbits(like.is_valid().to_numpy(zero_copy_only=False), bitorder="little"))
    return pa.LargeStringArray.from_buffers(len(like), pa.py_buffer(offsets), pa.py_buffer(data), validity)
