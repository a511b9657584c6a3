"""Papers in TeX: what stays, how files are put together, arXiv's ways of packing, and sources made to hurt."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.markup.latex_source import LatexError, paper_of, without_comments
from gristmill.pipeline.readers.markup.latex_text import latex_text

MAIN = r"""% !TeX program = pdflatex
\documentclass[11pt]{article}
\usepackage{amsmath}
\newcommand{\R}{\mathbb{R}}
\newcommand{\eg}{e.g.\xspace}
\newcommand{\norm}[1]{\lVert #1 \rVert}
\def\method{\textsc{Mill}}
\newtheorem{thm}{Theorem}
\title{Milling \\ Na\"ive Grain\thanks{Funded.}}
\author{A. Miller\inst{1} \and B. Baker}
\date{\today}
\begin{document}
\maketitle
\begin{abstract}
We mill grain with \method{} in $\R^n$. % a comment
\end{abstract}
\section{Introduction}\label{sec:intro}
Grain~\cite{smith2020,doe} is ``good'', \eg wheat---see Section~\ref{sec:m}. It costs 5\% more
than \emph{rye}, as Erd\H{o}s and Garc\'ia said.\footnote{Not \textbf{really}.}

% a whole line

A new paragraph with \url{http://x.y/a%20b}.
\input{method}
\begin{figure}[t]
\centering
\includegraphics[width=\textwidth]{mill.pdf}
\caption{The \emph{mill} in $t=1$.}\label{fig:mill}
\end{figure}
\begin{table}
\begin{tabular}{l|r}
\hline
Grain & Yield \\
\hline
Rye & 10\,kg \\
\end{tabular}
\caption{Yields.}
\end{table}
\bibliographystyle{plain}
\bibliography{refs}
\begin{thebibliography}{9}
\bibitem{x} Someone, A Book.
\end{thebibliography}
\end{document}
Nobody reads this.
"""
METHOD = r"""\subsection*{Method}
\begin{itemize}
  \item Take \(x \in \R\),
  \item add:
  \begin{enumerate}\item one \item two\end{enumerate}
\end{itemize}
\begin{equation}\label{eq:a}
  \norm{x} = \sum_{i} x_i \tag{1} % comment
\end{equation}
\begin{thm}[Baker]
It holds.
\end{thm}
\begin{verbatim}
x = {1}  % stays
\end{verbatim}
"""
TEXT = r"""Milling Naïve Grain

We mill grain with Mill in $\mathbb{R}^n$.

Introduction

Grain is “good”, e.g. wheat—see Section. It costs 5% more than rye, as Erdős and García said. (Not really.)

A new paragraph with http://x.y/a%20b.

Method

  • Take \(x \in \mathbb{R}\),
  • add:

    1. one
    2. two

\begin{equation}
\norm{x} = \sum_{i} x_i \tag{1}
\end{equation}

Theorem. [Baker] It holds.

x = {1}  % stays

The mill in $t=1$.

Grain	Yield
Rye	10 kg

Yields."""


def archive(*files: tuple[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, data in files:
            data = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PAPER = archive(("paper.tex", MAIN), ("method.tex", METHOD), ("mill.pdf", b"%PDF\0"), ("refs.bib", "@book{}"))


def read(tmp_path: Path, name: str, data: bytes | str, **fields) -> list[dict]:
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return read_rows(tmp_path / name, format="latex", **fields)


def test_a_paper_of_several_files_is_one_text(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "2101.00042v2.tar.gz", gzip.compress(PAPER))
    assert row["text"] == TEXT
    assert (row["title"], row["category"], row["record"]) == ("Milling Naïve Grain", "academic", 0)
    assert (row["own_id"], row["url"]) == ("arXiv:2101.00042v2", "https://arxiv.org/abs/2101.00042v2")
    assert row["timestamp"].isoformat() == "2021-01-01T00:00:00+00:00"
    assert json.loads(row["metadata"]) == {"main": "paper.tex"}


def test_an_archive_of_papers_gives_a_document_for_each(tmp_path: Path) -> None:
    plain = r"\magnification1200 \centerline{\bf A note} We show {\it it}. \bye"
    data = archive(
        ("2101/2101.00001.gz", gzip.compress(PAPER)),
        ("2101/2101.00002.gz", gzip.compress(plain.encode())),
        ("2101/math0309136.gz", gzip.compress(b"%PDF-1.4 \\x")),
        ("2101/2101.00003.pdf", b"%PDF"),
        ("2101/2101.00004.gz", gzip.compress(b"withdrawn")),
        ("2101/2101.00005.gz", gzip.compress(PAPER)[:-30]),
    )
    rows = read(tmp_path, "arXiv_src_2101_001.tar", data)
    assert [(row["own_id"], row["quarantined_by"]) for row in rows] == [
        ("arXiv:2101.00001", None), ("arXiv:2101.00002", None), (None, "read.truncated"),
    ]  # fmt: skip
    assert rows[0]["text"] == TEXT
    assert "We show it." in rows[1]["text"]
    assert [row["record"] % 512 for row in rows] == [0, 0, 0]
    assert len({row["record"] for row in rows}) == 3
    assert read_skipped(tmp_path / "arXiv_src_2101_001.tar", format="latex") == {
        "files.binary": 1, "files.unwanted_name": 1, "latex.no_tex": 1,
    }  # fmt: skip


def test_a_single_file_is_a_paper_packed_or_not(tmp_path: Path) -> None:
    (plain,) = read(tmp_path, "note.tex", MAIN)
    (packed,) = read(tmp_path, "hep-th9901001.gz", gzip.compress(MAIN.encode()))
    assert plain["text"] == packed["text"]
    assert (plain["own_id"], packed["own_id"]) == (None, "arXiv:hep-th/9901001")
    assert packed["timestamp"].isoformat() == "1999-01-01T00:00:00+00:00"
    assert json.loads(plain["metadata"]) == {"missing_files": 1}


def test_the_main_file_is_the_document_that_none_includes() -> None:
    document = "\\documentclass{article}\\begin{document}%s\\end{document}"
    files = {
        "a.tex": document % "\\subfile{sections/b} and more",
        "sections/b.tex": "\\documentclass[a]{subfiles}\\begin{document}inner\\end{document}",
        "z.tex": "%\\documentclass{x}\nlong " * 100,
    }
    paper = paper_of(files, 10_000)
    assert paper.main == "a.tex"
    assert latex_text(paper.text) == "inner and more"


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    loop = {"a.tex": "\\documentclass{a}\\begin{document}a \\input{b}", "b.tex": "b \\input{a} \\input{b}"}
    assert latex_text(paper_of(loop, 10_000).text) == "a b"
    bomb = {f"f{i:02}.tex": f"\\input{{f{i + 1:02}}}" * 10 for i in range(15)}
    with pytest.raises(LatexError):
        paper_of({"main.tex": "\\documentclass{a}\\input{f00}", **bomb}, 1_000_000)
    names = [f"\\m{chr(97 + i)}" for i in range(21)]
    macros = "".join(f"\\newcommand{{{one}}}{{{two}{two}}}" for one, two in itertools.pairwise(names))
    text = "\\documentclass{a}" + macros + "\\newcommand{\\mu}{x}" + "\\ma " * 1000
    assert len(paper_of({"main.tex": text}, 10_000_000).text) < 10_000_000


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"\'e \'{e} \`a \^{\i} \~n \c{c} \v{s} \'\i \ss{} \o", "é é à î ñ ç š í ß ø"),
        (r"a~b -- c --- d \ldots{} \% \& \$ \# \_ \{\} \textbackslash", "a b – c — d … % & $ # _ {} \\"),
        (r"It costs \$5 and \$6, but $x$ is $5.", "It costs $5 and $6, but $x$ is $5."),
        (r"\textbf{bold \emph{both}} \textcolor{red}{red} \href{http://x}{link}", "bold both red link"),
        (r"as in \cite[p.~5]{a}, \citet{b}.", "as in,."),
        (r"\[ a = b \] and $$ c $$", "\\[ a = b \\]\n\nand\n\n$$ c $$"),
        (r"\begin{align*}a &= b \\ c &= d\end{align*}", "\\begin{align*}a &= b \\\\ c &= d\\end{align*}"),
        ("one\ntwo % comment\n\nthree", "one two % comment\n\nthree"),
        (r"\begin{description}\item[\textbf{Rye}] dark\end{description}", "  • Rye: dark"),
        (r"\verb|a{b}| and \iffalse hidden \fi shown", "a{b} and shown"),
        (r"\begin{tikzpicture}\node{x};\end{tikzpicture}rest", "rest"),
        (r"\unknowncommand{kept} \begin{unknown}too\end{unknown}", "kept too"),
        (r"line\\[2pt] break", "line break"),
        (r"\section[short]{Long $x$ title} Text", "Long $x$ title\n\nText"),
    ],
)
def test_a_source_is_what_a_reader_sees(source: str, text: str) -> None:
    assert latex_text(source) == text


def test_comments_end_with_their_line_and_percents_stay() -> None:
    assert without_comments("a% b\n% c\nd \\% e\\\\% f\n\ng") == "a\nd \\% e\\\\\n\ng"


def test_old_encodings_are_read(tmp_path: Path) -> None:
    source = "\\documentclass{a}\\usepackage[latin2]{inputenc}\\begin{document}łódź\\end{document}"
    assert read(tmp_path, "a.tex", source.encode("iso8859-2"))[0]["text"] == "łódź"
    assert read(tmp_path, "b.tex", "\\documentclass{a}\\begin{document}café".encode("latin-1"))[0]["text"] == "café"


def test_bombs_within_archives_are_refused(tmp_path: Path) -> None:
    zeros = gzip.compress(b"\\x " * 30_000_000)
    data = archive(("2101.00001.gz", zeros), ("2101.00002.gz", gzip.compress(MAIN.encode())))
    rows = read(tmp_path, "a.tar", data, limits={"max_document_bytes": 1_000_000})
    assert [row["quarantined_by"] for row in rows] == ["read.too_large", None]


MARKS = st.sampled_from(
    ["\\begin{", "itemize", "equation", "tabular", "figure", "}", "\\end{", "{", "$", "$$", "\\[", "\\]", "\\(", "\\)",
     "\\item", "[", "]", "&", "\\\\", "%", "\n", "\n\n", "~", "\\cite", "\\section", "\\caption", "\\'", "e", "\\",
     "\\verb|",
     "\\footnote", "\0", "\1", "\3", "é", "text ", "\\newcommand", "\\input", "#1", "--", "\\iffalse", "\\fi"]
)  # fmt: skip


@given(st.lists(MARKS, max_size=60))
@settings(max_examples=300, deadline=None)
@pytest.mark.slow
def test_any_marks_in_any_order_become_text(marks: list[str]) -> None:
    source = paper_of({"a.tex": "".join(marks)}, 1_000_000).text
    text = latex_text(source)
    assert not set(text) & set("\0\1\2\3")
    assert text == latex_text(source)


@pytest.mark.parametrize(
    "mark",
    ["{", "}", "$", "$$", "\\[", "\\begin{equation}", "\\begin{itemize}", "\\item[", "\\cite[", "\\newcommand{\\a}{",
     "\\verb|", "\\verb", "\\'", "\\caption{", "\\footnote{", "\\iffalse", "%", "\\", "\\section", " \n", "\\title{",
     "\\a ", "\\input{", "\\newtheorem{a}", "\\label{", "\\begin{figure}", "\\def\\a"]
)  # fmt: skip
def test_a_source_of_one_mark_takes_time_in_proportion(mark: str) -> None:
    """Would be hours where it were quadratic."""
    source = paper_of({"a.tex": mark * (500_000 // len(mark))}, 2_000_000).text
    assert len(latex_text(source)) <= 4_000_000
