"""Joined documents against their definition in plain Python, for any files in any order."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.stages.document import CURATED
from gristmill.stages.join_code import MERGED, JoinCode

FILES = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.text(alphabet="aé\n", max_size=12),
            "domain": st.sampled_from(["code", "code", "code", "english"]),
            "language": st.sampled_from(["python", "c"]),
            "repo": st.sampled_from(["a/b", "a/c", None]),
            "file": st.sampled_from(["x.py", "src/x.py", "src/é.c", "z", None]),
            "license": st.sampled_from(["MIT", "MIT OR Apache-2.0", None]),
            "timestamp": st.sampled_from([None, 1, 2]),
            "priority": st.integers(0, 2),
        }
    ),
    max_size=30,
)


def table_of(files: list[dict[str, Any]]) -> pa.Table:
    rows = []
    for number, file in enumerate(files):
        said = {key: value for key, value in (("path", file["file"]), ("repo_name", file["repo"])) if value}
        rows.append(
            {name: file[name] for name in ("text", "domain", "language", "license", "timestamp", "priority")}
            | {"id": number.to_bytes(16, "big"), "cluster": number.to_bytes(16, "big"), "source": "s"}
            | {"path": "part.jsonl", "record": number, "metadata": json.dumps(said) if said else None}
        )
    return pa.Table.from_pylist(rows, CURATED)


def defined(files: list[dict[str, Any]], limit: int) -> list[tuple[str, bytes, list[bytes]]]:
    """(text, id, ids of the files) of every document, sorted by id."""
    groups: dict[Any, list[tuple[Any, bytes, str]]] = {}
    for number, file in enumerate(files):
        name = number.to_bytes(16, "big")
        joins = file["domain"] == "code" and file["repo"]
        key = (file["repo"], file["language"]) if joins else number
        order = (file["file"] is None, (file["file"] or "").encode())
        groups.setdefault(key, []).append((order, name, file["text"]))
    result = []
    for group in groups.values():
        chosen: list[list[tuple[bytes, str]]] = []
        size = 0
        for _, name, text in sorted(group):
            length = len(text.encode()) + 1
            if not chosen or size + length > limit:
                chosen.append([])
                size = 0
            chosen[-1].append((name, text))
            size += length
        for part in chosen:
            names = [name for name, _ in part]
            made = xxhash.xxh3_128_digest(names[0] + b"join_code\x000") if len(part) > 1 else names[0]
            result.append(("\n".join(text for _, text in part), made, names))
    return sorted(result, key=lambda row: row[1])


@settings(max_examples=150, deadline=None)
@given(FILES, st.integers(1, 20), st.randoms(use_true_random=False))
def test_documents_are_their_definition_in_any_order_of_the_files(
    files: list[dict[str, Any]], tokens: int, random: Any
) -> None:
    stage = JoinCode(max_document_tokens=tokens)
    table = table_of(files)
    joined = stage.join(table)
    shuffled = list(range(len(files)))
    random.shuffle(shuffled)
    assert stage.join(table.take(pa.array(shuffled, pa.int64()))).equals(joined)
    found = []
    for row in joined.to_pylist():
        listed = [bytes.fromhex(name) for _, name in json.loads(row["metadata"] or "{}").get("files", [])]
        found.append((row["text"], row["id"], listed or [row["id"]]))
        assert row[MERGED] == max(1, len(listed))
    assert sorted(found, key=lambda row: row[1]) == defined(files, int(tokens * 3.0))
    assert sum(joined.column(MERGED).to_pylist()) == len(files)


@settings(deadline=None)
@given(FILES)
def test_files_of_a_group_have_one_route_and_files_alone_none(files: list[dict[str, Any]]) -> None:
    batch = table_of(files).combine_chunks()
    rows = pa.RecordBatch.from_arrays([c.combine_chunks() for c in batch.columns], schema=CURATED)
    routes = JoinCode().route(rows).to_pylist()
    by_route: dict[Any, set[Any]] = {}
    for file, route in zip(files, routes, strict=True):
        assert (route is None) == (file["domain"] != "code" or file["repo"] is None)
        if route is not None:
            by_route.setdefault(route, set()).add((file["repo"], file["language"]))
    assert all(len(groups) == 1 for groups in by_route.values())


def test_a_joined_document_says_what_it_was_made_of() -> None:
    files = [
        {"text": "b\n", "file": "b.c", "license": None, "timestamp": 5, "priority": 2},
        {"text": "a\n", "file": "a.c", "license": "MIT OR ISC", "timestamp": None, "priority": 1},
        {"text": "c\n", "file": "c.c", "license": "MIT", "timestamp": 7, "priority": 3},
    ]
    common = {"domain": "code", "language": "c", "repo": "o/r"}
    table = JoinCode(header="// {repository}/{path}\n").join(table_of([file | common for file in files]))
    (row,) = table.to_pylist()
    assert row["text"] == "// o/r/a.c\na\n\n// o/r/b.c\nb\n\n// o/r/c.c\nc\n"
    assert (row["path"], row["record"], row["priority"], row["license"]) == (
        "o/r",
        0,
        1,
        "(MIT OR ISC) AND MIT AND NOASSERTION",
    )
    assert row["timestamp"].microsecond == 7
    names = [number.to_bytes(16, "big").hex() for number in (1, 0, 2)]
    expected = {"files": [list(pair) for pair in zip(("a.c", "b.c", "c.c"), names, strict=True)], "repository": "o/r"}
    assert json.loads(row["metadata"]) == expected
    assert row["cluster"] == row["id"]
    assert row["own_id"] is None


def test_trees_and_archives_name_their_repository_by_folders() -> None:
    def repositories(depth: int, *paths: str) -> list[str | None]:
        rows = [
            {"id": bytes(15) + bytes([n]), "cluster": bytes(16), "text": "x", "source": "s", "path": path, "record": 0}
            | {"domain": "code", "language": "c", "priority": 0}
            for n, path in enumerate(paths)
        ]
        (batch,) = pa.Table.from_pylist(rows, CURATED).to_batches()
        found: list[str | None] = JoinCode(repository_depth=depth).keys(batch).column("repository").to_pylist()
        return found

    paths = ("o/r/a.c", "o/b.c", "c.c", "k/src.tar.gz/linux/a.c", "x.jsonl")
    assert repositories(1, *paths) == ["o", "o", None, "k/src.tar.gz", None]
    assert repositories(2, *paths) == ["o/r", None, None, "k/src.tar.gz", None]
    assert repositories(0, *paths) == ["", "", "", "k/src.tar.gz", None]


def test_wrong_fields_are_named() -> None:
    with pytest.raises(ValueError, match="give positive numbers"):
        JoinCode(max_document_tokens=0)
    with pytest.raises(ValueError, match="repository_depth"):
        JoinCode(repository_depth=-1)


def test_nothing_joined_is_nothing() -> None:
    empty = CURATED.empty_table()
    assert JoinCode().join(empty).num_rows == 0
    assert JoinCode().arrange(pa.Table.from_batches([], JoinCode().keys(empty_batch()).schema)).order.dtype == np.int64


def empty_batch() -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in CURATED], schema=CURATED)
