"""A rule: a row that limits one signal. A preset is a tuple of them, in the order in which they are tried."""

from __future__ import annotations

from dataclasses import dataclass

NATURAL = ("english", "multilingual")
"""Domains of natural language. Code has neither sentences nor words, so rules about these leave it alone."""

ENGLISH = ("english",)


@dataclass(frozen=True)
class Rule:
    """A document stays if minimum <= signal <= maximum, both ends included, or if the signal is null.

    name: `preset.signal`. minimum, maximum: None where there is no such limit. domains, languages: those to which the
    rule applies; empty: all. source: where the limits come from.
    """

    name: str
    signal: str
    minimum: float | None = None
    maximum: float | None = None
    domains: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    source: str = ""
