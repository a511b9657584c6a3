"""Makes committed files appear under their final names: `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/`.

A published folder holds exactly what its manifest `files.json` lists (path, rows, bytes, xxh3_128), written last;
files of an earlier run that are not in it are removed. Publishing again changes nothing. Linking, copying and checking
are tasks, so that workers read the output, not the driver; a committed file that is damaged is computed again first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gristmill.pipeline.engine.checked import Damaged, is_intact
from gristmill.pipeline.engine.manifest import File
from gristmill.storage.store import Store

if TYPE_CHECKING:
    from gristmill.pipeline.engine.engine import Engine
    from gristmill.pipeline.engine.task import Task

MANIFEST = "files.json"
FILES_PER_TASK = 256
BYTES_PER_TASK = 4_000_000_000


def publish(
    engine: Engine, folder: str, files: Iterable[tuple[str, File]], extra: Mapping[str, bytes] | None = None
) -> None:
    """`files`: (name below `folder`, committed file); `extra`: small files with their content."""
    import xxhash

    store = engine.store
    wanted = sorted(files, key=lambda item: item[0])
    engine.each(f"publish/{folder}", place_files, batched([(f"{folder}/{name}", file) for name, file in wanted]))
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


def batched(files: list[tuple[str, File]]) -> list[list[tuple[str, File]]]:
    """Runs of files, of about equal work."""
    result: list[list[tuple[str, File]]] = []
    size = 0
    for entry in files:
        if not result or len(result[-1]) == FILES_PER_TASK or size + entry[1].bytes > BYTES_PER_TASK:
            result.append([])
            size = 0
        result[-1].append(entry)
        size += entry[1].bytes
    return result


def place_files(task: Task) -> None:
    """Links or copies what is not there yet; reads everything, so that what is published is what was committed."""
    files: list[tuple[str, File]] = task.payload
    for target, file in files:
        if holds(task.store, target, file):
            continue
        if not is_intact(task.store, file):
            raise Damaged(file.path, "not what was committed")
        task.store.publish(file.path, target)


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
