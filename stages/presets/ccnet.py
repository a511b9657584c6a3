"""CCNet's rules for documents (Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets").

Length and certainty of the language, after de-duplication of paragraphs. Its third step sorts by perplexity into
head, middle and tail at percentiles of each language, since perplexities of two language models cannot be compared:
the stage `perplexity` does that. The row on perplexity therefore drops nothing until it is given a limit of one's own;
it is null where the stage has not run.
"""

from gristmill.stages.presets.rule import NATURAL, Rule

_CODE = "cc_net's published configuration"

RULES = (
    Rule("ccnet.characters", "characters", 300, None, NATURAL, (), f"{_CODE}, min_len"),
    Rule("ccnet.language_score", "language_score", 0.5, None, NATURAL, (), "Wenzek et al. 2020, section 3.3"),
    Rule("ccnet.perplexity", "perplexity", 1, None, NATURAL, (), "a perplexity's least value"),
)
