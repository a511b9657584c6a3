"""Where a source file lies: its path in its repository, and which repository that is.

A record (JSONL, Parquet) says both in its columns, which the readers keep in `metadata` (`PATH_KEYS`,
`REPOSITORY_KEYS`); a record without a path may have one as its own id. A file of a source tree has its `path`: the
repository is the first `depth` folders of it, the source itself where depth is 0. A member of a tar archive belongs to
the archive. A record that names no repository, and a file that lies above its depth, belong to none.

    batch -> Places: path (n,) string, repository (n,) string, both null outside code
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_names import candidates_of_path

PATH_KEYS = ("path", "file_path", "filename", "max_stars_repo_path")
REPOSITORY_KEYS = ("repo_name", "repository_name", "repository", "repo", "max_stars_repo_name")
"""Columns of collections of source code: The Stack (Kocetkov et al. 2022; Lozhkov et al. 2024), CodeParrot, others."""

NEEDS = ("source", "path", "record", "own_id", "metadata", "domain")

_RECORDS = re.compile(r"\.(?:jsonl|ndjson|parquet|pq|warc|wet)(?:\.(?:gz|zst|bz2|xz))?$", re.I)
_ARCHIVE = re.compile(r"^(.*?\.(?:tar(?:\.(?:gz|zst|bz2|xz))?|tgz))/", re.I | re.S)


class Places(NamedTuple):
    path: pa.Array
    repository: pa.Array
    tree: np.ndarray
    """(n,) bool: a file of a tree or an archive, whose language the reader took from its name."""


def is_code(batch: pa.RecordBatch) -> np.ndarray:
    """(n,) bool."""
    code: np.ndarray = pc.fill_null(pc.equal(batch.column("domain"), "code"), False).to_numpy(zero_copy_only=False)
    return code


def places(batch: pa.RecordBatch, depth: int = 1, repository_keys: Sequence[str] = REPOSITORY_KEYS) -> Places:
    """depth: folders of a tree's path that name a repository. repository_keys: metadata that names it, in order."""
    count = batch.num_rows
    paths: list[str | None] = [None] * count
    repositories: list[str | None] = [None] * count
    tree = np.zeros(count, bool)
    at = np.flatnonzero(is_code(batch))
    chosen = [batch.column(name).take(pa.array(at)).to_pylist() for name in ("path", "record", "own_id", "metadata")]
    for i, path, record, own_id, metadata in zip(at.tolist(), *chosen, strict=True):
        said: dict[str, Any] = json.loads(metadata) if metadata else {}
        named = _first(said, PATH_KEYS)
        archive = _ARCHIVE.match(path)
        if named is None and own_id is None and (archive or (record == 0 and not _RECORDS.search(path))):
            tree[i] = True
            paths[i], repositories[i] = path, archive[1] if archive else _folders(path, depth)
            continue
        if named is None and own_id is not None and candidates_of_path(own_id):
            named = own_id
        paths[i], repositories[i] = named, _first(said, repository_keys)
    return Places(pa.array(paths, pa.string()), pa.array(repositories, pa.string()), tree)


def _first(said: dict[str, Any], keys: Sequence[str]) -> str | None:
    return next((value for key in keys if isinstance(value := said.get(key), str) and value), None)


def _folders(path: str, depth: int) -> str | None:
    """The first `depth` folders; None where there are fewer; '' of none: the source is the repository."""
    parts = posixpath.dirname(path).split("/") if "/" in path else []
    return "/".join(parts[:depth]) if len(parts) >= depth else None
