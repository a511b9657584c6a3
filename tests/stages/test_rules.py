"""Rules as data: resolution, verdicts, messages."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.stages.document import VERDICT
from gristmill.stages.interface import DocumentStage
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.rule import Rule
from gristmill.stages.presets.table import PRESETS
from gristmill.stages.rules import DESCRIPTION, Rules, describe
from gristmill.stages.signals import Signals

pytestmark = pytest.mark.filterwarnings("ignore:rules. characters_per_token")

GOOD = {
    "words": 300,
    "mean_word_length": 4.7,
    "alpha_words": 0.95,
    "stop_words": 6,
    "stop_word_occurrences": 60,
    "total_lines": 40,
    "comments": 0.2,
}


def measured(domain="english", language="en", rows=1, **signals) -> pa.RecordBatch:
    """A batch of signals of a blameless document, some of them changed."""
    columns = {"domain": pa.array([domain] * rows, pa.string()), "language": pa.array([language] * rows, pa.string())}
    for name, signal in MEASURED.items():
        values = signals.get(name, GOOD.get(name, 0 if name != "characters_per_token" else None))
        columns[name] = pa.array(values if isinstance(values, list) else [values] * rows, signal.dtype)
    return pa.record_batch(columns)


def verdicts(rules: Rules, batch: pa.RecordBatch) -> list[str | None]:
    return rules.apply(batch).column("dropped_by").to_pylist()


def plain(rules: Rules, row: dict) -> tuple:
    """The definition: the first failing row, its value and limit, and all failing rows as an integer."""
    failing = []
    for k, rule in enumerate(rules.rules()):
        value = row[rule.signal]
        applies = (not rule.domains or row["domain"] in rule.domains) and (
            not rule.languages or row["language"] in rule.languages
        )
        if applies and value is not None:
            if rule.minimum is not None and value < rule.minimum:
                failing.append((k, rule.name, value, rule.minimum))
            elif rule.maximum is not None and value > rule.maximum:
                failing.append((k, rule.name, value, rule.maximum))
    return (*failing[0][1:], sum(1 << k for k, *_ in failing)) if failing else (None, None, None, None)


def test_it_is_a_document_stage_whose_needs_are_its_signals() -> None:
    rules = Rules(presets=("code",))
    assert isinstance(rules, DocumentStage)
    assert rules.needs == ("domain", "language", "comments", "total_lines", "characters_per_token")
    assert rules.adds == ("dropped_by", "value", "limit", "failed")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_row_of_a_preset_is_scoped_sourced_and_on_a_known_signal(preset: str) -> None:
    assert len({rule.name for rule in PRESETS[preset]}) == len(PRESETS[preset])
    for rule in PRESETS[preset]:
        assert rule.name.startswith(f"{preset}.")
        assert rule.signal in MEASURED
        assert rule.domains
        assert rule.source
        assert rule.minimum is not None or rule.maximum is not None


def test_limits_are_those_of_the_papers() -> None:
    limits = {rule.name: (rule.minimum, rule.maximum) for rule in Rules().rules()}
    published = {
        "gopher_quality.words": (50, 100_000),
        "gopher_quality.mean_word_length": (3, 10),
        "gopher_quality.hashes_per_word": (None, 0.1),
        "gopher_quality.alpha_words": (0.8, None),
        "gopher_quality.stop_words": (2, None),
        "gopher_repetition.duplicate_lines": (None, 0.30),
        "gopher_repetition.duplicate_paragraph_characters": (None, 0.20),
        "gopher_repetition.top_4_gram": (None, 0.16),
        "gopher_repetition.duplicate_10_grams": (None, 0.10),
        "nemotron.non_alphanumeric": (None, 0.25),
        "nemotron.duplicate_paragraph_characters": (None, 0.10),
        "nemotron.lines_without_end_mark": (None, 0.85),
        "nemotron.boilerplate_paragraphs": (None, 0.40),
        "code.comments": (0.001, 0.85),
        "code.total_lines": (5, 20_000),
        "code.characters_per_token": (2, None),
    }
    assert {name: limits[name] for name in published} == published


def test_limits_are_inclusive() -> None:
    rules = Rules(presets=("gopher_quality",))
    assert verdicts(rules, measured(rows=4, words=[49, 50, 100_000, 100_001])) == [
        *("gopher_quality.words", None, None, "gopher_quality.words")
    ]
    assert verdicts(rules, measured(rows=2, alpha_words=[8 / 10, 79 / 100]))[0] is None
    assert verdicts(Rules(presets=("gopher_repetition",)), measured(duplicate_lines=3 / 10)) == [None]


def test_the_first_failing_rule_in_configured_order_decides() -> None:
    batch = measured(words=10, stop_words=0, top_2_gram=0.5)
    one, other = ("gopher_quality", "gopher_repetition"), ("gopher_repetition", "gopher_quality")
    assert verdicts(Rules(presets=one), batch) == ["gopher_quality.words"]
    assert verdicts(Rules(presets=other), batch) == ["gopher_repetition.top_2_gram"]
    row = Rules(presets=one).apply(batch).to_pylist()[0]
    assert (row["value"], row["limit"]) == (10, 50)
    mask = int.from_bytes(row["failed"], "little")
    names = [rule.name for rule in Rules(presets=one).rules()]
    assert {name for k, name in enumerate(names) if mask >> k & 1} == {
        *("gopher_quality.words", "gopher_quality.stop_words", "gopher_repetition.top_2_gram")
    }


@settings(max_examples=150, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_verdicts_are_their_definition(data: st.DataObject) -> None:
    presets = tuple(data.draw(st.permutations(sorted(PRESETS)).map(lambda p: p[: data.draw(st.integers(1, 4))])))
    rules = Rules(presets=presets)
    n = data.draw(st.integers(0, 9))
    columns: dict[str, pa.Array] = {
        "domain": pa.array(
            [data.draw(st.sampled_from(["english", "multilingual", "code", None])) for _ in range(n)], pa.string()
        ),
        "language": pa.array([data.draw(st.sampled_from(["en", "de", "python", None])) for _ in range(n)], pa.string()),
    }
    for rule in rules.rules():
        limits = [v for v in (rule.minimum, rule.maximum) if v is not None]
        near = [v + d for v in limits for d in (-1, 0, 1, -1e-9, 1e-9)]
        values = [data.draw(st.sampled_from([*near, None])) for _ in range(n)]
        if MEASURED[rule.signal].dtype == pa.int64():
            values = [None if v is None else round(v) for v in values]
        columns[rule.signal] = pa.array(values, MEASURED[rule.signal].dtype)
    batch = pa.record_batch(columns)
    out = rules.apply(batch).to_pylist()
    for row in out:
        mask = None if row["failed"] is None else int.from_bytes(row["failed"], "little")
        assert (row["dropped_by"], row["value"], row["limit"], mask) == plain(rules, row)


def test_a_null_signal_or_a_nan_fails_nothing() -> None:
    batch = measured(rows=2, mean_word_length=[None, float("nan")], comments=[None, None])
    assert verdicts(Rules(), batch) == [None, None]


def test_without_rules_or_documents_nothing_is_dropped() -> None:
    out = Rules(presets=()).apply(measured(rows=2))
    assert [out.column(name).null_count for name in Rules().adds] == [2] * 4
    assert Rules().apply(measured(rows=0)).num_rows == 0


def test_rules_survive_pickling_and_compare_by_value() -> None:
    rules = Rules(set={"words": {"min": 40}}, add=[{"rule": "mine.words", "max": 9}])
    again = pickle.loads(pickle.dumps(rules))
    assert again == rules
    assert hash(again) == hash(rules)


def test_verdict_columns_have_the_schema_of_verdicts() -> None:
    out = Rules().apply(measured(rows=3, words=[10, 300, 20]))
    for name in Rules().adds:
        assert out.schema.field(name).type == VERDICT.field(name).type
    assert out.column("failed").null_count == 1
    out.validate(full=True)
    again = Rules().apply(out)
    assert again.equals(out), "a second pass replaces the columns"


def test_stop_words_are_asked_of_english_alone() -> None:
    rules = Rules(presets=("gopher_quality", "nemotron"))
    none = {"stop_words": 0, "stop_word_occurrences": 0, "non_alphanumeric": 0.9}
    assert verdicts(rules, measured(**none)) == ["gopher_quality.stop_words"]
    assert verdicts(rules, measured("multilingual", "de", **none)) == [None]


def test_code_has_its_own_rules_and_no_others() -> None:
    bad = {"words": 3, "top_2_gram": 0.9, "numbers": 0.9, "stop_words": 0, "comments": 0.0}
    assert verdicts(Rules(), measured("code", "python", **bad)) == ["code.comments"]
    assert verdicts(Rules(), measured("english", "en", words=60, total_lines=1, comments=0.0)) == [None]


def test_set_changes_one_preset_by_full_name_and_all_by_signal() -> None:
    one = Rules(set={"gopher_quality.words": {"min": 40}}).rules()
    assert {rule.name: rule.minimum for rule in one if rule.signal == "words"} == {
        "gopher_quality.words": 40,
        "nemotron.words": 50,
    }
    both = Rules(set={"words": {"min": 40, "max": None}}).rules()
    assert {(rule.minimum, rule.maximum) for rule in both if rule.signal == "words"} == {(40, None)}
    assert all("changed by the configuration" in rule.source for rule in both if rule.signal == "words")


def test_a_rule_is_one_line_of_yaml() -> None:
    text = """
    presets: [gopher_quality, nemotron]
    set: {gopher_quality.words: {min: 40}}
    add:
      - {rule: mine.mean_word_length, max: 8, domains: [english], languages: [en]}
      - {rule: mine.shouting, signal: symbol_words, max: 0.05, source: our own eyes}
    """
    rules = Rules(**yaml.safe_load(text))
    assert rules.rules()[-2:] == (
        Rule("mine.mean_word_length", "mean_word_length", None, 8, ("english",), ("en",), "the configuration"),
        Rule("mine.shouting", "symbol_words", None, 0.05, (), (), "our own eyes"),
    )
    assert verdicts(rules, measured(mean_word_length=9.0)) == ["mine.mean_word_length"]
    assert verdicts(rules, measured("multilingual", "fi", mean_word_length=9.0)) == [None]
    assert verdicts(rules, measured("code", "c", symbol_words=0.06)) == ["mine.shouting"]


def test_a_rule_on_a_signal_of_ones_own_needs_that_column() -> None:
    rules = Rules(presets=[], add=[{"rule": "mine.length", "signal": "my.signals:loudness", "max": 1}])
    assert rules.needs == ("domain", "language", "loudness")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"presets": ["gopher_qualty"]},
            "rules.presets: 'gopher_qualty' is no known preset: the nearest is gopher_quality",
        ),
        ({"presets": "code"}, r"rules.presets: 'code' is not a list: write \[code\]"),
        (
            {"set": {"gopher_quality.word": {"min": 1}}},
            "rules.set: 'gopher_quality.word' .* nearest is gopher_quality.words",
        ),
        ({"set": {"mean_word_lenght": {"min": 1}}}, "the nearest is mean_word_length"),
        ({"set": {"words": {"minimum": 1}}}, "rules.set.words: 'minimum' is no known limit: the nearest is min"),
        ({"set": {"words": {"min": "many"}}}, "rules.set.words: 'many' is not a number"),
        ({"set": {"words": {"min": 200_000}}}, "min 200000 is above max 100000"),
        ({"set": {"words": 5}}, "rules.set.words: give min, max or both"),
        (
            {"add": [{"rule": "mine.wrods", "min": 1}]},
            "rules.add.mine.wrods: 'wrods' is no known signal: the nearest is words",
        ),
        ({"add": [{"rule": "mine.words", "mim": 1}]}, "'mim' is no known key: the nearest is min"),
        ({"add": [{"rule": "mine.words"}]}, "limits nothing"),
        ({"add": [{"rule": "words", "min": 1}]}, "as in mine.words"),
        ({"add": [{"min": 1}]}, "has no name"),
        ({"add": [{"rule": "mine.words", "min": 1, "domains": ["englsh"]}]}, "the nearest is english"),
        ({"add": [{"rule": "code.comments", "min": 1}]}, "code.comments occurs twice"),
        ({"presets": ["code", "code"]}, "code.comments occurs twice"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_right_one(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Rules(**arguments)
    assert "\n" not in str(caught.value)


def test_describe_is_the_resolved_table() -> None:
    rules = Rules(set={"nemotron.words": {"min": 20}})
    table = describe(rules)
    assert table.schema.equals(DESCRIPTION)
    assert table.column("index").to_pylist() == list(range(len(rules.rules())))
    row = next(row for row in table.to_pylist() if row["rule"] == "nemotron.words")
    assert (row["minimum"], row["maximum"], row["domains"]) == (20, 100_000, ["english", "multilingual"])
    assert describe(rules.rules()).equals(table)


@pytest.mark.parametrize(
    "asked",
    [
        {"set": {"characters_per_token": {"min": 3}}},
        {"set": {"code.characters_per_token": {"min": 3}}},
        {"add": [{"rule": "mine.characters_per_token", "min": 3}]},
        {"add": [{"rule": "mine.thin", "drop_when": "characters_per_token < 3 and words < 20"}]},
    ],
)
def test_a_rule_for_characters_per_token_that_was_asked_for_is_said_not_to_apply(asked: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match=r"(characters_per_token|mine\.thin) is not applied") as said:
        Rules(**asked)
    assert len(said) == 1


def test_the_presets_have_nothing_to_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Rules()
        Rules(presets=("code",))


def test_no_language_of_the_recipe_is_thrown_out(shared_data: Path) -> None:
    """Of full documents in each language, the rules keep most: none is dropped for being what its script makes it."""
    texts: dict[str, list[str]] = {}
    for name in (
        "xquad-paragraphs",
        "opensource-guide",
        "bitcoin-org",
        "tico19",
        "ntrex-six-languages",
        "wikipedia-ml",
    ):
        with zstandard.open(shared_data / "multilingual" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if len(record["text"]) > 800:
                    texts.setdefault(record["lang"][:2], []).append(record["text"][:20_000])
    texts = {language: found[:60] for language, found in texts.items() if len(found) >= 10}
    assert {"zh", "ja", "th", "km", "my", "ko", "hi", "ar", "hy", "ml", "ta", "vi", "ru", "el"} <= set(texts)
    rules = Rules()
    for language, found in texts.items():
        rows = pa.record_batch(
            {
                "text": pa.array(found, pa.large_string()),
                "domain": pa.array(["english" if language == "en" else "multilingual"] * len(found)),
                "language": pa.array([language] * len(found)),
                "url": pa.nulls(len(found), pa.string()),
            }
        )
        verdict = rules.apply(Signals().apply(rows)).column("dropped_by")
        kept = verdict.null_count / len(found)
        assert kept >= 0.8, (language, np.unique(verdict.drop_null().to_pylist(), return_counts=True))
