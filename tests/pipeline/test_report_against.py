"""A run held against another: what differs is listed, what does not is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gristmill.pipeline.cli import app
from gristmill.pipeline.steps.record import parsed
from gristmill.pipeline.views.report.against import compare
from gristmill.storage.store import Store


def changed(output: Path, folder: Path, change: Any) -> Path:
    """A copy of the output's record after `change` was made to it."""
    folder.mkdir()
    record = json.loads((output / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def against(output: Path, other: Path) -> Any:
    return compare(parsed((output / "run.json").read_bytes()), Store(str(other)))


def test_a_run_against_itself_differs_in_nothing(small_output: Path) -> None:
    found = against(small_output, small_output)
    assert [value for key, value in found.items() if key != "other"] == [[]] * 8


def test_each_kind_of_difference_is_told(small_output: Path, tmp_path: Path) -> None:
    def change(record: Any) -> None:
        record["inputs"]["sources"]["gone"] = {"files": 1, "bytes": 7}
        record["funnel"][-1]["dropped"] += 3
        record["funnel"][-1]["rules"]["rules.once"] = [3, 30]
        record["groups"].pop()
        record["configuration"]["seed"] = 77
        record["configuration"]["runtime"]["workers"] = 99
        record["libraries"]["pyarrow"] = "0.1"

    found = against(small_output, changed(small_output, tmp_path / "other", change))
    assert found["sources"] == [{"name": "gone", "before": 7, "now": None}]
    record = json.loads((small_output / "run.json").read_text())
    last, size = record["funnel"][-1], sum(group["bytes"] for group in record["groups"])
    taken = last["documents_in"]
    assert {change["name"]: change["before"] for change in found["stages"]} == {
        last["stage"]: (last["dropped"] + 3) / taken
    }
    assert found["rules"] == [{"name": f"{last['stage']}: rules.once", "before": 3 / taken, "now": None}]
    lost = record["groups"][-1]
    [gone] = [change for change in found["languages"] if change["before"] is None]
    assert gone == {"name": f"{lost['domain']}/{lost['language']}", "before": None, "now": lost["bytes"] / size}
    assert found["settings"] == [{"name": "seed", "before": "77", "now": str(record["configuration"]["seed"])}]
    assert [each["name"] for each in found["libraries"]] == ["pyarrow"]
    assert {each["name"] for each in found["totals"]} >= {"documents curated", "curated bytes"}


def test_a_limit_of_a_rule_and_a_column_of_a_source_are_named_by_their_keys(small_output: Path, tmp_path: Path) -> None:
    def change(record: Any) -> None:
        [rules] = [stage["rules"] for stage in record["configuration"]["stages"] if "rules" in stage]
        rules["set"] = {"words": {"min": 100}}
        record["configuration"]["sources"][0]["columns"]["url"] = "link"

    found = against(small_output, changed(small_output, tmp_path / "other", change))
    source = json.loads((small_output / "run.json").read_text())["configuration"]["sources"][0]["name"]
    names = [each["name"] for each in found["settings"]]
    assert set(names) == {"stages.rules.set.words.min", f"sources.{source}.columns.url"}


def test_the_command_writes_the_section_and_prints_the_comparison(small_output: Path, tmp_path: Path) -> None:
    other = changed(small_output, tmp_path / "<other>", lambda record: record["configuration"].update(seed=77))
    mine = shutil.copytree(small_output, tmp_path / "mine")
    done = CliRunner().invoke(app, ["report", str(mine), "--against", str(other), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["against"]["settings"][0]["before"] == "77"
    page = (mine / "report" / "index.html").read_text("utf-8")
    assert 'id="against"' in page
    assert "&lt;other&gt;" in page
    assert 'id="kept"' in page


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"funnel": []}', "\x00"])
def test_what_is_no_record_of_a_run_is_one_sentence(small_output: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run\.json: (missing|not the record of a run)"):
        against(small_output, tmp_path)
