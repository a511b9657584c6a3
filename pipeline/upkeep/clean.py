"""Removes what nothing refers to below `work/`: steps of earlier configurations, files of uncommitted attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gristmill.pipeline.engine.commit import StepFolder, check_work, folder_name
from gristmill.pipeline.engine.manifest import Manifest
from gristmill.storage.lease import Lease
from gristmill.storage.store import Store


def clean(output: str) -> tuple[int, int]:
    """(files removed, bytes freed). Keeps the steps that the last run used, with the files of their manifests."""
    store = Store(output)
    if not store.exists("run.json"):
        raise ValueError(f"{output}: holds no run.json, so nothing says which steps are in use; run to the end first")
    with Lease(store):
        check_work(store)
        return remove_unused(store)


def remove_unused(store: Store) -> tuple[int, int]:
    """As `clean`, for whoever holds the lease."""
    steps = json.loads(store.read("run.json"))["steps"]
    used = {f"{folder_name(step['name'])}-{step['fingerprint'][:16]}": step for step in steps}
    keep: set[str] = set()
    for step in used.values():  # a task taken over from an earlier fingerprint has its files in that one's folder
        keep |= committed_files(store, step)
    files = size = 0
    for folder in store.folders("work"):
        left = 0
        for path in store.files(f"work/{folder}"):
            if path in keep:
                left += 1
                continue
            files += 1
            size += store.size(path)
            store.delete(path)
        if not left:
            store.delete_folder(f"work/{folder}")
    return files, size


def committed_files(store: Store, step: dict[str, str]) -> set[str]:
    """The step's seal and commits, and the files that they name."""
    folder = StepFolder(store, step["name"], step["fingerprint"])
    sealed = folder.sealed()
    manifests: Iterable[Manifest | None] = sealed if sealed is not None else folder.committed().values()
    control = {f"{folder.folder}/step.parquet"} if sealed is not None else set()
    control |= {path for path in store.files(f"{folder.folder}/tasks") if path.endswith(".json")}
    return control | {file.path for manifest in manifests if manifest is not None for file in manifest.files}
