"""When a configured stage runs: while the text is read, as a decision over the whole corpus, or while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.stages.interface import CorpusStage, DocumentStage, Stage

JOINS = "join_code"


@dataclass(frozen=True)
class Order:
    """The configured stages by when they run."""

    first: tuple[DocumentStage, ...]
    deciding: tuple[Stage, ...]
    late: tuple[DocumentStage, ...]


def parts_of(stage: Stage) -> tuple[Stage, ...]:
    """The stages that stand for a configured one: itself, or what its `parts` are."""
    parts = getattr(stage, "parts", None)
    return (stage,) if parts is None else parts()


def order(stages: Sequence[Stage]) -> Order:
    """First pass until rules or a corpus stage; then decisions; editing stages after the last of those run late.

    Signals are measured at the end of the first pass, those of source files only if a later stage needs them. Code is
    joined late wherever `join_code` stands: its parts must have been chosen.
    """
    from gristmill.stages.signals import Signals

    stages = [part for stage in stages for part in parts_of(stage)]
    decides = [isinstance(stage, CorpusStage) or stage.name == "rules" for stage in stages]
    begin = decides.index(True) if True in decides else len(stages)
    end = len(stages) - decides[::-1].index(True) if True in decides else len(stages)
    while end < len(stages) and not stages[end].edits:
        end += 1
    joining = [stage for stage in stages if stage.name == JOINS]
    first = [stage for stage in stages[:begin] if isinstance(stage, DocumentStage) and stage.name != JOINS]
    first += _code_signals(stages)
    if not any(stage.name == "signals" for stage in first):
        first.append(Signals())
    late = [stage for stage in [*stages[end:], *joining] if isinstance(stage, DocumentStage)]
    return Order(tuple(first), tuple(stages[begin:end]), tuple(dict.fromkeys(late)))


def _code_signals(stages: Sequence[Stage]) -> list[DocumentStage]:
    from gristmill.stages.code_signals import CodeSignals

    wanted = {column for stage in stages for column in stage.needs} & set(CodeSignals.adds)
    return [CodeSignals()] if wanted and not any(stage.name == CodeSignals.name for stage in stages) else []
