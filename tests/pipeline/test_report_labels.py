"""Stated languages against found ones: counted as a brute-force count does, shown escaped, stored by a run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import records

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run
from gristmill.pipeline.views.report import labels
from gristmill.pipeline.views.report.labels import label_pairs, labels_section
from gristmill.stages.languages import iso_code
from gristmill.storage.store import Store


def write_signals(folder: Path, rows: list[tuple[str | None, str, int]]) -> Store:
    (folder / "signals").mkdir()
    for part in range(2):
        stated, found, size = zip(*rows[part::2], strict=True)
        columns = {
            "language": pa.array(found),
            "text_bytes": pa.array(size),
            "language_labelled": pa.array(stated, pa.string()),
        }
        pq.write_table(pa.table(columns), folder / "signals" / f"part-{part:05d}.parquet")
    return Store(str(folder))


def test_pairs_are_counted_with_their_bytes(tmp_path: Path) -> None:
    rows = [(("de", "en", None, "fr")[i % 4], ("en", "de", "de")[i % 3], i) for i in range(240)]
    expected: dict[tuple[str, str], list[int]] = {}
    for stated, found, size in rows:
        if stated is not None:
            sums = expected.setdefault((stated, found), [0, 0])
            sums[0] += 1
            sums[1] += size
    pairs = label_pairs(write_signals(tmp_path, rows))
    assert {pair: list(sums) for pair, sums in pairs.items()} == expected
    assert list(pairs) == sorted(pairs)


def test_a_source_that_writes_anything_as_a_language_fills_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MAX_PAIRS", 10)
    pairs = label_pairs(write_signals(tmp_path, [(f"x{i}", "en", 1) for i in range(100)]))
    assert len(pairs) == 11
    assert pairs["others", "en"] == (90, 90)


def test_the_section_shows_what_differs_and_nothing_where_nothing_was_stated() -> None:
    assert labels_section({}) is None
    same = labels_section({("en", "en"): (5, 50)})
    assert same is not None
    assert "each is in it" in same.lede
    pairs = {("de", "de"): (30, 300), ("de", "en"): (10, 100), ("<b>", "en"): (60, 600)}
    section = labels_section(pairs)
    assert section is not None
    assert "100\u00a0documents" in section.lede
    assert "70 (70.0" in section.lede
    assert section.body.index("&lt;b&gt;") < section.body.index("German")
    assert "<b>" not in section.body
    assert "25.0" in section.body
    assert "300" not in section.body


def test_a_run_stores_what_was_stated_and_the_share_of_lines(
    shared_data: Path, language_model: Path, tmp_path: Path
) -> None:
    """A handbook of which some pages are translated: what its folder says against what the pages are in."""
    path = shared_data / "multilingual" / "debian-handbook.jsonl.zst"
    rows = [row for row in records(path, 700) if row["lang"] in ("ca", "da", "cs", "en")][::3]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {
        "output": str(tmp_path / "out"),
        "sources": [{"name": "pages", "uri": str(tmp_path / "pages.jsonl"), "columns": {"language": "lang"}}],
        "stages": [{"language": {"model": str(language_model), "line_share": True, "min_score": 0}}],
        "tokenizer": {"vocab_size": 1200},
        "blends": {"all": {"domains": {"english": 1}}},
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(config))
    run(load(str(tmp_path / "pipeline.yaml")), inline=True)
    store = Store(str(tmp_path / "out"))
    stored = [row for file in (tmp_path / "out" / "signals").glob("part-*") for row in pq.read_table(file).to_pylist()]
    assert Counter(row["language_labelled"] for row in stored) == Counter(iso_code(row["lang"]) for row in rows)
    assert sum(row["language_share"] or 0 for row in stored) / len(stored) > 0.8
    pairs = label_pairs(store)
    assert pairs == {
        pair: (n, sum(r["text_bytes"] for r in stored if (r["language_labelled"], r["language"]) == pair))
        for pair, n in sorted(Counter((row["language_labelled"], row["language"]) for row in stored).items())
    }
    assert pairs["da", "en"][0] > 20
