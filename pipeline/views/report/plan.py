"""The section that sets the plan beside what happened: tasks, time and bytes written of every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.elements import Section, folded
from gristmill.pipeline.views.report.figures import count, duration, esc, plural, size

FIRST = 16
OFF = 2.0
"""A ratio beyond which, or below whose inverse, a figure is marked."""


def plan_section(run: Run) -> Section | None:
    """None where `run.json` has no plan. Ratios are what happened over what was planned."""
    planned = {step["name"]: step for step in (run.record.get("plan") or {}).get("steps", [])}
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


KEYS = ("seconds", "bytes_written")


def row(name: str, planned: Mapping[str, Any] | None, happened: Mapping[str, Any] | None) -> tuple[str, ...]:
    reused = happened is not None and done_before(happened)
    cells = [esc(name), *(_cell(side, "tasks", count) for side in (planned, happened))]
    for key, write in (("seconds", duration), ("bytes_written", size)):
        again = reused and key == "seconds"
        cells += [_cell(planned, key, write), "done before" if again else _cell(happened, key, write)]
        cells.append("" if again else ratio(planned, happened, key))
    return tuple(cells)


def ratio(planned: Mapping[str, Any] | None, happened: Mapping[str, Any] | None, key: str) -> str:
    """× 1.24; marked where it is far off."""
    if planned is None or happened is None or not planned.get(key):
        return ""
    value = happened[key] / planned[key]
    text = f"×\u00a0{value:.2f}" if value < 100 else f"×\u00a0{count(value)}"
    return f'<span class="off">{text}</span>' if not 1 / OFF <= value <= OFF else text


def done_before(step: Mapping[str, Any]) -> bool:
    """No task was run: an earlier run had committed them all, or left others that hold."""
    return bool(step["tasks"]) and not step.get("computed", step["tasks"] - step["reused"])


def _cell(side: Mapping[str, Any] | None, key: str, write: Any) -> str:
    if side is None or side.get(key) is None:
        return '<span class="zero">–</span>'
    return str(write(side[key]))
