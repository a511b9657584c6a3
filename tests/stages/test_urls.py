"""URL filters: what each list drops, in which order, and that nothing is extracted from what is dropped."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.stages.interface import DocumentStage
from gristmill.stages.urls import Urls


@pytest.fixture
def lists(tmp_path: Path) -> dict[str, str]:
    texts = {
        "domains": "# blocked\nbad.com\nhosts.org/section\n0.0.0.0 ads.net\n",
        "words": "Casino\nвино\n",
        "subwords": "xvideo\n",
        "soft_words": "hot\nsingles\nlive\n",
        "allow": "museum.bad.com\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in texts}


def verdicts(
    stage: Urls, *urls: str | None, **columns: pa.Array
) -> list[tuple[str | None, float | None, float | None]]:
    batch = pa.RecordBatch.from_arrays([pa.array(urls, pa.string()), *columns.values()], names=["url", *columns])
    result = stage.apply(batch)
    assert result.column("url") == batch.column("url")
    return [(row["dropped_by"], row["value"], row["limit"]) for row in result.to_pylist()]


def test_it_is_a_document_stage_that_needs_the_url_alone(lists: dict[str, str]) -> None:
    stage = Urls(domains=(lists["domains"],))
    assert isinstance(stage, DocumentStage)
    assert (stage.needs, stage.adds, stage.edits) == (("url",), (), False)


def test_each_list_drops_what_it_names_with_its_line(lists: dict[str, str]) -> None:
    stage = Urls(**lists)
    found = verdicts(
        stage,
        "http://www.bad.com/", "https://hosts.org/section/1", "http://hosts.org/other", "http://ads.net:80/",
        "http://x.org/the-CASINO/", "http://x.org/casinos", "http://x.org/%D0%B2%D0%B8%D0%BD%D0%BE/",
        "http://my.xvi-deos.org/", "http://x.org/hot-singles", "http://x.org/hot/hot", "http://museum.bad.com/casino",
        None, "",
    )  # fmt: skip
    assert found == [
        ("urls.domain", 2, None), ("urls.domain", 3, None), (None, None, None), ("urls.domain", 4, None),
        ("urls.word", 1, None), (None, None, None), ("urls.word", 2, None),
        ("urls.subword", 1, None), ("urls.soft_words", 2, 2), (None, None, None), (None, None, None),
        (None, None, None), (None, None, None),
    ]  # fmt: skip


def test_domains_are_decided_before_words(lists: dict[str, str]) -> None:
    assert verdicts(Urls(**lists), "http://bad.com/casino/hot-singles")[0][0] == "urls.domain"


def test_rows_that_are_out_keep_their_verdict(lists: dict[str, str]) -> None:
    kept = verdicts(
        Urls(**lists), "http://bad.com", "http://bad.com", "http://good.com",
        dropped_by=pa.array(["a.b", None, "c.d"]), value=pa.array([7.0, None, None]),
        quarantined_by=pa.array([None, "e.f", None], pa.string()),
    )  # fmt: skip
    assert kept == [("a.b", 7, None), (None, None, None), ("c.d", None, None)]


def test_lines_are_counted_through_the_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one.com\ntwo.com")
    (tmp_path / "b").write_text("\ufeffthree.com\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c").write_text("four.com\n")
    found = verdicts(Urls(domains=str(tmp_path)), *(f"http://{n}.com" for n in ("one", "two", "three", "four")))
    assert [value for _, value, _ in found] == [1, 2, 3, 4]


def test_a_list_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a.com\n")
    stage = Urls(domains=(str(path),))
    assert verdicts(stage, "http://b.org")[0][0] is None
    path.write_text("a.com\nb.org\n")
    assert verdicts(stage, "http://b.org")[0] == ("urls.domain", 2, None)


def test_slices_and_large_strings_are_as_good(lists: dict[str, str]) -> None:
    column = pa.array(["http://a.org", None, "http://bad.com/", "http://b.org"], pa.large_string())
    batch = pa.RecordBatch.from_arrays([column], names=["url"]).slice(1, 2)
    assert Urls(**lists).apply(batch).column("dropped_by").to_pylist() == [None, "urls.domain"]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"stages\.urls: no list"):
        Urls(allow=("x",))
    with pytest.raises(FileNotFoundError, match="missing"):
        verdicts(Urls(domains=(str(tmp_path / "missing"),)), "http://a.b")
    (tmp_path / "phrase").write_text("fine\ntwo words\n")
    with pytest.raises(ValueError, match="line 2"):
        verdicts(Urls(words=(str(tmp_path / "phrase"),)), "http://a.b")


def test_pages_that_are_dropped_by_their_url_are_counted_and_never_extracted(shared_data: Path, tmp_path: Path) -> None:
    """Through the engine's own chain over a real WARC: documents and bytes add up, extract never sees the host."""
    from gristmill.pipeline.engine.accounting import Counts, check
    from gristmill.pipeline.readers.formats import read
    from gristmill.pipeline.readers.segments import Partition, Segment
    from gristmill.pipeline.readers.source import SourceSpec
    from gristmill.pipeline.steps.chain import run_stage

    class Kept:
        def __init__(self) -> None:
            self.rows: list[tuple[str, str, list[str]]] = []

        def add(self, name: str, action: str, rows: pa.Table, rule: pa.Array, **_: object) -> None:
            self.rows.append((name, action, [str(r) for r in rule.to_pylist()]))

    file = shared_data / "web" / "warc" / "pywb__iana.warc.gz"
    segment = Segment(str(file), file.name, file.stat().st_size, 0, file.stat().st_size)
    spec = SourceSpec(name="web", uri=str(file))
    batches = read(
        Partition(0, "web", (segment,), segment.size), spec, max_document_bytes=10_000_000, batch_bytes=1 << 24
    )
    table = pa.Table.from_batches(list(batches))
    table = table.filter(table.column("quarantined_by").is_null()).drop_columns(["quarantined_by", "read_bytes"])
    (tmp_path / "list").write_text("www.iana.org/domains\n")
    counts, ledger = Counts(), Kept()
    stayed = run_stage(Urls(domains=(str(tmp_path / "list"),)), table, counts, ledger)  # type: ignore[arg-type]
    listed = [url for url in table.column("url").to_pylist() if "iana.org/domains" in url]
    assert counts.documents_in == table.num_rows
    assert counts.dropped == len(listed) > 0
    assert counts.bytes_in == counts.bytes_kept + counts.bytes_dropped
    assert counts.bytes_dropped > 0
    assert stayed.column("content").null_count == 0
    assert not any("iana.org/domains" in url for url in stayed.column("url").to_pylist())
    assert [row[:2] for row in ledger.rows] == [("urls", "dropped")]
    check("urls", 0, counts)
