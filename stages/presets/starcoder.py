"""Filters of source files of StarCoder and The Stack v2, applied to the domain `code`.

The Stack v2: Lozhkov et al. 2024, arXiv:2402.19173, appendix A.1. StarCoder: Li et al. 2023, arXiv:2305.06161, section
3. Where both have a limit, that of The Stack v2 stands. Rows for some languages name them; for all but some they name
every other language of `stages.code_names`, so a language that is not in its tables has no such limit. go-enry's
`is_generated` is `stages.code_signals`' own list. Left out: The Stack v2's choice of plain text files by name, which
are no source files here, and the comment shares of SantaCoder, which neither paper uses (`code` limits comments).
"""

from gristmill.stages.code_names import PROGRAMMING_LANGUAGES
from gristmill.stages.presets.rule import Rule

_V2 = "Lozhkov et al. 2024 (The Stack v2), appendix A.1"
_V1 = "Li et al. 2023 (StarCoder), section 3"
_CODE = ("code",)

LONG_LINES = ("html", "json", "markdown", "roff", "smt", "tex", "xml")
"""Also Text in the paper, and manual pages, which are roff here."""
_OTHERS = tuple(sorted(PROGRAMMING_LANGUAGES - set(LONG_LINES)))
_ASSEMBLY = ("assembly", "webassembly")
_NOT_ASSEMBLY = tuple(sorted(PROGRAMMING_LANGUAGES - set(_ASSEMBLY)))
_NOT_XML = tuple(sorted(PROGRAMMING_LANGUAGES - {"xml"}))
DATA = ("json", "yaml", "web-ontology-language", "graphviz")
_CONFIGURATION = ("json", "yaml")
_HTML = ("html",)

RULES = (
    Rule("starcoder.total_lines", "total_lines", None, 100_000, _CODE, (), _V2),
    Rule("starcoder.mean_line_length", "mean_line_length", None, 100, _CODE, _OTHERS, _V2),
    Rule("starcoder.max_line_length", "max_line_length", None, 1000, _CODE, _OTHERS, _V2),
    Rule("starcoder.long_line_length", "max_line_length", None, 100_000, _CODE, LONG_LINES, _V2),
    Rule("starcoder.generated", "generated", None, 0, _CODE, (), f"{_V2}; phrases and paths of our own beside"),
    Rule("starcoder.alphabetic", "alphabetic", 0.25, None, _CODE, _NOT_ASSEMBLY, _V2),
    Rule(
        *("starcoder.alphanumeric", "alphanumeric", 0.25, None, _CODE, _ASSEMBLY),
        f"{_V2}: Motorola 68K; for all assembly here",
    ),
    Rule("starcoder.encoded_data", "encoded_data", None, 0.5, _CODE, (), _V2),
    Rule("starcoder.longest_encoded_data", "longest_encoded_data", None, 1024, _CODE, (), _V2),
    Rule("starcoder.data_lines", "total_lines", None, 512, _CODE, DATA, _V2),
    Rule("starcoder.visible_html_characters", "visible_html_characters", 100, None, _CODE, _HTML, _V2),
    Rule("starcoder.visible_html", "visible_html", 0.2, None, _CODE, _HTML, _V2),
    Rule("starcoder.xml_header", "xml_header", None, 0, _CODE, _NOT_XML, f"{_V1}; NeMo Curator, XMLHeaderFilter"),
    Rule("starcoder.configuration_characters", "characters", 50, 5000, _CODE, _CONFIGURATION, _V1),
    Rule("starcoder.configuration_alphabetic", "alphabetic", 0.5, None, _CODE, _CONFIGURATION, _V1),
)
