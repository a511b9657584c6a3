"""Files in a bucket and on a web server that answer late, refuse and break off: whole, or one sentence.

Also what a URI may show of its credentials, and which requests a read costs. What no test reaches: Amazon's own S3 (its
signatures, regions and throttling), gs:// and hdfs:// beyond their URIs.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from object_store import BUCKET, FAILING, Fault, ObjectStore, Proxy, Rule
from reading import read_rows

import gristmill.storage.retrying
import gristmill.storage.uris
import gristmill.storage.web
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.storage.retrying import BLOCK_BYTES, StorageError, is_storage_failure
from gristmill.storage.store import Store
from gristmill.storage.uris import filesystem_of, find, open_input, redacted, redacted_values

pytestmark = pytest.mark.slow

# -- sentences ---------------------------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist_is_named(s3: ObjectStore) -> None:
    for name in ("x.jsonl", "*.jsonl", "folder"):
        with pytest.raises(ValueError, match=r"^s3://gone/.*: there is no bucket gone; check the source's uri$"):
            find(s3.uri(name, bucket="gone"))
    with pytest.raises(
        StorageError, match=r"^s3://gone/out/a: the bucket does not exist \(.*\); create it, or correct the URI$"
    ):
        Store(s3.uri("out", bucket="gone")).write("a", b"1")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("error", 403), "access is denied .*; check AWS_ACCESS_KEY_ID"),
        (Fault("error", 403, "SignatureDoesNotMatch"), "access is denied .*; check AWS_ACCESS_KEY_ID"),
        (
            Fault("error", 400, "ExpiredToken"),
            "the credentials have expired .*; renew them|as with expired credentials",
        ),
        (Fault("error", 301, "PermanentRedirect"), "the bucket is in another region .*; add region="),
        (Fault("error", 500), "the storage is overloaded or broken .*; run again later"),
        (Fault("error", 503), "the storage is overloaded or broken .*; run again later"),
        (Fault("reset_before"), "the endpoint does not answer .*; check scheme and endpoint_override"),
    ],
    ids=lambda value: f"{value.kind}-{value.code or value.status}" if isinstance(value, Fault) else "",
)
def test_a_storage_that_refuses_or_fails_is_one_sentence(
    s3: ObjectStore, impatient: None, fault: Fault, sentence: str
) -> None:
    store = Store(s3.uri("sentences"))
    s3.put("sentences/a", b"1")
    s3.proxy.rules = [Rule(fault)]
    calls: list[Any] = [
        lambda: store.read("a"),
        lambda: store.write("a", b"1"),
        store.files,
        lambda: find(s3.uri("sentences/a")),
    ]
    for call in calls:
        with pytest.raises(StorageError) as error:
            call()
        assert re.match(rf"s3://{BUCKET}/sentences.*: .*({sentence})", str(error.value))
        assert "\n" not in str(error.value)
        assert is_storage_failure(error.value)


def test_a_wrong_endpoint_is_one_sentence(s3: ObjectStore, impatient: None) -> None:
    gone = Proxy(s3.moto.get_host_and_port())
    gone.close()
    with pytest.raises(StorageError, match=r"the endpoint does not answer .*Could not connect.*; check scheme and end"):
        Store(s3.uri("x", port=gone.port)).read("a")
    with pytest.raises(StorageError, match=r"no TLS connection can be made .*; add scheme=http"):
        Store(s3.uri("x").replace("scheme=http", "scheme=https")).read("a")


def test_a_secret_with_an_unescaped_slash_is_said_without_telling_it() -> None:
    with pytest.raises(ValueError, match=r"write a '/' in a secret as %2F") as error:
        Store("s3://AKIA:very/secret")
    assert "very" not in str(error.value)
    assert redacted("s3://AKIA:ver/y@bucket/x: wrong") == "s3://bucket/x: wrong"


names = st.text("abcdefghijklmnop0123456789-", min_size=3, max_size=12)


@given(key=names, secret=st.text(min_size=4, max_size=30), bucket=names, path=st.text("ab/@:é*?", max_size=12))
@settings(max_examples=100, deadline=None)
def test_what_may_be_shown_of_a_uri_opens_with_other_credentials(key: str, secret: str, bucket: str, path: str) -> None:
    hidden = f"s3://{quote(key, safe='')}:{quote(secret, safe='')}@{bucket}/{path}?region=eu-west-1"
    shown = f"s3://{bucket}/{path}?region=eu-west-1"
    assert redacted(hidden) == shown
    assert redacted(shown) == shown
    assert redacted_values({"a": [f"see {hidden}", 1, None]}) == {"a": [f"see {shown}", 1, None]}


def test_what_else_carries_secrets_is_hidden_and_the_rest_is_not() -> None:
    assert redacted("https://me:pw@host:8080/a@b?q=1") == "https://host:8080/a@b?q=1"
    assert redacted("https://host:8080/a@b?x=1") == "https://host:8080/a@b?x=1"
    assert (
        redacted("https://h/x?X-Amz-Signature=abc&v=2&access_token=q")
        == "https://h/x?X-Amz-Signature=***&v=2&access_token=***"
    )
    assert redacted("hdfs://user@host:8020/a") == "hdfs://user@host:8020/a"
    assert redacted("/local/a:b@c") == "/local/a:b@c"


def test_the_uris_of_storages_that_are_not_here_are_understood() -> None:
    filesystem, path, form = filesystem_of("gs://anonymous@bucket/a/*.jsonl")
    assert (filesystem.type_name, path, form.format("bucket/a/1")) == (
        "gcs",
        "bucket/a/*.jsonl",
        "gs://anonymous@bucket/a/1",
    )


@pytest.mark.skipif("HADOOP_HOME" in os.environ, reason="HADOOP_HOME is set: libhdfs may be there")
def test_hdfs_without_its_library_says_what_to_set() -> None:
    with pytest.raises(
        OSError, match=r"^hdfs://user@host:8020/: .*; set JAVA_HOME and HADOOP_HOME, and .* to libhdfs$"
    ):
        Store("hdfs://user@host:8020/a/b")


@pytest.mark.parametrize(
    "pattern", ["*", "*/", "a/*", "*/x/*.gz", "a?/x/*", "**/*.gz", "a/**", "*/x/**", "a[12]/x/b*", "a/*/*/*", "no/*"]
)
def test_a_pattern_lists_the_folders_it_names_and_finds_what_matches(s3: ObjectStore, pattern: str) -> None:
    keys = ["a/1.gz", "a/x/1.gz", "a/x/y/2.gz", "a1/x/b.gz", "a2/x/b", "b/x/3.gz", "b/other/4.gz", "top.gz"]
    for key in keys:
        s3.put(f"globs/{key}", b"1")
    form = gristmill.storage.uris.pattern(pattern)
    expected = sorted(key for key in keys if re.fullmatch(form, key))
    s3.proxy.clear()
    if expected:
        assert [
            f"{file.uri.partition('/globs/')[2].partition('?')[0]}" for file in find(s3.uri(f"globs/{pattern}"))
        ] == expected
        assert s3.proxy.counts()["LIST"] <= 5
    else:
        with pytest.raises(ValueError, match="no file matches"):
            find(s3.uri(f"globs/{pattern}"))


# -- reading -----------------------------------------------------------------------------------------------------------


def parquet_bytes(groups: int = 4, rows: int = 40_000) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"text": [f"{i * 7919 % 10_007} words of row {i}" for i in range(rows)], "n": list(range(rows))})
    pq.write_table(table, buffer, row_group_size=rows // groups, compression="none")
    return buffer.getvalue()


def test_row_groups_are_read_by_ranges(s3: ObjectStore) -> None:
    content = parquet_bytes()
    s3.put("ranges/a.parquet", content)
    s3.proxy.clear()
    with open_input(s3.uri("ranges/a.parquet")) as file:
        pq.ParquetFile(file).read_row_group(2, columns=["text"])
    gets = [request.range for request in s3.proxy.requests if request.operation == "GET"]
    assert all(gets)
    spans = [[int(end) for end in re.findall(r"\d+", span or "")] for span in gets]
    assert sum(end - start + 1 for start, end in spans) < len(content) // 2
    assert len(gets) <= 3


def test_small_reads_of_a_stored_file_are_few_requests(s3: ObjectStore) -> None:
    content = bytes(range(256)) * (3 * BLOCK_BYTES // 256)
    s3.put("sequential", content)
    for uri in (s3.uri("sequential"), s3.http("sequential")):
        s3.proxy.clear()
        with open_input(uri) as file:
            assert b"".join(iter(lambda: file.read(1 << 16), b"")) == content
        assert s3.proxy.counts()["GET"] <= 5


def test_the_two_ends_of_a_large_file_cost_no_more_than_these(s3: ObjectStore) -> None:
    s3.put("ends", bytes(3 * BLOCK_BYTES))
    s3.proxy.clear()
    with open_input(s3.uri("ends")) as file:
        file.read(1000)
        file.seek(3 * BLOCK_BYTES - 1000)
        file.read(1000)
    assert [request.range for request in s3.proxy.requests if request.operation == "GET"] == [
        "bytes=0-999",
        f"bytes={3 * BLOCK_BYTES - 1000}-{3 * BLOCK_BYTES - 1}",
    ]


@given(reads=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_ranged_file_reads_what_a_file_reads(reads: list[tuple[int, int]]) -> None:
    content = bytes(range(30))
    ours = gristmill.storage.retrying.RangedFile(30, lambda start, end: content[start:end], lambda: None)
    theirs = io.BytesIO(content)
    for position, size in reads:
        if position % 3:
            ours.seek(position)
            theirs.seek(position)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()


# -- the web -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*FAILING, Fault("error", 429)], ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_file_from_a_failing_web_server_is_whole(s3: ObjectStore, fault: Fault) -> None:
    content = bytes(range(256)) * 80_000
    s3.put("web/file.bin", content)
    s3.proxy.clear()
    s3.proxy.rules = [Rule(fault, ("HEAD",), times=2), Rule(fault, ("GET",), times=2, skip=1)]
    found = find(s3.http("web/file.bin"))
    with open_input(found[0].uri) as file:
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == content
    assert sum(s3.proxy.injected.values()) == 4


def test_a_redirection_is_followed(s3: ObjectStore) -> None:
    s3.put("web/moved.bin", b"content")
    s3.proxy.rules = [Rule(Fault("redirect", 302), path="moved.bin", times=3)]
    assert find(s3.http("web/moved.bin"))[0].size == 7
    with open_input(s3.http("web/moved.bin")) as file:
        assert file.read() == b"content"


def test_a_server_without_ranges_is_read_whole_and_once(s3: ObjectStore) -> None:
    content = bytes(range(256)) * 100_000
    s3.put("web/whole.bin", content)
    s3.proxy.without_ranges = True
    s3.proxy.rules = [Rule(Fault("short_body"), ("GET",), times=2)]
    s3.proxy.requests = []
    with open_input(s3.http("web/whole.bin")) as file:
        file.seek(1000)
        assert file.read(1000) == content[1000:2000]
        file.seek(20_000_000)
        assert file.read() == content[20_000_000:]
    assert s3.proxy.counts() == {"GET": 3, "HEAD": 1}


def test_a_server_that_names_no_size_is_one_sentence(s3: ObjectStore) -> None:
    s3.put("web/endless.bin", b"content")
    s3.proxy.without_length = True
    with pytest.raises(ValueError, match=r"/web/endless.bin: the server does not say its size; download the file and"):
        find(s3.http("web/endless.bin"))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault("error", 404), "does not exist .*; check the source's uri"),
        (Fault("error", 403), r"access is denied \(HTTP status 403\); check the URI"),
        (Fault("error", 500), r"failed 2 times in a row \(HTTP status 500\); check the server and run again"),
        (Fault("reset_before"), r"failed 2 times in a row \(.*\); check the server and run again"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
def test_a_web_server_that_keeps_failing_is_one_sentence(
    s3: ObjectStore, impatient: None, fault: Fault, sentence: str
) -> None:
    s3.proxy.rules = [Rule(fault)]
    uri = s3.http("web/x") + "?access_token=geheim"
    with pytest.raises(
        (ValueError, StorageError), match=rf"^http://127.0.0.1:\d+/{BUCKET}/web/x.*: {sentence}$"
    ) as error:
        find(uri)
    assert "geheim" not in str(error.value)


@pytest.mark.slow
def test_a_server_that_accepts_and_never_answers_is_given_up(
    s3: ObjectStore, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (gristmill.storage.uris, gristmill.storage.web):
        monkeypatch.setattr(module, "QUIET_S", 1.0)
    s3.proxy.rules = [Rule(Fault("delay", seconds=15))]
    with pytest.raises(StorageError, match=r"the endpoint does not answer .*; check scheme and endpoint_override"):
        find(s3.uri("silent"))
    with pytest.raises(StorageError, match=r"failed 2 times in a row \(.*timed out\); check the server and run again"):
        find(s3.http("silent"))


def test_a_file_that_changes_while_it_is_read_is_not_mixed(s3: ObjectStore) -> None:
    s3.put("web/new.bin", bytes(3 * BLOCK_BYTES))
    with open_input(s3.http("web/new.bin")) as file:
        file.read(1000)
        s3.put("web/new.bin", b"1" * (3 * BLOCK_BYTES + 1))
        with pytest.raises(StorageError, match="changed while it was read; run again"):
            file.read()


def test_a_plan_is_not_made_from_a_footer_that_could_not_be_read(s3: ObjectStore, impatient: None) -> None:
    s3.put("plan/a.parquet", parquet_bytes(rows=400_000))
    specs = [SourceSpec("a", s3.uri("plan/a.parquet"))]
    s3.proxy.clear()
    assert len(inventory(specs)[0].row_groups) == 4
    for failing in range(s3.proxy.counts()["GET"]):
        s3.proxy.rules = [Rule(Fault("reset_body"), ("GET",), skip=failing)]
        with pytest.raises(StorageError):
            inventory(specs)


def test_a_failing_storage_is_told_from_damaged_content(s3: ObjectStore, impatient: None, tmp_path: Path) -> None:
    content = parquet_bytes()
    s3.put("told/a.parquet", content)
    for uri in (s3.uri("told/a.parquet"), s3.http("told/a.parquet")):
        s3.proxy.rules = []
        with open_input(uri) as file:
            parquet = pq.ParquetFile(file)
            s3.proxy.rules = [Rule(Fault("reset_body"), ("GET",))]
            with pytest.raises(OSError) as error:
                parquet.read_row_group(1)
            assert is_storage_failure(error.value)
    (tmp_path / "damaged.parquet").write_bytes(content[:-200] + bytes(150) + content[-50:])
    with pytest.raises((OSError, pa.ArrowException)) as damage, open_input(str(tmp_path / "damaged.parquet")) as file:
        pq.ParquetFile(file).read()
    assert not is_storage_failure(damage.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz"])
def test_a_reader_quarantines_nothing_because_its_storage_failed(s3: ObjectStore, impatient: None, name: str) -> None:
    lines = "\n".join(json.dumps({"text": f"row {i * 7919 % 10_007}"}) for i in range(40_000))
    s3.put(f"reader/{name}", parquet_bytes() if name.endswith("parquet") else gzip.compress(lines.encode()))
    assert len(read_rows(s3.uri(f"reader/{name}"))) == 40_000
    gets = s3.proxy.counts()["GET"]
    s3.proxy.clear()
    s3.proxy.rules = [Rule(Fault("reset_body"), ("GET",), skip=gets - 1)]
    with pytest.raises(StorageError):
        read_rows(s3.uri(f"reader/{name}"))


def test_the_file_system_of_a_bucket_is_made_once_a_process() -> None:
    uri = "s3://key:secret@bucket/a?region=eu-west-1"
    assert filesystem_of(uri)[0] is filesystem_of(uri.replace("/a?", "/b/*.gz?"))[0]
    assert isinstance(filesystem_of(uri)[0]._filesystem, pafs.S3FileSystem)
