"""A task that is taken over from an earlier fingerprint writes what it would write now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus import differences, lay_out_small, tree

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine import identity
from gristmill.pipeline.run import run

pytestmark = pytest.mark.slow

FIXED = "blends.pretrain={domains: {english: 1}, tokens: 90000, max_epochs: 20}"
"""One unit, so that its target is the same whatever the corpus holds."""


@pytest.fixture(scope="module")
def config_path(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    """A corpus that was run once, with a number of tokens that does not follow from what there is."""
    path = lay_out_small(shared_data, tmp_path_factory.mktemp("taken"), language_model)
    run(load(str(path), [FIXED]), inline=True)
    return path


def compared(config_path: Path, fresh: Path, *overrides: str) -> tuple[list[str], int]:
    """(files that differ between the output as it is brought up to date and one from nothing, tasks taken over)."""
    again = run(load(str(config_path), [FIXED, *overrides]), inline=True)
    anew = run(load(str(config_path), [FIXED, *overrides, f"output={fresh}"]), inline=True)
    adopted = sum(step["adopted"] for step in again.record["steps"])
    return differences(tree(Path(again.output)), tree(Path(anew.output))), adopted


def test_a_library_that_no_step_calls_recomputes_nothing(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = identity.version
    extra = {"fasttext": "99", "kenlm": "99", "trafilatura": "99"}
    monkeypatch.setattr(identity, "version", lambda name: extra.get(name) or version(name))
    identity.installed.cache_clear()
    record = run(load(str(config_path), [FIXED]), inline=True).record
    monkeypatch.undo()
    identity.installed.cache_clear()
    assert {name: record["libraries"].get(name) for name in extra} == extra
    assert sum(step["computed"] + step["adopted"] for step in record["steps"]) == 0


@pytest.mark.parametrize(
    "change",
    ["shards.holdout=0.021", "shards.holdout=0.3", 'stages.rules.set."gopher_quality.words".min=55'],
)
def test_a_changed_configuration_writes_what_a_run_from_nothing_writes(
    config_path: Path, tmp_path: Path, change: str
) -> None:
    assert compared(config_path, tmp_path / "fresh", change)[0] == []


def test_a_changed_document_recomputes_its_partition_and_writes_what_a_run_from_nothing_writes(
    config_path: Path, tmp_path: Path
) -> None:
    path = config_path.parent / "input" / "english.jsonl"
    lines = path.read_text("utf-8").split("\n")
    record = json.loads(lines[5])
    words = record["text"].split(" ")
    lines[5] = json.dumps({**record, "text": " ".join(words[::-1])}, ensure_ascii=False)
    path.write_text("\n".join(lines), encoding="utf-8")
    different, adopted = compared(config_path, tmp_path / "fresh")
    assert different == []
    assert adopted > 10
