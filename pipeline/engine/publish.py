"""Makes committed files appear under their final names: `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/`.

A published folder holds exactly the files that its list names (path, rows, bytes, xxh3_128). Lists stand apart, in
`manifests/<folder>.json`, so that a folder of Parquet holds Parquet alone and opens as one table. A list is written
last; files of an earlier run that are not in it are removed. Publishing again changes nothing. Linking, copying and
checking are tasks, so that workers read the output, not the driver; a committed file that is damaged is computed again
first. `manifests/root.json` is written when a run ends: it names the lists with their checksums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from gristmill.pipeline.engine.checked import Damaged, is_intact
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File
from gristmill.pipeline.engine.task import Step, Task
from gristmill.storage.store import Store

MANIFESTS = "manifests"
ROOT = f"{MANIFESTS}/root.json"
LAYOUT = 2
"""Of what is published: 1 had its lists in the folders, ids of 16 bytes and no `key=value` folders."""
FILES_PER_TASK = 256
BYTES_PER_TASK = 4_000_000_000


class Entry(TypedDict):
    """A published file in its folder's list; `path` is below the folder."""

    path: str
    rows: int
    bytes: int
    xxh3_128: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a committed file appears."""

    path: str
    file: File


def list_path(folder: str) -> str:
    """Where the list of a published folder stands; that of the tables beside the lists is `tables.json`."""
    return f"{MANIFESTS}/{'tables' if folder == MANIFESTS else folder}.json"


def publish(
    engine: Engine,
    folder: str,
    files: Iterable[tuple[str, File]],
    extra: Mapping[str, bytes] | None = None,
    listed: str = "",
) -> None:
    """`files`: (name below `folder`, committed file); `extra`: small files with their content.

    listed: where the list stands, if not in `manifests/`: below the folder or elsewhere.
    """
    wanted = sorted(files, key=lambda item: item[0])
    engine.each(f"publish/{folder}", PLACE, batched([Place(f"{folder}/{name}", file) for name, file in wanted]), None)
    entries: list[Entry] = [
        {"path": name, "rows": file.rows, "bytes": file.bytes, "xxh3_128": file.checksum} for name, file in wanted
    ]
    entries += [write_extra(engine.store, folder, name, content) for name, content in sorted((extra or {}).items())]
    write_list(engine.store, folder, entries, listed or list_path(folder))


def write_extra(store: Store, folder: str, name: str, content: bytes) -> Entry:
    """Writes a small file of a published folder; its entry."""
    import xxhash

    store.write(f"{folder}/{name}", content)
    return {"path": name, "rows": 0, "bytes": len(content), "xxh3_128": xxhash.xxh3_128(content).hexdigest()}


def write_list(store: Store, folder: str, entries: list[Entry], listed: str) -> None:
    """Removes what is in the folder and not among the entries, then writes its list."""
    kept = {listed, *(f"{folder}/{entry['path']}" for entry in entries)}
    removed = [found for found in store.files(folder) if found not in kept]
    for path in removed:
        store.delete(path)
    if removed:
        store.delete_empty_folders(folder)
    entries.sort(key=lambda entry: entry["path"])
    store.write(listed, json.dumps({"files": entries}, indent=1, ensure_ascii=False).encode())


def publish_tables(engine: Engine, tables: Mapping[str, bytes]) -> None:
    """Small tables that stand beside the lists, in `manifests/` itself."""
    entries = [write_extra(engine.store, MANIFESTS, name, content) for name, content in sorted(tables.items())]
    engine.store.write(list_path(MANIFESTS), json.dumps({"files": entries}, indent=1).encode())


def publish_root(store: Store, folders: Iterable[str]) -> None:
    """Writes the root record: the lists of the folders that a run published, with their checksums."""
    import xxhash

    lists = sorted({*folders, MANIFESTS})
    sums = {folder: xxhash.xxh3_128(store.read(list_path(folder))).hexdigest() for folder in lists}
    store.write(ROOT, json.dumps({"layout": LAYOUT, "lists": sums}, indent=1).encode())


def batched(places: Iterable[Place]) -> list[tuple[Place, ...]]:
    """Runs of files, of about equal work."""
    result: list[list[Place]] = []
    size = 0
    for place in places:
        if not result or len(result[-1]) == FILES_PER_TASK or size + place.file.bytes > BYTES_PER_TASK:
            result.append([])
            size = 0
        result[-1].append(place)
        size += place.file.bytes
    return [tuple(run) for run in result]


def place_files(task: Task[tuple[Place, ...], None]) -> None:
    """Links or copies what is not there yet; reads everything, so that what is published is what was committed."""
    for place in task.payload:
        if holds(task.store, place.path, place.file):
            continue
        if not is_intact(task.store, place.file):
            raise Damaged(place.file.path, "not what was committed")
        task.store.publish(place.file.path, place.path)


PLACE = Step(place_files)


def holds(store: Store, path: str, file: File) -> bool:
    """Whether `path` has the content that was committed as `file`."""
    return is_intact(store, replace(file, path=path))


def entries_of(store: Store, folder: str) -> list[Entry]:
    """What a folder's list names; empty where there is no list. ValueError, in one sentence, where it is damaged."""
    path = list_path(folder)
    if not store.exists(path):
        return []
    try:
        entries: list[Entry] = json.loads(store.read(path))["files"]
        [(entry["path"], entry["rows"], entry["bytes"], entry["xxh3_128"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{store.location(path)}: is damaged; run again to restore it") from error
    return entries


def check_layout(store: Store) -> None:
    """ValueError, in one sentence, where the output was published by a version that laid it out otherwise."""
    if any(store.exists(f"{folder}/files.json") for folder in ("signals", "curated", "ledger")):
        raise ValueError(
            f"{store.location()}: was written by an earlier version of gristmill, whose folders and ids this one does "
            "not read; run again with its configuration, which lays it out anew"
        )


def problems(store: Store, folder: str) -> list[str]:
    """What is wrong with a published folder: missing, changed and unlisted files."""
    path = list_path(folder)
    if not store.exists(path):
        return [f"{store.path(path)}: the list of {folder}/ is missing; run again to publish it"]
    try:
        entries = entries_of(store, folder)
    except ValueError as error:
        return [str(error)]
    found = {name.removeprefix(folder + "/") for name in store.files(folder)}
    result = []
    for entry in entries:
        name = f"{folder}/{entry['path']}"
        if entry["path"] not in found:
            result.append(f"{store.path(name)}: missing; run again to restore it")
        elif store.size(name) != entry["bytes"] or store.checksum(name) != entry["xxh3_128"]:
            result.append(f"{store.path(name)}: content differs from its checksum; run again to restore it")
    if folder == MANIFESTS:
        return result
    listed = {entry["path"] for entry in entries}
    return result + [f"{store.path(f'{folder}/{name}')}: not in {path}" for name in sorted(found - listed)]


def root_problems(store: Store) -> list[str]:
    """What is wrong with the root record and the lists that it names."""
    import xxhash

    if not store.exists(ROOT):
        return [f"{store.path(ROOT)}: missing; run again to write it"]
    try:
        lists: dict[str, str] = json.loads(store.read(ROOT))["lists"]
        paths = {folder: list_path(folder) for folder in lists}
    except (ValueError, KeyError, TypeError):
        return [f"{store.path(ROOT)}: is damaged; run again to restore it"]
    result = []
    for folder, path in paths.items():
        if not store.exists(path):
            result.append(f"{store.path(path)}: missing, though {ROOT} names it; run again to publish {folder}/")
        elif xxhash.xxh3_128(store.read(path)).hexdigest() != lists[folder]:
            result.append(f"{store.path(path)}: is not the list that {ROOT} names; run again to publish {folder}/")
    return result


def published_folders(store: Store) -> list[str]:
    """The folders that the root record names; empty where it cannot be read."""
    try:
        return [folder for folder in json.loads(store.read(ROOT))["lists"] if folder != MANIFESTS]
    except (OSError, ValueError, KeyError, TypeError):
        return []
