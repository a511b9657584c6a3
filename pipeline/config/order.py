"""When a configured stage runs: while the text is read, as a decision over the whole corpus, or while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from gristmill.stages.interface import DocumentStage, Stage, parts_of, traits
from gristmill.stages.registry import MEASURING, PREPARING, load


@dataclass(frozen=True)
class Order:
    """The configured stages by when they run."""

    first: tuple[DocumentStage, ...]
    deciding: tuple[Stage, ...]
    late: tuple[DocumentStage, ...]


def order(stages: Sequence[Stage]) -> Order:
    """First pass until a stage decides; then decisions; editing stages after the last of those run late.

    What is code and where lines end is decided as soon as there is text, behind the last stage of the first pass that
    reads pages. Signals are measured at its end, those of source files only if a later stage needs them. A stage that
    joins documents is the last of the late ones wherever it stands: what it joins must have been chosen.
    """
    parts = [part for stage in stages for part in parts_of(stage)]
    stages = [stage for stage in parts if not traits(stage).joins]
    decides = [traits(stage).decides for stage in stages]
    begin = decides.index(True) if True in decides else len(stages)
    end = len(stages) - decides[::-1].index(True) if True in decides else len(stages)
    while end < len(stages) and not stages[end].edits:
        end += 1
    first = [stage for stage in stages[:begin] if isinstance(stage, DocumentStage)]
    first = _prepared(first)
    joining = [stage for stage in parts if traits(stage).joins]
    late = [stage for stage in [*stages[end:], *joining] if isinstance(stage, DocumentStage)]
    return Order((*first, *_measuring(parts, first)), tuple(stages[begin:end]), tuple(dict.fromkeys(late)))


def _prepared(first: Sequence[DocumentStage]) -> list[DocumentStage]:
    """The stages of the first pass with those that prepare text, with their defaults where they are not among them."""
    found = list(first)
    for k, name in enumerate(PREPARING):
        if any(stage.name == name for stage in found):
            continue
        before = [i for i, stage in enumerate(found, 1) if "content" in stage.needs or stage.name in PREPARING[:k]]
        found.insert(max(before, default=0), cast(DocumentStage, load(name)()))
    return found


def _measuring(stages: Sequence[Stage], first: Sequence[Stage]) -> list[DocumentStage]:
    """The stages that measure by themselves: with their defaults, where the first pass has none of the name."""
    names = [stage.name for stage in stages]
    added: list[DocumentStage] = []
    for name, always in MEASURING.items():
        stage = load(name)()
        earlier = stages[: names.index(name)] if name in names else stages
        needed = any(column in stage.adds for other in earlier for column in other.needs)
        if (always or needed) and not any(other.name == name for other in first):
            added.append(cast(DocumentStage, stage))
    return added
