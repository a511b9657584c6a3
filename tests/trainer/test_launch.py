"""Training over the nodes of a real Ray: two raylets on this machine, a torchrun on each, gloo between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raylets import ROOT, Raylets, environment

from gristmill.trainer.config.keys import read_config
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.launch import check_paths
from gristmill.trainer.metrics import read_metrics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raylets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    with Raylets(tmp_path_factory.mktemp("raylets"), "disabled") as cluster:
        yield cluster


def launch(raylets: Raylets, config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainer", "launch", str(config), "--cpu", "--processes", "1", *arguments]
    variables = environment(RAY_ADDRESS=raylets.address, GLOO_SOCKET_IFNAME="lo")
    return subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True)


def steps(folder: Path) -> list[dict]:
    return [event for event in read_metrics(folder) if event["event"] == "step"]


def test_two_nodes_train_one_model_and_save_when_told_to_end(raylets: Raylets, config_file, tmp_path) -> None:
    config = config_file()
    first = launch(raylets, config, "--nodes", "2", "--set", "phases.1.tokens=300_000")
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.exists() and '"step": 8' in metrics.read_text("utf-8")):
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    taken = len(steps(tmp_path / "run"))
    assert taken >= 8
    assert f"step-{taken:08d}" in os.listdir(tmp_path / "run" / "checkpoints")  # saved after the step at hand

    second = launch(raylets, config, "--nodes", "2")
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    start = read_metrics(tmp_path / "run")[0]
    assert start["processes"]["data"] == 2
    done = steps(tmp_path / "run")
    assert [line["step"] for line in done] == list(range(1, len(done) + 1))


def test_a_failure_on_one_node_ends_all_and_is_started_again(raylets: Raylets, config_file, tmp_path) -> None:
    """A checkpoint directory that cannot be written fails the run; each of the two attempts ends on both nodes."""
    config = config_file("broken")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "checkpoints").write_text("a file")
    process = launch(raylets, config, "--nodes", "2", "--restarts", "1")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert said.count("ending the others") == 2
    assert said.count("starting again from the last good checkpoint") == 1


def test_more_nodes_than_there_are_is_one_sentence(raylets: Raylets, config_file) -> None:
    process = launch(raylets, config_file(), "--nodes", "3")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "the Ray cluster has 2 nodes with a CPU: ask for fewer" in said


def test_paths_must_mean_the_same_on_every_node(config_file) -> None:
    config = read_config(config_file(), ["checkpoint.directory=out/checkpoints"])
    check_paths(config, 1)
    with pytest.raises(ConfigError, match=r"checkpoint\.directory is out/checkpoints: give the absolute path"):
        check_paths(config, 2)


def test_a_killed_launch_leaves_nothing_behind(raylets: Raylets, config_file, tmp_path) -> None:
    process = launch(raylets, config_file("killed"), "--nodes", "2", "--set", "phases.1.tokens=3_000_000")
    metrics = tmp_path / "killed" / "metrics.jsonl"

    def wait_for(condition) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not condition():
            time.sleep(0.2)
        assert condition()

    wait_for(lambda: metrics.exists() and '"step": 5' in metrics.read_text("utf-8"))
    process.kill()
    process.communicate()
    ours = f"trainer run {tmp_path / 'killed.yaml'}"
    wait_for(lambda: not any(ours in title for title in titles()))


def titles() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
