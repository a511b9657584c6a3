"""XHTML for an HTML parser: against what an XML parser makes of the same page."""

from __future__ import annotations

import time
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.kernels.text.xhtml import as_html


def html(page: str) -> str:
    return as_html(page.encode()).decode()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<title/>a<a id="x" />b<i/>c<p\n/>d', '<title></title>a<a id="x" ></a>b<i></i>c<p\n></p>d'),
        ("a<br/>b<br></br>c<img src='x'/>d<hr/>", "a<br/>b<br>c<img src='x'/>d<hr/>"),
        ("<![CDATA[a < b & c]]>d", "a &lt; b &amp; cd"), ("<![CDATA[open", "open"),
        ('<!DOCTYPE html [<!ENTITY a "]>"> ]><p>x', "<!DOCTYPE html ><p>x"),
        ('<!DOCTYPE html PUBLIC "a" "b"><p/>', '<!DOCTYPE html PUBLIC "a" "b"><p></p>'),
        ("<?xml version='1.0'?><p>x<?php a > b ?></p>", "<p>x</p>"), ("<? broken > y", " y"),
        ("<script src='y'/>z<script>'<a/>'</script>", "<script src='y'></script>z<script>'<a/>'</script>"),
        ("<a href=x/>y</a>", "<a href=x/>y</a>"), ("<!-- <a/> --><a/>", "<!-- <a/> --><a></a>"),
        ("<plaintext/>x", "x"), ("<svg><path d='x'/></svg>", "<svg><path d='x'></path></svg>"),
        ("", ""), ("<", "<"), ("<a/", "<a/"), ("a < b </ c", "a < b </ c"), ("<!DOCTYPE [<p/>", "<!DOCTYPE <p></p>"),
    ],
)  # fmt: skip
def test_what_xml_means_otherwise_is_written_as_html(page: str, expected: str) -> None:
    assert html(page) == expected


NAMES = st.sampled_from(
    ["p", "div", "span", "title", "script", "style", "iframe", "textarea", "a", "br", "img", "noscript"]
)
PAGES = st.recursive(
    st.one_of(st.sampled_from(["x", "a &amp; b", "<![CDATA[1 &lt; <b> 2]]>"]), NAMES.map(lambda name: f"<{name}/>")),
    lambda inner: st.tuples(st.sampled_from(["div", "section", "em"]), st.lists(inner, max_size=4)).map(
        lambda found: f"<{found[0]}>{''.join(found[1])}</{found[0]}>"
    ),
)


@given(PAGES)
def test_an_html_parser_then_sees_the_text_that_an_xml_parser_sees(page: str) -> None:
    from resiliparse.parse.html import HTMLTree

    root: Element = fromstring(f"<body>{page}</body>")
    body = HTMLTree.parse(html(f"<html><body>{page}</body></html>")).body
    assert body is not None
    assert body.text == "".join(root.itertext())


@pytest.mark.parametrize(
    "part", ["<a/>", "<![CDATA[", "<!", "<!DOCTYPE [", "<!--", "<?", "<a ", "<script><!--", '<a "', "<"]
)
def test_the_time_is_proportional_to_the_size(part: str) -> None:
    as_html(b"<p/>")
    page = (part * (4_000_000 // len(part))).encode()
    begun = time.process_time()
    as_html(page)
    assert time.process_time() - begun < 5
