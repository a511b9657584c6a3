"""Fixtures of the tests of the pipeline: an object store on this machine, and runs that several files read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import lay_out_small
from object_store import ObjectStore
from small_run import small_run

import gristmill.storage.uris
import gristmill.storage.web
from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run


@pytest.fixture(scope="session")
def undisturbed_run(made_once, shared_data: Path, language_model: Path) -> Path:
    """The configuration of the small corpus of real documents, whose run is in `out` beside it and stays as it is."""

    def make(folder: Path) -> None:
        run(load(str(lay_out_small(shared_data, folder, language_model))), inline=True)

    return made_once("undisturbed", make) / "pipeline.yaml"


@pytest.fixture(scope="session")
def small_output(made_once, language_model: Path) -> Path:
    """The output of small_run, of text that every checkout has. Its report may be written again."""
    return made_once("small-run", lambda folder: small_run(folder, language_model)) / "out"


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
