"""A folder `kernels` lies in the checkout, and a package of Hugging Face has that name: transformers looks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_transformers_runs_a_nemotron_in_the_process_that_uses_our_kernels():
    out = python("""
import torch
from gristmill.kernels.gpu import registry
from transformers import NemotronConfig, NemotronForCausalLM
config = NemotronConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                        num_attention_heads=4, num_key_value_heads=2)
loss = NemotronForCausalLM(config)(torch.arange(8)[None], labels=torch.arange(8)[None]).loss
loss.backward()
print(registry.load("cpu").attention.__module__, torch.isfinite(loss).item())
""")
    assert out.split() == ["gristmill.kernels.gpu.attention", "True"]


def test_our_kernels_import_after_transformers_has_looked_for_its_own():
    out = python("""
import transformers
from transformers import AutoModelForCausalLM
import gristmill.kernels
from gristmill.kernels.gpu import registry
print(gristmill.kernels.__path__[0] in registry.__file__)
""")
    assert out.strip() == "True"
