"""No language is thrown away by a rule made for English: of the same texts, a preset keeps about the same in each."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from gristmill.stages.presets.rule import Rule
from gristmill.stages.presets.table import PRESETS
from gristmill.stages.rules import Rules
from gristmill.stages.signals import Signals

MARKUP = re.compile(r"</?[a-z][^>]*>|\{#[^}]*\}")
"""Tags and anchors, which some translations of a text have and others have not."""

PARALLEL = ("opensource-guide", "debian-handbook", "ntrex-six-languages", "xquad-paragraphs", "bitcoin-org", "tico19")
ASKED = ("gopher_quality", "gopher_repetition", "fineweb", "nemotron", "ccnet", "c4", "c4_datatrove")


def measured(path: Path) -> dict[str, pa.RecordBatch]:
    """Signals of the documents of each language that has ten or more."""
    texts: dict[str, list[str]] = defaultdict(list)
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if len(texts[record["lang"]]) < 40:
                texts[record["lang"]].append(MARKUP.sub("", record["text"]))
    out = {}
    for language, found in texts.items():
        code, n = language.split("-")[0], len(found)
        rows = pa.record_batch(
            {
                "text": pa.array(found, pa.large_string()),
                "domain": pa.array(["english" if code == "en" else "multilingual"] * n),
                "language": pa.array([code] * n),
                "url": pa.nulls(n, pa.string()),
            }
        )
        if n >= 10:
            out[language] = Signals().apply(rows)
    return out


@pytest.mark.parametrize("name", PARALLEL)
def test_every_preset_keeps_of_every_language_half_to_twice_what_it_keeps_of_english(
    shared_data: Path, name: str
) -> None:
    signals = measured(shared_data / "multilingual" / f"{name}.jsonl.zst")
    assert len(signals) >= 6
    for preset in ASKED:
        verdicts = {each: Rules((preset,)).apply(rows).column("dropped_by") for each, rows in signals.items()}
        kept = {each: verdict.null_count / len(verdict) for each, verdict in verdicts.items()}
        yardstick = kept.get("en", max(kept.values()))
        for language, share in kept.items():
            causes = set(verdicts[language].drop_null().to_pylist())
            assert yardstick / 2 <= share <= yardstick * 2, (preset, language, share, yardstick, causes)


@pytest.mark.parametrize("preset", ASKED)
def test_every_row_has_its_languages_and_a_source(preset: str) -> None:
    def english(rule: Rule) -> bool:
        return rule.domains == ("english",) and rule.languages == ("en",)

    for rule in PRESETS[preset]:
        assert rule.source
        assert english(rule) or rule.domains == ("english", "multilingual"), rule.name


ENGLISH_WORDS = {"stop_words", "stop_word_occurrences", "non_alphanumeric"}


def test_what_counts_english_words_or_letters_is_asked_of_english_alone() -> None:
    for preset in ASKED:
        for rule in PRESETS[preset]:
            assert rule.languages == ("en",) or rule.signal not in ENGLISH_WORDS, rule.name
