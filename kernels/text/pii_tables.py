"""The tables of `pii_patterns` as arrays, in which the kernels read.

They are constants of the compiled code, since nothing of them depends on the configuration. A row of text ends at its
first 0.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text.pii_checksums import CHECK_NUMBERS
from gristmill.kernels.text.pii_patterns import (
    ALPHABETS,
    CODE_BIT,
    CODE_TLDS,
    IBAN_LENGTHS,
    LANGUAGES,
    NO_TLDS,
    PHONE_WORDS,
    PHONES,
    PLACEHOLDERS,
    PROSE_BIT,
    RESERVED_DOMAINS,
    RESERVED_TLDS,
    SCHEMES,
    SECRET_NAMES,
    TOKENS,
    TRUNK,
    VERSION_WORDS,
    VERSIONS,
)


def rows_of(texts: list[str]) -> np.ndarray:
    """(n, longest + 1) uint8."""
    contents = [text.encode() for text in texts]
    out = np.zeros((len(texts), max(map(len, contents)) + 1), np.uint8)
    for k, content in enumerate(contents):
        out[k, : len(content)] = np.frombuffer(content, np.uint8)
    return out


def grouped(sets: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """All texts as rows, and (n, 2) int64: first row and row after the last of each set."""
    bounds = np.cumsum([0, *map(len, sets)])
    return rows_of([text for each in sets for text in each]), np.stack([bounds[:-1], bounds[1:]], 1)


def _schemes() -> tuple[list[str], np.ndarray, list[tuple[str, ...]]]:
    patterns: list[str] = []
    facts: list[tuple[int, ...]] = []
    sets: dict[tuple[str, ...], int] = {PHONE_WORDS: PHONES, VERSION_WORDS: VERSIONS}
    bits = {"prose": PROSE_BIT, "code": CODE_BIT, **{name: 1 << k + 2 for k, name in enumerate(LANGUAGES)}}
    for scheme in SCHEMES:
        scope = sum(bits[name] for name in scheme.scope)
        words = sets.setdefault(scheme.context, len(sets)) if scheme.context else -1
        for pattern in scheme.patterns:
            spaced, first = " " in pattern and "(" not in pattern, pattern.index("d")
            patterns.append(pattern)
            facts.append((scheme.kind, CHECK_NUMBERS[scheme.check], scope, words, len(pattern), first, spaced))
    return patterns, np.array(facts, np.int64), list(sets)


def _by_run(patterns: list[str]) -> np.ndarray:
    runs: list[list[int]] = [[] for _ in range(24)]
    for k, pattern in enumerate(patterns):
        rest = pattern[pattern.index("d") :]
        runs[len(rest) - len(rest.lstrip("d"))].append(k)
    width = max(map(len, runs)) + 1
    return np.array([run + [-1] * (width - len(run)) for run in runs], np.int64)


def _countries() -> np.ndarray:
    out = np.zeros((1000, 2), np.int64)
    for limits, codes in TRUNK.items():
        for code in codes.split():
            out[int(code)] = limits
    return out


def _ibans() -> np.ndarray:
    out = np.zeros(676, np.int64)
    for entry in IBAN_LENGTHS.split():
        out[(ord(entry[0]) - 65) * 26 + ord(entry[1]) - 65] = int(entry[2:])
    return out


def _anchors() -> tuple[np.ndarray, np.ndarray]:
    out = np.zeros((2, 256), np.uint8)
    pairs = np.zeros((256, 256), np.bool_)
    for prefix, at in [*((token.prefix, token.anchor) for token in TOKENS), ("-B", 1)]:  # -----BEGIN
        out[:, ord(prefix[at])] = TOKEN
        pairs[ord(prefix[at]), ord(prefix[at - 1])] = True
    out[:, ord("0") : ord("9") + 1] = DIGIT
    out[:, ord("@")] = AT
    out[1, [ord("="), ord(":")]] = ASSIGNMENT
    return out, pairs


DIGIT, AT, TOKEN, ASSIGNMENT = 1, 2, 3, 4
ANCHORS, PAIRS = _anchors()
"""(2, 256): what a byte may start, in prose and in code; (256, 256): whether a key has a byte after that other one."""

_patterns, FACTS, _sets = _schemes()
"""FACTS (p, 7): kind, check, scope bits, set of words or -1, characters, place of the first d, laid out with spaces."""
PATTERNS = rows_of(_patterns)
BY_RUN = _by_run(_patterns)
"""(24, k): patterns by the length of their first run of digits; -1 after the end."""
WORDS, WORD_SETS = grouped(_sets)
COUNTRIES = _countries()
"""(1000, 2): least and most digits after each country code; 0: no such code."""
IBANS = _ibans()
"""(676,): characters of an IBAN by its two letters; 0: no such country."""
PREFIXES = rows_of([token.prefix for token in TOKENS])
PREFIX_FACTS = np.array([(len(t.prefix), t.anchor, ALPHABETS.index(t.of), t.least, t.most) for t in TOKENS], np.int64)
NAMES = rows_of([name for name, _ in SECRET_NAMES])
NAME_FACTS = np.array([(len(name), least) for name, least in SECRET_NAMES], np.int64)
PLACEHOLDER_ROWS = rows_of(list(PLACEHOLDERS))
TLDS, TLD_SETS = grouped([RESERVED_DOMAINS, RESERVED_TLDS, NO_TLDS, CODE_TLDS])
