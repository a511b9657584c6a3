"""Scores from a mapped model: equal to KenLM's own, whatever the order; a damaged file is an error in one sentence."""

from __future__ import annotations

from pathlib import Path

import kenlm
import kenlm_files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.kenlm_table import Table, open_table, score, word_indices

WORD = st.sampled_from(["a", "b", "c", "dd", "eightlet", "ninelette", "λόγος", "▁the"])
SENTENCES = st.lists(st.lists(WORD, max_size=9), min_size=1, max_size=20)


def scores(table: Table, sentences: list[list[str]]) -> np.ndarray:
    indices = word_indices(table, [word for sentence in sentences for word in sentence])
    return score(table, indices, np.cumsum([0, *map(len, sentences)]).astype(np.int64))


def by_kenlm(model: kenlm.Model, sentences: list[list[str]]) -> np.ndarray:
    return np.array([model.score(" ".join(sentence), bos=True, eos=True) for sentence in sentences])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@settings(deadline=None, max_examples=60)
@given(SENTENCES, SENTENCES, st.integers(2, 6), st.sampled_from([1.0, 1.5, 3.0]), st.integers(0, 9))
def test_scores_are_those_of_kenlm(folder, seen, others, order, multiplier, seed):
    made = kenlm_files.model(seen, order, seed)
    kenlm_files.arpa(folder / "lm.arpa", made)
    kenlm_files.binary(folder / "lm.binary", made, multiplier)
    sentences = [*seen, *others, [], ["unheard", "a", "of"]]
    expected = by_kenlm(kenlm.Model(str(folder / "lm.arpa")), sentences)
    if multiplier > 1:  # KenLM reads no fuller tables, though its tables need but one free bucket
        assert np.allclose(by_kenlm(kenlm.Model(str(folder / "lm.binary")), sentences), expected, rtol=1e-6)
    assert np.allclose(scores(open_table(folder / "lm.binary"), sentences), expected, rtol=1e-5)


def test_sentences_of_any_length_and_number(folder):
    made = kenlm_files.model([["a", "b", "a", "c"], ["b"]], 3, 1)
    kenlm_files.binary(folder / "long.binary", made)
    table, model = open_table(folder / "long.binary"), kenlm.Model(str(folder / "long.binary"))
    sentences = [["a", "b"] * 10_000, [], *[["c", "x", "a"]] * 5_000, ["b"] * 4_094, ["b"] * 4_095]
    words = [list(model.full_scores(" ".join(sentence))) for sentence in sentences]  # KenLM's sums are single precision
    expected = [sum(log10 for log10, _, _ in each) for each in words]
    assert np.allclose(scores(table, sentences), expected, rtol=1e-6)
    assert len(scores(table, [])) == 0
    together = scores(table, sentences)
    assert all(together[i] == scores(table, [sentences[i]])[0] for i in (0, 1, 2, -2, -1))


def test_a_word_index_that_the_model_does_not_have_is_an_error(folder):
    kenlm_files.binary(folder / "few.binary", kenlm_files.model([["a"]], 2, 1))
    with pytest.raises(ValueError, match="indices run from 0 to 4, the model's to 3"):
        score(open_table(folder / "few.binary"), np.array([0, 4], np.int32), np.array([0, 2]))


def test_damaged_files_are_named_with_the_remedy(folder):
    path = folder / "damaged.binary"
    kenlm_files.binary(path, kenlm_files.model([["a", "b"]], 3, 1))
    whole = path.read_bytes()
    words = b"<unk>\0<s>\0</s>\0a\0b\0"
    damaged = {
        "not a KenLM binary": [b"", b"\\data\\\nngram 1=3\n", whole[:80], whole.replace(b"version 5", b"version 4")],
        "not a probing model": [whole[:96] + b"\2" + whole[97:], whole[:88] + b"\7" + whole[89:]],
        "cut short": [whole[: -len(words) - 1], whole[:200]],
        "damaged": [whole[:140] + b"\xff" + whole[141:]],
    }
    for message, files in damaged.items():
        for content in files:
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"damaged\.binary: {message}.*(gristmill lm train|build it)"):
                open_table(path)
    with pytest.raises(ValueError, match=r"none\.binary: cannot be read"):
        open_table(folder / "none.binary")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(144, 800), st.integers(0, 255)), min_size=1, max_size=40))
def test_whatever_the_tables_hold_scoring_ends(folder, changes):
    path = folder / "changed.binary"
    kenlm_files.binary(path, kenlm_files.model([["a", "b", "c"]], 3, 1), 1.0)
    content = bytearray(path.read_bytes())
    for at, byte in changes:
        content[at % len(content)] = byte
    path.write_bytes(content)
    try:
        table = open_table(path)
    except ValueError:
        return
    assert len(scores(table, [["a", "b", "c", "d"], []])) == 2


def test_processes_share_the_file_and_hold_no_copy(folder):
    kenlm_files.binary(folder / "shared.binary", kenlm_files.model([["a", "b"]], 2, 1))
    table = open_table(folder / "shared.binary")
    assert not table.cells.flags.owndata
    assert not table.cells.flags.writeable
    assert np.shares_memory(table.cells, table.values)
