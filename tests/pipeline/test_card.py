"""The data set card: what Hugging Face reads of it, what people read of it, and data that would break out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.pipeline.steps.record import RunRecord, parsed
from gristmill.pipeline.views import card as module
from gristmill.pipeline.views.card import card, configs, front_matter, licence, plain, size_category
from gristmill.pipeline.views.report.sums import NOT_STATED, SourceSums
from gristmill.storage.store import Store


@pytest.fixture(scope="module")
def record(small_output: Path) -> RunRecord:
    return parsed((small_output / "run.json").read_bytes())


def matter_of(text: str) -> dict[str, Any]:
    found = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.S)
    assert found is not None
    matter: dict[str, Any] = yaml.safe_load(found[1])
    return matter


def test_the_run_writes_it_and_it_says_what_the_run_counted(small_output: Path, record: RunRecord) -> None:
    text = (small_output / "README.md").read_text("utf-8")
    assert text == card(record, Store(str(small_output)))
    matter = matter_of(text)
    documents = sum(group["documents"] for group in record["groups"])
    assert matter["size_categories"] == [size_category(documents)]
    assert {"en", "code"} <= {*matter["language"]}
    names = [entry["config_name"] for entry in matter["configs"]]
    assert names[0] == "all"
    assert [entry["config_name"] for entry in matter["configs"] if entry.get("default")] == ["all"]
    assert {"english", "code", "english-en", "code-python"} <= {*names}
    for entry in matter["configs"]:
        [files] = entry["data_files"]
        assert list(small_output.glob(files["path"])), entry
    assert re.search(rf"\| all +\| +\| +{documents:,} \|", text)
    assert "ledger" not in names


def test_the_same_output_gives_the_same_card_wherever_and_whenever_it_was_run(
    small_output: Path, record: RunRecord
) -> None:
    moved = {**record, "started": 1.0, "seconds": 2.0, "host": "elsewhere", "workers": 99}
    store = Store(str(small_output))
    assert card(moved, store) == card(record, store)  # type: ignore[arg-type]


def test_hostile_licences_and_languages_stay_text(
    small_output: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = [
        "[x](javascript:alert(1))", "<script>alert(2)</script>", "a | b | c", "---\nlicense: mit", "`code`",
        "![](http://example.org/x.png)", "&lt;b&gt;", "\x1b[31mred", "*bold* _it_ ~~no~~", "# head", "\u202eright",
    ]  # fmt: skip
    sums = {"web": SourceSums(licences=dict.fromkeys(hostile, 1))}
    monkeypatch.setattr(module, "source_sums", lambda store: sums)
    groups = [{"domain": "code", "language": name, "documents": 1, "bytes": 9} for name in hostile]
    text = card({**record, "groups": groups}, Store(str(small_output)))  # type: ignore[typeddict-item]
    matter = matter_of(text)
    assert matter["license"] == "other"
    assert len({entry["config_name"] for entry in matter["configs"]}) == len(matter["configs"]) == len(hostile) + 2
    below = text.split("\n---\n", 1)[1]
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(|(?<!\\)<script|(?<!\\)!\[|\x1b|^# head", below, re.M)
    assert "&amp;lt;b&amp;gt;" in below
    rows = [line for line in below.splitlines() if line.startswith("|") and "alert" in line]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (3, 6) for row in rows)


def test_a_name_that_a_subset_may_not_have_is_changed_and_stays_apart() -> None:
    groups: Any = [{"domain": "code", "language": name, "documents": 1, "bytes": 1} for name in ("a/b", "a:b", "a_b")]
    made: Any = configs(groups)
    assert [entry["config_name"] for entry in made] == ["all", "code", "code-a_b", "code-a_b_", "code-a_b__"]
    assert made[2]["data_files"][0]["path"] == "curated/domain=code/language=a%2Fb/*.parquet"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, "unknown"), ({NOT_STATED: 4}, "unknown"), ({"MIT": 3}, "mit"),
        ({"MIT": 3, "Apache-2.0": 1}, ["apache-2.0", "mit"]),
        ({"MIT": 3, NOT_STATED: 1}, "other"), ({"my own": 1}, "other"), ({"MIT": 1, "mit": 1}, "mit"),
    ],
)  # fmt: skip
def test_a_licence_is_named_where_every_document_states_one(stated: dict[str, int], expected: Any) -> None:
    assert licence({"a": SourceSums(licences=stated)}) == expected


def test_sizes_are_those_of_the_hub() -> None:
    assert [size_category(n) for n in (0, 999, 1_000, 999_999, 10**6, 10**12)] == [
        "n<1K", "n<1K", "1K<n<10K", "100K<n<1M", "1M<n<10M", "n>1T"
    ]  # fmt: skip


def test_with_the_ledger_it_is_a_subset_too(record: RunRecord) -> None:
    matter: Any = front_matter(record, {}, ledger=True)
    assert matter["configs"][-1]["data_files"][0]["path"] == "ledger/**/*.parquet"
    assert json.dumps(matter)
    assert plain("near_dedup") == r"near\_dedup"
