"""An output goes to the Hub whole or not at all: the real client against a hub on loopback that takes uploads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_uploads import TOKEN, UploadHub

pytest.importorskip("huggingface_hub")

TARGET = "hf://datasets/org/corpus"


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    hub = UploadHub()
    yield hub
    hub.close()


@pytest.fixture
def output(small_output: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(small_output, tmp_path / "out", ignore=shutil.ignore_patterns("work", "report"))


def environment(hub: UploadHub, **given: str) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **given,
    }


def publish(hub: UploadHub, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gristmill.pipeline.cli", "publish", *arguments]
    return subprocess.run(command, env=environment(hub, **given), capture_output=True, text=True)


def sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that it says."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("gristmill: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def files(output: Path, folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(output)): p.read_bytes() for p in (output / folder).rglob("*") if p.is_file()}


def test_the_repository_has_the_curated_files_and_the_card(hub: UploadHub, output: Path) -> None:
    done = publish(hub, str(output), TARGET, "--json")
    assert done.returncode == 0, done.stderr
    curated = files(output, "curated")
    said = json.loads(done.stdout)
    assert (said["repository"], said["files"], said["edited"]) == ("org/corpus", len(curated), False)
    card = (output / "README.md").read_bytes()
    assert hub.files("org/corpus") == curated | {"README.md": card, ".gitattributes": b"*.parquet filter=lfs\n"}
    assert hub.repositories["org/corpus"].private
    assert hub.messages[-1] == "Data set card"


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
def test_what_was_published_is_loaded_from_the_hub_by_subset(
    hub: UploadHub, output: Path, tmp_path: Path, streaming: bool
) -> None:
    pytest.importorskip("datasets")
    assert publish(hub, str(output), TARGET, "--public").returncode == 0
    (tmp_path / "load.py").write_text(
        "import collections, datasets, json\n"
        "load = lambda name: datasets.load_dataset('org/corpus', name, split='train', "
        f"streaming={streaming}, cache_dir='{tmp_path}')\n"
        "count = lambda name: collections.Counter(row['subset'] for row in load(name))\n"
        "print(json.dumps({name: count(name) for name in ('all', 'code', 'english-en')}))\n"
    )
    own_cache = environment(hub) | {"HF_HOME": str(tmp_path / "hf")}  # or an earlier test's data under the same commit
    done = subprocess.run([sys.executable, str(tmp_path / "load.py")], env=own_cache, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((output / "run.json").read_text())
    documents = {f"{g['domain']}-{g['language']}": g["documents"] for g in record["groups"]}
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["all"] == documents
    assert found["code"] == {name: n for name, n in documents.items() if name.startswith("code-")}
    assert found["english-en"] == {"english-en": documents["english-en"]}


def test_a_second_time_nothing_is_sent_again_and_what_is_gone_is_deleted(hub: UploadHub, output: Path) -> None:
    assert publish(hub, str(output), TARGET, "--public").returncode == 0
    assert not hub.repositories["org/corpus"].private
    hub.repositories["org/corpus"].push({"curated/domain=old/part-00000.parquet": b"old", "LICENSE": b"mine"})
    sent = len(hub.puts)
    assert publish(hub, str(output), TARGET).returncode == 0
    assert len(hub.puts) == sent
    assert not [path for path in hub.files("org/corpus") if "domain=old" in path]
    assert hub.files("org/corpus")["LICENSE"] == b"mine"


def test_after_a_failure_the_same_command_goes_on(hub: UploadHub, output: Path) -> None:
    hub.fail = 3
    assert "run the same command again" in sentence(publish(hub, str(output), TARGET), 1)
    assert "README.md" not in hub.files("org/corpus")
    sent = {*hub.puts}
    assert publish(hub, str(output), TARGET).returncode == 0
    assert len(hub.puts) == len({*hub.puts}) > len(sent)
    assert files(output, "curated").items() <= hub.files("org/corpus").items()


def test_with_the_ledger_the_card_names_it(hub: UploadHub, output: Path) -> None:
    assert publish(hub, str(output), TARGET, "--ledger").returncode == 0
    there = hub.files("org/corpus")
    assert files(output, "ledger").items() <= there.items()
    assert b"config_name: ledger" in there["README.md"]


def test_a_card_that_somebody_has_edited_goes_as_it_is(hub: UploadHub, output: Path) -> None:
    edited = (output / "README.md").read_bytes() + b"\nOurs.\n"
    (output / "README.md").write_bytes(edited)
    done = publish(hub, str(output), TARGET)
    assert "has been edited" in done.stdout
    assert hub.files("org/corpus")["README.md"] == edited


def test_an_output_that_is_not_whole_is_not_published(hub: UploadHub, output: Path) -> None:
    path = next((output / "curated").rglob("*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    said = sentence(publish(hub, str(output), TARGET), 2)
    assert str(path) in said
    assert "gristmill verify" in said
    path.write_bytes(content)
    record = json.loads((output / "run.json").read_text())
    record["steps"][0]["missing"] = [0]
    (output / "run.json").write_text(json.dumps(record))
    assert "left out 1 of the tasks of read" in sentence(publish(hub, str(output), TARGET), 2)
    (output / "run.json").unlink()
    assert "holds no run.json" in sentence(publish(hub, str(output), TARGET), 2)
    assert hub.repositories == {}


def test_a_token_that_may_not_write_is_one_sentence(hub: UploadHub, output: Path) -> None:
    said = sentence(publish(hub, str(output), TARGET, HF_TOKEN="hf_secret"), 2)
    assert "hf auth login" in said
    assert "hf_secret" not in said
    assert "HF_TOKEN" in sentence(publish(hub, str(output), "hf://datasets/foreign/corpus"), 2)


def test_a_hub_that_is_not_there_and_a_target_that_is_none(hub: UploadHub, output: Path) -> None:
    said = sentence(publish(hub, str(output), TARGET, HF_ENDPOINT="http://127.0.0.1:9"), 1)
    assert "cannot be reached" in said
    for wrong in ("org/corpus", "hf://datasets/corpus", "hf://models/org/x", "hf://datasets/org/corpus/part"):
        assert "write hf://datasets/ORG/NAME" in sentence(publish(hub, str(output), wrong), 2)
    assert "copy it there" in sentence(publish(hub, "s3://bucket/out", TARGET), 2)
