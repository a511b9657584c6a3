"""Keys and tokens: those known by their beginning, private key blocks, and values given to names like `password`.

    token(data, begin, end, i) -> (first byte, byte after the last)        at a byte that a prefix has
    assigned(data, begin, end, i) -> (first byte, byte after the last)     at an = or : in source code

first byte -1: nothing. A known beginning is taken with its full length and alphabet and at least 8 different characters
after it, so `ghp_xxxxxxxx` in a manual stays. An assigned value is taken where it looks random: letters and digits,
3 bits of entropy a character (3.5 without quotes), no word of a placeholder. It tries no key.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.pii_context import hex_value, is_alnum, is_digit, is_upper
from gristmill.kernels.text.pii_patterns import ALPHABETS
from gristmill.kernels.text.pii_tables import NAME_FACTS, NAMES, PLACEHOLDER_ROWS, PREFIX_FACTS, PREFIXES

MAX_BLOCK = 20_000
"""Bytes of a private key block; one of 16,384 bits has 13,000."""
MAX_VALUE = 200
VARIETY = 8
_UPPER, _WORD, _ALNUM, _HEX, _SENDGRID, _JWT = range(len(ALPHABETS))
_BEGIN = np.frombuffer(b"BEGIN ", np.uint8)
_PRIVATE = np.frombuffer(b"PRIVATE KEY", np.uint8)
_END = np.frombuffer(b"-----END ", np.uint8)


@numba.njit(cache=True)
def token(data, begin, end, i):
    """The key whose prefix has its rare byte at i."""
    if data[i] == 66:  # B
        return _private_key(data, begin, end, i)
    if data[i] == 45 and i > begin and data[i - 1] == 45:  # a line of hyphens
        return -1, i
    for k in range(len(PREFIXES)):
        if PREFIXES[k, PREFIX_FACTS[k, 1]] != data[i]:
            continue
        s = i - PREFIX_FACTS[k, 1]
        e = s + PREFIX_FACTS[k, 0]
        if s < begin or e > end or not _equal(data, s, PREFIXES[k], PREFIX_FACTS[k, 0]):
            continue
        if s > begin and (is_alnum(data[s - 1]) or data[s - 1] == 95):
            continue
        stop = _key_end(data, e, end, PREFIX_FACTS[k, 2], PREFIX_FACTS[k, 3], PREFIX_FACTS[k, 4])
        if stop > 0 and not _placeholder(data, s, stop):
            return s, stop
    return -1, i


@numba.njit(cache=True)
def _equal(data, s, text, n):
    k = 0
    while k < n and data[s + k] == text[k]:
        k += 1
    return k == n


@numba.njit(cache=True)
def _of(c, alphabet):
    if alphabet == _UPPER:
        return is_upper(c) or 50 <= c <= 55
    if alphabet == _HEX:
        return hex_value(c) >= 0
    if alphabet == _ALNUM:
        return is_alnum(c)
    return is_alnum(c) or c == 95 or c == 45


@numba.njit(cache=True)
def _key_end(data, e, end, alphabet, least, most):
    """Byte after the key whose prefix ends at byte e, or -1."""
    dots = 2 if alphabet == _JWT else 1 if alphabet == _SENDGRID else 0
    k, seen, part = e, 0, 0
    lengths = np.zeros(3, np.int64)
    kinds = np.zeros(128, np.bool_)
    while k < end and k - e < most:
        c = data[k]
        if _of(c, alphabet):
            lengths[part] += 1
            if not kinds[c]:
                kinds[c] = True
                seen += 1
        elif c == 46 and part < dots:
            part += 1
        else:
            break
        k += 1
    if part < dots or k - e < least or seen < VARIETY:
        return -1
    if k < end and (is_alnum(data[k]) or data[k] == 95):
        return -1
    if alphabet == _JWT and (lengths[0] < 10 or lengths[1] < 10 or lengths[2] < 10):
        return -1
    if alphabet == _SENDGRID and (lengths[0] != 22 or lengths[1] != 43):
        return -1
    return k


@numba.njit(cache=True)
def _private_key(data, begin, end, i):
    """-----BEGIN ... PRIVATE KEY----- to its end mark; without one, to where the lines of base64 end (RFC 7468)."""
    s = i - 5
    if s < begin or i + 6 > end or not _equal(data, i, _BEGIN, 6):
        return -1, i
    for k in range(s, i):
        if data[k] != 45:
            return -1, i
    k, private = i + 6, False
    while k < end and k < i + 60 and data[k] != 45:
        private = private or (k + 11 <= end and _equal(data, k, _PRIVATE, 11))
        k += 1
    if not private or k + 5 > end or data[k] != 45:
        return -1, i
    body = k
    while k < end and data[k] == 45:
        k += 1
    content = k
    for at in range(k, min(end - 9, body + MAX_BLOCK)):
        if data[at] == 45 and _equal(data, at, _END, 9):
            k = at + 9
            while k < end and k < at + 60 and data[k] != 45 and data[k] != 10:
                k += 1
            while k < end and data[k] == 45:
                k += 1
            return s, k
    while k < end and (is_alnum(data[k]) or data[k] == 43 or data[k] == 47 or data[k] == 61 or data[k] <= 32):
        k += 1
    while k > content and data[k - 1] <= 32:
        k -= 1
    return s, k


@numba.njit(cache=True)
def assigned(data, begin, end, i):
    """The random value on the right of the = or : at byte i, where the name on the left is that of a secret."""
    least = _name_least(data, begin, i)
    if least == 0:
        return -1, i
    k = i + 1
    while k < end and k < i + 3 and (data[k] == 61 or data[k] == 62):  # == => :=
        k += 1
    while k < end and (data[k] == 32 or data[k] == 9):
        k += 1
    if k + 1 < end and is_alnum(data[k]) and (data[k + 1] == 34 or data[k + 1] == 39):  # b"" r"" u""
        k += 1
    if k >= end:
        return -1, i
    quote = data[k] if data[k] == 34 or data[k] == 39 or data[k] == 96 else np.uint8(0)
    s = k + (1 if quote else 0)
    e = s
    while e < end and e - s <= MAX_VALUE and 33 <= data[e] <= 126 and data[e] != quote:
        if quote == 0 and (data[e] == 44 or data[e] == 59 or data[e] == 34 or data[e] == 39):  # , ; quotes
            break
        e += 1
    if quote and (e >= end or data[e] != quote):
        return -1, i
    if e - s < (least if quote else max(16, least)) or e - s > MAX_VALUE:
        return -1, i
    return (s, e) if _random(data, s, e, 3.0 if quote else 3.5, quote != 0) else (-1, i)


@numba.njit(cache=True)
def _name_least(data, begin, i):
    """Least characters of a value for the name that ends before byte i; 0: it is no secret's."""
    k = i - 1
    while k >= begin and i - k < 12 and (data[k] == 32 or data[k] == 9 or data[k] == 58 or data[k] == 93):  # : ]
        k -= 1
    if k >= begin and (data[k] == 34 or data[k] == 39 or data[k] == 96):
        k -= 1
    for row in range(len(NAMES)):
        n, at = NAME_FACTS[row, 0], k
        while n > 0 and at >= begin:
            c = data[at]
            if c != 95 and c != 45:
                if (c | 32 if is_upper(c) else c) != NAMES[row, n - 1]:
                    break
                n -= 1
            elif at == k:
                break
            at -= 1
        if n == 0:
            return NAME_FACTS[row, 1]
    return 0


@numba.njit(cache=True)
def _random(data, s, e, bits, quoted):
    digits = letters = 0
    counts = np.zeros(128, np.int64)
    for k in range(s, e):
        c = data[k]
        counts[c] += 1
        digits += is_digit(c)
        letters += is_alnum(c) and not is_digit(c)
        if c == 40 or c == 41 or c == 60 or c == 62 or c == 123 or c == 125 or c == 91 or c == 93 or c == 36:
            return False  # ( ) < > { } [ ] $: a call, a template, another name
        if not quoted and not (is_alnum(c) or c == 43 or c == 47 or c == 61 or c == 45 or c == 95):
            return False
    entropy = 0.0
    for n in counts:
        if n:
            entropy -= n / (e - s) * np.log2(n / (e - s))
    return digits > 0 and letters > 0 and entropy >= bits and not _placeholder(data, s, e)


@numba.njit(cache=True)
def _placeholder(data, s, e):
    """Whether a word of a placeholder stands in the value."""
    for k in range(s, e):
        c = data[k] | 32 if is_upper(data[k]) else data[k]
        for row in range(len(PLACEHOLDER_ROWS)):
            if PLACEHOLDER_ROWS[row, 0] != c:
                continue
            n = 1
            while PLACEHOLDER_ROWS[row, n] != 0 and k + n < e:
                b = data[k + n]
                if (b | 32 if is_upper(b) else b) != PLACEHOLDER_ROWS[row, n]:
                    break
                n += 1
            if PLACEHOLDER_ROWS[row, n] == 0:
                return True
    return False
