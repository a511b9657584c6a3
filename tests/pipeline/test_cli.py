"""The command line: help at once, one sentence for an error, exit codes 0, 1 and 2, commands of other parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import records
from typer.main import get_command

from gristmill.pipeline.cli import app, main
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.table import LINE_PRESETS, PRESETS

HEAVY = (
    "ray",
    "torch",
    "numba",
    "pyarrow",
    "numpy",
    "yaml",
    "sentencepiece",
    "fasttext",
    "kenlm",
    "triton",
)
OWN = ("run", "plan", "report", "explain", "whatif", "try", "verify", "rules", "remove", "clean")
PARTS = ("tokenizer", "train")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, out, err


def python(code: str, *paths: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "COLUMNS": "120"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=cwd)


@pytest.mark.parametrize("command", [(), ("run",), *((part,) for part in PARTS)], ids=lambda c: " ".join(c) or "all")
def test_help_imports_nothing_heavy(command: tuple[str, ...], tmp_path: Path) -> None:
    code = f"""
import sys
from gristmill.pipeline.cli import app, main
try:
    main({[*command, "--help"]!r})
except SystemExit as ended:
    print("code", ended.code)
print("heavy", sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    assert python(code, cwd=tmp_path).stdout.splitlines()[-2:] == ["code 0", "heavy []"]


def test_help_lists_our_commands_and_those_of_other_parts(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "--help")
    assert code == 0
    listed = [line.split()[1] for line in out.splitlines() if line.startswith("│") and len(line.split()) > 3]
    assert [name for name in listed if name in (*OWN, *PARTS)] == [*OWN, *PARTS]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below one, with its words."""
    if not hasattr(command, "list_commands"):
        yield " ".join(path), command
        return
    for name in command.list_commands(None):
        yield from leaves(command.get_command(None, name), (*path, name))


def test_every_command_answers_programs_and_shows_an_example() -> None:
    commands = dict(leaves(get_command(app)))
    assert {"run", "explain", "tokenizer encode", "train plan"} <= commands.keys()
    for name, command in commands.items():
        assert any("--json" in parameter.opts for parameter in command.params), name
        assert f"gristmill {name}" in command.help, name


def test_every_command_and_group_answers_minus_h_and_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [("tokenizer",), ("train",), ("lm",), ("quality",), ()]
    for group in groups:
        assert answer(capsys, *group, "--version") == (0, answer(capsys, "--version")[1], ""), group
        assert answer(capsys, *group, "-h")[:2] == answer(capsys, *group, "--help")[:2]
    for name, _ in leaves(get_command(app)):
        assert answer(capsys, *name.split(), "-h") == (0, answer(capsys, *name.split(), "--help")[1], ""), name


def test_an_output_is_named_in_the_same_way_in_all_commands() -> None:
    commands = dict(leaves(get_command(app)))
    naming = {
        *("run", "plan", "report", "explain", "whatif", "try", "verify", "remove", "clean"),
        *("lm train", "quality train", "tokenizer train", "tokenizer report", "train export", "train import"),
    }
    assert naming <= commands.keys()
    for name in naming:
        assert any({"--output", "-o"} <= set(parameter.opts) for parameter in commands[name].params), name


@pytest.mark.slow
@pytest.mark.parametrize("module", ["pipeline", "tokenizer", "trainer"])
def test_a_module_says_its_version_and_answers_minus_h(module: str) -> None:
    for option, part in (("--version", "gristmill "), ("-h", "Usage: ")):
        command = [sys.executable, "-m", module, option]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr
        assert part in done.stdout


@pytest.mark.slow
def test_help_has_no_escapes_where_none_are_wanted(tmp_path: Path) -> None:
    code = "from gristmill.pipeline.cli import main; main(['run', '--help'])"
    for environment, escapes in (({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            cwd=tmp_path,
        )
        assert ("\x1b" in done.stdout) is escapes


def test_pipeline_is_run_as_a_module_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gristmill.pipeline", "rules", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == sum(map(len, [*PRESETS.values(), *LINE_PRESETS.values()]))


def test_rules_lists_every_rule_with_its_limits_and_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "rules", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    tables = {"documents": PRESETS, "lines": LINE_PRESETS}
    expected = [(of, p, rule.name) for of, table in tables.items() for p, rules in table.items() for rule in rules]
    assert [(row["of"], row["preset"], row["name"]) for row in rows] == expected
    assert all(row["source"] and (row["minimum"] is not None or row["maximum"] is not None) for row in rows)
    code, table, _ = answer(capsys, "rules")
    assert code == 0
    assert all(row["name"] in table for row in rows)


def test_rules_lists_every_signal_with_its_unit_and_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "rules", "--signals", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["signal"] for row in rows if row["of"] == "documents"} == set(MEASURED)
    assert {row["signal"] for row in rows if row["of"] == "lines"} == {
        rule.signal for rules in LINE_PRESETS.values() for rule in rules
    }
    assert all(row["definition"] for row in rows)
    code, table, _ = answer(capsys, "rules", "--signals")
    assert code == 0
    assert all(row["signal"] in table for row in rows)


WRONG = [
    (("ruls",), "Did you mean 'rules'?; gristmill --help lists"),
    (("run", "--worker", "2"), "No such option: --worker"),
    (("run", "--workers", "0"), "workers"),
    (("run", "gone.yaml"), "gone.yaml: no such file"),
    (("run", "--set", "seed=x", "mine.yaml"), "--set seed=x: seed should be a whole number"),
    (("run", "--output", "", "mine.yaml"), "output"),
    (("verify",), "DIR"),
    (("clean", "gone"), "gone: holds no run.json"),
    (("tokenizer", "encode", "gone.txt"), "no such tokenizer"),
]


@pytest.mark.parametrize(("arguments", "part"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_command_is_one_sentence_and_code_two(
    arguments: tuple[str, ...],
    part: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("sources: [{name: m, uri: 'machine:'}]\nstages: [extract]\n")
    code, out, err = answer(capsys, *arguments)
    assert (code, out) == (2, "")
    assert part in err
    assert len(err.splitlines()) == 1
    assert err.startswith("gristmill: ")


def test_traceback_only_after_debug(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["run", "gone.yaml"], ["tokenizer", "encode", "gone.txt"]):
        plain = answer(capsys, *arguments)
        assert "Traceback" not in plain[2]
        for position in range(len(arguments) + 1):
            code, _, err = answer(capsys, *arguments[:position], "--debug", *arguments[position:])
            assert code == plain[0]
            assert "Traceback" in err
            assert err.splitlines()[-1] == plain[2].strip()


def test_folder_that_is_no_output_fails_verification(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = answer(capsys, "verify", str(tmp_path))
    assert (code, out) == (1, "")
    assert (
        err == f"{tmp_path}: holds no run.json; it is not an output of `gristmill run`, or the run has not finished\n"
    )


def test_command_whose_package_is_missing_leaves_the_others_alone(tmp_path: Path) -> None:
    installed = tmp_path / "broken-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[gristmill.commands]\nbroken = not_there.cli:app\n")
    helped = python("from gristmill.pipeline.cli import main; main(['--help'])", tmp_path, cwd=tmp_path)
    assert helped.returncode == 0
    assert "Not available: No module named 'not_there'" in helped.stdout
    assert "tokenizer" in helped.stdout
    called = python("from gristmill.pipeline.cli import main; main(['broken'])", tmp_path, cwd=tmp_path)
    assert called.returncode == 1
    assert called.stderr.startswith("gristmill: broken: cannot be loaded")


def test_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pipeline rules --json | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert json.loads(result.stdout)["preset"] == next(iter(PRESETS))
    assert result.stderr == ""


@pytest.fixture(scope="module")
def small_run(
    shared_data: Path, language_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a configuration, and what `gristmill run` said over some hundred English documents."""
    folder = tmp_path_factory.mktemp("cli")
    lines = [json.dumps(r) for r in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 150)]
    (folder / "news.jsonl").write_text("\n".join(lines), "utf-8")
    config = {
        "sources": [{"name": "news", "uri": "news.jsonl"}],
        "stages": [{"language": {"model": str(language_model)}}, "rules", "exact_dedup", "near_dedup"],
        "tokenizer": {"vocab_size": 1200},
        "blends": {"english": {"domains": {"english": 1}}},
    }
    (folder / "pipeline.yaml").write_text(json.dumps(config), "utf-8")
    return folder, python(
        "from gristmill.pipeline.cli import main; main(['run', '--inline', '-o', 'here'])", cwd=folder
    )


@pytest.mark.slow
def test_run_says_what_came_out_and_where_the_report_is(
    small_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, result = small_run
    assert result.returncode == 0, result.stderr
    *summary, report = result.stdout.splitlines()
    assert summary[0].startswith("150 documents (")
    assert summary[0].endswith(" curated, in 1 language")
    assert summary[1].startswith("blend english: ")
    assert " tokens in 1 shard: english 100.00 %" in summary[1]
    assert report == f"report: {folder}/here/report/index.html"
    assert "read " in result.stderr
    assert "Warning" not in result.stderr


@pytest.mark.slow
def test_output_of_a_run_is_reported_cleaned_and_verified_and_damage_is_found(
    small_run: tuple[Path, subprocess.CompletedProcess[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, result = small_run
    monkeypatch.chdir(folder)
    assert answer(capsys, "report", "here")[:2] == (0, result.stdout)
    assert answer(capsys, "clean", "here")[0] == 0
    assert answer(capsys, "verify", "here") == (0, "here: all is as it was written\n", "")
    shard = next((folder / "here" / "shards" / "english").glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-4] + b"\0\0\0\1")
    code, out, err = answer(capsys, "verify", "here")
    assert (code, out) == (1, "")
    assert shard.name in err
