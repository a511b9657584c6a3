"""Modified Kneser-Ney: equal to recorded lmplz models and to the definition; KenLM's formats are read by KenLM."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import kenlm
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lm_reference import Model, by_definition, estimated, ids_of, ours, probability

from gristmill.kernels.text import arpa, probing
from gristmill.kernels.text.kneser_ney import FALLBACK, discounts
from gristmill.kernels.text.ngram_counts import Counts, count, merge

RECORDED = json.loads((Path(__file__).parent / "lmplz_recorded.json").read_text("utf-8"))
"""lmplz (KenLM 0.3.0's sources) --discount_fallback --skip_symbols on a nursery rhyme, the ARPA files' numbers."""


def assert_same(found: Model, expected: Model, tolerance: float) -> None:
    assert [grams.keys() for grams in found] == [grams.keys() for grams in expected]
    for grams, wanted in zip(found, expected, strict=True):
        a = np.array([grams[gram] for gram in wanted]).reshape(-1, 2)
        b = np.array(list(wanted.values())).reshape(-1, 2)
        differ = a[a != b], b[a != b]  # minus infinity is equal to itself
        assert np.abs(differ[0] - differ[1]).max(initial=0) <= tolerance


@pytest.mark.parametrize("case", RECORDED["models"], ids=lambda case: f"{case['order']}-{case['prune']}")
def test_model_is_that_of_lmplz(case):
    found = ours(RECORDED["lines"], case["order"], case["prune"])
    expected = [{gram: tuple(pair) for gram, pair in grams.items()} for grams in case["ngrams"]]
    assert_same(found, expected, 1e-6)
    assert [list(grams) for grams in found] == [list(grams) for grams in expected]  # in lmplz's order


WORD = st.sampled_from(["a", "b", "c", "d", "e", "<unk>"])
LINES = st.lists(st.lists(WORD, max_size=7).map(" ".join), min_size=1, max_size=30)
ORDER = st.integers(2, 5)


@example(["a a b", "a a b", "a c b"], 3, [])  # a discount of 0: lmplz writes -inf for a backoff
@settings(deadline=None, max_examples=150)
@given(LINES, ORDER, st.lists(st.integers(0, 3), max_size=4).map(sorted))
def test_model_is_that_of_the_definition(lines, order, prune):
    if not len(ids_of(lines)[0]):
        return
    prune = [0, *prune, *[prune[-1] if prune else 0] * order][:order]
    assert_same(ours(lines, order, prune), by_definition(lines, order, prune), 1e-4)


@settings(deadline=None, max_examples=40)
@given(LINES, ORDER, st.booleans())
def test_probabilities_of_every_context_sum_to_one(lines, order, pruned):
    vocabulary = ids_of(lines)[2]
    if len(vocabulary) == 3:
        return
    model = ours(lines, order, [0, 0, 1, 1, 1][:order] if pruned else [0] * order)
    words = [word for word in vocabulary if word != "<s>"]
    contexts = [gram.split() for grams in model[:-1] for gram in grams if not gram.endswith(("</s>", "<unk>"))]
    for context in [[], *contexts[:40]]:
        assert sum(probability(model, context, word) for word in words) == pytest.approx(1, abs=2e-5)


@settings(deadline=None, max_examples=60)
@given(LINES, ORDER, st.integers(1, 6))
def test_counts_do_not_depend_on_how_the_lines_are_cut(lines, order, parts):
    words, ends, vocabulary = ids_of(lines)
    whole = count(words, ends, order)
    cuts = np.linspace(0, len(ends), parts + 1).astype(int)
    pieces = []
    for first, last in pairwise(cuts):
        begin = ends[first - 1] if first else 0
        if last > first:
            pieces.append(count(words[begin : ends[last - 1]], ends[first:last] - begin, order))
    joined = merge(Counts(*(np.concatenate(columns) for columns in zip(*pieces, strict=True))))
    for column, expected in zip(joined, whole, strict=True):
        assert column.tolist() == expected.tolist()
    assert int(whole.counts.sum()) == len(words) + len(ends)
    if len(vocabulary) > 3:
        assert_same(estimated(joined, vocabulary, order, [0] * order), ours(lines, order, [0] * order), 0)


def test_discounts_fall_back_where_counts_give_none():
    assert discounts([10, 4, 2, 1]).amounts.tolist() == pytest.approx([0, 5 / 9, 2 - 3 * 5 / 9 / 2, 3 - 4 * 5 / 9 / 2])
    for tally in ([0, 4, 2, 1], [10, 0, 2, 1], [10, 4, 0, 1], [10, 4, 8, 9]):
        found = discounts(tally)
        assert (found.fallback, found.amounts.tolist()) == (True, [0, *FALLBACK])


def test_order_and_size_are_limited():
    with pytest.raises(ValueError, match="choose 2 to 5"):
        count(np.zeros(1, np.uint16), np.ones(1, np.int64), 6)
    with pytest.raises(ValueError, match="too many"):
        count(np.zeros(1 << 24, np.uint16), np.ones(1, np.int64), 5)


def files_of(model: Model, folder: Path) -> tuple[Path, Path]:
    """lm.binary and lm.arpa of a model, by our writers."""
    spelled = [word.encode() for word in model[0]]
    ids_by_word = {word: i for i, word in enumerate(model[0])}
    binary = io.BytesIO(probing.header([len(grams) for grams in model]))
    binary.seek(0, io.SEEK_END)
    binary.write(probing.vocabulary(spelled))
    counts = "\n".join(f"ngram {n}={len(grams)}" for n, grams in enumerate(model, 1))
    text = [f"\\data\\\n{counts}\n\n".encode()]
    keys, ids = probing.first_keys(len(spelled)), np.arange(len(spelled), dtype=np.uint16)[:, None]
    children = np.zeros(0, np.uint32)
    for n, grams in enumerate(model):
        weights = np.array(list(grams.values()), np.float32).reshape(-1, 2)
        probs, backoffs = weights[:, 0].copy(), weights[:, 1].copy()
        if n:
            labels = np.array([ids_by_word[gram.split()[0]] for gram in grams], np.uint16)
            keys, ids = probing.next_keys(keys, children, labels), arpa.next_ids(ids, children, labels)
        highest = n == len(model) - 1
        text += [
            f"\\{n + 1}-grams:\n".encode(),
            bytes(lines_of(probs, None if highest else backoffs, ids, spelled)),
            b"\n",
        ]
        if highest:
            binary.write(probing.longest_table(keys, probs).tobytes())
            break
        ends = [gram.split(" ", 1)[1] for gram in model[n + 1]]
        children = np.array([ends.count(gram) for gram in grams], np.uint32)
        part = probing.table(keys, probs, backoffs, children > 0).tobytes() if n else None
        binary.write(part or probing.unigrams(probs, backoffs, children > 0))
    binary.write(b"".join(word + b"\0" for word in spelled))
    (folder / "lm.binary").write_bytes(binary.getvalue())
    (folder / "lm.arpa").write_bytes(b"".join([*text, b"\\end\\\n"]))
    return folder / "lm.binary", folder / "lm.arpa"


def lines_of(probs, backoffs, ids, spelled):
    return arpa.lines(probs, backoffs, ids, arpa.as_words(spelled))


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("prune", [0, 1])
def test_kenlm_reads_both_files_and_scores_as_we_do(order, prune, tmp_path):
    lines = RECORDED["lines"]
    model = ours(lines, order, [0, *[prune] * (order - 1)])
    binary, text = files_of(model, tmp_path)
    a, b = kenlm.Model(str(binary)), kenlm.Model(str(text))
    for line in [*lines[:12], "the dog that never was", ""]:
        scores = list(a.full_scores(line))
        assert scores == list(b.full_scores(line))
        words = ["<s>", *line.split(), "</s>"]
        known = [word if word in model[0] else "<unk>" for word in words]
        expected = [probability(model, known[max(0, i - order + 1) : i], known[i]) for i in range(1, len(words))]
        assert [10 ** found[0] for found in scores] == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.floats(-100, 0, width=32), min_size=1))
def test_numbers_are_read_back_as_they_were(values):
    numbers = np.array(values, np.float32)
    numbers[np.abs(numbers) < 1e-12] = 0
    out = bytes(lines_of(numbers, None, np.zeros((len(numbers), 1), np.uint16), [b"w"]))
    assert [np.float32(line.split(b"\t")[0]) for line in out.splitlines()] == numbers.tolist()
