"""Whole runs on real documents: same bytes whatever the workers, listing or interruption, and no work done twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpus import differences, lay_out, tree

from gristmill.pipeline.config.keys import Config, load
from gristmill.pipeline.engine.accounting import AccountingError
from gristmill.pipeline.engine.engine import Engine, Inline, StepFailed
from gristmill.pipeline.engine.manifest import Manifest, Sealed
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.run import Driver, Result, run
from gristmill.pipeline.steps.first_pass import Grouped
from gristmill.pipeline.steps.selection import PartitionInput, Selecting
from gristmill.pipeline.upkeep.verify import verify
from gristmill.storage.lease import Lease
from gristmill.storage.store import Store

pytestmark = pytest.mark.slow


@dataclass
class Recorder:
    """Progress that remembers which tasks were run, and stops the run after some of them."""

    stop_after: int | None = None
    run: dict[str, int] = field(default_factory=dict)

    def start(self, step: str, tasks: int, done: int) -> None: ...

    def advance(self, step: str, manifest: Manifest) -> None:
        self.run[step] = self.run.get(step, 0) + 1
        if self.stop_after is not None and sum(self.run.values()) >= self.stop_after:
            raise KeyboardInterrupt

    def finish(self, sealed: Sealed) -> None: ...


@pytest.fixture(scope="module")
def config_path(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Path:
    return lay_out(shared_data, tmp_path_factory.mktemp("corpus"), language_model)


@pytest.fixture(scope="module")
def undisturbed(config_path: Path) -> tuple[Path, Recorder, Result]:
    recorder = Recorder()
    result = run(load(str(config_path)), inline=True, progress=recorder)
    return Path(result.output), recorder, result


def configured(config_path: Path, output: Path, *overrides: str) -> Config:
    return load(str(config_path), [f"output={output}", *overrides])


def test_there_are_more_partitions_than_workers_and_something_is_left(undisturbed: Any) -> None:
    output, recorder, result = undisturbed
    assert recorder.run["read"] > 4
    record = json.loads((output / "run.json").read_text())
    left = {entry["stage"]: entry["kept"] for entry in record["funnel"]}
    assert left["read"] > left["rules"] > left["exact_dedup"] > left["near_dedup"] > 500
    assert result.record["blends"]["pretrain"]["tokens"] > 100_000
    assert verify(str(output)) == []


def test_the_ledger_explains_every_document_that_left(undisturbed: Any) -> None:
    output, _, result = undisturbed
    gone = sum(
        entry["dropped"] + entry["quarantined"] for entry in result.record["funnel"] if "/" not in entry["stage"]
    )
    files = list((output / "ledger").rglob("part-*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist() if row["action"] != "edited"]
    assert len(rows) == gone
    assert all(row["rule"] for row in rows)
    limits = [row for row in rows if row["rule"].startswith("gopher_quality.")]
    assert limits
    assert all(row["value"] is not None and row["limit"] is not None and row["failed"] for row in limits)
    duplicates = [row for row in rows if row["rule"] == "near_dedup.duplicate"]
    curated = {i for p in (output / "curated").rglob("*.parquet") for i in pq.read_table(p).column("id").to_pylist()}
    assert duplicates
    assert {row["survivor"] for row in duplicates} <= curated


def test_shares_are_met_within_a_tenth_of_a_point(undisturbed: Any) -> None:
    blend = undisturbed[2].record["blends"]["pretrain"]
    for domain, target in blend["target_tokens_by_domain"].items():
        share = blend["tokens_by_domain"][domain] / blend["tokens"]
        assert abs(share - target / sum(blend["target_tokens_by_domain"].values())) < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_workers_write_the_same_bytes(
    undisturbed: Any, config_path: Path, tmp_path: Path, workers: int, one_ray: None
) -> None:
    result = run(configured(config_path, tmp_path / "out"), workers=workers)
    assert differences(tree(Path(result.output)), tree(undisturbed[0])) == []


def test_a_shuffled_listing_writes_the_same_bytes(
    undisturbed: Any, config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gristmill.pipeline.readers.inventory

    find = gristmill.pipeline.readers.inventory.find
    monkeypatch.setattr(gristmill.pipeline.readers.inventory, "find", lambda uri: list(reversed(find(uri))))
    result = run(configured(config_path, tmp_path / "out"), inline=True)
    assert differences(tree(Path(result.output)), tree(undisturbed[0])) == []


def test_a_run_that_was_stopped_resumes_to_the_same_bytes_and_recomputes_nothing_committed(
    undisturbed: Any, config_path: Path, tmp_path: Path
) -> None:
    output, whole, _ = undisturbed
    total = sum(whole.run.values())
    first = Recorder(stop_after=total // 2)
    config = configured(config_path, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run(config, inline=True, progress=first)
    second = Recorder()
    run(config, inline=True, progress=second)
    assert sum(first.run.values()) + sum(second.run.values()) == total
    assert differences(tree(tmp_path / "out"), tree(output)) == []
    third = Recorder()
    run(config, inline=True, progress=third)
    assert third.run == {}


def steps(recorder: Recorder) -> set[str]:
    return {step.split(".merge")[0] for step in recorder.run}


def test_a_changed_blend_reruns_blend_and_shards_only(undisturbed: Any, config_path: Path) -> None:
    output, *_ = undisturbed
    recorder = Recorder()
    run(configured(config_path, output, "blends.pretrain.max_epochs=2"), inline=True, progress=recorder)
    assert steps(recorder)
    assert all(step.startswith("blend/pretrain") for step in steps(recorder))


def test_a_second_named_blend_is_all_that_is_added(undisturbed: Any, config_path: Path) -> None:
    output, *_ = undisturbed
    recorder = Recorder()
    second = "blends.half={domains: {english: 0.5, code: 0.5}, tokens: 60000, max_epochs: 4}"
    result = run(configured(config_path, output, second), inline=True, progress=recorder)
    assert {step for step in steps(recorder) if "/half/" in step}
    assert not {step for step in steps(recorder) if not step.startswith("blend/")}
    shares = result.record["blends"]["half"]["tokens_by_domain"]
    documents = pq.read_table(sorted((output / "shards" / "half").glob("*.docs.parquet"))[0])
    longest = max(documents.column("tokens").to_pylist())  # a chapter of a novel: half the blend's English
    assert all(abs(shares[domain] - 30_000) <= longest / 2 for domain in ("english", "code"))
    assert sorted(path.name for path in (output / "shards").iterdir()) == ["half", "pretrain"]


def test_a_changed_limit_reruns_nothing_before_the_rules(undisturbed: Any, config_path: Path) -> None:
    output, *_ = undisturbed
    recorder = Recorder()
    run(
        configured(config_path, output, "stages.rules.set={gopher_quality.words: {min: 60}}"),
        inline=True,
        progress=recorder,
    )
    assert "rules" in steps(recorder)
    assert not {step for step in steps(recorder) if step == "read" or step.startswith("identity")}


def test_a_raised_version_reruns_the_stage_and_what_follows(
    undisturbed: Any, config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.stages.exact_dedup import ExactDedup

    output, *_ = undisturbed
    monkeypatch.setattr(ExactDedup, "version", ExactDedup.version + 1)
    recorder = Recorder()
    run(configured(config_path, output), inline=True, progress=recorder)
    assert {"exact_dedup", "near_dedup", "curate", "tokenize", "blend/pretrain/write"} <= steps(recorder)
    assert not steps(recorder) & {"read", "rules"}


def test_a_partition_that_fails_stops_the_run_or_is_left_out_on_request(
    config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gristmill.pipeline.steps.selection

    select = gristmill.pipeline.steps.selection.SELECT

    def failing(task: Task[PartitionInput, Selecting]) -> Grouped:
        if task.index == 2:
            raise OSError("the disk of this worker is gone")
        return select.function(task)

    monkeypatch.setattr(gristmill.pipeline.steps.selection, "SELECT", replace(select, function=failing))
    config = configured(config_path, tmp_path / "out")
    with pytest.raises(
        StepFailed, match=r"rules: 1 of \d+ tasks failed after 3 attempts, first task 2: OSError: the disk"
    ):
        run(config, inline=True)
    partial = run(config, inline=True, allow_missing=True)
    assert [step["missing"] for step in partial.record["steps"] if step["name"] == "rules"] == [[2]]
    monkeypatch.setattr(gristmill.pipeline.steps.selection, "SELECT", select)
    recorder = Recorder()
    whole = run(config, inline=True, progress=recorder)
    assert recorder.run["rules"] == 1
    curated = [sum(group["documents"] for group in result.record["groups"]) for result in (partial, whole)]
    assert curated[0] < curated[1]


def test_a_planted_loss_of_one_document_stops_the_run(
    config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gristmill.pipeline.steps.selection

    kept = gristmill.pipeline.steps.selection.take_out

    def careless(*arguments: Any) -> Any:
        table = kept(*arguments)
        if arguments[3].kept > 20:
            arguments[3].kept -= 1
        return table

    monkeypatch.setattr(gristmill.pipeline.steps.selection, "take_out", careless)
    config = configured(config_path, tmp_path / "out")
    store = Store(config.output)
    with Lease(store), pytest.raises(AccountingError, match="rules, partition"):
        Driver(config, Engine(store, Inline()), inventory(config.sources)).run()
