"""The schedule as a picture: learning rate, batch and blend over tokens, one above the other, as SVG text.

Three panels share the axis of tokens. The rate is sampled where the steps of a run would be; batch and blend are drawn
as the steps take them, so a change stands at the first step boundary after it. Weights are the configuration's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from gristmill.trainer.config.keys import Config
from gristmill.trainer.config.schedule import Schedule
from gristmill.trainer.planning.schedule_table import source_names

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 640, 130, 76, 150, 34, 34
POINTS = 320
_INK, _GRID, _LINE = "#333333", "#dddddd", "#2a78b5"
_COLOURS = ("#2a78b5", "#d1603d", "#5b9a4b", "#8a63b0", "#c2a02e", "#4fa3a5", "#a05a7a", "#7a7a7a")


def schedule_svg(config: Config, title: str) -> str:
    """The picture as a standalone SVG document."""
    schedule = Schedule(config.phases, config.sequence())
    total = schedule.total_samples * schedule.sequence
    panels: list[tuple[str, list[str]]] = [
        ("learning rate", [*_rate(schedule, total)]),
        ("sequences per step", [*_batch(schedule, total)]),
        ("blend", [*_blend(config, schedule, total)]),
    ]
    height = TOP + len(panels) * (HEIGHT + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'width="{LEFT + WIDTH + RIGHT}" height="{height}" font-family="sans-serif" font-size="11" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{LEFT + WIDTH + RIGHT}" height="{height}" fill="#ffffff"/>',
    ]
    for i, (name, body) in enumerate(panels):
        y = TOP + i * (HEIGHT + GAP)
        parts += [f'<g transform="translate({LEFT},{y})">', f'<text y="-8" font-size="12">{name}</text>', *body, "</g>"]
    parts += [f'<g transform="translate({LEFT},{height - GAP - 10})">', *_axis(total), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _rate(schedule: Schedule, total: int) -> Iterator[str]:
    samples = sorted({schedule.boundary(total * i // POINTS) for i in range(POINTS)})
    steps = [step for step in map(schedule.at, samples) if step is not None]
    top = max(step.learning_rate for step in steps) or 1.0
    yield from _levels(top, lambda value: f"{value:.3g}")
    points = [(step.first_sample * schedule.sequence, step.learning_rate) for step in steps]
    points.append((total, schedule.learning_rate(schedule.total_tokens)))
    path = " ".join(f"{WIDTH * t / total:.2f},{HEIGHT * (1 - rate / top):.2f}" for t, rate in points)
    yield f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'


def _batch(schedule: Schedule, total: int) -> Iterator[str]:
    spans = list(_spans(schedule, lambda phase, sequences: sequences))
    top = max(sequences for _, _, sequences in spans)
    yield from _levels(top, lambda value: f"{value:,.0f}")
    path = ""
    for start, end, sequences in spans:
        path += f"L{WIDTH * start / total:.2f} {HEIGHT * (1 - sequences / top):.2f}H{WIDTH * end / total:.2f}"
    yield f'<path d="M{path[1:]}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'


def _blend(config: Config, schedule: Schedule, total: int) -> Iterator[str]:
    folders = list(dict.fromkeys(source.shards for phase in config.phases for source in phase.sources()))
    names = {s.shards: n for p in config.phases for s, n in zip(p.sources(), source_names(p), strict=True)}
    for start, end, index in _spans(schedule, lambda phase, sequences: phase):
        weights = {source.shards: source.weight for source in config.phases[index].sources()}
        x, width, below = WIDTH * start / total, WIDTH * (end - start) / total, 0.0
        for i, folder in enumerate(folders):
            share = weights.get(folder, 0.0) / sum(weights.values())
            y = HEIGHT * (1 - below - share)
            below += share
            yield (
                f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{HEIGHT * share:.2f}" '
                f'fill="{_COLOURS[i % len(_COLOURS)]}" fill-opacity="0.75"/>'
            )
    yield from _levels(1.0, lambda value: f"{100 * value:.0f} %")
    for i, folder in enumerate(folders[: HEIGHT // 15]):
        yield f'<rect x="{WIDTH + 10}" y="{15 * i}" width="10" height="10" fill="{_COLOURS[i % len(_COLOURS)]}"/>'
        yield f'<text x="{WIDTH + 25}" y="{15 * i + 9}">{escape(names[folder])}</text>'


def _spans(schedule: Schedule, value: Callable[[int, int], int]) -> Iterator[tuple[int, int, int]]:
    """(first token, last token, value of phase and sequences) of the stretches as the steps take them."""
    for stretch in schedule.stretches:
        start, end = (schedule.boundary(tokens) * schedule.sequence for tokens in (stretch.start, stretch.end))
        if end > start:
            yield start, end, value(stretch.phase, stretch.sequences)


def _levels(top: float, label: Callable[[float], str]) -> Iterator[str]:
    for part in (0.0, 0.5, 1.0):
        y = HEIGHT * (1 - part)
        yield f'<path d="M0 {y:.1f}H{WIDTH}" stroke="{_GRID}"/>'
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{label(top * part)}</text>'


def _axis(total: int) -> Iterator[str]:
    unit, name = next(((10**p, n) for p, n in ((12, " T"), (9, " B"), (6, " M"), (3, " k")) if total >= 10**p), (1, ""))
    for i in range(5):
        tokens = total * i / 4 / unit
        yield f'<text x="{WIDTH * i / 4:.1f}" y="16" text-anchor="middle">{tokens:.3g}{name}</text>'
    yield f'<text x="{WIDTH + 25}" y="16">tokens</text>'
