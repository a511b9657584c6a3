"""Words and sentences after spaCy's rules, for rules that were tuned on its tokens.

    split(data, begin, end, kinds, codes, places, starts, ends) -> number of tokens of a text
    sentences(data, starts, ends, n, kinds) -> number of sentences of n tokens

A run without white space is cut at punctuation, quotes, currency and other symbols at its ends, at "'s" and full stops
where an abbreviation does not need them, at units after digits, at hyphens, commas, slashes and colons between letters
within it, and into the parts of English contractions; web addresses stay whole. A sentence ends at a token that is one
sentence mark, after the punctuation that follows. That is spaCy 3's tokenizer for English and its sentencizer, but for
a few hundred special cases (emoticons, "dont", names of states). In scripts without spaces each letter is a token,
where spaCy asks a segmenter: give its words as spans instead (`datatrove`).
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.uncounted import uncounted
from gristmill.kernels.text.wide import hash_of, span_hash

SPACE, ALPHA, LOWER, UPPER, DIGIT = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
UNSPACED, PUNCTUATION, ENDER, SPLIT, PREFIX, SUFFIX, MONEY, QUOTE, HYPHEN, ICON = (1 << k for k in range(5, 15))

_SPLIT = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_MONEY = "$£€¥฿₽﷼₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₾₿"
_PREFIXES, _SUFFIXES, _HYPHENS = "§%=—–", "—–", "-–—~"
_SOFT = frozenset("…‥")  # end no sentence for spaCy
_UNITS = (
    "km km² km³ m m² m³ dm cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa mbar mb "
    "MB kb KB gb GB tb TB T G M K %"
)
_ABBREVIATIONS = (
    "a.m. p.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. "
    "Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. "
    "Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.H. N.J. N.M. N.Y. "
    "Neb. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis."
)
_NOT = "do does did have has had is are was were would could should might must need ai ca wo sha dare ought"
_BEFORE_VERB = "i you he she it we they who what where when why how there that this let y'"


def _hashes(words: str) -> np.ndarray:
    return np.array(sorted(hash_of(word.encode()) for word in words.split()), np.uint64)


_UNIT_HASHES, _ABBREVIATION_HASHES = _hashes(_UNITS), _hashes(_ABBREVIATIONS)
_NOT_HASHES = _hashes(f"{_NOT} {_NOT.title()}")
_VERB_HASHES = _hashes(f"{_BEFORE_VERB} {_BEFORE_VERB.title()}")
_WHOLE_HASHES = _hashes("cannot Cannot")


@functools.cache
def kinds() -> np.ndarray:
    """(0x110000,) uint16: flags of every code point, the same array at every call."""
    codes = np.arange(0x110000)
    table = utf8.table()
    known = table.flags[table.classes[table.blocks[codes >> 8], codes & 255]]
    out = np.zeros(0x110000, np.uint16)
    for flag, own in (
        *((utf8.SPACE, SPACE), (utf8.LETTER, ALPHA), (utf8.LOWER, LOWER), (utf8.DIGIT, DIGIT)),
        *((utf8.UNSPACED, UNSPACED), (utf8.TERMINAL, ENDER)),
    ):
        out[known & flag != 0] |= np.uint16(own)
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category[0] == "P":
            out[code] |= PUNCTUATION
        elif category == "So":
            out[code] |= SPLIT | ICON
        elif category in ("Lu", "Lt"):
            out[code] |= UPPER
        elif category == "Lo":  # a letter without case is both
            out[code] |= UPPER | LOWER
    for characters, own in (
        *((_SPLIT + _QUOTES, SPLIT), (_QUOTES, QUOTE), (_MONEY, MONEY | PREFIX), (_PREFIXES, PREFIX)),
        *((_SUFFIXES, SUFFIX), (_HYPHENS, HYPHEN)),
    ):
        out[[ord(c) for c in characters]] |= np.uint16(own)
    out[[ord(c) for c in _SOFT]] &= np.uint16(~ENDER & 0xFFFF)
    return out


@uncounted
def split(data, begin, end, kinds, codes, places, starts, ends):
    """Writes the byte spans of the tokens of data[begin:end] to starts and ends, (>= end - begin,) int64.

    kinds: of `kinds`. codes, places: (> end - begin,) int64, scratch.
    """
    n = 0
    i = begin
    while i < end:
        m = 0  # characters of a run without white space: code and place of each
        while i < end:
            code, width = utf8.decode(data, i, end)
            if kinds[code] & SPACE:
                i += width
                break
            codes[m], places[m] = code, i
            m += 1
            i += width
        else:
            width = 0
        if m:
            places[m] = i - width
            n = _split_run(data, m, kinds, codes, places, starts, ends, n)
    return n


@uncounted
def _split_run(data, m, kinds, codes, places, starts, ends, n):
    low, high = 0, m
    first_suffix = len(ends)  # suffixes are found from the last on: kept at the end of `ends` and `starts` till then
    part = 0
    while low < high:
        part = _special(data, kinds, codes, places, low, high)
        if part:
            break
        before = _prefix(kinds, codes, low, high)
        if before:
            starts[n], ends[n] = places[low], places[low + before]
            n += 1
            low += before
            if low == high:
                break
            part = _special(data, kinds, codes, places, low, high)
            if part:
                break
        after = _suffix(data, kinds, codes, places, low, high)
        if after:
            first_suffix -= 1
            starts[first_suffix], ends[first_suffix] = places[high - after], places[high]
            high -= after
        if not before and not after:
            break
    if low < high:
        if part > 0:
            starts[n], ends[n] = places[low], places[part]
            n, low = n + 1, part
            starts[n], ends[n] = places[low], places[high]
            n += 1
        elif part < 0 or _is_address(kinds, codes, low, high):
            starts[n], ends[n] = places[low], places[high]
            n += 1
        else:
            n = _split_inside(kinds, codes, places, low, high, starts, ends, n)
    for k in range(first_suffix, len(ends)):
        starts[n], ends[n] = starts[k], ends[k]
        n += 1
    return n


@uncounted
def _special(data, kinds, codes, places, low, high):
    """-1 for an abbreviation that keeps its full stop, the place of the cut in a contraction, else 0."""
    size = high - low
    if codes[high - 1] == 46:
        if size == 2 and kinds[codes[low]] & LOWER and codes[low] < 0x250:
            return -1
        return -1 if size <= 7 and _among(span_hash(data, places[low], places[high]), _ABBREVIATION_HASHES) else 0
    for back in (2, 3):  # 'd 'm, 'll 've 're n't
        at = high - back
        if at <= low:
            break
        mark = codes[at] if back == 2 or codes[high - 1] != 116 else codes[high - 2]
        if mark != 39 and mark != 0x2019:
            continue
        hashed = span_hash(data, places[low], places[at])
        if back == 2 and (codes[high - 1] == 100 or codes[high - 1] == 109) and _among(hashed, _VERB_HASHES):
            return at
        if back == 3:
            if codes[high - 1] == 116 and codes[at] == 110 and _among(hashed, _NOT_HASHES):
                return at
            verb = codes[high - 1] == 101 or (codes[high - 1] == 108 and codes[high - 2] == 108)
            if verb and _among(hashed, _VERB_HASHES):
                return at
    if size == 6 and _among(span_hash(data, places[low], places[high]), _WHOLE_HASHES):
        return low + 3
    return 0


@uncounted
def _among(hashed, hashes):
    at = np.searchsorted(hashes, hashed)
    return at < len(hashes) and hashes[at] == hashed


@uncounted
def _prefix(kinds, codes, low, high):
    if codes[low] == 46:
        dots = 1
        while low + dots < high and codes[low + dots] == 46:
            dots += 1
        return dots if dots > 1 else 0
    if codes[low] == 43:
        return int(low + 1 == high or not kinds[codes[low + 1]] & DIGIT)
    return int(kinds[codes[low]] & (SPLIT | PREFIX) != 0)


@uncounted
def _suffix(data, kinds, codes, places, low, high):
    last = codes[high - 1]
    kind = kinds[last]
    before = kinds[codes[high - 2]] if high - low > 1 else 0
    if kind & (SPLIT | SUFFIX):
        return 1
    if last == 46:
        dots = 1
        while high - dots > low and codes[high - 1 - dots] == 46:
            dots += 1
        if dots > 1:
            return dots
        if high - low > 1:
            mark = codes[high - 2]
            if before & (LOWER | DIGIT | SPLIT) and not before & ICON:
                return 1
            if mark == 37 or mark == 178 or mark == 45 or mark == 43:
                return 1
            if high - low > 2 and before & UPPER and kinds[codes[high - 3]] & UPPER:
                return 1
        return 0
    if (last == 115 or last == 83) and high - low > 1 and (codes[high - 2] == 39 or codes[high - 2] == 0x2019):
        return 2
    if before & DIGIT and (last == 43 or kind & MONEY):
        return 1
    for size in range(1, 5):
        at = high - size
        if (
            at > low
            and kinds[codes[at - 1]] & DIGIT
            and _among(span_hash(data, places[at], places[high]), _UNIT_HASHES)
        ):
            return size
    return 0


@uncounted
def _is_address(kinds, codes, low, high):
    """Whether it looks like a URL, an e-mail address or a host name with what follows it."""
    dot = -1
    for k in range(low, high):
        code = codes[k]
        if code == 64 or (code == 58 and k + 2 < high and codes[k + 1] == 47 and codes[k + 2] == 47):  # @ or ://
            return k > low
        if code == 47 or code == 63 or code == 35 or code == 58:  # / ? # : after the host
            return dot > low and k - dot > 2
        if code == 46:
            dot = k
        elif dot >= 0 and not kinds[code] & LOWER:
            dot = -1
        elif code != 45 and code != 95 and not kinds[code] & (ALPHA | DIGIT):
            return False
    return dot > low and high - dot > 2


@uncounted
def _split_inside(kinds, codes, places, low, high, starts, ends, n):
    at = low  # where the token begins
    k = low
    while k < high:
        size = _infix(kinds, codes, low, k, high)
        if size:
            if k > at:
                starts[n], ends[n] = places[at], places[k]
                n += 1
            starts[n], ends[n] = places[k], places[k + size]
            n += 1
            k += size
            at = k
            continue
        f = kinds[codes[k]]
        if k > at and (f & UNSPACED or (f & (ALPHA | DIGIT) and kinds[codes[at]] & UNSPACED)):
            starts[n], ends[n] = places[at], places[k]
            n += 1
            at = k
        k += 1
    if high > at:
        starts[n], ends[n] = places[at], places[high]
        n += 1
    return n


@uncounted
def _infix(kinds, codes, low, k, high):
    """Characters of a token that stands at k between two others; 0 if none does."""
    code = codes[k]
    f = kinds[code]
    if f & ALPHA or f & DIGIT:
        return 0
    before = kinds[codes[k - 1]] if k > low else 0
    after = kinds[codes[k + 1]] if k + 1 < high else 0
    if f & ICON or code == 0x2026 or (f & SPLIT and (before | after) & UNSPACED):
        return 1
    if code == 46:
        if after and codes[k + 1] == 46:
            dots = 2
            while k + dots < high and codes[k + dots] == 46:
                dots += 1
            return dots
        return int(before & (LOWER | QUOTE) != 0 and after & (UPPER | QUOTE) != 0)
    sign = before & DIGIT and (code == 43 or code == 45 or code == 42 or code == 94)
    if sign and (after & DIGIT or (k + 1 < high and codes[k + 1] == 45)):
        return 1
    if code == 44:
        return int(before & ALPHA != 0 and after & ALPHA != 0)
    if before & (ALPHA | DIGIT):
        if f & HYPHEN:
            run = 1
            while k + run < high and codes[k + run] == code and run < 3:
                run += 1
            follows = kinds[codes[k + run]] if k + run < high else 0
            return run if follows & ALPHA else 0
        if code == 58 or code == 60 or code == 62 or code == 61 or code == 47:
            return int(after & ALPHA != 0)
    return 0


@uncounted
def sentences(data, starts, ends, n, kinds):
    """Sentences of the tokens whose byte spans are starts[:n], ends[:n]; at least 1."""
    found, ended = 1, False
    for t in range(n):
        first, width = utf8.decode(data, starts[t], ends[t])
        ender = kinds[first] & ENDER and starts[t] + width == ends[t]
        if ender:
            ended = True
        elif ended:
            punctuation = True
            i = starts[t]
            while i < ends[t] and punctuation:
                code, width = utf8.decode(data, i, ends[t])
                punctuation = kinds[code] & PUNCTUATION != 0
                i += width
            if not punctuation:
                found += 1
                ended = False
    return found
