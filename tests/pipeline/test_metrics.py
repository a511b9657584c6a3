"""metrics.prom is what Prometheus' own parser reads, says what the steps counted, and cannot stop a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.engine import metrics
from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.engine import Engine, Silent
from gristmill.pipeline.engine.manifest import File, Manifest, Role, Sealed
from gristmill.pipeline.engine.metrics import PATH, Metrics
from gristmill.pipeline.engine.task import Step, Task
from gristmill.storage.store import Store

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Every sample by name and labels, through the parser of prometheus_client; it raises on what is not valid."""
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
    found: Samples = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type == "gauge", family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "a sample occurs once"
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"gristmill_{name}", tuple(sorted(labels.items()))]


def written(store: Store) -> Samples:
    return parsed(store.read(PATH).decode())


def task(work: Task[None, int]) -> None:
    """Drops one of ten documents by a rule whose name wants escaping."""
    counts = work.counts("sieve")
    counts.documents_in, counts.bytes_in = 10, 1000
    counts.kept, counts.bytes_kept = 9, 950
    counts.dropped, counts.bytes_dropped = 1, 50
    counts.count_rule('sieve."fine"\\n', 1, 50)
    with work.output.open(Role.DOCUMENTS, ".bin") as file:
        file.write(b"x" * 64)


class Heard(Silent):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, step: str, tasks: int, done: int) -> None:
        self.calls.append(f"start {step} {tasks} {done}")

    def advance(self, step: str, manifest: Manifest) -> None:
        self.calls.append(f"advance {step}")

    def finish(self, sealed: Sealed) -> None:
        self.calls.append(f"finish {sealed.name}")


def test_a_step_says_its_tasks_documents_bytes_and_rules(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    Engine(store, progress=Metrics(store, Silent())).step("mill/one", Step(task), [None] * 4, 1)
    found = written(store)
    for name, value in {"tasks": 4, "tasks_done": 4, "tasks_reused": 0, "finished": 1, "written_bytes": 256}.items():
        assert of(found, f"step_{name}", step="mill/one") == value
    where = {"step": "mill/one", "stage": "sieve"}
    figures = {"documents_in": 40, "documents_kept": 36, "documents_dropped": 4, "documents_quarantined": 0}
    for name, value in {**figures, "bytes_in": 4000, "bytes_kept": 3800}.items():
        assert of(found, f"stage_{name}", **where) == value
    rule = {**where, "rule": 'sieve."fine"\\n'}
    assert (of(found, "rule_documents", **rule), of(found, "rule_bytes", **rule)) == (4, 200)


def test_a_step_that_was_done_before_counts_as_reused_and_whole(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    Engine(store).step("mill", Step(task), [None] * 3, 1)
    Engine(store, progress=Metrics(store, Silent())).step("mill", Step(task), [None] * 3, 1)
    found = written(store)
    assert of(found, "step_tasks_reused", step="mill") == of(found, "step_tasks_done", step="mill") == 3
    assert of(found, "stage_documents_in", step="mill", stage="sieve") == 30


def test_the_run_says_its_version_output_and_start(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    Metrics(store, Silent()).start("mill", 2, 1)
    found = written(store)
    ((_, labels),) = [key for key in found if key[0] == "gristmill_run_info"]
    assert dict(labels)["output"] == store.shown
    assert dict(labels)["version"]
    assert 0 < of(found, "run_started_timestamp_seconds") <= of(found, "run_updated_timestamp_seconds")
    assert of(found, "step_finished", step="mill") == 0
    assert (of(found, "step_tasks_done", step="mill"), of(found, "step_tasks_reused", step="mill")) == (1, 1)


def test_between_start_and_finish_the_file_is_written_once_an_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: clock[0])
    store = Store(str(tmp_path / "out"))
    one = Metrics(store, Silent())
    manifest = Manifest(0, (File(Role.DOCUMENTS, "b", 1, 7, ""),), {"sieve": Counts(1, kept=1)}, None)
    one.start("mill", 9, 0)
    seen = []
    for _ in range(9):
        clock[0] += metrics.INTERVAL_S / 3
        one.advance("mill", manifest)
        seen.append(of(written(store), "step_tasks_done", step="mill"))
    assert seen == [0, 0, 3, 3, 3, 6, 6, 6, 9]
    assert of(written(store), "step_seconds", step="mill") == pytest.approx(3 * metrics.INTERVAL_S)
    assert of(written(store), "step_written_bytes", step="mill") == 63


def test_everything_is_passed_on(tmp_path: Path) -> None:
    store, heard = Store(str(tmp_path / "out")), Heard()
    Engine(store, progress=Metrics(store, heard)).step("mill", Step(task), [None] * 2, 1)
    assert heard.calls == ["start mill 2 0", "advance mill", "advance mill", "finish mill"]


def test_a_file_that_cannot_be_written_does_not_stop_the_step(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    (tmp_path / "out" / PATH).mkdir(parents=True)  # the name is taken by a folder, so the move fails
    sealed = Engine(store, progress=Metrics(store, Silent())).step("mill", Step(task), [None], 1)
    assert len(sealed.manifests) == 1


@given(st.text(), st.text(min_size=1))
def test_any_name_comes_back_through_the_parser(step: str, rule: str) -> None:
    counts = Counts(1, dropped=1, rules={rule: [1, 2]})
    one = Metrics(Store("/dev/null/out"), Silent())  # nothing can be written there
    one.finish(Sealed(step, "f", "g", (Manifest(0, (), {"sieve": counts}, None),)))
    assert of(parsed(one.text()), "rule_bytes", step=step, stage="sieve", rule=rule) == 2
