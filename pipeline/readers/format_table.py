"""The formats of input files: one row each, and what every part of the pipeline must know of them is a column.

A reader is a function (segment, spec, max_document_bytes, skipped) -> rows, as `pipeline.readers.formats` says. A
reader of a user's own is named in a row's place: `format: "module:function"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gristmill.stages.own import own_function

_READERS = "gristmill.pipeline.readers"


@dataclass(frozen=True)
class Format:
    name: str
    """What `format:` of a source says."""
    reader: str
    """`module:function`, imported when the first file of the format is read."""
    files: str
    """What files it is for, in the documentation; so are the three below."""
    document: str
    record: str = "0"
    own_id: str = "–"
    extensions: tuple[str, ...] = ()
    """Ends of names, before that of a compression, that announce it. Without one the source must state the format:
    anything is .xml, .tex or .html."""
    cut: Literal["bytes", "row_groups", "whole"] = "whole"
    """How a large file is cut into segments; a compressed one is never cut by bytes."""
    columns: str | None = None
    """Module that reads a partition as columns, by `read_columns`, where its `can_read` says so of the source."""
    scheme: str | None = None
    """Start of the URIs that state the format."""
    listing: str | None = None
    """`module:function` that lists a source's files; None: they are those below its URI."""
    contents: tuple[str, ...] = ()
    """What its files hold, as keys of `pipeline.readers.content.KINDS`; empty: the reader alone can tell."""
    prose: bool = False
    """Whether its documents are prose whatever they look like: nothing of them is recognised as code by its content."""
    hidden: bool = False
    """Whether files of a folder count whose name begins with a dot or `_`, and files of any extension."""


_ROWS = (
    Format(
        "jsonl",
        f"{_READERS}.jsonl:read_jsonl",
        "`.jsonl`, `.ndjson`, `.json`, also compressed",
        "a line",
        "offset of the line",
        "the column named `id`",
        extensions=(".jsonl", ".ndjson", ".json"),
        cut="bytes",
        columns=f"{_READERS}.json_columns",
        contents=("jsonl", "json"),
    ),
    Format(
        "json",
        f"{_READERS}.json_documents:read_json",
        "an array of objects, an object with a list of them, objects one behind the other, over any number of lines; "
        "told from JSON Lines by the content",
        "an object",
        "offset of the object",
        "the column named `id`",
        contents=("jsonl", "json"),
    ),
    Format(
        "parquet",
        f"{_READERS}.parquet:read_parquet",
        "`.parquet`, `.pq`",
        "a row",
        "number of the row",
        "the column named `id`",
        extensions=(".parquet", ".pq"),
        cut="row_groups",
        contents=("parquet",),
    ),
    Format(
        "arrow",
        f"{_READERS}.arrow:read_arrow",
        "`.arrow`, `.feather`, `.ipc`, files and streams; a folder that Hugging Face `save_to_disk` wrote",
        "a row",
        "number of the row",
        "the column named `id`",
        extensions=(".arrow", ".feather", ".ipc", ".arrows"),
        contents=("arrow",),
        cut="row_groups",
    ),
    Format(
        "csv",
        f"{_READERS}.csv_tables:read_csv",
        "`.csv`, `.tsv`, separated by `,` `;` tab or `|`, with a header; also compressed",
        "a row",
        "number of the line on which it begins",
        "the column named `id`",
        extensions=(".csv", ".tsv"),
        contents=("text",),
    ),
    Format(
        "warc",
        f"{_READERS}.warc:read_warc",
        "`.warc`, also compressed",
        "a stored page, for `extract`",
        "offset of the record",
        extensions=(".warc",),
        contents=("warc",),
    ),
    Format(
        "wet",
        f"{_READERS}.warc:read_warc",
        "`.wet`, also compressed",
        "a stored page's text",
        "offset of the record",
        extensions=(".wet",),
        contents=("warc",),
    ),
    Format(
        "tree",
        f"{_READERS}.files:read_files",
        "a folder or tar of source code",
        "a file",
        "0, or the member's offset",
        extensions=(".tar", ".tgz", ".tbz2", ".txz", ".tzst"),
        hidden=True,
        contents=("text", "tar"),
    ),
    Format(
        "text",
        f"{_READERS}.files:read_files",
        "`.txt`, `.text`, `.md`, `.html`, `.htm`, `.xhtml`",
        "a file",
        "0, or the member's offset",
        extensions=(".txt", ".text", ".md", ".html", ".htm", ".xhtml"),
        contents=("text", "tar"),
    ),
    Format(
        "machine",
        f"{_READERS}.machine:read_machine",
        "this computer's own, by `uri: machine:`",
        "a page, a catalogue, a source file",
        scheme="machine:",
        listing=f"{_READERS}.machine:choose",
        prose=True,
    ),
    Format(
        "mediawiki",
        f"{_READERS}.mediawiki:read_mediawiki",
        "pages-articles, Special:Export (`.xml`, also compressed)",
        "a page of namespace 0 that is no redirect; its latest revision",
        "offset of `<page>`",
        "`dbname:page id`",
        contents=("xml",),
        prose=True,
    ),
    Format(
        "epub",
        f"{_READERS}.epub:read_epub",
        "EPUB 2 and 3 (`.epub`)",
        "a book: its spine in order",
        extensions=(".epub",),
        contents=("epub",),
        prose=True,
    ),
    Format(
        "pdf",
        f"{_READERS}.pdf:read_pdf",
        "PDF with a text layer (`.pdf`), folder or tar of them",
        "a document: its columns in reading order",
        "0, or the member's offset",
        extensions=(".pdf",),
        prose=True,
    ),
    Format(
        "jats",
        f"{_READERS}.jats:read_jats",
        "article XML (`.nxml`), article sets, tar of them",
        "an article: title, abstract, body, appendices",
        "0, or the member's offset, plus the article's ordinal",
        "DOI, else PMC's or PubMed's number",
        extensions=(".nxml",),
        prose=True,
    ),
    Format(
        "latex",
        f"{_READERS}.latex:read_latex",
        "`.tex`, `.gz`, `.tar.gz` of a paper, tar of such (arXiv)",
        "a paper: main file with its includes",
        "0, or the member's offset",
        "`arXiv:number` where the file is named so",
        prose=True,
    ),
    Format(
        "stackexchange",
        f"{_READERS}.stackexchange:read_stackexchange",
        "`Posts.xml` (also compressed)",
        "a question with its answers by score",
        "offset of the question's row",
        "URL where the path names the site",
        prose=True,
    ),
    Format(
        "html",
        f"{_READERS}.html:read_html",
        "`.html`, folder or tar of pages",
        "a page, for `extract`",
        "0, or the member's offset",
    ),
)

FOREIGN = "foreign"
"""The format of a file that its name promises and its content is not: one quarantined row that says what it is."""
_FOREIGN = Format(FOREIGN, f"{_READERS}.foreign:read_foreign", "–", "–")

FORMATS = {row.name: row for row in _ROWS}
"""By name. Where names of files may announce several, the first does."""


def format_named(name: str) -> Format:
    """The row of that name, or one for a reader of one's own, which reads whole files.

    ValueError in one sentence where there is neither.
    """
    if name in FORMATS:
        return FORMATS[name]
    if name == FOREIGN:
        return _FOREIGN
    if ":" not in name:
        raise ValueError(
            f"unknown format {name!r}; use one of {', '.join(FORMATS)}, or module:function for a reader of your own"
        )
    own_function(name)
    return Format(name, name, "your own", "a row of your own")
