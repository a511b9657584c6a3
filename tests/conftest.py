"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
