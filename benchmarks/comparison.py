"""The rows of the table that compares Gristmill with its peers, from the results in `results/`.

A row: what is done, our figure, the peer's, their ratio, the script that measured both in one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = tuple[str, str, str, str, str]


def rows(results: Mapping[str, Any]) -> Iterator[Row]:
    if "curation" in results:
        yield from curation(results["curation"])


def curation(result: Mapping[str, Any]) -> Iterator[Row]:
    ours = f"{result['english']['ours']['mb_per_second']:.0f} MB/s a core"
    theirs = result["english"]["datatrove"]
    what = "Gopher, C4 and FineWeb filters, JSONL.zst to Parquet"
    script = "`benchmarks/peers/curation.py`"
    shipped, given = result["over_datatrove_as_shipped"], result["over_datatrove_with_splits_given"]
    name = f"datatrove {result['peer_versions']['datatrove']}"
    yield what, ours, f"{name}: {theirs['shipped']['mb_per_second']:.2f} MB/s", f"{shipped:.0f}×", script
    yield (
        "the same, all word and sentence splits given to the peer",
        ours,
        f"{name}: {theirs['given']['mb_per_second']:.1f} MB/s",
        f"{given:.0f}×",
        script,
    )
