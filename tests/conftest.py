"""What all tests share: real documents, folders made once for all workers, one Ray, and the machine for oneself.

With pytest-xdist (`make test`, `make quick`) a file's tests run in one worker, the files with slow tests first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.extras import EXTRAS

SHARED = pytest.StashKey[Path | None]()
"""The folder that the workers of one session share; None in a session without workers."""
COLLECTED = pytest.StashKey[frozenset[str]]()
"""Ids of all tests that were collected, with those that a marker deselects."""


@contextlib.contextmanager
def lock(path: Path, exclusive: bool = True) -> Iterator[None]:
    """Held by one process, or by any number that share it; let go by the system where a process dies."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a process that was forked meanwhile has the file open too


def pytest_configure(config: pytest.Config) -> None:
    # The exit status of a session with workers is that of a process that loads no native library, so none can hide it.
    # One process with all of them (S3, Ray, torch, a process group) ended well too, each time that it was tried.
    worker = hasattr(config, "workerinput")
    config.stash[SHARED] = Path(config.option.basetemp).parent if worker else None
    if worker:
        compile_once(Path(config.option.basetemp).parent)


def compile_once(folder: Path) -> None:
    """Lets a kernel that is in no cache be compiled by one worker while others that want it wait for the cache.

    A kernel's lock is taken within Numba's own, as the kernels that it calls are compiled, and locked, in between. No
    two kernels call each other, so no two workers wait for each other.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    compile = Dispatcher.compile
    held: set[str] = set()

    def compile_in_turn(self: Any, signature: Any) -> Any:
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}.compiling"
        with global_compiler_lock:
            if name in held or not name.startswith("gristmill."):  # it calls itself; or is Numba's own
                return compile(self, signature)
            held.add(name)
            try:
                with lock(folder / name):
                    return compile(self, signature)
            finally:
                held.remove(name)

    Dispatcher.compile = compile_in_turn


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Notes all tests before any is deselected. Files with slow tests come first, so that no worker ends with one."""
    config.stash[COLLECTED] = frozenset(item.nodeid for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """A test marked `alone` waits until no other worker is in a test, and the others wait for its end."""
    folder = item.config.stash[SHARED]
    if folder is None:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with contextlib.ExitStack() as held:
        with lock(folder / "next"):  # whoever waits for the machine keeps this, or others would go on for ever
            held.enter_context(lock(folder / "machine", exclusive=alone))
        return (yield)


MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> MadeOnce:
    """made_once(name, make) -> a folder that make(folder) filled for the first who asked. Nobody may change it."""
    root = pytestconfig.stash[SHARED] or tmp_path_factory.getbasetemp()

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / f"once-{name}", root / f"once-{name}.done"
        with lock(root / f"once-{name}.making"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def _ray() -> Iterator[None]:
    """A Ray of this session's own with two workers; nothing of a Ray around it."""
    import ray

    around = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    for name in around:
        del os.environ[name]
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # workers read from servers of these tests
    ray.init(address="local", num_cpus=2, object_store_memory=300_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    os.environ |= around


@pytest.fixture
def one_ray(_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this process that want a Ray join the session's. Runs of other processes start their own."""


class _Absent:
    """Skips what imports a reference engine that is not installed: `make` goes on without them where there is no
    compiler. Last in `sys.meta_path`, so it is asked only for what nobody else has found."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if EXTRAS.get(name) == "reference":
            pytest.skip(f'{name} is not installed: pip install "gristmill[reference]"', allow_module_level=True)


sys.meta_path.append(_Absent)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real documents for tests: GRISTMILL_TEST_DATA, or ../shared/data beside the checkout."""
    path = Path(os.environ.get("GRISTMILL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no test data at {path}: set GRISTMILL_TEST_DATA")
    return path


@pytest.fixture(scope="session")
def language_model() -> Path:
    """fastText's lid.176.ftz as `make model` leaves it."""
    path = Path(__file__).parents[1] / "models" / "lid.176.ftz"
    if not path.is_file():
        pytest.skip(f"no language model at {path}: run `make model`")
    return path
