"""What a run leaves for programs, for TensorBoard and for people."""

from __future__ import annotations

import json
import math
import re
import struct

import pytest

from gristmill.trainer.config.keys import read_config
from gristmill.trainer.loop import train
from gristmill.trainer.metrics import Display, Metrics, read_metrics, step_line
from gristmill.trainer.tensorboard import EventFile, crc32c


@pytest.fixture
def run_folder(config_file, tmp_path):
    """A run, stopped and resumed."""
    config = read_config(config_file("run"))
    train(config, stop_after_steps=6)
    train(config)
    return tmp_path / "run"


def test_a_step_has_every_figure(run_folder, shards, other_shards):
    start, *steps, _ = read_metrics(run_folder)
    assert start["processes"] == {"world": 1, "tensor": 1, "pipeline": 1, "data": 1}
    assert "non-causal" in start["mfu_convention"]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert {"loss", "grad_norm", "learning_rate", "seconds", "data_wait_s", "memory_bytes", "eta_s"} <= set(step)
        sequences = step["samples"] - (steps[step["step"] - 2]["samples"] if step["step"] > 1 else 0)
        assert step["tokens_per_s"] == pytest.approx(sequences * 64 / step["seconds"])
        assert "mfu" not in step  # of a CPU there is no peak
    assert set(steps[-1]["epochs"]) == {str(shards), str(other_shards)}
    assert steps[-1]["epochs"] == start["epochs"]
    assert 0 < steps[0]["epochs"][str(shards)] < steps[-1]["epochs"][str(shards)]


def test_domain_losses_average_to_the_loss(run_folder):
    """With the tokens of each domain, counted apart from the loop."""
    import numpy as np

    from gristmill.trainer.setup import plan_run

    run = plan_run(read_config(run_folder.with_suffix(".yaml")))
    for line in [event for event in read_metrics(run_folder) if event["event"] == "step"]:
        step = run.schedule.step(line["step"] - 1)
        first, end = step.first_sample, step.first_sample + step.sequences
        codes = run.loader.fetch(step.phase, np.arange(first, end)).domains
        tokens = {name: int((codes == i).sum()) for i, name in enumerate(run.loader.domains)}
        assert set(line["loss_by_domain"]) == {name for name, count in tokens.items() if count}
        total = sum(tokens[name] * loss for name, loss in line["loss_by_domain"].items())
        assert total / codes.size == pytest.approx(line["loss"], rel=1e-6)


def test_tensorboard_reads_the_events_and_drops_those_before_a_resume(run_folder):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run_folder / "tensorboard"
    assert len(list(folder.iterdir())) == 2
    with open(sorted(folder.iterdir())[0], "ab") as first:
        first.write(b"\x18\x00\x00")  # it died while it wrote
    events = reading.EventAccumulator(str(folder))
    events.Reload()
    steps = [event for event in read_metrics(run_folder) if event["event"] == "step"]
    assert {"loss/all", "loss/code", "train/grad_norm", "speed/tokens_per_s", "memory/bytes"} <= set(
        events.Tags()["scalars"]
    )
    shown = events.Scalars("loss/all")
    assert [(event.step, event.value) for event in shown] == [
        (step["step"], struct.unpack("<f", struct.pack("<f", step["loss"]))[0]) for step in steps
    ]


def test_superseded_events_are_dropped(tmp_path):
    """A run that died at step 9 and goes on from its checkpoint at step 4."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for resumed_at, last, value in ((0, 9, 1.0), (4, 6, 2.0)):
        events = EventFile(tmp_path, resumed_at)
        for step in range(resumed_at + 1, last + 1):
            events.scalars(step, {"loss/all": value})
        events.close()
    seen = reading.EventAccumulator(str(tmp_path))
    seen.Reload()
    assert [(e.step, e.value) for e in seen.Scalars("loss/all")] == [
        (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 2.0), (6, 2.0)
    ]  # fmt: skip


def test_the_checksum_is_the_one_of_the_standard():
    """RFC 3720, appendix B.4, and the usual check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_a_record_is_framed_as_tfrecord_says(tmp_path):
    events = EventFile(tmp_path, 0)
    events.close()
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..+", path.name)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert data[12 : 12 + length].endswith(b"\x1a\x0dbrain.Event:2")


def test_figures_that_are_no_numbers_are_null_and_the_file_stays_json(tmp_path):
    metrics = Metrics(tmp_path, 0, tensorboard=False)
    metrics.write("step", loss=math.nan, loss_by_domain={"code": math.inf, "english": 1.5}, others=[math.nan, 2])
    metrics.close()
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert line == {
        "event": "step", "loss": None, "loss_by_domain": {"code": None, "english": 1.5}, "others": [None, 2]
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()].count("tensorboard") == 0


def test_ranks_but_the_first_write_and_say_nothing(tmp_path, capsys):
    metrics, display = Metrics(None, 0), Display(1000, 1, silent=True)
    with display:
        metrics.write("start")
        metrics.log("line")
        display.say("text")
        display.step(1, 10, "line")
    metrics.close()
    assert capsys.readouterr() == ("", "")


def test_time_left_follows_the_last_steps_and_not_the_first_of_a_process():
    display = Display(10_000, 1)
    assert display.eta_s(100, 100, 50.0) == pytest.approx(9_900 * 0.5)
    assert display.eta_s(200, 100, 1.0) == pytest.approx(98.0)
    assert display.eta_s(300, 100, 3.0) == pytest.approx(9_700 * 0.02)


def test_a_line_names_the_convention_of_mfu():
    values = {"step": 3, "tokens": 30, "loss": 2.0, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_s": 10.0,
              "memory_bytes": 2e9, "eta_s": 70.0, "mfu": 0.5}  # fmt: skip
    assert "MFU 50.0% (attention non-causal) · 2.00 GB · ETA 1 min 10 s" in step_line(values, 9)
