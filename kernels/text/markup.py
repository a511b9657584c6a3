"""What it would cost an HTML parser to build the tree of a page, counted without building it.

The tree construction of HTML (WHATWG HTML Standard, section 13.2.6) is linear but for four things, with which a page of
50 KB keeps a parser busy for minutes or fills the memory: the stack of open elements is searched at nearly every tag,
so deep trees cost depth × tags; formatting elements that were closed by a block are made again in each that follows;
the attributes of a tag are compared with each other; so are the options of a select. One pass over the bytes keeps
the stack and the list of active formatting elements as the standard does, wherever it leaves a doubt in the way that
makes them longer, and adds up what a parser would do. It is no parser: nothing says what the page is.

    page (n,) uint8 -> (depth, steps, copies), and what the page may hold (`page_hints`)
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text import page_hints
from gristmill.kernels.text.page_hints import (
    CAPTION,
    CELL,
    CODE,
    FORMULA,
    LONE,
    UNSPACED,
    is_lone,
    joined_at,
    may_be_formula,
)
from gristmill.kernels.text.tags import (
    ADDRESS,
    ANCHOR,
    BR,
    BREAKS_OUT,
    BUTTON,
    CLOSES_P,
    DIV,
    ENDS_IN_SCOPE,
    FONT,
    FOREIGN,
    FORMATTING,
    FRAMESET,
    IN_TABLE,
    INTEGRATION,
    LI,
    LIST_ITEM,
    MARKER,
    MATHS,
    NOBR,
    NOFRAMES,
    OPTION,
    PICTURE,
    PREFORMATTED,
    RAW,
    REOPENS,
    ROOT,
    SCOPE,
    SCRIPT,
    SELECT,
    SPECIAL,
    TABLE,
    TABLE_CELL,
    TD,
    TEMPLATE,
    TH,
    TITLES_FIGURE,
    TR,
    VOID,
    P,
    behind_attributes,
    behind_comment,
    behind_raw,
    find,
    flags_of,
    is_letter,
    is_space,
    name_at,
    tag_table,
)

MAX_STACK = 1 << 16
MAX_FORMATTING = 1 << 12

OPTION_STEPS = 3
"""An option is compared with those before it, at three times the cost of a step on the stack (measured)."""
ADOPTED = 8
"""Rounds of the adoption agency algorithm, section 13.2.6.4.7; each makes an element again."""


class Counts(NamedTuple):
    depth: int
    """Elements open at once."""
    steps: int
    """Comparisons."""
    copies: int
    """Formatting elements made again."""
    hints: int
    """Bits of `page_hints`."""


def markup_cost(page: bytes, max_depth: int, max_steps: int, max_copies: int) -> tuple[int, int, int]:
    """The first three of `markup_counts`."""
    return markup_counts(page, max_depth, max_steps, max_copies)[:3]


def markup_counts(page: bytes, max_depth: int, max_steps: int, max_copies: int) -> Counts:
    """What a parser of `page` comes to, about.

    max_depth: at most `MAX_STACK`. Counting ends where one of the limits is passed.
    """
    limits = np.array([min(max_depth, MAX_STACK), max_steps, max_copies], np.int64)
    return Counts(*(int(n) for n in _cost(np.frombuffer(page, np.uint8), *tag_table(), limits, page_hints.BLOCKS)))


@numba.njit(cache=True, nogil=True)
def _pop(kinds, depth, to, formatting, active):
    """Closes all elements from `to` on; a marker's formatting elements go with it. Returns the active elements."""
    while depth > to:
        depth -= 1
        if kinds[depth] & MARKER:
            while active > 0:
                active -= 1
                if formatting[active] == 0:
                    break
    return active


@numba.njit(cache=True, nogil=True)
def _nearest(names, kinds, depth, name, stop, also):
    """Place of the innermost open element of this name, -1 where an element with a flag of `stop`, or one named
    `also`, comes before it."""
    i = depth - 1
    while i >= 0:
        if names[i] == name:
            return i
        if kinds[i] & stop or names[i] == also:
            return -1
        i -= 1
    return -1


@numba.njit(cache=True, nogil=True)
def _reconstruct(names, kinds, serials, formatting, places, places_serials, depth, active, serial, copies):
    """Opens the formatting elements again that a block has closed. (depth, serial number, copies in all)."""
    first = active
    while first > 0 and formatting[first - 1] != 0:
        place = places[first - 1]
        if place < depth and serials[place] == places_serials[first - 1]:
            break
        first -= 1
    for j in range(first, active):
        serial += 1
        names[depth], kinds[depth], serials[depth] = formatting[j], FORMATTING, serial
        places[j], places_serials[j] = depth, serial
        depth += 1
    return depth, serial, copies + active - first


@numba.njit(cache=True, nogil=True)
def _cost(data, hashes, flags, asked, limits, blocks):
    max_depth, max_steps, max_copies = limits
    names = np.zeros(max_depth + MAX_FORMATTING + 8, np.uint64)
    kinds = np.zeros(max_depth + MAX_FORMATTING + 8, np.int64)
    serials = np.zeros(max_depth + MAX_FORMATTING + 8, np.int64)
    formatting = np.zeros(MAX_FORMATTING + 8, np.uint64)  # names; 0: a marker
    signatures = np.zeros(MAX_FORMATTING + 8, np.uint64)
    places = np.zeros(MAX_FORMATTING + 8, np.int64)  # on the stack, with the serial number that it had there
    places_serials = np.zeros(MAX_FORMATTING + 8, np.int64)
    none = np.uint64(0)
    depth = deepest = steps = copies = active = serial = 0
    selects = options = foreign = root_attributes = 0
    region = none  # an element whose content may be text or may not: its tags open elements and close none
    text = content = frames = False
    seen = hints = 0
    at, n = 0, len(data)
    while at < n:
        if steps > max_steps or copies > max_copies or depth >= max_depth or active >= MAX_FORMATTING:
            break
        if data[at] != 60 or at + 1 >= n:
            text = True
            content = content or not (is_space(data[at]) or data[at] == 0)
            if (data[at] >= 0xE0 or data[at] == 38) and not hints & UNSPACED and joined_at(data, at, blocks):
                hints |= UNSPACED
            at += 1
            continue
        following = data[at + 1]
        is_end = following == 47 and at + 2 < n and is_letter(data[at + 2])
        inside = depth > 0 and kinds[depth - 1] & FOREIGN and not kinds[depth - 1] & INTEGRATION
        if not is_end and not is_letter(following):
            if following == 33 and at + 3 < n and data[at + 2] == 45 and data[at + 3] == 45:
                at = behind_comment(data, at + 4)
            elif following == 33 and inside and at + 2 < n and data[at + 2] == 91:  # <![CDATA[
                at = find(data, at, 93, 93, 62)
            elif following == 33 or following == 63 or following == 47:
                while at < n and data[at] != 62:
                    at += 1
                at += 1
            else:
                text = True
                at += 1
            continue
        name, behind = name_at(data, at + 2 if is_end else at + 1)
        attributes, at, closed, signature, presented = behind_attributes(data, behind, asked)
        kind = flags_of(name, hashes, flags)
        seen |= kind
        if not hints & LONE and is_lone(data, at):
            hints |= LONE
        if presented & 2:
            hints |= FORMULA
        elif (kind & PICTURE or name == asked[SCRIPT]) and not hints & FORMULA:
            hints |= FORMULA if may_be_formula(data, behind, at, kind & PICTURE) else 0
        steps += depth + attributes * attributes + 1

        if text and region == none:
            depth, serial, copies = _reconstruct(
                names, kinds, serials, formatting, places, places_serials, depth, active, serial, copies
            )
            deepest = max(deepest, depth)
        text = False

        if is_end:
            if region != none and name != region:
                continue
            region = none
            if frames:
                continue
            if inside and (name == asked[P] or name == asked[BR]):
                while depth > 0 and kinds[depth - 1] & FOREIGN and not kinds[depth - 1] & INTEGRATION:
                    depth -= 1
            if name == asked[SELECT]:
                selects = 0
            if kind & FOREIGN:
                foreign = max(0, foreign - 1)
            if kind & FORMATTING:
                j = active - 1
                while j >= 0 and formatting[j] != 0 and formatting[j] != name:
                    j -= 1
                if j >= 0 and formatting[j] == name:
                    place = places[j]
                    if place < depth and serials[place] == places_serials[j]:
                        within = above = 0
                        for i in range(place + 1, depth):
                            within |= kinds[i] & SCOPE
                            above |= kinds[i] & SPECIAL
                        if within:
                            continue
                        if above:
                            steps += ADOPTED * (depth - place)
                            copies += ADOPTED
                            names[place] = none  # it has moved into the block; as many elements stay open
                        else:
                            active = _pop(kinds, depth, place, formatting, active)
                            depth = place
                    steps += active - j
                    for i in range(j, active - 1):
                        formatting[i], signatures[i] = formatting[i + 1], signatures[i + 1]
                        places[i], places_serials[i] = places[i + 1], places_serials[i + 1]
                    active = max(0, active - 1) if active > j else active
                    continue
            if kind & (ROOT | VOID):
                continue
            if name == asked[TABLE] or kind & IN_TABLE:
                i = _nearest(names, kinds, depth, name, 0, asked[TEMPLATE])
                table = _nearest(names, kinds, depth, asked[TABLE], 0, asked[TEMPLATE])
                i = i if i >= table else -1
            elif kind & ENDS_IN_SCOPE:
                i = _nearest(names, kinds, depth, name, SCOPE, asked[BUTTON] if name == asked[P] else none)
            else:
                i = _nearest(names, kinds, depth, name, SPECIAL, none)
            if i >= 0:
                active = _pop(kinds, depth, i, formatting, active)
                depth = i
            continue

        if kind & ROOT and not inside:
            root_attributes += attributes
            steps += attributes * root_attributes
            continue
        if inside and kind & BREAKS_OUT and (name != asked[FONT] or presented & 1):
            while depth > 0 and kinds[depth - 1] & FOREIGN and not kinds[depth - 1] & INTEGRATION:
                depth -= 1
        elif inside or kind & FOREIGN:
            if not closed:
                foreign += 1 if kind & FOREIGN else 0
                serial += 1
                kept = kind & (INTEGRATION | SPECIAL | SCOPE) if kind & INTEGRATION else 0
                names[depth], kinds[depth], serials[depth] = name, FOREIGN | kept, serial
                depth += 1
                deepest = max(deepest, depth)
            continue
        if frames and not kind & RAW:
            serial += 1  # what is no frameset is left out, and no end tag but its own closes one
            names[depth], kinds[depth], serials[depth] = none, 0, serial
            depth += 1
            deepest = max(deepest, depth)
            continue
        to = -1  # where the tag closes what is open
        if kind & IN_TABLE:
            table = _nearest(names, kinds, depth, asked[TABLE], 0, asked[TEMPLATE])
            if table < 0 and _nearest(names, kinds, depth, asked[TEMPLATE], 0, none) < 0:
                continue  # outside a table it means nothing
            if table >= 0:
                to = table + 1
                if name == asked[TD] or name == asked[TH]:
                    row = _nearest(names, kinds, depth, asked[TR], 0, asked[TABLE])
                    to = row + 1 if row > table else to
                elif name == asked[TR]:
                    row = _nearest(names, kinds, depth, asked[TR], 0, asked[TABLE])
                    to = row if row > table else depth
        elif kind & LIST_ITEM:
            i = depth - 1
            while i >= 0:
                if kinds[i] & LIST_ITEM and (names[i] == asked[LI]) == (name == asked[LI]):
                    to = i
                    break
                if (
                    kinds[i] & SPECIAL
                    and names[i] != asked[ADDRESS]
                    and names[i] != asked[DIV]
                    and names[i] != asked[P]
                ):
                    break
                i -= 1
        elif name == asked[OPTION]:
            if depth > 0 and names[depth - 1] == name:
                to = depth - 1
            if selects:
                options += 1
                steps += OPTION_STEPS * options
        elif name == asked[BUTTON]:
            to = _nearest(names, kinds, depth, name, SCOPE, none)
        elif name == asked[FRAMESET]:
            frames = frames or not content
        elif name == asked[SELECT]:
            if selects:
                selects = 0
                continue
            selects, options = 1, 0
        if kind & CLOSES_P and (to < 0 or to > 0):
            i = _nearest(names, kinds, depth, asked[P], SCOPE, asked[BUTTON])
            if i >= 0:
                to = i if to < 0 else min(to, i)
        if to >= 0:
            active = _pop(kinds, depth, to, formatting, active)
            depth = min(depth, to)
        if (not kind & SPECIAL or kind & REOPENS) and region == none:
            depth, serial, copies = _reconstruct(
                names, kinds, serials, formatting, places, places_serials, depth, active, serial, copies
            )
            deepest = max(deepest, depth)
        if kind & VOID:
            continue
        if kind & FORMATTING:
            alike = 0
            earliest = -1
            j = active - 1
            while j >= 0 and formatting[j] != 0:
                if name == formatting[j] and (
                    name == asked[ANCHOR] or name == asked[NOBR] or signature == signatures[j]
                ):
                    alike += 1
                    earliest = j
                j -= 1
            steps += active - j
            most = 1 if name == asked[ANCHOR] or name == asked[NOBR] else 3  # "Noah's Ark clause"
            if alike >= most:
                for i in range(earliest, active - 1):
                    formatting[i], signatures[i] = formatting[i + 1], signatures[i + 1]
                    places[i], places_serials[i] = places[i + 1], places_serials[i + 1]
                active -= 1
            formatting[active], signatures[active] = name, signature
            places[active], places_serials[active] = depth, serial + 1
            active += 1
        elif kind & RAW and region == none:
            if foreign == 0 and selects == 0 and (not frames or name == asked[NOFRAMES]):
                at = behind_raw(data, at, name, name == asked[SCRIPT])
                continue
            region = name
        serial += 1
        names[depth], kinds[depth], serials[depth] = name, kind, serial
        depth += 1
        deepest = max(deepest, depth)
        if kind & MARKER:
            formatting[active] = none
            active += 1
    hints |= FORMULA if seen & MATHS else 0
    hints |= CODE if seen & PREFORMATTED else 0
    hints |= CELL if seen & TABLE_CELL else 0
    hints |= CAPTION if seen & TITLES_FIGURE else 0
    return deepest, steps, copies, hints
