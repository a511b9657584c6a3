"""The main text of a page: resiliparse's main content, narrowed to the element that holds the article.

    page, utf-8 -> tree -> main content -> of the article's element, if that has half of it -> less what trails

resiliparse (Bevendorff et al. 2018, Elastic ChatNoir) leaves out what is named or placed as navigation; formatting is
kept, no links and no image texts, as in DataComp-LM (Li et al. 2024, section 4.2). Two things are done beside it, both
chosen on half of trafilatura's evaluation pages and checked on the other half and on Readability's
(benchmarks/extract.py): comments, forms of reply and page feet are skipped by name; of an element by which authors and
content management systems mark the article (`ARTICLES`), the text is taken alone. Then short lines without an end of
sentence are cut off at the end: tags, "share this", "read more".
"""

from __future__ import annotations

from typing import Any

SKIPPED = (
    "[id*=comment i]:not(body)",
    "#respond",
    "footer",
    "[class*=footer]:not(body)",
    "[id*=footer]:not(body)",
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

_OPTIONS: dict[str, Any] = {"main_content": True, "preserve_formatting": True, "alt_texts": False, "links": False}
_SELECTORS = {"class": ".{}", "id": "#{}", "tag": "{}", "itemprop": "[itemprop={}]", "role": "[role={}]"}
_ANY = ", ".join(_SELECTORS[kind].format(value) for kind, value in ARTICLES)


def main_text(tree: Any) -> str:
    """Of a `resiliparse.parse.html.HTMLTree`, which is changed; empty where there is no text."""
    from resiliparse.extract.html2text import extract_plain_text

    body = tree.body
    if body is None:  # a page of frames
        return ""
    whole: str = extract_plain_text(tree, skip_elements=SKIPPED, **_OPTIONS).strip()
    if len(whole) < MIN_ARTICLE:  # a name may have been that of the page itself
        whole = max(whole, extract_plain_text(tree, **_OPTIONS).strip(), key=len)
    enough = max(MIN_ARTICLE, MIN_SHARE * len(whole))
    articles = _articles(tree, enough)
    if articles:
        rest = tree.create_element("div")
        rest.append(*body.child_nodes)
        inner = _nested(tree, body)
    for element in articles:
        parent, follower = element.parent, element.next
        inner.append_child(element)
        part = extract_plain_text(tree, skip_elements=SKIPPED, **_OPTIONS).strip()
        if len(part) >= enough:
            return without_trail(part)
        parent.insert_before(element, follower)  # the next may be the one around it
    return without_trail(whole)


DEPTH = 3


def _nested(tree: Any, body: Any) -> Any:
    for _ in range(DEPTH):
        body = body.append_child(tree.create_element("div"))
    return body


def _articles(tree: Any, enough: float) -> list[Any]:
    """Of each of the first marks that the page has, the element with the most text, scripts included."""
    found: dict[int, list[Any]] = {}
    for element in tree.document.query_selector_all(_ANY)[:MAX_MARKED]:  # a slice: to iterate is quadratic
        rank = _rank(element)
        if rank is not None:
            found.setdefault(rank, []).append(element)
    result = []
    for rank in sorted(found):
        size, element = max(((len(e.text or ""), e) for e in found[rank][:CANDIDATES]), key=lambda pair: pair[0])
        if size >= enough:
            result.append(element)
    return result[:TRIES]


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
    return len(line) >= LONG_LINE or (len(line) >= SENTENCE and line[-1] in _ENDS)
