"""The GPU benchmarks run, every line of them, without a GPU; and what is wrong, slow or missing gets no figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
OPS = ("layernorm", "squared_relu", "rope", "cross_entropy", "adamw", "embedding", "attention", "stack")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "0"}
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


# -- the scripts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """All scripts with --dry, in one process, and the folder in which they would have written."""
    pytest.importorskip("triton")
    folder = tmp_path_factory.mktemp("results")
    return run("gpu_all.py", "--dry", "--output", str(folder)), folder


@pytest.mark.slow
def test_every_script_runs_through_on_the_cpu_and_ours_is_right(dry: Any) -> None:
    done, _ = dry
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong" not in done.stdout
    ours = [line for line in done.stdout.splitlines() if " ours " in line]
    assert len(ours) == len(OPS) + 3  # two sizes of the norm, dense and packed, AdamW and the gradient's norm
    assert all(line.endswith("right") for line in ours)


def test_a_dry_run_writes_nothing_and_says_no_time(dry: Any) -> None:
    done, folder = dry
    assert list(folder.iterdir()) == []
    assert " ms" not in done.stdout
    assert "/s" not in done.stdout


def test_the_peers_that_are_installed_agree_with_ours(dry: Any) -> None:
    lines = dry[0].stdout.splitlines()
    for peer in ("torch eager", "torch.compile", "SDPA flash", "torch fused AdamW", "Hugging Face's Nemotron, SDPA"):
        found = [line for line in lines if f" {peer} " in line]
        assert found
        assert all(line.endswith("right") for line in found), found


@pytest.mark.parametrize("script", ["gpu_all.py", "gpu_rope.py"])
def test_without_a_gpu_there_is_one_sentence_and_nothing_written(script: str, tmp_path: Path) -> None:
    done = run(script, "--output", str(tmp_path / "results"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no CUDA device" in done.stderr
    assert not (tmp_path / "results").exists()


# -- the frame ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """gpu_frame on a machine that is made up: 100 TFLOP/s, 1,000 GB/s, every call 1 ms."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_frame
    import gpu_machine

    head = {"device": "Made up", "driver": "1", "versions": {"torch": "0"}, "date": "2026-01-01"}
    monkeypatch.setattr(gpu_machine, "described", lambda: dict(head))
    monkeypatch.setattr(gpu_machine, "rates", lambda: {"cublas_8192_tflops": 100.0, "copy_gb_s": 1000.0})
    monkeypatch.setattr(gpu_machine, "extra_bytes", lambda run: 2**30)
    return gpu_frame


def timed(milliseconds: float) -> Any:
    return lambda run: {"ms": milliseconds, "least_ms": milliseconds, "most_ms": milliseconds, "calls": 1}


def entry(frame: Any, name: str, milliseconds: float = 1.0, off: float = 0.0, **more: Any) -> Any:
    """An implementation of y = 2 x that is `off` by so much of it."""

    def build(x: torch.Tensor) -> Any:
        return frame.Runs({"forward": lambda: None}, lambda: {"y": 2 * x * (1 + off)})

    return frame.Entry(name, build, clock=timed(milliseconds), **more)


def measured(frame: Any, folder: Path, *entries: Any, targets: Any = (), seconds: float = 60) -> Any:
    """(exit code, the case's part of what is written)."""
    x = torch.arange(1.0, 5.0)
    case = frame.Case(
        "case",
        lambda: x,
        lambda inputs: {"y": frame.Sample(lambda t: t[::2], 2 * inputs[::2].double())},
        {"forward": frame.Work(bytes=9e8)},
        entries,
        targets,
        peer_seconds=0.2,
    )
    bench = frame.Bench("toy", SimpleNamespace(dry=False, seconds=seconds, output=folder))
    code = bench.run([case])
    return code, json.loads((folder / "gpu_toy.json").read_text())["cases"]["case"]


def test_figures_and_targets_are_written_beside_the_machine(frame: Any, tmp_path: Path) -> None:
    entries = entry(frame, "ours", kept=True), entry(frame, "torch eager", 1.5)
    targets = (
        frame.of_copy("forward"),
        frame.times_faster("torch eager", "forward", 2.0),
        frame.times_faster("Liger-Kernel", "forward"),
        frame.Target("extra GiB", lambda f: f["ours"]["forward"]["extra_gib"], most=1.0),
    )
    code, case = measured(frame, tmp_path, *entries, targets=targets)
    assert code == 0
    forward = case["figures"]["ours"]["forward"]
    assert (forward["gb_s"], forward["of_copy"], forward["extra_gib"]) == (900.0, 0.9, 1.0)
    assert [(each["target"], each["figure"], each["met"]) for each in case["targets"]] == [
        ("at least 0.9", 0.9, True),
        ("at least 2", 1.5, False),
        ("at least 1", None, None),
        ("at most 1", 1.0, True),
    ]
    written = json.loads((tmp_path / "gpu_toy.json").read_text())
    assert written["device"] == "Made up"
    assert written["machine"] == {"cublas_8192_tflops": 100.0, "copy_gb_s": 1000.0}
    assert case["not_measured"] == {}


@pytest.mark.parametrize("off", [0.1, float("nan"), float("inf")])
def test_a_wrong_result_gets_no_figure(frame: Any, tmp_path: Path, off: float) -> None:
    code, case = measured(frame, tmp_path, entry(frame, "ours", kept=True), entry(frame, "peer", off=off))
    assert code == 0
    assert list(case["figures"]) == ["ours"]
    assert case["not_measured"]["peer"].startswith("wrong: y is off by")


def test_ours_wrong_ends_with_an_exit_code(frame: Any, tmp_path: Path) -> None:
    code, case = measured(frame, tmp_path, entry(frame, "ours", off=0.1, kept=True))
    assert code == 1
    assert case["figures"] == {}


def test_a_peer_that_is_missing_or_fails_is_named_with_the_reason(frame: Any, tmp_path: Path) -> None:
    missing = frame.Entry("missing", lambda x: frame.load("no_such_package:function"))
    failing = frame.Entry("failing", lambda x: torch.ones(2) @ torch.ones(3))
    code, case = measured(frame, tmp_path, entry(frame, "ours", kept=True), missing, failing)
    assert code == 0
    assert case["not_measured"]["missing"] == "not importable: No module named 'no_such_package'"
    assert case["not_measured"]["failing"].startswith("RuntimeError: ")


def test_a_peer_that_takes_too_long_is_ended_and_the_next_measured(frame: Any, tmp_path: Path) -> None:
    slow = frame.Entry("slow", lambda x: time.sleep(20))
    code, case = measured(frame, tmp_path, entry(frame, "ours", kept=True), slow, entry(frame, "next"))
    assert code == 0
    assert list(case["figures"]) == ["ours", "next"]
    assert case["not_measured"]["slow"].startswith("OutOfTime")


def test_when_the_time_is_up_peers_are_left_out_and_ours_is_not(frame: Any, tmp_path: Path) -> None:
    code, case = measured(frame, tmp_path, entry(frame, "ours", kept=True), entry(frame, "peer"), seconds=0)
    assert code == 0
    assert list(case["figures"]) == ["ours"]
    assert "not reached" in case["not_measured"]["peer"]


def test_all_benchmarks_have_less_than_eight_minutes(frame: Any) -> None:
    import gpu_all

    assert tuple(gpu_all.SECONDS) == OPS
    assert sum(share for share, _ in gpu_all.SECONDS.values()) <= gpu_all.ALL < 480
    assert sum(least for _, least in gpu_all.SECONDS.values()) <= gpu_all.ALL
    assert all(least <= share for share, least in gpu_all.SECONDS.values())


def test_packed_documents_fill_the_windows_with_the_mean_that_is_said(frame: Any) -> None:
    from gpu_attention import documents

    lengths = documents(400, 4096, 600)
    assert sum(lengths) == 400 * 4096
    borders = {sum(lengths[: i + 1]) for i in range(len(lengths))}
    assert borders >= {4096 * (i + 1) for i in range(400)}
    assert 500 < sum(lengths) / len(lengths) < 600  # windows cut the last of each


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_says_not_measured_where_there_is_no_result(frame: Any) -> None:
    import gpu_table

    found = list(gpu_table.rows({}))
    assert found
    assert all(row[1] == row[3] == "not measured" for row in found)
    assert {line.op for line in gpu_table.LINES} == set(OPS)
    assert gpu_table.sentence({}) == "On a GPU: not measured."


def test_the_table_shows_ours_beside_the_fastest_peer(frame: Any) -> None:
    import gpu_table

    figures = {
        "ours": {"forward": {"ms": 0.19, "gb_s": 4240.0, "of_copy": 0.98}, "error": 0.001},
        "torch eager": {"forward": {"ms": 0.38}},
        "Liger-Kernel": {"forward": {"ms": 0.285}},
    }
    result = {"gpu_layernorm": {"date": "2026-01-01", "cases": {"16,384 x 6,144": {"figures": figures}}}}
    first, second, *_ = gpu_table.rows(result)
    assert first[1] == "0.19 ms, 4,240 GB/s, 98% of copy"
    assert first[3] == "Liger-Kernel: 0.285 ms, 1.50×"
    assert second[1] == second[3] == "not measured"
