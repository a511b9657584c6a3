"""The report's pictures, drawn as SVG text: funnel, bars against targets, histogram, curves, the mill's mark.

Each picture is drawn for a given width in CSS pixels, once for a laptop and once for a phone, so type keeps its size;
`pair` puts both on the page and the style sheet shows one. Colours come from classes. No picture knows of runs or
files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gristmill.pipeline.views.report.figures import count, esc, size

WIDE, NARROW = 980, 350
CHARACTER = 7.2
"""Width of a digit at the size of axes, in pixels, roughly."""


def pair(draw: Callable[[int], str], wide: int = WIDE) -> str:
    return f'<div class="wide">{draw(wide)}</div><div class="narrow">{draw(NARROW)}</div>'


def svg(width: float, height: float, body: str, label: str, extra: str = "") -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{esc(label)}" {extra}>{body}</svg>'
    )


def text(x: float, y: float, value: str, kind: str = "", anchor: str = "start") -> str:
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.4g}" y="{y:.4g}" class="{kind}"{place}>{esc(value)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.6g}" y="{y:.4g}" width="{max(0, width):.6g}" height="{height:.4g}" class="{kind}"/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.5g}" y1="{y1:.5g}" x2="{x2:.5g}" y2="{y2:.5g}" class="{kind}"/>'


def bar(share: float, kind: str = "kept", tick: float | None = None) -> str:
    """A bar for a table's cell; share and tick from 0 to 1."""
    at = f'<rect x="{100 * tick:.2f}" width="0.6" height="10" class="target"/>' if tick is not None else ""
    body = f'<rect width="{100 * min(1, share):.2f}" y="1" height="8" class="{kind}"/>{at}'
    return f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{body}</svg>'


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers within [low, high], 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


# -- the funnel --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sieve:
    """One stage of the funnel. raw, raw_kept: bytes taken in, or kept, are of raw pages and drawn as an outline."""

    name: str
    what: str
    documents_in: int
    documents: int
    bytes_in: int
    bytes: int
    lost: str
    why: str
    raw: bool = False
    raw_kept: bool = False


def funnel(sieves: Sequence[Sieve], width: int) -> str:
    """Documents to the left of the axis, bytes to the right; dark what a stage kept, light what it lost."""
    wide = width > 600
    middle, reach = (440, 176) if wide else (width / 2, width / 2 - 1)
    top, row, tall = (30, 46, 28) if wide else (20, 72, 20)
    most = max(1, *(s.documents_in for s in sieves))
    heaviest = max(1, *(s.bytes_in for s in sieves if not s.raw), *(s.bytes for s in sieves if not s.raw_kept))
    body = ""
    if wide:
        body += text(middle - 6, 14, "documents", "axis", "end") + text(middle + 6, 14, "bytes", "axis")
        body += text(middle - reach - 10, 14, "kept", "axis", "end") + text(middle + reach + 10, 14, "kept", "axis")
        body += text(716, 14, "lost", "axis")
    for i, s in enumerate(sieves):
        y = top + i * row
        bars_y = y if wide else y + 20
        left, left_in = reach * s.documents / most, reach * s.documents_in / most
        right, right_in = reach * s.bytes / heaviest, reach * min(1, s.bytes_in / heaviest)
        body += rect(middle - 1 - left, bars_y, left, tall, "kept")
        body += rect(middle - 1 - left_in, bars_y, left_in - left, tall, "lost")
        if s.raw:
            body += rect(middle + 1.5, bars_y + 0.5, reach - 1, tall - 1, "raw")
        else:
            body += rect(middle + 1 + right, bars_y, right_in - right, tall, "lost")
        if not s.raw_kept:
            body += rect(middle + 1, bars_y, right, tall, "kept")
        if wide and i + 1 < len(sieves):
            body += rect(middle - 1 - left, bars_y + tall, left, row - tall, "band")
            body += rect(middle + 1, bars_y + tall, right, row - tall, "band") if not s.raw_kept else ""
        weight = size(s.bytes)
        if wide:
            body += text(0, y + 12, s.name, "strong") + text(0, y + 27, s.what, "soft")
            body += text(middle - reach - 10, y + 19, count(s.documents), "figure", "end")
            body += text(middle + reach + 10, y + 19, weight, "figure")
            body += text(716, y + 12, s.lost, "loss") + text(716, y + 27, s.why, "soft")
        else:
            body += text(0, y + 13, s.name, "strong") + text(width, y + 13, s.lost, "loss", "end")
            body += text(0, bars_y + tall + 14, f"{count(s.documents)} documents", "soft")
            body += text(width, bars_y + tall + 14, weight, "soft", "end")
    label = "Funnel: " + "; ".join(f"{s.name} kept {count(s.documents)} documents, {size(s.bytes)}" for s in sieves)
    return svg(width, top + len(sieves) * row - (row - tall - 4 if wide else 12), body, label)


# -- bars against a target ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    name: str
    value: float  # 0 to 1
    target: float
    note: str
    brief: str  # for a phone


def shares(rows: Sequence[Share], width: int) -> str:
    """Horizontal bars in per cent, each with a mark at its target."""
    wide = width > 600
    left, right = (130, 330) if wide else (0, 0)
    row, top, tall = (40, 6, 22) if wide else (58, 22, 20)
    high = max(0.1, *(max(r.value, r.target) for r in rows))
    scale = (width - left - right - 2) / high
    bottom = top + row * len(rows) - (row - tall) + 8
    body = ""
    for at in ticks(0, high, 7 if wide else 4):
        body += line(left + at * scale, 0, left + at * scale, bottom, "grid")
        anchor = "start" if at == 0 and not wide else "end" if at * scale > width - 30 else "middle"
        body += text(left + at * scale, bottom + 15, f"{100 * at:g} %", "axis", anchor)
    for i, r in enumerate(rows):
        y = top + i * row
        body += rect(left, y, r.value * scale, tall, "kept")
        body += line(left + r.target * scale, y - 5, left + r.target * scale, y + tall + 5, "target")
        if wide:
            body += text(0, y + 16, r.name, "strong")
            body += text(width - right + 16, y + 16, r.note, "figure")
        else:
            body += text(0, y - 6, r.name, "strong") + text(width, y - 6, r.brief, "soft", "end")
    name = "share of the blend's tokens; the mark is the target"
    body += text(left, bottom + 33, name, "axis")
    return svg(width, bottom + 40, body, "; ".join(f"{r.name}: {r.note}" for r in rows))


# -- sizes of clusters -------------------------------------------------------------------------------------------------


def histogram(bins: Sequence[tuple[str, int]], width: int, x_title: str, y_title: str) -> str:
    """Columns on a logarithmic scale of counts, each with its number; an empty bin has none.

    Where there is no room for all numbers there are none, and of the names every second, third and so on.
    """
    left, top, bottom, height = 46, 34, 40, 220
    base, high = 0.7, max(2, *(n for _, n in bins)) * 1.3
    tall = height - top - bottom

    def y(value: float) -> float:
        return top + tall * (1 - math.log(value / base) / math.log(high / base))

    body = text(0, 13, y_title, "axis")
    for power in range(math.floor(math.log10(high)) + 1):
        at = y(10**power)
        body += line(left, at, width, at, "grid") + text(left - 8, at + 4, count(10**power), "axis", "end")
    step = (width - left) / max(len(bins), 6)
    room = step / CHARACTER - 1
    every = math.ceil(max((len(name) for name, _ in bins), default=1) / max(1.0, room))
    numbered = max((len(count(n)) for _, n in bins), default=1) <= room + 1
    for i, (name, n) in enumerate(bins):
        x = left + step * (i + 0.5)
        if n:
            body += rect(x - min(step * 0.36, 22), y(n), 2 * min(step * 0.36, 22), y(base) - y(n), "kept")
            body += text(x, y(n) - 5, count(n), "figure", "middle") if numbered else ""
        if i % every == 0:
            body += text(x, height - bottom + 17, name, "axis", "middle")
    body += line(left, y(base), width, y(base), "base") + text(left, height - 4, x_title, "axis")
    return svg(width, height, body, f"{y_title} by {x_title}: " + ", ".join(f"{name}: {n}" for name, n in bins))


# -- curves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One curve over the common x axis. band: (least, greatest) of the steps behind each point."""

    title: str
    values: Sequence[float]
    height: int
    write: Callable[[float], str]
    band: Sequence[tuple[float, float]] | None = None
    reference: tuple[float, str] | None = None
    zero: bool = False
    kind: str = "curve"


def curves(x: Sequence[float], panels: Sequence[Panel], width: int, x_title: str, write: Callable[[float], str]) -> str:
    """Panels one below the other; the last value is written at the end of its curve."""
    left, right = (56, 66) if width > 600 else (44, 46)
    span = max(x[-1], 1)
    across = width - left - right
    px = [left + across * value / span for value in x]
    body, y0 = "", 0.0
    marks = ticks(0, span, 6 if width > 600 else 3)
    for panel in panels:
        top, tall = y0 + 26, panel.height - 40
        body += text(0, y0 + 13, panel.title, "axis") + _panel(panel, px, top, tall, left, across)
        for at in marks:
            body += line(left + across * at / span, top, left + across * at / span, top + tall, "grid")
        y0 += panel.height
    for at in marks:
        body += text(left + across * at / span, y0 + 4, write(at), "axis", "middle")
    body += text(left, y0 + 22, x_title, "axis")
    body += f'<line class="cursor" x1="0" x2="0" y1="20" y2="{y0 - 10:g}" hidden=""/>'
    label = f"{', '.join(panel.title for panel in panels)} over {x_title}"
    return svg(width, y0 + 28, body, label, f'data-left="{left}" data-across="{across}" data-span="{span:g}"')


def _panel(panel: Panel, px: Sequence[float], top: float, tall: float, left: float, across: float) -> str:
    finite = [v for v in panel.values if math.isfinite(v)]
    if not finite:
        return ""
    reference = [panel.reference[0]] if panel.reference else []
    lows, highs = zip(*(panel.band or [(v, v) for v in finite]), strict=True)
    low = 0.0 if panel.zero else min([*lows, *reference])
    high = max([*highs, *reference])
    high, low = (high, low) if high > low else (high + 1, low - (0 if panel.zero else 1))
    room = 0.04 * (high - low)
    high, low = high + room, low if panel.zero else low - room

    def y(value: float) -> float:
        return top + tall * (high - value) / (high - low)

    body = ""
    for at in ticks(low, high, 5 if tall > 150 else 2):
        body += line(left, y(at), left + across, y(at), "grid") + text(
            left - 8, y(at) + 4, panel.write(at), "axis", "end"
        )
    if panel.band and len(px) > 2:
        upper = " ".join(f"{a:.1f},{y(v):.1f}" for a, (_, v) in zip(px, panel.band, strict=True))
        lower = " ".join(f"{a:.1f},{y(v):.1f}" for a, (v, _) in reversed(list(zip(px, panel.band, strict=True))))
        body += f'<polygon points="{upper} {lower}" class="range"/>'
    points = " ".join(f"{a:.1f},{y(v):.1f}" for a, v in zip(px, panel.values, strict=True) if math.isfinite(v))
    body += f'<polyline points="{points}" class="{panel.kind}"/>'
    if panel.reference:
        value, name = panel.reference
        body += line(left, y(value), left + across, y(value), "reference")
        body += text(left + 4, y(value) + 15, name, "refname")
    return body + text(px[-1] + 6, y(finite[-1]) + 4, panel.write(finite[-1]), "figure")


# -- the mark ----------------------------------------------------------------------------------------------------------


def millstone(side: int = 76) -> str:
    """A millstone's dress: ten harps of four furrows, each parallel to its harp's master furrow."""
    harps, furrows, outer, eye = 10, 4, 46.0, 11.0
    lines = ""
    for harp in range(harps):
        start = 2 * math.pi * harp / harps
        for k in range(furrows):
            angle = start + 2 * math.pi / harps * k / furrows
            x, y = outer * math.cos(angle), outer * math.sin(angle)
            # along the master furrow, a tangent to the eye, as far as the next harp's master
            direction = start + math.pi + math.asin(0.62 * eye / outer)
            length = (outer - eye) * (1 - k / furrows) * 0.97
            lines += f"M{x:.2f} {y:.2f}l{length * math.cos(direction):.2f} {length * math.sin(direction):.2f}"
    return (
        f'<svg class="mark" viewBox="-50 -50 100 100" width="{side}" height="{side}" aria-hidden="true">'
        f'<circle r="48"/><path d="{lines}"/><circle r="{eye}" class="eye"/></svg>'
    )
