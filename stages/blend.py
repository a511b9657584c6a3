"""How many tokens of each source go into a blend. Pure arithmetic: exact integers, no documents, no files.

    domains   shares of the whole, normalised; none given: in proportion to the domains' tokens
    within    per domain, over the groups of one attribute of its units, by a method of `METHODS`:
              unimax     U_i = min(B / (L - i), epochs · n_i), smallest first, B -= U_i   (Chung et al. 2023, Alg. 1)
              alpha      share ∝ n_i^alpha
              weights    as given: categories, sources or languages
              one's own  `module:function`, a `Method`
    a group   in proportion to tokens over its units

A unit is one (domain, category, source, language) with its count of tokens, holdout already taken off. Its target
is met by `epochs_whole` copies of all its documents and, of the fractional epoch, the documents in hash order until
their prefix sum reaches `remainder`. No unit is taken more than max_epochs times. Sums are exact at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from gristmill.stages.own import own_function
from gristmill.stages.weights import alpha, fill, fraction, normalize

ATTRIBUTES = {"categories": "category", "sources": "source", "languages": "language"}
"""Keys of explicit weights, and the attribute of a unit that each is over."""

DEFAULT_OVER = {"code": "language", "multilingual": "language", "english": "category"}
"""What `unimax` and `alpha` are over where `over` is not given; other domains: source. Where a unit has no
category its source stands for it."""


@dataclass(frozen=True)
class Unit:
    """What is there: one combination of attributes, with its tokens and documents after curation."""

    domain: str
    category: str | None
    source: str
    language: str | None
    tokens: int
    documents: int


@dataclass(frozen=True)
class Blend:
    """One named blend, as configured.

    domains: share of each domain, summing to 1 or 100; empty: each domain with text in proportion to its tokens, so
    that everything is taken equally often. within: per domain one of {unimax: {epochs: e}},
    {alpha: a}, {categories | sources | languages: {name: weight}}, {"module:function": anything}, all but the given
    weights with `over: category | source | language` if wanted; a domain that is not named is taken in proportion to
    its tokens. tokens: 'max', the largest budget at which every domain keeps its share, or a number. max_epochs: no
    unit is repeated more often.
    on_shortage: 'error', or 'renormalize': take what there is, give its share to the others, and say so.
    """

    domains: Mapping[str, float] = field(default_factory=dict)
    within: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokens: int | Literal["max"] = "max"
    max_epochs: float = 4
    on_shortage: Literal["error", "renormalize"] = "error"


@dataclass(frozen=True)
class UnitPlan:
    """What is taken of a unit: `epochs_whole` times all, and `remainder` tokens more."""

    unit: Unit
    tokens: int
    epochs_whole: int
    remainder: int


@dataclass(frozen=True)
class BlendPlan:
    """Targets in tokens; units in the order they were given, those without a target included."""

    tokens: int
    tokens_by_domain: dict[str, int]
    units: tuple[UnitPlan, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Weighting:
    """What a method says of a domain's groups."""

    weights: Mapping[str, Fraction | float]
    """By group, 0 or more, on any scale. A group that is not named gets nothing, and a note says so."""
    epochs: Fraction | float | None = None
    """No unit is repeated more often, where that is less than the blend's `max_epochs`."""
    flattens: bool = False
    """True: a group that runs out leaves its part to the others. False: the weights hold, and the group that runs out
    first ends the domain."""


Method = Callable[[Mapping[str, int], Any, str], Weighting]
"""(tokens of each group, by name in their order; what the configuration says for the method; its key, for errors) ->
`Weighting`. ValueError in one sentence that begins with the key where the configuration is wrong. A method is called
with the counts of the curated corpus, on the driver, and must be a function of what it is given."""


def by_unimax(groups: Mapping[str, int], setting: Any, key: str) -> Weighting:
    """As flat as can be, with no unit repeated more than `epochs` times."""
    if not isinstance(setting, Mapping):
        raise ValueError(f"{key} is {setting!r}: write {{epochs: 1}}")
    return Weighting(dict.fromkeys(groups, Fraction(1)), _positive(setting.get("epochs", 1), f"{key}.epochs"), True)


def by_alpha(groups: Mapping[str, int], setting: Any, key: str) -> Weighting:
    """In proportion to a power of the tokens: above 1 sharpens, below 1 flattens."""
    return Weighting(dict(zip(groups, alpha(list(groups.values()), _number(setting, key)), strict=True)))


def by_weights(groups: Mapping[str, int], setting: Any, key: str) -> Weighting:
    """Weights as they are given, summing to 1 or 100; within 1 % they are normalised."""
    return Weighting(normalize(setting, key))


METHODS: Mapping[str, Method] = {
    "unimax": by_unimax,
    "alpha": by_alpha,
    **dict.fromkeys(ATTRIBUTES, by_weights),
}
"""Keys of `within.<domain>`."""


def plan(units: Sequence[Unit], blend: Blend, name: str = "blend") -> BlendPlan:
    """A target for every unit. `name` is the blend's, for errors and notes. Raises ValueError with one sentence."""
    shares = normalize(blend.domains, f"blends.{name}.domains") if blend.domains else _natural(units)
    max_epochs = _positive(blend.max_epochs, f"blends.{name}.max_epochs")
    if blend.on_shortage not in ("error", "renormalize"):
        raise ValueError(f"blends.{name}.on_shortage is {blend.on_shortage!r}: write error or renormalize")
    for domain in blend.within:
        if blend.domains and domain not in shares:
            raise ValueError(f"blends.{name}.within.{domain}: {domain} is not among the blend's domains")
    renormalize = blend.on_shortage == "renormalize"
    notes: list[str] = []
    parts: dict[str, _Domain] = {}
    for domain, share in shares.items():
        rows = [i for i, unit in enumerate(units) if unit.domain == domain and unit.tokens > 0]
        if share == 0:
            continue
        if not rows:
            sentence = f"blend {name}: there is no text of the domain {domain}"
            if not renormalize:
                raise ValueError(f"{sentence}; take it out of `domains`, add a source, or set on_shortage: renormalize")
            notes.append(f"{sentence}: its {float(share):.1%} goes to the others")
            continue
        method = dict(blend.within.get(domain, {}))
        parts[domain] = _Domain.of(domain, method, units, rows, max_epochs, renormalize, name, notes)
    for domain in sorted({unit.domain for unit in units if unit.tokens} - {d for d, share in shares.items() if share}):
        left_out = sum(unit.tokens for unit in units if unit.domain == domain)
        notes.append(f"blend {name}: the domain {domain} has no share, its {left_out:,} tokens are left out")
    if not parts:
        which = f"none of its domains ({', '.join(shares)}) has text" if shares else "there is no text"
        raise ValueError(f"blend {name}: {which}; add sources")
    given = [shares[domain] for domain in parts]
    weights = [share / sum(given) for share in given]
    everything = not blend.domains and not blend.within
    budgets = _domain_budgets(list(parts.values()), weights, blend.tokens, renormalize, everything, name, notes)
    targets = [0] * len(units)
    for part, budget in zip(parts.values(), budgets, strict=True):
        for row, target in part.spread(budget, units).items():
            targets[row] = target
    return BlendPlan(
        tokens=sum(targets),
        tokens_by_domain=dict(zip(parts, budgets, strict=True)),
        units=tuple(_unit_plan(unit, target) for unit, target in zip(units, targets, strict=True)),
        notes=tuple(notes),
    )


def _natural(units: Sequence[Unit]) -> dict[str, Fraction]:
    """Each domain's share of all tokens."""
    tokens: dict[str, int] = {}
    for unit in units:
        if unit.tokens > 0:
            tokens[unit.domain] = tokens.get(unit.domain, 0) + unit.tokens
    total = sum(tokens.values())
    return {domain: Fraction(tokens[domain], total) for domain in sorted(tokens)}


def plans(units: Sequence[Unit], blends: Mapping[str, Blend]) -> dict[str, BlendPlan]:
    """Every named blend over the same units."""
    return {name: plan(units, blend, name) for name, blend in blends.items()}


@dataclass(frozen=True)
class _Domain:
    """One domain's groups with their weights and caps, and how much of the domain keeps those weights."""

    domain: str
    groups: tuple[str, ...]
    weights: tuple[Fraction, ...]
    caps: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]  # units of each group
    unit_caps: dict[int, int]
    capacity: int  # the most tokens at which the method's weights hold
    binding: str  # the group that runs out first
    flattens: bool  # a full group leaves its part to the others

    @classmethod
    def of(
        cls,
        domain: str,
        method: Mapping[str, Any],
        units: Sequence[Unit],
        rows: Sequence[int],
        max_epochs: Fraction,
        renormalize: bool,
        name: str,
        notes: list[str],
    ) -> _Domain:
        """Reads `within.<domain>` of a blend."""
        key = f"blends.{name}.within.{domain}"
        kind, function, over = method_of(domain, method, key)
        by_group: dict[str, list[int]] = {}
        for i in rows:
            by_group.setdefault(_attribute(units[i], over), []).append(i)
        tokens = {group: sum(units[i].tokens for i in by_group[group]) for group in sorted(by_group)}
        key = f"{key}.{kind}"
        found = function(tokens, method.get(kind, 1), key)
        given = _checked(found, key)
        by_group = _weighted_groups(domain, key, over, given, by_group, units, renormalize, name, notes)
        groups = sorted(by_group)
        weights = [given[group] for group in groups]
        epochs = max_epochs if found.epochs is None else min(max_epochs, fraction(found.epochs))
        unit_caps = {i: int(epochs * units[i].tokens) for group in groups for i in by_group[group]}
        caps = [sum(unit_caps[i] for i in by_group[group]) for group in groups]
        total = sum(weights, Fraction(0))
        limits = [cap / (weight / total) for cap, weight in zip(caps, weights, strict=True)]
        capacity = sum(caps) if found.flattens else int(min(limits))
        return cls(
            domain=domain,
            groups=tuple(groups),
            weights=tuple(weight / total for weight in weights),
            caps=tuple(caps),
            rows=tuple(tuple(by_group[group]) for group in groups),
            unit_caps=unit_caps,
            capacity=capacity,
            binding=groups[limits.index(min(limits))],
            flattens=found.flattens,
        )

    def spread(self, budget: int, units: Sequence[Unit]) -> dict[int, int]:
        """Target of each unit's row."""
        targets: dict[int, int] = {}
        for rows, tokens in zip(self.rows, fill(budget, self.weights, self.caps), strict=True):
            inside = fill(tokens, [Fraction(units[i].tokens) for i in rows], [self.unit_caps[i] for i in rows])
            targets.update(zip(rows, inside, strict=True))
        return targets


def _weighted_groups(
    domain: str,
    key: str,
    over: str,
    explicit: Mapping[str, Fraction],
    by_group: Mapping[str, list[int]],
    units: Sequence[Unit],
    renormalize: bool,
    name: str,
    notes: list[str],
) -> dict[str, list[int]]:
    """The groups that have both text and a weight; what lacks one of them is an error or a note."""
    missing = [group for group, weight in explicit.items() if weight and group not in by_group]
    if missing:
        sentence = f"blend {name}: {domain} has no text of the {over} {', '.join(missing)}"
        if not renormalize:
            raise ValueError(f"{sentence}; take it out of {key} or set on_shortage: renormalize")
        notes.append(f"{sentence}: the others take its weight")
    unweighted = sorted(group for group in by_group if not explicit.get(group))
    if unweighted:
        tokens = sum(units[i].tokens for group in unweighted for i in by_group[group])
        notes.append(
            f"blend {name}: {domain} gives no weight to the {over} {', '.join(unweighted)}, "
            f"{tokens:,} tokens are left out"
        )
    weighted = {group: rows for group, rows in by_group.items() if explicit.get(group)}
    if not weighted:
        raise ValueError(f"blend {name}: {domain} has no text of any {over} that {key} names; name others")
    return weighted


def _domain_budgets(
    parts: list[_Domain],
    weights: list[Fraction],
    tokens: Any,
    renormalize: bool,
    everything: bool,
    name: str,
    notes: list[str],
) -> list[int]:
    """Tokens of each domain; their sum is the blend's size. everything: at most, all units run out together."""
    limits = [Fraction(part.capacity) / weight for part, weight in zip(parts, weights, strict=True)]
    most = int(min(limits))
    first = parts[limits.index(min(limits))]
    if tokens == "max":
        why = "all that max_epochs allows" if everything else f"as {_runs_out(first)} first"
        notes.append(f"blend {name}: {most:,} tokens, {why}")
        return fill(most, weights, [part.capacity for part in parts])
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens <= 0:
        raise ValueError(f"blends.{name}.tokens is {tokens!r}: write max or a whole number above 0")
    if tokens <= most:
        return fill(tokens, weights, [part.capacity for part in parts])
    if not renormalize:
        raise ValueError(
            f"blend {name}: {tokens:,} tokens are more than the {most:,} there are, as {_runs_out(first)}; lower "
            f"tokens, raise max_epochs, or set on_shortage: renormalize"
        )
    caps = [sum(part.caps) for part in parts]
    budget = min(tokens, sum(caps))
    if not budget:
        raise ValueError(f"blend {name}: its domains have no tokens under max_epochs; raise it or add sources")
    budgets = fill(budget, weights, caps)
    for part, weight, taken in zip(parts, weights, budgets, strict=True):
        if taken > part.capacity and not part.flattens:
            notes.append(f"blend {name}: {_runs_out(part)}: the rest of the domain takes what it cannot give")
        if taken < int(tokens * weight):
            notes.append(
                f"blend {name}: {part.domain} has {taken:,} tokens of the {int(tokens * weight):,} wanted, "
                f"{taken / budget:.1%} of the blend instead of {float(weight):.1%}"
            )
    if budget < tokens:
        notes.append(f"blend {name}: {budget:,} tokens are all there are, {tokens:,} were wanted")
    return budgets


def _runs_out(part: _Domain) -> str:
    if part.flattens or len(part.groups) == 1:
        return f"{part.domain} runs out"
    return f"{part.binding} of {part.domain} runs out"


def method_of(domain: str, method: Mapping[str, Any], key: str) -> tuple[str, Method, str]:
    """Of `within.<domain>`: the method's name, its function, and the attribute whose groups it is over.

    A domain without a method is taken in proportion to its tokens, as alpha 1 does. ValueError in one sentence.
    """
    kinds = [kind for kind in method if kind != "over"]
    if any(kind not in METHODS and ":" not in kind for kind in kinds) or len(kinds) > 1:
        raise ValueError(
            f"{key} has the keys {', '.join(kinds)}: write one of {', '.join(sorted(METHODS))}, or module:function for "
            "a method of your own"
        )
    kind = kinds[0] if kinds else "alpha"
    try:
        function: Method = METHODS[kind] if kind in METHODS else own_function(kind)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    if kind in ATTRIBUTES:
        if "over" in method:
            raise ValueError(f"{key}.over has no meaning beside {kind}: take one of them out")
        return kind, function, ATTRIBUTES[kind]
    over = method.get("over", DEFAULT_OVER.get(domain, "source"))
    if over not in ATTRIBUTES.values():
        raise ValueError(f"{key}.over is {over!r}: write category, source or language")
    return kind, function, over


def _checked(found: Any, key: str) -> dict[str, Fraction]:
    """The weights that a method gave, exact."""
    if not isinstance(found, Weighting):
        raise ValueError(f"{key} returned {type(found).__name__}: return a Weighting of stages.blend")
    weights: dict[str, Fraction] = {}
    for group, weight in found.weights.items():
        try:
            weights[group] = fraction(weight)
        except ValueError:
            weights[group] = Fraction(-1)
        if weights[group] < 0:
            raise ValueError(f"{key} gave {group} the weight {weight!r}: weights are numbers, 0 or more")
    return weights


def _attribute(unit: Unit, over: str) -> str:
    return getattr(unit, over) or unit.source


def _unit_plan(unit: Unit, target: int) -> UnitPlan:
    whole, remainder = divmod(target, unit.tokens) if unit.tokens else (0, 0)
    return UnitPlan(unit, target, whole, remainder)


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r}: write a number")
    return value


def _positive(value: Any, key: str) -> Fraction:
    if _number(value, key) <= 0:
        raise ValueError(f"{key} is {value!r}: write a number above 0")
    return fraction(value)
