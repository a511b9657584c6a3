"""Conditions such as `gopher_quality.mean_word_length <= 8`, and the rules as they would be under them.

    RULE <= N     RULE >= N     3 <= RULE <= 10     RULE < N     RULE > N     RULE off     drop when EXPRESSION

A condition says what is kept, but for the last, which says what is dropped in the language of `stages.expression`.
RULE is a rule's name or a signal, which means every rule that limits it; a limit that is not named stays. A rule with
`drop_when` has no limits and can only be taken off. Limits include their ends, so `< N` becomes the largest value
below N: a whole number for a count, else the neighbouring float64. What no rule limits becomes a new rule
`whatif.<signal>`. The result is `stages.rules.Rules` as a configuration would make it, and the --set that makes it. No
document is looked at here.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from gristmill.stages.expression import parse as parse_expression
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.rule import Rule
from gristmill.stages.presets.table import PRESETS
from gristmill.stages.rules import Rules
from gristmill.storage.json_values import Json

PREFIX = "whatif"
"""Of rules that the configuration does not have."""

FORMS = (
    'write "RULE <= 8", "RULE >= 3", "3 <= RULE <= 10", "RULE off" or "drop when words < 9 and lines > 2", in quotes'
)
Limits = Mapping[str, Mapping[str, int | float | None]]
"""As `stages.rules.Rules.set`: a rule or signal -> its limits by `min` and `max`; None takes a limit away."""
SIDES = {"min": "minimum", "max": "maximum"}

_NUMBER = r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_LEFT = rf"(?:(?P<lower>{_NUMBER})\s*(?P<left><=|>=|≤|≥|<|>)\s*)"
_RIGHT = rf"(?:\s*(?P<right><=|>=|≤|≥|<|>)\s*(?P<upper>{_NUMBER}))"
_CONDITION = re.compile(rf"{_LEFT}?(?P<name>[A-Za-z_][\w.-]*){_RIGHT}?")
_DROP = re.compile(r"drop when\b(?P<expression>.+)", re.IGNORECASE | re.DOTALL)
_OFF = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)\s+off", re.IGNORECASE)


@dataclass(frozen=True)
class Bound:
    value: int | float
    strict: bool
    """The value itself is out."""

    def limit(self, side: str, whole: bool) -> int | float:
        """The limit, itself kept, that keeps the same documents. `whole`: the signal is a count."""
        up = side == "min"
        if whole:
            nearest = math.ceil(self.value) if up else math.floor(self.value)
            return nearest + (1 if up else -1) if self.strict and nearest == self.value else nearest
        return math.nextafter(self.value, math.inf if up else -math.inf) if self.strict else self.value


@dataclass(frozen=True)
class Condition:
    text: str
    name: str
    """Of a rule or of a signal."""
    bounds: Mapping[str, Bound]
    """By `min` and `max`; empty: the rule is taken off."""
    expression: str = ""
    """What a new rule drops; then there is no name."""


@dataclass(frozen=True)
class Change:
    rules: Rules
    lines: tuple[str, ...]
    """What the conditions stand for, a limit or two a line."""
    notes: tuple[str, ...]
    """What may be meant otherwise."""
    assignments: tuple[str, ...]
    """What --set takes to make the configuration so."""


def parse(text: str) -> Condition:
    """ValueError in one sentence where `text` is no condition."""
    if found := _DROP.fullmatch(text.strip()):
        return Condition(text, "", {}, parse_expression(" ".join(found["expression"].split())).text)
    if found := _OFF.fullmatch(text.strip()):
        return Condition(text, found["name"], {})
    found = _CONDITION.fullmatch(text.strip())
    sides = [("lower", "left", ">"), ("upper", "right", "<")]
    given = [(found[number], found[sign], less) for number, sign, less in sides if found[number]] if found else []
    bounds: dict[str, Bound] = {}
    for number, sign, less in given:
        # `3 <= x` and `x >= 3` are minima, `x <= 3` and `3 >= x` maxima
        at_most = (sign[0] in "<≤") == (less == "<")
        bounds["max" if at_most else "min"] = Bound(_number(number), sign in "<>")
    if found is None or not given or len(bounds) < len(given):
        raise ValueError(f"{text!r} is no condition: {FORMS}")
    return Condition(text, found["name"], bounds)


def change(rules: Rules, conditions: Sequence[Condition], own: Mapping[str, tuple[str, bool]]) -> Change:
    """The rules under all conditions, taken in order.

    own: column -> (`module:function`, whether its values are whole numbers) of the signals that the configuration
    adds. ValueError for an unknown name, with the nearest one, and for a minimum above the maximum.
    """
    rows = {rule.name: rule for rule in rules.rules()}
    of_presets = {rule.name for preset in rules.presets for rule in PRESETS[preset]}
    limits_by_key = {key: dict(limits) for key, limits in rules.set.items()}
    assigned: dict[str, str] = {}
    touched: dict[tuple[str, str], None] = {}
    for condition in conditions:
        if condition.expression:
            rule = _dropping(condition, rows, own)
            rows[rule.name] = rule
            touched[rule.name, "max"] = None
            continue
        matched = [rule for rule in rows.values() if condition.name in _names(rule)] or [_new(condition, rows, own)]
        if matched[0].expression:
            _only_off(condition, matched[0])
            rows[condition.name] = replace(matched[0], expression="")
            touched[condition.name, "max"] = None
            continue
        signal = matched[0].signal
        whole = pa.types.is_integer(MEASURED[signal].dtype) if signal in MEASURED else own.get(signal, ("", False))[1]
        limits: dict[str, int | float | None] = {
            side: bound.limit(side, whole) for side, bound in condition.bounds.items()
        }
        limits = limits or dict.fromkeys(SIDES)
        for rule in matched:
            low, high = limits.get("min", rule.minimum), limits.get("max", rule.maximum)
            rows[rule.name] = replace(rule, minimum=low, maximum=high)
            touched |= {(rule.name, side): None for side in limits}
        if any(rule.name in of_presets for rule in matched):
            limits_by_key.setdefault(condition.name, {}).update(limits)
            key = json.dumps(condition.name) if "." in condition.name else condition.name
            assigned |= {f"stages.rules.set.{key}.{side}": json.dumps(value) for side, value in limits.items()}
    limited = {name: rule for name, rule in rows.items() if name in of_presets or _says_something(rule)}
    given = {str(row["rule"]): row for row in rules.add}
    add = [_row(given.get(name, {}), rule, own) for name, rule in limited.items() if name not in of_presets]
    wanted = {name: _limits(rule) for name, rule in limited.items()}
    after = _rules(rules.presets, limits_by_key, add)
    if {rule.name: _limits(rule) for rule in after.rules()} != wanted:
        # a key of `set` that stands later decides: what changed goes to the end, rule by rule
        for name in dict.fromkeys(name for name, _ in touched if name in of_presets):
            limits_by_key.pop(name, None)
            limits_by_key[name] = dict(zip(SIDES, wanted[name]))
        after = _rules(rules.presets, limits_by_key, add)
        assigned = {"stages.rules.set": _flow(limits_by_key)}
    if add != [dict(row) for row in rules.add]:
        assigned["stages.rules.add"] = _flow(add)
    before = {rule.name: rule for rule in rules.rules()}
    return Change(
        after,
        tuple(_lines(before, rows, touched)),
        tuple(_notes(before, rows, touched)),
        tuple(f"{key}={value}" for key, value in assigned.items()),
    )


def limit_text(value: float | None) -> str:
    """A limit with every digit that it has; thousands set off."""
    return "none" if value is None else f"{value:,}"


def _names(rule: Rule) -> tuple[str, ...]:
    """What a condition calls it."""
    return (rule.name,) if rule.expression else (rule.name, rule.signal)


def _says_something(rule: Rule) -> bool:
    return bool(rule.expression) or _limits(rule) != (None, None)


def _only_off(condition: Condition, rule: Rule) -> None:
    if condition.bounds:
        raise ValueError(
            f"{condition.text!r}: {rule.name} has no limits but drops when {rule.expression}; write "
            f'"{rule.name} off" and "drop when ..."'
        )


def _dropping(condition: Condition, rows: Mapping[str, Rule], own: Mapping[str, tuple[str, bool]]) -> Rule:
    """A new rule for `drop when`, numbered where there are several."""
    signals = parse_expression(condition.expression).signals
    for name in signals:
        if name not in MEASURED and name not in own:
            near = difflib.get_close_matches(name, [*MEASURED, *own], n=1, cutoff=0.0)
            raise ValueError(f"{condition.text!r}: {name!r} is no signal; the nearest is {near[0]}")
    number = next(n for n in range(1, len(rows) + 2) if f"{PREFIX}.condition_{n}" not in rows)
    return Rule(f"{PREFIX}.condition_{number}", signals[0], expression=condition.expression)


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    value = float(plain)
    return int(value) if value.is_integer() else value


def _new(condition: Condition, rows: Mapping[str, Rule], own: Mapping[str, tuple[str, bool]]) -> Rule:
    """A rule that the configuration does not have yet; in the scope of the preset's rule that is named."""
    name = condition.name
    elsewhere = {rule.name: rule for preset in PRESETS.values() for rule in preset}
    if name not in elsewhere and name not in MEASURED and name not in own:
        near = difflib.get_close_matches(name, [*rows, *MEASURED, *own, *elsewhere], n=1, cutoff=0.0)
        raise ValueError(f"{name!r} is neither a rule nor a signal; the nearest is {near[0]}")
    if not condition.bounds:
        raise ValueError(
            f"{condition.text!r}: no rule of the configuration limits {name}, so there is none to take off"
        )
    if name in elsewhere:
        return replace(elsewhere[name], name=f"{PREFIX}.{elsewhere[name].signal}", minimum=None, maximum=None)
    return Rule(f"{PREFIX}.{name}", name)


def _row(given: Mapping[str, Json], rule: Rule, own: Mapping[str, tuple[str, bool]]) -> dict[str, Json]:
    """The rule as an item of `add`."""
    if rule.expression:
        condition: dict[str, Json] = {"rule": rule.name, "drop_when": rule.expression}
        if references := [own[name][0] for name in rule.signals if name in own]:
            condition["signals"] = [*references]
        return dict(given) or condition
    new: dict[str, Json] = {"rule": rule.name}
    if rule.signal in own:
        new["signal"] = own[rule.signal][0]
    new |= {key: list(names) for key, names in (("domains", rule.domains), ("languages", rule.languages)) if names}
    row = dict(given or new) | dict(zip(SIDES, _limits(rule)))
    return {key: value for key, value in row.items() if value is not None or key in given}


def _rules(presets: Sequence[str], limits: Limits, add: Sequence[Mapping[str, Json]]) -> Rules:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the run said so already
        return Rules(tuple(presets), limits, tuple(add))


def _limits(rule: Rule) -> tuple[float | None, float | None]:
    return rule.minimum, rule.maximum


def _flow(value: Limits | Sequence[Mapping[str, Json]]) -> str:
    """YAML on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=True)
    return text.strip()


def _lines(before: Mapping[str, Rule], after: Mapping[str, Rule], touched: Iterable[tuple[str, str]]) -> list[str]:
    """One for each change, rules that change alike together."""
    names: dict[str, list[str]] = {}
    for name, side in touched:
        rule = after[name]
        if name not in before:
            scope = ", ".join([*(rule.domains or ["every domain"]), *rule.languages])
            if rule.expression:
                names[f"new rule {{}}: drop when {rule.expression}, for {scope}"] = [name]
                continue
            limits = [f"{SIDES[s]} {limit_text(v)}" for s, v in zip(SIDES, _limits(rule)) if v is not None]
            names[f"new rule {{}}: {' and '.join(limits)}, for {scope}"] = [name]
            continue
        if before[name].expression:
            names[f"{{}}: drop when {before[name].expression} -> off"] = [name]
            continue
        old, new = (getattr(rows[name], SIDES[side]) for rows in (before, after))
        if old is None and new is None:
            continue
        said = f"stays {limit_text(old)}" if old == new else f"{limit_text(old)} -> {limit_text(new)}"
        names.setdefault(f"{SIDES[side]} of {{}}: {said}", []).append(name)
    return [line.format(" and ".join(rules)) for line, rules in names.items()]


def _notes(before: Mapping[str, Rule], after: Mapping[str, Rule], touched: Iterable[tuple[str, str]]) -> list[str]:
    """Where a limit was loosened and another rule on the same signal still holds it."""
    touched = list(touched)
    notes = []
    for name, side in touched:
        rule, up = after[name], side == "min"
        loose = -math.inf if up else math.inf
        old, new = (getattr(rows[name], SIDES[side]) if name in rows else loose for rows in (before, after))
        for other in after.values():
            tight = getattr(other, SIDES[side])
            if other.name == name or other.signal != rule.signal or tight is None or (other.name, side) in touched:
                continue
            was, now = loose if old is None else old, loose if new is None else new
            if now != was and (tight > now if up else tight < now):
                said = f"{other.name} still has the {SIDES[side]} {limit_text(tight)}"
                notes.append(f"{said}; a condition on {rule.signal} changes every rule that limits it")
    return list(dict.fromkeys(notes))
