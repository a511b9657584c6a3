"""Reading the configuration: types, overrides, and errors that name line, key and the nearest name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from gristmill.trainer.config.file import parse_config
from gristmill.trainer.config.keys import Config, ShapeOverrides, read_config
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.shape import PRESETS, Shape

GOOD = """model: debug
phases:
  - tokens: 1e6
    shards: out/shards
    learning_rate: {peak: 1e-3}
optimizer:
  eps: 1e-8
"""


def read(text, *overrides):
    return parse_config(text, "run.yaml", Config, overrides)


def test_numbers_that_yaml_takes_for_text_are_numbers():
    config = read(GOOD)
    assert config.phases[0].tokens == 1_000_000
    assert config.optimizer.eps == 1e-8
    assert config.model.shape() == PRESETS["debug"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("optimizer:", "optimiser:"), r"^run\.yaml:6: unknown key 'optimiser': did you mean 'optimizer'\?$"),
        (("peak: 1e-3", "paek: 1e-3"), r"^run\.yaml:5: unknown key 'phases\.0\.learning_rate\.paek': .* 'peak'\?$"),
        (("eps: 1e-8", "eps: small"), r"^run\.yaml:7: key 'optimizer\.eps' is 'small': give a number$"),
        (("tokens: 1e6", "tokens: 1.5"), r"^run\.yaml:3: key 'phases\.0\.tokens' is '1\.5': give a whole number$"),
        (("tokens: 1e6", "tokens: -5"), r"^run\.yaml:3: in phases\.0, tokens is -5: it must be above 0$"),
        (("model: debug", "model: nemotron"), r"^run\.yaml:1: in model, 'nemotron' is no preset: choose one of"),
        (("model: debug", "dtype: float32"), r"^run\.yaml:1: key 'model' is missing: add it$"),
        (("    shards: out/shards\n", ""), r"^run\.yaml:3: in phases\.0, give either `shards"),
        (("eps: 1e-8", "eps: 1\n  eps: 2"), r"^run\.yaml:8: key 'optimizer\.eps' is given twice"),
        (("phases:", "phases: ]"), r"^run\.yaml:2: this is not YAML"),
        (("optimizer:\n  eps: 1e-8", "optimizer: [1]"), r"^run\.yaml:6: key 'optimizer' is a list: give a mapping"),
        (("eps: 1e-8", "eps: 1e-8\ndtype: float16"), r"^run\.yaml:8: key 'dtype' is 'float16': give one of bfloat16"),
        (("eps: 1e-8", "eps: 1\nparallel: {data: 0}"), r"^run\.yaml:8: in parallel, data is 0: it must be above 0$"),
        (("eps: 1e-8", "eps: 1\ninstability: {spike_factor: 1}"), r"in instability, spike_factor is 1\.0: .* above 1$"),
        (("eps: 1e-8", "eps: 1\nactivations: some"), r"^run\.yaml:8: key 'activations' is 'some': give one of all,"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_line_and_key(change, sentence):
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigError, match=sentence) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_overrides_reach_lists_nested_keys_and_absent_sections():
    config = read(GOOD, "phases.0.tokens=5_000", "model.preset=minitron_4b", "checkpoint.keep=7", "seed=3")
    assert (config.phases[0].tokens, config.checkpoint.keep, config.seed) == (5000, 7, 3)


def test_overrides_of_a_shorthand_reach_into_it_or_replace_it_whole():
    assert read(GOOD, "model.overrides.layers=2").model.shape().layers == 2
    assert read(GOOD, "model={preset: debug, overrides: {layers: 2}}").model.shape().layers == 2


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("phases.3.tokens=1", "'3' is no index into it: use 0 to 0"),
        ("seed", "write it as key.key=value"),
        ("sead=3", "--set sead=3: unknown key 'sead': did you mean 'seed'"),
        ("seed=x", "--set seed=x: key 'seed' is 'x': give a whole number"),
        ("seed.x=1", "'seed' is a plain value"),
    ],
)
def test_a_wrong_override_is_named(override, sentence):
    with pytest.raises(ConfigError) as caught:
        read(GOOD + "seed: 1\n", override)
    assert sentence in str(caught.value)


def test_every_field_of_the_shape_can_be_overridden():
    assert [f.name for f in fields(ShapeOverrides)] == [f.name for f in fields(Shape)]


@pytest.mark.parametrize("name", ["debug", "debug_continued", "nemotron4_15b", "nemotron4_15b_continued"])
def test_shipped_configurations_read(name):
    assert read_config(name).model.preset in PRESETS


def test_vocabulary_from_shards():
    text = GOOD.replace("model: debug", "model: {preset: debug, overrides: {vocab_size: from shards}}")
    assert read(text).model.shape(1234).vocab_size == 1234


def test_sequences_longer_than_the_context_are_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "sequence_length: 512\n", "utf-8")
    with pytest.raises(ConfigError, match="above the model's context 256"):
        read_config(path)
