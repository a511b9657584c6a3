"""A decoded page to its text and what it says about itself, by one of the engines: what the guarded process runs.

One tree (lexbor's, by resiliparse) serves text and metadata. trafilatura (Barbaresi 2021) builds its own for the text;
its own metadata would read the clock. A pure function of the page: no memory of earlier pages (trafilatura's own
de-duplication is off).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gristmill.stages.guard import Work

from gristmill.stages.page_blocks import ALL, LONE, MARK, with_marks

ENGINES = ("resiliparse", "trafilatura")


class Extracted(NamedTuple):
    text: str | None
    """None where the page has none."""
    title: str | None = None
    published: int | None = None
    """Microseconds since 1970 in UTC."""
    canonical_url: str | None = None
    site: str | None = None


def extract_page(html: str, url: str | None, engine: str, hints: int = ALL) -> Extracted:
    """engine: one of `ENGINES`. hints: what the page may hold, `kernels.text.page_hints`. Raises what a parser
    raises."""
    from resiliparse.parse.html import HTMLTree

    from gristmill.stages.page_metadata import metadata
    from gristmill.stages.page_text import main_text

    if engine == "trafilatura":
        said = metadata(HTMLTree.parse(html), url)
        text = _trafilatura(html)
    else:
        if hints & LONE:
            html = with_marks(html)
        tree = HTMLTree.parse(html)
        said = metadata(tree, url)
        text = main_text(tree, hints)
        if hints & LONE:
            text = text.replace(MARK, "")
            said = said._replace(title=said.title and said.title.replace(MARK, ""))
    return Extracted(text if text and not text.isspace() else None, *said)


def extractor(engine: str) -> Work:
    """What the guarded process runs: a page in UTF-8 -> its text, the other fields of `Extracted`.

    What it gets as the address are the hints in decimal and, where the page has a URL, a space and that.
    """

    def work(html: memoryview, address: str | None) -> tuple[str | None, list[str | int | None]]:
        hints, space, url = (address or str(ALL)).partition(" ")
        text, *said = extract_page(str(html, "utf-8"), url if space else None, engine, int(hints))
        return text, said

    work(memoryview(b"<p>"), None)  # imports
    return work


def _trafilatura(html: str) -> str | None:
    import trafilatura

    text: str | None = trafilatura.extract(html, output_format="txt", include_comments=False, deduplicate=False)
    return text
