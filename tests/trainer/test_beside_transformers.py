"""Our top-level package `kernels` shares its name with one of Hugging Face: both must work beside each other."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from trainer.cli import app


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_transformers_runs_a_nemotron_in_the_process_that_uses_our_kernels():
    out = python("""
import torch
from kernels.gpu import registry
from transformers import NemotronConfig, NemotronForCausalLM
config = NemotronConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                        num_attention_heads=4, num_key_value_heads=2)
loss = NemotronForCausalLM(config)(torch.arange(8)[None], labels=torch.arange(8)[None]).loss
loss.backward()
print(registry.load("cpu").attention.__module__, torch.isfinite(loss).item())
""")
    assert out.split() == ["kernels.gpu.attention", "True"]


def test_our_kernels_import_after_transformers_has_looked_for_its_own():
    out = python("""
import transformers
from transformers import AutoModelForCausalLM
import kernels
from kernels.gpu import registry
print(kernels.__path__[0] in registry.__file__)
""")
    assert out.strip() == "True"


def test_a_start_with_both_installed_says_so_in_one_sentence(config_file, tmp_path, monkeypatch):
    """A distribution of that name on the path, as pip leaves it."""
    info = tmp_path / "site" / "kernels-0.9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.9.0\n", "utf-8")
    quiet = CliRunner().invoke(app, ["run", str(config_file("a")), "--stop-after-steps", "1"])
    assert "Hugging Face" not in quiet.stderr
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    result = CliRunner().invoke(app, ["run", str(config_file("b")), "--stop-after-steps", "1"])
    assert result.exit_code == 0
    sentences = [line for line in result.stderr.splitlines() if "Hugging Face" in line]
    assert len(sentences) == 1
    assert "kernels 0.9.0 is installed too" in sentences[0]
