"""An XML document as a tree, by expat, with bounds on what a document can make it do.

Names are local names: prefixes of namespaces are left out, of elements and of attributes. A doctype may stand there,
because JATS articles have one, but nothing is read from outside, and one that declares entities of its own is refused:
that is what "a billion laughs" and the reading of local files are made of. A named entity that HTML has (`&nbsp;`) is
that character where the doctype names a DTD, any other becomes nothing. Depth and the number of elements are limited,
because the tree takes some 200 bytes an element.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.entities import html5
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gristmill.kernels.text.unspaced import folded

MAX_DEPTH = 200
MAX_ELEMENTS = 1_000_000
"""A full-text article has some thousand, one with tables of data a hundred thousand."""


class XmlError(Exception):
    """`reason` is that of the quarantined row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_xml(data: bytes, encoding: str | None = None) -> Element:
    """The root element. XmlError: xml.malformed, xml.entities, xml.too_deep, xml.too_many_elements.

    encoding: None: as the document says, UTF-8 where it says nothing.
    """
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.ordered_attributes = True
    builder = TreeBuilder()
    depth = elements = 0

    def start(name: str, attributes: list[str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > MAX_DEPTH:
            raise XmlError("xml.too_deep")
        if elements > MAX_ELEMENTS:
            raise XmlError("xml.too_many_elements")
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        builder.start(local_name(name), {local_name(key): value for key, value in pairs})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(local_name(name))

    def declared(*_: object) -> None:
        raise XmlError("xml.entities")

    def skipped(name: str, is_parameter: bool) -> None:
        if not is_parameter and depth:
            builder.data(html5.get(f"{name};", ""))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = declared
    parser.SkippedEntityHandler = skipped
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # of encodings that expat or Python does not know
        raise XmlError("xml.malformed") from error
    return builder.close()


def local_name(name: str) -> str:
    return name.rpartition(":")[2]


def child(element: Element | None, *path: str) -> Element | None:
    """The first child of that name, then its first child of the next; None where one is missing."""
    for name in path:
        if element is None:
            return None
        element = element.find(name)
    return element


def all_text(element: Element | None) -> str:
    """All text in the element, white space folded; empty for None."""
    return "" if element is None else folded("".join(element.itertext()))


def children(element: Element | None, name: str) -> Iterator[Element]:
    if element is not None:
        yield from element.findall(name)
