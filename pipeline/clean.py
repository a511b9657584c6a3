"""Removes what nothing refers to below `work/`: steps of earlier configurations, files of uncommitted attempts."""

from __future__ import annotations

import json

from pipeline.commit import Manifest, StepFolder
from pipeline.lease import Lease
from pipeline.store import Store


def clean(output: str) -> tuple[int, int]:
    """(files removed, bytes freed). Keeps the steps that the last run used, with the files of their manifests."""
    store = Store(output)
    if not store.exists("run.json"):
        raise ValueError(f"{output}: holds no run.json, so nothing says which steps are in use; run to the end first")
    used = {
        f"{step['name'].replace('/', '-')}-{step['fingerprint'][:16]}": step
        for step in json.loads(store.read("run.json"))["steps"]
    }
    files = size = 0
    with Lease(store):
        for folder in store.folders("work"):
            keep = committed_files(store, folder, used[folder]) if folder in used else set()
            for path in store.files(f"work/{folder}"):
                if path in keep:
                    continue
                files += 1
                size += store.size(path)
                store.delete(path)
            if folder not in used:
                store.delete_folder(f"work/{folder}")
    return files, size


def committed_files(store: Store, folder: str, step: dict[str, str]) -> set[str]:
    sealed = StepFolder(store, step["name"], step["fingerprint"])
    manifests: list[Manifest] = sealed.sealed() or list(sealed.committed().values())
    control = {path for path in store.files(f"work/{folder}") if path.endswith(("step.parquet", ".json"))}
    return control | {file.path for manifest in manifests for file in manifest.files}
