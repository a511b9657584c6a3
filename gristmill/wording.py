"""Numbers and nouns in what is said to a person: "1 task", "3 tasks", "4 min 10 s", "about 12 min".

The report has its own figures (`pipeline.views.report.figures`), with spaces that do not break.
"""

from __future__ import annotations


def plural(count: float, noun: str, nouns: str | None = None) -> str:
    """The count with its noun. nouns: the plural where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def duration(seconds: float) -> str:
    """3 h 05 min, 4 min 10 s, 7 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def about(seconds: float) -> str:
    """A time that was estimated, no more exact than it can be: about 3 h, about 12 min, about 40 s."""
    if seconds >= 36_000:
        return f"about {round(seconds / 3600):,} h"
    if seconds >= 5_400:
        return f"about {seconds / 3600:.1f} h"
    if seconds >= 90:
        return f"about {round(seconds / 60)} min"
    return f"about {max(1, round(seconds / 10)) * 10} s"
