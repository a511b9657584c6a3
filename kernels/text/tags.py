"""The tags of a page, found in its bytes as an HTML tokenizer finds them, and what their names say of the tree.

Tokenization and the kinds of elements as in the WHATWG HTML Standard, sections 13.2.5 and 13.2.4. A name is the
FNV-1a hash of its lower-case bytes (64 bits); what a name says is looked up in the sorted table of `tag_table`.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np

# What a tag's name says about it; a name may have several.
VOID = 1
SPECIAL = 2  # section 13.2.4.2, "The stack of open elements"
SCOPE = 4  # ends the search for an element "in scope"
FORMATTING = 8
CLOSES_P = 16
RAW = 32  # what is in it is text
MARKER = 64  # starts a list of formatting elements of its own
LIST_ITEM = 128  # li, dt, dd: closed by the next
IN_TABLE = 256  # closed by the next of its kind or a larger part of the table, nothing outside a table
ENDS_IN_SCOPE = 512  # its end tag closes what is open in it
ROOT = 1024  # html, head, body: never made twice
FOREIGN = 2048  # svg, math
INTEGRATION = 4096  # in svg or math, HTML again
BREAKS_OUT = 8192  # in svg or math, ends them
REOPENS = 16384  # opens formatting elements again, as text and all that is not SPECIAL does
MATHS = 1 << 15  # what a page's text needs to know, see `page_hints`
PICTURE = 1 << 16
PREFORMATTED = 1 << 17
TABLE_CELL = 1 << 18
TITLES_FIGURE = 1 << 19

_NAMES = {
    VOID: "area base basefont bgsound br col command embed frame hr image img input keygen link meta param source "
    "track wbr",
    SPECIAL: "address applet area article aside base basefont bgsound blockquote body br button caption center col "
    "colgroup dd details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 "
    "head header hgroup hr html iframe img input keygen li link listing main marquee menu meta nav noembed noframes "
    "noscript object ol p param plaintext pre script search section select source style summary table tbody td "
    "template textarea tfoot th thead title tr track ul wbr xmp foreignobject desc mi mo mn ms mtext annotation-xml",
    SCOPE: "applet caption html table td th marquee object template foreignobject desc mi mo mn ms mtext "
    "annotation-xml",
    FORMATTING: "a b big code em font i nobr s small strike strong tt u",
    CLOSES_P: "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hgroup hr main menu nav ol p search section summary ul pre listing li dd dt "
    "plaintext xmp",
    RAW: "script style title textarea xmp iframe noembed noframes plaintext",
    MARKER: "applet object marquee template td th caption",
    LIST_ITEM: "li dd dt",
    IN_TABLE: "caption colgroup tbody thead tfoot tr td th",
    ENDS_IN_SCOPE: "address applet article aside blockquote button center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup li listing main marquee menu nav object ol p pre "
    "search section select summary template ul",
    ROOT: "html head body",
    FOREIGN: "svg math",
    INTEGRATION: "foreignobject desc title mi mo mn ms mtext annotation-xml",
    MATHS: "math mjx-container",
    PICTURE: "img image",
    PREFORMATTED: "pre code listing",
    TABLE_CELL: "td th",
    TITLES_FIGURE: "figcaption",
    REOPENS: "applet marquee object button select xmp area br embed img keygen wbr input image",
    BREAKS_OUT: "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing "
    "menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var font",
}
_BASIS, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits


@cache
def tag_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sorted hashes of names, their flags, hashes of the names that the code asks for)."""
    flags: dict[int, int] = {}
    for flag, names in _NAMES.items():
        for name in names.split():
            flags[name_hash(name)] = flags.get(name_hash(name), 0) | flag
    hashes = np.array(sorted(flags), np.uint64)
    asked = np.array([name_hash(name) for name in ASKED], np.uint64)
    return hashes, np.array([flags[int(h)] for h in hashes], np.int64), asked


ASKED = ("p", "table", "option", "select", "script", "a", "nobr", "button", "template", "address", "div", "tr", "td",
         "th", "br", "font", "frameset", "color", "face", "size", "li", "noframes", "data-tex")  # fmt: skip
P, TABLE, OPTION, SELECT, SCRIPT, ANCHOR, NOBR, BUTTON, TEMPLATE, ADDRESS, DIV, TR, TD, TH, BR, FONT = range(16)
FRAMESET, COLOR, FACE, SIZE, LI, NOFRAMES, DATA_TEX = range(16, 23)


def name_hash(name: str) -> int:
    value = _BASIS
    for byte in name.encode():
        value = (value ^ byte) * _PRIME % (1 << 64)
    return value


@numba.njit(cache=True, nogil=True)
def flags_of(name, hashes, flags):
    at = np.searchsorted(hashes, name)
    return flags[at] if at < len(hashes) and hashes[at] == name else 0


@numba.njit(cache=True, nogil=True)
def is_letter(byte):
    return 97 <= (byte | 32) <= 122


@numba.njit(cache=True, nogil=True)
def is_space(byte):
    return byte == 32 or byte == 10 or byte == 9 or byte == 13 or byte == 12


@numba.njit(cache=True, nogil=True)
def find(data, at, first, second, third):
    """Place behind the next three bytes, the end if there are none."""
    n = len(data)
    while at + 2 < n:
        if data[at] == first and data[at + 1] == second and data[at + 2] == third:
            return at + 3
        at += 1
    return n


@numba.njit(cache=True, nogil=True)
def behind_comment(data, at):
    """Place behind a comment whose `<!--` ends at `at`."""
    n = len(data)
    if at < n and data[at] == 62:
        return at + 1  # <!-->
    if at + 1 < n and data[at] == 45 and data[at + 1] == 62:
        return at + 2  # <!--->
    while at + 2 < n:
        if data[at] == 45 and data[at + 1] == 45:
            if data[at + 2] == 62:
                return at + 3
            if at + 3 < n and data[at + 2] == 33 and data[at + 3] == 62:
                return at + 4
        at += 1
    return n


@numba.njit(cache=True, nogil=True)
def name_at(data, at):
    """(hash of the tag's name in lower case, place behind it)."""
    value = np.uint64(_BASIS)
    n = len(data)
    while at < n and not is_space(data[at]) and data[at] != 47 and data[at] != 62:
        byte = data[at]
        if 65 <= byte <= 90:
            byte |= 32
        value = (value ^ np.uint64(byte)) * np.uint64(_PRIME)
        at += 1
    return value, at


@numba.njit(cache=True, nogil=True)
def behind_attributes(data, at, asked):
    """(attributes, place behind the tag, whether it ends in '/>', hash of all of them, 1 where color, face or size is
    one, 2 where data-tex is)."""
    n = len(data)
    count = 0
    signature = np.uint64(_BASIS)
    closed = False
    presented = 0
    while at < n:
        byte = data[at]
        if byte == 62:
            return count, at + 1, closed, signature, presented
        closed = byte == 47
        if is_space(byte) or byte == 47:
            at += 1
            continue
        count += 1
        first = True
        name = np.uint64(_BASIS)
        while at < n and (first or data[at] != 61) and not is_space(data[at]) and data[at] != 47 and data[at] != 62:
            signature = (signature ^ np.uint64(data[at])) * np.uint64(_PRIME)
            byte = data[at] | 32 if 65 <= data[at] <= 90 else data[at]
            name = (name ^ np.uint64(byte)) * np.uint64(_PRIME)
            first = False
            at += 1
        if name == asked[COLOR] or name == asked[FACE] or name == asked[SIZE]:
            presented |= 1
        elif name == asked[DATA_TEX]:
            presented |= 2
        behind = at
        while behind < n and is_space(data[behind]):
            behind += 1
        if behind < n and data[behind] == 61:
            at = behind + 1
            while at < n and is_space(data[at]):
                at += 1
            if at < n and (data[at] == 34 or data[at] == 39):
                quote = data[at]
                at += 1
                while at < n and data[at] != quote:
                    signature = (signature ^ np.uint64(data[at])) * np.uint64(_PRIME)
                    at += 1
                at += 1
            else:
                while at < n and not is_space(data[at]) and data[at] != 62:
                    signature = (signature ^ np.uint64(data[at])) * np.uint64(_PRIME)
                    at += 1
    return count, n, closed, signature, presented


@numba.njit(cache=True, nogil=True)
def behind_raw(data, at, name, is_script):
    """Place of the end tag that ends the text in an element of this name. A script may hold one of its own in a
    comment (section 13.2.5.20, "Script data double escaped state")."""
    n = len(data)
    escaped = double = False
    while at + 2 < n:
        if is_script and data[at] == 45 and data[at + 1] == 45:
            if data[at + 2] == 62:
                escaped = double = False
            at += 1
            continue
        if data[at] != 60:
            at += 1
            continue
        if is_script and at + 3 < n and data[at + 1] == 33 and data[at + 2] == 45 and data[at + 3] == 45:
            escaped = True
            at += 2
            continue
        end = data[at + 1] == 47
        begin = at + 2 if end else at + 1
        if (end or (is_script and escaped)) and begin < n and is_letter(data[begin]):
            found, behind = name_at(data, begin)
            if found == name and behind < n:
                if end and not double:
                    return at
                double = not end
        at += 1
    return n
