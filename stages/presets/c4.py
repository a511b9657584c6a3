"""C4's rules (Raffel et al. 2020, JMLR 21(140), section 2.2), for lines and for documents, and mC4's line lengths.

Two published readings, of which the paper names the numbers without saying which unit comes first: `c4` is the paper
and its code (tensorflow_datasets, text/c4_utils.py): lines of at least 5 words, pages of at least 3 sentences.
`c4_datatrove` is datatrove's C4QualityFilter: 3 words, 5 sentences, words counted before citations are cut.

`lines` removes lines first; the document rules then look at what stays, as C4 does. Two differences: a "{" or "lorem
ipsum" in a line that a later line rule removes drops the page in C4 and only the line here; and white space that a
citation leaves at the end of a line is none of the line here. C4's end marks are . ? ! " (datatrove's also '); here
they are those and their equivalents in other scripts, and quotes. The rules are of English; those whose phrases are
English apply to English only, the others to all natural languages.

Three-sentence spans that occur more than once in the data set are a matter of de-duplication. Bad words need a list,
which is not shipped: `c4_bad_words` limits the column of the stage `bad_words`.
"""

from gristmill.stages.presets.rule import ENGLISH, NATURAL, Rule

_PAPER = "Raffel et al. 2020, section 2.2"
_CODE = "tensorflow_datasets, c4_utils.py"
_DATATROVE = "datatrove, C4QualityFilter"
_EN = ("en",)


def _lines(preset: str, words: int, source: str, words_first: bool) -> tuple[Rule, ...]:
    few_words = Rule(f"{preset}.words", "words", words, None, NATURAL, (), source)
    citations = (
        Rule(f"{preset}.citation_numbers", "citation_numbers", None, 0, NATURAL, (), f"{_CODE}, citation_regex"),
        Rule(f"{preset}.citation_notes", "citation_notes", None, 0, ENGLISH, _EN, f"{_CODE}, citation_regex"),
    )
    end_mark = Rule(f"{preset}.end_mark", "end_mark", 1, None, NATURAL, (), _PAPER)
    asked = (few_words, *citations, end_mark) if words_first else (*citations, end_mark, few_words)
    return (
        Rule(f"{preset}.longest_word", "longest_word", None, 1000, NATURAL, (), f"{_CODE}, _MAX_WORD_LENGTH"),
        *asked,
        Rule(f"{preset}.javascript", "javascript", None, 0, NATURAL, (), _PAPER),
        Rule(f"{preset}.policy", "policy", None, 0, ENGLISH, _EN, f"{_PAPER}; {_CODE}, _POLICY_SUBSTRINGS"),
    )


LINES = _lines("c4", 5, f"{_PAPER}; {_CODE}, _MIN_WORDS_PER_LINE", words_first=False)
LINES_DATATROVE = _lines("c4_datatrove", 3, f"{_DATATROVE}, min_words_per_line", words_first=True)


def _documents(preset: str, sentences: int, source: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{preset}.lorem_ipsum", "lorem_ipsum", None, 0, NATURAL, (), _PAPER),
        Rule(f"{preset}.curly_brackets", "curly_brackets", None, 0, NATURAL, (), _PAPER),
        Rule(f"{preset}.sentences", "sentences", sentences, None, NATURAL, (), source),
    )


RULES = _documents("c4", 3, f"{_PAPER}; {_CODE}, _MIN_NUM_SENTENCES")
RULES_DATATROVE = _documents("c4_datatrove", 5, f"{_DATATROVE}, min_num_sentences")
BAD_WORDS = (Rule("c4_bad_words.bad_words", "bad_words", None, 0, NATURAL, (), _PAPER),)
MC4 = (Rule("mc4.long_lines", "long_lines", 3, None, NATURAL, (), "Xue et al. 2021 (mT5), section 3.1"),)
