"""Predicted memory is what torch's memory tracker counts: the 15B at its real sizes, every tensor parallel size and
policy, data parallel and pipelines, on tensors without memory. Of 32 layers four are traced; that the rest is linear in
layers is one claim. The whole table: `benchmarks/memory_tracker.py`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("triton")  # the ops of a GPU, of which only shapes run
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import memory_tracker

from gristmill.trainer.model.shape import PRESETS
from gristmill.trainer.planning import estimate
from gristmill.trainer.planning.estimate import Layout, activation_bytes

pytestmark = pytest.mark.slow

FULL_SIZE = replace(PRESETS["nemotron4_15b"], layers=4)
CLAIM = 0.03


def assert_as_counted(shape, layout):
    off = memory_tracker.compared(shape, layout)["off"]
    assert off["states"] == pytest.approx(0, abs=1e-3)  # buffers are padded
    assert abs(off["beside"]) < CLAIM, off
    assert abs(off["total"]) < CLAIM, off


@pytest.mark.parametrize("policy", ["all", "lean", "full"])
@pytest.mark.parametrize("tensor", [1, 2, 4, 8])
def test_peak_of_a_step_is_what_the_tracker_counts(tensor, policy):
    for batch in (1, 4):  # the logits are the peak, or the last layer's backward
        assert_as_counted(FULL_SIZE, Layout(tensor, 1, 1, batch, policy))


def test_sharded_states_and_fp32_are_what_the_tracker_counts():
    assert_as_counted(FULL_SIZE, Layout(4, 1, 8))
    assert_as_counted(FULL_SIZE, Layout(2, width=4))


@pytest.mark.slow
def test_the_ends_of_a_pipeline_are_what_the_tracker_counts():
    shape = replace(FULL_SIZE, layers=8)
    for layout in (Layout(8, 2), Layout(4, 2, virtual=2)):
        assert_as_counted(shape, layout)


def test_other_members_of_the_family_are_what_the_tracker_counts():
    assert_as_counted(replace(PRESETS["minitron_4b"], layers=3), Layout(2, 1, 1, 2))


@pytest.mark.parametrize("policy", ["all", "lean", "full"])
def test_a_layer_keeps_what_the_formula_says(policy):
    """The difference of five layers and three, of a whole step's peak, is that of two layers' activations."""
    layout = Layout(2, policy=policy)
    five, three = (memory_tracker.counted(replace(FULL_SIZE, layers=n), layout).beside for n in (5, 3))
    assert (five - three) / 2 == pytest.approx(activation_bytes(FULL_SIZE, 4096, 2, policy), rel=1e-4)


@pytest.mark.parametrize("policy", ["all", "lean", "full"])
def test_autograd_saves_what_the_formula_says(policy):
    """The tracker's figure another way: storages that autograd's nodes hold after the forward, without parameters."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from gristmill.trainer.model.nemotron import Nemotron
    from gristmill.trainer.parallel.groups import Groups
    from gristmill.trainer.state import FlatState

    def saved(layers):
        with torch.device("meta"):
            model = Nemotron(replace(FULL_SIZE, layers=layers), memory_tracker.gpu_ops(), policy=policy)
        with FakeTensorMode():
            state = FlatState(model, torch.bfloat16, "cpu", Groups())
            tokens = torch.zeros(1, 4096, dtype=torch.int64)
            held = {}

            def pack(tensor):
                storage = tensor.untyped_storage()
                held[storage._cdata] = storage
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                loss, _ = model.loss(tokens, tokens, 1.0)
            for group in state.groups:
                held.pop(group.param.untyped_storage()._cdata, None)
            assert loss.requires_grad
            return sum(storage.nbytes() for storage in held.values())

    assert (saved(4) - saved(2)) / 2 == pytest.approx(activation_bytes(FULL_SIZE, 4096, 1, policy), rel=1e-4)


def test_rows_of_logits_are_those_of_the_kernel():
    import torch

    from gristmill.kernels.gpu.cross_entropy import logits_rows

    for tensor in (1, 2, 8):
        columns = FULL_SIZE.vocab_size // tensor
        assert estimate.logits_rows(FULL_SIZE, tensor) == logits_rows(columns, torch.bfloat16, estimate.CHUNK_BYTES)


def test_chunk_of_logits_is_the_one_that_the_model_asks_for():
    import inspect

    from gristmill.trainer.model.nemotron import Nemotron

    assert inspect.signature(Nemotron.loss).parameters["chunk_bytes"].default == estimate.CHUNK_BYTES
