"""Public IP addresses. Private, shared, loopback, documentation and other set-aside blocks are none of a person.

    ipv4(data, begin, end, i), ipv6(data, begin, end, i) -> byte after the address at byte i, or -1

Four numbers with dots are left where they are more likely a version or a section: the first and two more up to 31, the
first and one more up to 9, two zeros in the middle, a zero at the end (together 2 % of public addresses), a word like
"version" or a sign like == before them.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.pii_context import announced, hex_value, is_alnum, is_digit
from gristmill.kernels.text.pii_patterns import PHONE_REACH, VERSIONS

_SMALL, _DIGIT = 31, 9  # numbers of versions: tried on change logs, in which 2.39.90.1 and 1.4.0.66 are such

# first and last of the blocks that are not public (IANA IPv4 Special-Purpose Address Registry; multicast)
_NOT_PUBLIC = np.array(
    [
        *((0x00000000, 0x00FFFFFF), (0x0A000000, 0x0AFFFFFF), (0x64400000, 0x647FFFFF), (0x7F000000, 0x7FFFFFFF)),
        *((0xA9FE0000, 0xA9FEFFFF), (0xAC100000, 0xAC1FFFFF), (0xC0000000, 0xC00000FF), (0xC0000200, 0xC00002FF)),
        *((0xC0A80000, 0xC0A8FFFF), (0xC6120000, 0xC613FFFF), (0xC6336400, 0xC63364FF), (0xCB007100, 0xCB0071FF)),
        (0xE0000000, 0xFFFFFFFF),
    ],
    np.int64,
)


@numba.njit(cache=True)
def ipv4(data, begin, end, i):
    """Byte after the public IPv4 address at byte i, or -1."""
    address, k, first, middle, last = np.int64(0), i, np.int64(0), np.int64(0), np.int64(0)
    small = tiny = 0  # of the second to fourth
    for octet in range(4):
        if octet:
            if k >= end or data[k] != 46:
                return -1
            k += 1
        value, digits = np.int64(0), 0
        while k < end and is_digit(data[k]) and digits < 4:
            value = value * 10 + np.int64(data[k]) - 48
            k, digits = k + 1, digits + 1
        if digits == 0 or value > 255 or digits > 3 or (digits > 1 and data[k - digits] == 48):
            return -1
        address = address << 8 | value
        if octet == 0:
            first = value
        else:
            small += 1 if value <= _SMALL else 0
            tiny += 1 if value <= _DIGIT else 0
        if octet == 1 or octet == 2:
            middle |= value
        last = value
    if (first <= _SMALL and small >= 2) or (first <= _DIGIT and tiny >= 1):
        return -1
    if middle == 0 or last == 0:  # a network rather than a machine
        return -1
    for block in range(len(_NOT_PUBLIC)):
        if _NOT_PUBLIC[block, 0] <= address <= _NOT_PUBLIC[block, 1]:
            return -1
    if k < end:
        c = data[k]
        more = k + 1 < end and is_alnum(data[k + 1])
        if is_alnum(c) or c == 95 or ((c == 46 or c == 45) and more):
            return -1
    if i > begin:
        c = data[i - 1]
        two = data[i - 2] if i - 1 > begin else np.uint8(32)
        if c == 95 or c == 45 or c == 46 or c == 94 or c == 126 or (c == 44 and is_digit(two)):  # _ - . ^ ~
            return -1
        if c == 47 and is_alnum(two):  # Chrome/90.1.2.3
            return -1
        if c == 61 and (two == 61 or two == 60 or two == 62 or two == 126 or two == 33):  # == <= >= ~= !=
            return -1
    if announced(data, begin, i, PHONE_REACH, VERSIONS, False):
        return -1
    return k


@numba.njit(cache=True)
def ipv6(data, begin, end, i):
    """Byte after the public IPv6 address at byte i, or -1. Public are 2000::/3 but for what the IANA set aside."""
    if i > begin and (data[i - 1] == 58 or data[i - 1] == 95 or data[i - 1] == 46 or data[i - 1] == 45):
        return -1
    groups, first, second, gap, k = 0, np.int64(0), np.int64(0), False, i
    while groups < 8:
        value, digits = np.int64(0), 0
        while k < end and digits < 5 and hex_value(data[k]) >= 0:
            value = value << 4 | hex_value(data[k])
            k, digits = k + 1, digits + 1
        if digits == 0 or digits > 4 or (groups == 0 and digits < 4):
            return -1
        groups += 1
        if groups == 1:
            first = value
        elif groups == 2 and not gap:
            second = value
        if k < end and data[k] == 58 and k + 1 < end and groups < 8:
            if data[k + 1] == 58:
                if gap:
                    return -1
                gap = True
                k += 2
                if k >= end or hex_value(data[k]) < 0:  # a prefix, not a machine
                    return -1
                continue
            if hex_value(data[k + 1]) >= 0:
                k += 1
                continue
        break
    if (groups < 8 and not gap) or (groups == 8 and gap):
        return -1
    if k < end and (
        is_alnum(data[k]) or data[k] == 95 or (data[k] == 58 and k + 1 < end and hex_value(data[k + 1]) >= 0)
    ):
        return -1
    if not 0x2000 <= first <= 0x3FFF or first == 0x2002 or (first == 0x3FFF and second < 0x1000):
        return -1
    return -1 if first == 0x2001 and (second < 0x200 or second == 0xDB8) else k
