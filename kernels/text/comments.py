"""How much of a source file is comment, from a table of comment syntaxes and one pass over its bytes.

At every byte the tokens of the language are tried in order; the first that matches is skipped to its end, and if it
is a comment its characters count, marks included, the line end of a line comment excluded. Strings are tokens only so
that what looks like a comment inside them does not count. Python's docstrings are comments: a triple-quoted string that
starts a line.

It is a scanner, not a parser: nested block comments end at the first close, regular expression literals, here
documents and interpolation are unknown. Languages without comments (JSON, CSV), markup in which most text is prose
(Markdown, reStructuredText) and notebooks have no syntax here, hence no comment share.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

LINE, BLOCK, STRING = 0, 1, 2  # to the end of the line; to `close`; to `close`, not a comment
ANYWHERE, AFTER_SPACE, LINE_START, COLUMN_ONE, UNESCAPED = 0, 1, 2, 3, 4  # where a token may begin


class Token(NamedTuple):
    """open, close: ASCII. A string that is not `multiline` ends at its line's end; where `escape`, a backslash hides
    the byte after it. LINE_START: only spaces and tabs before it on its line. UNESCAPED: no backslash before it."""

    kind: int
    open: str
    close: str = ""
    where: int = ANYWHERE
    multiline: bool = True
    escape: bool = False


def _text(quote: str, multiline: bool = False, escape: bool = True) -> Token:
    return Token(STRING, quote, quote, multiline=multiline, escape=escape)


_SLASHES, _STARRED = Token(LINE, "//"), Token(BLOCK, "/*", "*/")
_DASHES, _HASH = Token(LINE, "--"), Token(LINE, "#", where=AFTER_SPACE)
_SEMICOLON, _PERCENT = Token(LINE, ";"), Token(LINE, "%", where=UNESCAPED)
_PARENTHESIS, _MARKUP = Token(BLOCK, "(*", "*)"), Token(BLOCK, "<!--", "-->")
_DOUBLE, _SINGLE, _BACKTICK = _text('"'), _text("'"), _text("`", multiline=True)
_DOCSTRINGS = tuple(Token(BLOCK, q, q, where=LINE_START, escape=True) for q in ('"""', "'''"))
_TRIPLE = tuple(_text(q, multiline=True) for q in ('"""', "'''"))

_C = (_SLASHES, _STARRED, _DOUBLE, _SINGLE)
_C_NO_SINGLE = (_SLASHES, _STARRED, _DOUBLE)  # where ' also marks lifetimes, sized numbers or primes
_SCRIPT = (_SLASHES, _STARRED, _DOUBLE, _SINGLE, _BACKTICK)
_PYTHON = (*_DOCSTRINGS, *_TRIPLE, Token(LINE, "#"), _DOUBLE, _SINGLE)
_SHELL = (_HASH, _DOUBLE, _text("'", escape=False))
_XML = (_MARKUP,)
_POD = tuple(
    Token(BLOCK, f"={word}", "=cut", where=COLUMN_ONE) for word in ("pod", "head", "over", "item", "begin", "encoding")
)
_LISP = (_SEMICOLON, Token(BLOCK, "#|", "|#"), _text('"', multiline=True))
_ML = (_PARENTHESIS, _DOUBLE)

SYNTAXES: dict[str, tuple[Token, ...]] = {
    **dict.fromkeys(("c", "cpp", "c-sharp", "cuda", "dart", "java", "kotlin", "objective-c", "protobuf", "groovy"), _C),
    **dict.fromkeys(("actionscript", "apex", "d", "glsl", "hack", "haxe", "hlsl", "opencl", "processing"), _C),
    **dict.fromkeys(("solidity", "thrift", "vala"), _C),
    **dict.fromkeys(("rust", "swift", "verilog", "systemverilog", "zig"), _C_NO_SINGLE),
    **dict.fromkeys(("javascript", "typescript", "go"), _SCRIPT),
    "scala": (_TRIPLE[0], *_C_NO_SINGLE),
    "php": (*_C, _HASH),
    "css": (_STARRED, _DOUBLE, _SINGLE),
    **dict.fromkeys(("scss", "less", "sass"), (Token(LINE, "//", where=AFTER_SPACE), _STARRED, _DOUBLE, _SINGLE)),
    **dict.fromkeys(("python", "cython"), _PYTHON),
    **dict.fromkeys(("shell", "awk", "tcl"), _SHELL),
    **dict.fromkeys(("makefile", "cmake"), (_HASH,)),
    **dict.fromkeys(("yaml", "toml", "r", "elixir", "crystal", "nim", "gdscript"), (_HASH, _DOUBLE, _SINGLE)),
    "dockerfile": (Token(LINE, "#", where=LINE_START),),
    "powershell": (Token(BLOCK, "<#", "#>"), _HASH, _text('"', escape=False), _text("'", escape=False)),
    "ruby": (Token(BLOCK, "=begin", "\n=end", where=COLUMN_ONE), _HASH, _DOUBLE, _SINGLE),
    "perl": (*_POD, _HASH, _DOUBLE, _SINGLE),
    "julia": (Token(BLOCK, "#=", "=#"), _TRIPLE[0], Token(LINE, "#"), _DOUBLE),
    "lua": (Token(BLOCK, "--[[", "]]"), Token(BLOCK, "--[=[", "]=]"), _DASHES, _DOUBLE, _SINGLE),
    "haskell": (Token(BLOCK, "{-", "-}"), _DASHES, _DOUBLE),
    "sql": (_DASHES, _STARRED, _text("'", multiline=True, escape=False), _text('"', escape=False)),
    "vhdl": (_DASHES, _STARRED, _text('"', escape=False)),
    "ada": (_DASHES, _text('"', escape=False)),
    "pascal": (_SLASHES, Token(BLOCK, "{", "}"), _PARENTHESIS, _text("'", escape=False)),
    "fortran": (
        *(Token(LINE, mark, where=COLUMN_ONE) for mark in ("C ", "c ", "C\n", "c\n", "*")),  # fixed form
        *(_text("'", escape=False), _text('"', escape=False), Token(LINE, "!")),
    ),
    "assembly": (_SLASHES, _STARRED, _SEMICOLON, Token(LINE, "#", where=LINE_START), _DOUBLE),  # ARM: #1 is a number
    **dict.fromkeys(("common-lisp", "scheme", "clojure", "racket", "emacs-lisp"), _LISP),
    **dict.fromkeys(("mathematica", "ocaml", "coq", "standard-ml"), _ML),
    "f-sharp": (_SLASHES, _PARENTHESIS, _TRIPLE[0], _DOUBLE),
    "visual-basic": (_text('"', escape=False), Token(LINE, "'"), Token(LINE, "REM ", where=LINE_START)),
    "matlab": (_PERCENT,),
    "erlang": (_PERCENT, _DOUBLE),
    "tex": (_PERCENT,),
    **dict.fromkeys(("html", "xml", "vue", "svg"), _XML),
}
"""Comment syntax by programming language, in lower case."""

ALIASES = {
    other: name
    for name, others in {
        "assembly": ("asm",),
        "c-sharp": ("c#", "csharp"),
        "common-lisp": ("commonlisp", "common lisp", "lisp"),
        "cpp": ("c++",),
        "dockerfile": ("docker",),
        "f-sharp": ("f#", "fsharp"),
        "go": ("golang",),
        "html": ("htm",),
        "javascript": ("js", "jsx"),
        "makefile": ("make",),
        "mathematica": ("wolfram",),
        "objective-c": ("objectivec", "objective-c++"),
        "pascal": ("delphi",),
        "protobuf": ("proto",),
        "python": ("py",),
        "ruby": ("rb",),
        "rust": ("rs",),
        "shell": ("bash", "sh", "zsh"),
        "sql": ("plsql",),
        "tex": ("latex",),
        "typescript": ("ts", "tsx"),
        "visual-basic": ("visual basic", "visual basic .net", "vb"),
        "yaml": ("yml",),
    }.items()
    for other in others
}
"""Other names of the same languages."""

_NAMES = tuple(SYNTAXES)
_WIDTH = 10  # bytes of the longest mark


def syntax_number(language: str | None) -> int:
    """Row of the syntax table for a programming language in any case, or -1 where its comments are unknown."""
    name = (language or "").lower()
    name = ALIASES.get(name, name)
    return _NAMES.index(name) if name in SYNTAXES else -1


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, tokens, marks): tokens of language l are rows first[l] .. first[l + 1] of the other two."""
    rows = [token for syntax in SYNTAXES.values() for token in syntax]
    first = np.cumsum([0, *map(len, SYNTAXES.values())]).astype(np.int64)
    tokens = np.array(
        [(t.kind, len(t.open), len(t.close), t.where, t.multiline, t.escape) for t in rows], np.int64
    ).reshape(-1, 6)
    marks = np.zeros((len(rows), 2, _WIDTH), np.uint8)
    for row, token in enumerate(rows):
        for side, mark in enumerate((token.open, token.close)):
            marks[row, side, : len(mark)] = np.frombuffer(mark.encode(), np.uint8)
    return first, tokens, marks


_FIRST, _TOKENS, _MARKS = _tables()


@numba.njit(cache=True)
def comment_characters(data, offsets, syntaxes):
    """Characters in comments per document: (rows,) int64, or -1 where syntaxes (rows,) int64 is -1.

    data: (bytes,) uint8 of UTF-8. offsets: (rows + 1,) int64. syntaxes: from `syntax_number`.
    """
    out = np.full(len(syntaxes), -1, np.int64)
    for row in range(len(syntaxes)):
        if syntaxes[row] >= 0:
            first, last = _FIRST[syntaxes[row]], _FIRST[syntaxes[row] + 1]
            out[row] = _scan(data, offsets[row], offsets[row + 1], first, last)
    return out


@numba.njit(cache=True)
def _scan(data, begin, end, first, last):
    starts = np.zeros(256, np.bool_)
    for t in range(first, last):
        starts[_MARKS[t, 0, 0]] = True
    total = 0
    blank = True  # nothing but spaces and tabs so far on this line
    i = begin
    while i < end:
        byte = data[i]
        if starts[byte]:
            stop = i
            for t in range(first, last):
                if _opens(data, i, begin, end, t, blank):
                    stop = _end_of_token(data, i, end, t)
                    if _TOKENS[t, 0] != STRING:
                        for b in range(i, stop):
                            total += data[b] & 0xC0 != 0x80
                    break
            if stop > i:
                i = stop
                blank = False
                continue
        if byte == 10:
            blank = True
        elif byte != 32 and byte != 9:
            blank = False
        i += 1
    return total


@numba.njit(cache=True)
def _opens(data, i, begin, end, t, blank):
    size, where = _TOKENS[t, 1], _TOKENS[t, 3]
    if i + size > end:
        return False
    for k in range(size):
        if data[i + k] != _MARKS[t, 0, k]:
            return False
    if i == begin or where == ANYWHERE:
        return True
    if where == AFTER_SPACE:
        return data[i - 1] <= 32
    if where == LINE_START:
        return blank
    if where == COLUMN_ONE:
        return data[i - 1] == 10
    return data[i - 1] != 92


@numba.njit(cache=True)
def _end_of_token(data, i, end, t):
    """First byte after the token that starts at byte i; the document's end where it is never closed."""
    kind, close, multiline, escape = _TOKENS[t, 0], _TOKENS[t, 2], _TOKENS[t, 4], _TOKENS[t, 5]
    if kind == LINE:
        i += _TOKENS[t, 1]
        if data[i - 1] == 10:  # a mark that holds its line's end
            return i - 1
        while i < end and data[i] != 10:
            i += 1
        return i
    i += _TOKENS[t, 1]
    while i < end:
        if escape and data[i] == 92:
            i += 2
            continue
        if not multiline and data[i] == 10:
            return i
        k = 0
        while k < close and i + k < end and data[i + k] == _MARKS[t, 1, k]:
            k += 1
        if k == close:
            return i + close
        i += 1
    return end
