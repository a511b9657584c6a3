"""Runs through the loop and the command: resume to the bit, damage, metrics, evaluation, replay."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading
from gristmill.trainer.cli import app
from gristmill.trainer.config.keys import read_config
from gristmill.trainer.data.feed import Feed
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.loop import train
from gristmill.trainer.metrics import read_metrics
from gristmill.trainer.scoring.generate import load_model
from gristmill.trainer.setup import build, plan_run
from gristmill.trainer.state import initialise
from gristmill.trainer.step import run_step


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def losses(folder):
    steps = [event for event in read_metrics(folder) if event["event"] == "step"]
    return [(event["step"], event["tokens"], event["loss"], event["grad_norm"]) for event in steps]


@pytest.fixture
def whole(config_file, tmp_path):
    """The uninterrupted run: its folder."""
    assert run("run", config_file("whole")).exit_code == 0
    return tmp_path / "whole"


def test_a_run_stopped_anywhere_resumes_to_the_same_bits(config_file, tmp_path, whole):
    """Stops mid-ramp, in the second phase, and before the last step; every loss and norm is bitwise the same."""
    for stops in ([3], [1, 5, 2], [12]):
        name = "stopped" + "-".join(map(str, stops))
        path = config_file(name)
        for stop in stops:
            assert run("run", path, "--stop-after-steps", stop).exit_code == 0
        assert run("run", path).exit_code == 0
        assert losses(tmp_path / name) == losses(whole)
        last = checkpoint_format.committed(tmp_path / name / "checkpoints")[-1]
        reference = checkpoint_format.committed(whole / "checkpoints")[-1]
        assert last.name == reference.name
        state = {"tokens", "samples", "step", "optimizer_step", "data"}
        ours, theirs = reading.read_progress(last), reading.read_progress(reference)
        assert {k: ours[k] for k in state} == {k: theirs[k] for k in state}
        a, b = load_model(last), load_model(reference)
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_micro_batch_size_changes_rounding_only(config_file, tmp_path, whole):
    assert run("run", config_file("wide"), "--set", "micro_batch_size=5").exit_code == 0
    for a, b in zip(losses(tmp_path / "wide"), losses(whole), strict=True):
        assert a[:2] == b[:2]
        assert a[2] == pytest.approx(b[2], rel=1e-4)


def test_a_killed_run_goes_on_and_its_metrics_have_each_step_once(config_file, tmp_path, whole):
    """Killed after step 9 with a checkpoint at step 7: lines past the checkpoint are written again."""
    path = config_file("killed")
    run("run", path, "--stop-after-steps", 9)
    folder = tmp_path / "killed" / "checkpoints"
    shutil.rmtree(checkpoint_format.committed(folder)[-1])
    with open(tmp_path / "killed" / "metrics.jsonl", "a") as file:
        file.write('{"event": "step", "st')
    assert run("run", path).exit_code == 0
    assert losses(tmp_path / "killed") == losses(whole)


def damage(path: Path, how: str) -> None:
    payload = next(path.glob("weights-*"))
    if how == "torn":
        (path / checkpoint_format.COMMIT).unlink()
    elif how == "short":
        payload.write_bytes(payload.read_bytes()[:-1])
    elif how == "flipped":
        data = bytearray(payload.read_bytes())
        data[len(data) // 2] ^= 1
        payload.write_bytes(data)
    elif how == "missing":
        payload.unlink()


@pytest.mark.parametrize("how", ["torn", "short", "flipped", "missing"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(config_file, tmp_path, whole, how):
    path = config_file("damaged")
    run("run", path, "--stop-after-steps", 9)
    before, last = checkpoint_format.committed(tmp_path / "damaged" / "checkpoints")
    damage(last, how)
    result = run("run", path)
    assert result.exit_code == 0
    assert f"{last}" in result.stderr
    assert "checkpoint refused" in result.stderr
    assert f"resuming from {before}" in result.stderr
    assert losses(tmp_path / "damaged") == losses(whole)


def test_without_a_good_checkpoint_the_run_stops_and_fresh_sets_them_aside(config_file, tmp_path, whole):
    path = config_file("bad")
    run("run", path, "--stop-after-steps", 2)
    damage(checkpoint_format.committed(tmp_path / "bad" / "checkpoints")[-1], "flipped")
    result = run("run", path)
    assert result.exit_code == 1
    assert "none of its 1 checkpoints is good: restore one or give --fresh" in result.stderr
    assert run("run", path, "--fresh").exit_code == 0
    assert (tmp_path / "bad" / "checkpoints.old-1").is_dir()
    assert losses(tmp_path / "bad") == losses(whole)


def test_old_checkpoints_go_and_partial_ones_never_count(config_file, tmp_path, whole):
    kept = checkpoint_format.committed(whole / "checkpoints")
    assert len(kept) == 2
    assert all(reading.problem(path) is None for path in kept)
    assert not list((whole / "checkpoints").glob(".partial*"))


def test_a_checkpoint_of_other_data_seed_or_shape_is_refused(config_file, other_shards, tmp_path):
    path = config_file("other")
    run("run", path, "--stop-after-steps", 2)
    for override, sentence in (
        (f"phases.0.shards={other_shards}", "the shards of phases.0 are not those it was trained on"),
        ("seed=2", "was trained with seed 1, not 2"),
        ("model.overrides.ffn=32", "its model differs from the configuration in ffn"),
    ):
        result = run("run", path, "--set", override)
        assert result.exit_code == 1
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_metrics_begin_with_what_the_losses_compare_with(whole, config_file):
    events = read_metrics(whole)
    start, steps, evaluation = events[0], events[1:-1], events[-1]
    assert start["event"] == "start"
    assert start["config"]["phases"][0]["tokens"] == 2000
    assert 2 < start["unigram_entropy"] < math.log(260)
    assert [event["step"] for event in steps] == list(range(1, len(steps) + 1))
    assert {"loss", "learning_rate", "grad_norm", "tokens_per_s", "memory_bytes", "phase"} <= set(steps[0])
    assert steps[-1]["phase"] == 1
    assert evaluation["event"] == "evaluation"
    assert set(evaluation["domains"]) == {"code", "english"}
    assert (whole / "train.log").read_text().count("step ") >= len(steps)


def test_evaluation_equals_a_plain_sum_over_the_holdout(whole, shards):
    """Loss and bits per byte against torch's cross entropy over the same windows."""
    from gristmill.tokenizer.shards import ShardReader

    event = read_metrics(whole)[-1]
    model = load_model(whole / "checkpoints")
    reader = ShardReader(shards / "holdout" / "holdout-00000")
    tokens = torch.tensor(reader.tokens[:2000].astype("int64"))
    total = 0.0
    for start in range(0, 1999, 64):
        window = tokens[start : start + 65]
        logits = model.logits(window[None, :-1])[0]
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    assert event["tokens"] == 1999
    assert event["loss"] == pytest.approx(total / 1999, rel=1e-5)
    weighted = sum(row["loss"] * row["tokens"] for row in event["domains"].values())
    assert weighted / 1999 == pytest.approx(event["loss"], rel=1e-9)
    # a byte is a token and each document has one eos more than bytes
    assert event["bits_per_byte"] == pytest.approx(event["loss"] / math.log(2), rel=0.01)


def test_evaluation_within_documents_scores_each_as_if_alone(whole, shards):
    from gristmill.tokenizer.shards import ShardReader
    from gristmill.trainer.scoring.evaluate import evaluate

    model = load_model(whole / "checkpoints")
    figures = evaluate(model, shards / "holdout", 64, 4, 1000, "cpu", "separate")
    tokens = torch.tensor(ShardReader(shards / "holdout" / "holdout-00000").tokens[:1000].astype("int64"))
    total = 0.0
    for start in range(0, 999, 64):
        window = tokens[start : start + 65]
        inside = (window[:-1] == 3).nonzero().flatten().add(1).tolist()
        borders = sorted({0, *inside, len(window) - 1})
        for a, b in itertools.pairwise(borders):
            logits = model.logits(window[None, a:b])[0]
            total += torch.nn.functional.cross_entropy(logits, window[a + 1 : b + 1], reduction="sum").item()
    assert figures["loss"] == pytest.approx(total / 999, rel=1e-5)


def test_separate_documents_train_through_the_loop(config_file, tmp_path, whole):
    assert run("run", config_file("apart"), "--set", "data.documents=separate").exit_code == 0
    apart, joined = losses(tmp_path / "apart"), losses(whole)
    assert [row[:2] for row in apart] == [row[:2] for row in joined]
    assert apart[-1][2] != joined[-1][2]


def test_a_step_follows_torchs_own_optimizer(config_file):
    """Five steps of our flat AdamW with clipping equal torch.optim.AdamW with clip_grad_norm_ on the same model."""
    config = read_config(config_file(), ["optimizer.clip=0.2"])
    plan = plan_run(config)
    ours, theirs = build(plan), build(plan)
    initialise(ours.state, 1)
    initialise(theirs.state, 1)
    named = dict(theirs.model.named_parameters())
    for parameter in named.values():
        del parameter.main_grad  # autograd as usual
    groups = [
        {"params": [p for p in named.values() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    samples = 0
    feed = Feed(plan.loader, plan.schedule, plan.groups.data, 2, 0)
    for number in range(1, 6):
        step = plan.schedule.at(samples)
        samples += step.sequences
        figures = run_step(plan, ours, feed, step, number)
        batch = plan.loader.fetch(step.phase, torch.arange(step.first_sample, samples).numpy())
        tokens, labels = torch.from_numpy(batch.tokens), torch.from_numpy(batch.labels)
        expected = torch.nn.functional.cross_entropy(theirs.model.logits(tokens).flatten(0, 1), labels.reshape(-1))
        optimizer.zero_grad()
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(named.values(), 0.2)
        for group in optimizer.param_groups:
            group["lr"] = step.learning_rate
        optimizer.step()
        assert figures.loss == pytest.approx(expected.item(), rel=1e-5)
        assert figures.norm == pytest.approx(expected_norm.item(), rel=1e-4)
    for name, parameter in ours.model.named_parameters():
        torch.testing.assert_close(parameter, named[name], rtol=1e-4, atol=1e-5)


def test_initial_weights_do_not_depend_on_layout_or_depth_and_follow_the_recipe(config_file):
    config = read_config(config_file())
    small = build(plan_run(config))
    deep = build(plan_run(read_config(config_file(), ["model.overrides.layers=3"])))
    for built in (small, deep):
        initialise(built.state, 1)
    a, b = dict(small.model.named_parameters()), dict(deep.model.named_parameters())
    assert torch.equal(a["layers.1.qkv"], b["layers.1.qkv"])
    assert a["layers.0.qkv"].std().item() == pytest.approx(0.093, rel=0.05)
    assert a["layers.0.down"].std().item() == pytest.approx(0.093 / 2, rel=0.05)  # / sqrt(2 * 2 layers)
    assert not a["layers.0.mlp_norm.weight"].any()
    assert not a["final_norm.bias"].any()


def test_a_loss_that_is_no_number_stops_the_run_in_one_sentence(config_file):
    config = read_config(config_file("nan"), ["phases.0.learning_rate.peak=1e30", "optimizer.clip=0"])
    with pytest.raises(
        TrainerError, match="lower the learning rate, set instability to skip, or look at the batch with --replay"
    ):
        train(config)


def test_replay_prints_the_samples_of_any_step(config_file):
    first = run("run", config_file(), "--replay", 1)
    assert first.exit_code == 0
    assert "step 1: phase 0, samples 0 to 1" in first.stdout
    assert first.stdout.count("--- sample") == 2
    tokens = [int(t) for t in first.stdout.splitlines()[2].split()]
    assert len(tokens) == 64
    bytes(t - 4 for t in tokens if t > 3).decode("utf-8", "ignore")
    late = run("run", config_file(), "--replay", 12)
    assert "step 12: phase 1" in late.stdout
    beyond = run("run", config_file(), "--replay", 900)
    assert beyond.exit_code == 2
    assert "this run has the steps 1 to" in beyond.stderr


def test_more_than_one_process_is_refused_in_one_sentence(config_file):
    result = run("run", config_file(), "--set", "parallel.tensor=8")
    assert result.exit_code == 2
    assert "asks for 8 processes and 1 was started: start with torchrun" in result.stderr


def test_continued_training_starts_from_another_runs_weights(config_file, tmp_path, whole):
    path = config_file("continued")
    override = f"initialize_from={whole}/checkpoints"
    assert run("run", path, "--set", override, "--stop-after-steps", 1).exit_code == 0
    first = losses(tmp_path / "continued")[0]
    assert first[1] == 128
    assert first[2] < losses(whole)[0][2] - 0.1
    progress = reading.read_progress(checkpoint_format.committed(tmp_path / "continued" / "checkpoints")[-1])
    assert (progress["step"], progress["optimizer_step"]) == (1, len(losses(whole)) + 1)


@pytest.mark.slow
def test_sigterm_saves_and_the_run_goes_on(config_file, tmp_path, whole):
    path = config_file("term")
    text = path.read_text().replace("tokens: 1_500", "tokens: 3_000_000")
    path.write_text(text, "utf-8")
    command = [sys.executable, "-m", "trainer", "run", str(path)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=one_thread)
    metrics = tmp_path / "term" / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.read_text().count('"step"') > 12:
            break
        try:
            process.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            pass
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "stopped: step" in output
    done = json.loads(metrics.read_text().splitlines()[-1])["step"]
    assert reading.read_progress(checkpoint_format.committed(tmp_path / "term" / "checkpoints")[-1])["step"] == done


def test_a_deterministic_run_asks_torch_for_it(config_file):
    """Which is what makes `attention_fastest` take the attention whose sums have an order."""
    try:
        train(read_config(config_file(), ["deterministic=true", "evaluation.max_tokens=0"]), stop_after_steps=2)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
