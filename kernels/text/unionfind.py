"""Connected components of a graph given as edges between 64-bit nodes.

Nodes are numbered by rank, so that an array is the forest: parent[i] <= i. Union links the larger root under the
smaller (the result is the smallest node of each component whatever the order of edges), find halves paths
(Tarjan and van Leeuwen 1984). Memory: 40 bytes an edge and 16 a node. One process: pieces are for the caller, who may
reduce each to its components first; edges (root, node) of pieces describe the same components.
"""

from __future__ import annotations

import numba
import numpy as np


def components(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, roots), both (k,) uint64: every node that an edge names, ascending, and its component's smallest node.

    left, right: (edges,) uint64. Loops and repeated edges are allowed.
    """
    nodes, ranks = np.unique(np.concatenate([left, right]), return_inverse=True)
    parent = _unite(ranks[: len(left)], ranks[len(left) :], len(nodes))
    return nodes, nodes[parent]


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
