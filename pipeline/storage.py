"""Finding and opening input files by URI: local paths, s3://, gs://, hdfs:// through pyarrow.fs, http(s):// through
fsspec.

`find` turns a path, a folder or a pattern into a sorted list, never in listing order. Patterns know `*` and `?`
(within one folder), `[...]` and `**` (any folders). A pattern or a folder needs a storage that can list: over
http(s) a URI names one file. Nothing here writes; `pipeline.store` holds the output.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Found:
    uri: str
    path: str
    """Below the root: the folder, or the part of a pattern before its first wildcard. '/' separators."""
    size: int


def find(uri: str) -> list[Found]:
    """Files that `uri` names, sorted by path. ValueError in one sentence where there are none."""
    if _is_http(uri):
        return [_found_http(uri)]
    filesystem, path, form = filesystem_of(uri)
    wild = WILD.search(path)
    if wild is None:
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.File:
            return [Found(form.format(info.path), posixpath.basename(info.path), int(info.size))]
        if info.type != pafs.FileType.Directory:
            raise ValueError(f"{uri}: no such file or folder; check the source's uri")
        root, matches = path.rstrip("/"), re.compile(".*", re.S)
    else:
        root = path[: wild.start()].rpartition("/")[0]
        matches = re.compile(_pattern(path[len(root) :].lstrip("/")), re.S)
    # below "/" the root is empty
    listing = filesystem.get_file_info(pafs.FileSelector(root or "/", recursive=True, allow_not_found=True))
    below = root.rstrip("/") + "/"
    files = [(info.path.removeprefix(below), info) for info in listing if info.type == pafs.FileType.File]
    found = [Found(form.format(info.path), rest, int(info.size)) for rest, info in files if matches.fullmatch(rest)]
    if not found:
        raise ValueError(f"{uri}: no file matches; check the source's uri")
    return sorted(found, key=lambda file: file.path)


def open_input(uri: str) -> pa.NativeFile:
    """Opens a file for reading at any position. FileNotFoundError or OSError from the storage where it fails."""
    filesystem, path, _ = filesystem_of(uri)
    return filesystem.open_input_file(path)


def is_folder(uri: str) -> bool:
    if _is_http(uri):
        return False
    filesystem, path, _ = filesystem_of(uri)
    return bool(filesystem.get_file_info(path).type == pafs.FileType.Directory)


def names_many(uri: str) -> bool:
    """A folder or a pattern."""
    return not _is_http(uri) and (WILD.search(filesystem_of(uri)[1]) is not None or is_folder(uri))


def http_etag(uri: str) -> str | None:
    """The server's entity tag of an http(s) file, if it sends one."""
    if not _is_http(uri):
        return None
    tag = _http().info(uri).get("ETag")
    return str(tag) if tag else None


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str, str]:
    """(file system, path on it, the form of URIs on it with `{}` for a path).

    An object store's URI may carry credentials and options: `s3://anonymous@bucket/key?region=eu-west-1`.
    """
    if is_local(uri):
        return _local(), str(Path(uri.removeprefix("file://")).absolute()), "{}"
    if _is_http(uri):
        return _http_filesystem(), uri, "{}"
    scheme, rest = uri.split("://", 1)
    options = re.search(r"\?[\w.]+=[^/]*.*$", rest)  # a `?` of a pattern is not followed by a name and '='
    query = options[0] if options else ""
    authority, _, path = rest.removesuffix(query).partition("/")
    if scheme == "hdfs":  # the host is no part of the path
        return _remote(f"hdfs://{authority}/{query}"), "/" + path, _form(f"hdfs://{authority}", query)
    user, at, bucket = authority.rpartition("@")
    return _remote(f"{scheme}://{authority}{query}"), f"{bucket}/{path}", _form(f"{scheme}://{user}{at}", query)


def _form(before: str, after: str) -> str:
    return before.replace("{", "{{").replace("}", "}}") + "{}" + after.replace("{", "{{").replace("}", "}}")


@lru_cache(maxsize=1)
def _local() -> pafs.FileSystem:
    return pafs.LocalFileSystem()


@lru_cache(maxsize=64)
def _remote(uri: str) -> pafs.FileSystem:
    try:
        return pafs.FileSystem.from_uri(uri)[0]
    except (pa.ArrowInvalid, ValueError) as error:
        raise ValueError(f"{uri}: cannot be opened ({error}); use a path, s3://, gs://, hdfs:// or https://") from error


def _is_http(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


@lru_cache(maxsize=1)
def _http() -> Any:
    import fsspec

    return fsspec.filesystem("http")


@lru_cache(maxsize=1)
def _http_filesystem() -> pafs.FileSystem:
    return pafs.PyFileSystem(pafs.FSSpecHandler(_http()))


def _found_http(uri: str) -> Found:
    try:
        size = _http().info(uri).get("size")
    except (FileNotFoundError, OSError) as error:
        raise ValueError(f"{uri}: cannot be reached ({error}); check the source's uri") from error
    if size is None:
        raise ValueError(f"{uri}: the server does not say its size; download the file and name the copy")
    return Found(uri, posixpath.basename(urlsplit(uri).path) or "index", int(size))


def _pattern(glob: str) -> str:
    """The regular expression of a glob: `*` and `?` stay within a folder, `**` spans folders."""
    out = []
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", glob, re.S):
        if token == "**/":
            out.append("(?:.*/)?")
        elif token == "**":
            out.append(".*")
        elif token == "*":
            out.append("[^/]*")
        elif token == "?":
            out.append("[^/]")
        elif len(token) > 2 and token.startswith("["):
            out.append("[" + ("^" + token[2:-1] if token[1] == "!" else token[1:-1]).replace("\\", "\\\\") + "]")
        else:
            out.append(re.escape(token))
    return "".join(out)
