"""The sorted list of input files with their content hashes: what the first pass depends on.

An entry's `etag` is xxh3_128 of a local file's content up to 64 MB. Of a larger or a remote file it is xxh3_128 of the
size and of the first and the last MB (an http server's own entity tag where it sends one): a change in the middle that
keeps the size is not seen. Where the listing has hashes of contents (hf://) it is one of these. Modification times
never enter. The order is that of the sources in the configuration, then the path; nothing depends on the order in which
a storage lists. Pipes, sockets, devices and broken links among the files are passed over and named in `notes`, and so
is the commit at which a dataset of the Hub is read; a file that cannot be read stops the run before it starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypedDict

import pyarrow as pa
import xxhash

from gristmill.pipeline.readers.folder import PassedOver, find, open_file
from gristmill.pipeline.readers.format_table import format_named
from gristmill.pipeline.readers.source import SourceSpec, format_by_name, format_of
from gristmill.pipeline.readers.stream import compression_of
from gristmill.stages.own import own_function
from gristmill.storage import hub
from gristmill.storage.json_values import Json
from gristmill.storage.uris import Found, http_etag, is_folder, is_local, names_many

WHOLE_BYTES = 64 << 20
EDGE_BYTES = 1 << 20
THREADS = 8  # files are hashed side by side; the result is in order
MAX_NOTES = 10  # of things passed over in one source; beyond them their number
IGNORED_FOLDERS = {".git", ".hg", ".svn", "__pycache__"}


class FileRecord(TypedDict):
    """A `FileEntry` as JSON values."""

    source: str
    uri: str
    path: str
    size: int
    etag: str
    format: str
    compression: str | None
    row_groups: list[int]


@dataclass(frozen=True)
class FileEntry:
    source: str
    uri: str
    path: str
    """Below the source's root."""
    size: int
    """Bytes as stored."""
    etag: str
    format: str
    compression: str | None = None
    """gz | zst | bz2 | xz, told by the first bytes."""
    row_groups: tuple[int, ...] = ()
    """Uncompressed bytes of each row group of a Parquet file."""

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @staticmethod
    def from_json(value: FileRecord) -> FileEntry:
        return FileEntry(
            value["source"],
            value["uri"],
            value["path"],
            value["size"],
            value["etag"],
            value["format"],
            value["compression"],
            tuple(value["row_groups"]),
        )


def inventory(sources: Sequence[SourceSpec], notes: list[str] | None = None) -> list[FileEntry]:
    """ValueError in one sentence where a source names nothing or what cannot be read, or two sources have one name.

    To `notes` is added a sentence for each thing that has the name of an input and is no file.
    """
    names = [spec.name for spec in sources]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sources: two are named {name!r}; give each its own name")
    said: list[str] = [] if notes is None else notes
    return [entry for spec in sources for entry in _entries(spec, said)]


def _entries(spec: SourceSpec, notes: list[str]) -> Iterable[FileEntry]:
    listing = format_named(spec.stated).listing if spec.stated is not None else None
    found = own_function(listing)(spec) if listing else _capped(_files(spec, notes), spec.max_bytes)
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda file: _entry(spec, file), sorted(found, key=lambda file: file.path))


def _files(spec: SourceSpec, notes: list[str]) -> list[Found]:
    found = find(spec.uri)
    notes += _commit(spec, found)
    no_files = [file for file in found if isinstance(file, PassedOver)]
    notes += [f"source {spec.name}: {file.path!r} is {file.why} and is passed over" for file in no_files[:MAX_NOTES]]
    if len(no_files) > MAX_NOTES:
        notes.append(f"source {spec.name}: {len(no_files) - MAX_NOTES:,} more that are no files are passed over")
    found = [file for file in found if not isinstance(file, PassedOver)]
    if spec.format is not None and format_named(spec.format).hidden:
        return [file for file in found if not IGNORED_FOLDERS & set(file.path.split("/")[:-1])]
    if not names_many(spec.uri):
        return found
    # of a folder or a pattern; `_SUCCESS` and `.part.crc` are what other programs leave beside their data
    visible = [file for file in found if not any(part.startswith((".", "_")) for part in file.path.split("/"))]
    if not is_folder(spec.uri):
        return visible or found
    if spec.format is None:
        raise ValueError(
            f"sources.{spec.name}: {spec.uri} is a folder, which does not tell its format; add `format:` to the source"
        )
    # those with the extension of the stated format; all where none has it
    return [file for file in visible if format_by_name(file.path) == spec.format] or visible


def _commit(spec: SourceSpec, found: list[Found]) -> list[str]:
    """Which commit of a dataset of the Hub is read, where the source does not say."""
    if not hub.is_hub(spec.uri) or hub.commit_of(spec.uri) is not None:
        return []
    commit = hub.commit_of(found[0].uri)
    return [f"source {spec.name}: {spec.uri} is read at commit {commit}; write @{commit} behind NAME to read it again"]


def _capped(found: list[Found], max_bytes: int | None) -> list[Found]:
    """Whole files up to `max_bytes`, in the order of the hash of their path; the first one in any case."""
    if max_bytes is None:
        return found
    chosen: list[Found] = []
    total = 0
    for file in sorted(found, key=lambda f: xxhash.xxh3_128_hexdigest(f.path.encode())):
        if not chosen or total + file.size <= max_bytes:
            chosen.append(file)
            total += file.size
    return chosen


def _entry(spec: SourceSpec, file: Found) -> FileEntry:
    try:
        return _hashed(spec, file)
    except FileNotFoundError as error:
        raise ValueError(
            f"sources.{spec.name}: {file.uri} was removed while the inputs were listed; run again"
        ) from error
    except PermissionError as error:
        raise ValueError(
            f"sources.{spec.name}: {file.uri} cannot be read; give yourself the right to, or leave it out of the uri"
        ) from error


def _hashed(spec: SourceSpec, file: Found) -> FileEntry:
    format_name = format_of(spec, file.path)
    with open_file(file.uri) as stream:
        if is_local(file.uri) and file.size <= WHOLE_BYTES:
            head = stream.read(EDGE_BYTES)
            digest = xxhash.xxh3_128(head)
            while block := stream.read(1 << 22):
                digest.update(block)
        else:
            head = stream.read(EDGE_BYTES)
            digest = xxhash.xxh3_128(file.size.to_bytes(8, "little") + head)
            if file.etag is None:
                stream.seek(max(0, file.size - EDGE_BYTES))
                digest.update(stream.read(EDGE_BYTES))
        tag = file.etag or http_etag(file.uri)
        etag = xxhash.xxh3_128_hexdigest(tag.encode()) if tag else digest.hexdigest()
        row_groups = _row_groups(stream) if format_named(format_name).cut == "row_groups" else ()
    return FileEntry(spec.name, file.uri, file.path, file.size, etag, format_name, compression_of(head), row_groups)


def _row_groups(stream: pa.NativeFile) -> tuple[int, ...]:
    """Empty for a file whose footer cannot be read: its reader will say so in a quarantined row."""
    import pyarrow.parquet as pq

    try:
        stream.seek(0)
        metadata = pq.read_metadata(stream)
        return tuple(max(0, metadata.row_group(i).total_byte_size) for i in range(metadata.num_row_groups))
    except Exception:  # a damaged footer makes the library raise errors of many kinds
        return ()
