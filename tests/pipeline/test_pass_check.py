"""What the counts of the first pass say of a source: shares, thresholds, and the counting itself, from batches."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.readers.rows import Row as ReadRow
from gristmill.pipeline.readers.rows import quarantined, row_batch
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.first_pass import Brought, Volume, brought_by, count_encodings, count_units
from gristmill.pipeline.steps.pass_check import Passed, check

ROOT = Path(__file__).parents[2]


def batch(*rows: ReadRow) -> pa.RecordBatch:
    return row_batch(list(rows), SourceSpec("a", "x"), 1_000_000)


def test_records_are_counted_from_the_batches_of_the_readers() -> None:
    rows = [
        ReadRow("p", 0, "text", own_id="1", timestamp=5),
        ReadRow("p", 1, " \n\u3000", own_id="2", metadata='{"timestamp":"no date"}'),
        ReadRow("p", 2, "", metadata='{"n":1}'),
        ReadRow("p", 3, None, b"<p>a page</p>", "text/html"),
        quarantined("p", 4, "read.no_text", 10),
    ]
    assert brought_by(batch(*rows)) == Brought(documents=4, empty=2, ids=2, dates=1, unread_dates=1)
    assert brought_by(batch(rows[0]).slice(0, 0)) == Brought()
    assert Brought(1, 2, 3, 4, 5) + Brought(1, 1, 1, 1, 1) == Brought(2, 3, 4, 5, 6)


def test_encodings_are_counted_from_what_the_reader_of_files_tells() -> None:
    found: Counter[str] = Counter()
    rows = [ReadRow("p", i, "t", metadata=m) for i, m in enumerate(('{"encoding":"cp1252"}', None, '{"a":1}'))]
    count_encodings(found, batch(*rows, ReadRow("p", 9, "t", metadata='{"encoding":"cp1252"}')))
    assert found == {"cp1252": 2}


def test_units_are_counted_by_domain_category_and_language() -> None:
    table = pa.table(
        {
            "domain": ["english", "english", None],
            "category": ["web", "web", "misc"],
            "language": ["en", "en", "de"],
            "text_bytes": pa.array([1, 2, 4], pa.int64()),
        }
    )
    units: dict[str, Volume] = {}
    count_units(units, table)
    count_units(units, table.slice(0, 1))
    assert units == {"english\0web\0en": Volume(3, 4), "\0misc\0de": Volume(1, 4)}


def counts(stage: str, documents: int, rules: dict[str, int]) -> dict[str, Counts]:
    return {stage: Counts(documents_in=documents, rules={rule: [n, 1] for rule, n in rules.items()})}


def source(spec: dict[str, Any] | None = None, **fields: Any) -> Passed:
    given: dict[str, Any] = {
        "brought": Brought(1000),
        "units": {("english", "web", "en"): Volume(1000, 10_000)},
        "counts": counts("read", 1000, {}),
    }
    return Passed(SourceSpec("a", "x", **(spec or {})), **(given | fields))


def kinds(found: Passed) -> dict[str, str]:
    return {finding.kind: finding.sentence for finding in check([found])}


@pytest.mark.parametrize(
    ("spec", "fields", "kind", "says"),
    [
        ({}, {"counts": counts("read", 1000, {"read.no_text": 10})}, "text.none", "looked for under `text`"),
        (
            {},
            {"counts": counts("read", 1000, {"read.malformed_json": 20, "read.no_text": 1})},
            "read.quarantined",
            "20 of 1,000 records cannot be read (2.0%): 20 as read.malformed_json",
        ),
        ({}, {"brought": Brought(1000, empty=50)}, "text.empty", "50 of 1,000 texts are empty or white space (5.0%)"),
        ({"columns": {"id": "key"}}, {"brought": Brought(1000, ids=700)}, "ids.empty", "no id under `key` (30.0%)"),
        (
            {"columns": {"timestamp": "date"}},
            {"brought": Brought(1000, dates=90, unread_dates=10)},
            "dates.unread",
            "10 of 100 dates under `date` cannot be read or cannot be (10.0%)",
        ),
        ({}, {"encodings": Counter(cp1252=30)}, "encoding.other", "30 of 1,000 files are not UTF-8"),
        ({}, {"units": {("code", "misc", "python"): Volume(9, 900)}}, "code.unsaid", "add `domain: code`"),
        (
            {"domain": "english"},
            {"counts": counts("read", 1000, {}) | counts("language", 1000, {"language.unexpected": 100})},
            "domain.unexpected",
            "100 of 1,000 documents are not english (10.0%)",
        ),
        (
            {},
            {"counts": counts("read", 1000, {}) | counts("language", 1000, {"language.score": 600})},
            "language.dropped",
            "600 of 1,000 documents leave by their language",
        ),
    ],
)
def test_each_share_is_a_sentence(spec: dict[str, Any], fields: dict[str, Any], kind: str, says: str) -> None:
    found = kinds(source(spec, **fields))
    assert list(found) == [kind]
    assert found[kind].startswith("source a: ")
    assert says in found[kind]


def test_what_is_rare_or_stated_is_not_worth_a_sentence() -> None:
    assert kinds(source()) == {}
    assert kinds(source(counts=counts("read", 1000, {"read.no_text": 9}))) == {}
    code = {("code", "misc", "python"): Volume(9, 900)}
    for stated in ({"domain": "code"}, {"format": "tree"}, {"encoding": "cp1252"}):
        extra = {"encodings": Counter(cp1252=300)} if "encoding" in stated else {"units": code}
        assert kinds(source(stated, **extra)) == {}


def test_every_kind_of_finding_is_documented() -> None:
    sources = [*(ROOT / "pipeline" / "steps").glob("*_check.py"), ROOT / "pipeline" / "plan" / "foreseen.py"]
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for path in [*sources, ROOT / "pipeline" / "run.py"]:
        for kind in re.findall(r'(?:Finding|finding)\(\s*"([a-z_.]+)"', path.read_text("utf-8")):
            assert f"`{kind}`" in told, kind
