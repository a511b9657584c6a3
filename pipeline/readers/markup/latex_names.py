"""What LaTeX's commands and environments are to a reader who wants the text: tables for `latex_text`.

Names are without their star. Lamport 1994, LaTeX: A Document Preparation System; the packages amsmath, natbib,
cleveref, hyperref, graphicx, booktabs.
"""

from __future__ import annotations

HEADINGS = frozenset({"part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph"})

MATH = frozenset(
    {"equation", "align", "eqnarray", "gather", "multline", "displaymath", "flalign", "alignat", "math", "dmath",
     "IEEEeqnarray"}
)  # fmt: skip

DROPPED_ENVIRONMENTS = frozenset(
    {"thebibliography", "tikzpicture", "picture", "filecontents", "comment", "CCSXML", "pspicture", "fmffile",
     "keywords", "feynmandiagram", "pgfpicture", "IEEEbiography", "IEEEkeywords", "references", "titlepage"}
)  # fmt: skip

LISTS = {"itemize": "", "enumerate": "", "description": "label", "compactitem": "", "compactenum": "", "inparaenum": ""}
"""`label`: what stands in an item's brackets is text."""

TABLES = frozenset({"tabular", "tabularx", "tabulary", "longtable", "supertabular", "deluxetable", "tabu"})

FIGURES = frozenset({"figure", "wrapfigure", "subfigure", "SCfigure", "sidewaysfigure"})

ENVIRONMENT_ARGUMENTS = {
    "tabular": 1, "tabular*": 2, "tabularx": 2, "tabulary": 2, "longtable": 1, "supertabular": 1, "deluxetable": 1,
    "tabu": 1, "minipage": 1, "multicols": 1, "wrapfigure": 2, "wraptable": 2, "adjustbox": 1, "subfigure": 1,
    "subtable": 1, "spacing": 1, "list": 2, "turnpage": 0, "otherlanguage": 1,
}  # fmt: skip

THEOREMS = {
    "theorem": "Theorem", "lemma": "Lemma", "proposition": "Proposition", "corollary": "Corollary",
    "definition": "Definition", "remark": "Remark", "example": "Example", "conjecture": "Conjecture", "claim": "Claim",
    "proof": "Proof",
}  # fmt: skip

DROPPED = frozenset(
    {
        "cite", "citep", "citet", "citealt", "citealp", "citeauthor", "citeyear", "citeyearpar", "Citet", "Citep",
        "nocite", "onlinecite", "parencite", "textcite", "footcite", "autocite", "cites", "ref", "eqref", "autoref",
        "cref", "Cref", "pageref", "nameref", "vref", "label", "bibliography", "bibliographystyle", "printbibliography",
        "addbibresource", "includegraphics", "epsfig", "epsfbox", "psfig", "plotone", "plottwo", "vspace", "hspace",
        "vskip", "hskip", "thanks", "author", "authors", "affil", "affiliation", "address", "email", "ead", "date",
        "institute", "institution", "thispagestyle", "pagestyle", "pagenumbering", "setlength", "addtolength",
        "setcounter", "addtocounter", "usepackage", "documentclass", "documentstyle", "RequirePackage", "newcommand",
        "renewcommand", "providecommand", "newenvironment", "renewenvironment", "newtheorem", "theoremstyle",
        "DeclareMathOperator", "def", "input", "include", "index", "footnotemark", "hypersetup", "graphicspath",
        "color",
        "rule", "cline", "cmidrule", "hline", "title", "titlerunning", "authorrunning", "markboth", "pacs", "keywords",
        "subjclass", "ams", "orcid", "preprint", "numberwithin", "bibinfo", "phantomsection", "addcontentsline",
        "vfill",
        "hfill", "cellcolor", "rowcolor", "tikzset", "pgfplotsset", "bstctlcite", "captionsetup", "selectlanguage",
        "correspondingauthor", "cortext", "fntext", "corref", "fnref", "inst", "makeatletter", "makeatother", "let",
        "icmltitle", "icmlauthor", "acmDOI", "setcitestyle",
    }
)  # fmt: skip
"""With their arguments."""

ARGUMENTS = {
    "textcolor": 1, "href": 1, "hyperref": 0, "multicolumn": 2, "multirow": 2, "parbox": 1, "raisebox": 1,
    "scalebox": 1, "resizebox": 2, "colorbox": 1, "foreignlanguage": 1, "rotatebox": 1, "fontsize": 2, "begingroup": 0,
    "texorpdfstring": 0,
}  # fmt: skip
"""How many of the first arguments are no text."""

ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip
"""Command -> the combining character."""

SYMBOLS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    "i": "ı", "j": "ȷ", "dh": "ð", "th": "þ", "ldots": "…", "dots": "…", "textellipsis": "…", "LaTeX": "LaTeX",
    "TeX": "TeX", "LaTeXe": "LaTeX2e", "BibTeX": "BibTeX", "S": "§", "P": "¶", "copyright": "©", "pounds": "£",
    "euro": "€", "textdegree": "°", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^",
    "textendash": "–", "textemdash": "—", "textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“",
    "textquotedblright": "”", "textless": "<", "textgreater": ">", "textbar": "|", "textbullet": "•", "texttimes": "×",
    "textmu": "µ", "textregistered": "®", "texttrademark": "™", "dag": "†", "ddag": "‡", "quad": " ", "qquad": " ",
    "space": " ", "slash": "/", "guillemotleft": "«", "guillemotright": "»", "lq": "‘", "rq": "’",
}  # fmt: skip
