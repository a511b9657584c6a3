"""The commands as a user meets them: sentences for mistakes, start-up without torch."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from gristmill.trainer.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("model: debug\nphasess: []\n", "utf-8")
    for arguments in (("plan", "nothing"), ("run", bad), ("plan", "minitron_8b", "--set", "seed=1")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    assert "bad.yaml:2: phasess is no key; did you mean phases" in run("run", bad).stderr


def test_without_torch_it_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("export", "checkpoints", "model")
    assert result.exit_code == 2
    assert result.stderr == 'this command needs torch, which is not installed: pip install "gristmill[train]"\n'


def test_help_and_plan_need_no_torch():
    code = """
import sys
from typer.testing import CliRunner
from gristmill.trainer.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
assert CliRunner().invoke(app, ["plan", "nemotron4_15b"]).exit_code == 0
assert CliRunner().invoke(app, ["plan", "nemotron4_340b"]).exit_code == 0
print(sorted({"torch", "triton", "transformers", "pyarrow", "numba", "sentencepiece"} & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_python_m_trainer_is_the_same_command():
    out = subprocess.run(
        [sys.executable, "-m", "trainer", "plan", "nemotron4_15b"], capture_output=True, text=True, check=True
    )
    assert "15,628,775,424" in out.stdout


def test_generate_continues_a_text(config_file, tmp_path):
    """With a real tokenizer whose vocabulary the model has: greedy text is the same twice."""
    from gristmill.tokenizer.train import train

    train(["to be or not to be, that is the question. " * 50, "abc def ghi " * 50], tmp_path / "tok", 960)
    model = tmp_path / "tok" / "tokenizer.model"
    config = config_file("run")
    result = run("run", config, "--set", "model.overrides.vocab_size=1024", "--stop-after-steps", 2)
    assert result.exit_code == 0, result.stderr
    arguments = ("generate", tmp_path / "run" / "checkpoints", "to be", "--tokenizer", model, "--tokens", 8)
    first = run(*arguments, "--temperature", 0)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("to be")
    assert run(*arguments, "--temperature", 0).stdout == first.stdout
    assert run(*arguments, "--seed", 5).stdout == run(*arguments, "--seed", 5).stdout


def test_evaluate_scores_a_checkpoint(config_file, tmp_path, shards):
    assert run("run", config_file("run"), "--stop-after-steps", 2).exit_code == 0
    result = run("evaluate", tmp_path / "run" / "checkpoints", shards / "holdout", "--max-tokens", 500)
    assert result.exit_code == 0, result.stderr
    assert "all" in result.stdout
    assert "bits per byte" in result.stdout
