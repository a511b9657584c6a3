"""The section with each signal's distribution and limits: a card a signal, drawn by `signals.js` for a chosen group.

The counts travel as compact JSON in an attribute; without a script a card still says its limits and what they cut off
of all documents. Groups are all documents, each domain, and a domain's languages with the most documents.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from gristmill.pipeline.views.report.axes import Axis
from gristmill.pipeline.views.report.charts import ticks
from gristmill.pipeline.views.report.distributions import LANGUAGES, Distribution, Distributions, Limit, Pair
from gristmill.pipeline.views.report.elements import Section
from gristmill.pipeline.views.report.figures import LANGUAGES as NAMES
from gristmill.pipeline.views.report.figures import NB, breakable, count, esc, limits, share

FIRST = 12
"""Cards before the fold."""
DOMAINS = ("english", "multilingual", "code")


@dataclass(frozen=True)
class Group:
    """Documents that are drawn together; `language` empty: the whole domain, both empty: all."""

    domain: str
    language: str
    documents: int
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        if not self.domain:
            return "all documents"
        if not self.language:
            return self.domain
        return (NAMES.get(self.language) if self.domain != "code" else None) or self.language


class GroupFigures(TypedDict):
    """A group for `signals.js`."""

    name: str
    domain: str
    documents: int


class LimitFigures(TypedDict):
    """Where a limit is drawn, from 0 to 1, and for each group how many documents are asked, below and above."""

    min: float | None
    max: float | None
    of: list[tuple[int, int, int]]


class SignalFigures(TypedDict):
    """A signal for `signals.js`; counts and lost have an entry a group."""

    name: str
    edges: list[float]
    at: list[float]
    ticks: list[tuple[float, str]]
    limits: list[LimitFigures]
    counts: list[list[int]]
    lost: list[dict[int, int]]


def signals_section(found: Distributions | None) -> Section | None:
    if found is None or not found.signals:
        return None
    groups = groups_of(found)
    limited = sorted((each for each in found.signals if each.limits), key=lambda each: -_cut_off(each, groups[0]))
    free = [each for each in found.signals if not each.limits]
    ordered = [*limited, *free]
    payload = json.dumps(
        {"groups": [_group(group) for group in groups], "signals": [_signal(each, groups) for each in ordered]},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    cards = [card(each, i, groups[0]) for i, each in enumerate(ordered)]
    shown = FIRST if len(limited) > FIRST + 2 else len(limited)
    body = f'{controls(groups)}<div class="signals" data-signals="{esc(payload)}">{_grid(cards[:shown])}'
    body += _fold(cards[shown : len(limited)], "signal with limits", "signals with limits")
    body += _fold(cards[len(limited) :], "signal without a limit", "signals without a limit") + "</div>"
    lede = (
        "How each measured property is distributed, before any rule, and what its limits cut off. Ochre is what "
        "they cut off, a broken column is taller than drawn. Shares are of the documents that a limit applies to."
    )
    if found.every > 1:
        lede += f" Counted on one of {found.every} files of <code>signals/</code>."
    return Section("signals", "Signals", lede, body)


def groups_of(found: Distributions) -> list[Group]:
    domains = sorted({domain for domain, _ in found.documents}, key=_domain_order)
    groups = [_together("", "", found, list(found.documents))]
    for domain in domains:
        pairs = [pair for pair in found.documents if pair[0] == domain]
        if domain:
            groups.append(_together(domain, "", found, pairs))
        named = sorted((pair for pair in pairs if pair[1]), key=lambda pair: (-found.documents[pair], pair))
        if domain and len(named) > 1:
            groups += [_together(*pair, found, [pair]) for pair in named[:LANGUAGES]]
    return groups


def controls(groups: Sequence[Group]) -> str:
    """Buttons for the domains, a list for the languages; both hidden until the script is there."""
    buttons, lists = "", ""
    for i, group in enumerate(groups):
        if not group.language:
            pressed = "true" if i == 0 else "false"
            buttons += f'<button data-group="{i}" aria-pressed="{pressed}">{esc(group.name)}</button>'
    for domain in dict.fromkeys(group.domain for group in groups if group.language):
        options = "".join(
            f'<option value="{i}">{esc(group.name)} ({count(group.documents)})</option>'
            for i, group in enumerate(groups)
            if group.language and group.domain == domain
        )
        lists += f'<optgroup label="{esc(domain)}">{options}</optgroup>'
    select = f'<select aria-label="Language"><option value="">one language …</option>{lists}</select>' if lists else ""
    return f'<div class="controls choice" hidden>{buttons}{select}<output></output></div>'


def card(each: Distribution, number: int, everything: Group) -> str:
    unit, definition = _meaning(each.signal)
    lines = "".join(_limit_line(limit, i, everything) for i, limit in enumerate(each.limits))
    return (
        f'<figure class="signal" data-signal="{number}"><figcaption title="{esc(definition)}">'
        f"<b>{breakable(each.signal)}</b><span>{esc(unit)}</span></figcaption>"
        f'<div class="plot"></div>{lines}</figure>'
    )


def _limit_line(limit: Limit, number: int, group: Group) -> str:
    rules = ", ".join(dict.fromkeys(rule.partition(".")[0] for rule in limit.rules))
    title = f"{', '.join(limit.rules)}; {limit.source}"
    return (
        f'<p class="cut" data-limit="{number}" title="{esc(title)}"><b>{limits(limit.minimum, limit.maximum)}</b> '
        f'<span class="out">{_outside(limit, group)}</span><small>{esc(rules)}{_scope(limit)}</small></p>'
    )


def _outside(limit: Limit, group: Group) -> str:
    asked, below, above = limit.outside(group.pairs)
    parts = [f"{share(below, asked)} below"] if limit.minimum is not None else []
    parts += [f"{share(above, asked)} above"] if limit.maximum is not None else []
    return ", ".join(part.replace(" ", NB) for part in parts)


def _scope(limit: Limit) -> str:
    """Said where it is not simply all natural languages."""
    names = [f"language {code}" for code in limit.languages]
    presets = {rule.partition(".")[0] for rule in limit.rules}
    if not names and set(limit.domains) != {"english", "multilingual"}:
        names = [domain for domain in limit.domains if domain not in presets]  # `code` says it already
    return f" · {esc(', '.join(names))}" if names else ""


def _signal(each: Distribution, groups: Sequence[Group]) -> SignalFigures:
    axis = each.axis
    return {
        "name": each.signal,
        "edges": [float(f"{edge:.6g}") for edge in axis.edges],
        "at": [round(axis.place(float(edge)), 4) for edge in axis.edges],
        "ticks": [(round(axis.place(value), 4), brief(value)) for value in apart(axis, axis_ticks(axis))],
        "limits": [
            {
                "min": None if limit.minimum is None else round(axis.line(limit.minimum, False), 4),
                "max": None if limit.maximum is None else round(axis.line(limit.maximum, True), 4),
                "of": [limit.outside(group.pairs) for group in groups],
            }
            for limit in each.limits
        ],
        "counts": [np.sum([each.counts[pair] for pair in group.pairs], axis=0).tolist() for group in groups],
        "lost": [_sparse(np.sum([each.lost[pair] for pair in group.pairs], axis=0)) for group in groups],
    }


def _sparse(counts: np.ndarray) -> dict[int, int]:
    """Bin -> count, where there is one."""
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}


def _group(group: Group) -> GroupFigures:
    return {"name": group.name, "domain": group.domain, "documents": group.documents}


def axis_ticks(axis: Axis) -> list[float]:
    low, high = float(axis.edges[0]), float(axis.edges[-1])
    if not axis.log:
        return ticks(low, high, 4)
    first, last = math.ceil(math.log10(max(low, 1))), math.floor(math.log10(high) + 1e-9)
    step = -(-(last - first + 1) // 5)
    return [*([0.0] if low == 0 else []), *(10.0**power for power in range(first, last + 1, step))]


def apart(axis: Axis, values: Sequence[float]) -> list[float]:
    """Without those too near the one before to be written beside it."""
    kept: list[float] = []
    for value in values:
        if not kept or axis.place(value) - axis.place(kept[-1]) >= 0.1:
            kept.append(value)
    return kept


def brief(value: float) -> str:
    """1k, 10M; numbers below a thousand as they are."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}".replace("-", "−")


def _meaning(signal: str) -> tuple[str, str]:
    """(unit, definition) of a signal of ours; nothing of one that a user added."""
    from gristmill.stages.measured import MEASURED

    known = MEASURED.get(signal)
    return (known.unit, known.definition) if known else ("", "")


def _together(domain: str, language: str, found: Distributions, pairs: list[Pair]) -> Group:
    return Group(domain, language, sum(found.documents[pair] for pair in pairs), tuple(pairs))


def _cut_off(each: Distribution, everything: Group) -> float:
    """The largest share of its documents that one of the signal's limits cuts off."""
    figures = [limit.outside(everything.pairs) for limit in each.limits]
    return max((below + above) / max(1, asked) for asked, below, above in figures)


def _domain_order(domain: str) -> tuple[int, str]:
    return (DOMAINS.index(domain) if domain in DOMAINS else len(DOMAINS), domain)


def _grid(cards: Sequence[str]) -> str:
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _fold(cards: Sequence[str], one: str, many: str) -> str:
    if not cards:
        return ""
    title = f"{count(len(cards))}{NB}more {one if len(cards) == 1 else many}"
    return f'<details class="more"><summary>{title}</summary>{_grid(cards)}</details>'
