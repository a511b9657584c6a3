"""Training: the recipe's settings hold in what comes out."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenizer.encode import Encoder
from gristmill.tokenizer.train import DIGITS, MAX_SENTENCE_BYTES, cost, cut, pieces_with_digits, train


def test_same_text_gives_the_same_bytes_in_any_order_and_place(texts, model_path, tmp_path):
    train(reversed(texts), tmp_path / "elsewhere", 4000)
    assert (tmp_path / "elsewhere/tokenizer.model").read_bytes() == model_path.read_bytes()


def test_another_process_gives_the_same_bytes(tmp_path):
    script = (
        "import sys, sysconfig, pathlib; from gristmill.tokenizer.train import train; "
        "train([(pathlib.Path(sysconfig.get_path('stdlib')) / 'ast.py').read_text('utf-8')], sys.argv[1], 2000)"
    )
    models = []
    for name in "ab":
        subprocess.run([sys.executable, "-c", script, tmp_path / name], check=True, env={"PYTHONHASHSEED": "random"})
        models.append((tmp_path / name / "tokenizer.model").read_bytes())
    assert models[0] == models[1]


def test_control_pieces_bytes_and_digits_have_their_places(encoder):
    assert (encoder.unk_id, encoder.pad_id, encoder.bos_id, encoder.eos_id) == (0, 1, 2, 3)
    assert encoder.is_byte.sum() == 256
    assert all(len(encoder.encode(digit)) == 1 for digit in DIGITS)


def test_the_digits_are_unicode_14s():
    assert len(set(DIGITS)) == 660
    assert all(unicodedata.category(digit) == "Nd" for digit in DIGITS)


def test_no_learned_piece_holds_a_digit(model_path):
    assert pieces_with_digits(model_path.read_bytes()) == []


def test_digit_runs_of_other_scripts_are_not_learned(tmp_path):
    train(["عام ٢٠٢٤ و ٢٠٢٣ ", "वर्ष २०२४ और २०२३ ", "year 2024 and 2023 "] * 300, tmp_path, 1200)
    encoder = Encoder(tmp_path / "tokenizer.model")
    assert pieces_with_digits((tmp_path / "tokenizer.model").read_bytes()) == []
    for text in ("٢٠٢٤", "२०२४", "2024"):
        assert len(encoder.encode(text)) == 4


def test_new_lines_tabs_and_runs_of_spaces_are_learned(encoder):
    assert len(encoder.encode("\n")) == 1
    assert not encoder.is_byte[encoder.encode("\n")].any()
    assert len(encoder.encode(" " * 8)) == 1
    assert len(encoder.encode(":\n" + " " * 8)) <= 2


def test_a_small_corpus_shrinks_the_vocabulary_and_says_so(tmp_path):
    trained = train(["a small corpus"], tmp_path, 16384)
    assert trained.requested_vocab_size == 16384
    assert trained.vocab_size == Encoder(tmp_path / "tokenizer.model").vocab_size < 1000


def test_without_shrinking_the_error_names_the_largest_size(tmp_path):
    with pytest.raises(ValueError, match=r"vocab_size 16384 .* largest possible is (\d+)") as error:
        train(["a small corpus"], tmp_path, 16384, shrink=False)
    largest = int(str(error.value).split("largest possible is ")[1].split(";")[0])
    assert train(["a small corpus"], tmp_path, largest, shrink=False).vocab_size == largest


@pytest.mark.parametrize("size", [1, 300, 919, 921])
def test_a_vocabulary_too_small_for_what_must_be_in_it_is_one_sentence(tmp_path, size):
    with pytest.raises(ValueError, match=f"vocab_size {size} is too small"):
        train(["letters beyond these"], tmp_path, size)


@pytest.mark.parametrize("texts", [[], [""], ["only \u2581 here"]])
def test_no_text_is_one_sentence(tmp_path, texts):
    with pytest.raises(ValueError, match="the sample is empty"):
        train(texts, tmp_path, 2000)


def test_documents_with_reserved_marks_are_left_out_and_counted(tmp_path):
    texts = ["plain text of letters"] * 3
    train(texts, tmp_path / "a", 950)
    trained = train([*texts, "zq \u2581", "zq \u2585"], tmp_path / "b", 950)
    assert (trained.documents, trained.documents_left_out) == (3, 2)
    assert (tmp_path / "a/tokenizer.model").read_bytes() == (tmp_path / "b/tokenizer.model").read_bytes()


def test_long_lines_are_trained_on(tmp_path):
    trained = train(["longword" * 50_000, "short"], tmp_path, 960)
    assert trained.bytes == 400_005
    assert len(Encoder(tmp_path / "tokenizer.model").encode("longword")) == 1


@settings(deadline=None)
@given(st.text(st.sampled_from("aé語😀 \n"), max_size=200), st.integers(4, 40))
def test_cutting_loses_nothing_and_respects_the_limit(text, limit):
    parts = list(cut(text, limit))
    assert "".join(parts) == text
    assert all(0 < len(part.encode()) <= limit for part in parts)


def test_cutting_prefers_line_then_word_starts():
    assert list(cut("abcd\nef gh", 8)) == ["abcd", "\nef gh"]
    assert list(cut("abcde fghij", 8)) == ["abcde", " fghij"]
    assert MAX_SENTENCE_BYTES < 65536  # SentencePiece's 16-bit positions


def test_cost_is_known_beforehand():
    assert 3.3e9 < cost(267_000_000)["memory_bytes"] < 4e9
    assert 46 < cost(267_000_000)["cpu_s"] < 60


def test_an_error_while_the_text_is_read_is_not_taken_for_its_end(tmp_path):
    def texts():
        for number in range(2000):
            yield f"line {number} of a text that ends too early"
        raise OSError("the sample cannot be read on")

    with pytest.raises(OSError, match="cannot be read on"):
        train(texts(), tmp_path, 1500)
    assert not list(tmp_path.iterdir())
