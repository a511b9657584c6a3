"""MathML (Presentation, MathML 3 chapter 3) as TeX, for formulas of which the page gives no TeX.

    <mfrac><mn>1</mn><msup><mi>x</mi><mn>2</mn></msup></mfrac>   ->   \\frac{1}{x^2}

Characters stay what they are (∑, ≤, α); structure becomes TeX. `annotation` and content MathML are left out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMED = (
    "arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max "
    "min Pr sec sin sinh sup tan tanh"
)
FUNCTIONS = frozenset(_NAMED.split())
"""Those of which TeX has a command."""
TOKENS = ("mi", "mn", "mo", "mtext", "ms")
ACCENTS = {
    "¯": "bar", "‾": "bar", "_": "bar", "^": "hat", "ˆ": "hat", "~": "tilde", "˜": "tilde", "→": "vec", "⃗": "vec",
    "˙": "dot", "¨": "ddot", "ˇ": "check", "˘": "breve", "⏞": "overbrace",
}  # fmt: skip
_COMMAND = re.compile(r"\\[A-Za-z]+$")
_LEFT_OUT = ("annotation", "annotation-xml", "mphantom", "none", "mprescripts")
_INVISIBLE = dict.fromkeys(map(ord, "\u2061\u2062\u2063\u2064\u200b"))  # function application, times, comma, plus


class Math(NamedTuple):
    """An element of MathML, whatever parser it comes from. `text`: all text in it, where it has no `children`."""

    tag: str
    text: str
    attributes: dict[str, str]
    children: list[Math]


def mathml_tex(node: Math) -> str:
    """Without delimiters; empty where there is nothing to see. It calls itself for what is within."""
    if node.tag in _LEFT_OUT:
        return ""
    if node.tag in TOKENS:
        return _token(node)
    children = node.children[:1] if node.tag == "semantics" else node.children
    parts = [mathml_tex(child) for child in children]
    match node.tag, len(parts):
        case "mfrac", 2:
            return f"\\frac{{{parts[0]}}}{{{parts[1]}}}"
        case "msup", 2:
            return f"{_base(parts[0])}^{_script(parts[1])}"
        case "msub" | "munder", 2:
            return f"{_base(parts[0])}_{_script(parts[1])}"
        case "mover", 2 if parts[1] in ACCENTS:
            return f"\\{ACCENTS[parts[1]]}{{{parts[0]}}}"
        case "mover", 2:
            return f"{_base(parts[0])}^{_script(parts[1])}"
        case "msubsup" | "munderover", 3:
            return f"{_base(parts[0])}_{_script(parts[1])}^{_script(parts[2])}"
        case "mroot", 2:
            return f"\\sqrt[{parts[1]}]{{{parts[0]}}}"
        case "msqrt", _:
            return f"\\sqrt{{{_row(parts)}}}"
        case "mtable", _:
            return "\\begin{matrix} " + " \\\\ ".join(parts) + " \\end{matrix}"
        case "mtr" | "mlabeledtr", _:
            return " & ".join(parts)
        case "mfenced", _:
            separator = node.attributes.get("separators", ",").strip()[:1]
            opening, closing = node.attributes.get("open", "("), node.attributes.get("close", ")")
            return f"{opening}{(separator + ' ').join(parts) if separator else _row(parts)}{closing}"
        case "mspace", _:
            return " "
    return _row(parts) if parts else _characters(node)


def _token(node: Math) -> str:
    text = _characters(node)
    if node.tag == "mtext":
        return f"\\text{{{text}}}" if text else ""
    if node.tag == "mi" and len(text) > 1 and text.isascii() and text.isalpha():
        return f"\\{text}" if text in FUNCTIONS else f"\\mathrm{{{text}}}"
    return text


def _characters(node: Math) -> str:
    return " ".join(node.text.translate(_INVISIBLE).split())


def _row(parts: list[str]) -> str:
    """One behind the other; a space where a command would run into a letter."""
    out: list[str] = []
    for part in filter(None, parts):
        if out and part[:1].isalpha() and _COMMAND.search(out[-1]):
            out.append(" ")
        out.append(part)
    return " ".join("".join(out).split())


def _base(tex: str) -> str:
    return tex if len(tex) == 1 or (tex.startswith("\\") and tex[1:].isalpha()) or tex.isdigit() else f"{{{tex}}}"


def _script(tex: str) -> str:
    return tex if len(tex) == 1 else f"{{{tex}}}"
