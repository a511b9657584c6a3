"""The main text of a page: resiliparse's main content, narrowed to the element that holds the article.

    page, utf-8 -> tree -> formulas, tables, code (`page_blocks`) -> main content -> of the article's element, if that
    has half of it -> less what trails

resiliparse (Bevendorff et al. 2018, Elastic ChatNoir) leaves out what is named or placed as navigation; formatting is
kept, no links and no image texts, as in DataComp-LM (Li et al. 2024, section 4.2). What is done beside it was chosen on
half of trafilatura's evaluation pages and checked on the other half and on Readability's (benchmarks/extract.py):

- Comments, forms of reply, page feet, newsletters and disclaimers are skipped by name.
- Of an element by which authors and content management systems mark the article (`ARTICLES`), the text is taken alone.
- Its lists stay. resiliparse takes a <ul> for navigation where fewer than three elements are around it below <body>,
  so everything is put three deep (`DEPTH`); and where a fifth of its text is links, so links of lists that belong to
  the text of an article are made plain (`_keep_lists`).
- Short lines without an end of sentence are cut off at the end: tags, "share this", "read more".
"""

from __future__ import annotations

from typing import Any

from gristmill.stages.page_blocks import CAPTION, NO_TEXT, cut_credits, shape

SKIPPED = (
    "[id*=comment i]:not(body)",
    "#respond",
    "footer",
    "[class*=footer]:not(body)",
    "[id*=footer]:not(body)",
    "[class*=newsletter]:not(body)",
    "[class*=copyright]:not(body)",
    "[class*=disclaimer]:not(body)",
    "figure [class*=credit]",
)
"""CSS selectors of what is no part of an article, beside what resiliparse leaves out by itself."""

ARTICLES: tuple[tuple[str, str], ...] = (
    ("itemprop", "articleBody"),
    ("class", "entry-content"),
    ("class", "post-content"),
    ("class", "post_content"),
    ("class", "article-body"),
    ("class", "article__body"),
    ("class", "article-content"),
    ("class", "article-text"),
    ("class", "story-body"),
    ("class", "post-body"),
    ("class", "post-entry"),
    ("tag", "article"),
    ("role", "main"),
    ("tag", "main"),
    ("id", "content"),
    ("class", "content"),
)
"""Marks of the element that holds the article, the narrowest first: schema.org's articleBody, the class names of the
themes of WordPress, Blogger, Drupal and newspapers, HTML's article and main, ARIA's main."""

MIN_SHARE = 0.5
"""Of the main content's characters that the article's element must hold; 0.4 to 0.75 give the same F1 within 0.005."""
MIN_ARTICLE = 250
"""Characters, trafilatura's MIN_EXTRACTED_SIZE."""
TRIES = 3
"""Marks that are tried: each costs another extraction."""
CANDIDATES = 16
"""Elements with one mark that are compared; a page with more is a list of articles."""

MAX_MARKED = 2000
"""Elements with any mark that are looked at, in the page's order."""

LONG_LINE = 80
"""Characters from which a line at the end is text however it ends; 40 to 120 give the same F1 within 0.005."""
SENTENCE = 25
"""Characters from which a line that ends as sentences do is one; shorter is 'Read more!' or 'Share?'."""
MAX_TRIMMED = 0.2
"""Of the characters; where more would go, the page is a list or a poem and nothing does."""
_ENDS = frozenset('.!?…。！？।؟۔"”»“')

DEPTH = 3
"""Elements put between <body> and what is extracted."""
MAX_LISTS = 500
LINKED = 0.2
"""Share of a list's characters in links above which resiliparse drops it."""
MOSTLY_LINKED = 0.8
"""In an article a list up to this is kept: its items say something beside their links."""
FLOW = 200
"""Characters of the paragraphs beside a list of links, without a class or an id, from which it belongs to the text:
references, sources."""
LIST_ITEM = 25
"""Characters from which an item of a list at the end is text."""

NEVER = ("script", "style", "nav", "aside", "select", "textarea", "button")
"""Elements of which resiliparse keeps no text: they are taken out first, so that they count for nothing."""

_OPTIONS: dict[str, Any] = {"main_content": True, "preserve_formatting": True, "alt_texts": True, "links": False}
_SELECTORS = {"class": ".{}", "id": "#{}", "tag": "{}", "itemprop": "[itemprop={}]", "role": "[role={}]"}
_ANY = ", ".join((*NEVER, *(_SELECTORS[kind].format(value) for kind, value in ARTICLES)))


def main_text(tree: Any, hints: int) -> str:
    """Of a `resiliparse.parse.html.HTMLTree`, which is changed; empty where there is no text. hints: as by
    `extract_page`."""
    body = tree.body
    if body is None:  # a page of frames
        return ""
    shape(tree, hints)
    if hints & CAPTION:
        cut_credits(tree)
    articles = _articles(body)
    everything = body.text or ""
    content = body.child_nodes[:]
    holder = body
    body.replace_children()
    for _ in range(DEPTH):
        holder = holder.append_child(tree.create_element("div"))
    page = tree.create_element("div")
    page.append(*content)
    for size, element in articles[:1]:
        if size >= MIN_SHARE * len(everything):  # of all text, so of the main content
            enough = max(MIN_ARTICLE, MIN_SHARE * _length(everything))
            if text := _of_article(tree, holder, element, enough):
                return without_trail(text)
    holder.append_child(page)
    whole = _extracted(tree, SKIPPED)
    if len(whole) < MIN_ARTICLE:  # a name may have been that of the page itself
        whole = max(whole, _extracted(tree, ()), key=len)
    page.remove()
    enough = max(MIN_ARTICLE, MIN_SHARE * len(whole))
    for element in [element for size, element in articles if size >= enough][:TRIES]:
        if text := _of_article(tree, holder, element, enough):
            return without_trail(text)
    return without_trail(whole)


def _of_article(tree: Any, holder: Any, element: Any, enough: float) -> str:
    """The text of one element of the page alone, put into `holder`; empty where it is not enough."""
    parent, follower = element.parent, element.next
    holder.append_child(element)
    _keep_lists(element)
    text = _extracted(tree, SKIPPED)
    if len(text) >= enough:
        return text
    parent.insert_before(element, follower)  # the next may be the one around it
    return ""


def _extracted(tree: Any, skipped: tuple[str, ...]) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(tree, skip_elements=(*skipped, *NO_TEXT), **_OPTIONS)
    return text.strip()


def _length(text: str) -> int:
    """Characters with white space folded."""
    return len(" ".join(text.split()))


def _keep_lists(article: Any) -> None:
    """Makes the links plain in lists that are part of the article's text."""
    for element in article.query_selector_all("ul")[:MAX_LISTS]:
        links = element.query_selector_all("a")[:]
        if not links:
            continue
        size = _length(element.text or "")
        linked = sum(_length(link.text or "") for link in links)
        if linked <= LINKED * size:
            continue
        in_flow = not (element.getattr("class") or element.getattr("id")) and _paragraphs(element.parent) >= FLOW
        if linked <= MOSTLY_LINKED * size or in_flow:
            for link in links:
                link.replace_with(*link.child_nodes[:])


def _paragraphs(element: Any) -> int:
    return sum(len(child.text or "") for child in element.children[:MAX_MARKED] if child.tag == "p")


def _articles(body: Any) -> list[tuple[int, Any]]:
    """Of each mark that the page has, the first first, the element with the most text, and how much that is."""
    found: dict[int, list[Any]] = {}
    for element in body.query_selector_all(_ANY)[:MAX_MARKED]:  # a slice: to iterate is quadratic
        if element.tag in NEVER:
            element.remove()
            continue
        rank = _rank(element)
        if rank is not None:
            found.setdefault(rank, []).append(element)
    return [
        max(((len(element.text or ""), element) for element in found[rank][:CANDIDATES]), key=lambda pair: pair[0])
        for rank in sorted(found)
    ]


def _rank(element: Any) -> int | None:
    tag = element.tag
    if tag in ("html", "body"):
        return None
    classes = (element.getattr("class") or "").split()
    has = {"class": classes, "tag": [tag]}
    for name in ("itemprop", "role", "id"):
        has[name] = [element.getattr(name) or ""]
    return next((rank for rank, (kind, value) in enumerate(ARTICLES) if value in has[kind]), None)


def without_trail(text: str) -> str:
    """The text less the short lines at its end that end no sentence, if they are not much of it."""
    lines = text.split("\n")
    end = len(lines)
    while end and not _is_text(lines[end - 1].strip()):
        end -= 1
    kept = "\n".join(lines[:end]).rstrip()
    return kept if len(kept) >= (1 - MAX_TRIMMED) * len(text) else text


def _is_text(line: str) -> bool:
    if "\t\t" in line or (line.startswith("• ") and len(line) >= LIST_ITEM):  # a row of a table, an item of a list
        return True
    return len(line) >= LONG_LINE or (len(line) >= SENTENCE and line[-1] in _ENDS)
