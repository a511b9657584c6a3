"""Manual pages as text, without groff: man(7) and mdoc(7) macros, escapes, strings, conditions, tables.

A paragraph becomes one line, since lines of a page are filled; what stands between .nf and .fi or .EX and .EE keeps its
lines. Macro definitions, comments and registers are left out, conditions are taken as nroff takes them (`n` true).
Equations (eqn) and pictures (pic) are dropped. Not a typesetter: no widths, no justification, no hyphenation. Time and
output are proportional to the page's length, whatever the page defines its strings to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gristmill.pipeline.readers.roff_names import SPECIAL_CHARACTERS

_ESCAPE = re.compile(
    r"""\\(?:
        (?P<comment>["\#].*)
      | (?P<font>[fFmMgYkO])(?:\[[^\]]{0,500}\]|\(..|.)?
      | (?P<size>s)(?:\[[^\]]{0,500}\]|[+-]?\(\d\d|[+-]?\d{1,2}|[+-]?'[^']{0,500}')
      | (?P<star>\*)(?:\[(?P<string_long>[^\]]{0,500})\]|\((?P<string_two>..)|(?P<string_one>.))
      | (?P<register>n)[+-]?(?:\[[^\]]{0,500}\]|\(..|.)
      | (?P<quoted>[hvwDlLXZAbBoRSHxNC])'(?P<argument>[^']{0,500})'
      | \[(?P<long>[^\]]{0,500})\]
      | \((?P<two>..)
      | (?P<one>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ONE = {
    "-": "-", "e": "\\", "E": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "'": "´", "`": "`", ".": ".", "_": "_",
    "t": "\t", "\t": "\t", "&": "", "|": "", "^": "", "%": "", "/": "", ",": "", ")": "", ":": "", "{": "", "}": "",
    "c": "", "u": "", "d": "", "r": "", "p": "", "z": "", "!": "", "?": "", "a": "", "\n": "",
}  # fmt: skip

MAX_REQUEST = 1 << 14  # characters of a line with a request; a longer one is text
MAX_CONDITIONS = 100  # on one line
MAX_EXPANDED = 20_000_000  # characters that a page's strings may give; twice those of the longest page that is rendered

_JOINED = {"BR", "RB", "BI", "IB", "IR", "RI"}  # arguments in alternating fonts, set without a space
_PLAIN = {"B", "I", "SM", "SB", "R"}
_PARAGRAPH = {
    "PP",
    "P",
    "LP",
    "sp",
    "Pp",
    "br",
    "HP",
    "Sp",
    "bp",
    "Lp",
    "ti",
    "in",
    "RS",
    "RE",
    "ne",
    "ce",
    "IX.",
    "Ed",
    "El",
}
_KEPT_LINES = {"nf": True, "fi": False, "EX": True, "EE": False, "Vb": True, "Ve": False}
_DROPPED_BLOCKS = {"de": "..", "de1": "..", "am": "..", "am1": "..", "ig": "..", "EQ": ".EN", "PS": ".PE", "G1": ".G2"}


class ExpandedError(Exception):
    """The page's strings give more text than any page has."""


class Strings(dict[str, str]):
    """A page's strings, which may be made of each other: what they have given is counted."""

    given = 0

    def take(self, name: str) -> str:
        value = self.get(name, "")
        self.given += len(value)
        if self.given > MAX_EXPANDED:
            raise ExpandedError
        return value


def render(source: str) -> str:
    """The page's text; empty for a page that only points to another (.so). ExpandedError for a page that grows."""
    from gristmill.pipeline.readers.mdoc import Mdoc  # it needs this module's `unescape`

    page = _Page()
    mdoc = Mdoc(page)
    for name, rest, line in _Requests(source, page.strings):
        if name is None:
            page.text(line)
        elif not mdoc.request(name, rest):
            page.request(name, rest)
    return page.finish()


def unescape(text: str, strings: Strings) -> str:
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        found = match.groupdict()
        if found["star"]:
            name = found["string_long"] or found["string_two"] or found["string_one"] or ""
            return strings.take(name)
        if found["one"] is not None:
            return _ONE.get(found["one"], found["one"])
        name = found["long"] or found["two"]
        if name is not None:
            return _special(name)
        if found["quoted"] == "o":
            return (found["argument"] or "")[:1]
        return ""

    return _ESCAPE.sub(one, text)


def arguments(rest: str) -> list[str]:
    """A request's arguments: separated by spaces, quoted by '"', '""' within quotes for one '"'. Escapes stay."""
    found: list[str] = []
    at, end = 0, len(rest)
    while at < end:
        if rest[at] in " \t":
            at += 1
        elif rest[at] == '"':
            quoted = re.compile(r'"((?:[^"]|"")*)"?').match(rest, at)
            assert quoted is not None
            found.append(quoted[1].replace('""', '"'))
            at = quoted.end()
        else:
            word = re.compile(r"(?:\\.|[^\s\\])+|\\$").match(rest, at)
            if word is None:
                at += 1
                continue
            found.append(word[0])
            at = word.end()
    return found


def _special(name: str) -> str:
    known = SPECIAL_CHARACTERS.get(name)
    if known is not None:
        return known
    if re.fullmatch(r"u[0-9A-F]{4,6}(_[0-9A-F]{4,6})*", name):
        points = [int(point, 16) for point in name[1:].split("_")]
        return "".join(chr(p) for p in points if p < 0x110000 and not 0xD800 <= p < 0xE000)
    if re.fullmatch(r"char\d{1,3}", name):
        return chr(int(name[4:]))
    return ""


class _Requests:
    """Lines as (request, its arguments, line), conditions decided and definitions left out. request: None for text."""

    def __init__(self, source: str, strings: Strings) -> None:
        self.lines = source.replace("\r\n", "\n").replace("\\\n", "").split("\n")
        self.strings = strings

    def __iter__(self) -> Iterator[tuple[str | None, str, str]]:
        skipping = 0  # open braces of a branch not taken
        until: str | None = None
        taken: list[bool] = []  # outcome of the last .ie, for .el
        for line in self.lines:
            if until is not None:
                if line.startswith(until) or (until == ".." and line.replace(" ", "") == ".."):
                    until = None
                continue
            if skipping:
                skipping += line.count(r"\{") - line.count(r"\}")
                continue
            for _ in range(MAX_CONDITIONS):  # what a condition guards is a line of its own
                if line[:1] not in (".", "'") or len(line) > MAX_REQUEST:
                    yield None, "", line
                    break
                name, _, rest = line[1:].lstrip(" \t").replace("\t", " ").partition(" ")
                if not name or name[:2] == '\\"' or name.startswith(r"\}"):
                    break
                if name in _DROPPED_BLOCKS:
                    until = "." + arguments(rest)[1] if len(arguments(rest)) > 1 else _DROPPED_BLOCKS[name]
                    break
                if name in ("if", "ie", "el"):
                    truth, rest = (not (taken.pop() if taken else True), rest) if name == "el" else _condition(rest)
                    if name == "ie":
                        taken.append(truth)
                    rest = rest.lstrip()
                    if not truth:
                        skipping = max(0, rest.count(r"\{") - rest.count(r"\}"))
                        break
                    line = rest.replace(r"\{", "").replace(r"\}", "")
                    if not line.strip():
                        break
                    continue
                if name in ("ds", "ds1", "as"):
                    key, _, value = rest.strip().partition(" ")
                    value = unescape(value.strip().removeprefix('"'), self.strings)
                    self.strings[key] = self.strings.take(key) + value if name == "as" else value
                    break
                yield name, rest, line
                break


def _condition(rest: str) -> tuple[bool, str]:
    """(whether nroff takes the branch, what follows the condition)."""
    text = rest.lstrip()
    negate = text.startswith("!")
    text = text.lstrip("!").lstrip()
    if text[:1] in ("n", "t", "o", "e") and not text[1:2].isalnum():
        return (text[0] in "no") != negate, text[1:]
    if text[:1] in ("'", '"') or (text[:1] and not text[0].isalnum() and text[0] not in "\\(-+"):
        parts = text[1:].split(text[0], 2)
        if len(parts) == 3:
            return (parts[0] == parts[1]) != negate, parts[2]
    match = re.match(r"(?:[dcrFm]\s*\S+|\S+)", text)  # names and registers: none is defined
    return negate, text[match.end() :] if match else ""


STRINGS = {"lq": "“", "rq": "”", "R": "®", "Tm": "™", "S": "", "L\"": "“", "R\"": "”", "C`": "", "C'": "", "--": "--",
           "PI": "π", "q": '"', "Lq": "“", "Rq": "”", "Ba": "|", "Am": "&", "Lt": "<", "Gt": ">", "Ge": "≥", "Le": "≤",
           "Ne": "≠", "Pm": "±", ",": "\N{COMBINING CEDILLA}", ":": "\N{COMBINING DIAERESIS}",
           "'": "\N{COMBINING ACUTE ACCENT}"}  # fmt: skip


class _Page:
    """Lines of output: paragraphs being filled, or lines kept as they are."""

    def __init__(self) -> None:
        self.strings = Strings(STRINGS)
        self.out: list[str] = []
        self.filled: list[list[str]] = []
        self.keep_lines = False
        self.tag: str | None = None
        self.tag_follows = False
        self.glue = False
        """The next text follows without a space (\\c, or mdoc's Ns)."""
        self.table: list[str] | None = None
        self.link: list[str] = []

    def text(self, line: str) -> None:
        """One line of text with its escapes."""
        if self.table is not None:
            self.table.append(line)
            return
        joined = line.endswith("\\c")
        words = unescape(line, self.strings)
        if self.tag_follows:
            self.tag_follows = False
            self.tag = words.strip()
            return
        if self.keep_lines:
            self._flush()
            self.out.append(words.rstrip())
            return
        if not words.strip():
            self.paragraph(blank=not line.strip())
            return
        if line[:1] == " ":  # leading spaces break the line
            self.paragraph()
        if self.glue and self.filled:
            self.filled[-1].append(words.strip())
        else:
            self.filled.append([words.strip()])
        self.glue = joined

    def request(self, name: str, rest: str) -> None:
        if name == "TE":
            self._end_table()
        elif self.table is not None:
            if name in _JOINED | _PLAIN:
                self.table.append(" ".join(arguments(rest)))
        elif name in _JOINED:
            self.text("".join(arguments(rest)))
        elif name in _PLAIN:
            self.text(" ".join(arguments(rest)))
        elif name in ("SH", "SS"):
            words = " ".join(unescape(a, self.strings) for a in arguments(rest))
            self.heading(words)
        elif name in ("TP", "TQ"):
            self.paragraph()
            self.tag_follows = True
        elif name == "IP":
            self.paragraph()
            tag = arguments(rest)
            self.tag = unescape(tag[0], self.strings).strip() if tag else None
        elif name in _KEPT_LINES:
            self.paragraph()
            self.keep_lines = _KEPT_LINES[name]
        elif name in ("UR", "MT"):
            self.link = arguments(rest)[:1]
        elif name in ("UE", "ME"):
            if self.link:
                self.text("<" + self.link.pop() + ">" + "".join(arguments(rest)[:1]))
        elif name in ("SY", "OP", "YS"):
            parts = arguments(rest)
            self.text("[" + " ".join(parts) + "]" if name == "OP" else " ".join(parts))
        elif name == "TS":
            self.paragraph()
            self.table = []
        elif name == "TH":
            title = [unescape(a, self.strings) for a in arguments(rest)]
            self.heading(f"{title[0]}({title[1]})" if len(title) > 1 else "".join(title))
        elif name in _PARAGRAPH:
            self.paragraph(blank=name in ("PP", "P", "LP", "sp", "Pp", "Sp"))

    def heading(self, words: str) -> None:
        self.keep_lines = False
        self.paragraph(blank=True)
        if words.strip():
            self.out.append(words.strip())

    def paragraph(self, blank: bool = False) -> None:
        """Ends the paragraph; with `blank`, an empty line follows."""
        self._flush()
        if blank and self.out and self.out[-1]:
            self.out.append("")

    def finish(self) -> str:
        if self.table is not None:
            self._end_table()
        self._flush()
        text = "\n".join(self.out).strip()
        return re.sub(r"\n{3,}", "\n\n", text)

    def _flush(self) -> None:
        words = " ".join(part for part in map("".join, self.filled) if part)
        self.filled, self.glue, self.tag_follows = [], False, False
        if self.tag is not None:
            words, self.tag = f"{self.tag} {words}".strip(), None
        if words:
            self.out.append(re.sub(r"[ \t]+", " ", words))

    def _end_table(self) -> None:
        """tbl(1): options end in ';', the format in '.', cells are separated by tabs or by `tab(x)`."""
        lines, self.table = self.table or [], None
        separator = "\t"
        if lines and lines[0].rstrip().endswith(";"):
            if match := re.search(r"tab\s*\((.)\)", lines[0]):
                separator = match[1]
            lines = lines[1:]
        end = next((i for i, line in enumerate(lines) if line.rstrip().endswith(".")), -1)
        rows = "\n".join(lines[end + 1 :])
        closed = rows.rfind("\nT}") + 3  # a block that nothing closes would be looked for from each place anew
        blocks = re.sub(r"T\{\n(.*?)\nT\}", lambda m: m[1].replace("\n", " "), rows[:closed], flags=re.DOTALL)
        rows = blocks + rows[closed:]
        for row in rows.split("\n"):
            cells = [unescape(cell, self.strings).strip() for cell in row.split(separator)]
            words = "  ".join(cell for cell in cells if cell not in ("", "_", "=", "\\^"))
            if words:
                self.out.append(words)
        self.out.append("")
