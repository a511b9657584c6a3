"""Held-out loss: per domain and language against a plain computation, on many ranks as on one, by the command."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from gristmill.tokenizer.encode import Encoder
from gristmill.tokenizer.manifest import manifest, write_manifest
from gristmill.tokenizer.shards import ShardReader, ShardWriter
from gristmill.trainer.cli import app
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.parallel.groups import make_groups
from gristmill.trainer.scoring.evaluate import evaluate, rows
from gristmill.trainer.scoring.generate import load_model

sys.path.insert(0, str(Path(__file__).parent / "parallel"))

from processes import run as on_ranks

DOMAINS = (("web", "en"), ("web", "de"), ("code", "python"), (None, None))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory, tokenizer) -> Path:
    """Two shards of the standard library's documents, under four pairs of domain and language."""
    folder = tmp_path_factory.mktemp("held_out")
    encoder = Encoder(tokenizer / "tokenizer.model")
    lines = Path(json.__file__).read_text("utf-8").splitlines(keepends=True)
    texts = ["".join(lines[at : at + 5]) or "\n" for at in range(0, 200, 5)]
    entries = []
    for shard in range(2):
        mine = texts[shard::2]
        values, offsets = encoder.encode_batch(mine, eos=True)
        n = len(mine)
        table = pa.table(
            {
                "id": pa.array([(shard << 32 | i).to_bytes(16, "big") for i in range(n)], pa.binary(16)),
                "epoch": pa.array([0] * n, pa.int32()),
                "domain": pa.array([DOMAINS[i % 4][0] for i in range(n)], pa.string()),
                "source": pa.array(["stdlib"] * n, pa.string()),
                "language": pa.array([DOMAINS[i % 4][1] for i in range(n)], pa.string()),
                "category": pa.array([None] * n, pa.string()),
                "bytes": pa.array([len(text.encode()) for text in mine], pa.int64()),
            }
        )
        writer = ShardWriter(folder / f"holdout-{shard:05d}")
        writer.append(values, offsets, table)
        entries.append(writer.close())
    sizes = {"vocab_size": encoder.vocab_size, "eos_id": encoder.eos_id, "tokenizer_sha256": encoder.model_sha256}
    write_manifest(str(folder), manifest(entries, blend="test", seed=1, **sizes))
    return folder


@torch.no_grad()
def plain(model, folder: Path, sequence: int, limit: int) -> dict[tuple[str, str], list[float]]:
    """(domain, language) -> tokens, loss, bytes: one window at a time from the logits, one token at a time."""
    sums: dict[tuple[str, str], list[float]] = {}
    for shard in range(2):
        reader = ShardReader(folder / f"holdout-{shard:05d}")
        table = reader.documents(["domain", "language", "bytes", "tokens", "first_token"]).to_pylist()
        tokens = torch.tensor(reader.tokens[:limit].astype("int64"))
        for start in range(0, len(tokens) - 1, sequence):
            window = tokens[start : start + sequence + 1]
            logits = model.logits(window[None, :-1])[0].double()
            losses = -logits.log_softmax(-1).gather(1, window[1:, None])[:, 0]
            for place, loss in enumerate(losses.tolist(), start + 1):
                row = next(r for r in table if r["first_token"] <= place < r["first_token"] + r["tokens"])
                mine = sums.setdefault((row["domain"] or "", row["language"] or ""), [0, 0.0, 0.0])
                mine[0] += 1
                mine[1] += loss
                mine[2] += row["bytes"] / row["tokens"]
    return sums


def check(figures: dict, tokens: float, loss: float, size: float) -> None:
    assert figures["tokens"] == tokens
    assert figures["loss"] == pytest.approx(loss / tokens, rel=1e-6)
    assert figures["bytes"] == round(size)
    assert figures["bits_per_byte"] == pytest.approx(loss / math.log(2) / size, rel=1e-6)


def test_every_domain_and_language_has_its_loss_and_bits_per_byte(exported, held_out):
    model = load_model(exported)
    figures = evaluate(model, held_out, 64, 3, 1000, "cpu")
    expected = plain(model, held_out, 64, 500)
    check(figures, *np.sum(list(expected.values()), axis=0))
    assert set(figures["domains"]) == {"", "code", "web"}
    assert set(figures["domains"]["web"]["languages"]) == {"de", "en"}
    for (domain, language), sums in expected.items():
        check(figures["domains"][domain]["languages"][language], *sums)
    check(figures["domains"]["web"], *np.add(expected["web", "de"], expected["web", "en"]))
    printed = [(domain, language) for domain, language, _ in rows(figures)]
    assert printed[0] == ("all", "")
    assert sorted(printed[1:]) == [("", ""), ("", "de"), ("", "en"), ("code", "python"), ("web", "")]
    assert printed.index(("web", "")) + 1 == min(printed.index(("", "en")), printed.index(("", "de")))


WAYS = [(batch, how) for batch in (1, 4) for how in ("joined", "separate")]


def on_rank(exported: str, folder: str) -> list[dict]:
    """One of two data-parallel ranks, each with the whole model."""
    data = make_groups(1, 1, 2).data
    model = load_model(exported)
    return [evaluate(model, folder, 64, batch, 1000, "cpu", how, data) for batch, how in WAYS]


@pytest.mark.slow
def test_data_parallel_ranks_share_the_work_and_have_the_figures_of_one(exported, held_out):
    model = load_model(exported)
    alone = [evaluate(model, held_out, 64, batch, 1000, "cpu", how) for batch, how in WAYS]
    assert alone[0]["loss"] != alone[1]["loss"]
    for figures in on_ranks(on_rank, 2, str(exported), str(held_out)):
        assert figures == alone  # to the bit: the same batches, and zeros added


def test_shards_of_a_larger_vocabulary_are_refused(exported, held_out, tmp_path):
    content = json.loads((held_out / "manifest.json").read_text("utf-8"))
    sizes = {"vocab_size": 256_000, "eos_id": 3, "tokenizer_sha256": "0" * 64}
    write_manifest(str(tmp_path), manifest(content["shards"], blend="test", seed=1, **sizes))
    for shard in held_out.glob("holdout-*"):
        (tmp_path / shard.name).symlink_to(shard)
    with pytest.raises(ConfigError, match=r"vocabulary of 256,000, the model has 1,664"):
        evaluate(load_model(exported), tmp_path, 64, 1, 1000, "cpu")


def test_the_command_prints_a_table_and_gives_json(exported, held_out):
    def run(*arguments):
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    table = run(exported, held_out, "--max-tokens", 1000)
    figures = json.loads(run(exported, held_out, "--max-tokens", 1000, "--json"))
    assert figures == json.loads(json.dumps(evaluate(load_model(exported), held_out, 128, 128, 1000, "cpu")))
    for domain, language, row in rows(figures):
        assert f"{domain:20} {language:14} {row['loss']:8.4f}" in table
    apart = json.loads(run(exported, held_out, "--max-tokens", 1000, "--documents", "separate", "--json"))
    assert apart["tokens"] == figures["tokens"]
    assert apart["loss"] != figures["loss"]
