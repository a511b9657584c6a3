"""Conditions over signals: three-valued, on whole columns, safe to read, refused in one sentence; as rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.stages.expression import MAX_CHARACTERS, parse
from gristmill.stages.measured import MEASURED
from gristmill.stages.rules import Rules, describe

NAMES = ("words", "lines", "sentences")


def value(node: Any, row: dict[str, float | None]) -> Any:
    """The definition, by Python itself on one row; None: unknown, or no number."""
    match node:
        case str():
            return row[node]
        case int() | float():
            return node
        case ("not", one):
            found = value(one, row)
            return None if found is None else not found
        case (("and" | "or") as join, one, other):
            found = [value(one, row), value(other, row)]
            decides = join == "or"
            return decides if decides in found else None if None in found else not decides
        case (sign, one, other):
            left, right = value(one, row), value(other, row)
            if left is None or right is None or (sign == "/" and right == 0):
                return None
            return {
                "+": lambda: left + right,
                "-": lambda: left - right,
                "*": lambda: left * right,
                "/": lambda: left / right,
                "<": lambda: left < right,
                "<=": lambda: left <= right,
                ">": lambda: left > right,
                ">=": lambda: left >= right,
                "==": lambda: left == right,
                "!=": lambda: left != right,
            }[sign]()


def written(node: Any) -> str:
    match node:
        case str():
            return node
        case int() | float():
            return repr(node)
        case ("not", one):
            return f"not ({written(one)})"
        case (sign, one, other):
            return f"({written(one)}) {sign} ({written(other)})"
    raise AssertionError(node)


NUMBER = st.recursive(
    st.sampled_from(NAMES) | st.integers(0, 9) | st.sampled_from([0.5, 1e3]),
    lambda inner: st.tuples(st.sampled_from(["+", "-", "*", "/"]), inner, inner),
    max_leaves=4,
)
COMPARISON = st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBER, NUMBER)
CONDITION = st.recursive(
    COMPARISON,
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=4,
)
ROW = st.fixed_dictionaries({name: st.none() | st.integers(0, 9).map(float) for name in NAMES})


@settings(max_examples=300, deadline=None)
@given(CONDITION, st.lists(ROW, min_size=1, max_size=6))
@pytest.mark.slow
def test_it_holds_where_python_says_so_and_nothing_unknown_decides(node: Any, rows: list[dict]) -> None:
    text = written(node)
    if len(text) > MAX_CHARACTERS or not any(name in text for name in NAMES):
        return
    columns = {name: np.array([np.nan if row[name] is None else row[name] for row in rows]) for name in NAMES}
    condition = parse(text)
    expected = [value(node, row) is True for row in rows]
    assert condition.holds({name: columns[name] for name in condition.signals}).tolist() == expected


def test_comparisons_are_chained_as_in_python() -> None:
    column = np.array([2.0, 3.0, 8.0, 9.0, np.nan])
    assert parse("3 <= words < 9").holds({"words": column}).tolist() == [False, True, True, False, False]
    assert parse("not 3 <= words < 9").holds({"words": column}).tolist() == [True, False, False, True, False]
    assert parse("-words < -2 and +words < 9").holds({"words": column}).tolist() == [False, True, True, False, False]


def test_signals_stand_in_order_and_the_limit_is_the_firsts() -> None:
    found = parse("lines_without_end_mark > 0.5 and words < 200")
    assert (found.signals, found.limit) == (("lines_without_end_mark", "words"), 0.5)
    assert parse("words / lines < 3").limit is None
    assert parse("2 > words").limit == 2
    assert parse("words > -1.5").limit == -1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words", "compares nothing"),
        ("words + 1", "compares nothing"),
        ("1 < 2", "names no signal"),
        ("words < 3 and lines", "'lines' is a number where a condition is needed"),
        ("words < (lines > 2)", "is a condition where a number is needed"),
        ("words <", "is no condition"),
        ("", "is no condition"),
        ("words < '3'", "cannot stand there"),
        ("words < True", "cannot stand there"),
        ("len(words) < 3", "cannot stand there"),
        ("__import__('os').system('x') == 0", "cannot stand there"),
        ("words.real < 3", "cannot stand there"),
        ("words ** 9 < 3", "cannot stand there"),
        ("words in (1, 2)", "cannot stand there"),
        ("words < 3 if lines else words > 2", "compares nothing"),
        ("(words := 3) < 4", "cannot stand there"),
        ("[words for words in lines] < 3", "cannot stand there"),
        ("words < 1e999", "cannot stand there"),
        ("words < " + "9" * 400, "cannot stand there"),
        ("words < 3 " * 100, "a condition of 1,000 characters"),
        ("(" * 240 + "words < 3" + ")" * 240, "is no condition"),
        ("words < 3\0", "is no condition"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["not " * 100 + "words < 3", "-" * 400 + "words < 3"])
def test_what_is_nested_deeply_is_read(text: str) -> None:
    assert parse(text).holds({"words": np.array([1.0])}).tolist() == [True]


# -- as rules ----------------------------------------------------------------------------------------------------------


def batch(**columns: list) -> pa.RecordBatch:
    rows = len(next(iter(columns.values())))
    scope = {"domain": pa.array(["english"] * rows), "language": pa.array(["en"] * rows)}
    return pa.record_batch(scope | {name: pa.array(values, MEASURED[name].dtype) for name, values in columns.items()})


THIN = {"rule": "mine.thin", "drop_when": "lines_without_end_mark > 0.5\n and words < 200"}


def test_a_rule_drops_where_its_condition_holds() -> None:
    rules = Rules(presets=(), add=[THIN])
    assert rules.needs == ("domain", "language", "lines_without_end_mark", "words")
    found = rules.apply(
        batch(lines_without_end_mark=[0.6, 0.4, None, 0.6, 0.6], words=[100, 100, 100, None, 300])
    ).to_pylist()
    assert [row["dropped_by"] for row in found] == ["mine.thin", None, None, None, None]
    assert (found[0]["value"], found[0]["limit"], found[0]["failed"]) == (0.6, 0.5, b"\x01")


def test_it_stands_among_the_others_with_its_bit() -> None:
    rules = Rules(
        presets=(),
        add=[
            {"rule": "mine.words", "min": 50},
            {**THIN, "domains": ["english"], "languages": ["en"]},
            {"rule": "mine.odd", "drop_when": "words / lines > 10 or mean_word_length > 9"},
        ],
    )
    given = batch(
        words=[10, 100, 100, 90],
        lines_without_end_mark=[0.9, 0.9, 0.1, None],
        lines=[1, 1, 0, 9],
        mean_word_length=[5, 5, None, 9.5],
    )
    found = rules.apply(given).to_pylist()
    assert [row["dropped_by"] for row in found] == ["mine.words", "mine.thin", None, "mine.odd"]
    assert [row["failed"] for row in found] == [b"\x03", b"\x06", None, b"\x04"]
    assert (found[3]["value"], found[3]["limit"]) == (90, None)
    german = given.set_column(1, "language", pa.array(["de"] * 4))
    assert rules.apply(german).column("dropped_by").to_pylist() == ["mine.words", "mine.odd", None, "mine.odd"]


def test_the_value_is_null_where_the_first_signal_is() -> None:
    rules = Rules(presets=(), add=[{"rule": "mine.odd", "drop_when": "mean_word_length > 9 or words < 5"}])
    [row] = rules.apply(batch(mean_word_length=[None], words=[3])).to_pylist()
    assert (row["dropped_by"], row["value"], row["limit"]) == ("mine.odd", None, 9)


def test_describe_shows_the_condition() -> None:
    row = describe(Rules(presets=("fineweb",), add=[THIN])).to_pylist()[-1]
    assert row["expression"] == "lines_without_end_mark > 0.5 and words < 200"
    assert (row["signal"], row["minimum"], row["maximum"]) == ("lines_without_end_mark", None, None)
    assert row["expression"] in row["source"]
    assert describe(Rules(presets=("fineweb",))).column("expression").null_count == 4


def test_signals_of_ones_own_are_named_by_their_function() -> None:
    text = """
    presets: []
    add: [{rule: own.loud, drop_when: loudness > 3 and words < 9, signals: ["own_signals:loudness"]}]
    """
    assert Rules(**yaml.safe_load(text)).needs == ("domain", "language", "loudness", "words")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"drop_when": "wrods < 3"}, "rules.add.mine.x.drop_when: 'wrods' is no known signal: the nearest is words"),
        ({"drop_when": "words <"}, "rules.add.mine.x.drop_when: 'words <' is no condition"),
        ({"drop_when": "words < 3", "min": 4}, "drop_when says it all: take min out"),
        ({"max": 4, "signal": "words", "signals": ["a:b"]}, "signals goes with drop_when"),
        ({"drop_if": "words < 3"}, "'drop_if' is no known key: the nearest is drop_when"),
    ],
)
def test_a_wrong_rule_is_refused(row: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(presets=(), add=[{"rule": "mine.x", **row}])
