"""The report's section about benchmarks: every one that was looked for, the most found first."""

from __future__ import annotations

import pyarrow as pa

from gristmill.pipeline.views.report.contamination import contamination_section

FOUND = pa.table(
    {
        "benchmark": ["gsm8k", "gsm8k", "a<b"],
        "source": ["web", "books", "web"],
        "documents": [2, 5, 1],
        "grams": [30, 7, 400],
    }
)
LOOKED_FOR = {
    "gsm8k": {"texts": 1319, "too_short": 4, "grams": 50_000},
    "arc": {"texts": 2376, "too_short": 0, "grams": 9_000},
}


def test_the_most_found_comes_first_and_what_was_not_found_is_there_too() -> None:
    section = contamination_section(FOUND, LOOKED_FOR)
    assert section is not None
    assert section.body.index("a&lt;b") < section.body.index("gsm8k") < section.body.index("arc")
    assert "books 5, web 2" in section.body
    assert "1,319" in section.body
    lede = section.lede.replace("\u00a0", " ")
    assert "2 benchmarks of 3" in lede
    assert "437 grams" in lede


def test_there_is_no_section_where_nothing_was_looked_for() -> None:
    assert contamination_section(FOUND.slice(0, 0)) is None
    assert contamination_section(FOUND.slice(0, 0), LOOKED_FOR) is not None
