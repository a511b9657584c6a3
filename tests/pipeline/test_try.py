"""`try`: what it says of a document is what the run's own stages say; broken input is a sentence; edits are marked."""

from __future__ import annotations

import gzip
import http.server
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import typer
import yaml
import zstandard
from corpus import records
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from gristmill.pipeline.commands.try_ import try_
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.views.trial.trial import Line, edited, recipe, repeated, trial
from gristmill.stages.extract import Extract
from gristmill.stages.language import Language
from gristmill.stages.rules import Rules
from gristmill.stages.signals import Signals, with_columns

pytestmark = pytest.mark.filterwarnings("ignore:rules. characters_per_token is not applied")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path, language_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in an empty working directory; the file that its source names is not there."""
    monkeypatch.chdir(tmp_path)
    stages: list[Any] = ["extract", {"language": {"model": str(language_model)}}, "rules", "exact_dedup", "near_dedup"]
    source = {"name": "mine", "uri": "gone/*.jsonl", "columns": {"text": "body"}}
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump({"sources": [source], "stages": stages}))
    return path


def call(*arguments: str, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(try_)
    return CliRunner().invoke(app, list(arguments), input=stdin)


def found(*arguments: str, stdin: bytes | None = None) -> list[dict[str, Any]]:
    result = call(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts), "utf-8")
    return path


def handbook_pages(shared_data: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Pages of one book in several languages, by their path."""
    pages: dict[str, bytes] = {}
    with (
        (shared_data / "web" / "html-debian-handbook.tar.zst").open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            if member.name.endswith(names):
                content = archive.extractfile(member)
                assert content is not None
                pages[member.name] = content.read()
    return pages


def test_a_trial_says_of_every_document_what_the_stages_say_of_the_batch(
    shared_data: Path, language_model: Path, config: Path, tmp_path: Path
) -> None:
    texts = [record["text"] for record in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 40)]
    for path in sorted((shared_data / "multilingual").glob("*.jsonl.zst"))[:3]:
        texts += [record["text"] for record in records(path, 15)]
    path = write_jsonl(tmp_path / "mixed.jsonl", texts)
    size = path.stat().st_size
    spec = SourceSpec("try", str(path))
    [batch] = read(Partition(0, "try", (Segment(str(path), path.name, size, 0, size),), size), spec)
    rules = Rules()
    told = Language(str(language_model)).apply(batch.drop_columns(["content", "content_type"]))
    empty = {name: pa.nulls(batch.num_rows, told.schema.field(name).type) for name in ("dropped_by", "value", "limit")}
    judged = rules.apply(Signals().apply(with_columns(told, empty)))

    trials = found(str(path), "--documents", str(len(texts)))
    assert len(trials) == len(texts)
    for i, each in enumerate(trials):
        steps = {stage["stage"]: stage for stage in each["stages"]}
        assert steps["language"]["language"] == told["language"][i].as_py()
        assert steps["language"]["language_score"] == told["language_score"][i].as_py()
        assert steps["language"]["by"] == told["dropped_by"][i].as_py()
        assert steps["rules"]["by"] == judged["dropped_by"][i].as_py()
        assert steps["rules"].get("value") == judged["value"][i].as_py()
        assert each["by"] == (told["dropped_by"][i].as_py() or judged["dropped_by"][i].as_py())
        assert all(value == judged[name][i].as_py() for name, value in each["signals"].items())
        mask = judged["failed"][i].as_py() or bytes(len(rules.rules()))
        failing = [rule.name for k, rule in enumerate(rules.rules()) if mask[k // 8] >> k % 8 & 1]
        assert [rule["rule"] for rule in each["rules"] if rule["verdict"] == "fail"] == failing
    assert pc.count(judged["dropped_by"]).as_py() > 5
    assert {each["stages"][1]["domain"] for each in trials} == {"english", "multilingual"}


def test_rules_of_another_domain_or_language_and_without_a_value_are_not_applied(
    shared_data: Path, config: Path, tmp_path: Path
) -> None:
    text = next(r["text"] for r in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 1))
    path = write_jsonl(tmp_path / "one.jsonl", [text])
    [each] = found(str(path))
    verdicts = {rule["rule"]: rule["verdict"] for rule in each["rules"]}
    assert verdicts["code.total_lines"] == "other domain"
    assert verdicts["gopher_quality.stop_words"] == "pass"
    assert set(verdicts.values()) >= {"pass", "other domain"}
    source = tmp_path / "source.py"
    source.write_text('"""Some code."""\n\nimport os\n\n\nprint(os.name)\n')
    [code] = found(str(source))
    assert (code["stages"][1]["domain"], code["stages"][1]["language"]) == ("code", "python")
    verdicts = {rule["rule"]: rule["verdict"] for rule in code["rules"]}
    assert verdicts["code.comments"] == "pass"
    assert verdicts["code.characters_per_token"] == "no value"
    assert verdicts["gopher_quality.words"] == "other domain"


def test_a_web_page_is_extracted_and_its_language_told(shared_data: Path, config: Path, tmp_path: Path) -> None:
    pages = handbook_pages(shared_data, ("sect.apt-get.html",))
    told = {}
    for name, page in pages.items():
        (tmp_path / "page.html").write_bytes(page)
        [each] = found("page.html")
        language = next(part for part in name.split("/") if "-" in part or part in ("de", "fr", "ja", "ru"))
        told[name] = (each["stages"][1]["language"], language)
        assert each["content_type"] == "text/html"
        assert each["stages"][0]["bytes_in"] == len(page) > each["stages"][0]["bytes_out"] > 0
        assert each["text"] == Extract()._page(page, "text/html", None).text
    assert len({language for language, _ in told.values()}) > 5


@pytest.mark.slow
def test_a_page_from_a_pipe_is_read_as_one_from_a_file(shared_data: Path, config: Path, tmp_path: Path) -> None:
    page = next(iter(handbook_pages(shared_data, ("sect.apt-get.html",)).values()))
    (tmp_path / "page.html").write_bytes(page)
    [file], [pipe], [packed] = found("page.html"), found("-", stdin=page), found("-", stdin=gzip.compress(page))
    for name in ("text", "signals", "rules", "stages"):
        assert file[name] == pipe[name] == packed[name]
    shown = subprocess.run(
        [sys.executable, "-c", "import typer; from gristmill.pipeline.commands.try_ import try_; typer.run(try_)", "-"],
        input=page,
        capture_output=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
        check=True,
    ).stdout.decode()
    heading, *lines = shown.splitlines()
    assert heading == "standard input"
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("text"))]
    assert max(map(cell_len, table)) <= 80
    assert "\x1b" not in shown
    assert any(line.split()[:1] == ["mean_word_length"] for line in table)


BROKEN = {
    "damaged.txt": (b"caf\xc3\xa9 " * 30 + b"\xe9 ", "read.invalid_utf8", "it is not valid UTF-8"),
    "cut.txt.gz": (gzip.compress(b"A text that is cut. " * 500)[:60], "read.truncated", "the data ends too early"),
    "no.jsonl": (b"{'text': 1}\n", "read.malformed_json", "the line is no JSON object"),
    "column.jsonl": (b'{"body": "x"}\n', "read.no_text", "the record has no text under the column"),
    "record.warc": (b"WARC/1.0\r\nno header\r\n\r\n", "read.truncated", "the data ends too early"),
    "frame.html": (b"<html><body><p></p></body></html>", "extract.empty", "the page has no main content"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_is_a_sentence_and_no_error(name: str, config: Path, tmp_path: Path) -> None:
    data, reason, sentence = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    [each] = found(name)
    assert each["by"] == reason
    assert each["verdict"] in ("quarantined", "dropped")
    result = call(name)
    assert result.exit_code == 0
    assert sentence in " ".join(result.output.split())


def test_every_reason_that_a_reader_or_a_stage_gives_has_its_sentence() -> None:
    import re

    from gristmill.pipeline.views.trial.text import REASONS

    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "pipeline" / "readers").glob("*.py"))
    given = set(re.findall(r'"((?:read|warc)\.[a-z_0-9]+)"', text))
    assert given - set(REASONS) == set()
    assert {f"extract.{name}" for name in ("empty", "too_large", "too_deep", "undecodable", "failed")} <= set(REASONS)


def test_what_is_not_there_is_the_users_mistake(config: Path, tmp_path: Path) -> None:
    for arguments, sentence in [
        (("gone.txt",), "gone.txt: no such file"),
        ((".",), ".: is a folder; name one file of it"),
        (("pipeline.yaml", "--source", "yours"), "has no source 'yours'; its sources: mine"),
        (("pipeline.yaml", "--format", "docx"), "--format docx: is no format; use one of jsonl"),
    ]:
        error = call(*arguments).exception
        assert isinstance(error, ValueError)
        assert sentence in str(error)
    write_jsonl(tmp_path / "two.jsonl", ["one", "two"])
    error = call("two.jsonl", "--record", "5").exception
    assert isinstance(error, ValueError)
    assert "no document stands at record 5" in str(error)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = call("picture.png")
    assert result.exit_code == 0
    assert result.output == "picture.png: no document in it, read as text: its name announces no text\n"


def test_the_record_of_the_ledger_finds_its_document_and_a_source_its_columns(config: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"body": f"text number {i}"}) for i in range(4)]
    (tmp_path / "four.jsonl").write_text("\n".join(rows))
    assert [each["text"] for each in found("four.jsonl", "--source", "mine", "--documents", "3")] == [
        f"text number {i}" for i in range(3)
    ]
    [third] = found("four.jsonl", "--source", "mine", "--record", str(2 * (len(rows[0]) + 1)))
    assert third["text"] == "text number 2"
    assert third["by"] == "language.score" or third["by"].startswith("gopher_quality.")


def test_without_the_language_model_everything_else_is_tried(config: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "one.jsonl", ["Some words that would do. " * 20])
    [each] = found("one.jsonl", "--set", "stages.language.model=gone.ftz")
    assert [stage["stage"] for stage in each["stages"]] == ["extract", "signals", "rules"]
    assert "'gone.ftz' does not exist" in each["notes"][0]
    assert each["signals"]["words"] == 100
    assert recipe(str(config), ["stages.language.model=gone.ftz"]).notes
    error = call("one.jsonl", "--set", "stages.language.min_score=3").exception
    assert error is not None
    assert getattr(error, "exit_code", None) == 2


def test_without_a_configuration_the_built_in_recipe_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = recipe()
    assert taken.origin == "the built-in recipe"
    assert taken.untried == ("exact_dedup", "near_dedup")


# -- from a server -----------------------------------------------------------------------------------------------------

ANSWERS = {
    "/page": (200, "text/html; charset=iso-8859-1", "<html><body><p>Caf\xe9. {}</p></body></html>"),
    "/source.py": (200, "text/plain", "import os\n\nprint(os.name)  # {}\n"),
    "/picture": (200, "image/png", "\x89PNG {}"),
    "/gone": (404, "text/html", "<html>{}</html>"),
}


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, media, text = ANSWERS[self.path]
        body = text.format("One line of a page, long enough to be its main content. " * 12).encode("latin-1")
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.end_headers()  # without a length, as most pages are sent
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_read_as_a_crawl_would_have_stored_it(config: Path, server: str) -> None:
    [page] = found(f"{server}/page")
    assert page["url"] == f"{server}/page"
    assert page["content_type"] == "text/html; charset=iso-8859-1"
    assert page["text"].startswith("Café. One line")
    [source] = found(f"{server}/source.py")
    assert source["stages"][1]["language"] == "python"
    [picture] = found(f"{server}/picture")
    assert (picture["verdict"], picture["by"]) == ("quarantined", "warc.not_text")
    error = call(f"{server}/gone").exception
    assert isinstance(error, RuntimeError)
    assert "the server answers 404" in str(error)


# -- edits -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WithoutShouting:
    """Removes lines of capitals and writes `--` as a dash: an editing stage as a user would write one."""

    name: ClassVar[str] = "without_shouting"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text",)
    adds: ClassVar[tuple[str, ...]] = ("text",)
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = pc.replace_substring_regex(batch.column("text"), r"(?m)^[A-Z !]+\n", "")
        return with_columns(batch, {"text": pc.replace_substring(text, "--", "–")})


TEXT = "First line.\nBUY NOW!\nSecond -- and last.\n  First line. \nCLICK HERE\nEnd.\n"


def test_lines_that_a_stage_removes_or_changes_keep_their_place(config: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "one.jsonl", [TEXT])
    size = path.stat().st_size
    [batch] = read(Partition(0, "s", (Segment(str(path), path.name, size, 0, size),), size), SourceSpec("s", str(path)))
    each = trial(batch, [WithoutShouting()])
    assert [(line.mark, line.text) for line in each.lines] == [
        (" ", "First line."),
        ("-", "BUY NOW!"),
        ("-", "Second -- and last."),
        ("+", "Second – and last."),
        ("=", "  First line. "),
        ("-", "CLICK HERE"),
        (" ", "End."),
        (" ", ""),
    ]
    assert {line.stage for line in each.lines} == {None, "without_shouting"}
    assert "\n".join(line.text for line in each.lines if line.mark != "-") == each.text
    assert "\n".join(line.text for line in each.lines if line.mark != "+") == TEXT


def test_a_configured_editing_stage_is_shown_with_marks(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    stages = yaml.safe_load(config.read_text())["stages"]
    stages.insert(2, {f"{Path(__file__).stem}:WithoutShouting": {}})
    config.write_text(yaml.safe_dump({"sources": [], "stages": stages}))
    write_jsonl(tmp_path / "one.jsonl", [TEXT])
    result = call("one.jsonl")
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert "- BUY NOW!  [without_shouting]" in lines
    assert "+ Second – and last.  [without_shouting]" in lines
    assert "=   First line." in lines
    [each] = found("one.jsonl")
    assert [edit["mark"] for edit in each["edits"]] == ["-", "-", "+", "-"]
    assert each["repeated_lines"] == [2]


PAGE = """Home

The bread of Egypt was baked in clay pots over an open fire [1].
SIGN UP NOW FOR OUR LETTER, AND READ IT.

See our privacy policy for what we know of you.

It was the food of kings and of those who built for them.
Read more
"""


def with_lines(config: Path, *rules: dict[str, Any]) -> None:
    stages = yaml.safe_load(config.read_text())["stages"]
    stages[2:3] = [{"lines": {"presets": ["c4", "refinedweb"]}}, {"rules": {"presets": ["c4"], "add": list(rules)}}]
    config.write_text(yaml.safe_dump({"sources": [], "stages": stages}))


def test_rules_for_lines_say_which_removed_each_line(config: Path, tmp_path: Path) -> None:
    with_lines(config)
    write_jsonl(tmp_path / "one.jsonl", [PAGE])
    [each] = found("one.jsonl")
    assert [(edit["mark"], edit["line"][:12], edit["reason"]) for edit in each["edits"]] == [
        ("-", "Home", "c4.end_mark"),
        ("-", "", None),
        ("-", "The bread of", "c4.citation_numbers"),
        ("+", "The bread of", "c4.citation_numbers"),
        ("-", "SIGN UP NOW ", "refinedweb.uppercase"),
        ("-", "See our priv", "c4.policy"),
        ("-", "", None),
        ("-", "Read more", "c4.end_mark"),
    ]
    result = call("one.jsonl")
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert "- SIGN UP NOW FOR OUR LETTER, AND READ IT.  [refinedweb.uppercase]" in lines
    assert any(line.startswith("  lines     lines removed 4, lines edited 1, ") for line in lines)
    assert each["signals"]["lines_removed_by_end_mark"] == 2
    assert each["text"] == "".join(line for line in kept_lines(each))


def kept_lines(each: dict[str, Any]) -> Iterator[str]:
    yield "The bread of Egypt was baked in clay pots over an open fire .\n\n"
    yield "It was the food of kings and of those who built for them.\n"


def test_a_text_that_line_rules_would_empty_is_shown_with_the_reasons(config: Path, tmp_path: Path) -> None:
    with_lines(config)
    write_jsonl(tmp_path / "one.jsonl", ["The bread of Egypt and of other places\nThis is the menu of the day\n"])
    [each] = found("one.jsonl")
    assert each["by"] == "lines.empty"
    assert [edit["reason"] for edit in each["edits"]] == ["c4.end_mark", "c4.end_mark", None]
    assert "rules for lines would remove every line" in " ".join(call("one.jsonl").output.split())


def test_a_condition_is_shown_with_the_values_that_it_looked_at(config: Path, tmp_path: Path) -> None:
    with_lines(config, {"rule": "own.thin", "drop_when": "sentences < 9 and words < 200", "languages": ["en"]})
    write_jsonl(tmp_path / "one.jsonl", [PAGE * 3])
    [each] = found("one.jsonl")
    [rule] = [rule for rule in each["rules"] if rule["rule"] == "own.thin"]
    assert (rule["verdict"], rule["drop_when"], rule["value"]) == ("fail", "sentences < 9 and words < 200", 6)
    output = " ".join(call("one.jsonl").output.split())
    assert "own.thin: drop when sentences < 9 and words < 200 (sentences 6, words" in output
    assert "dropped, own.thin: sentences < 9 and words < 200" in output


def test_later_stages_edit_what_earlier_ones_left() -> None:
    lines = [Line(text, " ") for text in "abcdef"]
    once = edited(lines, list("acdf"), "one")
    twice = edited(once, list("aXf"), "two")
    assert [(line.text, line.mark, line.stage) for line in twice] == [
        ("a", " ", None),
        ("b", "-", "one"),
        ("c", "-", "two"),
        ("d", "-", "two"),
        ("X", "+", "two"),
        ("e", "-", "one"),
        ("f", " ", None),
    ]


def test_repeated_lines_are_those_that_the_signal_counts(shared_data: Path) -> None:
    texts = [r["text"] for r in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 60)]
    texts += ["a\n a \n\nb\na", "", "x\n\n\nx\n  \nx"]
    signals = Signals().apply(
        pa.RecordBatch.from_pydict(
            {
                "text": pa.array(texts, pa.large_string()),
                **{name: pa.nulls(len(texts), pa.string()) for name in ("domain", "language", "url")},
            }
        )
    )
    for i, text in enumerate(texts):
        marked = repeated([Line(line, " ") for line in text.split("\n")])
        share, lines = signals["duplicate_lines"][i].as_py(), signals["lines"][i].as_py()
        assert sum(line.mark == "=" for line in marked) == round((share or 0) * lines)


def test_control_characters_of_a_document_do_not_reach_the_terminal(config: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "one.jsonl", ["harmless \x1b[2J\x1b]0;title\x07 text\u202e"])
    output = call("one.jsonl").output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    assert "harmless" in output
