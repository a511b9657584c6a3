"""Comments against a regular expression built from the same table of syntaxes."""

from __future__ import annotations

import io
import re
import tokenize

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import comments, utf8


def counted(texts: list[str], languages: list[str | None]) -> list[int]:
    numbers = np.array([comments.syntax_number(language) for language in languages], np.int64)
    return comments.comment_characters(*utf8.buffers(pa.array(texts, pa.large_string())), numbers).tolist()


def pattern(language: str) -> re.Pattern[str]:
    where = {
        comments.ANYWHERE: "",
        comments.AFTER_SPACE: r"(?:(?<=[\x00-\x20])|(?<![\s\S]))",
        comments.COLUMN_ONE: r"(?:(?<=\n)|(?<![\s\S]))",
        comments.UNESCAPED: r"(?<!\\)",
    }
    parts = []
    for token in comments.SYNTAXES[language]:
        close = re.escape(token.close)
        skip = r"\\[\s\S]?|" if token.escape else ""
        if token.kind == comments.LINE:
            mark = token.open.rstrip("\n")
            body = re.escape(mark) + (r"[^\n]*" if mark == token.open else r"(?=\n)")
        elif token.multiline:
            body = rf"{re.escape(token.open)}(?:{skip}(?!{close})[\s\S])*(?:{close}|\Z)"
        else:
            body = rf"{re.escape(token.open)}(?:{skip}(?!{close})[^\n])*(?:{close}|(?=\n)|\Z)"
        parts.append(f"(?P<{'s' if token.kind == comments.STRING else 'c'}{len(parts)}>{where[token.where]}{body})")
    return re.compile("|".join(parts))


def plain(text: str, language: str) -> int:
    found = pattern(language).finditer(text)
    return sum(len(match.group()) for match in found if match.lastgroup and match.lastgroup[0] == "c")


LINE_START_FREE = [
    name for name, tokens in comments.SYNTAXES.items() if all(t.where != comments.LINE_START for t in tokens)
]


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_comment_characters_are_their_definition(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(LINE_START_FREE))
    marks = [m for token in comments.SYNTAXES[language] for m in (token.open, token.close) if m]
    pieces = st.sampled_from([*marks, "\n", "\r\n", " ", "\t", "x", "é", "漢", "\\", "'", '"', "="])
    text = data.draw(st.lists(pieces, max_size=30).map("".join))
    assert counted([text], [language]) == [plain(text, language)]


@pytest.mark.parametrize("module", ["argparse", "json.decoder", "textwrap", "heapq"])
def test_python_comments_are_those_of_its_tokenizer(module: str) -> None:
    import importlib
    import inspect

    source = inspect.getsource(importlib.import_module(module))
    total, fresh = 0, True  # a string that starts a logical line is a docstring
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = token.type == tokenize.STRING and token.string.endswith(('"""', "'''")) and fresh
        if token.type == tokenize.COMMENT or (docstring and token.string[0] in "\"'"):
            total += len(token.string)
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            fresh = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    assert counted([source], ["Python"])[0] == pytest.approx(total, rel=0.05)


@pytest.mark.parametrize(
    ("language", "text", "comment"),
    [
        ("Python", 'def f():\n    """Doc."""\n    s = "# no" # yes\n', '"""Doc."""# yes'),
        ("Python", 'x = """no # no"""\n', ""),
        ("C++", 'int a; // yes\nchar *s = "/* no */"; /* yes\ntoo */', "// yes/* yes\ntoo */"),
        ("c", "char c = '\"'; // yes", "// yes"),
        ("rust", "fn f<'a>(x: &'a str) { } // yes", "// yes"),
        ("go", "s := `// no\n// no`\n// yes", "// yes"),
        ("shell", 'echo "${#x}" $# # yes\n', "# yes"),
        ("html", "<p>no</p><!-- yes -->", "<!-- yes -->"),
        ("sql", "select 'it''s -- no' -- yes", "-- yes"),
        ("haskell", "x' = {- yes -} 1 -- yes", "{- yes -}-- yes"),
        ("fortran", "C yes\n      call f() ! yes\n* yes\n", "C yes! yes* yes"),
        ("tex", "100\\% no % yes", "% yes"),
        ("lua", "--[[ yes\nyes ]] no -- yes", "--[[ yes\nyes ]]-- yes"),
        ("ruby", "=begin\nyes\n=end\nx = 1 # yes", "=begin\nyes\n=end# yes"),
        ("perl", "=pod\n\nyes\n\n=cut\n$#a; # yes", "=pod\n\nyes\n\n=cut# yes"),
        ("visual-basic", "s = \"it's\" ' yes\nREM yes", "' yesREM yes"),
        ("dockerfile", "FROM x#no\n# yes\n  # yes", "# yes# yes"),
        ("common-lisp", '(a "; no") ; yes\n#| yes |#', "; yes#| yes |#"),
        ("pascal", "{ yes } x := 'no { no'; (* yes *) // yes", "{ yes }(* yes *)// yes"),
    ],
)
def test_what_is_a_comment(language: str, text: str, comment: str) -> None:
    assert counted([text], [language]) == [len(comment)]


def test_a_language_without_comments_has_no_count() -> None:
    assert counted(["// x"] * 4, ["json", "markdown", None, "klingon"]) == [-1] * 4


def test_names_of_a_language_mean_the_same() -> None:
    for other, name in comments.ALIASES.items():
        assert comments.syntax_number(other.upper()) == comments.syntax_number(name) >= 0
