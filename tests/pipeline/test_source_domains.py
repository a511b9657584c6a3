"""What a source says of its domain, and what its format says, decides before any text is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reading import read_table

from gristmill.pipeline.readers.format_table import FORMATS
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.stages.code_domain import CodeDomain

CODE = '#include <stdio.h>\n\nint main(int argc, char **argv)\n{\n    printf("%d\\n", argc);\n    return 0;\n}\n' * 3


def domains(spec: SourceSpec) -> list[str | None]:
    [batch] = read_table(spec).combine_chunks().to_batches()
    found: list[str | None] = CodeDomain().apply(batch).column("domain").to_pylist()
    return found


@pytest.mark.parametrize(
    ("stated", "meant"),
    [
        (None, ["code", "code", "code"]), ("prose", [None] * 3), ("english", ["english"] * 3),
        ("multilingual", ["multilingual"] * 3), ("code", ["code"] * 3),
    ],
)  # fmt: skip
def test_a_domain_that_is_stated_restricts(tmp_path: Path, stated: str | None, meant: list[str | None]) -> None:
    rows = [{"text": CODE}, {"text": "x", "programming_language": "c"}, {"text": "x", "repo_name": "a", "path": "b.c"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert domains(SourceSpec("s", str(path), domain=stated)) == meant


def test_files_of_text_are_code_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int x;\n")
    assert domains(SourceSpec("s", str(tmp_path / "main.c"), format="text")) == ["code"]
    assert domains(SourceSpec("s", str(tmp_path / "main.c"), format="text", domain="prose")) == [None]


def test_formats_that_hold_prose_alone() -> None:
    prose = {"machine", "mediawiki", "epub", "pdf", "jats", "latex", "stackexchange"}
    assert {name for name, row in FORMATS.items() if row.prose} == prose


def test_a_paper_about_code_is_a_paper(tmp_path: Path) -> None:
    body = "".join(letter for letter in CODE if letter not in "\\%#{}")
    parts = (
        "documentclass{article}",
        "begin{document}",
        f"begin{{verbatim}}\n{body}",
        "end{verbatim}",
        "end{document}",
    )
    paper = "".join(f"\\{part}" for part in parts)
    (tmp_path / "a.tex").write_text(paper)
    table = read_table(SourceSpec("s", str(tmp_path / "a.tex"), format="latex"))
    assert table.column("domain").to_pylist() == ["prose"]
    assert domains(SourceSpec("s", str(tmp_path / "a.tex"), format="latex")) == [None]


def test_another_domain_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        ValueError, match="unknown domain 'books'; use english, multilingual, prose, code or leave it out"
    ):
        SourceSpec("a", "x", domain="books")
