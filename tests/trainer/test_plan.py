"""`train plan`: the paper's table from the paper's times, memory of the layouts, what fits, times where measured."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gristmill.trainer.cli import app
from gristmill.trainer.config.keys import read_config
from gristmill.trainer.model.shape import PRESETS, flops_per_token, parameters
from gristmill.trainer.planning import rates
from gristmill.trainer.planning.estimate import GIB, Layout, activation_bytes, memory, parameters_per_rank, state_bytes
from gristmill.trainer.planning.layouts import Question, answers
from gristmill.trainer.planning.plan import published_rows, question
from gristmill.trainer.planning.rates import DAY, GPUS, PAPER, PAPER_GPU, days, executed_flops, measured, mfu

SHAPE = PRESETS["nemotron4_15b"]
H100 = GPUS["h100-80gb"]


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *(str(a) for a in arguments)], catch_exceptions=False)


# -- the paper's run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "gpus", "tokens_per_second", "share", "took"),
    [
        (PAPER[0], 768, 3593, 0.343, 0.8),
        (PAPER[1], 1536, 3531, 0.333, 0.4),
        (PAPER[2], 2304, 3200, 0.305, 11.9),
    ],
)
def test_the_papers_times_give_the_papers_mfu_rates_and_days(stage, gpus, tokens_per_second, share, took):
    """Parmar et al. 2024, Table 2: MFU to half a point, tokens/s to one, days to the printed digit."""
    assert stage.gpus == gpus
    rate = stage.rate(SHAPE)
    assert rate == pytest.approx(tokens_per_second, abs=1)
    assert mfu(SHAPE, rate, PAPER_GPU.peak) == pytest.approx(share, abs=0.005)
    assert round(days(stage.tokens, rate, stage.gpus), 1) == took


def test_nvidias_later_run_of_this_model_has_the_mfu_it_states():
    """5,966 tokens/s per H100 are given as 56.7 % (NVIDIA's published performance of Nemotron-4 15B, bf16)."""
    assert mfu(SHAPE, 5966, PAPER_GPU.peak) == pytest.approx(0.567, abs=0.001)


def test_the_table_sums_to_eight_trillion_tokens():
    *stages, total = published_rows(SHAPE)
    assert [row[6] for row in stages] == ["34.1%", "33.6%", "30.4%"]
    assert (total[7], total[9], total[10]) == ("8,000 B", "13.2", "690,918")
    assert published_rows(PRESETS["minitron_8b"]) == []


# -- memory ------------------------------------------------------------------------------------------------------------


def test_states_are_six_and_twelve_bytes_a_parameter():
    """Megatron-LM's 6 + 12 / DP; 11.0 GiB for the paper's TP 8, DP 288."""
    expected = {(8, 1): 32.8, (8, 96): 11.1, (8, 288): 11.0, (4, 8): 27.3, (2, 8): 54.6, (1, 8): 109.2}
    for (tensor, data), gib in expected.items():
        assert state_bytes(parameters_per_rank(SHAPE, tensor), data) / GIB == pytest.approx(gib, abs=0.05)


def test_activations_of_a_sequence_by_policy():
    """GiB of 4,096 tokens through 32 layers (21.5 where both tensors of the squared ReLU are kept)."""
    for policy, gib in (("all", 15.5), ("lean", 12.5), ("full", 1.5)):
        assert 32 * activation_bytes(SHAPE, 4096, 1, policy) / GIB == pytest.approx(gib, abs=0.05)
        assert activation_bytes(SHAPE, 4096, 8, policy) == activation_bytes(SHAPE, 4096, 1, policy) // 8


def test_states_of_a_run_are_those_estimated(config_file):
    from gristmill.trainer.setup import build, plan_run

    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        built = build(plan_run(read_config(config_file(), [f"dtype={dtype}", "model=debug"])))
        estimated = state_bytes(parameters(PRESETS["debug"]), 1, width)
        assert built.state.bytes() == pytest.approx(estimated, rel=0.02)  # buffers are padded


def test_pipeline_ranks_share_the_parameters_and_hold_micro_batches_in_flight():
    shape = PRESETS["nemotron4_340b"]
    found = memory(shape, Layout(8, 12, 16, virtual=8))
    assert parameters(shape) / 96 < found.parameters_count < 1.35 * parameters(shape) / 96  # one has embedding or head
    each = activation_bytes(shape, 4096, 8)
    assert found.activations / each == pytest.approx(107, abs=1)  # 2 (p - 1) + (v - 1) p + 1 chunks of one layer


def test_the_papers_layout_fits_its_gpus_and_plain_data_parallel_does_not():
    asked = Question(SHAPE, H100, (2304, 8), 4, 1152, 8 * 10**12, 4096)
    found = {answer.layout: answer for answer in answers(asked)}
    assert found[Layout(8, 1, 288, 4)].free > 40 * GIB
    assert found[Layout(1, 1, 8, 4)].free < 0
    assert found[Layout(1, 1, 8, 4)].largest == 0
    assert all(answer.layout.gpus in (8, 2304) for answer in found.values())
    assert not any(answer.layout.data == 2304 for answer in found.values())  # more than a step has sequences
    for answer in found.values():
        assert answer.free == int(H100.memory) - answer.memory.total - answer.reserve
        if answer.largest >= answer.layout.micro_batch:
            assert answer.free >= 0


def test_a_configuration_is_planned_as_it_stands():
    config = read_config("nemotron4_15b", ["parallel={tensor: 2, data: 96}", "activations=full", "micro_batch_size=2"])
    asked, own = question(SHAPE, config, H100)
    assert own == Layout(2, 1, 96, 2, "full")
    assert (asked.gpus, asked.sequences, asked.tokens) == ((192,), 1152, 8 * 10**12)
    assert next(iter(answers(asked, own))).layout == own
    assert question(SHAPE, config, H100, gpus=63)[1] is None  # it is one of an even number of GPUs


# -- times -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """A result as benchmarks/gpu_stack.py writes it, of another machine and another rate than any real one."""
    step = {"ms": 1000.0, "tflops": 500.0}
    figures = {"ours": {"step": step}, "its GEMMs alone": {"gemms": {"ms": 700.0, "tflops": 700.0}}}
    cases = {"8 layers, 16,384 tokens a step": {"figures": figures}}
    content = {"op": "stack", "device": "NVIDIA H200", "date": "2026-01-01", "cases": cases}
    (tmp_path / rates.STACK).write_text(json.dumps(content), "utf-8")
    monkeypatch.setattr("gristmill.trainer.planning.layouts.measured", lambda gpu: measured(gpu, tmp_path))
    return tmp_path


def test_without_a_measurement_there_is_no_time(tmp_path):
    assert measured(H100, tmp_path) is None


def test_a_rate_holds_for_the_gpu_it_was_measured_on_only(stack):
    found = measured(GPUS["h200-141gb"], stack)
    assert found is not None
    assert found.flops == 500e12
    assert measured(H100, stack) is None


def test_tokens_days_and_gpu_hours_follow_from_a_measured_rate(stack):
    tokens = 10**12
    asked = Question(SHAPE, GPUS["h200-141gb"], (64,), 1, 1152, tokens, 4096)
    found = {answer.layout.policy: answer for answer in answers(asked) if answer.layout.tensor == 8}
    rate = 500e12 / flops_per_token(SHAPE)
    assert found["lean"].tokens_per_second == pytest.approx(rate)
    assert found["lean"].mfu == pytest.approx(500 / 989)
    assert found["lean"].days == pytest.approx(tokens / rate / 64 / DAY)
    assert found["lean"].gpu_hours == pytest.approx(tokens / rate / 3600)
    assert found["full"].tokens_per_second == pytest.approx(500e12 / executed_flops(SHAPE, "full"))
    useful = flops_per_token(SHAPE) / executed_flops(SHAPE, "full")  # recomputed FLOPs are not counted
    assert found["full"].mfu == pytest.approx(500 / 989 * useful)


def test_a_pipeline_waits_for_its_bubble(stack):
    shape = PRESETS["nemotron4_340b"]
    asked = Question(shape, GPUS["h200-141gb"], (6144,), 1, 2304, 10**12, 4096)
    found = {answer.layout: answer for answer in answers(asked)}
    speed = found[Layout(8, 12, 64, 1, "lean", 8)].tokens_per_second
    assert speed == pytest.approx(500e12 / flops_per_token(shape) / (1 + 11 / (8 * 36)))


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_layouts_the_papers_table_and_the_schedule():
    out = run("nemotron4_15b", "--gpu", "h100-80gb").stdout
    for figure in ("15,628,775,424", "93,994,352,640", "89,162,514,432", "1,801,386", "4.500e-04"):
        assert figure in out
    for words in ("34.1%", "11.9", "690,918", "non-causal", "yes,", "no,", "GiB"):
        assert words in out


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_plan(preset):
    result = run(preset)
    assert result.exit_code == 0
    assert "FLOPs per token" in result.stdout
    assert "Layouts on h100-80gb" in result.stdout


def test_json_has_bytes():
    content = json.loads(run("minitron_8b", "--gpu", "a100-80gb", "--gpus", 64, "--micro-batch", 2, "--json").stdout)
    assert {row["gpus"] for row in content["layouts"]} == {64}
    for row in content["layouts"]:
        size = row["bytes"]
        assert size["total"] == size["states"] + size["activations"] + size["working"]
        assert row["fits"] == (size["free"] >= 0)


def test_mistakes_are_one_sentence():
    for arguments in (("nothing",), ("minitron_8b", "--set", "seed=1"), ("minitron_8b", "--gpu", "v100")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    assert "no layout of so many divides" in run("minitron_8b", "--gpus", 7).stderr
