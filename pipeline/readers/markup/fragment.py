"""The whole text of a piece of HTML that is known to be content: a chapter of a book, a post of a forum.

Unlike `stages.extract` it looks for no main content, and it runs in this process: posts are many and small. So what
the tree would cost is counted first, by `kernels.text.markup` and within the limits of `stages.extract`, and what
exceeds them is refused. Text as resiliparse writes it: a paragraph a line with an empty line between, `•` and numbers
for lists, tabs between cells, code as it stands; no image texts and no links.
"""

from __future__ import annotations

from gristmill.kernels.text.markup import markup_cost
from gristmill.stages.extract import MAX_COPIES, MAX_STEPS, Extract

MAX_BYTES = 10_000_000


class FragmentError(Exception):
    """`reason` is that of the quarantined row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def fragment_text(html: str) -> str:
    """Empty where there is none. FragmentError: read.too_large, markup.too_deep, markup.too_tangled."""
    from resiliparse.extract.html2text import extract_plain_text

    if "<" not in html and "&" not in html:
        return html.strip()
    utf8 = html.encode("utf-8", "replace")
    if len(utf8) > MAX_BYTES:
        raise FragmentError("read.too_large")
    most = Extract.max_depth
    depth, steps, copies = markup_cost(utf8, most + 1, MAX_STEPS, MAX_COPIES)
    if depth > most:
        raise FragmentError("markup.too_deep")
    if steps > MAX_STEPS or copies > MAX_COPIES:
        raise FragmentError("markup.too_tangled")
    text: str = extract_plain_text(
        html, main_content=False, preserve_formatting=True, alt_texts=False, links=False, form_fields=False
    )
    return text.strip("\n")
