"""The lines of a manual page as requests and text: escapes, strings, arguments, conditions.

Time and output are proportional to the page's length, whatever the page defines its strings to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gristmill.pipeline.readers.markup.roff_names import SPECIAL_CHARACTERS

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


class Requests:
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


_DROPPED_BLOCKS = {"de": "..", "de1": "..", "am": "..", "am1": "..", "ig": "..", "EQ": ".EN", "PS": ".PE", "G1": ".G2"}
