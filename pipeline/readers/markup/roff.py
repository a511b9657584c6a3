"""Manual pages as text, without groff: man(7) and mdoc(7) macros, escapes, strings, conditions, tables.

A paragraph becomes one line, since lines of a page are filled; what stands between .nf and .fi or .EX and .EE keeps its
lines. Macro definitions, comments and registers are left out, conditions are taken as nroff takes them (`n` true).
Equations (eqn) and pictures (pic) are dropped. Not a typesetter: no widths, no justification, no hyphenation. Time and
output are proportional to the page's length, whatever the page defines its strings to be.
"""

from __future__ import annotations

import re

from gristmill.pipeline.readers.markup.mdoc import Mdoc
from gristmill.pipeline.readers.markup.roff_requests import Requests, Strings, arguments, unescape

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


def render(source: str) -> str:
    """The page's text; empty for a page that only points to another (.so). ExpandedError for a page that grows."""
    page = _Page()
    mdoc = Mdoc(page)
    for name, rest, line in Requests(source, page.strings):
        if name is None:
            page.text(line)
        elif not mdoc.request(name, rest):
            page.request(name, rest)
    return page.finish()


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
