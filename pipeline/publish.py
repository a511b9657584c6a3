"""Makes committed files appear under their final names: `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/`.

A published folder holds exactly what its manifest `files.json` lists (path, rows, bytes, xxh3_128), written last;
files of an earlier run that are not in it are removed. Publishing again changes nothing.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping

from pipeline.commit import File
from pipeline.store import Store

MANIFEST = "files.json"


def publish(
    store: Store, folder: str, files: Iterable[tuple[str, File]], extra: Mapping[str, bytes] | None = None
) -> None:
    """`files`: (name below `folder`, committed file); `extra`: small files with their content."""
    import xxhash

    entries = []
    wanted = {MANIFEST}
    for name, file in sorted(files, key=lambda item: item[0]):
        target = f"{folder}/{name}"
        if not holds(store, target, file):
            store.publish(file.path, target)
            if not holds(store, target, file):  # the committed file itself was changed after its commit
                raise OSError(
                    f"{store.path(file.path)}: content differs from its checksum; delete the folder "
                    f"{posixpath.dirname(posixpath.dirname(store.path(file.path)))} and run again"
                )
        wanted.add(name)
        entries.append({"path": name, "rows": file.rows, "bytes": file.bytes, "xxh3_128": file.checksum})
    for name, content in sorted((extra or {}).items()):
        store.write(f"{folder}/{name}", content)
        wanted.add(name)
        digest = xxhash.xxh3_128(content).hexdigest()
        entries.append({"path": name, "rows": 0, "bytes": len(content), "xxh3_128": digest})
    for found in store.files(folder):
        if found.removeprefix(folder + "/") not in wanted:
            store.delete(found)
    entries.sort(key=lambda entry: str(entry["path"]))
    store.write(f"{folder}/{MANIFEST}", json.dumps({"files": entries}, indent=1, ensure_ascii=False).encode())


def holds(store: Store, path: str, file: File) -> bool:
    """Whether `path` has the content that was committed as `file`."""
    return store.exists(path) and store.size(path) == file.bytes and store.checksum(path) == file.checksum


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
            result.append(f"{store.path(name)}: content differs from its checksum; delete it and run again")
    listed = {entry["path"] for entry in entries} | {MANIFEST}
    return result + [f"{store.path(f'{folder}/{name}')}: not in {MANIFEST}" for name in sorted(found - listed)]
