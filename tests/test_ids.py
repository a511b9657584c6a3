"""No test is lost without a word: the list of tests is part of the repository."""

from __future__ import annotations

import pytest

from tests.conftest import COLLECTED
from tests.ids import lost


def test_no_test_is_lost(pytestconfig: pytest.Config) -> None:
    """Deselected ones count as there. `python tests/ids.py --write` notes renamed and removed ones."""
    whole = [str(pytestconfig.rootpath / "tests")]
    if [str(pytestconfig.rootpath / argument) for argument in pytestconfig.args] != whole or pytestconfig.option.ignore:
        pytest.skip("a part of the tests is run")
    assert lost(pytestconfig.stash[COLLECTED]) == []
