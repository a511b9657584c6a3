"""What is cut out of a line, in place: "[1]", "[edit]", "items in cart", "read more..." at the end, "sign-in" before.

    may_cut(data, begin, end, edit, scanned) -> whether it is worth looking
    cut(data, begin, end, edit, ...) -> end        bytes begin .. end moved together

`edit` is an index in `line_rules.EDITS`, `scanned` what `line_rules.scan` found. Words are matched in any case of ASCII
letters, citations as they are. A cut is not tried again on what it leaves.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.line_rules import BRACKETS, EDITED_WORDS, EDITS, NOTES, WORDS, equal, flags_at, packed
from gristmill.kernels.text.uncounted import uncounted

_AT_NUMBERS, _AT_NOTES, _AT_CART, _AT_MORE, _AT_SIGN = range(len(EDITS))
_NOTE_DATA, _NOTE_OFFSETS = packed(NOTES)
_CART = np.frombuffer(b"items in cart", np.uint8)
_MORE = np.frombuffer(b"read more...", np.uint8)
_MORE_ELLIPSIS = np.frombuffer("read more…".encode(), np.uint8)
_SIGN = np.frombuffer(b"sign-in", np.uint8)


@uncounted
def may_cut(data, first, last, edit, scanned):
    """Whether it is worth looking."""
    if edit <= _AT_NOTES:
        return scanned[BRACKETS] > 0
    if scanned[WORDS] > EDITED_WORDS:
        return False
    if edit == _AT_SIGN:
        return data[first] | 32 == 115
    if edit == _AT_MORE:
        return data[last - 1] == 46 or data[last - 1] == 0xA6
    return last - first >= 13  # items in cart


@uncounted
def cut(data, begin, end, edit, blocks, classes, flags):
    if edit == _AT_NUMBERS:
        return cut_citation_numbers(data, begin, end, blocks, classes, flags)
    if edit == _AT_NOTES:
        return cut_citation_notes(data, begin, end)
    if edit == _AT_CART:
        return cut_items_in_cart(data, begin, end)
    if edit == _AT_MORE:
        return cut_read_more(data, begin, end)
    return cut_sign_in(data, begin, end)


@uncounted
def cut_citation_numbers(data, begin, end, blocks, classes, flags):
    """Cuts "[" digits "]", with any number of digits of any script, none included."""
    i = to = begin
    while i < end:
        if data[i] == 91:
            j = i + 1
            while j < end:
                f, width = flags_at(data, j, end, blocks, classes, flags)
                if not f & utf8.DIGIT:
                    break
                j += width
            if j < end and data[j] == 93:
                i = j + 1
                continue
        data[to] = data[i]
        i += 1
        to += 1
    return to


@uncounted
def cut_citation_notes(data, begin, end):
    """Cuts every one of `NOTES`, in lower case as they are."""
    i = to = begin
    while i < end:
        if data[i] == 91:
            size = 0
            for p in range(len(_NOTE_OFFSETS) - 1):
                first, behind = _NOTE_OFFSETS[p], _NOTE_OFFSETS[p + 1]
                if _same(data, i, end, _NOTE_DATA[first:behind]):
                    size = behind - first
            if size:
                i += size
                continue
        data[to] = data[i]
        i += 1
        to += 1
    return to


@uncounted
def cut_items_in_cart(data, begin, end):
    """Cuts "items in cart" wherever it stands, with one space or tab before it."""
    i = to = behind = begin
    while i < end:
        if data[i] | 32 == 105 and equal(data, i, end, _CART):
            if i > behind and (data[i - 1] == 32 or data[i - 1] == 9):
                to -= 1
            i += len(_CART)
            behind = i
            continue
        data[to] = data[i]
        i += 1
        to += 1
    return to


@uncounted
def cut_read_more(data, begin, end):
    """Cuts "read more..." or "read more…" at the end, with one space or tab before it."""
    start = end
    if equal(data, max(begin, end - len(_MORE)), end, _MORE):
        start = end - len(_MORE)
    elif equal(data, max(begin, end - len(_MORE_ELLIPSIS)), end, _MORE_ELLIPSIS):
        start = end - len(_MORE_ELLIPSIS)
    if begin < start < end and (data[start - 1] == 32 or data[start - 1] == 9):
        start -= 1
    return start


@uncounted
def cut_sign_in(data, begin, end):
    """Cuts "sign-in" at the beginning, with one space or tab behind it."""
    if not equal(data, begin, end, _SIGN):
        return end
    i = begin + len(_SIGN)
    if i < end and (data[i] == 32 or data[i] == 9):
        i += 1
    to = begin
    while i < end:
        data[to] = data[i]
        i += 1
        to += 1
    return to


@uncounted
def _same(data, at, end, phrase):
    if at + len(phrase) > end:
        return False
    for k in range(len(phrase)):  # noqa: SIM110
        if data[at + k] != phrase[k]:
            return False
    return True
