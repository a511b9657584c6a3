"""The mdoc(7) macros of BSD manual pages: a line is a macro whose arguments may be macros in turn.

Covers what pages use; a macro that is not in the tables is set as plain words.
"""

from __future__ import annotations

from typing import Protocol

from gristmill.pipeline.readers.markup.roff_requests import Strings, arguments, unescape

_PLAIN = {"Ar", "Cm", "Ic", "Li", "Pa", "Ev", "Va", "Vt", "Em", "Sy", "Dv", "Er", "Fa", "Ft", "No", "Ad", "An", "Cd",
          "Ms", "Tn", "Lk", "Mt", "St", "In", "Lb", "Sx"}  # fmt: skip
_SYSTEMS = {
    "Ux": "UNIX",
    "Bx": "BSD",
    "Nx": "NetBSD",
    "Fx": "FreeBSD",
    "Ox": "OpenBSD",
    "Dx": "DragonFly",
    "At": "AT&T UNIX",
}
_ENCLOSED = {
    "Op": "[]",
    "Bq": "[]",
    "Pq": "()",
    "Aq": "<>",
    "Brq": "{}",
    "Dq": "“”",
    "Qq": '""',
    "Sq": "‘’",
    "Ql": "‘’",
}
_OPEN = {"Oo": "[", "Bo": "[", "Po": "(", "Ao": "<", "Bro": "{", "Do": "“", "Qo": '"', "So": "‘"}
_CLOSE = {"Oc": "]", "Bc": "]", "Pc": ")", "Ac": ">", "Brc": "}", "Dc": "”", "Qc": '"', "Sc": "’"}
_REFERENCE = {"%A", "%B", "%D", "%I", "%J", "%N", "%O", "%P", "%R", "%T", "%U", "%V"}
_CALLABLE = {*_PLAIN, *_ENCLOSED, *_OPEN, *_CLOSE, *_SYSTEMS, "Nm", "Fl", "Xr", "Fn", "Ns", "Ap"}
_IGNORED = {"Dd", "Os", "Bk", "Ek", "Rs", "Re", "Sm", "Db", "Hf"}
_CLOSING = set(".,:;)]?!")


class Output(Protocol):
    strings: Strings
    keep_lines: bool
    tag: str | None
    tag_follows: bool

    def text(self, line: str) -> None: ...
    def heading(self, words: str) -> None: ...
    def paragraph(self, blank: bool = False) -> None: ...


class Mdoc:
    """Becomes active at a page's .Dd; then `request` takes the mdoc macros and says so."""

    def __init__(self, page: Output) -> None:
        self.page = page
        self.active = False
        self.name = ""
        self.lists: list[str] = []

    def request(self, macro: str, rest: str) -> bool:
        if macro == "Dd":
            self.active = True
        if not self.active:
            return False
        words = arguments(rest)
        page = self.page
        if macro in _IGNORED:
            return True
        if macro == "Dt":
            page.heading(f"{words[0]}({words[1]})" if len(words) > 1 else "".join(words))
        elif macro in ("Sh", "Ss"):
            page.heading(unescape(" ".join(words), page.strings))
        elif macro == "Nd":
            page.text("- " + " ".join(words))
        elif macro in ("Bd", "Bl"):
            page.paragraph()
            kind = words[0] if words else ""
            if macro == "Bl":
                self.lists.append(kind)
            else:
                page.keep_lines = kind in ("-literal", "-unfilled")
        elif macro in ("Ed", "El"):
            page.paragraph()
            page.keep_lines = False
            if macro == "El" and self.lists:
                self.lists.pop()
        elif macro == "It":
            page.paragraph()
            page.tag = {"-bullet": "•", "-dash": "-", "-hyphen": "-", "-enum": "•"}.get(
                self.lists[-1] if self.lists else ""
            )
            if words:
                page.tag = unescape(self._line(words), page.strings)
        elif macro == "D1" or macro == "Dl":
            page.paragraph()
            page.text(self._line(words))
            page.paragraph()
        elif macro in _REFERENCE:
            page.text(" ".join(words) + ",")
        elif macro in _CALLABLE:
            page.text(self._line([macro, *words]))
        else:
            return False
        return True

    def _line(self, words: list[str]) -> str:
        """The words with their macros carried out."""
        out: list[str] = []
        pending = ""  # closing signs of macros that enclose the rest of the line
        glue = False

        def put(word: str, tight: bool = False) -> None:
            nonlocal glue
            if out and (glue or tight or (len(word) == 1 and word in _CLOSING)):
                out[-1] += word
            else:
                out.append(word)
            glue = word in ("[", "(", "<", "{", "“", "‘")

        tail: list[str] = []
        while words and words[-1] in _CLOSING:  # punctuation at the end stands outside what is enclosed
            tail.append(words.pop())
        i = 0
        flag = False
        while i < len(words):
            word = words[i]
            i += 1
            if word in _ENCLOSED:
                put(_ENCLOSED[word][0])
                glue = True
                pending = _ENCLOSED[word][1] + pending
                flag = False
            elif word in _OPEN:
                put(_OPEN[word])
                glue, flag = True, False
            elif word in _CLOSE:
                put(_CLOSE[word], tight=True)
                flag = False
            elif word in _SYSTEMS:
                put(_SYSTEMS[word])
                flag = False
            elif word == "Fl":
                flag = True
                if i >= len(words) or words[i] in _CALLABLE:
                    put("-")
                    flag = False
                    glue = i < len(words) and words[i] == "Fl"  # `Fl Fl verbose` is --verbose
            elif word == "Nm":
                flag = False
                if i < len(words) and words[i] not in _CALLABLE and words[i] not in _CLOSING:
                    self.name = self.name or words[i]
                else:
                    put(self.name)
            elif word in ("Xr", "Fn") and i < len(words):
                flag = False
                inner = words[i + 1] if word == "Xr" and i + 1 < len(words) else ""
                if word == "Fn":
                    inner = ", ".join(w for w in words[i + 1 :] if w not in _CLOSING)
                put(f"{words[i]}({inner})")
                i = len(words) if word == "Fn" else i + 2
            elif word in ("Ns", "Ap"):
                glue = True
                if word == "Ap":
                    put("'")
                    glue = True
            elif word in _PLAIN:
                flag = False
            else:
                put("-" + word if flag and word not in _CLOSING and word != "|" else word)
        for sign in pending:
            put(sign, tight=True)
        for sign in reversed(tail):
            put(sign, tight=True)
        return " ".join(out)
