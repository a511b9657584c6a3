"""The stage that turns counts into columns."""

from __future__ import annotations

from fractions import Fraction

import pyarrow as pa
import pytest

from gristmill.kernels.text.signals import COUNTS
from gristmill.stages.interface import DocumentStage
from gristmill.stages.signals import PREVIEW_CHARACTERS, SIGNALS, Signals


def batch(texts, domains=None, languages=None, urls=None) -> pa.RecordBatch:
    n = len(texts)
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array(domains or ["english"] * n, pa.string()),
            "language": pa.array(languages or ["en"] * n, pa.string()),
            "url": pa.array(urls or [None] * n, pa.string()),
        }
    )


def double_length(rows: pa.RecordBatch) -> pa.Array:
    import pyarrow.compute as pc

    return pc.multiply(pc.utf8_length(rows.column("text")), 2)


def test_it_is_a_document_stage_that_adds_what_it_says() -> None:
    stage = Signals()
    assert isinstance(stage, DocumentStage)
    rows = batch(["One line.", None, ""])
    assert tuple(stage.apply(rows).schema.names) == (*rows.schema.names, *stage.adds)


def test_every_signal_is_defined_by_counts_and_described() -> None:
    own = {"not_plain", "comment_characters", "commentable_characters", "tokens"}
    out = Signals().apply(batch(["x"]))
    for name, signal in SIGNALS.items():
        assert name == signal.name
        assert signal.definition
        assert signal.unit
        assert {signal.numerator, signal.denominator} - {None} <= own | set(COUNTS)
        assert signal.numerator or name in ("language_score", "perplexity"), "the others are measured here"
        assert out.schema.field(name).type == signal.dtype


def test_signals_of_a_small_page() -> None:
    text = "# The mill\n\n• grind the corn with care\n• grind the corn with care\n\nSee http://a.org ..."
    row = Signals().apply(batch([text])).to_pylist()[0]
    expected = {
        "words": 18,
        "hashes_per_word": Fraction(1, 18),
        "ellipses_per_word": Fraction(1, 18),
        "symbol_words": Fraction(2, 18),
        "alpha_words": Fraction(14, 18),
        "stop_words": 2,
        "stop_word_occurrences": 4,
        "bullet_lines": Fraction(2, 4),
        "ellipsis_lines": Fraction(1, 4),
        "lines_without_end_mark": Fraction(3, 4),
        "duplicate_lines": Fraction(1, 4),
        "duplicate_paragraphs": 0,
        "urls": Fraction(12, len(text)),
        "total_lines": 6,
        "duplicate_5_grams": Fraction(len("•grindthecornwithcare"), len("".join(text.split()))),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(float(value), abs=1e-15), name


def test_null_texts_have_null_signals_and_empty_ones_have_no_ratios() -> None:
    null, empty = Signals().apply(batch([None, ""])).to_pylist()
    assert all(null[name] is None for name in [*SIGNALS, "preview"])
    for name, signal in SIGNALS.items():
        assert empty[name] == (0 if signal.numerator and signal.denominator is None else None)


def test_a_null_that_spans_bytes_is_still_null() -> None:
    data = pa.array(["abc", "def"], pa.large_string())
    holed = pa.Array.from_buffers(
        pa.large_string(), 2, [pa.py_buffer(b"\x02"), data.buffers()[1], data.buffers()[2]], null_count=1
    )
    rows = batch(["", ""]).set_column(0, "text", holed)
    assert Signals().apply(rows).column("characters").to_pylist() == [None, 3]


def test_what_another_stage_measured_is_left_alone_and_else_null() -> None:
    rows = batch(["x"]).append_column("language_score", pa.array([0.75]))
    row = Signals().apply(rows).to_pylist()[0]
    assert (row["language_score"], row["perplexity"]) == (0.75, None)


def test_a_document_measures_the_same_in_any_batch() -> None:
    rows = batch(["One.", "Two two.", None, "漢字 かな", "", "six\nsix\nsix"])
    whole = Signals().apply(rows)
    for first in range(6):
        assert Signals().apply(rows.slice(first, 2)).equals(whole.slice(first, 2))
    assert Signals().apply(rows.slice(0, 0)).num_rows == 0


def test_fields_of_other_columns_stay_as_they_are() -> None:
    rows = batch(["x"]).append_column(
        pa.field("id", pa.binary(16), nullable=False), pa.array([b"0" * 16], pa.binary(16))
    )
    assert not Signals().apply(rows).schema.field("id").nullable


@pytest.mark.parametrize(
    "text",
    [
        "中文没有空格。" * 20,
        "ภาษาไทยไม่มีช่องว่าง" * 20,
        "日本語の文章です。" * 20,
        "ភាសាខ្មែរ" * 20,
        "한국어 문장 이다. " * 20,
    ],
)
def test_scripts_that_limits_in_letters_do_not_fit_have_no_mean_word_length(text: str) -> None:
    row = Signals().apply(batch([text], ["multilingual"], [None])).to_pylist()[0]
    assert row["mean_word_length"] is None
    assert row["whitespace"] is None
    assert row["words"] > 50


def test_what_c4_asks_of_a_document_is_measured() -> None:
    text = 'Enable JavaScript.\nWe use cookies. "Lorem ipsum", he said.\nOh no\n{}\n' + "One. Two! Three? " * 2
    row = Signals().apply(batch([text])).to_pylist()[0]
    expected = {"sentences": 10, "javascript_lines": 1, "policy_lines": 1, "lorem_ipsum": 1, "curly_brackets": 1}
    expected |= {"few_word_lines": 3 / 5, "under_five_word_lines": 3 / 5, "terminal_lines": 3 / 5}
    expected |= {"duplicate_sentence_spans": 1 / 8}
    assert {name: row[name] for name in expected} == expected


def test_thai_is_not_blamed_for_having_no_full_stop() -> None:
    rows = Signals().apply(batch(["ภาษาไทย\nไม่มีจุด", "no stop\nhere"])).to_pylist()
    assert [row["lines_without_end_mark"] for row in rows] == [None, 1]


def test_comments_are_measured_in_code_alone() -> None:
    text = "# four\nx = 1\n"
    rows = Signals().apply(batch([text] * 3, ["code", "english", "code"], ["Python", "python", "json"])).to_pylist()
    assert [row["comments"] for row in rows] == [pytest.approx(6 / 13), None, None]


def test_pornographic_urls_are_those_in_the_text_and_its_own() -> None:
    rows = batch(["see http://pornsite.org", "porn", "x"], urls=[None, None, "https://www.PORN.example/x"])
    assert Signals().apply(rows).column("pornographic_urls").to_pylist() == [1, 0, 1]


def test_preview_is_the_beginning_on_one_line() -> None:
    texts = ["  a\r\n\tb\u3000c ", "é" * 1000, "x " * 1000, " " * 5000 + "x", None, "", "漢" * 239 + "  yz"]
    expected = [None if t is None else " ".join(t[: 4 * 240].split())[:240] for t in texts]
    assert Signals().apply(batch(texts)).column("preview").to_pylist() == expected
    assert PREVIEW_CHARACTERS == 240


def test_a_signal_of_ones_own_is_a_function_of_the_batch() -> None:
    stage = Signals(add=[f"{__name__}:double_length"])
    assert stage.adds[-1] == "double_length"
    assert stage.apply(batch(["abc", "de"])).column("double_length").to_pylist() == [6, 4]
    with pytest.raises(ValueError, match="module:function"):
        Signals(add=("nowhere",))


def test_ratios_are_finite_and_shares_lie_between_0_and_1() -> None:
    texts = ["ha ha ha ha ha ha ha ha", "#" * 50, "....", "http://" * 9, "\n" * 9, "漢" * 99, "a\n\na\n\na"]
    for row in Signals().apply(batch(texts)).to_pylist():
        for name, signal in SIGNALS.items():
            if row[name] is not None and signal.unit.startswith("share"):
                assert 0 <= row[name] <= 1, name
