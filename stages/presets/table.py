"""The presets by name: tables of rules, one file each, whose docstrings say where they come from."""

from __future__ import annotations

from gristmill.stages.presets import (
    c4,
    ccnet,
    code,
    code_files,
    datatrove,
    fineweb,
    gopher_quality,
    gopher_repetition,
    nemotron,
    refinedweb,
    starcoder,
)
from gristmill.stages.presets.rule import Rule

PRESETS: dict[str, tuple[Rule, ...]] = {
    "gopher_quality": gopher_quality.RULES,
    "gopher_repetition": gopher_repetition.RULES,
    "nemotron": nemotron.RULES,
    "code": code.RULES,
    "starcoder": starcoder.RULES,
    "code_files": code_files.RULES,
    "fineweb": fineweb.RULES,
    "ccnet": ccnet.RULES,
    "c4": c4.RULES,
    "c4_datatrove": c4.RULES_DATATROVE,
    "c4_bad_words": c4.BAD_WORDS,
    "mc4": c4.MC4,
    "refinedweb": refinedweb.RULES,
    "datatrove_gopher_quality": datatrove.GOPHER_QUALITY,
    "datatrove_gopher_repetition": datatrove.GOPHER_REPETITION,
    "datatrove_fineweb": datatrove.FINEWEB,
    "datatrove_c4": datatrove.C4,
}
"""Rules of each preset, in the order in which they are tried."""


LINE_PRESETS: dict[str, tuple[Rule, ...]] = {
    "c4": c4.LINES,
    "c4_datatrove": c4.LINES_DATATROVE,
    "refinedweb": refinedweb.LINES,
}
"""Rules for lines, of the stage `lines`, likewise."""
