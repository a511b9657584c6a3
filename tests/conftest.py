"""Fixtures that several tests share."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import pytest

from gristmill.extras import EXTRAS

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
