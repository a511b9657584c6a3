"""Templates of a wiki that a sentence would miss: typography, words in other languages, measures, quotations.

Which parameter of a template is shown is a table; what the template would make of it is not known. English names: a
wiki in another language shows less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

SPACE_MARKS = {
    "ndash": " – ", "snd": " – ", "spnd": " – ", "spaced ndash": " – ", "mdash": "—", "snds": " – ", "nbsp": " ",
    "spaces": " ", "thinspace": " ", "'": "'", "!": "|", "=": "=", "dot": " · ", "·": " · ", "•": " • ", "-": "\n",
    "ellipsis": "…", "pi": "π", "euro": "€",
}  # fmt: skip
"""Templates without parameters that are characters."""

SHOWN: dict[str, int] = {
    "lang": 2, "transl": 2, "transliteration": 2, "nowrap": 1, "nobr": 1, "nobold": 1, "small": 1, "smaller": 1,
    "big": 1, "larger": 1, "abbr": 1, "tooltip": 1, "mvar": 1, "math": 1, "sup": 1, "sub": 1, "em": 1, "strong": 1,
    "quote": 1, "blockquote": 1, "cquote": 1, "quotation": 1, "bquote": 1, "ill": 1, "interlanguage link": 1,
    "not a typo": 1,
    "linktext": 1, "as written": 1, "code": 1, "kbd": 1, "var": 1, "samp": 1, "center": 1, "rtl-lang": 2, "zh-cn": 1,
    "ipa": 1, "ipac-en": 0, "visible anchor": 1, "vanchor": 1, "tlit": 2, "color": 2, "url": 1, "proper name": 1,
    "sc": 1, "smallcaps": 1, "uss": 0, "underline": 1, "poemquote": 1, "convert": -1, "cvt": -1, "frac": -2,
    "fraction": -2, "sfrac": -2, "circa": -3, "c.": -3, "circ": -3, "as of": -4, "age": 0, "sic": 1, "unichar": 1,
}  # fmt: skip
"""Templates of which a parameter is shown: its number, from 1; 0: none; below 0: by `_COMPOSED`. Chosen: inline
templates of the English Wikipedia without which sentences have holes."""


def shown(name: str, given: Mapping[str, str]) -> str:
    """`name` in lower case; `given`: name or number from 1 -> value. Empty for a template that is not shown."""
    if name in SPACE_MARKS and name != "=":
        return SPACE_MARKS[name]
    number = 1 if name.startswith("lang-") else SHOWN.get(name, 0)
    if number > 0:
        return given.get(str(number), given.get("text", given.get("quote", ""))).strip()
    if number < 0:
        return _COMPOSED[number]([given[key].strip() for key in map(str, range(1, 5)) if key in given])
    return ""


def _measure(given: list[str]) -> str:
    """{{convert|65|cm|in}} is 65 cm; ranges such as {{convert|5|to|7|km}} are 5 to 7 km."""
    if len(given) >= 4 and given[1] in ("to", "-", "–", "and", "x", "by", "or"):
        return (
            f"{given[0]}–{given[2]} {given[3]}" if given[1] in "-–" else f"{given[0]} {given[1]} {given[2]} {given[3]}"
        )
    return " ".join(given[:2])


def _fraction(given: list[str]) -> str:
    if len(given) == 3:
        return f"{given[0]} {given[1]}/{given[2]}"
    return "/".join(given) if len(given) == 2 else "1/" + given[0] if given else ""


_COMPOSED: dict[int, Callable[[list[str]], str]] = {
    -1: _measure,
    -2: _fraction,
    -3: lambda given: "c. " + "–".join(given[:2]) if given else "c.",
    -4: lambda given: "As of " + "-".join(given[:3]),
}
