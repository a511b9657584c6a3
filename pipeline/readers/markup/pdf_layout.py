"""Characters of a page with their boxes to lines in reading order.

    characters -> runs: neighbours in the order of the page's content, on one line, without a gap
               -> columns: where a gutter goes through, what is left of it comes first; what crosses it stands between
               -> lines: runs of one column at one height

A gutter is a strip that few lines cross and that has lines of text on both sides, as long as their column is wide: so
two-column papers and newspapers come column by column, tables and code with comments behind it row by row. Text that is
turned by 90, 180 or 270 degrees is read the same way after the rest. Coordinates are in points, y goes up.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SAME_LINE = 0.4  # of the lower one's height that two characters of a line have in common
CELLS = 1.5  # of the height: a gap as wide parts the cells of a table
GAP = 0.7  # of the height: a gap as wide ends a run; word spaces are 0.2 to 0.5
MAX_DEPTH = 6  # columns in columns
MAX_STRIPS = 8  # that are looked at, those crossed least first
LEAST_ROWS = 3  # of a column
LEAST_SHARE = 0.15  # of the width, of a column
CROSSED = 0.5  # of the most lines at any x that may cross a gutter
FILLED = 0.6  # of its column's width that a line of text has, the median
LEAST_CHARACTERS = 12  # of such a line, the median
HYPHENS = (0x02, 0xFFFE)  # how PDFium writes a hyphen at a line's end
SOFT_HYPHEN = "\u00ad"

_SPACES = frozenset([0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
                     0x202F, 0x205F, 0x3000])  # fmt: skip
_NOTHING = frozenset([*range(0x20), *range(0x7F, 0xA0), 0x200B, 0x2060, 0xFEFF, 0xFFFF]) - _SPACES - {*HYPHENS}


@dataclass(frozen=True)
class Characters:
    codes: np.ndarray
    """(n,) uint32: code points, 0 where none is known."""
    boxes: np.ndarray
    """(n, 4) float64: left, bottom, right, top; of a line's characters bottoms and tops are equal."""
    quarters: np.ndarray
    """(n,) int64: quarter turns of the direction in which they are written."""


@dataclass(slots=True)
class Line:
    """A run, or several that stand on one line of a column."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    parted: bool = False
    """Whether there is a wide gap in it, as between the cells of a row."""

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def page_lines(characters: Characters) -> list[list[Line]]:
    """Blocks of lines in reading order; a block is a stretch of one column, its lines go down."""
    blocks: list[list[Line]] = []
    for quarter in range(4):
        chosen = characters.quarters == quarter
        if not chosen.any():
            continue
        runs = _runs(characters.codes[chosen], _upright(characters.boxes[chosen], quarter))
        blocks += [_rows(block) for block in _ordered(runs, 0)]
    return blocks


def _upright(boxes: np.ndarray, quarter: int) -> np.ndarray:
    """The boxes turned back, so that the text goes to the right."""
    left, bottom, right, top = boxes.T
    turned = ((left, bottom, right, top), (bottom, -right, top, -left), (-right, -top, -left, -bottom),
              (-top, left, -bottom, right))  # fmt: skip
    return np.stack(turned[quarter], axis=1)


def _runs(codes: np.ndarray, boxes: np.ndarray) -> list[Line]:
    kinds, inverse = np.unique(codes, return_inverse=True)
    shown = np.array([code != 0 and code not in _SPACES and code not in _NOTHING for code in kinds.tolist()])[inverse]
    sized = (boxes[:, 3] - boxes[:, 1] > 0) & np.isfinite(boxes).all(axis=1)
    at = np.flatnonzero(shown & sized)
    if not len(at):
        return []
    space = np.array([code in _SPACES for code in kinds.tolist()])[inverse]
    spaces = np.concatenate([[0], np.cumsum(space)])
    spaced = np.diff(spaces[at]) > 0  # between a character and the next that is shown
    left, bottom, right, top = boxes[at].T
    height = top - bottom
    lower = np.minimum(height[1:], height[:-1])
    common = np.minimum(top[1:], top[:-1]) - np.maximum(bottom[1:], bottom[:-1])
    gap = np.maximum(left[1:] - right[:-1], left[:-1] - right[1:])  # to the left, where that is the way it is written
    ends = (common < SAME_LINE * lower) | (gap > GAP * lower)
    starts = np.concatenate([[0], np.flatnonzero(ends) + 1])
    edges = [*starts.tolist(), len(at)]
    letters = [_letter(code) for code in codes[at].tolist()]
    words = [f"{letter} " if more else letter for letter, more in zip(letters, [*spaced.tolist(), False], strict=True)]
    texts = ("".join(words[start:end]).rstrip(" ") for start, end in pairwise(edges))
    within = (starts + [*starts[1:], len(at)]) // 2  # of a run's characters the middle one has its height
    places = (np.minimum.reduceat(left, starts), bottom[within], np.maximum.reduceat(right, starts), top[within])
    return [Line(*run) for run in zip(texts, *(place.tolist() for place in places), strict=True)]


@functools.lru_cache(1 << 12)
def _letter(code: int) -> str:
    """The character; ligatures and presentation forms as the letters that they show (Unicode 15, chapter 23)."""
    if code in HYPHENS:
        return "-"
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return "\ufffd"
    if 0xFB00 <= code <= 0xFDFF or 0xFE70 <= code <= 0xFEFF:
        return unicodedata.normalize("NFKC", chr(code))
    return chr(code)


def _ordered(runs: list[Line], depth: int) -> list[list[Line]]:
    """Runs of each block; blocks in reading order."""
    gutter = _gutter(runs) if depth < MAX_DEPTH else None
    if gutter is None:
        return [runs] if runs else []
    crossing = sorted((run for run in runs if run.left < gutter < run.right), key=lambda run: -run.middle)
    heights = np.array([-run.middle for run in crossing])
    bands: dict[int, tuple[list[Line], list[Line]]] = {}
    for run in runs:
        if not run.left < gutter < run.right:
            band = int(np.searchsorted(heights, -run.middle))
            bands.setdefault(band, ([], []))[run.left >= gutter].append(run)
    result: list[list[Line]] = []
    between: list[Line] = []
    for band in range(len(crossing) + 1):
        if band in bands:
            result += [between] if between else []
            between = []
            for side in bands[band]:
                result += _ordered(side, depth + 1)
        if band < len(crossing):
            between.append(crossing[band])
    return result + ([between] if between else [])


def _gutter(runs: list[Line]) -> float | None:
    """x of the middle of a gutter; None where the runs are one column."""
    if len(runs) < 2 * LEAST_ROWS:
        return None
    left = np.array([run.left for run in runs])
    right = np.array([run.right for run in runs])
    start, width = float(left.min()), float(right.max() - left.min())
    if not 0 < width < 1e5:
        return None
    edge = int(width * LEAST_SHARE)
    bins = int(width) + 1
    change = np.zeros(bins + 1, np.int64)
    np.add.at(change, np.ceil(left - start).astype(np.int64), 1)
    np.add.at(change, np.floor(right - start).astype(np.int64).clip(0, bins), -1)
    cover = np.cumsum(change)[:bins]
    few = cover <= CROSSED * cover.max()
    few[:edge], few[bins - edge :] = False, False
    strips: list[tuple[int, float]] = []
    for low, high in _stretches(few):
        least = cover[low:high].min()
        inner_low, inner_high = max(_stretches(cover[low:high] == least), key=lambda each: each[1] - each[0])
        strips.append((int(least), start + low + (inner_low + inner_high) / 2))
    return next((middle for _, middle in sorted(strips)[:MAX_STRIPS] if _are_columns(runs, middle)), None)


def _stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _are_columns(runs: list[Line], middle: float) -> bool:
    """Whether lines of text stand on both sides, beside each other."""
    sides = [run for run in runs if run.right <= middle], [run for run in runs if run.left >= middle]
    if min(map(len, sides)) < LEAST_ROWS:
        return False
    for side in sides:
        column = [row for row in _rows(side) if row.text]
        widths = np.array([row.right - row.left for row in column])
        whole = np.quantile([row.right for row in column], 0.9) - min(row.left for row in column)
        if len(column) < LEAST_ROWS or np.median(widths) < FILLED * whole:
            return False
        if np.median([len(row.text) for row in column]) < LEAST_CHARACTERS:
            return False
    tops, bottoms = zip(*((max(r.top for r in side), min(r.bottom for r in side)) for side in sides))
    return min(tops) > max(bottoms)


def _rows(runs: list[Line]) -> list[Line]:
    """Runs at one height joined, from the top down; from the right where more of it is written that way."""
    rows: list[list[Line]] = []
    for run in sorted(runs, key=lambda run: (-run.middle, run.left)):
        last = rows[-1][0] if rows else None
        common = 0.0 if last is None else min(last.top, run.top) - max(last.bottom, run.bottom)
        if last is not None and common >= SAME_LINE * min(last.height, run.height):
            if run.height > last.height:
                rows[-1].insert(0, run)  # the row is as high as its highest run
            else:
                rows[-1].append(run)
        else:
            rows.append([run])
    return [_row(row) for row in rows]


def _row(runs: list[Line]) -> Line:
    if len(runs) == 1:
        return runs[0]
    backwards = _is_backwards("".join(run.text for run in runs))
    runs = sorted(runs, key=lambda run: -run.right if backwards else run.left)
    gaps = [before.left - run.right if backwards else run.left - before.right for before, run in pairwise(runs)]
    words = [(" " if gap > 0.1 * run.height else "") + run.text for gap, run in zip([0.0, *gaps], runs, strict=True)]
    highest = max(runs, key=lambda run: run.height)
    left, right = min(run.left for run in runs), max(run.right for run in runs)
    return Line("".join(words), left, highest.bottom, right, highest.top, max(gaps) > CELLS * highest.height)


def _is_backwards(text: str) -> bool:
    kinds = [unicodedata.bidirectional(letter) for letter in text[:200]]
    return sum(kind in ("R", "AL") for kind in kinds) > sum(kind == "L" for kind in kinds)
