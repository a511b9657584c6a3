"""Fixtures that several tests share."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import pytest

_ended: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    _ended.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Ends with what the tests said. Threads of native libraries (Ray, Arrow's S3, gloo were all used by this one
    process) may still run while the interpreter is taken down, and a crash there would hide it."""
    if not _ended:
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_ended[-1])


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
