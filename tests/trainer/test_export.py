"""Hugging Face directories: bit-for-bit both ways, the same logits, refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from typer.testing import CliRunner

from gristmill.tokenizer.encode import Encoder
from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading, saving
from gristmill.trainer.checkpoints.export import hf_shape, read_hf, write_hf
from gristmill.trainer.cli import app
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.names import logical_weights
from gristmill.trainer.model.shape import PRESETS, Shape
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.scoring.generate import load_model

SHAPE = Shape(2, 48, 4, 2, 16, 96, 300, context=64, rotary_fraction=0.5, rope_base=20_000.0)


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture
def weights():
    from gristmill.trainer.model.nemotron import Nemotron

    torch.manual_seed(0)
    model = Nemotron(SHAPE)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return logical_weights({name: p.detach() for name, p in model.named_parameters()}, SHAPE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_round_trip_through_transformers_is_bit_for_bit(tmp_path, weights, dtype):
    """Ours -> from_pretrained -> save_pretrained -> import -> checkpoint -> export: the same bits all the way."""
    from transformers import NemotronForCausalLM

    original = {name: w.to(dtype) for name, w in weights.items()}
    write_hf(tmp_path / "ours", original, SHAPE, dtype, file_bytes=40_000)  # several files and an index
    assert (tmp_path / "ours" / "model.safetensors.index.json").exists()
    oracle = NemotronForCausalLM.from_pretrained(tmp_path / "ours", dtype=dtype)
    theirs = oracle.state_dict()
    assert set(theirs) == set(original)
    assert all(torch.equal(theirs[name], w) for name, w in original.items())
    oracle.save_pretrained(tmp_path / "theirs")
    run("import", tmp_path / "theirs", tmp_path / "checkpoints")
    run("export", tmp_path / "checkpoints", tmp_path / "again", "--dtype", str(dtype).removeprefix("torch."))
    shape, back = read_hf(tmp_path / "again")
    assert shape == SHAPE
    assert all(torch.equal(back[name], w) and back[name].dtype == dtype for name, w in original.items())


def test_transformers_gives_the_same_logits_from_the_export(tmp_path, weights):
    from transformers import NemotronForCausalLM

    write_hf(tmp_path / "hf", weights, SHAPE, torch.float32)
    run("import", tmp_path / "hf", tmp_path / "checkpoints")
    oracle = NemotronForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    model = load_model(tmp_path / "checkpoints")
    tokens = torch.randint(0, 300, (2, 40))
    expected = oracle(tokens).logits
    assert ((model.logits(tokens) - expected).norm() / expected.norm()).item() < 1e-5


def test_training_goes_on_from_an_import_and_exports_what_it_trained(tmp_path, config_file):
    path = config_file("run")
    run("run", path, "--stop-after-steps", 3)
    run("export", tmp_path / "run" / "checkpoints", tmp_path / "hf", "--dtype", "float32")
    trained = load_model(tmp_path / "run" / "checkpoints")
    _, exported = read_hf(tmp_path / "hf")
    for name, w in logical_weights(dict(trained.named_parameters()), trained.shape).items():
        assert torch.equal(exported[name], w)
    other = config_file("next")
    run("import", tmp_path / "hf", tmp_path / "next" / "checkpoints")
    run("run", other, "--set", "model.overrides.init_std=0.093", "--stop-after-steps", 2)
    progress = reading.read_progress(checkpoint_format.committed(tmp_path / "next" / "checkpoints")[-1])
    assert (progress["step"], progress["moments"]) == (2, True)


def test_a_bf16_checkpoint_exports_the_trained_parameters_exactly(tmp_path, config_file):
    """The export casts the fp32 main copy as the optimizer does: the bits that the forward pass used."""
    from gristmill.trainer.config.keys import read_config
    from gristmill.trainer.setup import build, plan_run
    from gristmill.trainer.state import initialise

    built = build(plan_run(read_config(config_file(), ["dtype=bfloat16"])))
    initialise(built.state, 1)
    progress = {"step": 1, "samples": 0, "optimizer_step": 0, "tokens": 0}
    saving.save(tmp_path / "c", built.state, Groups(), progress, keep=1)
    run("export", tmp_path / "c", tmp_path / "hf")
    _, weights = read_hf(tmp_path / "hf")
    for name, w in logical_weights(built.state.named("param"), built.model.shape).items():
        assert torch.equal(weights[name], w)


def mode_of(path):
    return oct(path.stat().st_mode & 0o777)


def test_an_export_is_readable_as_every_new_file_is(tmp_path, weights, tokenizer):
    private = tmp_path / "tokenizer"
    shutil.copytree(tokenizer, private)
    (private / "tokenizer.model").chmod(0o600)
    shape = replace(SHAPE, vocab_size=2_000)
    write_hf(tmp_path / "hf", weights, shape, torch.float32, private, file_bytes=40_000)
    (tmp_path / "new").touch()
    modes = {path.name: mode_of(path) for path in (tmp_path / "hf").iterdir()}
    assert set(modes.values()) == {mode_of(tmp_path / "new")}, modes


def test_an_export_has_a_card_and_how_to_generate(tmp_path, config_file, tokenizer):
    from transformers import GenerationConfig

    run("run", config_file("run"), "--stop-after-steps", 3)
    run("export", tmp_path / "run" / "checkpoints", "--output", tmp_path / "hf")
    generation = GenerationConfig.from_pretrained(tmp_path / "hf")
    assert (generation.bos_token_id, generation.eos_token_id) == (2, 3)
    card = (tmp_path / "hf" / "README.md").read_text("utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["library_name"], head["pipeline_tag"]) == ("transformers", "text-generation")
    progress = reading.read_progress(checkpoint_format.committed(tmp_path / "run" / "checkpoints")[-1])
    assert f"{progress['tokens']:,} tokens, 3 steps" in card
    assert "No tokenizer was exported along with the model" in card


def test_a_card_of_somebody_s_own_stays(tmp_path, weights):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "README.md").write_text("mine")
    write_hf(tmp_path / "hf", weights, SHAPE, torch.float32)
    assert (tmp_path / "hf" / "README.md").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("given", ["folder", "tokenizer.model", "tokenizer.json", "alone.model"])
def test_auto_classes_of_transformers_find_model_and_tokenizer(tmp_path, exported, tokenizer, given):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tokenizer if given == "folder" else tokenizer / given
    if given == "alone.model":  # neither its name nor what stands beside it says anything
        path = tmp_path / given
        shutil.copy(tokenizer / "tokenizer.model", path)
    shape, weights = read_hf(exported)
    write_hf(tmp_path / "hf", weights, shape, torch.float32, path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    text = "def mill(grain):  # ünïcödé </s>"
    ids = AutoTokenizer.from_pretrained(tmp_path / "hf")(text)["input_ids"]
    assert ids == Encoder(tokenizer / "tokenizer.model").encode(text).tolist()
    ours = load_model(tmp_path / "hf")
    expected = model(torch.tensor([ids])).logits
    assert torch.allclose(ours.logits(torch.tensor([ids])), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file or folder"),
        ({}, "holds neither tokenizer.model nor tokenizer.json"),
        ({"tokenizer.json": "{"}, "is no tokenizer of transformers"),
        ({"tokenizer.json": '{"model": {"vocab": {"a": 0, "b": 300}}}'}, "has 301 pieces, the model 300"),
    ],
)
def test_a_tokenizer_that_is_none_is_said_before_anything_is_written(tmp_path, weights, content, sentence):
    given = tmp_path / "tokenizer"
    if content is not None:
        given.mkdir()
    for name, text in (content or {}).items():
        (given / name).write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        write_hf(tmp_path / "hf", weights, SHAPE, torch.float32, given)
    assert not (tmp_path / "hf").exists()


def test_what_a_tokenizer_lacks_is_said(tmp_path, weights, capsys):
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    write_hf(tmp_path / "hf", weights, SHAPE, torch.float32, tmp_path / "tokenizer.json")
    assert "has no tokenizer.model and no tokenizer_config.json; the export goes without" in capsys.readouterr().err


def test_published_configurations_are_understood():
    """Keys as in NVIDIA's published Nemotron and Minitron config.json files."""
    config = {
        "model_type": "nemotron", "hidden_act": "relu2", "hidden_size": 4096, "head_dim": 128,
        "intermediate_size": 16_384, "num_hidden_layers": 32, "num_attention_heads": 48, "num_key_value_heads": 8,
        "vocab_size": 256_000, "max_position_embeddings": 4096, "norm_eps": 1e-5, "initializer_range": 0.0134,
        "rope_theta": 10_000.0, "partial_rotary_factor": 0.5,
    }  # fmt: skip
    assert hf_shape(config) == PRESETS["minitron_8b"]


def test_other_architectures_and_incomplete_directories_are_refused(tmp_path, weights):
    write_hf(tmp_path / "hf", weights, SHAPE, torch.float32)
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(ConfigError, match="is not that of a Nemotron model"):
        read_hf(tmp_path / "hf")
    (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match="is missing where"):
        read_hf(tmp_path / "hf")


def test_a_folder_with_a_model_is_not_written_into_and_left_over_files_are_not_read(tmp_path, weights):
    write_hf(tmp_path / "hf", weights, SHAPE, torch.float32, file_bytes=40_000)
    before = sorted(path.name for path in (tmp_path / "hf").iterdir())
    with pytest.raises(ConfigError, match="holds a model already: delete it or give another folder"):
        write_hf(tmp_path / "hf", weights, SHAPE, torch.float32)
    assert sorted(path.name for path in (tmp_path / "hf").iterdir()) == before
    write_hf(tmp_path / "old", {name: w + 1 for name, w in weights.items()}, SHAPE, torch.float32)
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "hf" / "zzz.safetensors")
    _, back = read_hf(tmp_path / "hf")
    assert all(torch.equal(back[name], w) for name, w in weights.items())
