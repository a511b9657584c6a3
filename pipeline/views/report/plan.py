"""The section that sets the plan beside what happened: tasks, time and bytes written of every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gristmill.pipeline.steps.record import PlannedStep, StepRecord
from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.elements import Section, folded
from gristmill.pipeline.views.report.figures import count, duration, esc, plural, size

FIRST = 16
OFF = 2.0
"""A ratio beyond which, or below whose inverse, a figure is marked."""


def plan_section(run: Run) -> Section | None:
    """None where `run.json` has no plan. Ratios are what happened over what was planned."""
    plan = run.record.get("plan")
    planned = {step["name"]: step for step in plan.get("steps", [])} if plan else {}
    if not planned:
        return None
    happened = {step["name"]: step for step in run.record["steps"]}
    rows = [row(name, planned.get(name), happened.get(name)) for name in dict.fromkeys([*happened, *planned])]
    both = [(planned[name], step) for name, step in happened.items() if name in planned and not done_before(step)]
    sums = {key: [sum(side[key] for side in pair) for pair in zip(*both, strict=True)] for key in KEYS} if both else {}
    lede = "What was predicted before the run, and what it took. "
    if sums:
        lede += (
            f"In all {duration(sums['seconds'][1])} against {duration(sums['seconds'][0])} planned, "
            f"{size(sums['bytes_written'][1])} written against {size(sums['bytes_written'][0])}; "
            f"over {plural(len(both), 'step')} that were planned and run."
        )
    head = ("step", "tasks planned", "tasks", "time planned", "time", "ratio", "written planned", "written", "ratio")
    return Section("plan", "The plan", lede, folded(head, rows, "lNNnnnNNN", FIRST, "steps"))


Figure = Literal["seconds", "bytes_written"]
KEYS: tuple[Figure, ...] = ("seconds", "bytes_written")


def row(name: str, planned: PlannedStep | None, happened: StepRecord | None) -> tuple[str, ...]:
    reused = happened is not None and done_before(happened)
    cells = [esc(name), *(_cell(side and side.get("tasks"), count) for side in (planned, happened))]
    sides: tuple[tuple[Figure, Callable[[float], str]], ...] = (("seconds", duration), ("bytes_written", size))
    for key, write in sides:
        again = reused and key == "seconds"
        after = "done before" if again else _cell(happened and happened.get(key), write)
        cells += [_cell(planned and planned.get(key), write), after]
        cells.append("" if again else ratio(planned, happened, key))
    return tuple(cells)


def ratio(planned: PlannedStep | None, happened: StepRecord | None, key: Figure) -> str:
    """× 1.24; marked where it is far off."""
    if planned is None or happened is None or not planned.get(key):
        return ""
    value = happened[key] / planned[key]
    text = f"×\u00a0{value:.2f}" if value < 100 else f"×\u00a0{count(value)}"
    return f'<span class="off">{text}</span>' if not 1 / OFF <= value <= OFF else text


def done_before(step: StepRecord) -> bool:
    """No task was run: an earlier run had committed them all, or left others that hold."""
    return bool(step["tasks"]) and not step.get("computed", step["tasks"] - step["reused"])


def _cell(figure: float | None, write: Callable[[float], str]) -> str:
    return '<span class="zero">–</span>' if figure is None else write(figure)
