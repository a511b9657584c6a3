"""Whether a text looks like source code, by a linear model over the counts of `kernels.text.code_shape`.

    score = WEIGHTS · x + BIAS: the logarithm of the odds

x are counts of bytes as square roots of their share of the bytes, counts of lines as shares of the lines, and the
logarithm of bytes a line. The weights were fitted by `benchmarks/code_domain.py --fit` (logistic regression): source
files in 130 languages against prose in 170, web pages, markup, tables, logs and change logs.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.code_shape import AT, count, suspects

WEIGHTS = {
    "line_bytes": -3.74,
    "blank": -5.39,
    "comments": 1.52,
    "prose_ends": -7.05,
    "indented": 1.69,
    "sign_starts": -1.84,
    "keywords": 11.71,
    "prose_spaces": -6.11,
    "braces": -11.45,
    "parentheses": 3.29,
    "calls": 15.26,
    "underscores": 14.13,
    "operators": 16.18,
    "commands": 7.58,
    "tags": -47.81,
    "quotes": 9.55,
    "commas": 11.0,
    "digits": -6.08,
}
BIAS = 13.53

LEAST_BYTES = 100
"""Of lines that are no comments. The shape of less says nothing."""

PER_LINE = ("prose_ends", "indented", "sign_starts", "keywords")
PER_BYTE = (
    *("prose_spaces", "braces", "parentheses", "calls", "underscores", "operators", "commands", "tags", "quotes"),
    *("commas", "digits"),
)
FEATURES = ("line_bytes", "blank", "comments", *PER_LINE, *PER_BYTE)


def scores(texts: pa.Array, chosen: np.ndarray, all_of_them: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(scores, whether a text is long enough to have one) of (n,) texts, (n,) float64 and (n,) bool.

    Of texts that are not chosen, and of those that are no suspects at first sight unless `all_of_them` are to be
    looked at, the score is -inf and they count as long enough.
    """
    from gristmill.kernels.text.utf8 import buffers

    data, offsets = buffers(texts)
    looked_at = chosen if all_of_them else suspects(data, offsets, chosen)
    found = np.full(len(texts), -np.inf)
    enough = np.ones(len(texts), np.bool_)
    if looked_at.any():
        counts = count(data, offsets, looked_at)[looked_at]
        found[looked_at] = features(counts) @ np.array([WEIGHTS[name] for name in FEATURES]) + BIAS
        enough[looked_at] = counts[:, AT.bytes] >= LEAST_BYTES
    return found, enough


def features(counts: np.ndarray) -> np.ndarray:
    """(n, len(FEATURES)) float64 of (n, len(COUNTS)) counts."""
    size, lines = np.maximum(counts[:, AT.bytes], 1), np.maximum(counts[:, AT.lines], 1)
    written = lines + counts[:, AT.comments]
    columns = [np.log(size / lines), counts[:, AT.blank] / (written + counts[:, AT.blank])]
    columns.append(counts[:, AT.comments] / written)
    columns += [counts[:, getattr(AT, name)] / lines for name in PER_LINE]
    columns += [np.sqrt(counts[:, getattr(AT, name)] / size) for name in PER_BYTE]
    return np.stack(columns, axis=1)
