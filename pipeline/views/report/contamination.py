"""The section about benchmarks: what of which was found in how many documents, and where they came from.

From the table that `stages.decontaminate.contamination_report` makes of a run's columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from gristmill.pipeline.views.report.elements import Section, folded, quiet
from gristmill.pipeline.views.report.figures import count, esc, plural

SHOWN = 20
"""Benchmarks before the fold."""
SOURCES = 3
"""Sources of a benchmark's row."""


def contamination_section(found: pa.Table, looked_for: Mapping[str, Mapping[str, int]] | None = None) -> Section | None:
    """None where nothing was looked for.

    found: benchmark, source, documents, grams. looked_for: of every benchmark texts, too_short, grams, as in
    `stages.decontamination_index.Benchmarks.counts`; without it only what was found is listed.
    """
    sources: dict[str, list[tuple[str, int, int]]] = {name: [] for name in looked_for or {}}
    for row in found.to_pylist():
        sources.setdefault(row["benchmark"], []).append((row["source"], row["documents"], row["grams"]))
    if not sources:
        return None
    rows = [_row(name, entries, (looked_for or {}).get(name)) for name, entries in _ordered(sources)]
    hit = sum(1 for entries in sources.values() if entries)
    grams = sum(grams for entries in sources.values() for _, _, grams in entries)
    lede = (
        f"{plural(hit, 'benchmark')} of {count(len(sources))} had text in the corpus, {plural(grams, 'gram')} in all. "
        "A gram is counted at every word with which one begins."
    )
    head = ("benchmark", "documents", "grams", "texts looked for", "too short", "most of it in")
    body = folded(head, rows, "lnnNNl", SHOWN, "benchmarks")
    if looked_for and any(counts["too_short"] for counts in looked_for.values()):
        body += quiet("Texts that are too short, answers mostly, were not looked for.")
    return Section("contamination", "Benchmarks", lede, body)


def _ordered(sources: Mapping[str, list[tuple[str, int, int]]]) -> list[tuple[str, list[tuple[str, int, int]]]]:
    return sorted(sources.items(), key=lambda item: (-sum(grams for _, _, grams in item[1]), item[0]))


def _row(name: str, entries: list[tuple[str, int, int]], counts: Mapping[str, int] | None) -> tuple[str, ...]:
    documents, grams = sum(d for _, d, _ in entries), sum(g for _, _, g in entries)
    most = sorted(entries, key=lambda entry: (-entry[1], entry[0]))[:SOURCES]
    where = ", ".join(f"{esc(source)} {count(number)}" for source, number, _ in most)
    about = (count(counts["texts"]), count(counts["too_short"])) if counts else ("", "")
    return (esc(name), count(documents), count(grams), *about, where)
