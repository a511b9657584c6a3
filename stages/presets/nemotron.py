"""Nemotron's heuristics (Parmar et al. 2024, "Data, Data Everywhere", Table 15), as NeMo Curator defines them.

The rows marked EN in the table apply to English only. Left out: n-gram perplexity above 5,000, a limit that belongs
to the paper's own language model (the perplexity stage goes by percentiles instead). The table gives no n for
the n-grams: top 2-, 3- and 4-grams are taken, and duplicate 5-grams, which bound those of 6 to 10.
"""

from gristmill.stages.presets.rule import ENGLISH, NATURAL, Rule

_SOURCE = "Parmar et al. 2024 (Data, Data Everywhere), Table 15"
_CURATOR = f"{_SOURCE}; NeMo Curator"
_EN = ("en",)

RULES = (
    Rule("nemotron.non_alphanumeric", "non_alphanumeric", None, 0.25, ENGLISH, _EN, _CURATOR),
    Rule("nemotron.alpha_words", "alpha_words", 0.80, None, ENGLISH, _EN, _SOURCE),
    Rule("nemotron.numbers", "numbers", None, 0.15, NATURAL, (), _SOURCE),
    Rule("nemotron.urls", "urls", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.bullet_lines", "bullet_lines", None, 0.90, NATURAL, (), _CURATOR),
    Rule("nemotron.whitespace", "whitespace", None, 0.25, NATURAL, (), _SOURCE),
    Rule("nemotron.parentheses", "parentheses", None, 0.10, NATURAL, (), _CURATOR),
    Rule("nemotron.symbol_words", "symbol_words", None, 0.10, NATURAL, (), _CURATOR),
    Rule("nemotron.max_word_length", "max_word_length", None, 1000, NATURAL, (), _SOURCE),
    Rule("nemotron.words", "words", 50, 100_000, NATURAL, (), _SOURCE),
    Rule("nemotron.stop_word_occurrences", "stop_word_occurrences", 2, None, ENGLISH, _EN, _CURATOR),
    Rule("nemotron.mean_word_length", "mean_word_length", 3, 10, NATURAL, (), _SOURCE),
    Rule("nemotron.boilerplate_paragraphs", "boilerplate_paragraphs", None, 0.40, NATURAL, (), _CURATOR),
    Rule("nemotron.duplicate_lines", "duplicate_lines", None, 0.30, NATURAL, (), _SOURCE),
    Rule("nemotron.duplicate_paragraphs", "duplicate_paragraphs", None, 0.30, NATURAL, (), _SOURCE),
    Rule("nemotron.duplicate_line_characters", "duplicate_line_characters", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.duplicate_paragraph_characters", "duplicate_paragraph_characters", None, 0.10, NATURAL, (), _SOURCE),
    Rule("nemotron.top_2_gram", "top_2_gram", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.top_3_gram", "top_3_gram", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.top_4_gram", "top_4_gram", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.duplicate_5_grams", "duplicate_5_grams", None, 0.20, NATURAL, (), _SOURCE),
    Rule("nemotron.lines_without_end_mark", "lines_without_end_mark", None, 0.85, NATURAL, (), _CURATOR),
    Rule("nemotron.ellipsis_lines", "ellipsis_lines", None, 0.30, NATURAL, (), _CURATOR),
    Rule("nemotron.pornographic_urls", "pornographic_urls", None, 0, NATURAL, (), _CURATOR),
)
