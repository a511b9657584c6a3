"""The blend: shares to one document, whole epochs before fractions, holdout by cluster, shards of equal make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import Role, Sealed
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.blending import build, resolve
from gristmill.pipeline.steps.tokens import TOKENIZED, TokenStats, batches
from gristmill.pipeline.steps.units import UNIT, count_units, token_files
from gristmill.stages.blend import Blend
from gristmill.storage.store import Store
from gristmill.tokenizer.shards import Layout, ShardReader

DOMAINS = {"english": ["en"], "multilingual": ["de", "fr", "sw"], "code": ["Python", "C"]}
EOS = 3


def make(task: Task[int, None]) -> TokenStats:
    """A token file of random documents; document i of file f has the id f, i and ids that name it."""
    rng = np.random.default_rng(task.payload)
    n = 400
    rows: dict[str, list[Any]] = {name: [] for name in TOKENIZED.names}
    for i in range(n):
        domain = str(rng.choice(list(DOMAINS), p=[0.5, 0.3, 0.2]))
        length = int(rng.integers(2, 60))
        identity = bytes([task.payload]) * 8 + int(i).to_bytes(8, "big")
        values = [domain, "web", "s", str(rng.choice(DOMAINS[domain])), length * 4, length]
        rows["id"].append(identity)
        rows["cluster"].append(identity if i % 10 else b"c" * 16)
        for name, value in zip(("domain", "category", "source", "language", "bytes", "tokens"), values, strict=True):
            rows[name].append(value)
        rows["ids"].append([100 + task.payload, *([i] * (length - 2)), EOS])
    with task.output.parquet(Role.TOKENS, TOKENIZED) as writer:
        for begin in range(0, n, 150):
            writer.write(pa.table(rows, schema=TOKENIZED).slice(begin, 150))
    return TokenStats(sum(rows["tokens"]), n)


CONFIG = {
    "domains": {"english": 0.70, "multilingual": 0.15, "code": 0.15},
    "within": {"multilingual": {"unimax": {"epochs": 4}}, "code": {"alpha": 1.3}},
    "tokens": "max",
    "max_epochs": 3,
}


def shards(
    tmp_path: Path, config: dict[str, Any], *, files: int = 4, tokens_per_shard: int = 10_000, max_segments: int = 3
) -> tuple[Engine, Sealed, Any, Sealed]:
    engine = Engine(Store(str(tmp_path)))
    tokenized = engine.step("tokenize", Step(make), list(range(files)), None)
    counted = count_units(engine, tokenized, seed=5, holdout=0.05)
    work = resolve("b", counted, Blend(**config), seed=5, holdout=0.05, tokens_per_shard=tokens_per_shard)
    return engine, tokenized, work, build(engine, tokenized, counted, work, Layout(), max_segments=max_segments)


def entries(tmp_path: Path, written: Sealed) -> list[ShardReader]:
    """The shards read back, in order."""
    readers = []
    for index, manifest in written.done():
        for file in manifest.files:
            suffix = file.name[file.name.index(".") :]
            target = tmp_path / "read" / f"{index:05d}{suffix}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes((tmp_path / file.path).read_bytes())
        readers.append(ShardReader(tmp_path / "read" / f"{index:05d}"))
    return readers


def test_shares_are_met_and_each_document_has_its_whole_epochs(tmp_path: Path) -> None:
    engine, tokenized, work, written = shards(tmp_path, CONFIG)
    readers = entries(tmp_path, written)
    tables = [
        reader.documents().append_column("shard", pa.array([i] * len(reader))) for i, reader in enumerate(readers)
    ]
    table = pa.concat_tables(tables[: work.shards])
    by_domain = table.group_by("domain").aggregate([("tokens", "sum")]).to_pylist()
    total = sum(row["tokens_sum"] for row in by_domain)
    longest = 60 * 3
    for row in by_domain:
        target = work.plan.tokens_by_domain[row["domain"]]
        assert abs(row["tokens_sum"] - target) <= longest
        assert abs(row["tokens_sum"] / total - CONFIG["domains"][row["domain"]]) < 0.001  # type: ignore[index]
    copies = table.group_by(["id", "epoch", "language"]).aggregate([("tokens", "sum"), ("tokens", "count")])
    assert set(copies.column("tokens_count").to_pylist()) == {1}
    held = {i for t in tables[work.shards :] for i in t.column("id").to_pylist()}
    assert held
    assert held.isdisjoint(table.column("id").to_pylist())
    epochs = {unit.language: each for unit, each in zip(work.units, work.plan.units, strict=True)}
    seen: dict[str, int] = {}
    for identity, language in zip(table.column("id").to_pylist(), table.column("language").to_pylist(), strict=True):
        seen[identity] = seen.get(identity, 0) + 1
        assert seen[identity] <= epochs[language].epochs_whole + 1
    for file in token_files(tokenized):
        for batch in batches(engine.store, file, ["id", "language"]):
            for row in batch.to_pylist():
                if row["id"].hex() not in held:
                    assert seen.get(row["id"].hex(), 0) >= epochs[row["language"]].epochs_whole


def test_every_shard_has_the_blend_and_the_ids_of_its_documents(tmp_path: Path) -> None:
    _, _, work, written = shards(tmp_path, CONFIG)
    assert work.shards > 3
    for index, reader in enumerate(entries(tmp_path, written)):
        documents = reader.documents().to_pylist()
        for place, row in enumerate(documents):
            ids = reader[place]
            assert (ids[0], ids[-1], len(ids)) == (100 + int(row["id"][:2], 16), EOS, row["tokens"])
            assert set(ids[1:-1].tolist()) <= {int(row["id"][16:], 16)}
        if index < work.shards:
            total = sum(row["tokens"] for row in documents)
            for domain, share in CONFIG["domains"].items():  # type: ignore[attr-defined]
                part = sum(row["tokens"] for row in documents if row["domain"] == domain)
                assert abs(part - share * total) <= 120


def test_a_cluster_is_on_one_side_of_the_holdout(tmp_path: Path) -> None:
    engine, tokenized, work, written = shards(tmp_path, CONFIG)
    clusters = {
        row["id"].hex(): row["cluster"]
        for file in token_files(tokenized)
        for batch in batches(engine.store, file, ["id", "cluster"])
        for row in batch.to_pylist()
    }
    sides: list[set[bytes]] = [set(), set()]
    for index, reader in enumerate(entries(tmp_path, written)):
        sides[index >= work.shards] |= {clusters[i] for i in reader.documents().column("id").to_pylist()}
    assert sides[0].isdisjoint(sides[1])


@pytest.mark.parametrize("max_segments", [2, 100])
def test_shards_do_not_depend_on_how_rows_were_exchanged(tmp_path: Path, max_segments: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _, _, _, one = shards(tmp_path / "a", CONFIG, max_segments=max_segments)
    _, _, _, other = shards(tmp_path / "b", CONFIG, max_segments=3)
    assert [[f.checksum for f in m.files] for _, m in one.done()] == [
        [f.checksum for f in m.files] for _, m in other.done()
    ]


def test_counts_by_unit_leave_out_the_holdout(tmp_path: Path) -> None:
    engine, tokenized, work, _ = shards(tmp_path, CONFIG, files=2)
    total = 0
    for file in token_files(tokenized):
        for batch in batches(engine.store, file, ["tokens", *UNIT]):
            total += sum(batch.column("tokens").to_pylist())
    held = sum(m.stats.held_out.tokens for s in engine.sealed if s.name == "blend.units" for _, m in s.done())
    assert sum(unit.tokens for unit in work.units) == total - held
