"""The presets by name: tables of rules, one file each, whose docstrings say where they come from."""

from __future__ import annotations

from stages.presets import code, fineweb, gopher_quality, gopher_repetition, nemotron
from stages.presets.rule import Rule

PRESETS: dict[str, tuple[Rule, ...]] = {
    "gopher_quality": gopher_quality.RULES,
    "gopher_repetition": gopher_repetition.RULES,
    "nemotron": nemotron.RULES,
    "code": code.RULES,
    "fineweb": fineweb.RULES,
}
"""Rules of each preset, in the order in which they are tried."""
