"""`gristmill tokenizer train` on anything that a source may be: what is read, what is said, and that bytes agree."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer
from pdf_files import column, document

from gristmill.pipeline.cli import main
from gristmill.pipeline.readers.texts import corpus
from gristmill.tokenizer.memory import available_bytes
from gristmill.tokenizer.sample import UNLABELLED
from gristmill.tokenizer.texts import curated
from gristmill.tokenizer.train import PROCESS_BYTES, process_bytes

SENTENCES = [f"Sentence {i} of the mill, which turns by water of the river number {i % 7}." for i in range(400)]
SIZE = ("--vocab-size", "1100")


def jsonl(texts: list[str], name: str = "text", **more: str) -> bytes:
    return b"".join(json.dumps({name: text, **more}).encode() + b"\n" for text in texts)


def parquet(texts: list[str], name: str = "text") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: texts}), buffer)
    return buffer.getvalue()


def rows(*places: Path | str, **options: object) -> list[tuple[str, str, str]]:
    found = corpus([str(place) for place in places], **options)  # type: ignore[arg-type]
    return sorted(
        (row["text"], row["domain"], row["language"]) for batch in found.batches() for row in batch.to_pylist()
    )


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: Path | str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["tokenizer", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


# -- what is read ------------------------------------------------------------------------------------------------------


def test_formats_give_the_same_texts(tmp_path: Path) -> None:
    for name, data in (
        ("a.jsonl", jsonl(SENTENCES)),
        ("b.jsonl.gz", gzip.compress(jsonl(SENTENCES))),
        ("c.parquet", parquet(SENTENCES)),
    ):
        (tmp_path / name).write_bytes(data)
        assert rows(tmp_path / name) == sorted((text, UNLABELLED, "") for text in SENTENCES)
    assert len(rows(tmp_path / "*")) == len(rows(*sorted(tmp_path.iterdir()))) == 3 * len(SENTENCES)
    assert len(rows(tmp_path, format="jsonl")) == 2 * len(SENTENCES)


def test_languages_and_code_are_told_apart_where_the_source_says(tmp_path: Path, language_model: Path) -> None:
    german = "Die Mühle steht am Fluss, und das Wasser treibt seit vielen Jahren ihr großes Rad."
    english = "The mill stands by the river, and its water has turned the great wheel for many years."
    (tmp_path / "a.jsonl").write_bytes(
        jsonl(["one"], language="en") + jsonl(["zwei"], language="de") + jsonl([german]) + jsonl([english])
        + jsonl(["x = 1"], programming_language="Python")
    )  # fmt: skip
    known = [("one", "english", "en"), ("x = 1", "code", "python"), ("zwei", "multilingual", "de")]
    assert rows(tmp_path / "a.jsonl") == sorted([*known, (german, UNLABELLED, ""), (english, UNLABELLED, "")])
    assert rows(tmp_path / "a.jsonl", language_model=str(language_model)) == sorted(
        [*known, (german, "multilingual", "de"), (english, "english", "en")]
    )


def test_pages_are_extracted_and_other_formats_read(tmp_path: Path) -> None:
    page = (
        "<html><body><article><p>" + "The mill turns by the water of the river. " * 20 + "</p></article></body></html>"
    )
    (tmp_path / "a.html").write_text(page)
    (tmp_path / "b.txt").write_text("A plain text of the mill.")
    (tmp_path / "c.pdf").write_bytes(document(column(60, 700, ["A document of the mill."])))
    texts = [text for text, _, _ in rows(*tmp_path.iterdir())]
    assert texts[:2] == ["A document of the mill.", "A plain text of the mill."]
    assert texts[2].startswith("The mill turns")
    assert "<p>" not in texts[2]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SENTENCES[:5]) + b'{"title": "no text"}\nno json\n')
    (tmp_path / "b.pdf").write_bytes(document([]))
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    found = corpus([str(tmp_path)], format="jsonl")
    assert sum(batch.num_rows for batch in found.batches()) == 5
    notes = " ".join(found.notes())
    assert "left out: 2 records that hold no text (read.malformed_json 1, read.no_text 1)" in notes
    assert ".png" in notes
    assert "b.pdf" in notes
    scan = corpus([str(tmp_path / "b.pdf"), str(tmp_path / "a.jsonl")])
    assert sum(batch.num_rows for batch in scan.batches()) == 5
    assert any("read.pdf_no_text 1" in note for note in scan.notes())


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_a_column_that_is_not_there_is_one_sentence_with_those_that_are(tmp_path: Path, name: str) -> None:
    data = parquet(SENTENCES, "content") if "parquet" in name else jsonl(SENTENCES, "content")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(ValueError, match=r"no column 'text'; there are content; name the one with the text: --columns"):
        rows(tmp_path / name)
    assert len(rows(tmp_path / name, columns={"text": "content"})) == len(SENTENCES)


def test_a_folder_of_several_formats_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SENTENCES))
    (tmp_path / "b.pdf").write_bytes(document([]))
    with pytest.raises(ValueError, match=r"jsonl 1.*pdf 1.*; add `--format` with the one to read") as error:
        rows(tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    code = tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"add `--format tree` for source code"):
        rows(code)
    assert rows(code, format="tree") == [("x = 1\n", "code", "python")]


# -- the folder of a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hive", [False, True])
def test_a_runs_own_folder_is_read_as_it_is_however_its_ids_and_folders_are_written(tmp_path: Path, hive: bool) -> None:
    ids = [bytes([i] * 16) for i in range(3)]
    table = pa.table({"text": ["a", "b", "c"]})
    if hive:
        folder = tmp_path / "domain=english" / "language=en"
        table = table.append_column("id", pa.array([each.hex() for each in ids]))
    else:
        folder = tmp_path / "english" / "en"
        table = table.append_column("id", pa.array(ids, pa.binary(16)))
        for name, value in (("domain", "english"), ("language", "en")):
            table = table.append_column(name, pa.array([value] * 3))
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-00000.parquet")
    found = curated(str(tmp_path))
    assert found is not None
    (batch,) = found.batches()
    assert batch.to_pylist() == [
        {"id": id_, "text": text, "domain": "english", "language": "en"} for id_, text in zip(ids, "abc", strict=True)
    ]


def test_other_parquet_is_no_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet(SENTENCES))
    assert curated(str(tmp_path)) is None
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert curated(str(tmp_path)) is None
    assert curated(str(tmp_path / "gone")) is None


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_texts_give_the_same_tokenizer_from_anywhere(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    (tmp_path / "a.jsonl").write_bytes(jsonl(SENTENCES, "content"))
    (tmp_path / "b.parquet").write_bytes(parquet(SENTENCES, "content"))
    server = HubServer()
    server.dataset("org/mill", {"data/train.jsonl": jsonl(SENTENCES, "content")})
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    models = []
    for i, place in enumerate((tmp_path / "a.jsonl", tmp_path / "b*", "hf://datasets/org/mill/data")):
        output = tmp_path / str(i)
        code, out, err = command("train", place, "-o", output, "--columns", "text=content", *SIZE)
        assert code == 0, err
        first, second = out.splitlines()[:2]
        assert "GB of memory" in first
        assert "the data is read three times" in first
        assert second.startswith("training on ")
        assert json.loads((output / "report.json").read_bytes())["all"]["documents"] == len(SENTENCES)
        models.append((output / "tokenizer.model").read_bytes())
    assert models[0] == models[1] == models[2]
    assert "is read at commit" in err
    server.close()


@pytest.mark.slow
def test_python_m_tokenizer_takes_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SENTENCES))
    done = subprocess.run(
        [sys.executable, "-m", "gristmill.tokenizer", "train", "a.jsonl", "-o", "made", *SIZE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made" / "tokenizer.model").exists()


def test_a_sample_that_memory_does_not_hold_is_refused_before_anything_is_read(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl(SENTENCES * 100))
    monkeypatch.setattr("gristmill.tokenizer.memory.available_bytes", lambda: process_bytes(2_500_000))
    code, out, err = command("train", tmp_path / "a.jsonl", "-o", tmp_path / "made", *SIZE)
    assert (code, out) == (2, "")
    assert "may take 0.6 GB of memory and 0.6 GB are free; take a smaller sample: --sample-bytes 2000000\n" in err
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr("gristmill.tokenizer.memory.available_bytes", lambda: 1)
    assert "free some memory first" in command("train", tmp_path / "a.jsonl", "-o", tmp_path / "made", *SIZE)[2]


def test_memory_is_that_of_the_machine_or_of_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (available_bytes() or 0) > 1_000_000
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   4000 kB\n")
    monkeypatch.setattr("gristmill.tokenizer.memory.MEMORY_FILE", tmp_path / "meminfo")
    monkeypatch.setattr("gristmill.tokenizer.memory.GROUP", tmp_path)
    assert available_bytes() == 4_096_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_bytes() == 4_096_000
    (tmp_path / "memory.max").write_text("3000\n")
    assert available_bytes() == 2_000
    assert process_bytes(1_000_000_000) > PROCESS_BYTES * 1e9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nowhere", "-o", "made"), "nowhere: no such file or folder"),
        (("train", "s.jsonl", "-o", "made", "--columns", "text"), "--columns text: write ours=theirs"),
        (("train", "s.jsonl", "-o", "made", "--columns", "words=text"), "unknown column 'words'"),
        (("train", "s.jsonl", "-o", "made", "--format", "jsnl"), "unknown format 'jsnl'"),
        (("train", "empty.jsonl", "-o", "made"), "no text to train on"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.jsonl").write_bytes(jsonl(SENTENCES))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    code, _, err = command(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
