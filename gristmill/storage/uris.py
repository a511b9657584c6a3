"""Finding and opening files by URI: local paths, s3://, gs://, hdfs:// by pyarrow.fs, http(s):// and hf:// by ranges.

`find` turns a path, a folder or a pattern into a sorted list, never in listing order. Patterns know `*` and `?`
(within one folder), `[...]` and `**` (any folders). A pattern or a folder needs a storage that can list: over
http(s) a URI names one file. A URI may carry credentials; `redacted` is what may be shown of it. How failures are
retried and said: `gristmill.storage.retrying`. Nothing here writes; `gristmill.storage.store` holds the output.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from gristmill.storage import hub
from gristmill.storage.retrying import ATTEMPTS, CONNECT_S, QUIET_S, Explaining, explained, stored_file
from gristmill.storage.web import web_file, web_info

Shape = TypeVar("Shape")

CHECK = "check the source's uri"
WILD = re.compile(r"[*?\[]")
OPTIONS = re.compile(r"\?[\w.]+=[^/]*.*$")  # a `?` of a pattern is not followed by a name and '='
GS_RETRY_S = 60
"""pyarrow's own limit is 15 minutes."""
FLAGS = ("allow_bucket_creation", "allow_bucket_deletion", "allow_delayed_open", "force_virtual_addressing")
TEXTS = ("region", "scheme", "endpoint_override", "tls_ca_file_path")

LOGIN = re.compile(r"\b((?:s3|gs|gcs|abfss?)://)[^\s/:@?]*:[^\s@?]*@|\b([a-z][a-z0-9+.-]*://)[^\s/:@?]*:[^\s/@?]*@")
SECRET_OPTION = re.compile(
    r"([?&][\w.-]*(?:sig|signature|token|secret|password|credential|key)[\w.-]*=)[^&\s'\"]+", re.I
)


@dataclass(frozen=True)
class Found:
    uri: str
    path: str
    """Below the root: the folder, or the part of a pattern before its first wildcard. '/' separators."""
    size: int
    etag: str | None = field(default=None, kw_only=True)
    """A hash of the content where the listing has one."""


def redacted(text: str) -> str:
    """A URI, or a text with URIs in it, without credentials.

    `s3://key:secret@bucket/x?region=eu` becomes `s3://bucket/x?region=eu`, which still opens with the credentials in
    the environment; values of options such as `X-Amz-Signature` become `***`.
    """
    return SECRET_OPTION.sub(r"\1***", LOGIN.sub(lambda match: match[1] or match[2], text))


def redacted_values(value: Shape) -> Shape:
    """JSON values with every string redacted: of the same shape, whatever that is."""
    shown: Shape = _redacted(value)
    return shown


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: _redacted(entry) for key, entry in value.items()}
    return [_redacted(entry) for entry in value] if isinstance(value, list | tuple) else value


def find(uri: str) -> list[Found]:
    """Files that `uri` names, sorted by path. ValueError in one sentence where there are none."""
    if _is_http(uri):
        return [_found_http(uri)]
    if hub.is_hub(uri):
        return _found_on_hub(uri)
    filesystem, path, form = filesystem_of(uri)
    wild = WILD.search(path)
    if wild is None:
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.File:
            return [Found(form.format(info.path), posixpath.basename(info.path), int(info.size))]
        if info.type != pafs.FileType.Directory:
            raise ValueError(f"{redacted(uri)}: {_no_bucket(filesystem, path) or 'no such file or folder'}; {CHECK}")
        root, matches = path.rstrip("/"), re.compile(".*", re.S)
    else:
        root = path[: wild.start()].rpartition("/")[0]
        glob = path[len(root) :].lstrip("/")
        matches = re.compile(pattern(glob), re.S)
    # below "/" the root is empty
    listing = _listed(filesystem, root or "/", "**" if wild is None else glob)
    below = root.rstrip("/") + "/"
    files = [(info.path.removeprefix(below), info) for info in listing if info.type == pafs.FileType.File]
    found = [Found(form.format(info.path), rest, int(info.size)) for rest, info in files if matches.fullmatch(rest)]
    if not found:
        raise ValueError(f"{redacted(uri)}: {_no_bucket(filesystem, path) or 'no file matches'}; {CHECK}")
    return sorted(found, key=lambda file: file.path)


def _listed(filesystem: pafs.FileSystem, root: str, glob: str) -> Iterator[pafs.FileInfo]:
    """What lies below `root` where `glob` may match: of a bucket with a million files, those folders alone."""
    here, slash, below = glob.partition("/")
    if "**" in glob or "[" in here:  # a class may hold a '/'
        yield from filesystem.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    elif slash and not WILD.search(here):
        yield from _listed(filesystem, f"{root.rstrip('/')}/{here}", below)
    else:
        matches = re.compile(pattern(here), re.S)
        for info in filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True)):
            if not slash:
                yield info
            elif info.type == pafs.FileType.Directory and matches.fullmatch(info.base_name):
                yield from _listed(filesystem, info.path, below)


def _no_bucket(filesystem: pafs.FileSystem, path: str) -> str | None:
    """A listing of a bucket that does not exist is empty, not an error."""
    bucket = path.partition("/")[0]
    if filesystem.type_name not in ("s3", "gcs") or filesystem.get_file_info(bucket).type != pafs.FileType.NotFound:
        return None
    return f"there is no bucket {bucket}"


def open_input(uri: str) -> pa.NativeFile:
    """Opens a file for reading at any position.

    FileNotFoundError or OSError where the storage fails; of a remote one, while it is read, StorageError.
    """
    if _is_http(uri):
        return pa.PythonFile(web_file(uri, redacted(uri)), mode="r")
    if hub.is_hub(uri):
        return pa.PythonFile(hub.opened(uri), mode="r")
    filesystem, path, _ = filesystem_of(uri)
    file = filesystem.open_input_file(path)
    return file if is_local(uri) else pa.PythonFile(stored_file(file, redacted(uri)), mode="r")


def is_folder(uri: str) -> bool:
    if _is_http(uri):
        return False
    if hub.is_hub(uri):
        place = hub.place_of(uri)
        return WILD.search(place.path) is None and hub.entry_at(place) is None
    filesystem, path, _ = filesystem_of(uri)
    return bool(filesystem.get_file_info(path).type == pafs.FileType.Directory)


def names_many(uri: str) -> bool:
    """A folder or a pattern."""
    if hub.is_hub(uri):
        return WILD.search(hub.place_of(uri).path) is not None or is_folder(uri)
    return not _is_http(uri) and (WILD.search(filesystem_of(uri)[1]) is not None or is_folder(uri))


def http_etag(uri: str) -> str | None:
    """The server's entity tag of an http(s) file, if it sends one."""
    return web_info(uri, redacted(uri)).etag if _is_http(uri) else None


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str, str]:
    """(file system, path on it, the form of URIs on it with `{}` for a path); not for http(s) and hf.

    An object store's URI may carry credentials and options: `s3://anonymous@bucket/key?region=eu-west-1`.
    """
    if is_local(uri):
        return _local(), str(Path(uri.removeprefix("file://")).absolute()), "{}"
    if hub.is_hub(uri):
        raise ValueError(f"{uri}: {hub.READ_ONLY}")
    scheme, rest = uri.split("://", 1)
    options = OPTIONS.search(rest)
    query = options[0] if options else ""
    authority, _, path = rest.removesuffix(query).partition("/")
    if scheme == "hdfs":  # the host is no part of the path
        return _remote(f"hdfs://{authority}/{query}"), "/" + path, _form(f"hdfs://{authority}", query)
    user, at, bucket = authority.rpartition("@")
    if not at and ":" in authority:
        raise ValueError(
            f"{scheme}://...: credentials without the name of a bucket; write a '/' in a secret as %2F, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    return _remote(f"{scheme}://{authority}{query}"), f"{bucket}/{path}", _form(f"{scheme}://{user}{at}", query)


def _form(before: str, after: str) -> str:
    return before.replace("{", "{{").replace("}", "}}") + "{}" + after.replace("{", "{{").replace("}", "}}")


@lru_cache(maxsize=1)
def _local() -> pafs.FileSystem:
    return pafs.LocalFileSystem()


@lru_cache(maxsize=64)
def _remote(uri: str) -> pafs.FileSystem:
    """One client a bucket and process: making one takes 40 ms."""
    shown = redacted(uri)
    try:
        return Explaining(_s3(uri) or pafs.FileSystem.from_uri(_patient(uri))[0], shown)
    except (pa.ArrowInvalid, ValueError) as error:
        cause = str(error).replace(uri, shown)
        raise ValueError(
            f"{shown}: cannot be opened ({cause}); use a path, s3://, gs://, hdfs://, hf:// or https://"
        ) from error
    except OSError as error:
        if uri.startswith("hdfs://"):
            cause = str(error).partition("\n")[0]
            raise OSError(
                f"{shown}: {cause}; set JAVA_HOME and HADOOP_HOME, and ARROW_LIBHDFS_DIR to libhdfs"
            ) from error
        raise explained(error, shown) from error


def _patient(uri: str) -> str:
    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
        return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GS_RETRY_S}"
    return uri


def _s3(uri: str) -> pafs.FileSystem | None:
    """The file system of s3://[key:secret@]bucket[?options] with our retries and time limits.

    A small file is written by one request instead of three (`allow_delayed_open`; what is wrong then shows when it is
    closed). None where the URI has an option that only pyarrow knows; it opens it then, with its own retries.
    """
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not options.keys() <= {*FLAGS, *TEXTS}:
        return None
    key, colon, secret = parts.netloc.rpartition("@")[0].partition(":")
    if key and not colon and key != "anonymous":
        raise ValueError("write key:secret@, anonymous@ or nothing before the bucket")
    if "endpoint_override" not in options and "region" not in options:
        options["region"] = pafs.resolve_s3_region(parts.netloc.rpartition("@")[2])
    given: dict[str, str | bool] = {name: options[name] for name in TEXTS if name in options}
    given |= {name: options[name].lower() in ("true", "1") for name in FLAGS if name in options}
    if colon:
        given |= {"access_key": unquote(key), "secret_key": unquote(secret)}
    return pafs.S3FileSystem(
        **{"allow_delayed_open": True} | given,
        anonymous=key == "anonymous",
        retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS),
        connect_timeout=CONNECT_S,
        request_timeout=QUIET_S,
    )


def _is_http(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _found_http(uri: str) -> Found:
    shown = redacted(uri)
    try:
        size = web_info(uri, shown).size
    except FileNotFoundError as error:
        raise ValueError(f"{error}; {CHECK}") from error
    if size is None:
        raise ValueError(f"{shown}: the server does not say its size; download the file and name the copy")
    return Found(uri, posixpath.basename(urlsplit(uri).path) or "index", size)


def _found_on_hub(uri: str) -> list[Found]:
    """By the commit that the revision is at now."""
    place = hub.pinned(hub.place_of(uri))
    wild = WILD.search(place.path)
    if wild is None:
        file = hub.entry_at(place)
        if file is not None:
            return [Found(file.uri, posixpath.basename(file.path), file.size, etag=file.tag)]
        root, glob = place.path, "**"
    else:
        root = place.path[: wild.start()].rpartition("/")[0]
        glob = place.path[len(root) :].lstrip("/")
    matches = re.compile(pattern(glob), re.S)
    below = f"{root}/" if root else ""
    deep = "/" in glob or "**" in glob or "[" in glob
    found = [
        Found(file.uri, rest, file.size, etag=file.tag)
        for file in hub.files(place, root, deep)
        if matches.fullmatch(rest := file.path.removeprefix(below))
    ]
    if not found:
        raise ValueError(f"{uri}: no file matches; {CHECK}")
    return sorted(found, key=lambda file: file.path)


def pattern(glob: str) -> str:
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
            inner = "^" + token[2:-1] if token[1] == "!" else token[1:-1]
            out.append("[" + inner.replace("\\", "\\\\").replace("[", "\\[") + "]")
        else:
            out.append(re.escape(token))
    return "".join(out)
