"""The text of a paper in LaTeX, with its mathematics as it stands.

    headings         \\section and the like, a line with empty lines around
    mathematics      $..$, \\(..\\), \\[..\\], equation, align and the like stay TeX, less their \\label
    lists, tables    `•` or a number; a line a row, cells with tabs between
    figures          their caption alone
    footnotes        in round brackets where they are called
    fonts, accents, ligatures, quotes     the text in them, in Unicode
    dropped          preamble, authors and addresses, citations, references to labels, bibliography, pictures, layout
    other commands   their name is dropped, what is in their braces stays

One pass over the marks with a stack of open braces; time is proportional to the length. It is no TeX: what macros with
parameters do is not known.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from gristmill.pipeline.readers.markup.latex_lines import BREAK, GONE, TAB, finished
from gristmill.pipeline.readers.markup.latex_names import (
    ACCENTS,
    ARGUMENTS,
    DROPPED,
    DROPPED_ENVIRONMENTS,
    ENVIRONMENT_ARGUMENTS,
    FIGURES,
    HEADINGS,
    LISTS,
    MATH,
    SYMBOLS,
    TABLES,
    THEOREMS,
)
from gristmill.pipeline.readers.markup.latex_source import VERBATIM, closing_braces

MAX_OPTION = 1000  # characters of an optional argument
MAX_ARGUMENTS = 4  # of a command that is dropped

_MARK = re.compile(
    r"""\\(?P<word>[A-Za-z@]++\*?)(?P<space>[ \t]*+\n?[ \t]*+)
      | \\(?P<sign>.)
      | (?P<open>\{) | (?P<close>\}) | (?P<math>\$\$?) | (?P<tie>~) | (?P<and>&)
      | (?P<dash>-{2,3}) | (?P<quote>``|'') | (?P<empty>\n[ \t]*\n\s*+)""",
    re.VERBOSE | re.S,
)
_LABEL = re.compile(r"\\(?:label|nonumber|notag)\b\s*+(?:\{[^{}]{0,200}\})?")
_THEOREM = re.compile(r"\\newtheorem\*?\s*+\{([A-Za-z*]{1,40})\}\s*+(?:\[[^\]]{0,40}\])?\s*+\{([^{}\\]{1,60})\}")
_MARKERS = re.compile("[\0-\3]")
_LETTER = re.compile(r"[ \t]*+(?:\{[ \t]*+\\?([A-Za-z])[ \t]*+\}|\\?([A-Za-z])(?![A-Za-z]*\}))")
_PLAIN_LETTER = re.compile(r"[ \t]*+()([A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z@]+\*?\s*|[{}]")
_QUOTES = {"``": "“", "''": "”"}


@dataclass
class _State:
    text: str
    theorems: dict[str, str]
    closes: dict[int, int]
    """Place of an opening brace -> place of the one that closes it."""
    parts: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Raw text; a NUL, its place here and a NUL stand for it."""
    braces: list[tuple[str, int]] = field(default_factory=list)
    """Of each open brace: what its end writes, and what it adds to `silent` there."""
    silent: int = 0
    """Above 0: nothing is written."""
    lists: list[tuple[str, int]] = field(default_factory=list)
    """Of each open list: its name and the items so far."""
    tables: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def put(self, piece: str) -> None:
        if self.silent <= 0:
            self.parts.append(piece)

    def put_raw(self, piece: str) -> None:
        if self.silent <= 0 and piece.strip():
            self.kept.append(piece)
            self.parts.append(f"\0{len(self.kept) - 1}\0")

    def find(self, mark: str, start: int) -> int:
        """The next `mark`, -1 where there is none; what is missing once is missing from there on."""
        known = self.ends.get(mark, -2)
        if known == -1 or known >= start:
            return known
        self.ends[mark] = self.text.find(mark, start)
        return self.ends[mark]

    def argument_end(self, at: int) -> int:
        """Behind the argument in braces that begins at `at`; `at` where none does."""
        start = at
        while start < len(self.text) and self.text[start] in " \t":
            start += 1
        return self.closes.get(start, at - 1) + 1

    def option_end(self, at: int) -> int:
        if self.text.startswith("[", at):
            end = self.text.find("]", at, at + MAX_OPTION)
            return end + 1 if end >= 0 else at
        return at


def latex_text(source: str) -> str:
    """Of the whole source: from \\begin{document}, or from its beginning where it has none. Empty where there is no
    text."""
    source = _MARKERS.sub("", source)
    theorems = {**THEOREMS, **{name: shown.strip() for name, shown in _THEOREM.findall(source)}}
    _, begins, body = source.partition("\\begin{document}")
    text = body if begins else source
    state = _State(text, theorems, closing_braces(text))
    _convert(state)
    return finished("".join(state.parts), state.kept)


def title_of(source: str) -> str | None:
    """What stands in \\title, as text."""
    found = re.search(r"\\(?:title|icmltitle)\*?\s*(?:\[[^\]]{0,300}\]\s*)?\{", source)
    if found is None:
        return None
    start = found.end() - 1
    end = closing_braces(source[start : start + 3000]).get(0)
    if end is None:
        return None
    title = " ".join(latex_text(source[start + 1 : start + end].replace("\\\\", " ")).split())
    return title or None


def _convert(state: _State) -> None:
    text = state.text
    at = 0
    while (found := _MARK.search(text, at)) is not None:
        if found.start() > at:
            state.put(text[at : found.start()])
        at = found.end()
        if (word := found["word"]) is not None:
            at = _command(state, word, found.end("word"), at)
        elif found["sign"] is not None:
            at = _sign(state, found["sign"], at)
        elif found["open"]:
            state.braces.append(("", 0))
        elif found["close"]:
            shown, change = state.braces.pop() if state.braces else ("", 0)
            state.put(shown)
            state.silent += change
        elif found["math"]:
            at = _dollars(state, found["math"], found.start(), at)
        elif found["and"]:
            state.put(TAB if state.tables else "")
        elif found["empty"]:
            state.put("\n\n")
        else:
            mark = found[0]
            state.put({"~": " ", "--": "–", "---": "—"}.get(mark) or _QUOTES[mark])
    state.put(text[at:])


def _dollars(state: _State, mark: str, start: int, at: int) -> int:
    """A formula stays as it is; a dollar that no other closes in its paragraph is one."""
    end = state.find(mark, at)
    while end > 0 and state.text[end - 1] == "\\" and mark == "$":
        end = state.find(mark, end + 1)
    if end < 0 or (mark == "$" and "\n\n" in state.text[at:end]):
        state.put(mark)
        return at
    _formula(state, state.text[start : end + len(mark)], displayed=mark == "$$")
    return end + len(mark)


def _formula(state: _State, formula: str, displayed: bool) -> None:
    formula = _LABEL.sub("", formula)
    if displayed:
        lines = [line.strip() for line in formula.split("\n")]
        state.put("\n\n")
        state.put_raw("\n".join(line for line in lines if line))
        state.put("\n\n")
    else:
        state.put_raw(" ".join(formula.split()))


def _sign(state: _State, sign: str, at: int) -> int:
    if sign in "([":
        closing = "\\)" if sign == "(" else "\\]"
        end = state.find(closing, at)
        if end >= 0:
            _formula(state, state.text[at - 2 : end + 2], displayed=sign == "[")
            return end + 2
    elif sign in ACCENTS:
        return _accent(state, sign, at)
    elif sign == "\\":
        at = state.option_end(at + 1 if state.text.startswith("*", at) else at)
        state.put(BREAK if state.tables else " ")
    elif sign in "%&$#_{}":
        state.put(sign)
    elif sign in " ,;:!~\n":
        state.put("" if sign == "!" else " ")
    return at


def _accent(state: _State, sign: str, at: int) -> int:
    """A letter, in braces or not, with its mark as one character. \\i and \\j are i and j under an accent."""
    found = _LETTER.match(state.text, at) or _PLAIN_LETTER.match(state.text, at)
    if found is None:
        return at
    state.put(unicodedata.normalize("NFC", (found[1] or found[2]) + ACCENTS[sign]))
    return found.end()


def _command(state: _State, word: str, name_end: int, at: int) -> int:
    """What a command writes, and where it goes on. `at` is behind the white space that TeX passes over."""
    name = word.rstrip("*")
    if name in ("begin", "end"):
        end = state.closes.get(at, -1)
        if 0 <= end - at <= 60:
            environment = state.text[at + 1 : end].strip()
            return (_begin if name == "begin" else _end)(state, environment, end + 1)
        return at
    if name in ("verb", "lstinline") and at < len(state.text):
        end = state.text.find(state.text[name_end], name_end + 1, name_end + MAX_OPTION)
        if end > 0:
            state.put_raw(state.text[name_end + 1 : end])
            return end + 1
    if name in SYMBOLS:
        state.put(SYMBOLS[name])
        return at
    if name in ACCENTS:
        return _accent(state, name, at)
    if name in HEADINGS:
        return _grouped(state, state.option_end(at), "\n\n", "\n\n")
    if name in ("caption", "captionof"):
        at = state.argument_end(at) if name == "captionof" else at
        return _caption(state, state.option_end(at))
    if name == "item":
        return _item(state, at)
    if name in ("footnote", "footnotetext"):
        return _grouped(state, state.option_end(at), " (", ")")
    if name == "iffalse":
        end = state.find("\\fi", at)
        return end + 3 if end >= 0 else at
    if name in ("bibitem", "appendix", "par", "newpage", "clearpage", "maketitle"):
        state.put("\n\n")
    if name in ("newline", "linebreak", "tabularnewline"):
        state.put(BREAK if state.tables else " ")
    if name in DROPPED:
        for _ in range(MAX_ARGUMENTS):
            behind = state.argument_end(state.option_end(at))
            if behind == at:
                break
            at = behind
        state.put(GONE)
        return at
    at = state.option_end(at)
    for _ in range(ARGUMENTS.get(name, 0)):
        at = state.argument_end(at)
    return at


def _grouped(state: _State, at: int, before: str, after: str) -> int:
    """Text around what is in the braces at `at`."""
    if not state.text.startswith("{", at):
        return at
    state.put(before)
    state.braces.append((after, 0))
    return at + 1


def _caption(state: _State, at: int) -> int:
    """Is written even where the picture around it is not."""
    if not state.text.startswith("{", at):
        return at
    silent, state.silent = state.silent, 0
    state.put("\n\n")
    state.braces.append(("\n\n", silent))
    return at + 1


def _item(state: _State, at: int) -> int:
    end = state.option_end(at)
    depth = max(1, len(state.lists))
    mark = "•"
    if state.lists:
        name, count = state.lists[-1]
        state.lists[-1] = (name, count + 1)
        if name == "enumerate":
            mark = f"{count + 1}."
    label = _COMMAND.sub("", state.text[at + 1 : end - 1]) if end > at else ""
    term = f"{label}: " if label and state.lists and LISTS[state.lists[-1][0]] == "label" else ""
    state.put(f"{BREAK}{'  ' * min(depth, 10)}{mark} {term}")
    return end


def _begin(state: _State, environment: str, at: int) -> int:
    name = environment.rstrip("*")
    if environment in VERBATIM or name in MATH or name in DROPPED_ENVIRONMENTS:
        closing = f"\\end{{{environment}}}"
        end = state.find(closing, at)
        if end >= 0:
            behind = end + len(closing)
            if environment in VERBATIM:
                state.put("\n\n")
                state.put_raw(state.text[state.option_end(at) : end].strip("\n"))
                state.put("\n\n")
            elif name in MATH:
                _formula(state, f"\\begin{{{environment}}}{state.text[at:behind]}", displayed=name != "math")
            return behind
        return at
    for _ in range(ENVIRONMENT_ARGUMENTS.get(environment, 0)):
        at = state.argument_end(state.option_end(at))
    if name in LISTS:
        state.lists.append((name, 0))
        state.put("\n\n")
    elif name in TABLES:
        state.tables += 1
        state.put("\n\n")
    elif name in FIGURES:
        state.silent += 1
    elif name in state.theorems:
        state.put(f"\n\n{state.theorems[name]}. ")
        return at  # its name in brackets is text
    else:
        state.put("\n\n" if name in ("abstract", "quote", "quotation", "center", "document") else " ")
    return state.option_end(at)


def _end(state: _State, environment: str, at: int) -> int:
    name = environment.rstrip("*")
    if name in LISTS and state.lists:
        state.lists.pop()
    elif name in TABLES:
        state.tables = max(0, state.tables - 1)
    elif name in FIGURES:
        state.silent = max(0, state.silent - 1)
    inline = not (name in LISTS or name in TABLES or name in state.theorems or name in ("abstract", "quote", "figure"))
    state.put(" " if inline else "\n\n")
    return at
