"""Which programming language a text is in, by what it says of itself and by signs of the languages.

What it says: the interpreter in a `#!` line, `ft=` of vim's and `mode:` of Emacs' modelines, an XML declaration, a
document type, `<?php`. Signs: weighted patterns (`stages.code_signs`) looked for in the first `HEAD_BYTES`; the score
of a language is the sum of the weights of those that occur. Among the languages that a file's name allows the best
wins, ties go to the one named first; without a name the best must have `ALONE_SCORE` and lead by `ALONE_LEAD`.

It is made to tell languages that share an extension; it parses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_signs import RARE, SIGNS, regex

HEAD_BYTES = 16_384
ALONE_SCORE = 4
ALONE_LEAD = 1
EXTENDS = {"cpp": "c", "objective-c": "c"}
"""Language -> the one that it extends and shares extensions with: whose signs do not speak against it."""
EXTENDS_SCORE = 3
"""Score from which a language has signs enough of its own to be given those of the one that it extends."""

INTERPRETERS = {
    "python": "python", "pypy": "python", "sh": "shell", "bash": "shell", "dash": "shell", "zsh": "shell",
    "ksh": "shell", "bats": "shell", "perl": "perl", "ruby": "ruby", "jruby": "ruby", "node": "javascript",
    "nodejs": "javascript", "deno": "typescript", "ts-node": "typescript", "php": "php", "lua": "lua",
    "luajit": "lua", "awk": "awk", "gawk": "awk", "mawk": "awk", "rscript": "r", "tclsh": "tcl", "wish": "tcl",
    "expect": "tcl", "julia": "julia", "make": "makefile", "groovy": "groovy", "scala": "scala",
    "runhaskell": "haskell", "runghc": "haskell", "stack": "haskell", "swipl": "prolog", "sbcl": "common-lisp",
    "clisp": "common-lisp", "guile": "scheme", "racket": "racket", "fish": "fish", "elvish": "elvish",
    "pwsh": "powershell", "escript": "erlang", "elixir": "elixir", "swift": "swift", "dart": "dart",
    "octave": "matlab", "wolframscript": "mathematica", "raku": "raku", "perl6": "raku", "nix-shell": "nix",
    "ocaml": "ocaml", "crystal": "crystal", "kotlin": "kotlin", "clojure": "clojure", "rexx": "rexx",
}  # fmt: skip
"""Interpreter of a `#!` line, without its version -> language."""

MODES = {
    "c++": "cpp", "cpp": "cpp", "c": "c", "objc": "objective-c", "python": "python", "sh": "shell",
    "shell-script": "shell", "bash": "shell", "zsh": "shell", "perl": "perl", "cperl": "perl", "ruby": "ruby",
    "lisp": "common-lisp", "common-lisp": "common-lisp", "emacs-lisp": "emacs-lisp", "scheme": "scheme",
    "clojure": "clojure", "prolog": "prolog", "verilog": "verilog", "systemverilog": "systemverilog",
    "verilog_systemverilog": "systemverilog", "coq": "coq", "vhdl": "vhdl", "fortran": "fortran", "f90": "fortran",
    "asm": "assembly", "nasm": "assembly", "php": "php", "sql": "sql", "tcl": "tcl", "lua": "lua", "r": "r",
    "javascript": "javascript", "js": "javascript", "js2": "javascript", "typescript": "typescript", "java": "java",
    "makefile": "makefile", "make": "makefile", "cmake": "cmake", "dockerfile": "dockerfile", "yaml": "yaml",
    "json": "json", "xml": "xml", "nxml": "xml", "html": "html", "css": "css", "tex": "tex", "latex": "tex",
    "plaintex": "tex", "rst": "restructuredtext", "markdown": "markdown", "haskell": "haskell", "ocaml": "ocaml",
    "tuareg": "ocaml", "matlab": "matlab", "octave": "matlab", "go": "go", "rust": "rust", "scala": "scala",
    "pascal": "pascal", "opascal": "pascal", "julia": "julia", "cuda": "cuda", "erlang": "erlang", "toml": "toml",
}  # fmt: skip
"""Mode of a modeline -> language."""

_SHEBANG = r"^#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*)?(?:\S*/)?(?P<name>[A-Za-z][A-Za-z_+-]*)"
_VIM = r"(?:^|[ \t])(?:vi|vim|ex):[^\n]*\b(?:ft|filetype|syntax)=(?P<name>[\w+]+)"
_EMACS = r"-\*-[ \t]*(?:[^\n]*mode:[ \t]*)?(?P<name>[A-Za-z][\w+-]*)[ \t]*(?:;[^\n]*)?-\*-"

OPENINGS = (
    (r"^\s*<\?php\b", "php"),
    (r"(?i)^\s*<!doctype\s+html", "html"),
    (r"(?i)^\s*<html[\s>]", "html"),
    (r"(?is)^\s*<\?xml\s[^>]*\?>.{0,300}<!doctype\s+html", "html"),
    (r"^\s*<\?xml\s", "xml"),
    (r"(?s)^\s*\{.*\"(?:nbformat|cell_type)\"\s*:", "jupyter"),
)
"""How a text begins -> language, the first that fits."""


def stated(texts: pa.Array) -> pa.Array:
    """What (n,) texts say of their own language: (n,) string, null where nothing."""
    head = _with_line_feeds(pc.utf8_slice_codeunits(pc.fill_null(texts, ""), 0, 400))
    head = pc.if_else(pc.starts_with(head, "\ufeff"), pc.utf8_slice_codeunits(head, 1, 400), head)
    shebang = _named(head, _SHEBANG)
    found: pa.Array = _looked_up(shebang, INTERPRETERS)
    modes = pc.coalesce(_named(head, "(?m)" + _EMACS), _named(head, "(?m)" + _VIM))
    found = pc.coalesce(found, _looked_up(modes, MODES))
    whole = _heads(texts)
    for pattern, language in OPENINGS:
        fits = pc.match_substring_regex(whole, pattern)
        found = pc.coalesce(found, pc.if_else(fits, pa.scalar(language), pa.scalar(None, pa.string())))
    return found.cast(pa.string())


def scores(texts: pa.Array, languages: Collection[str]) -> np.ndarray:
    """(n, languages) int64: sums of the weights of the signs that (n,) texts have; of null 0."""
    heads = _heads(texts)
    result = np.zeros((len(texts), len(languages)), np.int64)
    for column, language in enumerate(languages):
        for weight, pattern in SIGNS.get(language, ()):
            found = pc.match_substring_regex(heads, regex(pattern))
            result[:, column] += weight * found.to_numpy(zero_copy_only=False).astype(np.int64)
    return result


def among(texts: pa.Array, candidates: Sequence[str]) -> pa.Array:
    """(n,) string: the candidate that each text looks like most; the first of them where none has a sign."""
    own = stated(texts)
    found = scores(texts, candidates)
    for language, narrower in EXTENDS.items():
        if language in candidates and narrower in candidates:
            score = found[:, candidates.index(language)]
            score += np.where(score >= EXTENDS_SCORE, found[:, candidates.index(narrower)], 0)
    best = pa.array(list(candidates)).take(pa.array(found.argmax(1)))
    return pc.if_else(pc.fill_null(pc.is_in(own, pa.array(list(candidates))), False), own, best)


def alone(texts: pa.Array) -> pa.Array:
    """(n,) string: the language of texts without a telling name; null where the content has no say."""
    own = stated(texts)
    names = [name for name in SIGNS if name not in RARE]
    found = scores(texts, names)
    order = np.sort(found, axis=1)
    clear = (order[:, -1] >= ALONE_SCORE) & (order[:, -1] - order[:, -2] >= ALONE_LEAD)
    best = pa.array(names).take(pa.array(found.argmax(1), mask=~clear)) if len(texts) else pa.nulls(0, pa.string())
    return pc.coalesce(own, best)


def _heads(texts: pa.Array) -> pa.Array:
    """(n,) large_binary: what is searched for signs."""
    return _with_line_feeds(pc.binary_slice(pc.fill_null(texts, "").cast(pa.large_binary()), 0, HEAD_BYTES))


def _with_line_feeds(heads: pa.Array) -> pa.Array:
    """Patterns know LF alone as the end of a line."""
    if not pc.any(pc.match_substring(heads, "\r"), min_count=0).as_py():
        return heads
    return pc.replace_substring(pc.replace_substring(heads, "\r\n", "\n"), "\r", "\n")


def _named(heads: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(heads, pattern), "name")


def _looked_up(values: pa.Array, table: dict[str, str]) -> pa.Array:
    lower = pc.utf8_lower(values.cast(pa.string()))
    keys = pa.array(list(table))
    return pa.array(list(table.values())).take(pc.index_in(lower, keys, skip_nulls=True))
