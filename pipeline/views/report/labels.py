"""What sources say a document's language is, against what was found: a confusion of pairs.

Counted over `signals/`, which has every document that left the first pass; those that `language` dropped are not among
them. A document whose source states no language, and code, count for nothing. MAX_PAIRS pairs are kept apart, so that
a source that writes anything at all as a language cannot fill memory; the rest counts as (others, found).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow.compute as pc

from gristmill.pipeline.views.published import parts
from gristmill.pipeline.views.report.charts import bar
from gristmill.pipeline.views.report.elements import Section, folded, quiet
from gristmill.pipeline.views.report.figures import count, language, plural, share, size
from gristmill.pipeline.views.report.sums import column_batches, grouped
from gristmill.storage.store import Store

MAX_PAIRS = 4096
OTHERS = "others"
SHOWN = 16
"""Pairs before the fold."""

Pairs = Mapping[tuple[str, str], tuple[int, int]]
"""(stated, found) -> documents, bytes of text."""


def label_pairs(store: Store) -> Pairs:
    """Of the documents in `signals/`; empty where the run has no such column."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for batch in column_batches(store, parts(store, "signals"), ["language_labelled", "language", "text_bytes"]):
        stated = batch.filter(pc.is_valid(batch.column("language_labelled")))
        for (label, found), documents, weight in grouped(stated, ["language_labelled", "language"], "text_bytes"):
            pair = (label, found) if (label, found) in sums or len(sums) < MAX_PAIRS else (OTHERS, found)
            before = sums.get(pair, (0, 0))
            sums[pair] = before[0] + documents, before[1] + weight
    return dict(sorted(sums.items()))


def labels_section(pairs: Pairs) -> Section | None:
    """None where no source states a language."""
    if not pairs:
        return None
    documents, weight = (sum(column) for column in zip(*pairs.values(), strict=True))
    differ = {pair: sums for pair, sums in pairs.items() if pair[0] != pair[1]}
    if not differ:
        lede = f"{plural(documents, 'document')} came with a language of their own, and each is in it."
        return Section("labels", "Labels", lede, quiet("No document is in another language than its source says."))
    other, other_weight = (sum(column) for column in zip(*differ.values(), strict=True))
    lede = (
        f"Of {plural(documents, 'document')} that came with a language of their own, {count(other)} "
        f"({share(other, documents)}; {share(other_weight, weight)} of the bytes) are in another. "
        "What was found decides."
    )
    by_label: dict[str, int] = {}
    for (label, _), (number, _) in pairs.items():
        by_label[label] = by_label.get(label, 0) + number
    rows = sorted(differ.items(), key=lambda item: (-item[1][0], item[0]))
    most = max(number for _, (number, _) in rows)
    cells = [
        (
            language("", label),
            language("", found),
            bar(number / most, "lost"),
            count(number),
            share(number, by_label[label]),
            size(in_bytes),
        )
        for (label, found), (number, in_bytes) in rows
    ]
    head = ("stated", "found", "", "documents", "of those so stated", "bytes")
    return Section("labels", "Labels", lede, folded(head, cells, "llbnNn", SHOWN, "pairs"))
