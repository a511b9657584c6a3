"""A PDF document (ISO 32000-2) to its characters with their places, by PDFium; what the guarded process runs.

    bytes -> document, by the empty password -> for every page codes and boxes of its characters (n,) and (n, 4)
          -> lines in reading order (`pdf_layout`) -> text of the whole (`pdf_text`)

PDFium bounds what a broken page tree or a recursive one costs; pages that it cannot read are counted. Text that is
drawn invisibly counts: that is how recognised text lies under a scan. Nothing is rendered.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from gristmill.pipeline.readers.markup.pdf_layout import Characters, Line, page_lines
from gristmill.pipeline.readers.markup.pdf_text import document_text

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

    from gristmill.stages.guard import Work

MAX_PAGES = 100_000
SAMPLED = 16  # every so many characters are asked for the direction in which they are written
WHITE = (0x09, 0x0A, 0x0D)
UNMAPPED = 0.5  # of a document's characters; where more have no known code, the text is none


class PdfSaid(TypedDict):
    """What a document says beside its text."""

    pages: int
    pages_without_text: int
    pages_unreadable: int
    information: dict[str, str]
    """The document information dictionary, section 14.3.3: Title, Author, CreationDate ..."""


def reader(max_text: str) -> Work:
    """max_text: most characters of a document's text, in decimal."""
    import pypdfium2

    def work(data: memoryview, address: str | None) -> tuple[str | None, PdfSaid | str]:
        try:
            document = pypdfium2.PdfDocument(bytes(data))
        except pypdfium2.PdfiumError as error:
            return None, "encrypted" if "password" in str(error).lower() else "damaged"
        try:
            return _read(document, int(max_text))
        finally:
            document.close()

    return work


def _read(document: PdfDocument, max_text: int) -> tuple[str | None, PdfSaid | str]:
    import pypdfium2

    number = len(document)
    if number > MAX_PAGES:
        return None, "too_many_pages"
    pages: list[list[list[Line]]] = []
    size = mapped = empty = unreadable = 0
    for index in range(number):
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            unreadable += 1
            continue
        try:
            characters = _characters(page)
        finally:
            page.close()
        mapped += int(np.count_nonzero(characters.codes))
        size += len(characters.codes)
        if size > 2 * max_text:
            return None, "too_large"
        blocks = page_lines(characters)
        empty += not blocks
        pages.append(blocks)
    if not pages:
        return None, "damaged"
    text = document_text(pages) if mapped >= UNMAPPED * size else ""
    if len(text) > max_text:
        return None, "too_large"
    return text or None, {
        "pages": number,
        "pages_without_text": empty,
        "pages_unreadable": unreadable,
        "information": document.get_metadata_dict(skip_empty=True),
    }


def _characters(page: PdfPage) -> Characters:
    """All characters of a page in the order in which PDFium gives them, mostly that of the content stream."""
    import pypdfium2.raw as pdfium

    text = page.get_textpage()
    try:
        handle = text.raw
        count = max(0, pdfium.FPDFText_CountChars(handle))
        boxes = (pdfium.FS_RECTF * count)()
        box_of = pdfium.FPDFText_GetLooseCharBox
        for i in range(count):
            box_of(handle, i, boxes[i])
        units = (ctypes.c_ushort * (count + 1))()
        if pdfium.FPDFText_GetText(handle, 0, count, units) == count + 1:
            codes = np.frombuffer(units, np.uint16, count).astype(np.uint32)
        else:  # characters of two UTF-16 units, or of none
            codes = np.fromiter((pdfium.FPDFText_GetUnicode(handle, i) for i in range(count)), np.uint32, count)
        for i in np.flatnonzero(
            codes < 0x20
        ).tolist():  # a hyphen at a line's end is 2, but a font's own code may be too
            if codes[i] not in WHITE and pdfium.FPDFText_IsHyphen(handle, i) != 1:
                codes[i] = 0
        box = np.frombuffer(boxes, np.float32).reshape(count, 4).astype(np.float64)
        sampled = [pdfium.FPDFText_GetCharAngle(handle, i) for i in range(0, count, SAMPLED)]
        if any(abs(angle) > 0.1 for angle in sampled):
            turned = np.fromiter((pdfium.FPDFText_GetCharAngle(handle, i) for i in range(count)), np.float64, count)
            quarters = np.rint(np.maximum(turned, 0) / (np.pi / 2)).astype(np.int64) % 4
        else:
            quarters = np.zeros(count, np.int64)
    finally:
        text.close()
    # FS_RECTF: left, top, right, bottom
    return Characters(codes, box[:, [0, 3, 2, 1]], quarters)
