"""Runs on real Rays on this machine while workers, nodes and drivers are killed, and jobs submitted to two raylets.

Every Ray here is started by these tests on free ports with a temporary directory of its own, and ended by its handles.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attack
import pytest
from corpus import differences, tree
from raylets import ROOT, Drive, Raylets, alive, catch, descendants, end, environment, raylet_of

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run
from gristmill.pipeline.upkeep.verify import verify

pytestmark = pytest.mark.slow

PHASES = {  # what is attacked -> a step of it
    "curation": "read",
    "exchange": "near_dedup.key",
    "tokenizing": "tokenize",
    "shard building": "blend/pretrain/write",
}
TIMES = 6
"""So many times the smallest corpus: its tasks take long enough to be caught at work."""


@pytest.fixture(scope="module")
def config_path(shared_data: Path, language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attack.lay_out_small(shared_data, tmp_path_factory.mktemp("cluster"), language_model, TIMES)


@pytest.fixture(scope="module")
def undisturbed(config_path: Path) -> Path:
    """The output of a run in one process."""
    return Path(run(load(str(config_path)), inline=True).output)


def named(step: str) -> str:
    return step.replace("/", "-")


def ended_as(undisturbed: Path, output: Path, drive: Drive) -> None:
    """The run came to its end with the same bytes, each task committed once."""
    assert drive.until("end")
    assert drive.process.wait() == 0
    commits = [tuple(event[1:]) for event in drive.events if event[0] == "commit"]
    assert len(set(commits)) == len(commits)
    assert differences(tree(output), tree(undisturbed)) == []
    assert verify(str(output)) == []


# A Ray of the run's own


def test_workers_killed_in_mid_task_in_every_phase_change_no_byte(
    undisturbed: Path, config_path: Path, tmp_path: Path
) -> None:
    with Drive(config_path, tmp_path / "out", list(PHASES.values())) as drive:
        for step in PHASES.values():
            assert drive.until("start", named(step))
            raylet = raylet_of(drive.process.pid)
            drive.go()
            os.kill(catch(raylet, step), signal.SIGKILL)
        ended_as(undisturbed, tmp_path / "out", drive)


def test_a_killed_driver_takes_its_ray_with_it_and_the_same_command_goes_on_at_once(
    undisturbed: Path, config_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with Drive(config_path, output, ["near_dedup.key"]) as drive:
        assert drive.until("start", "near_dedup.key")
        started = descendants(drive.process.pid)
        drive.go()
        assert drive.until("commit", "near_dedup.key")
        drive.process.kill()
        drive.process.wait()
    before = attack.committed(output)
    with Drive(config_path, output, []) as second:
        ended_as(undisturbed, output, second)
    again = {tuple(event[1:]) for event in second.events if event[0] == "commit"}
    assert before.keys().isdisjoint(again)
    left = alive(started)
    end(started)
    # the agents, which hold nothing of the run, look for their control plane for a minute before they end
    assert [name for name in left.values() if not name.endswith("Agent")] == []


@pytest.mark.alone  # the node's memory is the machine's, of which only so much may be in use
def test_a_task_that_its_node_cannot_hold_or_that_always_dies_ends_in_a_sentence_with_the_remedy(
    tmp_path: Path,
) -> None:
    facts = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()}
    used = facts["MemTotal"] - facts["MemAvailable"]
    variables = {
        "RAY_memory_usage_threshold": f"{(used + 1.5e9) / facts['MemTotal']:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
        "RAY_task_oom_retry_delay_base_ms": "100",
    }
    command = [sys.executable, attack.__file__, "lose", str(tmp_path)]
    answer = subprocess.run(command, env=environment(**variables), stdout=subprocess.PIPE, text=True, check=True)
    killed, hungry, refused, unsendable = answer.stdout.splitlines()
    remedy = "; lower plan.partition_bytes, or raise runtime.memory_per_worker so that fewer tasks share a node; "
    assert killed.startswith("killed, task 0: its process was killed or crashed, 4 times" + remedy)
    assert hungry.startswith("hungry, task 0: Ray ended it as its node ran out of memory, 4 times" + remedy)
    assert "first task 0: MemoryError: the system refused it memory" + remedy in refused
    assert "first task 0: RuntimeError: KeyError: 'of no use elsewhere'; " in unsendable
    assert len((tmp_path / "tries").read_text()) == 4


# A cluster of two raylets


@pytest.fixture(scope="module", params=["disabled", "token"])
def raylets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    with Raylets(tmp_path_factory.mktemp("raylets"), request.param) as cluster:
        yield cluster


one_mode = pytest.mark.parametrize("raylets", ["disabled"], indirect=True)


@one_mode
def test_nodes_killed_in_every_phase_change_no_byte(
    raylets: Raylets, undisturbed: Path, config_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with Drive(config_path, output, list(PHASES.values()), **raylets.variables, RAY_ADDRESS=raylets.address) as drive:
        for step in PHASES.values():
            assert drive.until("start", named(step))
            if raylets.node.poll() is not None:
                raylets.start_node()
            with raylets.head_at_rest():
                drive.go()
                raylets.kill_node(catch(raylet_of(raylets.node.pid), step))
        ended_as(undisturbed, output, drive)
    raylets.start_node()


@one_mode
def test_an_output_that_a_node_does_not_see_fails_the_job_with_a_sentence(raylets: Raylets, config_path: Path) -> None:
    if not raylets.hides:
        pytest.skip("a mount namespace for the second node is not allowed here")
    output = raylets.hidden / "out"
    job = raylets.submit(str(config_path), "--output", str(output))
    assert job.returncode != 0
    assert f"gristmill: output {output} is not the same folder on " in job.stdout
    assert "Traceback" not in job.stdout
    (name,) = set(re.findall(r"raysubmit_\w+", job.stdout))
    assert raylets.status(name) == "FAILED"
    assert not [path for path in output.rglob("*") if path.is_file()]


@one_mode
def test_an_output_in_the_jobs_copy_of_the_working_directory_is_refused(raylets: Raylets, config_path: Path) -> None:
    job = raylets.submit(str(config_path), "--output", "out")
    assert job.returncode != 0
    assert "copy of the working directory, which Ray deletes" in job.stdout


@one_mode
def test_a_submitted_job_writes_the_same_bytes_and_its_tasks_have_their_steps_names(
    raylets: Raylets, undisturbed: Path, config_path: Path, tmp_path: Path
) -> None:
    job = raylets.submit(str(config_path), "--output", str(tmp_path / "out"))
    assert job.returncode == 0, job.stdout
    assert differences(tree(tmp_path / "out"), tree(undisturbed)) == []
    (name,) = set(re.findall(r"raysubmit_\w+", job.stdout))
    listed = raylets.ray("list", "tasks", f"--address={raylets.dashboard}", "--format=json", "--limit=10000")
    tasks = json.loads(listed.stdout)
    finished = {(task["name"], task["state"]) for task in tasks}
    steps = {step["name"] for step in json.loads((tmp_path / "out" / "run.json").read_text())["steps"]}
    assert {(step, "FINISHED") for step in steps} <= finished
    assert raylets.status(name) == "SUCCEEDED"


@pytest.mark.parametrize("raylets", ["token"], indirect=True)
def test_a_job_on_a_cluster_that_wants_its_token_goes_on_to_the_same_bytes(
    raylets: Raylets, undisturbed: Path, config_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    for folder in [*output.glob("work/blend-*"), output / "shards"]:
        shutil.rmtree(folder)
    job = raylets.submit(str(config_path), "--output", str(output))
    assert job.returncode == 0, job.stdout
    assert differences(tree(output), tree(undisturbed)) == []


@pytest.mark.parametrize("raylets", ["token"], indirect=True)
def test_a_wrong_token_is_a_sentence(raylets: Raylets, config_path: Path, tmp_path: Path) -> None:
    variables = {**raylets.variables, "RAY_AUTH_TOKEN": "0" * 64, "RAY_ADDRESS": raylets.address}
    variables["RAY_NUM_REDIS_GET_RETRIES"] = "2"  # seconds; 20 by default
    command = [sys.executable, "-m", "gristmill.pipeline", "run", str(config_path), "--output", str(tmp_path / "out")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(**variables))
    assert answer.returncode == 1
    assert f"gristmill: RAY_ADDRESS={raylets.address}: " in answer.stderr
    assert "~/.ray/auth_token" in answer.stderr
    assert "Traceback" not in answer.stderr
