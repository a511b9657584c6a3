"""A rule: a row that limits one signal, or a condition over several. A preset is a tuple of them, in the order in which
they are tried."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.stages.expression import parse

NATURAL = ("english", "multilingual")
"""Domains of natural language. Code has neither sentences nor words, so rules about these leave it alone."""

ENGLISH = ("english",)


@dataclass(frozen=True)
class Rule:
    """A document stays if minimum <= signal <= maximum, both ends included, or if the signal is null.

    name: `preset.signal`. minimum, maximum: None where there is no such limit. domains, languages: those to which the
    rule applies; empty: all. source: where the limits come from. Of a line rule, `signal` is a measure of the line or
    what is cut out of it (`kernels.text.line_rules`), and what fails is the line.

    expression: where it is given, the rule has no limits, and a document is dropped where the expression is true
    (`stages.expression`); `signal` is the first that it names.
    """

    name: str
    signal: str
    minimum: float | None = None
    maximum: float | None = None
    domains: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    source: str = ""
    expression: str = ""

    @property
    def signals(self) -> tuple[str, ...]:
        """Every column that it looks at."""
        return parse(self.expression).signals if self.expression else (self.signal,)
