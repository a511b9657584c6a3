"""Stages by name: the table of those that come with Gristmill, and a user's own as `module:Class`.

A stage's module is imported when the stage is asked for; a user's is found as `stages.own` says.
"""

from __future__ import annotations

import difflib
from dataclasses import fields

from gristmill.stages.interface import ATTRIBUTES, JOINING, Traits, traits
from gristmill.stages.own import own_module

STAGES = {
    "urls": "gristmill.stages.urls:Urls",
    "extract": "gristmill.stages.extract:Extract",
    "code_domain": "gristmill.stages.code_domain:CodeDomain",
    "line_ends": "gristmill.stages.line_ends:LineEnds",
    "language": "gristmill.stages.language:Language",
    "quality": "gristmill.stages.quality:Quality",
    "lines": "gristmill.stages.lines:Lines",
    "bad_words": "gristmill.stages.bad_words:BadWords",
    "signals": "gristmill.stages.signals:Signals",
    "rules": "gristmill.stages.rules:Rules",
    "exact_dedup": "gristmill.stages.exact_dedup:ExactDedup",
    "near_dedup": "gristmill.stages.near_dedup:NearDedup",
    "perplexity": "gristmill.stages.perplexity:Perplexity",
    "decontaminate": "gristmill.stages.decontaminate:Decontaminate",
    "pii": "gristmill.stages.pii:Pii",
    "code_language": "gristmill.stages.code_language:CodeLanguage",
    "code_license": "gristmill.stages.code_license:CodeLicense",
    "code_signals": "gristmill.stages.code_signals:CodeSignals",
    "join_code": "gristmill.stages.join_code:JoinCode",
}
"""Name in the configuration -> module:Class, in the order of the recipe."""

PREPARING = ("code_domain", "line_ends")
"""Stages that the engine adds to the first pass where none is configured, in this order, as soon as there is text."""

MEASURING = {"code_signals": False, "signals": True}
"""Stages that the engine adds to the first pass where none is configured, in the order in which they measure.

False: only if another stage needs a column of theirs."""

UNIQUE_IDS = "gristmill.stages.identity:Identity"
"""The first to decide where documents bring ids of their own: no two documents keep one id."""


def load(name: str) -> type:
    """The stage's class. ValueError in one sentence where there is none, or where it is no stage."""
    target = STAGES.get(name, name if ":" in name else None)
    if target is None:
        near = difflib.get_close_matches(name, STAGES, n=1)
        hint = f"did you mean {near[0]}" if near else f"the stages are {', '.join(STAGES)}"
        raise ValueError(f"{name!r} is not a stage; {hint}, or write module:Class for one of your own")
    module_name, _, class_name = target.partition(":")
    cls = getattr(own_module(name, module_name), class_name, None)
    if not isinstance(cls, type):
        raise ValueError(f"{name!r}: the module {module_name} has no class {class_name}; check its name")
    missing = [attribute for attribute in ATTRIBUTES if not hasattr(cls, attribute)]
    if not any(hasattr(cls, kind) for kind in ("apply", "rounds", "parts")):
        missing.append("apply or rounds")
    if missing or not hasattr(cls, "__dataclass_fields__"):
        lacks = ", ".join(missing) or "the decorator dataclass(frozen=True)"
        raise ValueError(f"{name!r} is not a stage: it lacks {lacks}; stages/interface.py says what a stage is")
    _check_traits(name, cls)
    return cls


def _check_traits(name: str, cls: type) -> None:
    """ValueError where an attribute that a stage may have is of another type, or promises what the class has not."""
    told = traits(cls)
    for each in fields(Traits):
        value = getattr(told, each.name)
        if not isinstance(value, property | type(each.default)):
            right = "True or False" if isinstance(each.default, bool) else "a tuple of names"
            raise ValueError(f"{name!r}: {each.name} is {value!r}; write {right}")
    lacks: list[str] = []
    if told.joins:
        lacks = [f"joins needs the method {method}" for method in JOINING if not hasattr(cls, method)]
    elif told.clusters and not hasattr(cls, "rounds"):
        lacks = ["clusters is for stages with rounds"]
    elif told.measures and (told.decides or not hasattr(cls, "apply")):
        lacks = ["measures is for stages with apply that do not decide"]
    elif "rounds" in vars(cls) and not told.decides:
        lacks = ["a stage with rounds decides; take decides = False out"]
    if lacks:
        raise ValueError(f"{name!r}: {lacks[0]}; stages/interface.py says what a stage is")
