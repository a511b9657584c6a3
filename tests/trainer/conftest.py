"""Real shards of a small alphabet: the standard library's source as bytes, by the project's own writer."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gristmill.tokenizer.manifest import manifest, write_manifest
from gristmill.tokenizer.shards import Layout, ShardWriter

EOS, VOCABULARY = 3, 260
"""A byte b is token b + 4."""


def write_shards(
    folder: Path, names: list[str], shards: int = 2, prefix: str = "shard", layout: Layout | None = None
) -> Path:
    """The named modules, cut into documents of 40 lines, as `shards` shards with a manifest."""
    library = Path(sysconfig.get_path("stdlib"))
    documents: list[bytes] = []
    for name in names:
        lines = (library / f"{name}.py").read_text("utf-8").splitlines(keepends=True)
        documents += ["".join(lines[i : i + 40]).encode() for i in range(0, len(lines), 40)]
    entries = []
    for index in range(shards):
        mine = documents[index::shards]
        tokens = [np.append(np.frombuffer(d, np.uint8).astype(np.int32) + 4, np.int32(EOS)) for d in mine]
        writer = ShardWriter(folder / f"{prefix}-{index:05d}", layout=layout)
        offsets = np.concatenate([[0], np.cumsum([len(t) for t in tokens])]).astype(np.int64)
        writer.append(np.concatenate(tokens), offsets, document_table([len(d) for d in mine], index))
        entries.append(writer.close())
    facts = {"blend": "test", "tokenizer_sha256": "0" * 64, "dtype": (layout or Layout()).dtype}
    content = manifest(entries, seed=1, vocab_size=VOCABULARY, eos_id=EOS, **facts)
    write_manifest(str(folder), content)
    return folder


def document_table(sizes: list[int], salt: int) -> pa.Table:
    n = len(sizes)
    return pa.table(
        {
            "id": pa.array([(salt << 32 | i).to_bytes(16, "big") for i in range(n)], pa.binary(16)),
            "epoch": pa.array([0] * n, pa.int32()),
            "domain": pa.array([("code", "english")[i % 2] for i in range(n)], pa.string()),
            "source": pa.array(["stdlib"] * n, pa.string()),
            "language": pa.array(["python"] * n, pa.string()),
            "category": pa.array([None] * n, pa.string()),
            "bytes": pa.array(sizes, pa.int64()),
        }
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The tensors of these tests are tiny: threads would only wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """About 350,000 tokens in two shards, and a holdout of 50,000."""
    folder = tmp_path_factory.mktemp("shards") / "pretrain"
    write_shards(folder, ["argparse", "ast", "datetime", "inspect", "pathlib"])
    write_shards(folder / "holdout", ["textwrap", "string"], shards=1, prefix="holdout")
    return folder


@pytest.fixture(scope="session")
def half_shards(tmp_path_factory) -> Path:
    """The training documents of `shards` as uint16."""
    names = ["argparse", "ast", "datetime", "inspect", "pathlib"]
    return write_shards(tmp_path_factory.mktemp("half") / "pretrain", names, layout=Layout("uint16"))


@pytest.fixture(scope="session")
def other_shards(tmp_path_factory) -> Path:
    return write_shards(tmp_path_factory.mktemp("other") / "code", ["typing", "socket"])


@pytest.fixture
def config_file(tmp_path, shards, other_shards):
    """Writes a configuration for a tiny model: two phases, a batch ramp, a blend of two shard sets."""

    def write(name: str = "run") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"""
model:
  preset: debug
  overrides: {{layers: 2, hidden: 32, heads: 4, kv_heads: 2, head_dim: 8, ffn: 64, vocab_size: from shards}}
dtype: float32
device: cpu
sequence_length: 64
micro_batch_size: 2
phases:
  - tokens: 2_000
    shards: {shards}
    batch_ramp: [{{sequences: 2, tokens: 600}}, {{sequences: 5}}]
    learning_rate: {{peak: 3e-3, final: 3e-4, warmup_tokens: 300}}
  - tokens: 1_500
    blend: [{{shards: {shards}, weight: 0.6}}, {{shards: {other_shards}, weight: 0.4}}]
    batch_ramp: [{{sequences: 4}}]
data: {{block_samples: 16}}
checkpoint: {{directory: {tmp_path}/{name}/checkpoints, every_tokens: 1000, keep: 2}}
logging: {{directory: {tmp_path}/{name}, every_steps: 100}}
evaluation: {{max_tokens: 2000}}
""",
            "utf-8",
        )
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> Path:
    """A folder with a tokenizer of 1,600 pieces in both formats, of the standard library's text."""
    from gristmill.tokenizer.export import export
    from gristmill.tokenizer.train import train

    folder = tmp_path_factory.mktemp("tokenizer")
    library = Path(sysconfig.get_path("stdlib"))
    train([(library / f"{name}.py").read_text("utf-8") for name in ("argparse", "textwrap", "pathlib")], folder, 1600)
    export(folder / "tokenizer.model", folder)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory, tokenizer) -> Path:
    """A Hugging Face directory: a small model of random weights in fp32, and its tokenizer."""
    import torch

    from gristmill.trainer.checkpoints.export import write_hf
    from gristmill.trainer.model.names import logical_weights
    from gristmill.trainer.model.nemotron import Nemotron, init_std
    from gristmill.trainer.model.shape import Shape

    shape = Shape(3, 64, 4, 2, 16, 128, 1664, context=128, init_std=0.15)
    torch.manual_seed(1)
    model = Nemotron(shape)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=init_std(name, shape) or 0.1)
    weights = logical_weights({name: p.detach() for name, p in model.named_parameters()}, shape)
    folder = tmp_path_factory.mktemp("exported") / "hf"
    write_hf(folder, weights, shape, torch.float32, tokenizer)
    return folder
