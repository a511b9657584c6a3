"""The sorted list of input files with their content hashes: what the first pass depends on.

An entry's `etag` is xxh3_128 of a local file's content up to 64 MB. Of a larger or a remote file it is xxh3_128 of the
size and of the first and the last MB (an http server's own entity tag where it sends one): a change in the middle that
keeps the size is not seen. Where the listing has hashes of contents (hf://) it is one of these. Modification times
never enter. The order is that of the sources in the configuration, then the path; nothing depends on the order in
which a storage lists. Pipes, sockets, devices and broken links among the files are passed over and named in `notes`,
and so is the commit at which a dataset of the Hub is read; a file that cannot be read stops the run before it starts.
Which files are read, and as what, is decided in `pipeline.readers.admission`; what is left out is counted in
`left_out`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NotRequired, TypedDict

import pyarrow as pa
import xxhash

from gristmill.pipeline.readers.admission import ENCODED, Reach, Seen, admit, encoding_of, has_records, is_beside, look
from gristmill.pipeline.readers.arrow_frames import frames_of
from gristmill.pipeline.readers.folder import PassedOver, find, find_within, open_file
from gristmill.pipeline.readers.format_table import format_named
from gristmill.pipeline.readers.left_out import LeftOut, sentences, tally
from gristmill.pipeline.readers.source import SourceSpec
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
    encoding: NotRequired[str | None]


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
    """Uncompressed bytes of each row group of a Parquet file, of each record batch of Arrow IPC."""
    encoding: str | None = None
    """Of a text of which bytes alone do not show where its lines end, or as its source states it."""

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
            value.get("encoding"),
        )


def inventory(
    sources: Sequence[SourceSpec], notes: list[str] | None = None, left_out: list[LeftOut] | None = None
) -> list[FileEntry]:
    """ValueError in one sentence where a source names nothing or what cannot be read, or two sources have one name.

    To `left_out` is added what lies among the inputs and is not read, by extension and reason. To `notes`, a sentence
    for each of these, for what is no file, and for what is read as something else than it is called.
    """
    names = [spec.name for spec in sources]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sources: two are named {name!r}; give each its own name")
    said: list[str] = [] if notes is None else notes
    rows: list[LeftOut] = [] if left_out is None else left_out
    return [entry for spec in sources for entry in _entries(spec, said, rows)]


def _entries(spec: SourceSpec, notes: list[str], left_out: list[LeftOut]) -> Iterable[FileEntry]:
    listing = format_named(spec.stated).listing if spec.stated is not None else None
    with ThreadPoolExecutor(THREADS) as pool:
        if listing:
            found = sorted(own_function(listing)(spec), key=lambda file: file.path)
            seen = list(pool.map(lambda file: _looked(spec, file), found))
            chosen = [(each, spec.stated or "") for each in seen]
        else:
            chosen = _chosen(spec, notes, left_out, pool)
        yield from pool.map(lambda pair: _entry(spec, *pair), chosen)


def _chosen(
    spec: SourceSpec, notes: list[str], left_out: list[LeftOut], pool: ThreadPoolExecutor
) -> list[tuple[Seen, str]]:
    """What is read of the files that the source's URI names."""
    found, gone, reach = _files(spec, notes)
    seen = list(pool.map(lambda file: _looked(spec, file), found))
    admitted = admit(spec, reach, seen)
    rows = tally(spec.name, sorted([*gone, *admitted.left_out]))
    left_out += rows
    notes += [*admitted.notes, *sentences(rows)]
    return _capped(admitted.files, spec.max_bytes)


def _files(spec: SourceSpec, notes: list[str]) -> tuple[list[Found], list[tuple[str, int, str]], Reach]:
    """(those whose content decides, those that their place leaves out, what the URI is)."""
    whole = spec.format is not None and format_named(spec.format).hidden
    found = sorted(find_within(spec.uri) if whole else find(spec.uri), key=lambda file: file.path)
    notes += _commit(spec, found)
    no_files = [file for file in found if isinstance(file, PassedOver)]
    notes += [f"source {spec.name}: {file.path!r} is {file.why} and is passed over" for file in no_files[:MAX_NOTES]]
    if len(no_files) > MAX_NOTES:
        notes.append(f"source {spec.name}: {len(no_files) - MAX_NOTES:,} more that are no files are passed over")
    found = [file for file in found if not isinstance(file, PassedOver)]
    if not names_many(spec.uri):
        return found, [], "file"
    reach: Reach = "folder" if is_folder(spec.uri) else "pattern"

    def beside(path: str) -> str | None:
        if not whole:
            return is_beside(path, has_records(spec))
        in_store = IGNORED_FOLDERS & set(path.split("/")[:-1])
        return "in a folder of version control, or of compiled files" if in_store else None

    gone = [(file.path, file.size, why) for file in found if (why := beside(file.path)) is not None]
    gone += _unlisted(found) if reach == "folder" and has_records(spec) else []
    left = {path for path, _, _ in gone}
    kept = [file for file in found if file.path not in left]
    return (kept, gone, reach) if kept else (found, [], reach)


def _commit(spec: SourceSpec, found: list[Found]) -> list[str]:
    """Which commit of a dataset of the Hub is read, where the source does not say."""
    if not hub.is_hub(spec.uri) or hub.commit_of(spec.uri) is not None:
        return []
    commit = hub.commit_of(found[0].uri)
    return [f"source {spec.name}: {spec.uri} is read at commit {commit}; write @{commit} behind NAME to read it again"]


def _capped(files: list[tuple[Seen, str]], max_bytes: int | None) -> list[tuple[Seen, str]]:
    """Whole files up to `max_bytes`, in the order of the hash of their path; the first one in any case."""
    if max_bytes is None:
        return files
    chosen: list[tuple[Seen, str]] = []
    total = 0
    for seen, name in sorted(files, key=lambda pair: xxhash.xxh3_128_hexdigest(pair[0].found.path.encode())):
        if not chosen or total + seen.found.size <= max_bytes:
            chosen.append((seen, name))
            total += seen.found.size
    return sorted(chosen, key=lambda pair: pair[0].found.path)


@contextmanager
def _readable(spec: SourceSpec, file: Found) -> Iterator[None]:
    """ValueError in one sentence where the file cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(
            f"sources.{spec.name}: {file.uri} was removed while the inputs were listed; run again"
        ) from error
    except PermissionError as error:
        raise ValueError(
            f"sources.{spec.name}: {file.uri} cannot be read; give yourself the right to, or leave it out of the uri"
        ) from error


def _looked(spec: SourceSpec, file: Found) -> Seen:
    with _readable(spec, file):
        return look(file, of_tables=spec.stated == "csv").without_head()


def _entry(spec: SourceSpec, seen: Seen, format_name: str) -> FileEntry:
    file = seen.found
    is_table = format_named(format_name).cut == "row_groups" and seen.compression is None
    etag = seen.digest or ""
    row_groups: tuple[int, ...] = ()
    if is_table or not etag:
        with _readable(spec, file), open_file(file.uri) as stream:
            etag = _etag(file, stream)
            row_groups = _row_groups(spec, file, format_name, stream) if is_table else ()
    if format_name == "csv":
        refuse_twice(spec, file, seen.columns)
    encoding = encoding_of(spec, seen) if format_name in ENCODED else None
    return FileEntry(
        spec.name, file.uri, file.path, file.size, etag, format_name, seen.compression, row_groups, encoding
    )


def _etag(file: Found, stream: pa.NativeFile) -> str:
    if is_local(file.uri) and file.size <= WHOLE_BYTES:
        digest = xxhash.xxh3_128(stream.read(EDGE_BYTES))
        while block := stream.read(1 << 22):
            digest.update(block)
    else:
        digest = xxhash.xxh3_128(file.size.to_bytes(8, "little") + stream.read(EDGE_BYTES))
        if file.etag is None:
            stream.seek(max(0, file.size - EDGE_BYTES))
            digest.update(stream.read(EDGE_BYTES))
    tag = file.etag or http_etag(file.uri)
    return xxhash.xxh3_128_hexdigest(tag.encode()) if tag else digest.hexdigest()


def _row_groups(spec: SourceSpec, file: Found, format_name: str, stream: pa.NativeFile) -> tuple[int, ...]:
    """Empty for a file of which no beginning or no end can be read: its reader will say so in a quarantined row.

    ValueError where two columns have one name.
    """
    try:
        names, sizes = _outline(stream) if format_name == "arrow" else _footer(stream)
    except Exception:  # a damaged footer makes the library raise errors of many kinds
        return ()
    refuse_twice(spec, file, names)
    return sizes


def _footer(stream: pa.NativeFile) -> tuple[list[str], tuple[int, ...]]:
    import pyarrow.parquet as pq

    stream.seek(0)
    metadata = pq.read_metadata(stream)
    groups = range(metadata.num_row_groups)
    return metadata.schema.to_arrow_schema().names, tuple(max(0, metadata.row_group(i).total_byte_size) for i in groups)


def _outline(stream: pa.NativeFile) -> tuple[list[str], tuple[int, ...]]:
    """The batches of Arrow IPC, in place of row groups; none where the file is damaged or they need each other."""
    found = frames_of(stream, stream.size())
    schema = found.frames[0]
    stream.seek(schema.offset)
    names = pa.ipc.read_schema(pa.BufferReader(stream.read(schema.size))).names
    return names, tuple(frame.bytes for frame in found.batches) if found.whole and not found.has_dictionaries else ()


def refuse_twice(spec: SourceSpec, file: Found, names: Sequence[str]) -> None:
    places: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if name in places:
            raise ValueError(
                f"sources.{spec.name}: {file.path} has two columns named {name!r}, number {places[name]} and number "
                f"{place}; rename one of them, or leave the file out of the uri"
            )
        places[name] = place


def _unlisted(found: Sequence[Found]) -> list[tuple[str, int, str]]:
    """Of folders that Hugging Face `save_to_disk` wrote, the Arrow files that are not its data, as of its cache."""
    gone: list[tuple[str, int, str]] = []
    for state in found:
        folder, _, name = state.path.rpartition("/")
        if name != "state.json" or state.size > EDGE_BYTES:
            continue
        with open_file(state.uri) as file:
            listed = data_files(file.read())
        for other in found if listed else ():
            place, _, name = other.path.rpartition("/")
            if place == folder and name.endswith(".arrow") and name not in listed:
                gone.append((other.path, other.size, "state.json beside it does not name it as data"))
    return gone


def data_files(state: bytes) -> set[str]:
    """What the state.json of a saved data set names; empty where it is something else."""
    try:
        value = json.loads(state)
        return {str(each["filename"]) for each in value["_data_files"]}
    except (ValueError, KeyError, TypeError):
        return set()
