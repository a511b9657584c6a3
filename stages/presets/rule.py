"""A rule: a row that limits one signal, or a condition over several. A preset is a tuple of them, in the order in which
they are tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

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


DESCRIPTION = pa.schema(
    [
        pa.field("index", pa.int32(), nullable=False),  # the row's bit in `failed`
        pa.field("rule", pa.string(), nullable=False),
        pa.field("signal", pa.string(), nullable=False),
        pa.field("minimum", pa.float64()),
        pa.field("maximum", pa.float64()),
        pa.field("domains", pa.list_(pa.string()), nullable=False),  # empty: all
        pa.field("languages", pa.list_(pa.string()), nullable=False),  # empty: all
        pa.field("source", pa.string(), nullable=False),
        pa.field("expression", pa.string()),  # of a rule that has no limits; its signal is the first that it names
    ]
)


class Ruled(Protocol):
    def rules(self) -> tuple[Rule, ...]: ...


def describe(rules: Ruled | Iterable[Rule]) -> pa.Table:
    """The rows, of a stage that has some or as they are, as a table of schema `DESCRIPTION`: what the ledger stores and
    the report shows."""
    rows = tuple(rules if isinstance(rules, Iterable) else rules.rules())
    return pa.table(
        [
            list(range(len(rows))),
            [rule.name for rule in rows],
            [rule.signal for rule in rows],
            [rule.minimum for rule in rows],
            [rule.maximum for rule in rows],
            [list(rule.domains) for rule in rows],
            [list(rule.languages) for rule in rows],
            [rule.source for rule in rows],
            [rule.expression or None for rule in rows],
        ],
        schema=DESCRIPTION,
    )
