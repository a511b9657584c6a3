"""No test is lost without a word: the list of tests is part of the repository."""

from __future__ import annotations

import pytest

from tests import ids
from tests.conftest import COLLECTED


def test_no_test_is_lost(pytestconfig: pytest.Config) -> None:
    """Deselected ones count as there. `python tests/ids.py --write` notes renamed and removed ones."""
    whole = [str(pytestconfig.rootpath / "tests")]
    if [str(pytestconfig.rootpath / argument) for argument in pytestconfig.args] != whole or pytestconfig.option.ignore:
        pytest.skip("a part of the tests is run")
    assert ids.lost(pytestconfig.stash[COLLECTED]) == []


def test_without_a_reference_engine_only_files_that_were_skipped_whole_are_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, (first, *others) = "tests/kernels/test_kenlm_table.py::", sorted(ids.noted())
    left = {test for test in others if not test.startswith(whole)}
    assert {first} < set(ids.lost(left))
    monkeypatch.setattr(ids, "is_installed", lambda distribution: distribution != "kenlm")
    assert ids.lost(left) == [first]
