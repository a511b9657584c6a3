"""Gopher's quality rules (Rae et al. 2021, "Scaling Language Models", appendix A1.1).

The paper's corpus is English. Applied to every natural language here, but for the stop words, which are English;
`mean_word_length` is null where its limits, in letters of an alphabet, would throw a language out.
"""

from gristmill.stages.presets.rule import ENGLISH, NATURAL, Rule

_SOURCE = "Rae et al. 2021, A1.1"

RULES = (
    Rule("gopher_quality.words", "words", 50, 100_000, NATURAL, (), _SOURCE),
    Rule("gopher_quality.mean_word_length", "mean_word_length", 3, 10, NATURAL, (), _SOURCE),
    Rule("gopher_quality.hashes_per_word", "hashes_per_word", None, 0.1, NATURAL, (), _SOURCE),
    Rule("gopher_quality.ellipses_per_word", "ellipses_per_word", None, 0.1, NATURAL, (), _SOURCE),
    Rule("gopher_quality.bullet_or_dash_lines", "bullet_or_dash_lines", None, 0.9, NATURAL, (), _SOURCE),
    Rule("gopher_quality.ellipsis_lines", "ellipsis_lines", None, 0.3, NATURAL, (), _SOURCE),
    Rule("gopher_quality.alpha_words", "alpha_words", 0.8, None, NATURAL, (), _SOURCE),
    Rule("gopher_quality.stop_words", "stop_words", 2, None, ENGLISH, ("en",), _SOURCE),
)
