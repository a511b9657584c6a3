"""Makes committed files appear under their final names: `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/`.

A published folder holds exactly what its manifest `files.json` lists (path, rows, bytes, xxh3_128), written last;
files of an earlier run that are not in it are removed. Publishing again changes nothing. Linking, copying and checking
are tasks, so that workers read the output, not the driver; a committed file that is damaged is computed again first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gristmill.pipeline.engine.checked import Damaged, is_intact
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File
from gristmill.pipeline.engine.task import Step, Task
from gristmill.storage.store import Store

MANIFEST = "files.json"
FILES_PER_TASK = 256
BYTES_PER_TASK = 4_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a committed file appears."""

    path: str
    file: File


def publish(
    engine: Engine, folder: str, files: Iterable[tuple[str, File]], extra: Mapping[str, bytes] | None = None
) -> None:
    """`files`: (name below `folder`, committed file); `extra`: small files with their content."""
    import xxhash

    store = engine.store
    wanted = sorted(files, key=lambda item: item[0])
    engine.each(f"publish/{folder}", PLACE, batched([Place(f"{folder}/{name}", file) for name, file in wanted]), None)
    entries = [
        {"path": name, "rows": file.rows, "bytes": file.bytes, "xxh3_128": file.checksum} for name, file in wanted
    ]
    for name, content in sorted((extra or {}).items()):
        store.write(f"{folder}/{name}", content)
        digest = xxhash.xxh3_128(content).hexdigest()
        entries.append({"path": name, "rows": 0, "bytes": len(content), "xxh3_128": digest})
    listed = {MANIFEST, *(str(entry["path"]) for entry in entries)}
    for found in store.files(folder):
        if found.removeprefix(folder + "/") not in listed:
            store.delete(found)
    entries.sort(key=lambda entry: str(entry["path"]))
    store.write(f"{folder}/{MANIFEST}", json.dumps({"files": entries}, indent=1, ensure_ascii=False).encode())


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


def problems(store: Store, folder: str) -> list[str]:
    """What is wrong with a published folder: missing, changed and unlisted files."""
    if not store.exists(f"{folder}/{MANIFEST}"):
        return [f"{store.path(folder)}: {MANIFEST} is missing; run again to publish it"]
    entries = json.loads(store.read(f"{folder}/{MANIFEST}"))["files"]
    found = {name.removeprefix(folder + "/") for name in store.files(folder)}
    result = []
    for entry in entries:
        name = f"{folder}/{entry['path']}"
        if entry["path"] not in found:
            result.append(f"{store.path(name)}: missing; run again to restore it")
        elif store.size(name) != entry["bytes"] or store.checksum(name) != entry["xxh3_128"]:
            result.append(f"{store.path(name)}: content differs from its checksum; run again to restore it")
    listed = {entry["path"] for entry in entries} | {MANIFEST}
    return result + [f"{store.path(f'{folder}/{name}')}: not in {MANIFEST}" for name in sorted(found - listed)]
