"""In which of the older encodings a text without a label is written, told by the letters that it would then hold.

Every encoding of `ENCODINGS` decodes the bytes; for each language that is written in it the characters beyond ASCII are
weighed by how often the language has them (`stages.encoding_letters`), as is how many there are among the letters. The
likeliest is taken if its text looks like one at all: bytes of programs, pictures and damaged UTF-8 are nobody's text.
A pure function of the bytes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from gristmill.stages.encoding_letters import ALPHABETS, HANGUL, KANA, KANJI, LATIN, SIMPLIFIED, TRADITIONAL

SAMPLE_BYTES = 1 << 16
"""Of lines that have bytes beyond ASCII."""
MAX_REPLACED = 0.01
"""Share of the characters beyond ASCII that may be damaged."""

_WESTERN = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "is")
_CENTRAL = ("pl", "cs", "sk", "hu", "ro", "hr", "sl")
_BALTIC = ("lt", "lv", "et")
_CYRILLIC = ("ru", "uk", "be", "bg", "sr", "mk")

ENCODINGS: tuple[tuple[str, Sequence[str]], ...] = (
    ("cp1252", _WESTERN), ("iso8859-15", _WESTERN), ("cp1250", _CENTRAL), ("iso8859-2", _CENTRAL),
    ("cp1254", ("tr",)), ("cp1257", _BALTIC), ("iso8859-13", _BALTIC),
    ("cp1251", _CYRILLIC), ("koi8-r", ("ru", "bg")), ("koi8-u", ("uk",)), ("iso8859-5", _CYRILLIC),
    ("cp866", ("ru", "bg")), ("cp1253", ("el",)), ("iso8859-7", ("el",)), ("cp1255", ("he",)), ("cp1256", ("ar", "fa")),
    ("iso8859-6", ("ar",)), ("cp874", ("th",)), ("gb18030", ("zh",)), ("big5hkscs", ("zh-Hant",)), ("cp932", ("ja",)),
    ("euc_jp", ("ja",)), ("cp949", ("ko",)),
)  # fmt: skip
"""Of encodings that give the same text the first is named."""

_QUOTES = "“”‘’„«»–—…\xa0"
_PUNCTUATION = _QUOTES + "‚‹›·•°§©®™€£¿¡ªº½²³´"
_WIDE_PUNCTUATION = "、。，：；（）「」『』《》〈〉【】！？“”‘’—…・～·％０１２３４５６７８９"
QUOTED, MARKED, WIDE_QUOTED = 3e-3, 3e-4, 0.02  # share of each of these in a text
CAPITAL = 0.05  # of a letter's uses
WESTERN_LETTER, LATIN_LETTER, STRANGE, IMPOSSIBLE = 5e-5, 2e-6, 1e-7, 1e-9
ODD_CASE, MIXED_WORD, LONE = -4.0, -8.0, -8.0  # logarithm, for each
UNUSUAL, FOREIGN = -4.0, -8.0  # logarithm, once: of other Latin letters than the western ones, of another script
LIKELY, POSSIBLE = -8.5, -13.0
"""Mean logarithm of a character beyond ASCII: of a text, and of an English one with a few of them."""
FEW = 0.05
MIN_LETTERS = 4  # fewer are no text
SHORT = 80  # characters in which there is white space, on average
UNBROKEN = ("th", "zh", "zh-Hant", "ja")
"""Languages without spaces between words."""

_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
CONTROLS = 500  # a text may hold one control character among so many bytes
_HIGH = re.compile(rb"[\x80-\xff]")
CONTEXT = 1024  # bytes of a long line that are looked at before the first one beyond ASCII
_BEYOND = re.compile(r"[^\x00-\x7f]")
_MIXED = re.compile(rf"[A-Za-z](?=[^\x00-\x7f{_PUNCTUATION}])|[^\x00-\x7f{_PUNCTUATION}](?=[A-Za-z])")
_LONE = re.compile(rf"(?<![^\x00-\x7f{_PUNCTUATION}])[^\x00-\x7f{_PUNCTUATION}](?![^\x00-\x7f{_PUNCTUATION}])")
_SPACES = re.compile(r"\s")
_ODD = re.compile(r"[a-z][À-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶĻĽŁŃŅŇŌŐŒŔŘŚŞŠŢŤŪŮŰŲŸŹŻŽȘȚ]")


def guess(data: bytes) -> str | None:
    """Python's name of the encoding; None where it looks like no text of any. `data` is not valid UTF-8."""
    if len(_CONTROLS.findall(data)) * CONTROLS > len(data) or _is_damaged_utf8(data):
        return None
    sample = sample_of(data)
    best: tuple[float, str] | None = None
    for encoding, languages in ENCODINGS:
        text = sample.decode(encoding, "replace")
        counts = Counter(_BEYOND.findall(text))
        total = counts.total()
        letters = sum(map(str.isalpha, text))
        if letters < MIN_LETTERS or counts["\ufffd"] > MAX_REPLACED * total:
            continue
        ascii_letters = letters - sum(number for character, number in counts.items() if character.isalpha())
        mixed, lone, odd = (len(pattern.findall(text)) for pattern in (_MIXED, _LONE, _ODD))
        few = total <= FEW * len(text)
        unbroken = len(text) > SHORT and _SPACES.subn("", text)[1] * SHORT < len(text)
        for language in languages:
            if unbroken and language not in UNBROKEN:
                continue
            weigh, density = _weights(language)
            score = sum(number * weigh(character) for character, number in counts.items())
            if language in LATIN:
                score += ODD_CASE * odd
            else:
                score += LONE * lone + MIXED_WORD * mixed * (language in ALPHABETS)
            if score < total * (POSSIBLE if few else LIKELY):
                continue
            prior = 0.0 if language in _WESTERN else UNUSUAL if language in LATIN else FOREIGN
            score += prior + density * ascii_letters
            if best is None or score > best[0] + 1e-9:
                best = score, encoding
    return None if best is None else best[1]


def sample_of(data: bytes) -> bytes:
    """Lines that have bytes beyond ASCII, up to `SAMPLE_BYTES`."""
    parts, size, end = [], 0, 0
    while size < SAMPLE_BYTES and (found := _HIGH.search(data, end)):
        begin = max(data.rfind(b"\n", end, found.start()) + 1, end, found.start() - CONTEXT)
        end = data.find(b"\n", found.start()) + 1 or len(data)
        parts.append(data[begin : min(end, begin + SAMPLE_BYTES - size)].rstrip(b"\r\n"))
        size += len(parts[-1]) + 1
    return b"\n".join(parts)


def _is_damaged_utf8(data: bytes) -> bool:
    text = data[:SAMPLE_BYTES].decode("utf-8", "replace")
    replaced = text.count("\ufffd")
    valid = len(_BEYOND.findall(text)) - replaced
    return valid >= 4 * replaced > 0


class _Weights:
    """Logarithms of how often a language's texts have a character beyond ASCII."""

    def __init__(self, table: Mapping[str, float], rest: Mapping[str, float]) -> None:
        self.known = {letter: math.log(share) for letter, share in table.items()}
        for letter, share in table.items():
            if len(letter.upper()) == 1 and letter.upper() != letter:
                self.known.setdefault(letter.upper(), math.log(share * CAPITAL))
        for letter, share in rest.items():
            self.known.setdefault(letter, math.log(share))

    def __call__(self, character: str) -> float:
        found = self.known.get(character)
        if found is None:
            found = self.known[character] = math.log(_share(character))
        return found


def _share(character: str) -> float:
    """Of a character that no table has."""
    kind = unicodedata.category(character)
    if kind in ("Cc", "Cn", "Co", "Cs") or character == "\ufffd":
        return IMPOSSIBLE
    if "À" <= character <= "ÿ" and kind[0] == "L":
        return WESTERN_LETTER if kind == "Ll" else WESTERN_LETTER * CAPITAL * 4
    return LATIN_LETTER if kind[0] == "L" and character < "ɐ" else STRANGE


@cache
def _weights(language: str) -> tuple[_Weights, float]:
    """(weights, logarithm of the share that ASCII letters have; 0 where they are not the language's own)."""
    quoted = {**dict.fromkeys(_PUNCTUATION, MARKED), **dict.fromkeys(_QUOTES, QUOTED)}
    if language in LATIN:
        table = LATIN[language]
        return _Weights(table, quoted), math.log(1 - sum(table.values()))
    if language in ALPHABETS:
        return _Weights(ALPHABETS[language], quoted), 0.0
    wide = dict.fromkeys(_WIDE_PUNCTUATION, WIDE_QUOTED)
    if language == "ja":
        rest = dict.fromkeys(_range(19968, 40960), 0.1 / 4000)
        kana = dict.fromkeys(_range(0x3041, 0x30FF), 1e-4)
        half = dict.fromkeys(_range(0xFF61, 0xFFA0), 1e-6)
        return _Weights({**half, **rest, **kana, **_zipf(KANJI, 0.3), **_zipf(KANA, 0.6)}, wide), 0.0
    if language == "ko":
        rest = dict.fromkeys(_range(44032, 55204), 0.03 / 2000)
        hanja = dict.fromkeys(_range(0x4E00, 0xA000), 1e-6)
        return _Weights({**hanja, **rest, **_zipf(HANGUL, 0.97)}, wide), 0.0
    frequent = SIMPLIFIED if language == "zh" else TRADITIONAL
    rest = dict.fromkeys(_range(19968, 40960), 0.18 / 6000)
    return _Weights({**rest, **_zipf(frequent, 0.8)}, wide), 0.0


def _range(start: int, end: int) -> map[str]:
    return map(chr, range(start, end))


def _zipf(characters: str, mass: float) -> dict[str, float]:
    """Shares that fall with the rank, `mass` together."""
    weights = [1 / (rank + 10) for rank in range(len(characters))]
    return {character: mass * weight / sum(weights) for character, weight in zip(characters, weights, strict=True)}
