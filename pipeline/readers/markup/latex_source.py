"""One TeX text of the files of a paper: the main file with what it includes, without comments, macros expanded.

    main file        the one with \\documentclass or \\documentstyle that none includes; else the longest (plain TeX)
    \\input, \\include, \\subfile, \\import    replaced by the file, where it is among the files
    comments         gone, and what stands behind \\end{document}
    macros           \\newcommand, \\def and the like without parameters are expanded, as RedPajama does (Together
                     Computer 2023); those with parameters stay

What inclusion and expansion may give is bounded.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_INCLUDED = 20  # files within files
MAX_MACRO = 2000  # characters of a macro's definition
MAX_ROUNDS = 5  # of macros within macros

MAIN_NAMES = ("main", "ms", "paper", "article", "manuscript", "root", "arxiv")
VERBATIM = ("verbatim", "verbatim*", "Verbatim", "lstlisting", "minted", "alltt")

_CLASS = re.compile(r"^[^%\n]*\\document(?:class|style)\b", re.M)
_COMMENT = re.compile(r"(\\(?:url|href|path|nolinkurl)\s*+\{[^{}]*+\}|(?<!\\)(?:\\\\)++(?=%)|\\%)|%.*")
"""What is not the beginning of one, in the group, or a comment."""
_BEGIN_VERBATIM = re.compile(r"\\begin\{(" + "|".join(map(re.escape, VERBATIM)) + r")\}")
_INCLUDE = re.compile(
    r"\\(?:input|include|subfile|subfileinclude)\s*+\{\s*+(?P<braced>[^{}\n]{1,200})\}"
    r"|\\input[ \t]++(?P<bare>[\w./-]{1,200})"
    r"|\\(?:sub)?import\*?\s*+\{(?P<folder>[^{}\n]{0,200})\}\s*+\{(?P<file>[^{}\n]{1,200})\}"
)
_MACRO = re.compile(
    r"\\(?:newcommand|renewcommand|providecommand|DeclareRobustCommand)\*?\s*+"
    r"(?:\{\s*+\\(?P<braced>[A-Za-z@]++)\s*+\}|\\(?P<bare>[A-Za-z@]++))\s*+"
    r"|\\[ge]?def\s*+\\(?P<defined>[A-Za-z@]++)\s*+"
)
"""What stands before the definition, which is a group; anything else there are parameters."""
_CONTROL = re.compile(r"\\([A-Za-z@]+)(?:[ \t]*\n?[ \t]*(?=\S)|[ \t]+)?")
_ENCODING = re.compile(rb"\\usepackage\s*\[([a-z0-9-]{2,20})\]\s*\{inputenc\}")
_CODECS = {
    "latin1": "latin-1",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin9": "iso8859-15",
    "ansinew": "cp1252",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1252": "cp1252",
    "koi8-r": "koi8-r",
    "applemac": "mac-roman",
}


class LatexError(Exception):
    """`reason` is that of the quarantined row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Paper(NamedTuple):
    text: str
    """From the preamble to \\end{document}."""
    main: str
    missing: int
    """Files that are included and not there."""


def decode_tex(data: bytes) -> str:
    """UTF-8, else what inputenc says, else Latin-1, TeX's custom before."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        stated = _ENCODING.search(data[:20_000])
        codec = _CODECS.get(stated[1].decode("ascii"), "latin-1") if stated else "latin-1"
        return data.decode(codec, "replace")


def paper_of(files: Mapping[str, str], max_characters: int) -> Paper:
    """`files`: name in the archive -> TeX. LatexError: latex.expansion."""
    bare = {name: without_comments(text) for name, text in sorted(files.items())}
    main = _main(bare)
    left = [max_characters]
    missing: list[str] = []
    text = _included(main, bare, (), left, missing)
    text = text.partition("\\end{document}")[0]
    return Paper(_expanded(text, max_characters), main, len(missing))


def without_comments(text: str) -> str:
    """Lines that are only a comment are gone; verbatim text keeps its %."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "%" not in text:
        return text
    lines = []
    verbatim = ""
    for line in text.split("\n"):
        if verbatim:
            lines.append(line)
            verbatim = "" if verbatim in line else verbatim
            continue
        bare = _COMMENT.sub(r"\1", line) if "%" in line else line
        if found := _BEGIN_VERBATIM.search(bare):
            end = f"\\end{{{found[1]}}}"
            verbatim = "" if end in line else end
            bare = line
        if bare or not line:
            lines.append(bare)
    return "\n".join(lines)


def _main(files: Mapping[str, str]) -> str:
    with_class = [name for name, text in files.items() if _CLASS.search(text)]
    if not with_class:
        return max(files, key=lambda name: (len(files[name]), name))
    included = {place for name in with_class for place in _places(name, files)}

    def rank(name: str) -> tuple[bool, bool, int, int, int, str]:
        stem = posixpath.splitext(posixpath.basename(name))[0].lower()
        known = MAIN_NAMES.index(stem) if stem in MAIN_NAMES else len(MAIN_NAMES)
        whole = "\\begin{document}" in files[name] or "\\documentstyle" in files[name]
        return (name in included, not whole, name.count("/"), known, -len(files[name]), name)

    return min(with_class, key=rank)


def _places(name: str, files: Mapping[str, str]) -> list[str]:
    found = (_place(match, name, files) for match in _INCLUDE.finditer(files[name]))
    return [place for place in found if place is not None]


def _place(match: re.Match[str], main: str, files: Mapping[str, str]) -> str | None:
    """The included file's name; LaTeX looks from the main file's folder."""
    stated = posixpath.join(match["folder"], match["file"]) if match["file"] else match["braced"] or match["bare"]
    folder = posixpath.dirname(main)
    for start in dict.fromkeys((folder, "")):
        place = posixpath.normpath(posixpath.join(start, stated.strip().strip('"')))
        for name in (place, f"{place}.tex", f"{place}.ltx"):
            if name in files:
                return name
    return None


def _included(name: str, files: Mapping[str, str], above: tuple[str, ...], left: list[int], missing: list[str]) -> str:
    parts: list[str] = []
    at = 0
    text = files[name]
    left[0] -= len(text)
    if left[0] < 0:
        raise LatexError("latex.expansion")
    for match in _INCLUDE.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        place = _place(match, above[0] if above else name, files)
        if place is None or place == name or place in above or len(above) >= MAX_INCLUDED:
            missing.append(name)
            continue
        inner = _included(place, files, (*above, name), left, missing)
        _, begins, body = inner.partition("\\begin{document}")  # a subfile is a document itself
        parts.append(body.partition("\\end{document}")[0] if begins else inner)
    return "".join([*parts, text[at:]])


def _expanded(text: str, max_characters: int) -> str:
    macros, kept = _macros(text)
    if not macros:
        return text
    for _ in range(MAX_ROUNDS):
        resolved = {name: _within(body, macros)[:MAX_MACRO] for name, body in macros.items()}
        if resolved == macros:
            break
        macros = resolved
    parts: list[str] = []
    at = size = 0
    for match in _CONTROL.finditer(kept):
        if match[1] in macros:
            parts += [kept[at : match.start()], _replace(match, macros)]
            size += len(parts[-1]) + len(parts[-2])
            at = match.end()
            if size > max_characters:
                raise LatexError("latex.expansion")
    return "".join([*parts, kept[at:]])


def _within(body: str, macros: Mapping[str, str]) -> str:
    return _CONTROL.sub(lambda match: _replace(match, macros), body)


def _replace(match: re.Match[str], macros: Mapping[str, str]) -> str:
    """As TeX, without the white space behind a control word, which \\xspace gives back."""
    body = macros.get(match[1])
    if body is None:
        return match[0]
    if body.endswith("\\xspace"):
        behind = match[0][len(match[1]) + 1 :]
        return body.removesuffix("\\xspace") + behind
    # `\\alpha` before a letter must not become another control word
    after = match.string[match.end() : match.end() + 1]
    return f"{body} " if after.isalpha() and re.search(r"\\[A-Za-z]+$", body) else body


def _macros(text: str) -> tuple[dict[str, str], str]:
    """(name -> definition of those without parameters, the text without these definitions)."""
    macros: dict[str, str] = {}
    closes = closing_braces(text)
    parts: list[str] = []
    at = 0
    for match in _MACRO.finditer(text):
        if match.start() < at or text[match.end() : match.end() + 1] != "{":
            continue
        end = closes.get(match.end(), len(text)) + 1
        if end > min(len(text), match.end() + MAX_MACRO):
            continue
        name = match["braced"] or match["bare"] or match["defined"]
        body = text[match.end() + 1 : end - 1]
        if f"\\{name}" not in body:
            macros[name] = body.strip()
        parts.append(text[at : match.start()])
        at = end
    return macros, "".join([*parts, text[at:]])


def closing_braces(text: str) -> dict[int, int]:
    """Place of an opening brace -> place of the one that closes it."""
    result: dict[int, int] = {}
    waiting: list[int] = []
    for found in re.finditer(r"\\.|[{}]", text, re.S):
        if found[0] == "{":
            waiting.append(found.start())
        elif found[0] == "}" and waiting:
            result[waiting.pop()] = found.start()
    return result
