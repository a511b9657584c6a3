"""How the driver learns how far tasks on other nodes are: small values in the key-value store of Ray's head.

A worker process writes what its task has taken in every REPORT_S seconds, under the task's own key; the driver reads
those of the tasks that it waits for. It is for eyes only: what cannot be written or read is left out, nothing waits for
it, and a task that takes less than REPORT_S writes nothing. There is no public interface to that store;
`ray.experimental.internal_kv` is what Ray's own libraries use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from gristmill.pipeline.engine import under_way
from gristmill.pipeline.engine.under_way import Amount

NAMESPACE = b"gristmill"
REPORT_S = 5.0
TIMEOUT_S = 1.0

_key: bytes | None = None
"""Of the task that this worker process runs; a worker runs one at a time."""
_reporting: threading.Thread | None = None


def key(run: str, step: str, index: int) -> bytes:
    return f"{run}/{step}/{index}".encode()


def begin(task: bytes) -> None:
    """In a worker, before a task."""
    global _key, _reporting
    _key = task
    if _reporting is None:
        _reporting = threading.Thread(target=_report, name="progress", daemon=True)
        _reporting.start()


def end() -> None:
    global _key
    _key = None


def _report() -> None:
    from ray.experimental import internal_kv

    while True:
        time.sleep(REPORT_S)
        task, amount = _key, under_way.here()
        if task is not None and amount != Amount():
            with suppress(Exception):
                value = f"{amount.documents} {amount.bytes}".encode()
                internal_kv._internal_kv_put(task, value, overwrite=True, namespace=NAMESPACE)


def read(tasks: Iterable[bytes]) -> Amount:
    """On the driver: what these tasks have said."""
    from ray.experimental import internal_kv

    client = internal_kv.internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    found = client.internal_kv_multi_get([*tasks], NAMESPACE, timeout=TIMEOUT_S)
    return sum((Amount(*map(int, value.split())) for value in found.values() if value), Amount())


def forget(run: str, step: str = "") -> None:
    """On the driver: what the tasks of a step, or of the whole run, have said."""
    from ray.experimental import internal_kv

    prefix = f"{run}/{step}/" if step else f"{run}/"
    with suppress(Exception):
        internal_kv._internal_kv_del(prefix, del_by_prefix=True, namespace=NAMESPACE)
