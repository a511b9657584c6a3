"""The label that a fastText model gives a text, from the mean of the text's rows.

    softmax                           p = exp(o) / sum of exp(o), o = output row · hidden
    negative sampling, one against all  p = sigmoid(o), from the library's table of 512 steps
    hierarchical softmax              p = product of sigmoids along the path of a Huffman tree

Numbers are rounded where the library rounds them, and of equals the same one is chosen, so that choices agree.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.fasttext_file import HIERARCHICAL, SOFTMAX

_TABLE, _REACH = 512, 8.0  # fastText's table of the sigmoid: 512 steps from -8 to 8


@numba.njit(cache=True)
def _dot(row, hidden):
    value = np.float32(0)
    for d in range(len(hidden)):
        value += row[d] * hidden[d]
    return value


@numba.njit(inline="always")
def _log(x):
    """fastText's std_log: the logarithm of x + 1e-5, rounded to float32."""
    return np.float32(np.log(np.float64(x) + 1e-5))


@numba.njit(cache=True)
def _sigmoid(x):
    """From fastText's table, of which it takes the entry below."""
    if x < -_REACH:
        return np.float32(0)
    if x > _REACH:
        return np.float32(1)
    step = np.int64(np.float32(np.float32(x + np.float32(_REACH)) * np.float32(_TABLE)) / np.float32(_REACH) / 2)
    place = np.float32(np.float32(step * 2 * _REACH) / np.float32(_TABLE) - np.float32(_REACH))
    return np.float32(1.0 / (1.0 + np.float64(np.float32(np.exp(-place)))))


@numba.njit(cache=True)
def _right(hidden, node, weights):
    """Probability of a node's right child."""
    value = np.float32(np.exp(-_dot(weights.output[node - (len(weights.tree) + 1) // 2], hidden)))
    return np.float32(1.0 / np.float64(np.float32(1) + value))


@numba.njit(cache=True)
def _outputs(hidden, output, weights):
    """Fills `output` with the probabilities of all labels, where they do not stand in a tree."""
    for label in range(len(output)):
        output[label] = _dot(weights.output[label], hidden)
    if weights.loss != SOFTMAX:
        for label in range(len(output)):
            output[label] = _sigmoid(output[label])
        return
    greatest = output.max()
    norm = np.float32(0)
    for label in range(len(output)):
        output[label] = np.float32(np.exp(output[label] - greatest))
        norm += output[label]
    for label in range(len(output)):
        output[label] /= norm


@numba.njit(cache=True)
def choose(hidden, output, weights):
    """(label of the highest probability, the later one of equals, and the probability)."""
    if weights.loss == HIERARCHICAL:
        return _descend(hidden, weights)
    _outputs(hidden, output, weights)
    best, score = -1, np.float32(-np.inf)
    for label in range(len(output)):
        value = _log(output[label])
        if value >= score:
            best, score = label, value
    return best, min(1.0, np.float64(np.float32(np.exp(score))))


@numba.njit(cache=True)
def _descend(hidden, weights):
    """The library's depth-first search: left before right, and what is below the best so far is left out."""
    tree = weights.tree
    nodes, scores = np.empty(len(tree), np.int64), np.empty(len(tree), np.float32)
    nodes[0], scores[0], held = len(tree) - 1, np.float32(0), 1
    best, top = -1, np.float32(-np.inf)
    while held:
        held -= 1
        node, score = nodes[held], scores[held]
        if score < top:
            continue
        if tree[node, 0] < 0:
            best, top = node, score
            continue
        right = _right(hidden, node, weights)
        nodes[held], scores[held] = tree[node, 1], score + _log(right)
        nodes[held + 1], scores[held + 1] = tree[node, 0], score + _log(1.0 - np.float64(right))
        held += 2
    return best, min(1.0, np.float64(np.float32(np.exp(top))))


@numba.njit(cache=True)
def probability(hidden, output, label, weights):
    if weights.loss != HIERARCHICAL:
        _outputs(hidden, output, weights)
        return min(1.0, np.float64(np.float32(np.exp(_log(output[label])))))
    tree = weights.tree
    score, node = np.float32(0), label
    for above in range(len(output), len(tree)):  # parents come after their children
        if tree[above, 0] == node or tree[above, 1] == node:
            right = _right(hidden, above, weights)
            score += _log(right) if tree[above, 1] == node else _log(1.0 - np.float64(right))
            node = above
    return min(1.0, np.float64(np.float32(np.exp(score))))
