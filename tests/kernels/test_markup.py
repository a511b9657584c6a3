"""What building a page's tree would cost: nested elements against a parser's tree, bombs, real pages."""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest
import zstandard

from gristmill.kernels.text.markup import MAX_STACK, markup_cost
from gristmill.stages.extract import MAX_COPIES, MAX_STEPS, Extract

UNLIMITED = (MAX_STACK, 1 << 60, 1 << 60)


def cost(html: str) -> tuple[int, int, int]:
    return markup_cost(html.encode(), *UNLIMITED)


@pytest.mark.parametrize(
    ("html", "depth"),
    [
        ("", 0), ("<", 0), ("a < b <> </ <!-- <div> -->", 0), ("<div><div></div><div><p>x<br></div></div>", 3),
        ("<p>one<p>two<p>three", 1), ("<ul><li>one<li>two<ul><li>three</ul></ul>", 4), ("<DIV a='>' b=\"<p>\">", 1),
        ("<script>'<div><div>'</script><p>", 1), ("<textarea><div><div></textarea>", 0), ("<div></span></div><div>", 1),
        ("<svg><path/><path/><g><path/></g></svg><p>", 2), ("<option>a<option>b", 1), ("<td><tr>", 0),
    ],
)  # fmt: skip
def test_open_elements_are_counted_as_the_standard_opens_and_closes_them(html: str, depth: int) -> None:
    assert cost(html)[0] == depth


TAGS = (
    "a", "b", "i", "em", "font", "nobr", "span", "div", "p", "article", "ul", "ol", "li", "dl", "dt", "dd", "table",
    "tbody", "tr", "td", "th", "caption", "select", "option", "optgroup", "button", "form", "h1", "br", "img", "svg",
    "math", "g", "path", "mi", "foreignObject", "desc", "template", "script", "style", "title", "textarea",
    "noscript", "iframe", "object", "applet", "body", "html", "head", "frameset", "ruby", "rt", "pre", "nav",
    "fieldset", "foo", "annotation-xml", "plaintext", "main",
)  # fmt: skip
ODD = ["<!--", "-->", "<![CDATA[", "]]>", "</", "\0", '="', "<g/>", "<font size=1>", "x", "</x>", "<script><!--"]


def soup(draw: random.Random) -> str:
    """Patterns of a few tags, repeated: what nests, nests deeply."""

    def tag() -> str:
        name = draw.choice(TAGS)
        return draw.choice([f"<{name}>", f"<{name}>", f"<{name} x=@>", f"</{name}>", f"</{name}>", draw.choice(ODD)])

    parts = ["".join(tag() for _ in range(draw.randint(1, 6))) * draw.choice([1, 3, 20]) for _ in range(3)]
    return "".join(str(i) if c == "@" else c for i, c in enumerate("".join(parts)))


def tree_depth(html: str) -> int:
    from resiliparse.parse.html import HTMLTree

    deepest = 0
    waiting = [(HTMLTree.parse(html).document, 0)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        child = node.first_child
        while child is not None:
            waiting.append((child, depth + 1))
            child = child.next
    return deepest


def test_no_tag_soup_makes_a_tree_much_deeper_than_counted() -> None:
    """A parser adds html, body, tbody and tr: at most two elements for each that is counted, and a few."""
    for seed in range(600):
        html = soup(random.Random(seed))
        assert tree_depth(html) <= 2 * cost(html)[0] + 8, (seed, html)


MANY = 20_000
BOMBS = {
    "nested blocks": "<div>" * MANY,
    "nested blocks under end tags that close nothing": "<article></span>" * MANY,
    "end tags that are looked for in vain": "<p>" + "<i x=1><b>" * 200 + "</x>" * 5_000_000,
    "formatting made again in each block": "".join(f"<p><font c={i}>x" for i in range(3000)),
    "formatting in list items": "".join(f"<li><tt x={i}>" for i in range(MANY)),
    "attributes": "<div " + " ".join(f"a{i}" for i in range(MANY)) + ">",
    "attributes of many bodies": "".join(f"<body a{i}>" for i in range(MANY)),
    "options": "<select>" + "<option>x" * MANY,
    "foreign elements": "<svg>" + "<g>" * MANY,
    "hidden in a style that is no text": "<svg><style>" + "<div>" * MANY,
    "hidden in a select": "<select><style>" + "<div>" * MANY,
    "hidden in a comment that ends at once": "<!-->" + "<div>" * MANY,
    "hidden in a script in a script": "<script><!--<script></script>--></script>" + "<div>" * MANY,
    "tables in tables": "<table><tr><td>" * MANY,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_page_that_would_keep_a_parser_busy_is_refused_unparsed(name: str) -> None:
    limits = (Extract().max_depth + 1, MAX_STEPS, MAX_COPIES)
    depth, steps, copies = markup_cost(BOMBS[name].encode(), *limits)
    assert depth > Extract().max_depth or steps > MAX_STEPS or copies > MAX_COPIES


def test_real_pages_stay_far_below_the_limits(shared_data: Path) -> None:
    worst = [0, 0, 0]
    with (shared_data / "web" / "html-readability.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.endswith(".html"):
                    page = archive.extractfile(member).read()  # type: ignore[union-attr]
                    worst = [max(pair) for pair in zip(worst, markup_cost(page, *UNLIMITED), strict=True)]
    assert 20 < worst[0] < Extract().max_depth / 10
    assert 100_000 < worst[1] < MAX_STEPS / 20
    assert worst[2] < MAX_COPIES / 100
