"""`gristmill init` on the layouts of public collections: 50 records each, read by the configuration that it wrote.

Names, nesting and types are as the card or the documentation beside each layout says; the texts are this project's
documentation and the interpreter's standard library.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from real_texts import COUNT, programs, texts
from typer.testing import CliRunner

from gristmill.pipeline.cli import app
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.readers.format_table import FORMATS
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.segments import partitions

Record = dict[str, Any]


def uuid(i: int) -> str:
    return f"{i:08x}-1b2c-4d3e-8f90-{i * 7919:012x}"


def moment(i: int) -> datetime:
    return datetime(2019, 1 + i % 12, 1 + i % 28, 10, i % 60, 5, tzinfo=UTC)


def host(i: int) -> str:
    return f"https://www.site-{i % 17}.example/{i}/article.html"


def init(*inputs: Path | str) -> tuple[dict[str, Any], str]:
    """(the configuration that is written to standard output, what was said)."""
    result = CliRunner().invoke(app, ["init", *map(str, inputs)])
    assert result.exit_code == 0, (result.output, result.exception)
    return yaml.safe_load(result.stdout), result.stderr


def documents(configuration: dict[str, Any], folder: Path) -> list[Record]:
    """What the run's first pass would read of the sources, by the real configuration and the real readers."""
    path = folder / "init-test.yaml"
    stages = {"stages": ["exact_dedup"]}  # what needs a model has no say here
    path.write_text(yaml.safe_dump(configuration | stages), "utf-8")
    sources = load(str(path)).sources
    files = inventory(sources)
    found: list[Record] = []
    for partition in partitions(files, 1 << 40):
        spec = next(spec for spec in sources if spec.name == partition.source)
        for batch in read(partition, spec):
            found += batch.to_pylist()
    assert all(row["quarantined_by"] is None for row in found), found[0]
    return found


def one_source(configuration: dict[str, Any]) -> dict[str, Any]:
    (source,) = configuration["sources"]
    return source


def jsonl(path: Path, records: list[Record], pack: Callable[[bytes], bytes] = bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack("".join(json.dumps(record) + "\n" for record in records).encode()))
    return path


def parquet(path: Path, records: list[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def check(
    folder: Path, *, records: list[Record], columns: dict[str, str], where: Path | str | None = None, **fields: Any
) -> str:
    """The source has exactly `columns` and `fields`; its documents have what the records say. What was said."""
    configuration, said = init(where or folder)
    source = one_source(configuration)
    assert source.get("columns", {}) == columns
    for name in ("domain", "category", "ids"):
        assert source.get(name) == fields.get(name), (name, source)
    rows = documents(configuration, folder.parent)
    assert len(rows) == len(records)
    rows.sort(key=lambda row: str(row["text"]))
    records = sorted(records, key=lambda record: str(value_at(record, columns["text"])))
    from gristmill.pipeline.readers.timestamps import parse_timestamp

    for row, record in zip(rows, records, strict=True):
        own = {"id": "own_id"}
        for ours, theirs in columns.items():
            value = value_at(record, theirs)
            got = row[own.get(ours, ours)] if ours != "programming_language" else row["language"]
            if ours == "timestamp":
                expected = parse_timestamp(value)
                assert expected is not None
                assert got == datetime.fromtimestamp(expected / 1e6, UTC), (value, got)
            elif ours == "programming_language":
                assert got == str(value).lower()
            elif ours == "license" and isinstance(value, list):
                assert got == " OR ".join(value)
            elif ours == "id" and fields.get("ids") == "per_file":
                assert got.endswith(f"#{value}")
            elif value is not None:
                assert got == str(value), (ours, got, value)
    return said


def value_at(record: Record, name: str) -> Any:
    value: Any = record
    while name:
        for length in range(len(name), 0, -1):
            if name[:length] in value and (length == len(name) or name[length] == "."):
                value, name = value[name[:length]], name[length + 1 :]
                break
        else:
            return None
    return value


def fineweb() -> list[Record]:
    """https://huggingface.co/datasets/HuggingFaceFW/fineweb, "Data fields"."""
    return [
        {
            "text": text,
            "id": f"<urn:uuid:{uuid(i)}>",
            "dump": "CC-MAIN-2019-04",
            "url": host(i),
            "date": moment(i).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "file_path": f"s3://commoncrawl/crawl-data/CC-MAIN-2019-04/segments/15/warc/CC-MAIN-{i % 3}.warc.gz",
            "language": "en",
            "language_score": 0.93,
            "token_count": 100 + i,
        }
        for i, text in enumerate(texts())
    ]


def test_fineweb(tmp_path: Path) -> None:
    records = fineweb()
    parquet(tmp_path / "fineweb" / "data" / "CC-MAIN-2019-04" / "000_00000.parquet", records)
    columns = {"text": "text", "id": "id", "url": "url", "timestamp": "date", "language": "language"}
    check(tmp_path / "fineweb", records=records, columns=columns, category="web")


def test_fineweb_2(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/HuggingFaceFW/fineweb-2, "Data fields"."""
    records = [
        {key: value for key, value in record.items() if key != "token_count"}
        | {
            "language": "deu",
            "language_script": "Latn",
            "minhash_cluster_size": 1 + i % 4,
            "top_langs": json.dumps({"deu_Latn_score": 0.99}),
        }
        for i, record in enumerate(fineweb())
    ]
    parquet(tmp_path / "data" / "deu_Latn" / "train" / "000_00000.parquet", records)
    columns = {"text": "text", "id": "id", "url": "url", "timestamp": "date", "language": "language"}
    check(tmp_path / "data", records=records, columns=columns, category="web")


def test_dolma(tmp_path: Path) -> None:
    """https://github.com/allenai/dolma/blob/main/docs/data-format.md, `documents/` and `metadata`; as .json.gz since
    v1.5: https://huggingface.co/datasets/allenai/dolma."""
    records = [
        {
            "id": f"cc-{i:06}",
            "text": text,
            "source": "common-crawl",
            "added": "2023-07-02T11:01:13.821Z",
            "created": moment(i).isoformat(),
            "metadata": {"url": host(i), "length": len(text), "provenance": "cc_en_head-0000.json.gz:1"},
        }
        for i, text in enumerate(texts())
    ]
    jsonl(tmp_path / "dolma" / "cc_en_head-0000.json.gz", records[:30], gzip.compress)
    jsonl(tmp_path / "dolma" / "cc_en_head-0001.json.gz", records[30:], gzip.compress)
    columns = {"text": "text", "id": "id", "url": "metadata.url", "timestamp": "created"}
    said = check(tmp_path / "dolma", records=records, columns=columns, category="web")
    assert "`added`" in said


def test_redpajama_1t_is_a_source_for_each_subset_that_differs(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/togethercomputer/RedPajama-Data-1T, "Dataset Structure"; the keys of `meta` as
    https://github.com/togethercomputer/RedPajama-Data/tree/rp_v1 writes them."""
    arxiv = [
        {
            "text": text,
            "meta": {
                "timestamp": moment(i).isoformat(), "yymm": "1901", "arxiv_id": f"1901.{i:05}", "language": "en",
                "url": f"https://arxiv.org/abs/1901.{i:05}",
            },
            "red_pajama_subset": "arxiv",
        }
        for i, text in enumerate(texts())
    ]  # fmt: skip
    github = [
        {
            "text": text,
            "meta": {
                "content_hash": f"{i:032x}", "timestamp": "", "source": "github", "line_count": text.count("\n"),
                "max_line_length": 90, "avg_line_length": 40.5, "alnum_prop": 0.6,
                "repo_name": f"someone/thing-{i % 5}", "id": f"{i:040x}",
                "size": str(len(text)), "binary": False, "copies": "1", "ref": "refs/heads/master",
                "path": f"src/part_{i}.py", "mode": "33188", "license": "mit",
                "language": [{"name": "Python", "bytes": "1000"}], "symlink_target": "",
            },
            "red_pajama_subset": "github",
        }
        for i, text in enumerate(programs())
    ]  # fmt: skip
    jsonl(tmp_path / "rp" / "arxiv" / "arxiv_023827cd.jsonl", arxiv)
    jsonl(tmp_path / "rp" / "github" / "filtered_08cdfa75.jsonl", github)
    configuration, _ = init(tmp_path / "rp")
    by_name = {source["name"]: source for source in configuration["sources"]}
    assert set(by_name) == {"arxiv", "github"}
    assert by_name["arxiv"]["columns"] == {
        "text": "text", "id": "meta.arxiv_id", "url": "meta.url", "timestamp": "meta.timestamp",
        "language": "meta.language",
    }  # fmt: skip
    assert by_name["arxiv"]["category"] == "papers"
    assert "domain" not in by_name["github"]  # its keys say it of each record, and the language
    assert by_name["github"]["columns"] == {"text": "text", "id": "meta.id", "license": "meta.license"}
    rows = documents(configuration, tmp_path)
    assert sorted(row["own_id"] for row in rows if row["source"] == "arxiv") == [r["meta"]["arxiv_id"] for r in arxiv]
    assert {(row["domain"], row["language"]) for row in rows if row["source"] == "github"} == {("code", "python")}
    assert {row["license"] for row in rows if row["source"] == "github"} == {"mit"}


def oscar_headers(i: int) -> Record:
    return {
        "warc-record-id": f"<urn:uuid:{uuid(i)}>",
        "warc-date": moment(i).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "content-type": "text/plain",
        "content-length": str(1000 + i),
        "warc-type": "conversion",
        "warc-identified-content-language": "eng,fra",
        "warc-refers-to": f"<urn:uuid:{uuid(1000 + i)}>",
        "warc-target-uri": host(i),
        "warc-block-digest": f"sha1:{i:032X}",
    }


def test_oscar_23_01(tmp_path: Path) -> None:
    """https://oscar-project.github.io/documentation/versions/oscar-2301/ and its schema v2; files are .jsonl.zst."""
    records = [
        {
            "content": text,
            "warc_headers": oscar_headers(i),
            "metadata": {
                "identification": {"label": "en", "prob": 0.97}, "harmful_pp": 4063.1, "tlsh": f"tlsh:T1{i:060X}",
                "quality_warnings": ["short_sentences", "header"], "categories": None,
                "sentence_identifications": [{"label": "en", "prob": 0.99}, None],
            },
        }
        for i, text in enumerate(texts())
    ]  # fmt: skip
    jsonl(tmp_path / "en_meta" / "en_part_1.jsonl.zst", records, zstandard.ZstdCompressor().compress)
    columns = {
        "text": "content", "id": "warc_headers.warc-record-id", "url": "warc_headers.warc-target-uri",
        "timestamp": "warc_headers.warc-date", "language": "metadata.identification.label",
    }  # fmt: skip
    check(tmp_path / "en_meta", records=records, columns=columns, category="web")


def test_oscar_22_01(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/oscar-corpus/OSCAR-2201, "Data Instances".

    `id` counts from 0 in each file, so the crawl's record is the id."""
    files = []
    for part in range(2):
        files.append([
            {
                "id": i,
                "text": text,
                "meta": {
                    "warc_headers": oscar_headers(100 * part + i), "identification": {"label": "fr", "prob": 0.94},
                    "annotations": ["short_sentences"], "line_identifications": [{"label": "fr", "prob": 0.9}],
                },
            }
            for i, text in enumerate(texts()[25 * part : 25 * part + 25])
        ])  # fmt: skip
        jsonl(tmp_path / "oscar" / f"fr_part_{part + 1}.jsonl.gz", files[-1], gzip.compress)
    columns = {
        "text": "text", "id": "meta.warc_headers.warc-record-id", "url": "meta.warc_headers.warc-target-uri",
        "timestamp": "meta.warc_headers.warc-date", "language": "meta.identification.label",
    }  # fmt: skip
    check(tmp_path / "oscar", records=files[0] + files[1], columns=columns, category="web")


def test_ids_that_every_file_counts_from_the_beginning(tmp_path: Path) -> None:
    files = [[{"id": i, "text": text} for i, text in enumerate(texts()[20 * part : 20 * part + 20])] for part in (0, 1)]
    for part, records in enumerate(files):
        jsonl(tmp_path / "counted" / f"part-{part}.jsonl", records)
    columns = {"text": "text", "id": "id"}
    said = check(tmp_path / "counted", records=files[0] + files[1], columns=columns, ids="per_file")
    assert "`id` begins anew in every file" in said


def test_oscar_2019_is_text_and_too_long_for_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://oscar-corpus.com/post/oscar-schema-v1-1/, "old" schema: lines of text, documents are not told apart."""
    from gristmill.pipeline.init import sources

    monkeypatch.setattr(sources, "LARGE_TEXT", 10_000)
    path = tmp_path / "af" / "af.txt.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("\n\n".join(texts()).encode() * 20))
    (path.parent / "af_sha256.txt").write_text(f"{0:064x}  af.txt.gz\n")
    configuration, said = init(tmp_path / "af")
    assert one_source(configuration)["format"] == "text"
    assert "larger than plan.max_document_bytes" in said


def test_the_stack(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/bigcode/the-stack, "Data fields"."""
    records = [
        {
            "hexsha": f"{i:040x}", "size": len(text), "ext": "py", "lang": "Python",
            "max_stars_repo_path": f"src/part_{i}.py", "max_stars_repo_name": f"someone/thing-{i % 7}",
            "max_stars_repo_head_hexsha": f"{i % 7:040x}", "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
            "max_stars_count": i or None, "max_stars_repo_stars_event_min_datetime": "2015-01-01T00:00:00.000Z",
            "max_stars_repo_stars_event_max_datetime": "2022-01-01T00:00:00.000Z",
            "max_issues_repo_path": f"src/part_{i}.py", "max_issues_repo_name": f"someone/thing-{i % 7}",
            "max_issues_repo_head_hexsha": f"{i % 7:040x}", "max_issues_repo_licenses": ["MIT"],
            "max_issues_count": None, "content": text, "avg_line_length": 31.5, "max_line_length": 100,
            "alphanum_fraction": 0.6,
        }
        for i, text in enumerate(programs())
    ]  # fmt: skip
    parquet(tmp_path / "the-stack" / "data" / "python" / "train-00000-of-00206.parquet", records)
    columns = {
        "text": "content", "id": "hexsha", "programming_language": "lang", "license": "max_stars_repo_licenses",
    }  # fmt: skip
    check(tmp_path / "the-stack", records=records, columns=columns, domain="code")


def stack_v2(i: int) -> Record:
    """https://huggingface.co/datasets/bigcode/the-stack-v2-dedup, "Data Fields"."""
    return {
        "blob_id": f"{i:040x}", "directory_id": f"{i + 1000:040x}", "path": f"/src/part_{i}.py",
        "content_id": f"{i + 2000:040x}", "detected_licenses": ["MIT"], "license_type": "permissive",
        "repo_name": f"someone/thing-{i % 7}", "snapshot_id": f"{i % 7:040x}", "revision_id": f"{i % 7 + 50:040x}",
        "branch_name": "refs/heads/main", "visit_date": moment(i + 3), "revision_date": moment(i),
        "committer_date": moment(i), "github_id": 1000 + i, "star_events_count": i, "fork_events_count": 0,
        "gha_license_id": None, "gha_event_created_at": None, "gha_created_at": None, "gha_language": None,
        "src_encoding": "UTF-8", "language": "Python", "is_vendor": False, "is_generated": False,
        "length_bytes": 1200 + i, "extension": "py",
    }  # fmt: skip


def test_the_stack_v2_without_contents_is_a_finding(tmp_path: Path) -> None:
    parquet(tmp_path / "stack2" / "train-00000.parquet", [stack_v2(i) for i in range(COUNT)])
    result = CliRunner().invoke(app, ["init", str(tmp_path / "stack2")])
    assert result.exit_code != 0
    assert "Software Heritage" in str(result.exception)


def test_the_stack_v2_with_contents(tmp_path: Path) -> None:
    records = [stack_v2(i) | {"content": text} for i, text in enumerate(programs())]
    parquet(tmp_path / "stack2" / "train-00000.parquet", records)
    columns = {
        "text": "content", "id": "blob_id", "timestamp": "revision_date", "programming_language": "language",
        "license": "detected_licenses",
    }  # fmt: skip
    configuration, _ = init(tmp_path / "stack2")
    source = one_source(configuration)
    assert source["columns"] == columns
    assert source["domain"] == "code"
    rows = documents(configuration, tmp_path)
    assert {row["language"] for row in rows} == {"python"}
    assert {row["license"] for row in rows} == {"MIT"}
    assert sorted(row["own_id"] for row in rows) == [record["blob_id"] for record in records]


def test_c4(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/allenai/c4, "Data Instances"; files are .json.gz."""
    records = [
        {"url": host(i), "text": text, "timestamp": moment(i).strftime("%Y-%m-%dT%H:%M:%SZ")}
        for i, text in enumerate(texts())
    ]
    jsonl(tmp_path / "en" / "c4-train.00000-of-01024.json.gz", records, gzip.compress)
    check(
        tmp_path / "en",
        records=records,
        columns={"text": "text", "url": "url", "timestamp": "timestamp"},
        category="web",
    )


def test_dclm_baseline(tmp_path: Path) -> None:
    """https://huggingface.co/datasets/mlfoundations/dclm-baseline-1.0, `dataset_info`; files are .jsonl.zst."""
    records = [
        {
            "bff_contained_ngram_count_before_dedupe": i, "language_id_whole_page_fasttext": {"en": 0.91},
            "metadata": {
                "Content-Length": str(1000 + i), "Content-Type": "application/http; msgtype=response",
                "WARC-Block-Digest": f"sha1:{i:032X}", "WARC-Concurrent-To": f"<urn:uuid:{uuid(i + 500)}>",
                "WARC-Date": moment(i).strftime("%Y-%m-%dT%H:%M:%SZ"), "WARC-IP-Address": "192.0.2.7",
                "WARC-Identified-Payload-Type": "text/html", "WARC-Payload-Digest": f"sha1:{i + 7:032X}",
                "WARC-Record-ID": f"<urn:uuid:{uuid(i)}>", "WARC-Target-URI": host(i), "WARC-Type": "response",
                "WARC-Warcinfo-ID": f"<urn:uuid:{uuid(9)}>",
            },
            "previous_word_count": 300 + i, "text": text, "url": host(i),
            "warcinfo": "robots: classic\r\nsoftware: Apache Nutch\r\nisPartOf: CC-MAIN-2019-04",
            "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob": 0.11,
        }
        for i, text in enumerate(texts())
    ]  # fmt: skip
    path = tmp_path / "dclm" / "global-shard_01_of_10" / "local-shard_0_of_10" / "shard_00000000_processed.jsonl.zst"
    jsonl(path, records, zstandard.ZstdCompressor().compress)
    columns = {"text": "text", "id": "metadata.WARC-Record-ID", "url": "url", "timestamp": "metadata.WARC-Date"}
    check(tmp_path / "dclm", records=records, columns=columns, category="web")


def test_a_mediawiki_dump(tmp_path: Path) -> None:
    """https://www.mediawiki.org/xml/export-0.11.xsd, as pages-articles-multistream.xml.bz2."""
    pages = "".join(
        f"<page><title>Module {i}</title><ns>0</ns><id>{i}</id><revision><id>{i}00</id>"
        f"<timestamp>{moment(i).strftime('%Y-%m-%dT%H:%M:%SZ')}</timestamp><model>wikitext</model>"
        f'<format>text/x-wiki</format><text xml:space="preserve">{escape(text)}</text></revision></page>'
        for i, text in enumerate(texts(), 1)
    )
    dump = (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en"><siteinfo>'
        "<sitename>Wikipedia</sitename><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base>"
        f"</siteinfo>{pages}</mediawiki>"
    )
    path = tmp_path / "dumps" / "enwiki-20240101-pages-articles-multistream.xml.bz2"
    path.parent.mkdir()
    path.write_bytes(bz2.compress(dump.encode()))
    configuration, _ = init(tmp_path / "dumps")
    source = one_source(configuration)
    assert (source["format"], source["category"]) == ("mediawiki", "encyclopedia")
    assert len(documents(configuration, tmp_path)) == COUNT


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def test_stack_exchange(tmp_path: Path) -> None:
    """https://archive.org/details/stackexchange, readme.txt: one folder a site, Posts.xml beside others."""
    rows = "".join(
        f'<row Id="{i}" PostTypeId="1" CreationDate="{moment(i).strftime("%Y-%m-%dT%H:%M:%S.000")}" Score="3" '
        f'ViewCount="10" Body="&lt;p&gt;{escape(escape(text))}&lt;/p&gt;" OwnerUserId="1" Title="How to {i}?" '
        'Tags="&lt;python&gt;" AnswerCount="0" ContentLicense="CC BY-SA 4.0" />\n'
        for i, text in enumerate(texts(), 1)
    )
    folder = tmp_path / "python.stackexchange.com"
    folder.mkdir()
    (folder / "Posts.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<posts>\n{rows}</posts>', "utf-8")
    for name in ("Users", "Comments", "Votes"):
        body = f'<?xml version="1.0" encoding="utf-8"?>\n<{name.lower()}>\n<row Id="1" />\n</{name.lower()}>'
        (folder / f"{name}.xml").write_text(body, "utf-8")
    configuration, said = init(folder)
    source = one_source(configuration)
    assert source["format"] == "stackexchange"
    assert source["uri"].endswith("Posts.xml")
    assert "users of Stack Exchange" in said
    assert len(documents(configuration, tmp_path)) == COUNT


def test_a_folder_of_texts(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    for i, text in enumerate(texts()):
        path = folder / str(i % 3) / f"note-{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (folder / "cover.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    configuration, said = init(folder)
    assert one_source(configuration)["format"] == "text"
    assert "1 .png" in said
    assert len(documents(configuration, tmp_path)) == COUNT


def test_epubs(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(2):
        with zipfile.ZipFile(folder / f"book-{number}.epub", "w") as book:
            book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
            book.writestr(
                "META-INF/container.xml",
                '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
                'full-path="content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            )
            book.writestr(
                "content.opf",
                '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
                f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book {number}</dc:title><dc:language>en'
                '</dc:language></metadata><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
                '</manifest><spine><itemref idref="a"/></spine></package>',
            )
            chapters = "".join(f"<p>{escape(text)}</p>" for text in texts()[25 * number : 25 * number + 25])
            book.writestr("a.xhtml", f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{chapters}</body></html>')
    configuration, _ = init(folder)
    source = one_source(configuration)
    assert (source["format"], source["category"]) == ("epub", "books")
    assert [row["title"] for row in documents(configuration, tmp_path)] == ["Book 0", "Book 1"]


def checkout(folder: Path) -> None:
    for i, text in enumerate(programs()):
        path = folder / f"thing-{i % 3}" / "src" / f"part_{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for i in range(3):
        (folder / f"thing-{i}" / "README.md").write_text(texts()[i], "utf-8")
        (folder / f"thing-{i}" / ".git").mkdir()
        (folder / f"thing-{i}" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def test_repositories(tmp_path: Path) -> None:
    checkout(tmp_path / "repositories")
    configuration, _ = init(tmp_path / "repositories")
    source = one_source(configuration)
    assert (source["format"], source["domain"]) == ("tree", "code")
    assert source["uri"] == str(tmp_path / "repositories")
    rows = documents(configuration, tmp_path)
    assert sum(row["language"] == "python" for row in rows) == len(programs())


def test_a_tar_of_repositories(tmp_path: Path) -> None:
    checkout(tmp_path / "thing")
    folder = tmp_path / "tars"
    folder.mkdir()
    with tarfile.open(folder / "things.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "thing", "thing")
    configuration, _ = init(folder)
    source = one_source(configuration)
    assert (source["format"], source["domain"]) == ("tree", "code")
    assert sum(row["language"] == "python" for row in documents(configuration, tmp_path)) == len(programs())


def warc_record(kind: str, i: int, block: bytes, media: str) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{uuid(i)}>\r\nWARC-Target-URI: {host(i)}\r\n"
        f"WARC-Date: {moment(i).strftime('%Y-%m-%dT%H:%M:%SZ')}\r\nContent-Type: {media}\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def test_warc(tmp_path: Path) -> None:
    """https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/, as Common Crawl's."""
    pages = b"".join(
        warc_record("request", i, f"GET /{i} HTTP/1.1\r\n\r\n".encode(), "application/http; msgtype=request")
        + warc_record(
            "response",
            i,
            f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><p>{escape(text)}</p></html>".encode(),
            "application/http; msgtype=response",
        )
        for i, text in enumerate(texts())
    )  # fmt: skip
    path = tmp_path / "crawl" / "CC-MAIN-20190115-00000.warc.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(pages))
    configuration, _ = init(tmp_path / "crawl")
    assert one_source(configuration)["format"] == "warc"
    rows = documents(configuration, tmp_path)
    assert [row["url"] for row in rows] == [host(i) for i in range(COUNT)]


def test_wet(tmp_path: Path) -> None:
    """https://commoncrawl.org/get-started, "WET Response Format"; the name does not say it here."""
    records = b"".join(warc_record("conversion", i, text.encode(), "text/plain") for i, text in enumerate(texts()))
    path = tmp_path / "crawl" / "part-00000.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(records))
    configuration, _ = init(tmp_path / "crawl")
    assert one_source(configuration)["format"] in ("wet", "warc")
    rows = documents(configuration, tmp_path)
    assert [row["text"] for row in rows] == list(texts())


@pytest.mark.skipif("csv" not in FORMATS, reason="no reader of CSV yet")
@pytest.mark.parametrize(("name", "separator"), [("articles.csv", ","), ("articles.tsv", "\t"), ("articles.csv", ";")])
def test_csv(tmp_path: Path, name: str, separator: str) -> None:
    records = [
        {
            "article_id": str(i), "headline": f"Of module {i}", "published": moment(i).isoformat(), "link": host(i),
            "body": text,
        }
        for i, text in enumerate(texts())
    ]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, records[0], delimiter=separator)
    writer.writeheader()
    writer.writerows(records)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / name).write_text(out.getvalue(), "utf-8")
    columns = {"text": "body", "id": "article_id", "url": "link", "timestamp": "published", "title": "headline"}
    check(tmp_path / "csv", records=records, columns=columns, category="web")


@pytest.mark.skipif("arrow" not in FORMATS, reason="no reader of Arrow IPC yet")
def test_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    """https://huggingface.co/docs/datasets/process#save: written by the library itself."""
    datasets = pytest.importorskip("datasets")
    records = [record | {"token_count": i} for i, record in enumerate(fineweb())]
    whole = datasets.Dataset.from_list(records)
    datasets.DatasetDict({"train": whole.select(range(40)), "validation": whole.select(range(40, 50))}).save_to_disk(
        str(tmp_path / "saved")
    )
    columns = {"text": "text", "id": "id", "url": "url", "timestamp": "date", "language": "language"}
    check(tmp_path / "saved", records=records, columns=columns, category="web")


@pytest.mark.parametrize("ending", [".snappy.parquet", ".json.gz", ""])
def test_parts_as_spark_writes_them(tmp_path: Path, ending: str) -> None:
    """https://spark.apache.org/docs/latest/sql-data-sources-load-save-functions.html, with Hadoop's checksums."""
    folder = tmp_path / "dataset"
    records = [record | {"id": i} for i, record in enumerate(fineweb())]
    for part in range(2):
        name = f"part-{part:05}-3f1c2d4e-5a6b-4c7d-8e9f-0a1b2c3d4e5f-c000{ending}"
        some = records[25 * part : 25 * part + 25]
        if ending == ".snappy.parquet":
            parquet(folder / name, some)
        else:
            jsonl(folder / name, some, gzip.compress if ending else bytes)
        (folder / f".{name}.crc").write_bytes(b"crc\0")
    (folder / "_SUCCESS").write_bytes(b"")
    columns = {"text": "text", "id": "id", "url": "url", "timestamp": "date", "language": "language"}
    check(folder, records=records, columns=columns, category="web")
