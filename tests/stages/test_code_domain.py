"""Source code of any source is found by keys, by name and by content, and prose, tables, logs and markup are not it."""

from __future__ import annotations

import inspect
import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from gristmill.stages import code_domain, pii
from gristmill.stages.code_domain import CodeDomain
from gristmill.stages.code_keys import code_evidence, known_language
from gristmill.stages.code_names import MARKUP, programming_language
from gristmill.stages.document import DOCUMENT
from gristmill.stages.interface import DocumentStage

PYTHON = inspect.getsource(code_domain)
PROSE = (
    "The old mill stands by the river where the water runs slowly between the willows. Farmers from the whole valley "
    "brought their grain here in autumn, and the miller ground it for a small share of the flour.\n\n"
    "If the wheel turned, children came to look at it; when it did not, they went home (or to the river).\n"
)
C = """#include <stdio.h>

static int add(int a, int b)
{
    return a + b;
}

int main(int argc, char **argv)
{
    printf("%d\\n", add(1, 2));
    return 0;
}
"""


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    given = {"id": bytes(16), "source": "s", "path": "part.jsonl", "record": 1, "priority": 0}
    rows = [given | row for row in rows]
    for row in rows:
        if isinstance(row.get("metadata"), dict):
            row["metadata"] = json.dumps(row["metadata"], separators=(",", ":"))
    return pa.Table.from_pylist(rows, DOCUMENT).combine_chunks().to_batches()[0]


def told(*rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    found = CodeDomain().apply(batch_of(list(rows)))
    return list(zip(found.column("domain").to_pylist(), found.column("language").to_pylist(), strict=True))


NOTHING = (None, None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (PYTHON, "python"), (C, "c"), (inspect.getsource(pii), "python"),
        ("package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfor i := 0; i < 10; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n",
         "go"),
        ("const fs = require('fs');\n\nfunction read(path) {\n  return fs.readFileSync(path, 'utf8');\n}\n\n"
         "module.exports = { read };\n", "javascript"),
        ("#!/bin/sh\nset -e\nfor f in *.txt; do\n  if [ -f \"$f\" ]; then\n    echo \"$f\"\n  fi\ndone\n", "shell"),
        ("CREATE TABLE users (\n  id INT PRIMARY KEY,\n  name VARCHAR(255) NOT NULL\n);\nSELECT 1 FROM u;\n", "sql"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_code_is_found_by_its_text_alone(text: str, language: str, end: str) -> None:
    assert told({"text": text.replace("\n", end)}) == [("code", language)]


OTHERS = {
    "prose": PROSE,
    "title": "Track (CD); if (song)",
    "table": "id,name,value,share\n" + "".join(f"{i},name {i},{i * 7},{i / 3:.2f}\n" for i in range(40)),
    "tabs": "".join(f"{i}\tname_{i}\t{i * 7}\tyes\n" for i in range(40)),
    "log": "".join(f"2020-03-01 12:00:{i:02},123 INFO app.pool: user={i} action=login ok=true\n" for i in range(40)),
    "syslog": "".join(f"Mar  1 12:00:{i:02} host sshd[{i}]: connection from 10.0.0.{i} port 22\n" for i in range(40)),
    "html": "<!DOCTYPE html>\n<html><head><script>var x = {a: 1}; function f() { return x; }</script></head>\n"
    "<body><p>Words.</p></body></html>\n" * 3,
    "fragment": '<div class="page">\n  <p>Words and <a href="x.html">more</a></p>\n</div>\n' * 5,
    "xml": '<?xml version="1.0"?>\n<a><b c="d">words</b></a>\n' * 5,
    "latex": "\\documentclass{article}\n\\begin{document}\n\\section{Mills}\nThe wheel $x_{i} = \\frac{a}{b}$ turns. "
    "See \\cite{mill} and \\ref{fig:one}.\n\\begin{equation}\n  y = \\sum_{i=1}^{n} x_i\n\\end{equation}\n" * 3,
    "markdown": "# Mills\n\n" + PROSE + "\n```python\nprint('a')\n```\n\n- one\n- two\n\n" + PROSE,
    "json": json.dumps({"a": [1, 2, {"b": "words"}], "c": {"d": None}}, indent=2) * 5,
    "wikitext": "{{Infobox|name=Mill|year=1800}}\n'''Mill''' is a [[building]] with a [[wheel|water wheel]].\n" * 5,
    "mail": "From: a@b.example\nTo: c@d.example\nSubject: Re: the mill\n\nHi,\n\n> did it turn?\n\nYes.\n-- \nA\n",
    "verse": "If you can keep your head when all about you\n  Are losing theirs and blaming it on you,\n" * 6,
    "contents": "".join(f"{i}. Chapter {i} ........ {i * 12}\n" for i in range(1, 30)),
    "front matter": "---\ntitle: The mill\ndate: 2020-01-01\ntags: [mill, river]\n---\n\n" + PROSE,
    "russian": "Старая мельница стоит у реки, где вода медленно течёт между ивами (см. рис. 1).\n" * 5,
    "chinese": "磨坊在河边。水车转动的时候,孩子们来看;不转的时候,他们回家。\n" * 8,
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_code_is_not_taken_for_it(name: str) -> None:
    assert told({"text": OTHERS[name]}) == [NOTHING]


@pytest.mark.parametrize(
    "name",
    [
        {"metadata": {"path": "src/tool.py"}}, {"metadata": {"file_path": "src/tool.py", "n": 1}},
        {"own_id": "src/tool.py"}, {"path": "src/tool.py", "record": 0}, {"path": "all.tar.gz/src/tool.py"},
    ],
)  # fmt: skip
def test_a_path_names_code_and_its_text_confirms(name: dict[str, Any]) -> None:
    small = "answer = 42\n"
    assert told({"text": small}) == [NOTHING]
    assert told({"text": small, **name}) == [("code", "python")]
    assert told({"text": PROSE * 3, **name}) == [NOTHING]


def test_addresses_and_stated_languages_are_weaker_hints() -> None:
    rows = [
        {"text": C, "url": "https://raw.example/x/main.c"},
        {"text": C, "language": "C"},
        {"text": PROSE, "url": "https://raw.example/x/main.c"},
        {"text": PROSE, "language": "go"},
        {"text": "answer = 42\n", "url": "https://raw.example/x/main.py"},
        {"text": PROSE, "url": "https://shop.example/index.php?a=b"},
    ]
    assert told(*rows) == [("code", "c"), ("code", "c"), NOTHING, (None, "go"), NOTHING, NOTHING]


@pytest.mark.parametrize(
    "path", ["notes/readme.md", "page.html", "paper.tex", "a.xml", "data.json", "notes.txt", "x.rst"]
)
def test_markup_and_data_are_no_code_for_their_names(path: str) -> None:
    assert told({"text": PROSE, "metadata": {"path": path}}, {"text": OTHERS["latex"], "own_id": path}) == [NOTHING] * 2


def test_what_is_decided_stays() -> None:
    rows = [
        {"text": C, "domain": "english"},
        {"text": C, "domain": "multilingual"},
        {"text": PROSE, "domain": "code", "language": "python"},
        {"text": None},
    ]
    assert told(*rows) == [("english", None), ("multilingual", None), ("code", "python"), NOTHING]
    batch = batch_of([{"text": C}, {"text": C}]).append_column("dropped_by", pa.array(["urls.domain", None]))
    assert CodeDomain().apply(batch).column("domain").to_pylist() == [None, "code"]


def test_prose_by_its_source_or_format_is_never_code() -> None:
    assert told({"text": C, "domain": "prose", "language": "en"}, {"text": C}) == [(None, "en"), ("code", "c")]
    assert told({"text": C, "domain": "prose"}) == [NOTHING]


def test_nothing_to_say_returns_the_batch() -> None:
    batch = batch_of([{"text": PROSE}])
    assert isinstance(CodeDomain(), DocumentStage)
    assert CodeDomain().apply(batch) is batch
    assert CodeDomain().apply(batch.slice(0, 0)).num_rows == 0


def test_a_row_is_judged_alike_in_any_batch() -> None:
    rows: list[dict[str, Any]] = [{"text": text} for text in OTHERS.values()]
    rows += [{"text": C}, {"text": PYTHON}, {"text": "x = 1\n", "own_id": "a.py"}, {"text": C, "url": "http://a/b.c"}]
    together = told(*rows)
    assert together == [each for row in rows for each in told(row)]
    random.Random(1).shuffle(rows)
    assert sorted(map(str, told(*rows))) == sorted(map(str, together))


@pytest.mark.parametrize(
    ("record", "language", "meant"),
    [
        ({"max_stars_repo_path": "a.py", "max_stars_repo_name": "x/y", "hexsha": "1"}, None, "python"),
        ({"max_stars_repo_path": "README", "lang": "Markdown", "ext": "md"}, None, "markdown"),
        ({"ext": "py", "lang": "Python"}, None, "python"),
        ({"path": "src/a.go", "repo_name": "x/y"}, None, "go"),
        ({"path": "README.md", "repo_name": "x/y"}, None, "markdown"),
        ({"path": "src/a.c", "extension": "c"}, "C", "c"),
        ({"path": "bin/tool", "repo_name": "x/y"}, "Shell", "shell"),
        ({"meta": {"repo_name": "x/y", "path": "a.rs"}}, None, "rust"),
        ({"meta": '{"repo_name": "x/y", "path": "a.rs"}'}, None, "rust"),
        ({"metadata": {"max_stars_repo_path": "a.jl"}}, None, "julia"),
        ({"lang": "markdown", "path": "a/README.md"}, None, "markdown"),
        ({"path": "a.py"}, None, None),
        ({"path": "README.md", "source": "github.com/x/y@12ab"}, None, "markdown"),
        ({"path": "README.md", "source": "https://gitlab.com/x/y"}, None, "markdown"),
        ({"path": "README.md", "source": "github"}, None, None),
        ({"text": "README.md", "source": "github.com/x/y"}, None, None),
        ({"path": "a.html", "lang": "el"}, None, None),
        ({"file_path": "s3://commoncrawl/crawl-data/x.warc.gz", "language": "lua"}, None, None),
        ({"file_path": "s3://commoncrawl/crawl-data/x.warc.gz"}, "lua", None),
        ({"path": "essays/on-mills.md", "lang": "en"}, "en", None),
        ({"repo": "https://archive.example", "path": "vol1/page2"}, "go", "go"),
        ({"repo": "library", "path": "vol1/page2"}, "en", None),
        ({"meta": "{broken", "path": 7}, "C", None),
        ({"language": "Python"}, None, None),
        ({}, "Python", None),
    ],
)  # fmt: skip
def test_keys_of_collections_of_code(record: dict[str, Any], language: str | None, meant: str | None) -> None:
    evidence = code_evidence(record)
    assert (evidence.code(language) if evidence else None) == meant


def test_codes_of_natural_languages_are_no_programming_languages() -> None:
    assert [known_language(name) for name in ("el", "ts", "sh", "io", "cs", "pl", "no", "en", "", None, 7)] == [
        None
    ] * 11
    assert [known_language(name) for name in ("C", "C++", "Go", "R", "Jupyter Notebook", "js")] == [
        "c", "cpp", "go", "r", "jupyter", "javascript",
    ]  # fmt: skip


def records(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        return [json.loads(line) for line in io.TextIOWrapper(stream, "utf-8", newline="\n")]


@pytest.mark.slow
def test_nearly_all_real_files_are_found(shared_data: Path) -> None:
    rows = records(shared_data / "code/code-permissive.jsonl.zst")[::4]
    code = [row for row in rows if programming_language(row["programming_language"]) not in MARKUP]
    alone = told(*({"text": row["text"]} for row in code))
    with_path = told(*({"text": row["text"], "metadata": {"path": row["path"]}} for row in code))
    assert sum(domain == "code" for domain, _ in alone) > 0.9 * len(code)
    assert sum(domain == "code" for domain, _ in with_path) > 0.985 * len(code)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("english/encyclopedia-wikipedia-en", "english/academic-plos", "english/news-digitalgov"),
        *("multilingual/wikipedia-ml", "multilingual/libreoffice-help"),
    ],
)
def test_prose_is_hardly_ever_taken_for_code(shared_data: Path, name: str) -> None:
    rows = records(shared_data / f"{name}.jsonl.zst")
    found = told(*({"text": row["text"], "url": row.get("url"), "own_id": row["id"]} for row in rows))
    assert sum(domain == "code" for domain, _ in found) <= 1 + len(rows) // 400
