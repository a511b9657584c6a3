"""Fixtures of the tests of the pipeline: an object store on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from object_store import ObjectStore

import gristmill.storage.uris
import gristmill.storage.web


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with ObjectStore() as store:
        yield store


@pytest.fixture
def s3(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """The server without faults and with nothing counted."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server.proxy.clear()
    yield server
    server.proxy.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two attempts instead of ten, for faults that last."""
    for module in (gristmill.storage.uris, gristmill.storage.web):
        monkeypatch.setattr(module, "ATTEMPTS", 2)
    gristmill.storage.uris._remote.cache_clear()
    yield
    gristmill.storage.uris._remote.cache_clear()
