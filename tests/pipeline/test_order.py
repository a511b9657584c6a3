"""When a stage runs follows from what it says of itself, whoever wrote it and whatever it is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from gristmill.pipeline.config.order import order
from gristmill.stages.code_domain import CodeDomain
from gristmill.stages.code_signals import CodeSignals
from gristmill.stages.exact_dedup import ExactDedup
from gristmill.stages.extract import Extract
from gristmill.stages.interface import ATTRIBUTES, Stage, Traits, has_rules, rules_of, traits
from gristmill.stages.join_code import JoinCode
from gristmill.stages.lines import Lines
from gristmill.stages.near_dedup import NearDedup
from gristmill.stages.pii import Pii
from gristmill.stages.registry import MEASURING, PREPARING, STAGES, load
from gristmill.stages.rules import Rules
from gristmill.stages.signals import Signals


@dataclass(frozen=True)
class Own:
    """A document stage of one's own, without any of `Traits`."""

    name: ClassVar[str] = "own"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text",)
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch


class Judge(Own):
    name = "judge"
    needs = ("words", "encoded_data")
    decides = True


class Joiner(Own):
    name = "joiner"
    edits = True
    joins = ("english",)

    route = keys = arrange = combine = Own.apply


def names(stages: Any) -> list[str]:
    return [stage.name for stage in stages]


def test_first_pass_ends_at_the_first_stage_that_decides() -> None:
    found = order([Extract(), Own(), Judge(), Own(), ExactDedup(), Pii()])
    assert names(found.first) == ["extract", *PREPARING, "own", "code_signals", "signals"]
    assert names(found.deciding) == ["judge", "own", "exact_dedup"]
    assert names(found.late) == ["pii"]


def test_without_a_stage_that_decides_all_run_while_the_text_is_read() -> None:
    assert names(order([Extract(), Own()]).first) == ["extract", *PREPARING, "own", "signals"]


def test_what_is_code_and_where_lines_end_is_decided_as_soon_as_there_is_text() -> None:
    assert PREPARING == ("code_domain", "line_ends")
    assert names(order([Own(), Extract(), Lines()]).first) == ["own", "extract", *PREPARING, "lines", "signals"]
    assert names(order([Own(), ExactDedup()]).first) == [*PREPARING, "own", "signals"]
    assert names(order([ExactDedup()]).first) == [*PREPARING, "signals"]
    given = CodeDomain()
    found = order([Own(), given])
    assert names(found.first) == ["own", "code_domain", "line_ends", "signals"]
    assert found.first[1] is given


@pytest.mark.parametrize("place", range(4))
def test_a_stage_that_joins_is_the_last_wherever_it_stands(place: int) -> None:
    for joining in (Joiner(), JoinCode()):
        stages: list[Stage] = [Extract(), Rules(("gopher_quality",)), Pii()]
        stages.insert(place, joining)
        found = order(stages)
        assert names(found.late)[-1] == joining.name
        assert joining not in (*found.first, *found.deciding)


def test_signals_of_code_are_measured_where_a_stage_needs_them_or_where_they_are_listed() -> None:
    without = Rules(("gopher_quality",))
    needing = Rules(("gopher_quality",), add=[{"rule": "own.encoded", "signal": "encoded_data", "max": 0.5}])
    assert names(order([Extract(), without]).first) == ["extract", *PREPARING, "signals"]
    assert names(order([Extract(), needing]).first) == ["extract", *PREPARING, "code_signals", "signals"]
    assert names(order([CodeSignals(), Signals(), needing]).first) == [*PREPARING, "code_signals", "signals"]
    late = order([Extract(), needing, CodeSignals()])  # the listed one would come too late for the rules
    assert names(late.first) == ["extract", *PREPARING, "code_signals", "signals"]
    assert names(order([Extract(), without, CodeSignals(), needing]).first) == ["extract", *PREPARING, "signals"]


def test_what_shipped_stages_say_of_themselves() -> None:
    told = {name: traits(load(name)) for name in STAGES}
    corpus = {name for name in STAGES if hasattr(load(name), "rounds")}
    assert {name for name, its in told.items() if its.decides} == {"rules"} | corpus
    assert {name for name, its in told.items() if its.measures} == set(MEASURING)
    assert {name for name, its in told.items() if its.clusters} == {"exact_dedup", "near_dedup"}
    assert {name for name, its in told.items() if its.joins} == {"join_code"}
    assert traits(Own) == traits(Own()) == Traits()


def test_rules_are_those_of_a_stage_that_decides() -> None:
    rules = Rules(("gopher_quality",))
    assert rules_of(rules) == rules.rules() != ()
    assert rules_of(Lines()) == rules_of(NearDedup()) == rules_of(Own()) == ()
    assert [name for name in STAGES if has_rules(load(name))] == ["rules"]


def test_attributes_are_those_of_the_interface() -> None:
    assert ATTRIBUTES == ("name", "version", "needs", "adds", "edits", "files")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("decides = 1", "decides is 1; write True or False"),
        ("joins = 'code'", "joins is 'code'; write a tuple of names"),
        ("joins = ('code',)", "joins needs the method route"),
        ("clusters = True", "clusters is for stages with rounds"),
        ("measures = decides = True", "measures is for stages with apply that do not decide"),
        ("decides = False; rounds = None", "a stage with rounds decides; take decides = False out"),
    ],
)
def test_an_attribute_that_cannot_be_so_is_a_sentence(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"own_{abs(hash(line))}"
    (tmp_path / f"{module}.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Own:\n    name = 'own'\n    version = 1\n"
        f"    needs = adds = files = ()\n    edits = False\n    {line}\n    apply = None\n"
    )
    with pytest.raises(ValueError) as caught:
        load(f"{module}:Own")
    assert str(caught.value).startswith(f"'{module}:Own': {said}")
