"""What the report shows of the curated corpus equals a count over all its rows."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from gristmill.pipeline.views.report import kept as module
from gristmill.pipeline.views.report.kept import EDGES, Kept, add, kept, length_bins, year_bins
from gristmill.pipeline.views.report.kept_section import kept_section
from gristmill.stages.document import CURATED
from gristmill.storage.store import Store


def rows(output: Path) -> list[dict[str, Any]]:
    return ds.dataset(output / "curated", partitioning="hive").to_table().to_pylist()


def documents(count: int, **columns: list[Any]) -> pa.Table:
    """Rows of `curated/` with a few columns filled."""
    filled: dict[str, list[Any]] = {
        "id": [i.to_bytes(16, "big") for i in range(count)],
        "text": ["a text"] * count,
        "source": ["web"] * count,
        "path": ["page"] * count,
        "record": [0] * count,
        "domain": ["english"] * count,
        "language": ["en"] * count,
    }
    filled |= columns
    return pa.table({n: pa.array(filled.get(n, [None] * count), CURATED.field(n).type) for n in module.COLUMNS})


def test_counts_and_samples_of_an_output_equal_a_count_over_its_rows(small_output: Path) -> None:
    found, all_rows = kept(Store(str(small_output))), rows(small_output)
    assert found is not None
    sizes = [len(row["text"].encode()) for row in all_rows]
    assert (found.documents, found.bytes, found.every) == (len(all_rows), sum(sizes), 1)
    assert found.lengths.tolist() == [
        sum(low <= size < high for size in sizes) for low, high in zip((0, *EDGES), (*EDGES, 1 << 62), strict=True)
    ]
    assert found.years == Counter(row["timestamp"].year for row in all_rows if row["timestamp"])
    for (domain, language), samples in found.samples.items():
        mine = [row for row in all_rows if (row["domain"], row["language"]) == (domain, language)]
        ids = sorted(row["id"] for row in mine)
        assert [sample.id for sample in samples] == ids[: module.SAMPLES]
        texts = {" ".join(row["text"].split())[: module.PREVIEW] for row in mine}
        assert all(sample.preview in texts for sample in samples)


def test_hosts_are_counted_without_user_port_and_case() -> None:
    urls = [
        *("https://Mill.example/a", "http://user:pw@mill.example:8080/b", "https://mill.example?q", None, "no url"),
        *("ftp://[2001:db8::1]:21/x", "https://other.example#f", "mailto:a@b.example"),
    ]
    found = Kept()
    add(found, documents(len(urls), url=urls))
    assert found.top_hosts() == [("mill.example", 3), ("[2001:db8::1]", 1), ("other.example", 1)]
    assert found.addressed == 5
    plain = [urlsplit(url).hostname for url in urls if url and "//" in url]
    assert found.hosts == {"[2001:db8::1]": 1, **{h: plain.count(h) for h in ("mill.example", "other.example")}}


def test_a_frequent_host_is_found_among_more_than_memory_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HOSTS", 50)
    found = Kept()
    for block in range(20):
        urls = [f"https://rare-{block}-{i}.example/" for i in range(60)] + ["https://often.example/"] * 20
        add(found, documents(len(urls), url=urls))
    assert found.top_hosts()[0][0] == "often.example"
    assert not found.exact
    assert len(found.hosts) <= 50
    assert "hosts, of which the frequent ones were counted" in kept_section(found).body  # type: ignore[union-attr]


def test_years_that_are_long_ago_stand_in_one_column() -> None:
    assert year_bins({2026: 3, 2020: 1, 1850: 2, 1700: 4})[:2] == [("<2011", 6), ("2011", 0)]
    assert year_bins({2026: 3}) == [("2026", 3)]
    assert year_bins({}) == []


def test_lengths_from_the_shortest_to_the_longest_that_are_there() -> None:
    lengths = [0] * (len(EDGES) + 1)
    lengths[1] = lengths[3] = 7
    assert length_bins(lengths) == [("100", 7), ("200", 0), ("500", 7)]
    assert length_bins([0] * (len(EDGES) + 1)) == []


def test_only_every_nth_file_of_a_large_corpus_is_read(small_output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kept(Store(str(small_output)))
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    some = kept(Store(str(small_output)))
    assert some is not None
    assert whole is not None
    assert some.every > 1
    assert some.documents < whole.documents
    assert f"each {some.every}th was read" in kept_section(some).lede  # type: ignore[union-attr]


def test_nothing_of_a_document_is_markup_on_the_page() -> None:
    found = Kept()
    planted = ['<script>alert("1")</script>', "</figure><style>*{}</style>"]
    moment = [datetime(2020, 1, 1, tzinfo=UTC), None]
    add(found, documents(2, text=planted, title=planted, url=[f"https://{planted[0]}/", None], timestamp=moment))
    section = kept_section(found)
    assert section is not None
    assert not re.search(r"<(?:script|style|/figure><style)", section.body)
    assert "2020-01-01" in section.body


def test_no_section_where_nothing_was_curated(tmp_path: Path) -> None:
    assert kept(Store(str(tmp_path))) is None
    assert kept_section(None) is None
