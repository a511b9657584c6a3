"""One run at a time on an output.

`work/lease.json` names the holder. It is renewed every ten seconds; a lease that was not renewed for a minute, or
whose process is gone on this host, is stale and is taken over, by one run only: the one that creates the file that says
so. A run that was suspended and finds another's name in its lease stops before it commits anything more.
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
from typing import TypedDict

from gristmill.storage.retrying import StorageError
from gristmill.storage.store import Store

PATH = "work/lease.json"
RENEW_S = 10.0
STALE_S = 60.0


class Holder(TypedDict):
    """Who holds the output: what `work/lease.json` says."""

    token: str
    host: str
    pid: int
    renewed: float
    """Seconds since 1970."""


class LeaseHeld(RuntimeError):
    """Another run holds the output."""


class LeaseLost(LeaseHeld):
    """Another run has taken the output over."""

    final = True


class Lease:
    """Context manager: holds the output's lease while the block runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.token = uuid.uuid4().hex
        self.renewed = time.monotonic()
        self.lost: Holder | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def _content(self) -> bytes:
        ours: Holder = {"token": self.token, "host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}
        return json.dumps(ours).encode()

    def _holder(self) -> Holder | None:
        """What the lease says; None where there is none; an unreadable one is nobody's."""
        try:
            value = json.loads(self.store.read(PATH))
            return {"token": "", "host": "", "pid": 0, "renewed": 0.0, **value}
        except FileNotFoundError:
            return None
        except StorageError:  # says nothing of the lease
            raise
        except (OSError, ValueError, TypeError):
            return {"token": "", "host": "", "pid": 0, "renewed": 0.0}

    def __enter__(self) -> Lease:
        for _ in range(3):
            if self.store.create(PATH, self._content()):
                return self._begin()
            holder = self._holder()
            if holder is None:
                continue
            if not stale(holder):
                raise LeaseHeld(
                    f"{self.store.location()}: process {holder['pid']} on {holder['host']} is running on this output; "
                    "wait for it, or choose another --output"
                )
            if self._take_over(holder):
                return self._begin()
        raise LeaseHeld(f"{self.store.location()}: another run takes this output's lease at the same time; try again")

    def _begin(self) -> Lease:
        self.renewed = time.monotonic()
        self.thread.start()
        return self

    def _take_over(self, holder: Holder) -> bool:
        """Puts our name in the place of a stale one. Of several that try, one creates the claim."""
        claim = f"{PATH}.{holder['token'] or 'unreadable'}"
        if not self.store.create(claim, self._content()):
            with contextlib.suppress(OSError, ValueError, KeyError):
                if stale(json.loads(self.store.read(claim))):
                    self.store.delete(claim)  # of a run that died in between
            return False
        try:
            current = self._holder()
            if current is not None and current["token"] != holder["token"]:
                return False
            self.store.write(PATH, self._content())
        finally:
            self.store.delete(claim)
        return True

    def _renew(self) -> None:
        while not self.stop.wait(RENEW_S):
            with contextlib.suppress(OSError):
                self._look()
                self.store.write(PATH, self._content())
                self.renewed = time.monotonic()
            if self.lost:
                return

    def _look(self) -> None:
        holder = self._holder()
        if holder is not None and holder["token"] != self.token:
            self.lost = holder
            raise OSError("the lease is another's")

    def check(self) -> None:
        """LeaseLost where another run took the output; looks at the storage where the lease was not just renewed."""
        if self.lost is None and time.monotonic() - self.renewed > 2 * RENEW_S:
            with contextlib.suppress(OSError):
                self._look()
        if self.lost is not None:
            raise LeaseLost(
                f"{self.store.location()}: process {self.lost['pid']} on {self.lost['host']} has taken this output "
                "over, because this run had stood still for more than a minute; nothing more is written here"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join()
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self.store.read(PATH))["token"] == self.token:
                self.store.delete(PATH)


def stale(holder: Holder) -> bool:
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
