"""Datasets of the Hugging Face Hub as sources: the real client against a hub on loopback, well and ill.

What no test reaches: the Hub itself with its rate limits, and what its storages behind the redirection do besides
checking signatures.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpus import differences, tree
from hub_server import HubServer, Rule
from reading import read_rows
from small_run import small_configuration

import gristmill.storage.hub
import gristmill.storage.web
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.run import run
from gristmill.storage.hub import commit_of, place_of
from gristmill.storage.retrying import StorageError
from gristmill.storage.store import Store
from gristmill.storage.uris import Found, find, is_folder, names_many, open_input

pytest.importorskip("huggingface_hub")

BIG = bytes(range(256)) * 4000  # an LFS file


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def hub(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no_token"))
    gristmill.storage.hub._known.clear()
    server.clear()
    yield server
    server.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gristmill.storage.hub, gristmill.storage.web):
        monkeypatch.setattr(module, "ATTEMPTS", 2)


def read(uri: str) -> bytes:
    with open_input(uri) as file:
        return bytes(file.read())


def names(found: list[Found]) -> list[str]:
    return [file.path for file in found]


def jsonl(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


# -- what a URI names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "revision", "path"),
    [
        ("hf://datasets/org/name", None, ""),
        ("hf://datasets/org/name/", None, ""),
        ("hf://datasets/org/name@v1.0/data/*.parquet", "v1.0", "data/*.parquet"),
        ("hf://datasets/org/name@refs/convert/parquet/en/0.parquet", "refs/convert/parquet", "en/0.parquet"),
        ("hf://datasets/org/name@refs%2Fpr%2F3/x", "refs/pr/3", "x"),
        ("hf://datasets/org/na.me-1/a@b/c.jsonl", None, "a@b/c.jsonl"),
    ],
)
def test_repository_revision_and_path_are_told_apart(uri: str, revision: str | None, path: str) -> None:
    place = place_of(uri)
    assert (place.revision, place.path) == (revision, path)


@pytest.mark.parametrize(
    "uri", ["hf://org/name/x.jsonl", "hf://datasets/name", "hf://datasets/*/name", "hf://spaces/a/b", "hf://"]
)
def test_what_is_no_dataset_says_what_to_write(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^hf://.*: write hf://datasets/ORG/NAME/PATH"):
        find(uri)


def test_a_dataset_is_no_output() -> None:
    with pytest.raises(ValueError, match=r"^hf://datasets/o/n/x: the Hub is read only here; .*`gristmill publish`"):
        Store("hf://datasets/o/n/x")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.extras.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'^hf:// needs huggingface_hub.*pip install "gristmill\[hub\]"$'):
        find("hf://datasets/o/n/x.jsonl")


# -- listing -----------------------------------------------------------------------------------------------------------


def test_files_folders_and_patterns_are_found_over_many_pages(hub: HubServer) -> None:
    files = {f"data/{part}/{i:03}.jsonl": jsonl(f"{part} {i}") for part in ("de", "en") for i in range(40)}
    commit = hub.dataset(
        "org/name", {**files, "README.md": b"# card", ".gitattributes": b"", "data/top.jsonl": b""}
    ).commits[0][0]
    hub.page_size = 7
    assert names(find("hf://datasets/org/name/data")) == sorted(path.removeprefix("data/") for path in files) + [
        "top.jsonl"
    ]
    assert names(find("hf://datasets/org/name/data/en/00*.jsonl")) == [f"00{i}.jsonl" for i in range(10)]
    assert names(find("hf://datasets/org/name/data/*/001.jsonl")) == ["de/001.jsonl", "en/001.jsonl"]
    assert names(find("hf://datasets/org/name/**/top.jsonl")) == ["data/top.jsonl"]
    assert names(find("hf://datasets/org/name")) == sorted([*files, "README.md", ".gitattributes", "data/top.jsonl"])
    (one,) = find("hf://datasets/org/name/data/en/001.jsonl")
    assert one == Found(f"hf://datasets/org/name@{commit}/data/en/001.jsonl", "001.jsonl", 17, etag=one.etag)
    assert is_folder("hf://datasets/org/name/data")
    assert is_folder("hf://datasets/org/name")
    assert not is_folder("hf://datasets/org/name/data/top.jsonl")
    assert names_many("hf://datasets/org/name/data/*")
    assert not names_many("hf://datasets/org/name/data/top.jsonl")


def test_a_pattern_asks_for_the_folder_it_names_alone(hub: HubServer) -> None:
    hub.dataset("org/name", {f"{dump}/{i}.jsonl": b"x" for dump in "abc" for i in range(9)})
    find("hf://datasets/org/name/b/*.jsonl")
    assert [each.target.partition("?")[0].rpartition("/")[2] for each in hub.asked("/tree/")] == ["b"]


def test_names_with_anything_in_them_are_read(hub: HubServer) -> None:
    files = {"a b/ü#1?.jsonl": b"one", "a b/100%41.jsonl": b"two", "a b/x+y&z=[1].jsonl": b"three"}
    hub.dataset("org/name", files)
    assert {file.path: read(file.uri) for file in find("hf://datasets/org/name/a b")} == {
        path.removeprefix("a b/"): data for path, data in files.items()
    }


def test_a_renamed_dataset_is_named_by_its_present_name(hub: HubServer) -> None:
    hub.dataset("org/new", {"x.txt": b"1"}, private=True, tokens={"t"})
    hub.repositories["org/old"] = hub.repositories["org/new"]
    hub.repositories["org/new"].renamed = "org/new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "t")
        assert find("hf://datasets/org/old/x.txt")[0].uri.startswith("hf://datasets/org/new@")


# -- one commit --------------------------------------------------------------------------------------------------------


def test_a_run_reads_the_commit_that_it_listed(hub: HubServer) -> None:
    repository = hub.dataset("org/name", {"a.jsonl": jsonl("first"), "b.jsonl": jsonl("same")})
    before = find("hf://datasets/org/name")
    repository.push({"a.jsonl": jsonl("second")})
    assert read(before[0].uri) == jsonl("first")
    after = find("hf://datasets/org/name")
    assert read(after[0].uri) == jsonl("second")
    assert before[0].etag != after[0].etag
    assert before[1].etag == after[1].etag
    assert before[1].uri != after[1].uri


def test_an_inventory_follows_contents_and_says_the_commit(hub: HubServer) -> None:
    repository = hub.dataset("org/name", {"a.jsonl": jsonl("first"), "big.jsonl": jsonl(*["big"] * 20_000)})
    spec = SourceSpec("s", "hf://datasets/org/name/*.jsonl")
    notes: list[str] = []
    first = inventory([spec], notes)
    commit = repository.commits[-1][0]
    assert notes == [
        f"source s: hf://datasets/org/name/*.jsonl is read at commit {commit}; "
        f"write @{commit} behind NAME to read it again"
    ]
    repository.push({"other.txt": b"moves main"})
    second = inventory([spec], notes)
    assert [entry.etag for entry in first] == [entry.etag for entry in second]
    assert [entry.uri for entry in first] != [entry.uri for entry in second]
    notes = []
    assert inventory([SourceSpec("s", f"hf://datasets/org/name@{commit}/*.jsonl")], notes) == first
    assert notes == []


def test_tags_and_special_references_are_revisions(hub: HubServer) -> None:
    repository = hub.dataset("org/name", {"a.txt": b"1"})
    repository.references = {"v1": repository.commits[0][0], "refs/convert/parquet": repository.commits[0][0]}
    repository.push({"a.txt": b"22"})
    assert [read(find(f"hf://datasets/org/name{at}/a.txt")[0].uri) for at in ("", "@v1", "@refs/convert/parquet")] == [
        b"22", b"1", b"1",
    ]  # fmt: skip
    assert commit_of(find("hf://datasets/org/name@v1/a.txt")[0].uri) == repository.commits[0][0]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_large_file_is_read_at_any_position_where_the_hub_redirects(hub: HubServer) -> None:
    hub.dataset("org/name", {"big.bin": BIG})
    with open_input(find("hf://datasets/org/name/big.bin")[0].uri) as file:
        assert file.size() == len(BIG)
        for start, size in ((700_000, 1000), (0, 10), (len(BIG) - 8, 8), (5, 600_000)):
            file.seek(start)
            assert file.read(size) == BIG[start : start + size]
    assert len(hub.asked("GET .*/resolve/")) == 1  # the ranges behind the first go where it led
    assert all(each.host.startswith("localhost") for each in hub.asked("/store/"))


def test_what_is_not_listed_here_is_opened_by_two_requests(hub: HubServer) -> None:
    """In a worker: one for size and place, one for the content."""
    hub.dataset("org/name", {"big.bin": BIG, "small.txt": b"small", "empty.txt": b""})
    uris = {file.path: file.uri for file in find("hf://datasets/org/name")}
    for path, data in (("big.bin", BIG), ("small.txt", b"small"), ("empty.txt", b"")):
        gristmill.storage.hub._known.clear()
        hub.requests.clear()
        assert read(uris[path]) == data
        assert [each.method for each in hub.requests] == ["HEAD", "GET"][: 2 if data else 1]


def test_a_signature_that_expires_is_renewed(hub: HubServer) -> None:
    hub.dataset("org/name", {"big.bin": BIG})
    hub.signature_uses = 2
    with open_input(find("hf://datasets/org/name/big.bin")[0].uri) as file:
        parts = []
        for start in range(0, len(BIG), 100_000):
            file.seek((start + 500_000) % len(BIG))
            parts.append((file.tell(), file.read(100_000)))
    assert all(data == BIG[start : start + 100_000] for start, data in parts)


@pytest.mark.parametrize("what", ["cut", "silent_cut", "500", "503", "429"])
@pytest.mark.parametrize("where", ["GET .*/resolve/.*small", "/store/", "HEAD .*/resolve/"])
def test_a_file_from_a_failing_hub_is_whole(hub: HubServer, what: str, where: str) -> None:
    if "cut" in what and "HEAD" in where:
        pytest.skip("a HEAD has no body")
    hub.dataset("org/name", {"big.bin": BIG, "small.txt": b"small" * 100})
    found = find("hf://datasets/org/name")
    gristmill.storage.hub._known.clear()
    hub.rules = [Rule(what, where, 3) if "cut" in what else Rule("status", where, 3, int(what))]
    assert [read(file.uri) for file in found] == [BIG, b"small" * 100]
    assert hub.rules[0].times == 0


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "1"}, {"RateLimit": '"resolvers";r=0;t=1', "RateLimit-Policy": '"fixed";q=3;w=300'}]
)
@pytest.mark.parametrize(
    "where", ["GET .*/resolve/", "HEAD .*/resolve/", "/paths-info/", "/revision/|datasets/org/name$"]
)
def test_the_hub_is_asked_again_when_it_says(
    hub: HubServer, headers: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.dataset("org/name", {"a.txt": b"1"})
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    hub.rules = [Rule("status", where, 1, 429, headers)]
    (file,) = find("hf://datasets/org/name/a.txt")
    gristmill.storage.hub._known.clear()
    assert read(file.uri) == b"1"
    assert max(waits) >= 1.0


def test_a_listing_that_fails_for_a_while_goes_on(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.dataset("org/name", {f"{i}.txt": b"1" for i in range(20)})
    hub.page_size = 5
    hub.rules = [Rule("status", "/tree/.*cursor=10", 3, 503)]
    assert len(find("hf://datasets/org/name")) == 20


@pytest.mark.parametrize("where", ["GET .*/resolve/", "/paths-info/", "/api/datasets/org/name$", "/tree/"])
def test_a_hub_that_keeps_failing_is_one_sentence(
    hub: HubServer, impatient: None, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.dataset("org/name", {"a/a.txt": b"1"})
    hub.rules = [Rule("status", where, 99)]

    def list_and_read() -> None:
        read(find("hf://datasets/org/name/a/a.txt")[0].uri)
        find("hf://datasets/org/name/a")

    with pytest.raises(StorageError, match=r"^hf://datasets/org/name.*500.*again") as error:
        list_and_read()
    assert "\n" not in str(error.value)


def test_a_hub_that_is_not_there_is_one_sentence(
    hub: HubServer, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"^hf://datasets/o/n/x: the Hub failed again and again .*; run again later"):
        find("hf://datasets/o/n/x")


# -- who may -----------------------------------------------------------------------------------------------------------


def test_the_token_opens_what_is_private_and_goes_nowhere_else(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.dataset("org/secret", {"big.bin": BIG, "a.jsonl": jsonl("x")}, private=True, tokens={"hf_right"})
    with pytest.raises(
        ValueError, match=r"no dataset org/secret that may be seen; .*log in with `hf auth login`, or set"
    ):
        find("hf://datasets/org/secret/a.jsonl")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    notes: list[str] = []
    (entry,) = inventory([SourceSpec("s", "hf://datasets/org/secret/*.jsonl")], notes)
    assert "hf_right" not in json.dumps([entry.to_json(), notes])
    assert read(find("hf://datasets/org/secret/big.bin")[0].uri) == BIG
    assert hub.asked("/store/")
    assert not any("Authorization" in each.headers for each in hub.asked("/store/"))


@pytest.mark.parametrize("token", [None, "hf_other"])
def test_a_gated_dataset_says_where_to_ask(hub: HubServer, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.dataset("org/gated", {"a.jsonl": jsonl("x")}, gated=True)
    sentence = r"^hf://.*: this dataset is gated; accept its conditions at http.*/datasets/org/gated, then log in"
    with pytest.raises(StorageError, match=sentence):
        inventory([SourceSpec("s", "hf://datasets/org/gated/a.jsonl")])
    uri = find("hf://datasets/org/gated/a.jsonl")[0].uri
    gristmill.storage.hub._known.clear()
    with pytest.raises(StorageError, match=sentence):
        open_input(uri)


def test_an_invalid_token_is_said_without_telling_it(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "expired")
    hub.dataset("org/name", {"a.jsonl": b""})
    with pytest.raises(StorageError, match=r": the Hub refuses the token; log in") as error:
        find("hf://datasets/org/name/a.jsonl")
    assert "expired" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("hf://datasets/org/finweb", r"no dataset org/finweb that may be seen; there is org/fineweb; if it is private"),
        ("hf://datasets/org/fineweb@v2", r"no revision 'v2'; there is main, v1$|no revision 'v2'; there is v1"),
        (
            "hf://datasets/org/fineweb/data/trian.jsonl",
            r"no file or folder 'trian.jsonl' in data/; there is train.jsonl;",
        ),
        ("hf://datasets/org/fineweb/dta/*.jsonl", r"no file or folder 'dta'; there is data; check the source's uri$"),
        ("hf://datasets/org/fineweb/data/*.parquet", r"no file matches; check the source's uri$"),
    ],
)
def test_what_is_not_there_is_one_sentence_with_what_is_near(hub: HubServer, uri: str, sentence: str) -> None:
    repository = hub.dataset("org/fineweb", {"data/train.jsonl": b"x", "zzz/1.txt": b"x"})
    repository.references["v1"] = repository.commits[0][0]
    with pytest.raises(ValueError, match=sentence) as error:
        find(uri)
    assert str(error.value).startswith(f"{uri}: ")
    assert "\n" not in str(error.value)


# -- as sources --------------------------------------------------------------------------------------------------------


def test_formats_are_told_by_the_names(hub: HubServer) -> None:
    table, parquet = pa.table({"text": ["row one", "row two"]}), io.BytesIO()
    pq.write_table(table, parquet, row_group_size=1)
    hub.dataset(
        "org/mixed",
        {
            "README.md": b"# card",
            "data/a.jsonl.gz": gzip.compress(jsonl("line one", "line two")),
            "data/b.parquet": parquet.getvalue(),
            "data/c.jsonl": jsonl(*[f"text {i}" for i in range(30_000)]),
        },
    )
    assert [row["text"] for row in read_rows("hf://datasets/org/mixed/data/a*")] == ["line one", "line two"]
    assert [row["text"] for row in read_rows("hf://datasets/org/mixed/data/*.parquet", 10)] == ["row one", "row two"]
    rows = read_rows("hf://datasets/org/mixed/data/c.jsonl", 100_000)
    assert [row["text"] for row in rows] == [f"text {i}" for i in range(30_000)]
    assert len(read_rows("hf://datasets/org/mixed", format="jsonl")) == 30_002


@pytest.mark.slow
def test_a_run_from_the_hub_gives_the_bytes_of_one_from_copies(
    hub: HubServer, tmp_path: Path, language_model: Path
) -> None:
    configuration = small_configuration(tmp_path, language_model)
    run(load(str(configuration)), inline=True)
    hub.dataset(
        "org/own", {f"data/{name}.jsonl": (tmp_path / f"{name}.jsonl").read_bytes() for name in ("prose", "code")}
    )
    hub.signature_uses = 3
    hub.rules = [Rule("cut", "/store/", 2), Rule("status", "/resolve/", 1, 503)]
    config: dict[str, Any] = yaml.safe_load(configuration.read_text())
    for source in config["sources"]:
        source["uri"] = f"hf://datasets/org/own/data/{source['name']}.jsonl"
    config["output"] = str(tmp_path / "from_hub")
    configuration.write_text(yaml.safe_dump(config, sort_keys=False))
    record = run(load(str(configuration)), inline=True).record
    assert differences(tree(tmp_path / "out"), tree(tmp_path / "from_hub")) == []
    assert sum("is read at commit" in note for note in record["notes"]) == 2


def test_the_library_is_imported_where_it_is_used() -> None:
    code = "import sys, gristmill.storage.uris; print('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
