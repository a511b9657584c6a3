"""The whole text of a piece of HTML that is known to be content: a chapter of a book, a post of a forum.

Unlike `stages.extract` it looks for no main content, and it runs in this process: posts are many and small. So what
the tree would cost is counted first, by `kernels.text.markup` and within the limits of `stages.extract`, and what
exceeds them is refused. Text as resiliparse writes it: a paragraph a line with an empty line between, `•` and numbers
for lists, a row of a table a line with tabs between its cells, code as it stands without line numbers, captions of
figures, formulas as TeX; no image texts and no links. XHTML is read as that (`stages.page_xhtml`).
"""

from __future__ import annotations

from gristmill.kernels.text.markup import markup_counts
from gristmill.kernels.text.page_hints import UNSPACED
from gristmill.kernels.text.source_breaks import without_source_breaks
from gristmill.stages.extract import MAX_COPIES, MAX_STEPS, Extract
from gristmill.stages.page_blocks import NO_TEXT, shape
from gristmill.stages.page_xhtml import html_of, is_xhtml

MAX_BYTES = 10_000_000


class FragmentError(Exception):
    """`reason` is that of the quarantined row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def fragment_text(html: str, media_type: str = "text/html") -> str:
    """Empty where there is none. FragmentError: read.too_large, markup.too_deep, markup.too_tangled."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    if "<" not in html and "&" not in html:
        return html.strip()
    utf8 = html.encode("utf-8", "replace")
    if len(utf8) > MAX_BYTES:
        raise FragmentError("read.too_large")
    if is_xhtml(media_type, utf8):
        utf8 = html_of(utf8)
        if len(utf8) > MAX_BYTES:
            raise FragmentError("read.too_large")
    most = Extract.max_depth
    depth, steps, copies, hints = markup_counts(utf8, most + 1, MAX_STEPS, MAX_COPIES)
    if depth > most:
        raise FragmentError("markup.too_deep")
    if steps > MAX_STEPS or copies > MAX_COPIES:
        raise FragmentError("markup.too_tangled")
    tree = HTMLTree.parse(str(without_source_breaks(utf8) if hints & UNSPACED else utf8, "utf-8"))
    shape(tree, hints)
    text: str = extract_plain_text(
        tree,
        main_content=False,
        preserve_formatting=True,
        alt_texts=True,
        links=False,
        form_fields=False,
        skip_elements=NO_TEXT,
    )
    return text.strip("\n")
