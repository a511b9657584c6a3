"""Numbers in text that name a person, a machine or an account: see `pii_patterns` for what is taken where.

    number(data, begin, floor, end, i, j, scope, wanted, room) -> (kind, first byte, byte after the last)

is called for a run of digits at bytes i to j - 1 of the document from begin to end; kind -1: nothing starts here. A
number must stand alone: no letter, digit or decimal point goes on before or after it, and one laid out with spaces is
no row of a table. It is conservative: what could as well be a date, a version or a serial number is left.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.pii_addresses import ipv4, ipv6
from gristmill.kernels.text.pii_checksums import CHECK_NUMBERS, iban_rest, valid
from gristmill.kernels.text.pii_context import announced, is_alnum, is_digit, is_upper
from gristmill.kernels.text.pii_patterns import CODE_BIT, IBAN, IP, PHONE, PHONE_REACH, PHONES, REACH
from gristmill.kernels.text.pii_tables import BY_RUN, COUNTRIES, FACTS, IBANS, PATTERNS

MIN_PHONE, MAX_PHONE = 7, 12  # digits of a national number with a word before it
_NANP = CHECK_NUMBERS["nanp"]


@numba.njit(cache=True)
def number(data, begin, floor, end, i, j, scope, wanted, room):
    """What starts at or just before the run of digits i to j - 1; room: (32,) uint8 to work in."""
    before = data[i - 1] if i > begin else np.uint8(32)
    if before == 43:  # +
        return _international(data, begin, floor, end, i, scope, wanted, room)
    if is_upper(before) and wanted[IBAN] and j - i >= 2:
        stop = _iban(data, begin, floor, end, i)
        if stop > 0:
            return IBAN, i - 2, stop
    if j - i < len(BY_RUN):
        kind, start, stop = _scheme(data, begin, floor, end, i, j - i, scope, wanted, room)
        if kind >= 0:
            return kind, start, stop
    if is_alnum(before):
        return -1, i, j
    if wanted[IP]:
        stop = ipv4(data, begin, end, i) if j - i <= 3 else -1
        if stop < 0 and 50 <= data[i] <= 51:
            stop = ipv6(data, begin, end, i)
        if stop > 0:
            return IP, i, stop
    if wanted[PHONE]:
        stop = _national(data, begin, end, i)
        if stop > 0:
            return PHONE, i - (1 if before == 40 and i > floor else 0), stop
    return -1, i, j


@numba.njit(cache=True)
def _alone_before(data, begin, s, spaced):
    if s == begin:
        return True
    c = data[s - 1]
    if is_alnum(c) or c == 95 or c == 64 or c == 43:  # _ @ +
        return False
    joined = c == 46 or c == 45 or c == 47 or c == 44 or (spaced and c == 32)  # . - / ,
    return not (joined and s - 1 > begin and is_digit(data[s - 2])) and not (c == 46 and s - 1 == begin)


@numba.njit(cache=True)
def _alone_after(data, end, e, spaced):
    if e >= end:
        return True
    c = data[e]
    if is_alnum(c) or c == 95 or c == 64:
        return False
    joined = c == 46 or c == 45 or c == 47 or c == 44 or (spaced and c == 32)
    return not (joined and e + 1 < end and is_digit(data[e + 1]))


@numba.njit(cache=True)
def _scheme(data, begin, floor, end, i, run, scope, wanted, room):
    for choice in range(BY_RUN.shape[1]):
        p = BY_RUN[run, choice]
        if p < 0:
            break
        kind, length, spaced = FACTS[p, 0], FACTS[p, 4], FACTS[p, 6] != 0
        s = i - FACTS[p, 5]
        e = s + length
        if not wanted[kind] or s < floor or e > end:
            continue
        n = _laid_out(data, s, PATTERNS[p], length, room)
        if n < 0 or not _alone_before(data, begin, s, spaced) or not _alone_after(data, end, e, spaced):
            continue
        if not valid(FACTS[p, 1], room, n):
            continue
        if FACTS[p, 2] & scope:
            return kind, s, e
        if FACTS[p, 3] >= 0 and announced(data, begin, s, REACH, FACTS[p, 3], True):
            return kind, s, e
    return -1, i, i


@numba.njit(cache=True)
def _laid_out(data, s, pattern, length, room):
    """Digits and letters of the number at byte s in `room`, and how many they are; -1 if the pattern does not fit."""
    n = 0
    for k in range(length):
        c, p = data[s + k], pattern[k]
        if p == 100:  # d
            if not is_digit(c):
                return -1
        elif p == 76:  # L
            if not is_upper(c):
                return -1
        elif p == 63:  # ?
            if not (is_digit(c) or is_upper(c)):
                return -1
        elif c != p:
            return -1
        if p == 100 or p == 76 or p == 63 or is_upper(c) or ((p == 43 or p == 45) and k == 6 and pattern[k + 4] == 63):
            room[n] = c
            n += 1
    return n


@numba.njit(cache=True)
def _iban(data, begin, floor, end, i):
    """Byte after the IBAN whose two letters end at byte i, or -1."""
    s = i - 2
    if s < floor or not is_upper(data[s]) or (s > begin and (is_alnum(data[s - 1]) or data[s - 1] == 95)):
        return -1
    length = np.int64(IBANS[(np.int64(data[s]) - 65) * 26 + np.int64(data[s + 1]) - 65])
    if length == 0:
        return -1
    number_ = np.empty(40, np.uint8)
    n, k = 0, s
    while n < length and k < end:
        c = data[k]
        if is_digit(c) or is_upper(c):
            number_[n] = c
            n += 1
        elif not (c == 32 and n % 4 == 0 and n > 0 and data[k - 1] != 32):
            return -1
        k += 1
    if n < length or (k < end and (is_alnum(data[k]) or data[k] == 95)):
        return -1
    return k if iban_rest(number_, n) == 1 else -1


@numba.njit(cache=True)
def _separates(c):
    return c == 32 or c == 45 or c == 46 or c == 47 or c == 40 or c == 41  # space - . / ( )


@numba.njit(cache=True)
def _international(data, begin, floor, end, i, scope, wanted, room):
    """A telephone number in E.164, "+" at byte i - 1: the longest that its country has, ending where a group ends."""
    if not wanted[PHONE] or i - 1 < floor:
        return -1, i, i
    if i - 1 > begin and (is_alnum(data[i - 2]) or data[i - 2] == 43 or data[i - 2] == 95):
        return -1, i, i
    code, k, least, most = np.int64(0), i, np.int64(0), np.int64(0)
    while k < end and k < i + 3 and is_digit(data[k]) and least == 0:
        code = code * 10 + np.int64(data[k]) - 48
        if code == 0:
            return -1, i, i
        least, most = np.int64(COUNTRIES[code, 0]), np.int64(COUNTRIES[code, 1])
        k += 1
    if least == 0:
        return -1, i, i
    digits, best, gap, groups, size = np.int64(0), -1, 0, 1, k - i  # size: of this group
    code_digits = k - i
    while k < end and digits < most:
        c = data[k]
        if is_digit(c):
            if gap:
                groups, size = groups + 1, 0
            gap, size = 0, size + 1
            room[digits] = c
            digits += 1
            k += 1
            closes = (k == end or not is_digit(data[k])) and size >= 2
            ends = closes and (_alone_after(data, end, k, False) or _separates(data[k]))  # it may go on after that
            if ends and least <= digits and digits + code_digits >= 8:
                best = k
        elif _separates(c) and gap < 2:
            if c == 40 and k + 2 < end and data[k + 1] == 48 and data[k + 2] == 41:  # (0)
                k += 2
            gap += 1
            k += 1
        else:
            break
    if best < 0 or (code == 1 and not (digits >= 10 and valid(_NANP, room, 10))):
        return -1, i, i
    if scope & CODE_BIT and groups == 1 and not announced(data, begin, i - 1, REACH, PHONES, True):
        return -1, i, i
    return PHONE, i - 1, best


@numba.njit(cache=True)
def _national(data, begin, end, i):
    """Byte after the telephone number at byte i that a word before it announces, or -1."""
    digits, best, gap, groups, k = 0, -1, 0, 1, i
    sizes = np.zeros(4, np.int64)
    while k < end:
        c = data[k]
        if is_digit(c):
            if gap and groups < 6:
                groups += 1
            gap = 0
            digits += 1
            if groups <= 4:
                sizes[groups - 1] += 1
            k += 1
            if digits > MAX_PHONE:
                break
            closes = k == end or not is_digit(data[k])
            if closes and digits >= MIN_PHONE and _alone_after(data, end, k, False):
                best = k
        elif _separates(c) and gap < 2:
            gap += 1
            k += 1
        else:
            break
    if best < 0 or digits > MAX_PHONE or groups == 6:
        return -1
    years = groups == 2 and sizes[0] == 4 and sizes[1] == 4 and 49 <= data[i] <= 50
    date = groups == 3 and ((sizes[0] <= 2 and sizes[1] <= 2) or (sizes[0] == 4 and sizes[1] <= 2 and sizes[2] <= 2))
    quad = groups == 4 and max(sizes[0], sizes[1], sizes[2]) <= 3 and data[i + sizes[0]] == 46
    if years or date or quad:
        return -1
    return best if announced(data, begin, i, PHONE_REACH, PHONES, False) else -1
