"""FineWeb's own rules (Penedo et al. 2024, "The FineWeb Datasets", section 3.4), on top of Gopher's and C4's.

Chosen by ablation on English web pages, so applied to English only. Duplicate lines by characters have the paper's
limit of 0.1, not the 0.01 that datatrove has as its default.
"""

from gristmill.stages.presets.rule import ENGLISH, Rule

_SOURCE = "Penedo et al. 2024 (FineWeb), section 3.4"
_EN = ("en",)

RULES = (
    Rule("fineweb.lines_without_end_mark", "lines_without_end_mark", None, 0.88, ENGLISH, _EN, _SOURCE),
    Rule("fineweb.duplicate_line_characters", "duplicate_line_characters", None, 0.1, ENGLISH, _EN, _SOURCE),
    Rule("fineweb.short_lines", "short_lines", None, 0.67, ENGLISH, _EN, _SOURCE),
    Rule(
        *("fineweb.line_breaks_per_word", "line_breaks_per_word", None, 0.3, ENGLISH, _EN),
        "datatrove, FineWebQualityFilter, new_line_ratio",
    ),
)
