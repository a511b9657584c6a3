"""How much a text looks like source code: counts over its first lines that are no comments.

    suspects(data, offsets, chosen) -> (rows,) bool      a look at one class of bytes, for all texts
    count(data, offsets, chosen) -> (rows, len(COUNTS))  the counts, for the few that are left

What prose hardly has and code has everywhere is the test of `suspects`: a share of `SIGN_SHARE` of the bytes `SIGNS`
among the first `HEAD_BYTES`. It leaves out 92 % of the bytes of prose and 1.5 % of source files (benchmarks/
code_domain.py). The counts know no language; the words with which lines begin (`KEYWORDS`) are those of many. Lines end
at LF or CR. What the counts mean is for `stages.code_shape` to say.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from gristmill.kernels.text.uncounted import inlined, uncounted

HEAD_BYTES = 4096
"""Of lines that count."""
READ_BYTES = 16_384
"""Of all, at most: a licence in a comment is up to 12 KB."""
SIGNS = "#$%&()*+/;<=>[\\]^_`{|}~"
SIGN_SHARE = 0.02

_KEYWORDS = """
abstract add_executable alias always architecture arg assert assign async await before begin break call case catch
chan char class cmd const context continue copy create data declare def default defer delete deriving describe do
done double drop echo elif else elsif end endforeach endfunction endif endmacro entity entrypoint enum env esac eval
exec expect export expose extern false fi final finally find_package float fn for foreach from func function go goto
if impl implicit import include inline input insert install instance int integer interface it label lazy let library
local logic long macro map match message mod module my namespace new nil null object open option our output override
package print printf println private proc process program project protected pub public puts raise range read real
reg require return run section select self set shift should signal source stage static struct sub subroutine super
switch target_link_libraries template test then this throw trait trap true try type typedef typeset unless unset
unsigned until update use using val var void where while wire with workdir write yield
"""
KEYWORDS = tuple(_KEYWORDS.split())
"""Words with which lines of code begin, in lower case. Many begin lines of prose too: it is their share that counts."""

COUNTS = (
    *("bytes", "lines", "comments", "blank", "prose_ends", "indented", "sign_starts", "keywords"),
    *("prose_spaces", "braces", "parentheses", "calls", "underscores", "operators", "commands", "tags", "quotes"),
    *("commas", "digits"),
)
"""Columns of `count`. Lines are those that are neither blank nor comments; bytes are theirs, without the white space at
their ends. What is not plain from its name:

prose_ends              lines that end in . ! or ?
sign_starts             lines that begin with neither a letter nor a digit
keywords                lines that begin with one of `KEYWORDS`
prose_spaces            a space between a letter or comma and a letter
calls                   "(" right behind a letter, a digit or "_"
underscores             beside a letter
operators               + * & | % > $ @ ^ ~
commands, tags          "\\"; "<" before a letter, "/" or "!"
"""

AT: Any = namedtuple("AT", COUNTS)(*range(len(COUNTS)))
"""Column of each count."""

_SLOTS = 1024
_FNV_BASIS, _FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)  # Fowler, Noll, Vo: FNV-1a, 64 bits
_SLOT_SHIFT = np.uint64(54)


def _keyword_table() -> np.ndarray:
    """(_SLOTS,) uint64: hashes of `KEYWORDS`, open addressing; 0 is free."""
    table = np.zeros(_SLOTS, np.uint64)
    for word in KEYWORDS:
        value = int(_FNV_BASIS)
        for byte in word.encode():
            value = (value ^ byte) * int(_FNV_PRIME) & (1 << 64) - 1
        slot = value >> int(_SLOT_SHIFT)
        while table[slot]:
            slot = (slot + 1) % _SLOTS
        table[slot] = value
    return table


def _classes() -> np.ndarray:
    """(256,) uint8: what a byte is looked at for. See `_look`."""
    classes = np.zeros(256, np.uint8)
    for value, characters in enumerate(("{}", "()", "_", "+*&|%>$@^~", "\\", "<", "\"'", ",", "0123456789", " "), 1):
        classes[[ord(each) for each in characters]] = value
    return classes


_TABLE = _keyword_table()
_CLASSES = _classes()
_BRACE, _PARENTHESIS, _UNDERSCORE, _OPERATOR, _COMMAND, _TAG, _QUOTE, _COMMA, _DIGIT, _SPACE = range(1, 11)


def suspects(data: np.ndarray, offsets: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(rows,) bool: chosen texts that may be code.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64. chosen: (rows,) bool.
    """
    found = np.zeros(len(offsets) - 1, np.bool_)
    _suspect(data, offsets, chosen, found)
    return found


def count(data: np.ndarray, offsets: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(rows, len(COUNTS)) int64, 0 for rows that are not chosen. Arguments as those of `suspects`."""
    counts = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    _count(data, offsets, chosen, _TABLE, _CLASSES, counts)
    return counts


@uncounted
def _suspect(data, offsets, chosen, found):
    for row in range(len(found)):
        if not chosen[row]:
            continue
        begin = np.uint64(offsets[row])
        end = min(np.uint64(offsets[row + 1]), begin + np.uint64(HEAD_BYTES))
        signs = np.int64(0)
        for block in range(begin, end, np.uint64(240)):  # so many truths add up to a byte
            some = np.uint8(0)
            for i in range(block, min(block + np.uint64(240), end)):  # no branches: a few vector instructions
                b = data[i]
                sign = np.uint8((b >= 0x23) & (b <= 0x26)) | np.uint8((b >= 0x28) & (b <= 0x2B))
                sign |= np.uint8((b >= 0x3B) & (b <= 0x3E)) | np.uint8((b >= 0x5B) & (b <= 0x60))
                sign |= np.uint8((b >= 0x7B) & (b <= 0x7E)) | np.uint8(b == 0x2F)
                some = np.uint8(some + sign)
            signs += some
        found[row] = signs > 0 and signs >= SIGN_SHARE * np.int64(end - begin)


@uncounted
def _count(data, offsets, chosen, table, classes, counts):
    for row in range(len(counts)):
        if not chosen[row]:
            continue
        c = counts[row]
        at, end = offsets[row], min(offsets[row + 1], offsets[row] + READ_BYTES)
        while at < end and c[AT.bytes] < HEAD_BYTES:
            stop = at
            while stop < end and data[stop] != 10 and data[stop] != 13:
                stop += 1
            first, last = at, stop
            while first < stop and (data[first] == 32 or data[first] == 9):
                first += 1
            while last > first and (data[last - 1] == 32 or data[last - 1] == 9):
                last -= 1
            if first == last:
                c[AT.blank] += 1
            elif _is_comment(data, first, last):
                c[AT.comments] += 1
            else:
                _line(data, first, min(last, first + HEAD_BYTES), first > at, table, classes, c)
            at = stop + 1


@uncounted
def _line(data, first, last, indented, table, classes, c):
    c[AT.lines] += 1
    c[AT.bytes] += last - first
    c[AT.indented] += indented
    begin, end = data[first], data[last - 1]
    c[AT.sign_starts] += not (_is_letter(begin) or 48 <= begin <= 57)
    c[AT.prose_ends] += end == 46 or end == 33 or end == 63  # . ! ?
    c[AT.keywords] += _is_keyword(data, first, last, table)
    for i in range(first, last):
        kind = classes[data[i]]
        if kind:
            _look(data, i, kind, data[i - 1] if i > first else 10, data[i + 1] if i + 1 < last else 10, c)


@inlined
def _look(data, i, kind, before, behind, c):
    if kind == _SPACE:
        c[AT.prose_spaces] += (_is_letter(before) or before == 44) and _is_letter(behind)
    elif kind == _BRACE:
        c[AT.braces] += 1
    elif kind == _PARENTHESIS:
        c[AT.parentheses] += 1
        c[AT.calls] += data[i] == 40 and (_is_letter(before) or before == 95 or 48 <= before <= 57)
    elif kind == _UNDERSCORE:
        c[AT.underscores] += _is_letter(before) or _is_letter(behind)
    elif kind == _OPERATOR:
        c[AT.operators] += 1
    elif kind == _COMMAND:
        c[AT.commands] += 1
    elif kind == _TAG:
        c[AT.tags] += _is_letter(behind) or behind == 47 or behind == 33
    elif kind == _QUOTE:
        c[AT.quotes] += 1
    elif kind == _COMMA:
        c[AT.commas] += 1
    else:
        c[AT.digits] += 1


@inlined
def _is_letter(byte):
    """A letter of ASCII, or any character beyond."""
    return 97 <= byte | 32 <= 122 or byte >= 128


@uncounted
def _is_comment(data, first, last):
    """Whether a line begins as a comment does: // /* * */ # -- % ; !"""
    byte = data[first]
    behind = data[first + 1] if first + 1 < last else np.uint8(32)
    spaced = behind == 32 or behind == 9
    if byte == 47:  # /
        return behind == 47 or behind == 42
    if byte == 42:  # *
        return spaced or behind == 47 or behind == 42
    if byte == 35:  # #
        return spaced or behind == 33 or behind == 35 or behind == 39
    if byte == 45:  # -
        return behind == 45
    return (byte == 37 or byte == 59 or byte == 33) and (spaced or behind == byte)  # % ; !


@uncounted
def _is_keyword(data, first, last, table):
    value = _FNV_BASIS
    i = first
    while i < last and i - first < 24 and (97 <= data[i] <= 122 or data[i] == 95):
        value = (value ^ np.uint64(data[i])) * _FNV_PRIME
        i += 1
    if i == first or (i < last and _is_letter(data[i])):
        return False
    slot = np.int64(value >> _SLOT_SHIFT)
    while table[slot] != 0:
        if table[slot] == value:
            return True
        slot = (slot + 1) % _SLOTS
    return False
