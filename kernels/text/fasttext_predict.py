"""What a supervised fastText model says of texts: first choice and its probability, over Arrow buffers.

    hidden = mean of the rows of a text's words, their character n-grams and its word n-grams, and of `</s>`
    score  = softmax, sigmoid or the product along a path of a Huffman tree (Joulin et al. 2017, arXiv:1607.01759)

Same tokens, hashes, rows and choice among equals as the library's `predict` on the text with line ends as spaces.
What differs is the order of sums: a word's rows are summed first, in float32, and then added to the text's, in
float64; words of up to 32 bytes keep their sum in a small table. So a result depends on the text alone, not on what
the table held, and is nearer to the exact sum than the library's own, which adds row by row in float32.
"""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from gristmill.kernels.text.fasttext_dictionary import BARE
from gristmill.kernels.text.fasttext_labels import choose, probability
from gristmill.kernels.text.fasttext_model import Model
from gristmill.kernels.text.fasttext_words import end_text, memory_for, read_words
from gristmill.kernels.text.utf8 import buffers

WHOLE, FIRST, THREE = 0, 1, 2
WINDOWS = {"whole": WHOLE, "first": FIRST, "three": THREE}
"""What is read of a text: all of it; the first bytes; a third of the bytes each at the beginning, around the middle and
at the end, as if a space stood between. A window neither begins nor ends within a character."""


def predict(
    texts: pa.Array, model: Model, window: str = "whole", window_bytes: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(number of the label (n,) int64, its probability (n,) float64). texts: large_string without nulls.

    -1 and 0.0 for a text of which the model knows nothing. Probabilities are at most 1: the library's reach 1.00001.
    window: a key of `WINDOWS`; window_bytes: how many bytes of a text are read at most, not used for 'whole'.
    """
    data, offsets = _read_only(texts)
    return _predict(data, offsets, WINDOWS[window], window_bytes, model.weights)


def probabilities(texts: pa.Array, model: Model, label: int) -> np.ndarray:
    """(n,) float64: the probability of one label, by its number; 0 for a text of which the model knows nothing."""
    data, offsets = _read_only(texts)
    return _probabilities(data, offsets, label, model.weights)


def line_shares(texts: pa.Array, model: Model, groups: np.ndarray, wanted: np.ndarray, least: int) -> np.ndarray:
    """(n,) float64: of the bytes of a text's lines of `least` bytes or more, the share of those lines whose own first
    choice is of the group `wanted`; nan where there is no such line.

    groups: (labels,) int64, which labels count as one; wanted: (n,) int64.
    """
    data, offsets = _read_only(texts)
    return _line_shares(data, offsets, groups, wanted, least, model.weights)


def _read_only(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The buffers, marked so even where there are none, or the kernels would be compiled a second time for them."""
    data, offsets = (array.view() for array in buffers(texts))
    data.flags.writeable = offsets.flags.writeable = False
    return data, offsets


# -- texts -------------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _predict(data, offsets, window, window_bytes, weights):
    rows = len(offsets) - 1
    labels, scores = np.full(rows, -1, np.int64), np.zeros(rows, np.float64)
    memory = memory_for(weights)
    hidden, output = _hidden_and_output(weights)
    for i in range(rows):
        count = _read_text(data, offsets[i], offsets[i + 1], window, window_bytes, weights, memory)
        if count:
            _mean(memory.total, count, hidden)
            labels[i], scores[i] = choose(hidden, output, weights)
    return labels, scores


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _probabilities(data, offsets, label, weights):
    scores = np.zeros(len(offsets) - 1, np.float64)
    memory = memory_for(weights)
    hidden, output = _hidden_and_output(weights)
    for i in range(len(scores)):
        count = _read_text(data, offsets[i], offsets[i + 1], WHOLE, 0, weights, memory)
        if count:
            _mean(memory.total, count, hidden)
            scores[i] = probability(hidden, output, label, weights)
    return scores


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _line_shares(data, offsets, groups, wanted, least, weights):
    shares = np.full(len(offsets) - 1, np.nan)
    memory = memory_for(weights)
    hidden, output = _hidden_and_output(weights)
    for i in range(len(shares)):
        begin, end, same, all_bytes = offsets[i], offsets[i + 1], 0, 0
        while begin < end:
            stop = begin
            while stop < end and data[stop] != 10:
                stop += 1
            if stop - begin >= least:
                count = _read_text(data, begin, stop, WHOLE, 0, weights, memory)
                if count:
                    _mean(memory.total, count, hidden)
                    all_bytes += stop - begin
                    if groups[choose(hidden, output, weights)[0]] == wanted[i]:
                        same += stop - begin
            begin = stop + 1
        if all_bytes:
            shares[i] = same / all_bytes
    return shares


@numba.njit(cache=True)
def _hidden_and_output(weights):
    return np.zeros(weights.matrix.shape[1], np.float32), np.zeros(len(weights.output), np.float32)


@numba.njit(cache=True)
def _mean(total, count, hidden):
    factor = np.float32(1.0 / count)
    for d in range(len(total)):
        hidden[d] = np.float32(total[d]) * factor


@numba.njit(**BARE)
def _read_text(data, begin, end, window, window_bytes, weights, memory):
    """Number of rows, whose sum is then in memory.total; the text's end counts as the word `</s>`."""
    memory.total[:] = 0.0
    memory.grams[0] = 0
    if window == WHOLE or end - begin <= window_bytes:
        count, ended = read_words(data, begin, end, weights, memory)
    elif window == FIRST:
        count, ended = read_words(data, begin, _boundary(data, begin + window_bytes, begin), weights, memory)
    else:
        each = window_bytes // 3
        middle = _boundary(data, begin + (end - begin - each) // 2, begin)
        last = _boundary(data, end - each, begin)
        count, ended = read_words(data, begin, _boundary(data, begin + each, begin), weights, memory)
        if not ended:
            more, ended = read_words(data, middle, _boundary(data, middle + each, begin), weights, memory)
            count += more
        if not ended:
            more, ended = read_words(data, last, end, weights, memory)
            count += more
    if ended:
        return count
    return count + end_text(weights, memory)


@numba.njit(cache=True)
def _boundary(data, at, begin):
    """The first byte of the character that byte `at` belongs to."""
    while at > begin and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
