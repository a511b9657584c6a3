"""An output remembers the configuration that made it, and commands find it from any folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus import records
from typer.testing import CliRunner

from gristmill.pipeline.cli import app
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.config.recorded import anchored
from gristmill.settings.errors import ConfigError

SETS = "--set seed=3 --set stages.rules.set.words.min=60"


@pytest.fixture(scope="module")
def made(shared_data: Path, language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration full of relative paths, and `here`, its output of `gristmill run`."""
    folder = tmp_path_factory.mktemp("rerun")
    lines = [json.dumps(r) for r in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 80)]
    (folder / "data").mkdir()
    (folder / "data" / "news.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "models").mkdir()
    shutil.copy(language_model, folder / "models")
    config = {
        "sources": [{"name": "news", "uri": "data/*.jsonl", "columns": {"url": "url"}}],
        "stages": [{"language": {}}, "rules", "exact_dedup"],
        "tokenizer": {"vocab_size": 1200},
        "blends": {"english": {"domains": {"english": 1}}},
    }
    (folder / "mine.yaml").write_text(json.dumps(config), "utf-8")
    said(folder, "run mine.yaml --inline -o here --set seed=3")
    return folder


def said(folder: Path, command: str, shell: str = "") -> str:
    """Standard output of a command of ours, run in `folder`. shell: goes before it."""
    ours = f"{shlex.quote(sys.executable)} -m gristmill"
    line = f"{shell}{ours} {command}"
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "run.json").read_text())
    return found


def last_line(text: str) -> str:
    return text.rstrip("\n").splitlines()[-1]


pytestmark = pytest.mark.slow


def test_a_run_records_how_it_was_started(made: Path) -> None:
    expected = {"config": str(made / "mine.yaml"), "directory": str(made), "set": ["seed=3"], "output": "here"}
    assert record_of(made / "here")["invocation"] == expected


@pytest.mark.parametrize(
    ("below", "output", "expected"),
    [
        (".", "here", f"gristmill run mine.yaml --output here {SETS}"),
        ("data", "../here", "cd {made} && gristmill run mine.yaml --output here " + SETS),
        ("data", "{made}/here", "cd {made} && gristmill run mine.yaml --output here " + SETS),
    ],
    ids=["here", "elsewhere", "elsewhere, absolute"],
)
def test_whatif_ends_with_the_run_that_makes_it_so(made: Path, below: str, output: str, expected: str) -> None:
    found = said(made / below, f"whatif 'words >= 60' -o {output.format(made=made)}")
    assert last_line(found) == expected.format(made=made)
    figures = json.loads(said(made / below, f"whatif 'words >= 60' --json -o {output.format(made=made)}"))
    assert figures["command"] == expected.format(made=made)


def test_what_whatif_says_works_as_it_stands(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    foreseen = json.loads(said(tmp_path, "whatif 'words >= 500' --json -o copy/here"))
    # the recorded folder is the original's, so --output leads to the copy
    assert foreseen["command"].startswith(f"cd {made} && gristmill run mine.yaml --output {folder}/here ")
    shell, _, arguments = foreseen["command"].partition("gristmill ")
    said(tmp_path, f"{arguments} --inline", shell)
    entry = next(entry for entry in record_of(folder / "here")["funnel"] if entry["stage"] == "rules")
    assert entry["kept"] == foreseen["total"]["kept_after"] < foreseen["total"]["kept_before"]


def test_where_the_configuration_is_gone_the_record_is_one(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    record = record_of(folder / "here")
    record["invocation"] |= {"config": str(folder / "gone.yaml"), "directory": str(folder)}
    (folder / "here" / "run.json").write_text(json.dumps(record))
    command = json.loads(said(tmp_path, "whatif 'words >= 500' --json -o copy/here"))["command"]
    assert command == "gristmill run copy/here/run.json --output copy/here --set stages.rules.set.words.min=500"
    said(tmp_path, f"{command.removeprefix('gristmill ')} --inline")
    again = record_of(folder / "here")
    assert again["configuration"]["seed"] == 3
    assert {step["name"]: step["computed"] for step in again["steps"]}["read"] == 0


def test_a_record_runs_again_without_computing_anything(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    said(tmp_path, "run copy/here/run.json --inline --output copy/here")
    assert sum(step["computed"] for step in record_of(tmp_path / "copy" / "here")["steps"]) == 0


def test_documents_are_removed_by_the_recorded_configuration_from_any_folder(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    lines = (folder / "data" / "news.jsonl").read_text("utf-8").splitlines()
    url = json.loads(lines[5])["url"]
    requests = tmp_path / "requests.txt"
    requests.write_text(f"{url}\nhttps://nowhere.example/\n{'f' * 32}\n")
    done = json.loads(said(tmp_path, f"remove --ids {requests} --inline --json --output {folder}/here"))
    assert (done["new"], done["removed"], done["before"]) == (1, 1, 0)
    assert done["unknown"] == ["https://nowhere.example/", "f" * 32]
    assert record_of(folder / "here")["invocation"] == record_of(made / "here")["invocation"]
    requests.write_text(f"{url}\n")  # which the output does not hold any more
    done = json.loads(said(tmp_path, f"remove --ids {requests} --inline --json -o copy/here"))
    assert (done["new"], done["removed"], done["before"], done["unknown"]) == (0, 1, 1, [])


def test_a_document_is_tried_as_the_output_was_made(made: Path, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("The miller weighs the grain. " * 20)
    tried = json.loads(said(tmp_path, f"try page.txt --json -o {made}/here"))
    assert "nemotron.words" in json.dumps(tried)
    assert [each["stage"] for each in tried["stages"]] == ["language", "signals", "rules"]


def test_explain_reads_the_source_from_any_folder(made: Path, tmp_path: Path) -> None:
    row = json.loads((made / "data" / "news.jsonl").read_text("utf-8").splitlines()[5])
    for command in (f"explain {row['url']} -o {made}/here", f"explain {row['url']} {made}/here"):
        found = json.loads(said(tmp_path, f"{command} --json"))
        assert row["url"] in json.dumps(found)
        assert row["text"][:40] in json.dumps(found, ensure_ascii=False)


def test_relative_paths_of_a_record_are_those_of_the_folder_it_was_started_in(tmp_path: Path) -> None:
    configuration = {
        "sources": [{"name": "a", "uri": "data/*.jsonl"}, {"name": "b", "uri": "s3://c/d"}, {"name": "c", "uri": "/e"}],
        "output": "out",
        "tokenizer": {"path": "t.model"},
        "stages": [
            {"language": {"model": "models/x.ftz"}},
            {"decontaminate": {"benchmarks": ["b/*.jsonl", "/abs"]}},
            {"not_here:Stage": {"file": "x"}},
        ],
    }
    found = anchored(configuration, str(tmp_path))
    assert found["sources"] == [
        {"name": "a", "uri": f"{tmp_path}/data/*.jsonl"},
        {"name": "b", "uri": "s3://c/d"},
        {"name": "c", "uri": "/e"},
    ]
    assert (found["output"], found["tokenizer"]) == (f"{tmp_path}/out", {"path": f"{tmp_path}/t.model"})
    assert found["stages"] == [
        {"language": {"model": f"{tmp_path}/models/x.ftz"}},
        {"decontaminate": {"benchmarks": [f"{tmp_path}/b/*.jsonl", "/abs"]}},
        {"not_here:Stage": {"file": "x"}},
    ]
    assert anchored(configuration, os.getcwd()) == anchored(configuration, None) == configuration


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "run.json: is not the record of a run; name a configuration"),
        ("[]", "run.json: is not the record of a run; name a configuration"),
        (
            '{"configuration": {"sources": [{"name": "a", "uri": "s3://b/c?token=***"}]}}',
            "credentials of the run are not recorded",
        ),
    ],
)
def test_a_record_that_is_none_is_one_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=sentence.replace(".", r"\.")):
        load(str(tmp_path / "run.json"))


def test_two_outputs_or_none_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["report"], ["clean"], ["verify"], ["explain", "0123456789"], ["whatif", "words >= 3"]):
        nothing = CliRunner().invoke(app, arguments)
        assert "no output is named, and there is no folder out here; name one with --output" in str(nothing.exception)
        if arguments[0] != "whatif":
            two = CliRunner().invoke(app, [*arguments, "one", "-o", "other"])
            assert "two outputs are named, one and --output other; name one" in str(two.exception)
