"""Wikitext to plain text: what a reader of the page sees, in one pass over its marks and one over its lines.

    templates        dropped, but for those in `wikitext_templates`
    links            their label or their target; files, categories and links to other languages dropped
    <ref>, galleries, maps, comments, magic words    dropped; <math> is $TeX$; <nowiki>, <pre> and code stay
    headings, lists  lines; `•` and numbers as stages.extract writes them; a heading with nothing below it is dropped
    tables           a line a row, cells with tabs between them

Nothing is expanded as MediaWiki would: that needs every template of the wiki. Time is proportional to the length: each
mark is met once, nested marks are kept on a stack, and no pattern backtracks over more than its own match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import unescape

from gristmill.pipeline.readers.markup.wikitext_lines import BREAK, plain_lines
from gristmill.pipeline.readers.markup.wikitext_templates import SPACE_MARKS, shown

MAX_NESTED = 100
"""Links and templates open at once; one that is opened within as many is text. Joining what they hold takes time in
proportion to this."""

_HIDDEN = (
    "ref", "references", "gallery", "timeline", "imagemap", "score", "graph", "mapframe", "maplink", "templatedata",
    "templatestyles", "indicator", "hiero", "inputbox", "categorytree", "style", "script", "section", "noinclude",
)  # fmt: skip
_LITERAL = ("nowiki", "pre", "math", "chem", "ce", "syntaxhighlight", "source", "code")
_BLOCKS = frozenset(
    {"br", "p", "div", "blockquote", "li", "ul", "ol", "dl", "dd", "dt", "tr", "table", "hr", "h1", "h2", "h3", "h4",
     "h5", "h6", "poem", "center"}
)  # fmt: skip

_MARK = re.compile(
    r"""<!--
      | (?P<close>\}\}|\]\]) | (?P<open>\{\{|\[\[)
      | (?P<pipe>\|) | (?P<equals>=)
      | <(?P<end>/?)(?P<tag>[A-Za-z][A-Za-z0-9]*+)(?P<rest>[^<>]*+)>
      | \[(?:https?:|ftp:|mailto:|//)[^\s\[\]]*+[^\S\n]*+(?P<label>[^\[\]\n]*+)\]
      | (?P<magic>__[A-Z]{3,30}__)""",
    re.VERBOSE,
)
_REDIRECT = re.compile(r"\s*#\s*redirect\b", re.IGNORECASE)
_OTHER_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]{2,12})?:(?=\S)")


@dataclass
class Names:
    """Of a wiki's namespaces, in lower case, English and local."""

    files: frozenset[str] = frozenset({"file", "image", "media"})
    categories: frozenset[str] = frozenset({"category"})


@dataclass
class _Frame:
    """An open template or link; `parts` are what stands between its pipes, each as pieces and the key before `=`."""

    mark: str
    parts: list[list[str]] = field(default_factory=lambda: [[]])
    keys: list[int | None] = field(default_factory=lambda: [None])
    """How many pieces of the part are its name."""


def is_redirect(text: str) -> bool:
    return _REDIRECT.match(text) is not None


def plain_text(text: str, names: Names) -> str:
    """Empty where the page shows no text."""
    text = text.replace("\0", "\ufffd").replace(BREAK, "\ufffd")  # neither is a character of XML
    kept: list[str] = []
    return plain_lines(_inline(text, names, kept), kept)


def _inline(text: str, names: Names, kept: list[str]) -> str:
    """Text without templates, links and tags; what is to be taken literally is in `kept`, a NUL and its place and a
    NUL in the text."""
    stack = [_Frame("")]
    depth = {"{{": 0, "[[": 0}
    ends = _Ends(text)
    at = 0
    while (found := _MARK.search(text, at)) is not None:
        top = stack[-1]
        if found.start() > at:
            top.parts[-1].append(text[at : found.start()])
        at = found.end()
        mark = found[0]
        if mark == "<!--":
            at = ends.after("-->", at)
        elif mark == "|" and top.mark:
            top.parts.append([])
            top.keys.append(None)
        elif mark == "=" and top.mark == "{{" and len(top.parts) > 1 and top.keys[-1] is None:
            top.keys[-1] = len(top.parts[-1])
            top.parts[-1].append(mark)
        elif found["open"] and len(stack) < MAX_NESTED:
            stack.append(_Frame(mark))
            depth[mark] += 1
        elif found["close"] and depth[opener := "{{" if mark == "}}" else "[["]:
            # what was opened within and not closed ends here too
            while stack[-1].mark != opener:
                _abandon(stack, depth)
            frame = stack.pop()
            depth[opener] -= 1
            piece = _template(frame) if opener == "{{" else _link(frame, names)
            stack[-1].parts[-1].append(piece)
        elif found["tag"]:
            piece, at = _tag(found, text, at, ends, kept)
            top.parts[-1].append(piece)
        elif found["label"] is not None:
            top.parts[-1].append(found["label"])
        elif not found["magic"]:
            top.parts[-1].append(mark)
    stack[-1].parts[-1].append(text[at:])
    return "".join(piece for frame in stack for piece in (frame.mark, *_raw(frame)))


def _raw(frame: _Frame) -> Iterable[str]:
    """The pieces of a frame that is no link and no template after all."""
    for i, part in enumerate(frame.parts):
        if i:
            yield "|"
        yield from part


def _abandon(stack: list[_Frame], depth: dict[str, int]) -> None:
    frame = stack.pop()
    depth[frame.mark] -= 1
    stack[-1].parts[-1].append("".join([frame.mark, *_raw(frame)]))


class _Ends:
    """Where marks that end something stand next. What is missing once is missing from there on, so that a thousand
    opening tags without an end are not a thousand searches to the end of the page."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: dict[str, int] = {}

    def find(self, mark: str, start: int) -> int:
        """-1: none."""
        known = self._next.get(mark, -2)
        if known == -1 or known >= start:
            return known
        self._next[mark] = self._text.find(mark, start)
        return self._next[mark]

    def after(self, mark: str, start: int) -> int:
        """Behind the next `mark`, the end of the text where there is none."""
        found = self.find(mark, start)
        return len(self._text) if found < 0 else found + len(mark)


def _tag(found: re.Match[str], text: str, at: int, ends: _Ends, kept: list[str]) -> tuple[str, int]:
    """(what the tag is in the text, where it goes on)."""
    name = found["tag"].lower()
    closes_itself = found["rest"].rstrip().endswith("/")
    if found["end"] or closes_itself or name not in (*_HIDDEN, *_LITERAL):
        if name in ("td", "th"):
            return "\t" if found["end"] else "", at
        return BREAK if name in _BLOCKS else "", at
    end = ends.find(f"</{found['tag']}", at)
    if end < 0:
        return "", at
    behind = ends.after(">", end)
    if name in _HIDDEN:
        return "", behind
    content = text[at:end]
    if name == "code" and ("{{" in content or "[[" in content or "<" in content):
        return "", at  # its content is wikitext, unlike that of the others
    if name == "math":
        content = f"${' '.join(content.split())}$"
    kept.append(unescape(content.strip("\n") if name in ("pre", "syntaxhighlight", "source") else content))
    block = BREAK if name == "pre" or (name in ("syntaxhighlight", "source") and "\n" in content) else ""
    return f"{block}\0{len(kept) - 1}\0{block}", behind


def _link(frame: _Frame, names: Names) -> str:
    target = "".join(frame.parts[0]).strip()
    label = "|".join("".join(part) for part in frame.parts[1:]).strip() if len(frame.parts) > 1 else ""
    space, colon, _ = target.partition(":")
    if colon:
        space = space.strip().replace("_", " ").lower()
        if space in names.files or space in names.categories:
            return ""
        if not label and _OTHER_LANGUAGE.match(target):
            return ""
    if label or not target:
        return label
    target = target.removeprefix(":").replace("_", " ")
    return target if not target.startswith("#") else target[1:]


def _template(frame: _Frame) -> str:
    """What is shown of it."""
    name = "".join(frame.parts[0]).strip().replace("_", " ").lower()
    if len(frame.parts) == 1:
        return SPACE_MARKS.get(name, "")
    given: dict[str, str] = {}
    count = 0
    for part, key in zip(frame.parts[1:], frame.keys[1:], strict=True):
        if key is None:
            count += 1
            given[str(count)] = "".join(part)
        else:
            given["".join(part[:key]).strip()] = "".join(part[key + 1 :])
    return shown(name, given)
