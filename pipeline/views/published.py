"""Which files of Parquet an output has, for the views: `pipeline.steps.published` reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gristmill.storage import hive
from gristmill.storage.store import Store


def parts(store: Store, folder: str) -> list[str]:
    """Files of `curated/`, `signals/` or `ledger/`, sorted."""
    return [path for path in store.files(folder) if path.rsplit("/", 1)[-1].startswith("part-")]


def step_of(path: str) -> str:
    """The step whose rows a file of `ledger/` holds; of two steps of a name the second is `name.2`."""
    return hive.values(path).get("step") or ""


def ledger_files(store: Store, order: Iterable[str]) -> list[str]:
    """Files of `ledger/` in the order of the steps, then of their partitions. order: names of steps."""
    place: dict[str, int] = {}
    for name in order:
        place.setdefault(name, len(place))

    def rank(path: str) -> tuple[int, str]:
        step = step_of(path)
        return place.get(step, place.get(re.sub(r"\.\d+$", "", step), len(place))), path

    return sorted(parts(store, "ledger"), key=rank)
