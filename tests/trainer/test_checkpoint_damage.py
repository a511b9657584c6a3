"""What is damaged, incomplete or of another model is refused with a sentence that names it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading, saving
from gristmill.trainer.checkpoints.format import INDEX, PROGRESS, commit, read_commit, read_index, weight_sizes
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.state import FlatState
from tests.trainer.checkpoint_states import ALONE, SHAPE, build, damaged, same, save, values


@pytest.fixture
def good(tmp_path) -> tuple[Path, dict]:
    """A checkpoint and the tensors in it."""
    state = build()
    return save(tmp_path / "checkpoints", state, 5), values(state)


NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    "name", ["weights-00000.safetensors", "moments-00000.safetensors", INDEX, PROGRESS, "commit.json"]
)
def test_any_damage_to_any_file_is_refused_and_the_one_before_used(tmp_path, good, name):
    path, saved = good
    for number, how in enumerate(("first", "middle", "last", "short", "long", "empty", "gone")):
        directory = tmp_path / f"{how}-{number}"
        shutil.copytree(path.parent, directory)
        shutil.copytree(path, directory / "step-00000006")
        damaged(directory / "step-00000006", name, how)
        heard: list[str] = []
        found = reading.newest_good(directory, heard.append)
        assert found == directory / "step-00000005"
        (sentence,) = heard
        assert str(directory / "step-00000006") in sentence
        assert name in sentence
        assert sentence.endswith("checkpoint refused")
        state = build(7.0)
        reading.load(found, state, ALONE)
        assert same(values(state), saved)


def test_a_flipped_bit_in_any_byte_of_the_commit_marker_is_noticed(good):
    marker = good[0] / "commit.json"
    whole = marker.read_bytes()
    for byte in range(len(whole)):
        marker.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << byte % 8]) + whole[byte + 1 :])
        assert read_commit(good[0]) is None
    marker.write_bytes(whole)
    assert reading.problem(good[0]) is None


def test_without_a_good_one_there_is_a_sentence_and_nothing_is_renamed(good):
    damaged(good[0], "moments-00000.safetensors", "middle")
    with pytest.raises(TrainerError, match="none of its 1 checkpoints is good: restore one or give --fresh"):
        reading.newest_good(good[0].parent, str, retire=True)
    with pytest.raises(TrainerError, match="its content has changed since it was written: take another checkpoint"):
        reading.find(good[0], str)
    assert good[0].is_dir()


def test_those_who_read_weights_only_do_not_read_the_moments(good):
    damaged(good[0], "moments-00000.safetensors", "gone")
    assert reading.find(good[0].parent, pytest.fail, weights_only=True) == good[0]
    assert same(
        {("main", n): w.view(-1) for n, w in reading.read_weights(good[0], SHAPE, torch.float32).items()},
        {key: value for key, value in good[1].items() if key[0] == "main"},
    )


def recommitted(path: Path, change) -> None:
    """Changes the index as `change` does and commits anew, so that only the contents are wrong."""
    index, progress = read_index(path), reading.read_progress(path)
    files = {name: claimed for name, claimed in read_commit(path).items() if name.endswith(".safetensors")}
    change(index)
    commit(path, index, files, progress)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda index: index.begins[0].pop("exp_avg_sq"), "exp_avg_sq is missing"),
        (lambda index: index.sizes.pop(NAME), f"{NAME} is missing"),
        (lambda index: next(iter(index.parts[NAME].values())).clear(), f"the pieces of {NAME} end at element 0 of 512"),
        (lambda index: index.parts[NAME].clear(), f"the pieces of {NAME} hold 0 of its 512 elements"),
        (lambda index: index.sizes.__setitem__(NAME, (32, 8)), f"{NAME} is held as (32, 8) where (32, 16) is needed"),
        (lambda index: (index.sizes.update(bias=(1,)), index.parts.update(bias={})), "bias belongs to another model"),
    ],
)
def test_what_a_checkpoint_lacks_is_named_and_nothing_is_loaded(good, change, sentence):
    recommitted(good[0], change)
    assert reading.problem(good[0]) is None
    state = build(7.0)
    with pytest.raises(TrainerError) as error:
        reading.load(good[0], state, ALONE)
    assert sentence in str(error.value)
    assert all(bool((value == 7.0).all()) for value in values(state).values())


class Forgetful(FlatState):
    """A state that leaves one weight's moment out."""

    def pieces(self, kind):
        return (p for p in super().pieces(kind) if p.name != NAME)


def test_a_state_that_forgets_a_weight_is_neither_saved_nor_loaded(tmp_path, good):
    with torch.device("meta"):
        state = Forgetful(Nemotron(SHAPE), torch.bfloat16, "cpu", ALONE)
    with pytest.raises(TrainerError, match=f"not committed, for it would not be whole: {NAME} is missing"):
        save(tmp_path / "forgetful", state, 1)
    assert not checkpoint_format.committed(tmp_path / "forgetful")
    elements = sum(value.numel() for (kind, _), value in good[1].items() if kind == "main")
    with pytest.raises(TrainerError, match=f"{elements - 512:,} of the {elements:,} elements of main were asked for"):
        reading.load(good[0], state, ALONE)


def test_another_shape_is_refused_by_name(good):
    other = build(shape=Shape(**{**asdict(SHAPE), "ffn": 64}))
    with pytest.raises(TrainerError, match="its model differs from the configuration in ffn"):
        reading.load(good[0], other, ALONE)


def test_imported_weights_have_no_moments_which_then_start_at_zero(tmp_path):
    weights = {f"main.{name}": torch.randn(size).bfloat16() for name, size in weight_sizes(SHAPE).items()}
    progress = {"step": 0, "samples": 0, "moments": False, "shape": asdict(SHAPE)}
    path = saving.write(tmp_path, weights, progress)
    assert reading.problem(path) is None
    assert not list(path.glob("moments-*"))
    state = build(7.0)
    reading.load(path, state, ALONE)
    for (kind, name), value in values(state).items():
        assert torch.equal(
            value, weights[f"main.{name}"].float().view(-1) if kind == "main" else torch.zeros_like(value)
        )
    weights.popitem()
    with pytest.raises(TrainerError, match="is missing"):
        saving.write(tmp_path, weights, {**progress, "step": 1})
