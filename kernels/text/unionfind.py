"""From groups of 64-bit nodes to connected components: `repeated`, `stars`, `components`.

Nodes are numbered by rank, so that an array is the forest: parent[i] <= i. Union links the larger root under the
smaller (the result is the smallest node of each component whatever the order of edges), find halves paths
(Tarjan and van Leeuwen 1984). Memory: 40 bytes an edge and 16 a node. One process: pieces are for the caller, who may
reduce each to its components first; edges (root, node) of pieces describe the same components.
"""

from __future__ import annotations

import numba
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: its products' upper bits depend on all bits of a key


def components(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, roots), both (k,) uint64: every node that an edge names, ascending, and its component's smallest node.

    left, right: (edges,) uint64. Loops and repeated edges are allowed.
    """
    nodes, ranks = np.unique(np.concatenate([left, right]), return_inverse=True)
    parent = _unite(ranks[: len(left)], ranks[len(left) :], len(nodes))
    return nodes, nodes[parent]


def stars(groups: np.ndarray, checks: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(left, right), both (edges,) uint64: the smallest node of each group, and each other node of it, in no order.

    groups: (n,) uint64; checks: (n,) uint32; nodes: (n,) uint64. A group is what agrees in `groups` and `checks`, so
    a group of k nodes gives k - 1 edges, not k^2 / 2.
    """
    met = np.flatnonzero(repeated(groups))
    met = met[np.argsort(groups[met])]
    nodes = nodes[met]
    least = _least(groups[met], checks[met], nodes)
    other = least != nodes
    return least[other], nodes[other]


def repeated(keys: np.ndarray) -> np.ndarray:
    """(n,) bool: True for every key (uint64) that occurs more than once, and for a sixth or so of the others.

    A filter before sorting: most keys of a corpus occur once. One byte of memory for each of 4 n to 8 n slots.
    """
    if len(keys) == 0:
        return np.zeros(0, bool)
    bits = max(8, (4 * len(keys) - 1).bit_length())
    return _repeated(keys, np.zeros(1 << bits, np.uint8), np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def _repeated(keys, slots, shift):
    out = np.empty(len(keys), np.bool_)
    for key in keys:
        slot = (key * _GOLDEN) >> shift
        slots[slot] = min(slots[slot] + 1, 2)
    for i in range(len(keys)):
        out[i] = slots[(keys[i] * _GOLDEN) >> shift] == 2
    return out


@numba.njit(cache=True, nogil=True)
def _least(groups, checks, nodes):
    """(n,) uint64: the smallest node of each row's group; `groups` ascend, `checks` within a run seldom differ."""
    least = np.empty(len(nodes), np.uint64)
    settled = np.zeros(len(nodes), np.bool_)
    end = 0
    for i in range(len(nodes)):
        if i == end:
            while end < len(nodes) and groups[end] == groups[i]:
                end += 1
        if settled[i]:
            continue
        smallest = nodes[i]
        for j in range(i, end):
            if checks[j] == checks[i]:
                smallest = min(smallest, nodes[j])
        for j in range(i, end):
            if checks[j] == checks[i]:
                least[j] = smallest
                settled[j] = True
    return least


@numba.njit(cache=True, nogil=True)
def _unite(left, right, nodes):
    """(nodes,) int64: the smallest rank of each rank's component."""
    parent = np.arange(nodes)
    for i in range(len(left)):
        a, b = _find(parent, left[i]), _find(parent, right[i])
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for i in range(nodes):  # a parent comes before its children, so one pass flattens
        parent[i] = parent[parent[i]]
    return parent


@numba.njit(cache=True, inline="always")
def _find(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
