"""Perplexity of documents: the chain of the libraries, spelled out, and a function of the document alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import kenlm
import kenlm_files
import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from kenlm_files import normalised

from gristmill.kernels.text.perplexity import MAX_LINE_BYTES, models, open_model, perplexities

pytestmark = pytest.mark.slow

DOCUMENTS = ["The miller grinds.\n\nThe grain, the flour!\n", "", "\n \n", "1234 Κόσμος", "a\x00b", "x" * 300]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lm")
    kenlm_files.language_model(path / "en", ["the miller grinds the grain", "grain in, flour out", "0000 mills"] * 30)
    kenlm_files.language_model(path / "de", ["der müller mahlt das korn", "korn rein, mehl raus"] * 30, seed=2)
    return path


def measured(folder: Path, documents: list[str]) -> np.ndarray:
    encoded = [document.encode() for document in documents]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    return perplexities(open_model(folder), np.frombuffer(b"".join(encoded), np.uint8), offsets)


def by_the_libraries(folder: Path, documents: list[str]) -> np.ndarray:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    model = kenlm.Model(str(folder / "lm.binary"))
    found = []
    for document in documents:
        lines = [line for line in map(pieces.encode_as_pieces, map(normalised, document.split("\n"))) if line]
        total = sum(log10 for line in lines for log10, _, _ in model.full_scores(" ".join(line)))
        length = sum(len(line) + 1 for line in lines)
        found.append(10 ** (-total / length) if length else np.nan)
    return np.array(found)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.sampled_from("themilrgan ,.\n1É\u3000 "), max_size=80) | st.sampled_from(DOCUMENTS)))
def test_perplexity_is_that_of_the_libraries(folder, documents):
    assert np.allclose(
        measured(folder / "en", documents), by_the_libraries(folder / "en", documents), rtol=1e-5, equal_nan=True
    )


def test_a_document_has_the_same_perplexity_in_any_company(folder):
    documents = [*DOCUMENTS, "the grain\n" * 120_000, "flour " * 30_000, *DOCUMENTS]
    together = measured(folder / "en", documents)
    alone = [measured(folder / "en", [document])[0] for document in documents]
    assert np.array_equal(together, alone, equal_nan=True)


def test_blank_lines_say_nothing_and_no_pieces_have_no_perplexity(folder):
    spaced, plain, *none = measured(
        folder / "en", ["the grain\n\n\n \u3000\ngrain", "the grain\ngrain", "", "\n\n", "\x07"]
    )
    assert spaced == plain
    assert np.isnan(none).all()
    assert len(measured(folder / "en", [])) == 0


def test_a_line_longer_than_the_limit_is_scored_in_parts(folder):
    lines = ["磨" * (MAX_LINE_BYTES // 3 + 5), "the " * (MAX_LINE_BYTES // 4 + 1), "y" * (3 * MAX_LINE_BYTES)]
    found = measured(folder / "en", lines)
    assert np.allclose(found[0], by_the_libraries(folder / "en", ["磨\n磨"]), rtol=0.5)
    cut = [lines[1][: MAX_LINE_BYTES - 4] + "\n" + lines[1][MAX_LINE_BYTES - 4 :]]
    assert np.isclose(found[1], measured(folder / "en", cut)[0], rtol=1e-12)


def test_models_are_found_and_change_places(folder, tmp_path):
    assert models(folder) == ("de", "en")
    german, english = "der müller mahlt", "the miller grinds"
    for _ in range(2):
        for language, own, foreign in (("de", german, english), ("en", english, german)):
            assert np.diff(measured(folder / language, [own, foreign]))[0] > 0
    with pytest.raises(ValueError, match="no folder of language models; make it with `gristmill lm train`"):
        models(tmp_path / "none")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "lm.binary").write_bytes(b"")
    with pytest.raises(ValueError, match=r"half: has no sentencepiece\.model; train the model again"):
        models(tmp_path)


def test_a_model_that_was_trained_again_is_opened_again(tmp_path):
    kenlm_files.language_model(tmp_path / "en", ["a b c"] * 9)
    before = measured(tmp_path / "en", ["a b c"])
    for file in (tmp_path / "en").iterdir():
        file.unlink()
    kenlm_files.language_model(tmp_path / "en", ["c a b", "b b"] * 9, seed=7)
    assert measured(tmp_path / "en", ["a b c"]) != before


@pytest.mark.slow
def test_20_000_real_lines_score_as_in_the_libraries(shared_data, tmp_path):
    import zstandard

    texts: list[str] = []
    for path in sorted((shared_data / "english").glob("*.jsonl.zst")):
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            records = (json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n"))
            texts += [record["text"][:20_000] for record, _ in zip(records, range(900))]
    lines = [line for text in texts for line in text.split("\n") if line.strip()][:21_000]
    assert len(lines) > 20_000
    kenlm_files.language_model(tmp_path / "en", [normalised(line) for line in lines[::40]], pieces=4_000, order=5)
    own, expected = measured(tmp_path / "en", lines), by_the_libraries(tmp_path / "en", lines)
    assert np.allclose(own, expected, rtol=1e-5, equal_nan=True)
