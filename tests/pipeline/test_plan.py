"""The plan has the steps and tasks of the run, merge rounds included, and grows as its corpus does."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer
from corpus import lay_out
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gristmill.pipeline.commands.plan import plan as plan_command
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import read_index
from gristmill.pipeline.engine.merging import merged, sent
from gristmill.pipeline.engine.sending import partition_of, send
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.plan.calibration import calibrated, of_run
from gristmill.pipeline.plan.cluster import Estimate, estimate
from gristmill.pipeline.plan.command import planned
from gristmill.pipeline.plan.described import parse
from gristmill.pipeline.plan.exchange import shuffle
from gristmill.pipeline.plan.prediction import Plan, compare, predicted
from gristmill.pipeline.plan.rates import Rates, canonical, shipped
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.run import run
from gristmill.settings.errors import ConfigError
from gristmill.storage.store import Store

CLUSTER = "200 nodes of 64 cores, s3, 256 GB, 25 Gbit/s"


@pytest.fixture(scope="module")
def config(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> Any:
    return load(str(lay_out(shared_data, tmp_path_factory.mktemp("plan"), language_model)))


@pytest.fixture(scope="module")
def foreseen(config: Any) -> Plan:
    return predicted(config, inventory(config.sources), 1)


@pytest.fixture(scope="module")
def record(config: Any, foreseen: Plan) -> dict[str, Any]:
    return run(config, inline=True).record


@pytest.fixture(scope="module")
def machine(language_model: Path) -> Any:
    """The shipped configuration; what it reads does not matter to a described corpus."""
    return load("pipeline.yaml")


@pytest.mark.slow
def test_steps_and_tasks_before_curation_are_those_of_the_run(foreseen: Plan, record: dict[str, Any]) -> None:
    real = [(step["name"], step["tasks"]) for step in record["steps"]]
    until = [name for name, _ in real].index("curate")
    mine = [(step.name, step.tasks) for step in foreseen.steps][:until]
    assert [name for name, _ in mine] == [name for name, _ in real[:until]]
    for (name, tasks), (_, actual) in zip(mine, real, strict=False):
        if ".merge" in name:  # of files: a task that was sent nothing writes none
            assert actual <= tasks <= 2 * actual, name
        else:
            assert tasks == actual, name
    assert {name for name, _ in real[:until] if ".merge" in name}


@pytest.mark.slow
def test_steps_after_curation_are_those_of_the_run_and_tasks_within_a_factor_of_two(
    foreseen: Plan, record: dict[str, Any]
) -> None:
    planned_steps = {step.name: step.tasks for step in foreseen.steps}
    real = {step["name"]: step["tasks"] for step in record["steps"]}
    assert {name.split(".merge")[0] for name in planned_steps} == {name.split(".merge")[0] for name in real}
    for name, tasks in real.items():
        if ".merge" not in name:
            assert tasks / 2 <= planned_steps[name] <= tasks * 2, name


def test_no_output_is_written_by_planning(config: Any, tmp_path: Path) -> None:
    elsewhere = replace(config, output=str(tmp_path / "out"))
    predicted(elsewhere, inventory(elsewhere.sources))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_comparison_has_a_row_for_every_step_of_either_side(foreseen: Plan, record: dict[str, Any]) -> None:
    rows = compare(foreseen, record)
    names = {row["step"] for row in rows}
    assert names == {step.name for step in foreseen.steps} | {step["name"] for step in record["steps"]} | {"total"}
    assert rows[-1]["seconds"] == record["seconds"]
    assert rows[-1]["bytes"] == sum(step["bytes_written"] for step in record["steps"])
    done = {**record, "steps": [{**step, "reused": step["tasks"]} for step in record["steps"]]}
    assert all(row["seconds"] is None for row in compare(foreseen, done))


def test_a_plan_and_rates_survive_json(foreseen: Plan) -> None:
    assert Plan.from_dict(json.loads(json.dumps(foreseen.to_dict()))) == foreseen
    rates = shipped()
    assert Rates.from_dict(json.loads(json.dumps(rates.to_dict()))) == rates


@pytest.mark.slow
def test_rates_of_a_run_foresee_that_run(config: Any, record: dict[str, Any]) -> None:
    rates = of_run(record["configuration"]["output"], shipped())
    again = predicted(config, inventory(config.sources), 1, rates)
    total = compare(again, record)[-1]
    assert total["predicted_bytes"] == pytest.approx(total["bytes"], rel=0.3)
    funnel = {entry["stage"]: entry for entry in record["funnel"]}
    for stage in ("rules", "exact_dedup", "near_dedup"):
        assert rates.stages[stage][0] == pytest.approx(funnel[stage]["kept"] / funnel[stage]["documents_in"])
    assert config.output in again.sources[0]


@pytest.mark.slow
def test_a_run_of_stages_that_are_not_here_gives_survivors_but_no_speeds(record: dict[str, Any]) -> None:
    own = {**record["configuration"], "stages": [*record["configuration"]["stages"], {"somebodys_own": {}}]}
    rates = calibrated(shipped(), {**record, "configuration": own}, "a run")
    assert "somebodys_own" in rates.source
    assert rates.steps == shipped().steps


def test_every_step_of_the_shipped_recipe_was_measured(foreseen: Plan) -> None:
    rates = shipped()
    assert {canonical(step.name) for step in foreseen.steps} - set(rates.steps) <= {
        "identity",
        "identity.key",
        "identity.first",
    }
    assert {"machine", "jsonl", "warc"} <= set(rates.kinds)


def test_an_empty_inventory_is_planned_too(config: Any) -> None:
    assert predicted(config, [], 3).bytes_written >= 0


# -- exchanges ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sending:
    rows: int
    partitions: int


def send_rows(task: Task[Sending, None]) -> None:
    rows, partitions = task.payload.rows, task.payload.partitions
    numbers = np.random.default_rng(task.index).integers(0, 1 << 63, rows, dtype=np.uint64) * np.uint64(2)
    send(task.output, pa.table({"n": pa.array(numbers)}), partition_of(numbers, partitions).astype(np.int64))


@settings(max_examples=15, deadline=None)
@given(senders=st.integers(1, 13), receivers=st.integers(1, 9), max_segments=st.integers(2, 5), rows=st.integers(0, 60))
def test_merge_rounds_are_those_of_the_engine(
    tmp_path_factory: pytest.TempPathFactory, senders: int, receivers: int, max_segments: int, rows: int
) -> None:
    engine = Engine(Store(str(tmp_path_factory.mktemp("exchange"))))
    step = engine.step("key", Step(send_rows), [Sending(rows, receivers)] * senders, None)
    incoming = merged(engine, step, receivers, max_segments)
    found = shuffle(senders, receivers, rows * senders, 0.0, 0.0, max_segments)
    assert [merge.tasks for merge in found.merges] == [len(sealed.manifests) for sealed in engine.sealed[1:]]
    assert found.files == max(len(each.paths) for each in incoming)
    real = sum(len(read_index(engine.store, path)) for path in sent(step))
    assert found.segments == pytest.approx(real, rel=0.25, abs=senders)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 2000), st.integers(0, 10**12))
def test_no_task_opens_more_files_than_allowed(senders: int, receivers: int, max_segments: int, rows: int) -> None:
    found = shuffle(senders, receivers, rows, 8.0 * rows, 500.0, max_segments)
    assert found.files <= max_segments
    assert all(merge.files <= max_segments for merge in found.merges)
    assert bool(found.merges) == (senders > max_segments)


def test_merge_rounds_appear_with_many_partitions_and_few_segments(machine: Any) -> None:
    many = replace(machine, plan=replace(machine.plan, max_segments=10))
    names = [step.name for step in estimate(parse(f"10 B tokens, {CLUSTER}"), many, shipped()).plan.steps]
    assert "near_dedup.key.merge0" in names
    assert "near_dedup.key.merge1" in names
    assert not [
        step.name
        for step in estimate(parse(f"10 B tokens, {CLUSTER}"), machine, shipped()).plan.steps
        if ".merge" in step.name
    ]


# -- corpora in words --------------------------------------------------------------------------------------------------


def of(machine: Any, words: str) -> Estimate:
    return estimate(parse(words), machine, shipped())


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(tokens=st.floats(1e8, 1e13), factor=st.floats(2, 50))
def test_a_larger_corpus_takes_more_of_everything(machine: Any, tokens: float, factor: float) -> None:
    small, large = (of(machine, f"{size:.0f} tokens, {CLUSTER}") for size in (tokens, tokens * factor))
    for name in ("core_seconds", "bytes_written", "published_bytes", "memory"):
        assert getattr(large.plan, name) >= getattr(small.plan, name) * (1 - 1e-6), name  # whole documents are rounded
    if len(large.plan.steps) == len(small.plan.steps):  # a merge round that only the larger one has saves it requests
        assert large.seconds >= small.seconds
    assert large.edges >= small.edges


@settings(max_examples=15, deadline=None)
@given(tokens=st.floats(1e11, 1e13), nodes=st.integers(1, 500))
def test_twice_the_nodes_halve_what_is_spread_and_nothing_else(machine: Any, tokens: float, nodes: int) -> None:
    one, two = (
        of(machine, f"{tokens:.0f} tokens, {n} nodes of 8 cores, s3, 64 GB, 10 Gbit/s") for n in (nodes, 2 * nodes)
    )
    for step, first, second in zip(one.plan.steps, one.times, two.times, strict=True):
        assert second.driver_s == first.driver_s
        assert second.seconds <= first.seconds * 1.0001 or step.tasks < 8 * 2 * nodes
        if step.tasks >= 2 * 8 * 2 * nodes and first.computing_s > 2 * step.longest_s:
            starting = 8 * 2 * nodes * 60 / step.core_seconds  # every worker has its first task once
            assert second.computing_s == pytest.approx(first.computing_s / 2, rel=0.01 + starting)
            assert second.network_s == pytest.approx(first.network_s / 2)
            assert second.requests_s == pytest.approx(first.requests_s / 2)


def test_the_largest_bound_is_the_estimate(machine: Any) -> None:
    slow = of(machine, "1 T tokens, 10 nodes of 64 cores, s3, 0.01 Gbit/s, 256 GB, 0.001 ms per request")
    assert next(time for time in slow.times if time.name == "read").bound == "network"
    waiting = of(machine, "1 T tokens, 10 nodes of 64 cores, s3, 4000 Gbit/s, 256 GB, 9000 ms per request")
    alone = {step.name for step in waiting.plan.steps if step.tasks == 1}
    assert {time.bound for time in waiting.times if time.name not in alone} <= {"requests", "driver"}
    assert waiting.seconds == pytest.approx(sum(max(time.bounds.values()) for time in waiting.times))


def test_a_task_that_fits_no_node_is_warned_of(machine: Any) -> None:
    small = of(machine, "8 T tokens, 200 nodes of 4 cores, 8 GB, s3")
    assert [sentence for sentence in small.warnings if sentence.startswith("near_dedup.components is a single task")]
    large = of(machine, "1 B tokens, 2 nodes of 4 cores, 64 GB, s3")
    assert not [sentence for sentence in large.warnings if "single task" in sentence]
    assert [s for s in of(machine, "1 B tokens, 2 nodes of 4 cores, local").warnings if "local output" in s]


def test_a_sample_s_sizes_are_raised_unless_set(machine: Any) -> None:
    words = parse(f"1 T tokens, {CLUSTER}")
    raised = estimate(words, machine, shipped())
    kept = estimate(words, machine, shipped(), ["plan.partition_bytes", "shards.tokens_per_shard"])
    assert kept.plan.steps[0].tasks == pytest.approx(raised.plan.steps[0].tasks * 32, rel=0.001)
    assert [note for note in raised.plan.notes if note.startswith("plan.partition_bytes is taken as 256_000_000")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("8 T tokens, 200 nodes of 64 cores, s3", {"tokens": 8e12, "nodes": 200, "cores": 64, "storage": "s3"}),
        ("8e12 tokens", {"tokens": 8e12, "nodes": 1}),
        ("1.5 trillion tokens", {"tokens": 1.5e12}),
        ("30 TB of text; 1,000 nodes with 96 vCPUs", {"size": 30e12, "form": "text", "nodes": 1000, "cores": 96}),
        ("2 TiB gz, 64 cores, 3 machines", {"size": 2 * 2**40, "form": "gz", "nodes": 3, "cores": 64}),
        ("100 TB of warc.gz, on gs", {"form": "warc.gz", "storage": "gs"}),
        ("30TB, 256 GB", {"size": 30e12, "memory": 256e9}),
        ("1 T tokens, 256 GB, 4x8 cores", {"memory": 256e9, "nodes": 4, "cores": 8}),
        ("1 T tokens, 100 Gbps, 512 GB of memory a node", {"network": 12.5e9, "memory": 512e9}),
        ("1 T tokens, 3 GB/s, documents of 4 kB", {"network": 3e9, "document_bytes": 4000}),
        ("1 T tokens, 4.2 bytes per token, 20 ms a request", {"bytes_per_token": 4.2, "request_s": 0.02}),
    ],
)
def test_words_mean_what_they_say(words: str, expected: dict[str, Any]) -> None:
    described = parse(words)
    assert {name: getattr(described, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "how large the corpus is"),
        ("200 nodes of 64 cores", "how large the corpus is"),
        ("8 T tokens, banana", "'banana' is not understood"),
        ("8 T tokens, 9 T tokens", "'9 T tokens' says again"),
        ("8 T tokens, 30 TB of text", "two sizes of one corpus"),
        ("0 tokens", "above 0"),
        ("1e30 tokens", "beyond what can be planned"),
        ("8 T tokens, 2.5 nodes", "not a whole number"),
        ("eight tokens", "not understood"),
    ],
)
def test_wrong_words_are_one_sentence(words: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        parse(words)
    assert "\n" not in str(error.value)


def test_what_was_not_said_is_said_to_be_assumed() -> None:
    assumed = " ".join(parse("8 T tokens, 2 nodes of 4 cores").assumed)
    assert "Gbit/s" in assumed
    assert "memory" in assumed
    assert "request" in assumed
    assert parse("8 T tokens, 2 nodes of 4 cores, 1 GB, s3, 1 Gbit/s, 5 ms a request").assumed == ()


# -- the command -------------------------------------------------------------------------------------------------------


def answer(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(plan_command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_plan_fits_a_terminal_of_80_columns(config: Any, tmp_path: Path, machine: Any) -> None:
    path = str(Path(config.output).parent / "pipeline.yaml")
    for arguments in ([path, "--workers", "2"], ["pipeline.yaml", "--corpus", f"8 T tokens, {CLUSTER}"]):
        lines = answer(*arguments).splitlines()
        assert max(map(len, lines)) <= 80
        assert "Where the numbers come from" in lines


def test_json_is_one_object(config: Any) -> None:
    path = str(Path(config.output).parent / "pipeline.yaml")
    assert Plan.from_dict(json.loads(answer(path, "--json"))).steps[0].name == "read"
    value = json.loads(answer("pipeline.yaml", "--json", "--corpus", f"8 T tokens, {CLUSTER}"))
    assert value["seconds"] == pytest.approx(sum(time["seconds"] for time in value["times"]))


@pytest.mark.slow
def test_rates_come_from_where_they_are_said_to(config: Any, record: dict[str, Any], tmp_path: Path) -> None:
    path = str(Path(config.output).parent / "pipeline.yaml")
    options: dict[str, Any] = {"corpus": None, "workers": 1}
    assert config.output in planned(path, [], measured=None, **options)[1]["sources"][0]
    fresh = [f"output={tmp_path}/none"]
    assert shipped().source in planned(path, fresh, measured=None, **options)[1]["sources"][0]
    assert config.output in planned(path, fresh, measured=config.output, **options)[1]["sources"][0]
    with pytest.raises(ValueError, match=r"no run\.json"):
        planned(path, [], measured=str(tmp_path), **options)


def test_a_corpus_in_words_is_planned_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a configuration nor what one names has to be there; one that is named has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    options: Any = {"corpus": "1 T tokens, 10 nodes of 64 cores, s3", "measured": None, "workers": None}
    lines, value = planned("pipeline.yaml", [], **options)
    assert lines[0] == "the shipped recipe, for a corpus in words: 1 T tokens, 10 nodes of 64 cores, s3"
    assert planned("pipeline.yaml", ["seed=2"], **options)[1] == value
    Path("mine.yaml").write_text("sources: [{name: far, uri: data/not-here.jsonl}]\nstages: [language, exact_dedup]\n")
    assert planned("mine.yaml", [], **options)[0][0].startswith("mine.yaml, for a corpus")
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        planned("gone.yaml", [], **options)
