"""Learning rate, batch and blend of a run over its tokens, as the rows of a table: printed before step 1 and by `plan`.

A row stands at `points` places of each phase and wherever phase, batch or warm-up change: there at the first step
boundary at or after the change, which is where a step takes it.
"""

from __future__ import annotations

from pathlib import PurePath

from gristmill.trainer.config.keys import Config, Phase
from gristmill.trainer.config.schedule import Schedule

HEADINGS = ("phase", "tokens", "step", "sequences", "tokens/step", "learning rate", "blend")


def schedule_rows(config: Config, points: int = 8) -> list[tuple[str, ...]]:
    """Rows under `HEADINGS`; tokens and step are those consumed and done before the step of the row."""
    schedule = Schedule(config.phases, config.sequence())
    rows: list[tuple[str, ...]] = []
    for tokens in sorted(_marks(config, schedule, points)):
        step = schedule.at(schedule.boundary(tokens))
        if step is None:
            continue
        before = step.first_sample * schedule.sequence
        row = (
            str(step.phase),
            f"{before:,}",
            f"{step.index:,}",
            f"{step.sequences:,}",
            f"{step.sequences * schedule.sequence:,}",
            f"{step.learning_rate:.3e}",
            blend_text(config.phases[step.phase]),
        )
        if not rows or rows[-1] != row:
            rows.append(row)
    last = schedule.total_samples * schedule.sequence
    rate = f"{schedule.learning_rate(schedule.total_tokens):.3e}"
    return [*rows, ("end", f"{last:,}", f"{schedule.total_steps:,}", "", "", rate, "")]


def table_text(config: Config) -> list[str]:
    """The table as lines of text, columns aligned: numbers to the right, the blend to the left."""
    rows = [HEADINGS, *schedule_rows(config)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = ("  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths)) + "  " + row[-1] for row in rows)
    return [line.rstrip() for line in lines]


def blend_text(phase: Phase) -> str:
    """ "pretrain", or "general 90 % + qa 10 %": the last part of each folder's name, weights normalised."""
    sources = phase.sources()
    total = sum(source.weight for source in sources)
    names = source_names(phase)
    if len(sources) == 1:
        return names[0]
    return " + ".join(f"{name} {100 * s.weight / total:.3g} %" for name, s in zip(names, sources, strict=True))


def source_names(phase: Phase) -> list[str]:
    return [PurePath(source.shards).name or source.shards for source in phase.sources()]


def _marks(config: Config, schedule: Schedule, points: int) -> set[int]:
    marks = {stretch.start for stretch in schedule.stretches}
    start = 0
    for phase in config.phases:
        marks |= {start + phase.tokens * i // points for i in range(points)}
        if phase.learning_rate and phase.learning_rate.warmup_tokens:
            marks.add(start + phase.learning_rate.warmup_tokens)
        start += phase.tokens
    return marks
