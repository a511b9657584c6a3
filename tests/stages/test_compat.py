"""Another toolkit's measures as columns, and the presets that limit them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.stages.compat import DATATROVE_SIGNALS
from gristmill.stages.interface import DocumentStage
from gristmill.stages.presets.table import PRESETS
from gristmill.stages.rules import Rules
from gristmill.stages.signals import SIGNALS, Signals

DATATROVE = tuple(name for name in PRESETS if name.startswith("datatrove_"))


def batch(texts: list[str | None], **columns: pa.Array) -> pa.RecordBatch:
    n = len(texts)
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array(["english"] * n),
            "language": pa.array(["en"] * n),
            "url": pa.nulls(n, pa.string()),
            **columns,
        }
    )


def dropped(preset: str, texts: list[str | None], **columns: pa.Array) -> list[str | None]:
    measured = Signals(compat="datatrove").apply(batch(texts, **columns))
    names = Rules((preset,)).apply(measured).column("dropped_by").to_pylist()
    return [name and name.rpartition(".datatrove_")[2] for name in names]


def test_it_adds_what_it_says_and_only_when_asked() -> None:
    stage = Signals(compat="datatrove")
    assert isinstance(stage, DocumentStage)
    rows = batch(["One.", None, ""])
    assert tuple(stage.apply(rows).schema.names) == (*rows.schema.names, *stage.adds)
    assert set(stage.adds) - set(Signals().adds) == {signal.name for signal in DATATROVE_SIGNALS}
    assert not {signal.name for signal in DATATROVE_SIGNALS} & set(SIGNALS)


def test_an_unknown_toolkit_is_refused_with_the_one_that_is_known() -> None:
    with pytest.raises(ValueError, match=r"signals.compat: 'datatrov' .* write datatrove"):
        Signals(compat="datatrov")


def test_every_row_limits_a_column_that_is_measured() -> None:
    measured = {signal.name for signal in DATATROVE_SIGNALS}
    assert {rule.signal for preset in DATATROVE for rule in PRESETS[preset]} == measured


# Texts and what datatrove 0.10.1 said of each; "" where it kept it.
PROSE = "The mill is at the end of the village and it grinds what the farmers bring to it. "
RECORDED = {
    "datatrove_gopher_quality": [
        (PROSE * 4, None),
        ("The mill.", "words"),
        ("it is to be of a to on in by " * 10, "mean_word_length"),
        (PROSE * 3 + "# " * 20, "hashes_per_word"),
        (PROSE * 3 + "… " * 20, "ellipses_per_word"),
        ("- " + PROSE.replace(". ", "\n- ") * 4, "bullet_lines"),
        (PROSE.replace(". ", "...\n") * 4, "ellipsis_lines"),
        (PROSE * 3 + ", ; : ! " * 10, "alpha_words"),
        ("Mills grind corn and not much else, as everyone here knows. " * 8, "stop_words"),
    ],
    "datatrove_gopher_repetition": [
        ("", "characters"),
        ("One two", "top_2_gram"),
        ("\n\n".join("abcdefghij"[k] for k in (0, 1, 2, 0, 1, 2)), "duplicate_paragraphs"),
        ("a longer line\nb longer line\na longer line\nb longer line", "duplicate_lines"),
    ],
    "datatrove_fineweb": [
        (PROSE.strip(), None),
        (" \n ", "lines"),
        (PROSE * 3 + "\nMore of the same without an end mark" * 9, "ended_lines"),
        ("One.\nTwo.\nThree.", "short_lines"),
        ((PROSE + "\n") * 2, "ended_lines"),
        ((PROSE.strip() + "\n") * 2, "repeated_line_characters"),
    ],
    "datatrove_c4": [
        (PROSE.replace(". ", ".\n") * 5, None),
        (PROSE * 5, None),
        (PROSE * 4, "sentences"),
        (PROSE * 5 + "\nLorem ipsum dolor sit.", "lorem_ipsum_lines"),
        (PROSE * 5 + "\nif x then {y}.", "curly_lines"),
        (PROSE * 5 + "\n{", None),
        (PROSE * 5 + "[1] [2]", "sentences"),
    ],
}


@pytest.mark.parametrize("preset", RECORDED)
def test_documents_are_dropped_for_the_reason_recorded(preset: str) -> None:
    texts = [text for text, _ in RECORDED[preset]]
    assert dropped(preset, texts) == [reason for _, reason in RECORDED[preset]]


def test_a_documents_own_words_and_sentences_replace_ours() -> None:
    text = "aé b"
    spans = pa.array([[0, 1, 1, 3], []], pa.list_(pa.int64()))
    sentences = pa.array([[9], [2]], pa.list_(pa.int64()))
    rows = batch([text, "Go on then."], word_spans=spans, line_sentences=sentences)
    found = Signals(compat="datatrove").apply(rows)
    assert found.column("datatrove_words").to_pylist() == [2, 0]
    assert found.column("datatrove_mean_word_length").to_pylist() == [1.0, None]
    assert found.column("datatrove_sentences").to_pylist() == [0, 2]


def test_a_null_text_has_nulls_and_a_document_measures_the_same_in_any_batch() -> None:
    rows = batch([PROSE, None, "", "x\n\nx", PROSE * 9])
    whole = Signals(compat="datatrove").apply(rows)
    assert all(whole.column(signal.name).null_count >= 1 for signal in DATATROVE_SIGNALS)
    for first in range(5):
        assert Signals(compat="datatrove").apply(rows.slice(first, 2)).equals(whole.slice(first, 2))
