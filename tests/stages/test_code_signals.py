"""Signals of source files are their definitions, and say what a person would of well-known files."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from gristmill.stages import code_signals
from gristmill.stages.code_signals import CODE_SIGNALS, CodeSignals, measure
from gristmill.stages.document import DOCUMENT
from gristmill.stages.presets import code_files, starcoder
from gristmill.stages.signals import SIGNALS, Signals, with_columns


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """text, language and path of files; `domain` is code unless a row says otherwise."""
    full = [
        {"id": bytes(16), "source": "s", "path": "part.jsonl", "record": 1, "priority": 0, "domain": "code"}
        | {name: row[name] for name in ("text", "language", "domain") if name in row}
        | {"metadata": json.dumps({"path": row["path"]}) if row.get("path") else None}
        for row in rows
    ]
    batches = pa.Table.from_pylist(full, DOCUMENT).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], DOCUMENT)


def one(text: str, language: str = "python", path: str | None = None) -> dict[str, Any]:
    columns = measure(batch_of([{"text": text, "language": language, "path": path}]))
    return {name: column.to_pylist()[0] for name, column in columns.items()}


def defined(text: str, language: str, path: str) -> dict[str, Any]:
    text = re.sub("\r\n?", "\n", text)
    lines = text.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    heads = [text.encode()[:8192].split(b"\n")[:n] for n in (5, 40)]
    first, near = (re.sub(rb"[A-Z]", lambda m: m[0].lower(), b"\n".join(head)) for head in heads)
    generated = any(phrase.encode() in first for phrase in code_signals.GENERATED_PHRASES)
    generated |= re.search(code_signals.GENERATORS.encode(), near) is not None
    generated |= re.search(code_signals.GENERATED_PATHS, path) is not None
    mean = sum(map(len, lines)) / len(lines) if lines else None
    minified = language in ("javascript", "css") and ((mean or 0) > 110 or ".min." in path.rpartition("/")[2])
    folders = path.lower().split("/")[:-1]
    return {
        "mean_line_length": mean,
        "max_line_length": max(map(len, lines), default=0),
        "alphabetic": sum(c.isalpha() for c in text) / len(text) if text else None,
        "alphanumeric": sum(unicodedata.category(c)[0] in "LN" for c in text) / len(text) if text else None,
        "xml_header": int("<?xml version=" in text[:100]),
        "generated": int(generated),
        "minified": int(minified),
        "vendored": int(any(f"/{name}/" in "/" + "/".join(folders) + "/" for name in code_signals.VENDORED_FOLDERS)),
        "lock_file": int(path.lower().rpartition("/")[2] in code_signals.LOCK_FILES),
    }


@pytest.mark.slow
def test_signals_of_real_files_are_their_definitions(shared_data: Path) -> None:
    with (shared_data / "code" / "code-permissive.jsonl.zst").open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        rows = [json.loads(line) for line in stream][::3]
    files = [{"text": r["text"], "language": r["programming_language"], "path": r["path"]} for r in rows]
    found = {name: column.to_pylist() for name, column in measure(batch_of(files)).items()}
    assert list(found) == [signal.name for signal in CODE_SIGNALS]
    for row, file in enumerate(files):
        values = {name: column[row] for name, column in found.items()}
        expected = defined(file["text"], file["language"], file["path"])
        assert {name: values[name] for name in expected} == pytest.approx(expected), file["path"]
        assert (values["visible_html"] is None) == (file["language"] != "html")
        assert 0 <= values["encoded_data"] <= 1
    assert sum(found["generated"]) > 10


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_code_end_as_editors_end_them(end: str) -> None:
    text = end.join(["x = 1", "", "# a comment", "y = 22", "print(x)", ""])
    values = one(text)
    assert (values["max_line_length"], values["mean_line_length"]) == (11, 6.0)
    batch = batch_of([{"text": text, "language": "python"}])
    counted = Signals().apply(batch).to_pylist()[0]
    assert (counted["total_lines"], counted["bytes"]) == (5, len(text))
    assert counted["comments"] == pytest.approx(11 / 35)
    assert batch.column("text").to_pylist() == [text]


def test_a_form_feed_ends_no_line_of_code() -> None:
    assert one("a = 1\n\f\nb = 2\n")["mean_line_length"] == 11 / 3


def test_other_domains_and_missing_texts_have_no_signals() -> None:
    rows = [{"text": "x", "domain": "english"}, {"text": None}, {"text": "x"}, {"text": ""}]
    columns = measure(batch_of(rows))
    for signal in CODE_SIGNALS:
        assert columns[signal.name].type == signal.dtype
        assert columns[signal.name].to_pylist()[:2] == [None, None]
    assert columns["max_line_length"].to_pylist()[2:] == [1, 0]
    assert columns["mean_line_length"].to_pylist()[2:] == [1.0, None]
    assert columns["vendored"].to_pylist() == [None] * 4
    assert all(len(column) == 0 for column in measure(batch_of([])).values())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n", "a.go"),
        ("# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\n", "x.py"),
        ("/* A Bison parser, made by GNU Bison 3.8.2.  */\n", "parse.c"),
        ("/**\n * Autogenerated by Thrift Compiler (0.9.3)\n *\n */\n", "T.java"),
        ("/* This file is\n\n\n AUTOMATICALLY GENERATED */\n", "a.c"),
        ("x = 1\n", "google/api/http_pb2.py"),
        ("// @generated by hand\n", "a.js"),
    ],
)
def test_what_generators_write_is_generated(text: str, path: str) -> None:
    assert one(text, path=path)["generated"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "def generate():\n    return 1\n",
        "# Do not edit the tables below\n",
        "\n" * 60 + "# autogenerated\n",
        "generated",
    ],
)
def test_what_people_write_about_generation_is_not(text: str) -> None:
    assert one(text, path="tools/make.py")["generated"] == 0


def test_paths_say_what_is_vendored_and_what_a_lock_file_is() -> None:
    vendored = ["web/node_modules/a/b.js", "Third_Party/x.c", "vendor/x.go", "a/dist/b.js", "gradle/wrapper/w.java"]
    own = ["src/vendor.py", "distance/a.py", "my_vendor/x.go", "node_modules"]
    assert [one("x", path=path)["vendored"] for path in (*vendored, *own)] == [1] * 5 + [0] * 4
    assert [one("x", path=p)["lock_file"] for p in ("a/Cargo.lock", "go.sum", "lock.py")] == [1, 1, 0]


def test_presets_drop_what_they_are_for() -> None:
    line = "const value = compute(first, second);\n"
    rows = [
        {"text": line * 20, "language": "javascript", "path": "src/a.js"},
        {"text": line.strip() * 40, "language": "javascript", "path": "src/b.js"},
        {"text": "abc " * 400 + "\n" + "a\n" * 100, "language": "python", "path": "c.py"},
        {"text": "abc " * 400 + "\n" + "a\n" * 100, "language": "markdown", "path": "c.md"},
        {"text": "1234567890 " * 9 + "\n", "language": "c", "path": "d.c"},
        {"text": 'x = "' + "QUJD" * 300 + '"\n' + line * 60, "language": "c", "path": "e.c"},
        {"text": '<?xml version="1.0"?>\n<a>text in it</a>\n', "language": "ada", "path": "f.adb"},
        {"text": '<?xml version="1.0"?>\n<a>text in it</a>\n', "language": "xml", "path": "f.xml"},
        {"text": "<p>" + "<div></div>" * 60 + "words " * 15 + "</p>", "language": "html", "path": "g.html"},
        {"text": '{"apple": "banana"}', "language": "json", "path": "h.json"},
        {"text": "name: value\n" * 600, "language": "yaml", "path": "i.yaml"},
        {"text": line * 20, "language": "javascript", "path": "node_modules/a.js"},
        {"text": line * 20, "domain": "english", "path": "node_modules/a.js"},
    ]
    batch = CodeSignals().apply(batch_of(rows))
    lines = pa.array([row["text"].count("\n") for row in rows], pa.int64())
    batch = with_columns(batch, {"total_lines": lines, "characters": pa.array([len(row["text"]) for row in rows])})
    failing = {"starcoder": starcoder.RULES, "code_files": code_files.RULES}
    reasons = {}
    for preset, rules in failing.items():
        first: list[str | None] = [None] * len(rows)
        for rule in reversed(rules):
            values = batch.column(rule.signal).to_pylist()
            for i, value in enumerate(values):
                applies = rows[i].get("domain", "code") in rule.domains
                applies &= not rule.languages or rows[i].get("language") in rule.languages
                low = rule.minimum is not None and value is not None and value < rule.minimum
                high = rule.maximum is not None and value is not None and value > rule.maximum
                if applies and (low or high):
                    first[i] = rule.name.partition(".")[2]
        reasons[preset] = first
    assert reasons["starcoder"] == [
        *(None, "mean_line_length", "max_line_length", None, "alphabetic", "max_line_length", "xml_header", None),
        *("visible_html_characters", "configuration_characters", "data_lines", None, None),
    ]
    assert reasons["code_files"] == [None, "minified", *[None] * 9, "vendored", None]


@pytest.mark.parametrize("preset", [starcoder, code_files])
def test_presets_name_signals_that_are_measured_and_their_sources(preset: Any) -> None:
    measured = {*SIGNALS, *(signal.name for signal in CODE_SIGNALS)}
    assert all(rule.signal in measured and rule.source and rule.domains == ("code",) for rule in preset.RULES)
    assert len({rule.name for rule in preset.RULES}) == len(preset.RULES)


def test_rules_drop_by_the_columns_of_the_stage() -> None:
    from gristmill.stages.rules import Rules

    rules = Rules(presets=("code_files",))
    rows = [{"text": "x", "path": "vendor/a.go", "language": "go"}, {"text": "x", "path": "a.go", "language": "go"}]
    dropped = rules.apply(CodeSignals().apply(batch_of(rows))).column("dropped_by").to_pylist()
    assert dropped == ["code_files.vendored", None]
    assert set(rules.needs) <= {*CodeSignals.adds, "domain", "language"}
