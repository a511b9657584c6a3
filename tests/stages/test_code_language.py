"""The programming language of files: by name, by content where names are shared, and what the stage trusts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from gristmill.stages.code_content import SIGNS, alone, stated
from gristmill.stages.code_language import CodeLanguage, detect
from gristmill.stages.code_names import (
    AMBIGUOUS,
    EXTENSIONS,
    NAMES,
    PROGRAMMING_LANGUAGES,
    candidates_of_path,
    language_of_path,
    programming_language,
)
from gristmill.stages.code_signs import RARE
from gristmill.stages.document import DOCUMENT

CONTENT = {
    "a.h": {
        "c": "#ifndef A_H\n#define A_H\nint add(int a, int b);\n#endif\n",
        "cpp": "#pragma once\n#include <vector>\nnamespace a {\nclass B {\n public:\n  int c();\n};\n}\n",
        "objective-c": "#import <Foundation/Foundation.h>\n@interface A : NSObject\n- (void)b;\n@end\n",
    },
    "a.m": {
        "objective-c": '#import "A.h"\n@implementation A\n- (void)b { NSLog(@"x"); }\n@end\n',
        "matlab": "function y = f(x)\n% squares\ny = x .^ 2;\nend\n",
        "mathematica": "(* ::Package:: *)\nf[x_] := Module[{y}, y = x^2; y]\n",
    },
    "a.v": {
        "verilog": "module a(input clk, output reg q);\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "coq": "Require Import Arith.\nTheorem a : 1 = 1.\nProof.\nreflexivity.\nQed.\n",
        "v": "module main\n\nfn main() {\n\tx := 1\n\tprintln(x)\n}\n",
    },
    "a.pl": {
        "perl": "#!/usr/bin/perl\nuse strict;\nmy $x = 1;\nprint $x;\n",
        "prolog": ":- module(a, [b/1]).\nb(X) :- c(X), !.\n",
    },
    "a.cls": {
        "tex": "\\NeedsTeXFormat{LaTeX2e}\n\\ProvidesClass{a}\n",
        "apex": "public with sharing class A {\n  @isTest static void b() { System.debug(1); }\n}\n",
        "visual-basic": 'VERSION 1.0 CLASS\nAttribute VB_Name = "A"\nOption Explicit\nPublic Sub B()\nEnd Sub\n',
    },
    "a.ts": {
        "typescript": "export interface A {\n  b: string;\n}\n",
        "xml": '<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS language="de"></TS>\n',
    },
    "a.inc": {
        "php": "<?php\nfunction a() { return $this->b; }\n",
        "assembly": "section .text\nglobal a\na:\n  mov eax, 1\n  ret\n",
        "pascal": "procedure A;\nbegin\n  WriteLn('x');\nend;\n",
    },
    "a.cl": {
        "common-lisp": "(defun a (b)\n  (format t b))\n",
        "opencl": "__kernel void a(__global float *b) { b[get_global_id(0)] = 0; }\n",
    },
    "a.d": {
        "d": "module a;\nimport std.stdio;\nvoid main() { writeln(1); }\n",
        "makefile": "a.o: a.c \\\n\ta.h b.h\n\tcc a.c\n",
    },
    "a.f": {
        "fortran": "      PROGRAM A\n      INTEGER B\n      END\n",
        "forth": ": square ( n -- n ) dup * ;\n5 square .\n",
    },
    "a.r": {"r": "f <- function(x) x + 1\nlibrary(stats)\n", "rebol": 'REBOL [Title: "a"]\nprint 1\n'},
    "a.bas": {"visual-basic": "Public Sub A()\n  Dim b As Integer\nEnd Sub\n", "basic": '10 PRINT "HI"\n20 GOTO 10\n'},
    "a.cs": {
        "csharp": "using System;\nnamespace A {\n  class B { }\n}\n",
        "smalltalk": "!A methodsFor: 'b'!\nc ^self! !\n",
    },
    "a.md": {"markdown": "# Title\n\nSome [text](a.md).\n"},
}  # fmt: skip


def column(texts: list[str | None]) -> pa.Array:
    return pa.array(texts, pa.large_string())


@pytest.mark.parametrize("path", CONTENT)
def test_content_decides_between_the_languages_of_an_extension(path: str) -> None:
    texts = list(CONTENT[path].values())
    found = detect(column(texts), pa.array([f"src/{path}"] * len(texts))).to_pylist()
    assert found == list(CONTENT[path])


def test_a_file_says_its_language_itself() -> None:
    said = {
        "#!/usr/bin/env python3\nx\n": "python",
        "#! /bin/sh -e\nx\n": "shell",
        "#!/usr/bin/env -S node --harmony\n": "javascript",
        "#!/usr/local/bin/perl -w\n": "perl",
        "#!/usr/bin/Rscript\n": "r",
        "// -*- C++ -*-\nint a;\n": "cpp",
        "# -*- mode: ruby; -*-\n": "ruby",
        "/* vim: set ft=c : */\n": "c",
        '<?xml version="1.0"?>\n<a/>\n': "xml",
        "<?php\necho 1;\n": "php",
        "\n<!DOCTYPE html>\n<p>x</p>": "html",
        '{"cells": [{"cell_type": "code"}], "nbformat": 4}': "jupyter",
        "# -*- coding: utf-8 -*-\nx\n": None,
        "x = 1\n": None,
        "": None,
    }
    assert dict(zip(said, stated(column(list(said))).to_pylist(), strict=True)) == said


def test_files_without_a_name_need_clear_signs() -> None:
    texts = [
        "#include <stdio.h>\nint main(void) {\n  printf(\"x\");\n}\n",
        "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tx := 1\n\tfmt.Println(x)\n}\n",
        "SELECT a FROM b;\nCREATE TABLE c (d varchar(1) primary key);\n",
        "nothing to see here\n",
        "",
        None,
    ]  # fmt: skip
    assert alone(column(texts)).to_pylist() == ["c", "go", "sql", None, None, None]
    assert detect(column(texts), pa.nulls(len(texts), pa.string())).equals(alone(column(texts)))


def test_names_need_no_content() -> None:
    names = {
        "a/Makefile.am": "makefile",
        "config.h.in": "c",
        "Dockerfile.dev": "dockerfile",
        "x.F90": "fortran",
        "a.tar": None,
        "build/CMakeLists.txt": "cmake",
        "notes.txt": None,
        ".gitignore": None,
        "x.PY": "python",
    }
    assert {path: language_of_path(path) for path in names} == names
    assert candidates_of_path("a/b.h") == ("c", "cpp", "objective-c")


def test_tables_are_consistent() -> None:
    listed = [extension for extensions in EXTENSIONS.values() for extension in extensions.split()]
    assert len(listed) == len(set(listed))
    assert {*SIGNS} <= PROGRAMMING_LANGUAGES
    assert {*SIGNS} >= RARE
    assert all(programming_language(name) == name for name in PROGRAMMING_LANGUAGES)
    assert all(name == name.lower() for name in NAMES)
    shared = {name for names in AMBIGUOUS.values() if len(names.split()) > 1 for name in names.split()}
    assert len(shared - {*SIGNS}) == 0


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    common = {"id": bytes(16), "source": "s", "domain": "code", "priority": 0, "record": 0}
    (result,) = pa.Table.from_pylist([common | row for row in rows], DOCUMENT).combine_chunks().to_batches()
    return result


def test_a_stated_language_stays_unless_detection_is_trusted() -> None:
    cpp = CONTENT["a.h"]["cpp"]
    rows = [
        {"text": cpp, "path": "x/a.h", "language": "c"},  # of a tree: its reader went by the name
        {"text": cpp, "path": "p.jsonl", "language": "c", "metadata": '{"path":"a.h"}'},
        {"text": cpp, "path": "p.jsonl", "language": "other", "metadata": '{"path":"a.h"}'},
        {"text": "x", "path": "p.jsonl", "language": "cobol", "metadata": None},
        {"text": cpp, "path": "x/a.h", "language": "en", "domain": "english"},
        {"text": None, "path": "x/a.h", "language": "c"},
    ]
    assert CodeLanguage().apply(batch(rows)).column("language").to_pylist() == ["cpp", "c", "cpp", "cobol", "en", "c"]
    found = CodeLanguage(trust="detected").apply(batch(rows)).column("language").to_pylist()
    assert found == ["cpp", "cpp", "cpp", "cobol", "en", "c"]
    with pytest.raises(ValueError, match="neither stated nor detected"):
        CodeLanguage(trust="guess")  # type: ignore[arg-type]


def test_languages_of_real_files_are_found(shared_data: Path) -> None:
    """97 % of all, and 99 % of the recipe's but for headers, whose labels say C of C++."""
    with (shared_data / "code" / "code-permissive.jsonl.zst").open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        rows = [json.loads(line) for line in stream]
    truth = [programming_language(row["programming_language"]) for row in rows]
    found = detect(column([row["text"] for row in rows]), pa.array([row["path"] for row in rows])).to_pylist()
    right = [one == other for one, other in zip(truth, found, strict=True)]
    assert sum(right) / len(rows) >= 0.97
    recipe = [
        hit
        for hit, row, name in zip(right, rows, truth, strict=True)
        if name in PROGRAMMING_LANGUAGES and not row["path"].endswith(".h")
    ]
    assert sum(recipe) / len(recipe) >= 0.99
