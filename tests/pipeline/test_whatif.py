"""`whatif`: its numbers are the run's before and after, its --set makes what it says, its examples need no order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from corpus import records
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gristmill.pipeline.commands.whatif import whatif as command
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run
from gristmill.pipeline.views.whatif.answer import token_rates, whatif
from gristmill.pipeline.views.whatif.expression import Bound, change, parse
from gristmill.pipeline.views.whatif.scan import Tally
from gristmill.stages.presets.rule import Rule
from gristmill.stages.rules import Rules

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:rules. characters_per_token is not applied")]

FIRST = ("rules", "exact_dedup")
PAPER = ("exact_dedup", "rules")
RULES = {
    "presets": ["gopher_quality", "gopher_repetition", "nemotron", "code"],
    "set": {"nemotron.parentheses": {"max": 0.08}},
    "add": [
        {"rule": "own.short", "signal": "words", "min": 70, "domains": ["multilingual"], "languages": ["de"]},
        {"rule": "own.thin", "drop_when": "lines_without_end_mark > 0.6 and words < 900", "domains": ["english"]},
        {"rule": "own.bare", "drop_when": "share_of_lines_removed > 0.9 or sentences < 2"},
    ],
}
CONDITIONS = (
    "gopher_quality.mean_word_length <= 6.5",  # one of two rules on the signal
    "duplicate_lines < 0.25",  # both
    "nemotron.parentheses off",
    "own.short > 90",
    "3 <= total_lines <= 900",
    "comments off",
    "fineweb.short_lines <= 0.6",  # a preset's rule that the configuration does not have
    "own.thin off",
    "lines_removed <= 40",
    "drop when sentences / lines < 0.4 and words < 300",
)


@pytest.fixture(scope="module")
def inputs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred documents of three domains; every seventh twice under ids of its own, a few under one id."""
    folder = tmp_path_factory.mktemp("whatif")
    prose = [record["text"] for record in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 160)]
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst"))[:3]:
        prose += [record["text"] for record in records(path, 60)]
    rows = [{"id": str(i), "text": text} for i, text in enumerate(prose)]
    rows += [{"id": f"again {i}", "text": text} for i, text in enumerate(prose) if i % 7 == 0]
    rows += [{"id": "3", "text": text} for text in prose[:4]]
    code = [json.dumps(record) for record in records(shared_data / "code" / "code-permissive.jsonl.zst", 120)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "prose.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "code.jsonl").write_text("\n".join(code), "utf-8")
    return folder


def configuration(folder: Path, order: tuple[str, ...], model: Path) -> Path:
    fields: dict[str, Any] = {"rules": RULES, "exact_dedup": {}}
    config = {
        "output": str(folder / "-".join(order)),
        "sources": [
            {"name": "prose", "uri": str(folder / "prose.jsonl"), "columns": {"id": "id"}},
            {"name": "code", "uri": str(folder / "code.jsonl"), "domain": "code"},
        ],
        "stages": [
            {"language": {"model": str(model)}},
            {"lines": {"presets": ["refinedweb"]}},
            *({name: fields[name]} for name in order),
        ],
        "tokenizer": {"vocab_size": 1500, "sample_bytes": 300_000},
        "blends": {"all": {"domains": {"english": 1}}},
        "plan": {"partition_bytes": 300_000},
    }
    path = folder / f"{'-'.join(order)}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture(scope="module", params=[FIRST, PAPER], ids="-".join)
def finished(request: pytest.FixtureRequest, inputs: Path, language_model: Path) -> tuple[Path, Path, dict[str, Any]]:
    """(configuration, output, what the run recorded), with the rules before and after exact de-duplication."""
    config = configuration(inputs, request.param, language_model)
    result = run(load(str(config)), inline=True)
    return config, Path(result.output), result.record


def at_the_rules(record: dict[str, Any]) -> tuple[int, int, int, int]:
    entry = next(entry for entry in record["funnel"] if entry["stage"] == "rules")
    return entry["documents_in"], entry["bytes_in"], entry["kept"], entry["bytes_kept"]


def dropped_by_group(output: Path) -> dict[tuple[str, str], int]:
    """From the ledger, row by row."""
    groups: dict[tuple[str, str], int] = {}
    for path in output.glob("ledger/step=rules/part-*.parquet"):
        for row in pq.read_table(path).to_pylist():
            group = (row["domain"], row["language"])
            groups[group] = groups.get(group, 0) + 1
    return groups


def test_before_is_what_the_run_counted_and_after_what_it_counts_with_the_set(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    config, output, record = finished
    answer = whatif(str(output), CONDITIONS)
    whole = sum(answer.groups.values(), Tally())
    assert (whole.documents, whole.bytes, whole.kept_before, whole.bytes_before) == at_the_rules(record)
    before = {group: tally.documents - tally.kept_before for group, tally in answer.groups.items()}
    assert {group: n for group, n in before.items() if n} == dropped_by_group(output)
    assert whole.lost > 3
    assert whole.gained > 3
    assert whole.kept_before - whole.lost + whole.gained == whole.kept_after

    changed = shutil.copytree(output, tmp_path / "out")
    again = run(load(str(config), [f"output={changed}", *answer.change.assignments]), inline=True)
    assert (whole.documents, whole.bytes, whole.kept_after, whole.bytes_after) == at_the_rules(again.record)
    after = {group: tally.documents - tally.kept_after for group, tally in answer.groups.items()}
    assert {group: n for group, n in after.items() if n} == dropped_by_group(changed)


def test_documents_that_left_before_the_rules_are_not_counted(
    finished: tuple[Path, Path, dict[str, Any]],
) -> None:
    _, output, record = finished
    signals = sum(pq.read_metadata(path).num_rows for path in output.glob("signals/part-*.parquet"))
    left = [entry for entry in record["funnel"] if entry["stage"] in ("identity", "exact_dedup")]
    earlier = left[:1] if output.name == "rules-exact_dedup" else left
    gone = sum(entry["dropped"] + entry["quarantined"] for entry in earlier)
    assert gone > 3
    assert sum(t.documents for t in whatif(str(output), ["words >= 1"]).groups.values()) == signals - gone


def test_examples_change_sides_and_do_not_depend_on_how_signals_are_laid_out(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, output, record = finished
    answer = whatif(str(output), CONDITIONS)
    assert len(answer.examples) == 10
    assert {example.kept_after for example in answer.examples} == {True, False}
    ledger = {
        row["id"] for p in output.glob("ledger/step=rules/part-*.parquet") for row in pq.read_table(p).to_pylist()
    }
    assert all((example.document["id"].hex() in ledger) == example.kept_after for example in answer.examples)
    assert all(example.document["preview"] for example in answer.examples)

    other = tmp_path / "out"
    parts = sorted(output.glob("signals/part-*.parquet"))
    signals = pa.concat_tables([pq.read_table(path) for path in reversed(parts)])
    backwards = signals.take(pa.array(range(signals.num_rows - 1, -1, -1)))
    (other / "signals").mkdir(parents=True)
    pq.write_table(backwards, other / "signals" / "part-00000.parquet", row_group_size=77)
    for path in output.glob("ledger/step=*/part-*.parquet"):
        target = other / "ledger" / path.parent.name / "part-00000.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = [pq.read_table(target)] if target.exists() else []
        pq.write_table(pa.concat_tables([*rows, pq.read_table(path)]), target)
    (other / "run.json").write_text(json.dumps(record))
    moved = whatif(str(other), CONDITIONS)
    assert moved.examples == answer.examples
    assert dict(moved.groups) == dict(answer.groups)


def test_tokens_are_bytes_over_the_bytes_per_token_of_the_language(
    finished: tuple[Path, Path, dict[str, Any]],
) -> None:
    _, output, record = finished
    measured = record["tokenizer"]["report"]["measured"]
    rates, source = token_rates(record)
    assert source == "the tokenizer's report"
    for row in measured["languages"]:
        assert rates[row["domain"], row["language"]] == pytest.approx(row["bytes_per_token"])
    assert rates[None, None] == pytest.approx(measured["all"]["bytes_per_token"])
    answer = whatif(str(output), ["words >= 60"])
    assert answer.rates["english", "en"] == rates["english", "en"]
    given = {**record, "tokenizer": {"sha256": "", "report": None}}  # as with a tokenizer of one's own
    counted, source = token_rates(given)
    assert source == "the token counts of the blend"
    assert counted["english", "en"] == pytest.approx(rates["english", "en"], rel=0.05)
    assert token_rates({**given, "blends": {}})[0] == {}


def test_a_run_and_signals_that_do_not_belong_together_are_told(
    finished: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, output, _ = finished
    other = shutil.copytree(output, tmp_path / "out", ignore=shutil.ignore_patterns("work", "shards"))
    max((other / "signals").glob("part-*.parquet")).unlink()
    with pytest.raises(RuntimeError, match=r"signals/ gives \d+ of \d+ documents kept by the rules, run.json says"):
        whatif(str(other), ["words >= 60"])
    shutil.rmtree(other / "signals")
    with pytest.raises(ValueError, match="holds no signals/"):
        whatif(str(other), ["words >= 60"])
    with pytest.raises(ValueError, match=r"holds no run\.json; name the output of a finished run"):
        whatif(str(tmp_path), ["words >= 60"])


def test_the_command_says_it_in_eighty_columns_and_ends_with_the_set(
    finished: tuple[Path, Path, dict[str, Any]],
) -> None:
    _, output, record = finished
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["mean_word_length <= 6", "--output", str(output)])
    assert result.exit_code == 0, result.output
    *said, last = result.output.splitlines()
    assert max(map(len, said)) <= 80
    head = "maximum of gopher_quality.mean_word_length and nemotron.mean_word_length: 10 -> 6"
    assert " ".join(" ".join(said[:2]).split()).startswith(head)
    arguments = f"{output}/run.json --output {output} --set stages.rules.set.mean_word_length.max=6"
    assert last == f"gristmill run {arguments}"  # a run that Python code started: its record is the configuration
    assert any("exact at the rules step" in line for line in said)
    plain = CliRunner().invoke(app, ["mean_word_length <= 6", "-o", str(output), "--json"])
    figures = json.loads(plain.output)
    assert figures["total"]["kept_before"] == at_the_rules(record)[2]
    assert figures["total"]["lost"] == sum(row["lost"] for row in figures["groups"]) > 0
    assert figures["set"] == ["stages.rules.set.mean_word_length.max=6"]


# -- conditions --------------------------------------------------------------------------------------------------------

NUMBERS = st.integers(-1000, 1000) | st.floats(-1000, 1000)
COMPARE = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


@given(st.data(), NUMBERS, st.sampled_from(list(COMPARE)), st.booleans(), st.booleans())
@settings(max_examples=400)
def test_a_condition_keeps_what_the_comparison_keeps(
    data: st.DataObject, limit: float, operator: str, whole: bool, name_first: bool
) -> None:
    near = st.sampled_from([limit, float(limit), round(limit), round(limit) + 1, round(limit) - 1])
    value = data.draw(near | NUMBERS)
    value = round(value) if whole else value
    text = f"words {operator} {limit!r}" if name_first else f"{limit!r} {operator} words"
    [(side, bound)] = parse(text).bounds.items()
    inclusive = bound.limit(side, whole)
    kept = value >= inclusive if side == "min" else value <= inclusive
    assert kept == (COMPARE[operator](value, limit) if name_first else COMPARE[operator](limit, value))
    assert isinstance(inclusive, int) or not whole


def test_both_ends_may_stand_in_one_condition() -> None:
    assert parse("3 <= words < 1_000").bounds == {"min": Bound(3, False), "max": Bound(1000, True)}
    assert parse("1e3>words>=3").bounds == {"max": Bound(1000, True), "min": Bound(3, False)}
    assert parse("gopher_quality.words off").bounds == {}


WRONG = [
    ("words", "is no condition: write"),
    ("words <= many", "is no condition: write"),
    ("3 <= words >= 2", "is no condition: write"),
    ("3 < 4", "is no condition: write"),
    ("gopher_qualty.words <= 3", "the nearest is gopher_quality.words"),
    ("short_line <= 0.3", "the nearest is short_lines"),
    ("short_lines off", "no rule of the configuration limits short_lines"),
    ("gopher_quality.words >= 1e6", "min 1e+06 is above max 100000"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[text for text, _ in WRONG])
def test_a_wrong_condition_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        change(rules_of(RULES), [parse(text)], {})
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def rules_of(fields: dict[str, Any]) -> Rules:
    return Rules(tuple(fields["presets"]), fields["set"], tuple(fields["add"]))


SHADOWED = {**RULES, "set": {"gopher_quality.words": {"min": 40, "max": 900}, "words": {"min": 60}}}
CHANGES = [
    (RULES, ["words >= 30"]),
    (RULES, ["words off", "own.short <= 500"]),
    (RULES, ["own.short off"]),
    (RULES, ["short_lines < 0.7", "short_lines >= 0.01", "fineweb.lines_without_end_mark <= .5"]),
    (RULES, ["nemotron.parentheses <= 0.05", "parentheses >= 0.00001"]),
    (SHADOWED, ["gopher_quality.words >= 30"]),
    (SHADOWED, ["gopher_quality.words off", "nemotron.words <= 70"]),
]


@pytest.mark.parametrize(("fields", "texts"), CHANGES, ids=[" ".join(texts) for _, texts in CHANGES])
def test_the_set_makes_the_rules_that_were_answered_for(
    fields: dict[str, Any], texts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "input.jsonl").touch()
    config = {"sources": [{"name": "s", "uri": str(tmp_path / "input.jsonl")}], "stages": ["lines", {"rules": fields}]}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    found = change(rules_of(fields), [parse(text) for text in texts], {})
    _, made = load(str(tmp_path / "pipeline.yaml"), list(found.assignments)).stages
    assert isinstance(made, Rules)
    assert [limits(rule) for rule in made.rules()] == [limits(rule) for rule in found.rules.rules()]


def limits(rule: Rule) -> tuple[Any, ...]:
    return rule.name, rule.signal, rule.minimum, rule.maximum, rule.domains, rule.languages, rule.expression


def test_rules_with_a_condition_come_and_go_whole() -> None:
    thin = "lines_without_end_mark > 0.6 and words < 900"
    found = change(rules_of(RULES), [parse("own.thin off"), parse("Drop when  words < 3*lines")], {})
    assert found.lines == (
        f"own.thin: drop when {thin} -> off",
        "new rule whatif.condition_1: drop when words < 3*lines, for every domain",
    )
    assert {rule.name: rule.expression for rule in found.rules.rules() if rule.expression} == {
        "own.bare": "share_of_lines_removed > 0.9 or sentences < 2",
        "whatif.condition_1": "words < 3*lines",
    }
    words = change(rules_of(RULES), [parse("lines_without_end_mark <= 0.4")], {})
    assert {rule.expression for rule in words.rules.rules() if rule.name == "own.thin"} == {thin}, "no limit of its own"
    own = {"loudness": ("own_signals:loudness", False)}
    none = rules_of({"presets": [], "set": {}, "add": []})
    [row] = change(none, [parse("drop when loudness > 3")], own).rules.add
    assert row == {"rule": "whatif.condition_1", "drop_when": "loudness > 3", "signals": ["own_signals:loudness"]}
    for text, message in (
        ("own.thin <= 3", r"own.thin has no limits but drops when lines_without_end_mark .* write \"own.thin off\""),
        ("drop when wrods < 3", "'wrods' is no signal; the nearest is words"),
        ("drop when words", "compares nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            change(rules_of(RULES), [parse(text)], {})


def test_a_limit_that_another_rule_still_holds_is_noted() -> None:
    found = change(rules_of(RULES), [parse("gopher_quality.mean_word_length <= 12")], {})
    assert found.lines == ("maximum of gopher_quality.mean_word_length: 10 -> 12",)
    assert found.notes == (
        "nemotron.mean_word_length still has the maximum 10; a condition on mean_word_length changes every rule that "
        "limits it",
    )
    assert change(rules_of(RULES), [parse("mean_word_length <= 12")], {}).notes == ()


def test_what_no_rule_limits_becomes_a_rule_of_its_own_in_the_scope_that_is_named() -> None:
    found = change(rules_of(RULES), [parse("short_lines <= 0.6")], {}).rules.rules()[-1]
    assert limits(found)[:6] == ("whatif.short_lines", "short_lines", None, 0.6, (), ())
    scoped = change(rules_of(RULES), [parse("fineweb.short_lines <= 0.6")], {}).rules.rules()[-1]
    assert limits(scoped)[:6] == ("whatif.short_lines", "short_lines", None, 0.6, ("english",), ("en",))
    own = {"shouting": ("own_signals:shouting", False)}
    mine = change(rules_of(RULES), [parse("shouting <= 0.6")], own)
    assert limits(mine.rules.rules()[-1])[:6] == ("whatif.shouting", "shouting", None, 0.6, (), ())
    assert "{rule: whatif.shouting, signal: 'own_signals:shouting', max: 0.6}" in mine.assignments[0]
