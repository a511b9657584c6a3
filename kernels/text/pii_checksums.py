"""Checksums and structure of numbers that name a person or an account, over digits as bytes; see `CHECKS` for sources.

    valid(check, at, n) -> bool      at: (n,) uint8, the number's digits and letters, ASCII, separators taken out

A number that passes is well formed, not necessarily issued. Lengths are those of the patterns in `pii_patterns`.
"""

from __future__ import annotations

import numba
import numpy as np

CHECKS = {
    "none": "no checksum",
    "nanp": "North American Numbering Plan Administration: NXX-NXX-XXXX, N 2 to 9, no N11",
    "card": "ISO/IEC 7812-1: Luhn; issuer prefixes and lengths: the networks' published ranges",
    "us_ssn": "Social Security Administration, RM 10201.035: area not 000, 666, 9xx; group not 00; serial not 0000",
    "es_dni": "Orden INT/2058/2008 (Spain): the letter at number mod 23; X Y Z of a NIE stand for 0 1 2",
    "it_cf": "Decreto ministeriale 23 December 1976 (Italy): odd and even place values mod 26",
    "br_cpf": "Receita Federal (Brazil): two check digits mod 11",
    "pl_pesel": "Ustawa o ewidencji ludności (Poland): weights 1 3 7 9 mod 10, century in the month",
    "nl_bsn": "Besluit burgerservicenummer (Netherlands): weights 9 to 2 and -1, sum a multiple of 11",
    "fr_nir": "INSEE (France): 97 - number mod 97, sex 1 or 2, month 1 to 12",
    "fi_hetu": "Digi- ja väestötietovirasto (Finland): character of number mod 31",
    "se_pnr": "Skatteverket SKV 704 (Sweden): Luhn over ten digits, day up to 91 for co-ordination numbers",
    "cn_rid": "GB 11643-1999 (China), ISO 7064 MOD 11-2, region code and date",
    "tr_tc": "Nüfus ve Vatandaşlık İşleri (Türkiye): two check digits mod 10",
    "in_aadhaar": "UIDAI (India): Verhoeff 1969, first digit 2 to 9",
}
"""Name -> source."""

CHECK_NUMBERS = {name: number for number, name in enumerate(CHECKS)}

# prefix range, lengths as bits: Visa, Mastercard (two ranges), American Express, Discover (four), Diners (three), JCB,
# UnionPay, Maestro (three), Mir
_ISSUERS = np.array(
    [
        (400000, 499999, 1 << 13 | 1 << 16 | 1 << 19),
        (510000, 559999, 1 << 16),
        (222100, 272099, 1 << 16),
        (340000, 349999, 1 << 15),
        (370000, 379999, 1 << 15),
        (601100, 601199, 0b1111 << 16),
        (622126, 622925, 0b1111 << 16),
        (644000, 659999, 0b1111 << 16),
        (300000, 305999, 0b111111 << 14),
        (309500, 309599, 0b111111 << 14),
        (360000, 369999, 0b111111 << 14),
        (380000, 399999, 0b111111 << 14),
        (352800, 358999, 0b1111 << 16),
        (620000, 629999, 0b1111 << 16),
        (501800, 503899, 0b11111111 << 12),
        (630400, 630499, 0b11111111 << 12),
        (675900, 676399, 0b11111111 << 12),
        (220000, 220499, 0b1111 << 16),
    ],
    np.int64,
)
_DNI_LETTERS = np.frombuffer(b"TRWAGMYFPDXBNJZSQVHLCKE", np.uint8)
_HETU_LETTERS = np.frombuffer(b"0123456789ABCDEFHJKLMNPRSTUVWXY", np.uint8)
_RID_LETTERS = np.frombuffer(b"10X98765432", np.uint8)
_CF_ODD = np.array(
    [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23], np.int64
)  # of A to Z and, the first ten, of 0 to 9
_VERHOEFF_PRODUCT = np.array(
    [
        *([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6]),
        *([3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1]),
        *([6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4]),
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ],
    np.int64,
)  # the dihedral group D5
_VERHOEFF_PERMUTED = np.array(
    [
        *([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2]),
        *([8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1]),
        *([2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8]),
    ],
    np.int64,
)

_NANP, _CARD, _SSN, _DNI, _CF, _CPF, _PESEL, _BSN, _NIR, _HETU, _PNR, _RID, _TC, _AADHAAR = (
    CHECK_NUMBERS[name]
    for name in (
        *("nanp", "card", "us_ssn", "es_dni", "it_cf", "br_cpf", "pl_pesel", "nl_bsn", "fr_nir", "fi_hetu", "se_pnr"),
        *("cn_rid", "tr_tc", "in_aadhaar"),
    )
)


@numba.njit(cache=True)
def valid(check, at, n):
    """Whether the number passes the check of that number in `CHECK_NUMBERS`."""
    if check == _NANP:
        k = n - 10
        return (k == 0 or at[0] == 49) and _nxx(at, k) and _nxx(at, k + 3)
    if check == _CARD:
        return _luhn(at, 0, n) and _issuer(at, n)
    if check == _SSN:
        area, group, serial = number(at, 0, 3), number(at, 3, 5), number(at, 5, 9)
        return area != 0 and area != 666 and area < 900 and group != 0 and serial != 0
    if check == _DNI:
        first = np.int64(at[0]) - (88 if at[0] >= 88 else 48)  # X Y Z
        return first <= 9 and at[n - 1] == _DNI_LETTERS[(first * 10 ** (n - 2) + number(at, 1, n - 1)) % 23]
    if check == _CF:
        return _codice_fiscale(at)
    if check == _CPF:
        return _varied(at, n) and _cpf_digit(at, 9) and _cpf_digit(at, 10)
    if check == _PESEL:
        return _pesel(at)
    if check == _BSN:
        total = np.int64(-digit(at, 8))
        for k in range(8):
            total += digit(at, k) * (9 - k)
        return _varied(at, n) and total % 11 == 0
    if check == _NIR:
        month = number(at, 3, 5)
        return 49 <= at[0] <= 50 and 1 <= month <= 12 and number(at, 13, 15) == 97 - number(at, 0, 13) % 97
    if check == _HETU:
        person = number(at, 7, 10)
        rest = (number(at, 0, 6) * 1000 + person) % 31
        return _date(number(at, 0, 2), number(at, 2, 4)) and person >= 2 and at[10] == _HETU_LETTERS[rest]
    if check == _PNR:
        k = n - 10
        day = number(at, k + 4, k + 6)
        return _date(day - 60 if day > 60 else day, number(at, k + 2, k + 4)) and _luhn(at, k, n)
    if check == _RID:
        return _resident(at)
    if check == _TC:
        return _turkish(at)
    if check == _AADHAAR:
        c = 0
        for k in range(n):
            c = _VERHOEFF_PRODUCT[c, _VERHOEFF_PERMUTED[k % 8, digit(at, n - 1 - k)]]
        return at[0] >= 50 and c == 0
    return True


@numba.njit(cache=True)
def digit(at, k):
    return np.int64(at[k]) - 48


@numba.njit(cache=True)
def number(at, first, end):
    value = 0
    for k in range(first, end):
        value = value * 10 + digit(at, k)
    return value


@numba.njit(cache=True)
def iban_rest(at, n):
    """The number mod 97 (ISO 13616, ISO 7064 MOD 97-10): 1 in an IBAN. Letters stand for 10 to 35."""
    rest = np.int64(0)
    for k in range(n):
        c = np.int64(at[(k + 4) % n])
        rest = (rest * 10 + c - 48) % 97 if c < 65 else (rest * 100 + c - 55) % 97
    return rest


@numba.njit(cache=True)
def _nxx(at, k):
    return at[k] >= 50 and not (at[k + 1] == 49 and at[k + 2] == 49)


@numba.njit(cache=True)
def _luhn(at, first, n):
    total = 0
    for k in range(first, n):
        d = digit(at, k)
        if (n - k) % 2 == 0:
            d = 2 * d - 9 if d > 4 else 2 * d
        total += d
    return total % 10 == 0


@numba.njit(cache=True)
def _issuer(at, n):
    prefix = number(at, 0, 6)
    for k in range(len(_ISSUERS)):
        if _ISSUERS[k, 0] <= prefix <= _ISSUERS[k, 1] and _ISSUERS[k, 2] >> n & 1:
            return _varied(at, n)
    return False


@numba.njit(cache=True)
def _varied(at, n):
    """Not one digit all along."""
    k = 1
    while k < n and at[k] == at[0]:
        k += 1
    return k < n


@numba.njit(cache=True)
def _date(day, month):
    return 1 <= day <= 31 and 1 <= month <= 12


@numba.njit(cache=True)
def _codice_fiscale(at):
    month = False
    for letter in (65, 66, 67, 68, 69, 72, 76, 77, 80, 82, 83, 84):  # A to E, H, L, M, P, R, S, T
        month |= at[8] == letter
    day = number(at, 9, 11)
    total = np.int64(0)
    for k in range(15):
        value = np.int64(at[k]) - (48 if at[k] < 65 else 65)
        total += _CF_ODD[value] if k % 2 == 0 else value
    return month and _date(day - 40 if day > 40 else day, 1) and at[15] == 65 + total % 26


@numba.njit(cache=True)
def _cpf_digit(at, n):
    total = 0
    for k in range(n):
        total += digit(at, k) * (n + 1 - k)
    return digit(at, n) == total * 10 % 11 % 10


@numba.njit(cache=True)
def _pesel(at):
    total = 0
    for k in range(10):
        total += digit(at, k) * (1, 3, 7, 9)[k % 4]
    return _date(number(at, 4, 6), number(at, 2, 4) % 20) and digit(at, 10) == (10 - total % 10) % 10


@numba.njit(cache=True)
def _resident(at):
    total, weight = 0, 1
    for k in range(16, -1, -1):
        weight = weight * 2 % 11
        total += digit(at, k) * weight
    region, year = number(at, 0, 2), number(at, 6, 10)
    sound = 11 <= region <= 82 and 1850 <= year <= 2099 and _date(number(at, 12, 14), number(at, 10, 12))
    return sound and at[17] == _RID_LETTERS[total % 11]


@numba.njit(cache=True)
def _turkish(at):
    odd, even, total = 0, 0, 0
    for k in range(9):
        if k % 2 == 0:
            odd += digit(at, k)
        else:
            even += digit(at, k)
    for k in range(10):
        total += digit(at, k)
    return at[0] != 48 and digit(at, 9) == (odd * 7 - even) % 10 and digit(at, 10) == total % 10
