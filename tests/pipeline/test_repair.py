"""Damage to an output: what was committed is checked before it is used, and what is damaged is computed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import differences, tree

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run
from gristmill.pipeline.upkeep.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(undisturbed_run: Path) -> tuple[Path, dict]:
    """(configuration, published files) of an undisturbed run."""
    return undisturbed_run, tree(undisturbed_run.parent / "out")


@pytest.fixture
def copy(whole: Any, tmp_path: Path) -> Path:
    """A copy of the finished output, published files without hard links to the committed ones."""
    output = tmp_path / "out"
    shutil.copytree(whole[0].parent / "out", output)
    return output


def committed(output: Path) -> list[Path]:
    return sorted(path for path in (output / "work").glob("*/files/*") if path.stat().st_size)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def unpublish(output: Path) -> None:
    for name in ("curated", "signals", "ledger", "tokenizer", "shards", "manifests"):
        shutil.rmtree(output / name)


def steps_of(output: Path) -> set[str]:
    return {path.parent.parent.name.rpartition("-")[0] for path in committed(output)}


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["a flipped bit", "a byte less", "gone"])
def test_every_committed_file_may_be_damaged_and_one_run_mends_what_it_needs(
    whole: Any, copy: Path, damage: Callable[[Path], None]
) -> None:
    """The last step is to be computed again, so the run needs what came before, and that what came before it."""
    assert {"read", "near_dedup.key", "curate.send", "tokenize", "blend-pretrain-scatter"} <= steps_of(copy)
    shutil.rmtree(next((copy / "work").glob("blend-pretrain-write-*")))
    for path in committed(copy):
        damage(path)
    unpublish(copy)
    result = run(load(str(whole[0]), [f"output={copy}"]), inline=True)
    assert differences(tree(copy), whole[1]) == []
    assert verify(str(copy)) == []
    mended = {path.split("/")[1].rpartition("-")[0] for path in result.record["repaired"]}
    assert {"read", "curate", "curate.send", "tokenize", "tokenizer.train", "blend-pretrain-scatter"} <= mended
    assert any("have been computed again" in note for note in result.record["notes"])


def test_damaged_commits_and_seals_count_as_none(whole: Any, copy: Path) -> None:
    for path in [*(copy / "work").glob("*/tasks/*.json"), *(copy / "work").glob("*/step.parquet")]:
        flip(path)
    result = run(load(str(whole[0]), [f"output={copy}"]), inline=True)
    assert differences(tree(copy), whole[1]) == []
    assert sum(step["computed"] for step in result.record["steps"]) > 20
    again = run(load(str(whole[0]), [f"output={copy}"]), inline=True)
    assert sum(step["computed"] for step in again.record["steps"]) == 0


def test_a_published_file_that_was_changed_is_put_back(whole: Any, copy: Path) -> None:
    for path in (copy / "curated").rglob("*.parquet"):
        flip(path)
    assert any("content differs from its checksum" in problem for problem in verify(str(copy)))
    run(load(str(whole[0]), [f"output={copy}"]), inline=True)
    assert differences(tree(copy), whole[1]) == []


class Saboteur:
    """Progress that removes a folder below work/ when a step is reached."""

    def __init__(self, output: Path, when: str, what: str) -> None:
        self.output, self.when, self.what = output, when, what

    def start(self, step: str, tasks: int, done: int) -> None:
        if step == self.when:
            for path in (self.output / "work").glob(self.what):
                shutil.rmtree(path)

    def advance(self, step: str, manifest: Any) -> None: ...

    def finish(self, sealed: Any) -> None: ...


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("curate.send", "read-*/files"),
        ("curate.send.merge0", "curate.send-*"),
        ("tokenize", "*-*"),
        ("blend/pretrain/write", "blend-pretrain-scatter*/files"),
        ("blend/pretrain/write", "blend-pretrain-write-*"),
    ],
)
def test_a_directory_removed_in_mid_run_is_computed_again(whole: Any, tmp_path: Path, when: str, what: str) -> None:
    output = tmp_path / "out"
    run(load(str(whole[0]), [f"output={output}"]), inline=True, progress=Saboteur(output, when, what))
    assert differences(tree(output), whole[1]) == []
    assert verify(str(output)) == []
    assert json.loads((output / "run.json").read_text())["repaired"] or "write-" in what
