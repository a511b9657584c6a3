"""Lines as a stage: published outcomes, scope, columns, what leaves and what does not, real text in many languages."""

from __future__ import annotations

import json
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
import zstandard

from gristmill.stages.interface import DocumentStage
from gristmill.stages.lines import LINE_SIGNALS, MEANINGS, Lines
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.table import LINE_PRESETS
from gristmill.stages.rules import Rules
from gristmill.stages.signals import Signals

pytestmark = pytest.mark.filterwarnings("ignore:rules. characters_per_token")

GOOD = "This is a line of text about bread."
COLUMNS = [signal.name for signal in LINE_SIGNALS]


def batch(texts: list[str | None], domain: str | None = "english", language: str | None = "en") -> pa.RecordBatch:
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array([domain] * len(texts), pa.string()),
            "language": pa.array([language] * len(texts), pa.string()),
            "url": pa.nulls(len(texts), pa.string()),
        }
    )


def texts_of(result: pa.RecordBatch) -> list[str | None]:
    return result.column("text").to_pylist()


def test_it_is_a_document_stage_whose_fields_are_plain() -> None:
    lines = Lines(presets=["c4", "refinedweb"], set={"c4.words": {"min": 4}})
    assert isinstance(lines, DocumentStage)
    assert pickle.loads(pickle.dumps(lines)) == lines
    assert hash(lines) == hash(Lines(("c4", "refinedweb")))
    assert {*COLUMNS, "text"} <= set(lines.adds)
    assert set(COLUMNS) <= set(MEASURED)


@pytest.mark.parametrize("preset", LINE_PRESETS)
def test_every_line_rule_is_scoped_sourced_and_on_a_known_measure(preset: str) -> None:
    for rule in LINE_PRESETS[preset]:
        assert rule.name == f"{preset}.{rule.signal}"
        assert rule.signal in MEANINGS
        assert rule.source
        assert set(rule.domains) <= {"english", "multilingual"}
        assert (rule.languages == ("en",)) == (rule.domains == ("english",)), "phrases are English, the rest of all"


def test_limits_are_those_of_the_papers() -> None:
    rows = {rule.name: (rule.minimum, rule.maximum) for rules in LINE_PRESETS.values() for rule in rules}
    published = {
        "c4.words": (5, None),
        "c4_datatrove.words": (3, None),
        "c4.longest_word": (None, 1000),
        "refinedweb.uppercase": (None, 0.5),
        "refinedweb.words": (2, None),
        "refinedweb.digits": (None, 0.999999),
    }
    assert {name: rows[name] for name in published} == published
    limits = {rule.name: (rule.minimum, rule.maximum) for rule in Rules(("c4", "c4_datatrove", "refinedweb")).rules()}
    assert limits["c4.sentences"] == (3, None)
    assert limits["c4_datatrove.sentences"] == (5, None)
    assert limits["refinedweb.words_flagged"] == (None, 0.05)


# -- recorded outcomes of datatrove ------------------------------------------------------------------------------------

RECORDED = json.loads((Path(__file__).parent / "c4_recorded.json").read_text("utf-8"))
DATATROVE = Lines(("c4_datatrove",))


def same(line: str, stays: bool, outcome: str) -> bool:
    """Equal, or different where it is documented: marks that are not ASCII end a line, a citation leaves no space
    behind, only U+000A ends a line, and a line with "{" or "lorem ipsum" is for the document rules unless a line rule
    removes it."""
    core = line.strip()
    ours = ord(core[-1]) > 127 or core.endswith("]") or len(core.splitlines()) > 1
    return outcome in "cl" or stays == (outcome == "1") or (stays and ours)


def test_lines_stay_as_in_datatrove() -> None:
    for line, outcome in RECORDED["lines"]:
        [(stays, _)] = DATATROVE.reasons(line, "english", "en")
        assert same(line, stays, outcome), line
    compared = [line for line, outcome in RECORDED["lines"] if outcome in "01" and not line.endswith("]")]
    assert len(compared) > 35


def recorded_documents(shared_data: Path, name: str) -> list[tuple[str, str]]:
    path = shared_data / "english" / f"{name}.jsonl.zst"
    web = shared_data / "labelled" / "dolma-tests-data" / "multiple_files" / f"{name}.jsonl"
    wanted = dict(RECORDED["outcomes"][name])
    with zstandard.open(path, "rt", encoding="utf-8") if path.exists() else web.open(encoding="utf-8") as file:
        lines = enumerate(islice(file, max(wanted) + 1))
        return [(json.loads(line)["text"], wanted[n]) for n, line in lines if n in wanted]


@pytest.mark.parametrize("name", RECORDED["outcomes"])
def test_documents_keep_the_lines_that_datatrove_keeps(shared_data: Path, name: str) -> None:
    documents = recorded_documents(shared_data, name)
    compared = 0
    for text, outcomes in documents:
        told = DATATROVE.reasons(text, "english", "en")
        for line, (stays, _), outcome in zip(text.split("\n"), told, outcomes, strict=True):
            if line.strip():
                assert same(line, stays, outcome), line
                compared += stays == (outcome == "1")
    total = sum(outcome in "01" for _, outcomes in documents for outcome in outcomes)
    assert compared > 0.5 * total, "books have typographic quotes"

    measured = Signals().apply(DATATROVE.apply(batch([text for text, _ in documents])))
    rules = Rules(("c4_datatrove",), set={"c4_datatrove.sentences": {"min": None}})
    dropped = rules.apply(measured).column("dropped_by").to_pylist()
    bracket = ["c4_datatrove.curly_brackets" if "c" in outcomes else None for _, outcomes in documents]
    assert dropped == bracket


# -- scope, columns, verdicts ------------------------------------------------------------------------------------------


def test_code_and_documents_of_no_domain_are_left_alone() -> None:
    for domain in ("code", None):
        given = batch(["MENU\n\nint main() {}\n", None, ""], domain, "c")
        result = Lines(("c4", "refinedweb")).apply(given)
        assert texts_of(result) == texts_of(given)
        assert all(result.column(name).null_count == 3 for name in COLUMNS)


def test_english_phrases_are_no_matter_in_other_languages() -> None:
    text = "Wir sagen hier etwas von privacy policy und Brot.\n3 likes und mehr.\n3 likes\n"
    english = texts_of(Lines(("c4_datatrove", "refinedweb")).apply(batch([text])))
    german = texts_of(Lines(("c4_datatrove", "refinedweb")).apply(batch([text], "multilingual", "de")))
    assert english == ["3 likes und mehr.\n"]
    assert german == ["Wir sagen hier etwas von privacy policy und Brot.\n3 likes und mehr.\n"]


def test_a_document_of_which_nothing_is_left_leaves_with_its_text() -> None:
    result = Lines().apply(batch(["Home\nMenu", "", " \n", f"Home\n{GOOD}", None]))
    assert result.column("dropped_by").to_pylist() == ["lines.empty", None, None, None, None]
    assert texts_of(result) == ["Home\nMenu", "", " \n", GOOD, None]


def test_what_is_already_out_stays_as_it_is() -> None:
    given = batch([f"Home\n{GOOD}"] * 2)
    given = given.append_column("dropped_by", pa.array(["language.score", None]))
    result = Lines().apply(given.append_column("quarantined_by", pa.array([None, "read.broken"])))
    assert texts_of(result) == [f"Home\n{GOOD}"] * 2
    assert result.column("dropped_by").to_pylist() == ["language.score", None]


def test_columns_say_what_was_removed_and_by_which_measure() -> None:
    result = Lines(("c4", "refinedweb")).apply(batch([f"Home\n\n{GOOD} [1]\nBIG LETTERS ARE HERE, AND MORE.\n{GOOD}"]))
    row = result.to_pylist()[0]
    assert texts_of(result) == [f"{GOOD}\n{GOOD}"]
    assert (row["lines_removed"], row["lines_edited"], row["share_of_lines_removed"]) == (2, 1, 0.5)
    assert (row["lines_removed_by_end_mark"], row["lines_removed_by_uppercase"]) == (1, 1)
    assert row["words_removed"] == pytest.approx((1 + 1 + 6) / (1 + 9 + 6 + 8))
    assert row["words_flagged"] == pytest.approx(6 / (1 + 9 + 6 + 8)), "refinedweb's share alone"
    assert (row["long_lines"], Lines().apply(batch([GOOD * 9])).column("long_lines")[0].as_py()) == (0, 1)


def test_reasons_are_the_rules_by_line() -> None:
    text = f"Home\n\n{GOOD}[1]\nBIG LETTERS ARE HERE, AND MORE.\n\n{GOOD}\n"
    assert Lines(("c4", "refinedweb")).reasons(text, "english", "en") == [
        *((False, "c4.end_mark"), (False, None), (True, "c4.citation_numbers"), (False, "refinedweb.uppercase")),
        *((True, None), (True, None), (True, None)),
    ]
    assert Lines().reasons("", "english", "en") == [(True, None)]
    assert Lines().reasons("MENU", "code", "c") == [(True, None)]


def test_slices_and_small_strings_are_read_at_their_place() -> None:
    texts = ["Home", f"Home\n{GOOD}", None, f"{GOOD}\nMenu", GOOD]
    whole = Lines().apply(batch(texts))
    assert Lines().apply(batch(texts).slice(1, 3)).equals(whole.slice(1, 3))
    assert Lines().apply(batch([])).num_rows == 0
    whole.validate(full=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("presets: [c5]", "lines.presets: 'c5' is no known preset: the nearest is c4"),
        ("presets: c4", r"lines.presets: 'c4' is not a list: write \[c4\]"),
        ("set: {c4.word: {min: 3}}", "lines.set: 'c4.word' .* nearest is c4.words"),
        ("set: {c4.words: {min: many}}", "lines.set.c4.words: 'many' is not a number"),
        ("presets: [c4, c4]", "occurs twice"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_right_one(fields: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lines(**yaml.safe_load(fields))


def test_a_limit_is_one_line_of_yaml_and_null_takes_it_off() -> None:
    text = f"Home sweet home.\nMenu of the day, every day\n{GOOD}[1]"
    assert texts_of(Lines().apply(batch([text]))) == [GOOD]
    loose = Lines(set={"end_mark": {"min": None}, "c4.words": {"min": 3}, "citation_numbers": {"max": None}})
    assert texts_of(loose.apply(batch([text]))) == [text]


# -- real text ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_prose_of_fifty_languages_keeps_its_text(shared_data: Path) -> None:
    """Articles and reports in full sentences lose no more than headings and lists to C4's line rules, in any script."""
    texts: dict[str, list[str]] = {}
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            for line in islice(file, 1500):
                record = json.loads(line)
                found = texts.setdefault(record["lang"][:2], [])
                if 800 < len(record["text"]) < 20_000 and len(found) < 40:
                    found.append(record["text"])
    texts = {language: found for language, found in texts.items() if len(found) >= 5}
    assert len(texts) >= 50
    lines = Lines(("c4_datatrove", "refinedweb"))
    kept = {}
    for language, found in texts.items():
        domain = "english" if language == "en" else "multilingual"
        result = lines.apply(batch(found, domain, language))
        after = [text for text, out in zip(texts_of(result), result.column("dropped_by").to_pylist()) if not out]
        assert all(is_subsequence(b, a) for a, b in zip(found, texts_of(result)))
        again = lines.apply(batch(after, domain, language))
        assert texts_of(again) == after, "lines that stay stay again"
        kept[language] = sum(map(len, after)) / sum(map(len, found))
    assert np.median(list(kept.values())) > 0.8
    for language in ("zh", "ja", "th", "hi", "ar", "ru", "hy", "bn", "ka", "ko", "km"):
        assert kept[language] > 0.7, language


def is_subsequence(after: str, before: str) -> bool:
    left = iter(before)
    return all(c in left for c in after)
