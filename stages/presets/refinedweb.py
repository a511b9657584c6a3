"""RefinedWeb's line-wise corrections (Penedo et al. 2023, "The RefinedWeb Dataset", appendix G.2).

The paper names the rules, DCLM's dclm_baseline_refinedweb.yaml (Li et al. 2024) the numbers and patterns taken here.
The paper: "we derived these filters through manual inspection of the data, and note that they require adaptation
across languages". So phrases apply to English only. A line of upper case needs a script that has case: Chinese, Arabic
or Hindi never fail it. One word is two letters of Chinese or four of Thai (`kernels.text.line_rules`).

A document is dropped where more than 5 % of its words stood in what these rules removed, those of other presets of
lines not counted.
"""

from gristmill.stages.presets.rule import ENGLISH, NATURAL, Rule

_PAPER = "Penedo et al. 2023 (RefinedWeb), G.2"
_DCLM = f"{_PAPER}; DCLM"
_EN = ("en",)

LINES = (
    Rule("refinedweb.uppercase", "uppercase", None, 0.5, NATURAL, (), f"{_DCLM}, uppercase_ratio_line_modifier"),
    Rule("refinedweb.digits", "digits", None, 0.999999, NATURAL, (), f"{_DCLM}, numeric_ratio_line_modifier"),
    Rule("refinedweb.counter", "counter", None, 0, ENGLISH, _EN, f"{_DCLM}, counter_line_modifier"),
    Rule("refinedweb.words", "words", 2, None, NATURAL, (), f"{_DCLM}, line_length_modifier"),
    Rule("refinedweb.items_in_cart", "items_in_cart", None, 0, ENGLISH, _EN, f"{_DCLM}, substring_line_modifier"),
    Rule("refinedweb.read_more", "read_more", None, 0, ENGLISH, _EN, f"{_DCLM}, substring_line_modifier"),
    Rule("refinedweb.sign_in", "sign_in", None, 0, ENGLISH, _EN, f"{_DCLM}, substring_line_modifier"),
)

RULES = (Rule("refinedweb.words_flagged", "words_flagged", None, 0.05, NATURAL, (), _PAPER),)
