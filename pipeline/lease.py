"""One run at a time on an output.

`work/lease.json` names the holder. It is renewed every ten seconds; a lease that was not renewed for a minute, or
whose process is gone on this host, is stale and is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType

from pipeline.store import Store

PATH = "work/lease.json"
RENEW_S = 10.0
STALE_S = 60.0


class LeaseHeld(RuntimeError):
    """Another run holds the output."""


class Lease:
    """Context manager: holds the output's lease while the block runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.token = uuid.uuid4().hex
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def _content(self) -> bytes:
        holder = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}
        return json.dumps(holder).encode()

    def __enter__(self) -> Lease:
        for _ in range(3):
            if self.store.create(PATH, self._content()):
                self.thread.start()
                return self
            try:
                holder = json.loads(self.store.read(PATH))
            except (OSError, ValueError):
                holder = {"host": "", "pid": 0, "renewed": 0.0}
            if not stale(holder):
                raise LeaseHeld(
                    f"{self.store.uri}: process {holder['pid']} on {holder['host']} is running on this output; "
                    "wait for it, or choose another --output"
                )
            self.store.delete(PATH)
        raise LeaseHeld(f"{self.store.uri}: another run takes this output's lease at the same time; try again")

    def _renew(self) -> None:
        while not self.stop.wait(RENEW_S):
            with contextlib.suppress(OSError):
                self.store.write(PATH, self._content())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join()
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self.store.read(PATH))["token"] == self.token:
                self.store.delete(PATH)


def stale(holder: dict[str, object]) -> bool:
    if time.time() - float(str(holder["renewed"])) > STALE_S:
        return True
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(str(holder["pid"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
