"""Gopher's repetition rules (Rae et al. 2021, "Scaling Language Models", Table A1).

Lines, paragraphs and n-grams that occurred before; see `kernels.text.repetition` for what counts as repeated. For
natural language only: code repeats itself by its nature.
"""

from gristmill.stages.presets.rule import NATURAL, Rule

_LIMITS = {
    "duplicate_lines": 0.30,
    "duplicate_paragraphs": 0.30,
    "duplicate_line_characters": 0.20,
    "duplicate_paragraph_characters": 0.20,
    "top_2_gram": 0.20,
    "top_3_gram": 0.18,
    "top_4_gram": 0.16,
    "duplicate_5_grams": 0.15,
    "duplicate_6_grams": 0.14,
    "duplicate_7_grams": 0.13,
    "duplicate_8_grams": 0.12,
    "duplicate_9_grams": 0.11,
    "duplicate_10_grams": 0.10,
}

RULES = tuple(
    Rule(f"gopher_repetition.{signal}", signal, None, limit, NATURAL, (), "Rae et al. 2021, Table A1")
    for signal, limit in _LIMITS.items()
)
