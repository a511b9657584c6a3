"""Reading the configuration: types, overrides, and errors that name line, key and the nearest name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from gristmill.settings.located import parse
from gristmill.trainer.config.keys import ShapeOverrides, checked, read_config
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
    return checked(parse(text, "run.yaml"), overrides)


def test_numbers_that_yaml_takes_for_text_are_numbers():
    config = read(GOOD)
    assert config.phases[0].tokens == 1_000_000
    assert config.optimizer.eps == 1e-8
    assert config.model.shape() == PRESETS["debug"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("optimizer:", "optimiser:"), r"^run\.yaml:6: optimiser is no key; did you mean optimizer$"),
        (("peak: 1e-3", "paek: 1e-3"), r"^run\.yaml:5: phases\.0\.learning_rate\.paek is no key; did you mean peak$"),
        (("eps: 1e-8", "eps: small"), r'^run\.yaml:7: optimizer\.eps should be a number, not "small"$'),
        (("tokens: 1e6", "tokens: 1.5"), r"^run\.yaml:3: phases\.0\.tokens should be a whole number, not 1\.5$"),
        (("tokens: 1e6", "tokens: -5"), r"^run\.yaml:3: phases\.0\.tokens is -5: it must be above 0$"),
        (("model: debug", "model: nemotron"), r"^run\.yaml:1: model: 'nemotron' is no preset: choose one of"),
        (("model: debug", "dtype: float32"), r"^run\.yaml:1: model is missing; write it$"),
        (("    shards: out/shards\n", ""), r"^run\.yaml:3: phases\.0: give either `shards"),
        (("eps: 1e-8", "eps: 1\n  eps: 2"), r"^run\.yaml:8: optimizer\.eps stands here for the second time; keep one"),
        (("phases:", "phases: ]"), r"^run\.yaml:2: this is not valid YAML \(expected"),
        (
            ("optimizer:\n  eps: 1e-8", "optimizer: [1]"),
            r"^run\.yaml:6: optimizer should be a mapping, not \[1\]; its keys are beta1, beta2, eps, weight_decay,",
        ),
        (
            ("eps: 1e-8", "eps: 1e-8\ndtype: float16"),
            r"^run\.yaml:8: dtype should be 'bfloat16' or 'float32', not \"float16\"$",
        ),
        (("eps: 1e-8", "eps: 1\nparallel: {data: 0}"), r"^run\.yaml:8: parallel\.data is 0: it must be above 0$"),
        (
            ("eps: 1e-8", "eps: 1\ninstability: {spike_factor: 1}"),
            r"^run\.yaml:8: instability\.spike_factor is 1\.0: .* above 1$",
        ),
        (
            ("eps: 1e-8", "eps: 1\nactivations: some"),
            r"^run\.yaml:8: activations should be 'all', 'lean' or 'full', not",
        ),
        (("model: debug", "model: 5"), r"^run\.yaml:1: model\.preset should be text, not 5$"),
        (
            ("model: debug", "model: {preset: debug, overrides: {vocab_size: many}}"),
            r"^run\.yaml:1: model\.overrides\.vocab_size should be 'from shards' or a whole number, not \"many\"$",
        ),
        (
            ("model: debug", "model: {preset: debug, overrides: {heads: 7}}"),
            r"^run\.yaml:1: model\.overrides\.heads 7 is no multiple of kv_heads 2$",
        ),
        (
            ("    learning_rate: {peak: 1e-3}\n", ""),
            r"^run\.yaml:3: phases\.0 has no learning_rate: the first phase needs one$",
        ),
        (
            ("shards: out/shards", "blend: [{shards: a, weight: 0}]"),
            r"^run\.yaml:4: phases\.0\.blend\.0\.weight is 0\.0: it must be above 0$",
        ),
        (
            ("shards: out/shards", "shards: a\n    batch_ramp: [{sequences: 0}]"),
            r"^run\.yaml:5: phases\.0\.batch_ramp\.0\.sequences is 0: .* above 0$",
        ),
        (("eps: 1e-8", "eps: 1\nseed: '3'"), r'^run\.yaml:8: seed should be a whole number, not "3"$'),
        (
            ("eps: 1e-8", "eps: 1\nsequence_length: 512"),
            r"^run\.yaml:8: sequence_length 512 is above the model's context 256: lower it, or raise",
        ),
        ((GOOD, "- model"), r"^run\.yaml:1: the file is a list, not a mapping; write keys"),
    ],
)
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
        ("phases.3.tokens=1", "phases has no 3; it is a list of 1, write a place from 0 to 0"),
        ("phases.tokens=1", "phases has no tokens; it is a list of 1, write a place from 0 to 0"),
        ("seed", "is not an assignment; write --set key=value"),
        ("phases..tokens=1", "is not an assignment; write --set key=value"),
        ("sead=3", "--set sead=3: sead is no key; did you mean seed"),
        ("seed=x", '--set seed=x: seed should be a whole number, not "x"'),
        ("seed.x=1", "--set seed.x=1: seed is 1, which has no x; set it as a whole"),
        ("model.preset=nemotron", "--set model.preset=nemotron: model: 'nemotron' is no preset: choose one of"),
        ("checkpoint.keep=0", "--set checkpoint.keep=0: checkpoint.keep is 0: it must be above 0"),
    ],
)
def test_a_wrong_override_is_named(override, sentence):
    with pytest.raises(ConfigError) as caught:
        read(GOOD + "seed: 1\n", override)
    assert sentence in str(caught.value)


def test_all_mistakes_of_a_file_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        read(GOOD + "seed: x\nlogging: {every_steps: 0}\n", "checkpoint.keep=no")
    assert sorted(str(caught.value).splitlines()) == [
        '--set checkpoint.keep=no: checkpoint.keep should be a whole number, not "no"',
        'run.yaml:8: seed should be a whole number, not "x"',
        "run.yaml:9: logging.every_steps is 0: it must be above 0",
    ]


def test_values_are_read_generously_where_their_type_leaves_no_doubt():
    config = read(GOOD, "phases.0.tokens=5.0", "logging.tensorboard=off", "deterministic=yes", "optimizer.eps=1")
    assert (config.phases[0].tokens, config.logging.tensorboard, config.deterministic) == (5, False, True)
    assert isinstance(config.optimizer.eps, float)
    assert read(GOOD, "checkpoint.directory=no", "sequence_length=").checkpoint.directory == "no"


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
