"""Components: equal to a search through the graph, and independent of how edges are ordered or cut into pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.unionfind import components, repeated, stars

EDGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60)


def by_search(edges: list[tuple[int, int]]) -> dict[int, int]:
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    root: dict[int, int] = {}
    for node in sorted(neighbours):
        waiting = [] if node in root else [node]
        while waiting:
            member = waiting.pop()
            if root.setdefault(member, node) == node:
                waiting += [n for n in neighbours[member] if n not in root]
    return root


def by_kernel(edges: list[tuple[int, int]]) -> dict[int, int]:
    pairs = np.array(edges, np.uint64).reshape(-1, 2)
    nodes, roots = components(pairs[:, 0], pairs[:, 1])
    assert nodes.dtype == roots.dtype == np.uint64
    return dict(zip(nodes.tolist(), roots.tolist()))


@settings(deadline=None)
@given(EDGES)
def test_components_are_what_a_search_finds(edges):
    assert by_kernel(edges) == by_search(edges)


@settings(deadline=None)
@given(EDGES, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_direction_and_pieces_do_not_matter(edges, random, pieces):
    shuffled = [edge if random.random() < 0.5 else edge[::-1] for edge in edges]
    random.shuffle(shuffled)
    forests = [list(by_kernel(shuffled[i::pieces]).items()) for i in range(pieces)]
    assert by_kernel([edge for forest in forests for edge in forest]) == by_kernel(edges)


def test_a_path_of_a_million_handles_near_the_top_of_64_bits():
    nodes = np.uint64(2**64 - 2_000_001) + np.random.default_rng(1).permutation(1_000_000).astype(np.uint64)
    found, roots = components(nodes[:-1], nodes[1:])
    assert len(found) == 1_000_000
    assert (roots == nodes.min()).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 30)), max_size=40))
def test_stars_join_what_agrees_in_group_and_check(rows):
    table = np.array(rows, np.uint64).reshape(-1, 3)
    left, right = stars(table[:, 0] << np.uint64(62), table[:, 1].astype(np.uint32), table[:, 2])
    groups: dict[tuple[int, int], list[int]] = {}
    for group, check, node in rows:
        groups.setdefault((group % 4, check), []).append(node)
    expected = [(min(nodes), node) for nodes in groups.values() for node in nodes if node != min(nodes)]
    assert sorted(zip(left.tolist(), right.tolist())) == sorted(expected)


def test_the_filter_lets_every_repeated_key_through_and_few_others():
    generator = np.random.default_rng(1)
    keys = generator.integers(0, 2**64, 100_000, dtype=np.uint64)
    keys[90_000:] = keys[generator.integers(0, 90_000, 10_000)]
    values, counts = np.unique(keys, return_counts=True)
    truly = np.isin(keys, values[counts > 1])
    passed = repeated(keys)
    assert passed[truly].all()
    assert passed[~truly].mean() < 0.25
    assert repeated(keys >> np.uint64(56)).all()
    assert repeated(keys[:0]).shape == (0,)
