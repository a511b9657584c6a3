"""`gristmill init`: what it writes for folders, patterns, single files and URIs, and what it says of the rest."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import HubServer
from object_store import ObjectStore
from pdf_files import column, document, wrapped
from real_texts import programs, texts
from typer.testing import CliRunner

from gristmill.pipeline.cli import app
from gristmill.pipeline.init.writing import scalar

ROOT = Path(__file__).parents[3]
TEXT = (
    "The mill stands where the river bends, and has ground the grain of the valley for three hundred years. Nobody "
    "knows who built it. Its stones were brought up from the coast on carts, two days each way, in summer."
)


def init(*arguments: Path | str) -> tuple[dict[str, Any], str]:
    result = CliRunner().invoke(app, ["init", *map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return yaml.safe_load(result.stdout), result.stderr


def failure(*arguments: Path | str) -> str:
    result = CliRunner().invoke(app, ["init", *map(str, arguments)])
    assert result.exit_code != 0
    return str(result.exception)


def records(path: Path, count: int = 20, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"id": f"{path.stem}-{i}", "text": f"{TEXT} {i}", **more}) + "\n" for i in range(count))
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def by_format(configuration: dict[str, Any]) -> dict[str, str]:
    return {source["format"]: source["uri"] for source in configuration["sources"]}


def test_a_folder_of_several_formats_is_a_source_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for i in range(3):
        records(folder / "news" / f"{i}.jsonl.gz")
        (folder / f"note-{i}.txt").write_text(TEXT, "utf-8")
        (folder / "pages").mkdir(exist_ok=True)
        (folder / "pages" / f"{i}.html").write_text(f"<html><body><p>{TEXT}</p></body></html>", "utf-8")
        (folder / "code" / "src").mkdir(parents=True, exist_ok=True)
        (folder / "code" / "src" / f"{i}.py").write_text("import os\n\n\ndef f():\n    return os\n", "utf-8")
    (folder / "README.md").write_text("# About these files\n", "utf-8")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(50))
    configuration, said = init(folder)
    assert by_format(configuration) == {
        "tree": f"{folder}/code",
        "jsonl": f"{folder}/news",
        "text": f"{folder}/*.txt",
        "html": f"{folder}/pages",
    }
    assert "1 .jpg: it holds a picture" in said
    assert "1 .md: it is about the other files" in said


def test_one_name_for_files_of_one_format_whatever_they_are_called(tmp_path: Path) -> None:
    for name in ("part-r-00000", "b.jsonl.gz", "_en/c.jsonl", "d.json"):
        records(tmp_path / "mixed" / name)
    configuration, _ = init(tmp_path / "mixed")
    (source,) = configuration["sources"]
    assert (source["uri"], source["format"]) == (str(tmp_path / "mixed"), "jsonl")


def test_files_that_are_named_one_by_one_are_a_pattern(tmp_path: Path) -> None:
    paths = [records(tmp_path / "data" / f"part-{i}.jsonl") for i in range(12)]
    (tmp_path / "data" / "other.txt").write_text(TEXT, "utf-8")
    configuration, _ = init(*paths)
    (source,) = configuration["sources"]
    assert source["uri"] == f"{tmp_path}/data/*.jsonl"


def test_a_pattern_stays_a_pattern(tmp_path: Path) -> None:
    for name in ("a-1.jsonl", "a-2.jsonl", "b-1.jsonl"):
        records(tmp_path / name)
    configuration, _ = init(tmp_path / "a-*.jsonl")
    assert [source["uri"] for source in configuration["sources"]] == [f"{tmp_path}/a-*.jsonl"]


def test_names_with_marks_of_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "data [new]"
    for i in range(2):
        records(folder / f"what?-{i}.jsonl")
    (folder / "notes.txt").write_text(TEXT, "utf-8")
    configuration, _ = init(folder)
    uris = by_format(configuration)
    from gristmill.pipeline.readers.folder import find

    assert sorted(file.path.rsplit("/", 1)[-1] for file in find(uris["jsonl"])) == ["what?-0.jsonl", "what?-1.jsonl"]


def test_files_on_an_object_store(s3: ObjectStore) -> None:
    lines = "".join(json.dumps({"id": i, "text": f"{TEXT} {i}"}) + "\n" for i in range(20)).encode()
    for i in range(2):
        s3.put(f"crawl/part-{i}.jsonl.gz", gzip.compress(lines.replace(b'"id": ', b'"id": %d' % (i + 1))))
    s3.put("crawl/_SUCCESS", b"")
    configuration, _ = init(s3.uri("crawl"))
    (source,) = configuration["sources"]
    assert source["uri"] == s3.uri("crawl")
    assert source["columns"] == {"text": "text", "id": "id"}


def test_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    lines = "".join(json.dumps({"doc_id": f"d{i}", "content": f"{TEXT} {i}"}) + "\n" for i in range(20)).encode()
    server = HubServer()
    try:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no_token"))
        files = {"README.md": b"# A card\n", ".gitattributes": b"", "data/train-00000.jsonl.gz": gzip.compress(lines)}
        server.dataset("mill/grain", files)
        for uri in ("hf://datasets/mill/grain", "hf://datasets/mill/grain/data/*.jsonl.gz"):
            (source,) = init(uri)[0]["sources"]
            assert source["columns"] == {"text": "content", "id": "doc_id"}
            assert source["uri"].startswith("hf://datasets/mill/grain")
    finally:
        server.close()


def test_pdfs(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.pdf").write_bytes(document(column(72, 700, wrapped(f"{TEXT} {i}", 400))))
    (source,) = init(folder)[0]["sources"]
    assert (source["uri"], source["format"]) == (str(folder), "pdf")


def test_an_output_of_ours_is_left_out(tmp_path: Path) -> None:
    records(tmp_path / "a.jsonl")
    for name in ("out/run.json", "out/work/format.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    records(tmp_path / "out" / "curated" / "b.jsonl")
    configuration, said = init(tmp_path)
    assert [source["uri"] for source in configuration["sources"]] == [f"{tmp_path}/a.jsonl"]
    assert "of an output of Gristmill" in said


def test_an_input_that_holds_the_current_folder_puts_the_output_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records(tmp_path / "here" / "a.jsonl")
    monkeypatch.chdir(tmp_path / "here")
    assert init(".")[0]["output"] == "../here-out"
    assert init("a.jsonl")[0]["output"] == "out"


def test_it_overwrites_nothing_unasked(tmp_path: Path) -> None:
    data, target = records(tmp_path / "a.jsonl"), tmp_path / "pipeline.yaml"
    target.write_text("mine")
    assert "--force" in failure(data, "-o", target)
    assert target.read_text() == "mine"
    assert CliRunner().invoke(app, ["init", str(data), "-o", str(target), "--force"]).exit_code == 0
    assert "sources:" in target.read_text()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b'{"messages": [1, 2], "n": 1}\n' * 5, "no column of its records holds text"),
        ("a.parquet", b"PAR1 no more", "none of its records can be read"),
        ("a.zip", b"PK\x03\x04" + bytes(40), "zip archive; unpack it"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "it holds a picture"),
        ("a.jsonl", b"", "empty"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    said = failure(tmp_path / name)
    assert sentence in said
    assert "\n" not in said
    assert "Traceback" not in said


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    assert "no such file" in failure(tmp_path / "missing")
    assert "no file matches" in failure(tmp_path / "*.jsonl")


def test_a_configuration_is_short_and_says_what_it_does_not_use(tmp_path: Path) -> None:
    for part in range(2):
        folder = tmp_path / ("wiki", "books")[part]
        for i in range(3):
            records(folder / f"{i}.jsonl", source=folder.name, added="2020-01-01", created="2019-01-01")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert len(result.stdout.splitlines()) < 30
    assert max(map(len, result.stdout.splitlines())) <= 120
    assert "timestamp could also be `added`" in result.stdout
    assert "`source` is books, wiki" in result.stdout


def test_code_without_a_word_about_it_is_seen_in_its_text(tmp_path: Path) -> None:
    for name, some in (("a", programs()), ("b", texts()), ("c", (*texts()[:20], *programs()[:20]))):
        path = tmp_path / name / "part.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps({"content": text, "n": i % 7}) + "\n" for i, text in enumerate(some)))
    assert init(tmp_path / "a")[0]["sources"][0]["domain"] == "code"
    assert "domain" not in init(tmp_path / "b")[0]["sources"][0]
    configuration, said = init(tmp_path / "c")
    assert "domain" not in configuration["sources"][0]
    assert "of the records look like source code" in said


def test_programs_get_what_was_found_as_json(tmp_path: Path) -> None:
    records(tmp_path / "a.jsonl", lang="en")
    result = CliRunner().invoke(app, ["init", str(tmp_path / "a.jsonl"), "--json"])
    found = json.loads(result.stdout)
    assert found["sources"][0]["columns"] == {"text": "text", "id": "id", "language": "lang"}
    assert found["sources"][0]["domains"] == {"english": 1.0}
    assert yaml.safe_load(found["configuration"])["sources"][0]["format"] == "jsonl"


def test_a_missing_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = records(tmp_path / "a.jsonl")
    result = CliRunner().invoke(app, ["init", str(data)])
    assert "gristmill fetch" in result.stderr
    assert "gristmill fetch" in result.stdout


@pytest.mark.parametrize(
    "value",
    ["plain", "a: b", "with # mark", "yes", "no", "1.5", "-", "", "ümlaut", "a*b", "~", "{x}", "tab\there", "x "],
)
def test_scalars_are_read_back_as_they_are(value: str) -> None:
    assert yaml.safe_load(f"key: {scalar(value)}") == {"key": value}


@pytest.mark.slow
def test_what_it_writes_runs_unchanged(tmp_path: Path, language_model: Path) -> None:
    """From an empty folder, as a user would: init, then run, each a process of its own."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lid.176.ftz").symlink_to(language_model)
    rows = [{"doc": {"body": text, "link": f"https://example.org/{i}"}} for i, text in enumerate(texts())]
    code = [{"content": text, "lang": "Python", "hexsha": f"{i:040x}"} for i, text in enumerate(programs())]
    for name, some in (("prose", rows), ("code", code)):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), "utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    gristmill = [sys.executable, "-m", "gristmill"]
    subprocess.run(
        [*gristmill, "init", "data", "-o", "pipeline.yaml"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [*gristmill, "run", "pipeline.yaml", "--inline"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))
    assert record["blends"]["pretrain"]["tokens"] > 1000
    assert set(record["blends"]["pretrain"]["tokens_by_domain"]) == {"english", "code"}
