"""Rules for source files (Parmar et al. 2024, "Data, Data Everywhere", Table 16), applied to the domain `code`.

Comments are null, hence unlimited, for languages without them (`kernels.text.comments.SYNTAXES` has the others).
Characters per token are null as long as signals are measured before a tokenizer exists; `stages.rules` warns of it.
"""

from gristmill.stages.presets.rule import Rule

_SOURCE = "Parmar et al. 2024 (Data, Data Everywhere), Table 16"
_CODE = ("code",)

RULES = (
    Rule("code.comments", "comments", 0.001, 0.85, _CODE, (), _SOURCE),
    Rule("code.total_lines", "total_lines", 5, 20_000, _CODE, (), _SOURCE),
    Rule("code.characters_per_token", "characters_per_token", 2, None, _CODE, (), _SOURCE),
)
