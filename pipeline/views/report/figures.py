"""How figures, names and foreign text are written on the page: counts, bytes, shares, durations, limits; escaped HTML.

Bytes are decimal (1 kB = 1,000 B), as everywhere in the product. The minus sign is U+2212, spaces before units do not
break.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

NB = "\u00a0"


def esc(value: object) -> str:
    """Safe in element content and double-quoted attributes; control characters that HTML forbids become U+FFFD."""
    return html.escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", str(value)), quote=True)


def breakable(name: str) -> str:
    """Escaped, and a line may end after each underscore."""
    return esc(name).replace("_", "_<wbr>")


def count(value: float) -> str:
    return f"{value:,.0f}".replace("-", "−")


def short(value: float) -> str:
    """Three digits and a unit: 12.3 M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{_three(value / limit)}{NB}{unit}"
    return count(value)


def size(value: float) -> str:
    """Bytes: 12.3 MB."""
    for limit, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= limit:
            return f"{_three(value / limit)}{NB}{unit}"
    return f"{value:.0f}{NB}B"


def share(part: float, whole: float, digits: int = 1) -> str:
    """Per cent of the whole; a share that would round to nothing says so."""
    if not whole:
        return "–"
    value = 100 * part / whole
    least = 10**-digits
    if 0 < value < least / 2:
        return f"<{NB}{least:g}{NB}%"
    return f"{value:.{digits}f}{NB}%"


def duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds // 3600):,}{NB}h {int(seconds % 3600 // 60):02d}{NB}min"
    if seconds >= 60:
        return f"{int(seconds // 60)}{NB}min {int(seconds % 60):02d}{NB}s"
    return f"{seconds:.1f}{NB}s" if seconds >= 0.05 else f"{1000 * seconds:.0f}{NB}ms"


def number(value: float | None) -> str:
    """A measured value: integers as they are, others with four significant digits."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return count(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    if abs(value) < 1e-3:
        return f"{value:.2e}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def limits(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f"{number(minimum)} – {number(maximum)}"
    if minimum is not None:
        return f"≥{NB}{number(minimum)}"
    return f"≤{NB}{number(maximum)}" if maximum is not None else ""


def plural(n: float, noun: str) -> str:
    return f"{count(n)}{NB}{noun}" if n == 1 else f"{count(n)}{NB}{noun}s"


def listing(items: Iterable[str]) -> str:
    """a, b and c."""
    names = list(items)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _three(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


LANGUAGES = {
    "ar": "Arabic", "az": "Azerbaijani", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "gl": "Galician", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "te": "Telugu",
    "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""English names of the recipe's languages (Parmar et al. 2024, Table 6) and English, by ISO 639-1 code."""


def language(domain: str, code: str | None) -> str:
    """HTML: a natural language's name before its code, a programming language as it is called."""
    name = LANGUAGES.get(code or "") if domain != "code" else None
    return f'{name} <span class="code">{esc(code)}</span>' if name else esc(code or "unknown")
