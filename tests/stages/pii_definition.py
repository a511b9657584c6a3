"""What `kernels.text.pii` must find, in plain Python: regular expressions, ipaddress and checksums by the book."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from gristmill.kernels.text import pii_patterns as tables

LUHN = {c: sum(divmod(2 * int(c), 10)) for c in "0123456789"}
Span = tuple[int, int]


def emails(text: str, code: bool = False) -> list[Span]:
    """ASCII only."""
    found: list[Span] = []
    for match in re.finditer("@", text):
        at, floor = match.start(), found[-1][1] if found else 0
        if at < floor:
            continue
        local = re.search(r"[A-Za-z0-9._%+-]*\Z", text[max(floor, at - 64) : at])[0]  # type: ignore[index]
        while local and not re.match(r"[A-Za-z0-9_]", local):
            local = local[3 if local[0] == "%" and len(local) > 3 else 1 :]
        start = at - len(local)
        if not local or local == "git" or local.endswith(".") or ".." in local or text[:start].endswith("@"):
            continue
        ends = [end for end in range(at + 3, min(len(text), at + 300) + 1) if _domain(text, at + 1, end, code)]
        if not ends:
            continue
        labels = text[at + 1 : ends[-1]].lower().split(".")
        if labels[-1] in tables.RESERVED_TLDS or ".".join(labels[-2:]) in tables.RESERVED_DOMAINS:
            continue
        if text[ends[-1] : ends[-1] + 1] in ({"@", "_", "("} if code else {"@", "_"}):
            continue
        found.append((start, ends[-1]))
    return found


def _domain(text: str, start: int, end: int, code: bool) -> bool:
    if re.match(r"[A-Za-z0-9]", text[end : end + 1]):
        return False
    label = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    if not re.fullmatch(rf"(?:{label}\.)+[A-Za-z]{{2,24}}", text[start:end]):
        return False
    tld = text[start:end].rpartition(".")[2].lower()
    return (len(tld) == 2 or tld in tables.CODE_TLDS) if code else tld not in tables.NO_TLDS


def ipv4(text: str) -> list[Span]:
    found = []
    for match in re.finditer(r"(?<![A-Za-z0-9_+.^~-])\d{1,3}(?:\.\d{1,3}){3}(?![A-Za-z0-9_])(?![.-][A-Za-z0-9])", text):
        if re.search(r"(?:\d,|[A-Za-z0-9]/|[=<>~!]=)\Z", text[: match.start()]):
            continue
        try:
            address = ipaddress.IPv4Address(match[0])
        except ValueError:
            continue
        parts = [int(part) for part in match[0].split(".")]
        shared = ipaddress.IPv4Network("100.64.0.0/10")
        odd = address in shared or address in ipaddress.IPv4Network("192.0.0.0/24")
        small, tiny = sum(part <= 31 for part in parts[1:]), sum(part <= 9 for part in parts[1:])
        looks_like_a_version = (parts[0] <= 31 and small >= 2) or (parts[0] <= 9 and tiny >= 1)
        looks_like_a_version = looks_like_a_version or parts[1] == parts[2] == 0 or parts[3] == 0
        if address.is_private or address.is_multicast or odd or looks_like_a_version:
            continue
        found.append(match.span())
    return found


def luhn(digits: str) -> bool:
    return sum(LUHN[c] if k % 2 else int(c) for k, c in enumerate(reversed(digits))) % 10 == 0


def weighted(digits: str, weights: list[int]) -> int:
    return sum(int(c) * w for c, w in zip(digits, weights))


def dni(number: str) -> bool:
    digits = str("XYZ".index(number[0])) + number[1:-1] if number[0] in "XYZ" else number[:-1]
    return digits.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[-1]


def cpf(number: str) -> bool:
    def check(n: int) -> int:
        rest = weighted(number[:n], [n + 1 - k for k in range(n)]) % 11
        return 0 if rest < 2 else 11 - rest

    return len(set(number)) > 1 and number[9:] == f"{check(9)}{check(10)}"


def pesel(number: str) -> bool:
    month, day = int(number[2:4]) % 20, int(number[4:6])
    return 1 <= month <= 12 and 1 <= day <= 31 and weighted(number, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]) % 10 == 0


def bsn(number: str) -> bool:
    return len(set(number)) > 1 and weighted(number, [9, 8, 7, 6, 5, 4, 3, 2, -1]) % 11 == 0


def hetu(number: str) -> bool:
    day, month, person = int(number[:2]), int(number[2:4]), int(number[7:10])
    rest = int(number[:6] + number[7:10]) % 31
    return 1 <= day <= 31 and 1 <= month <= 12 and person > 1 and "0123456789ABCDEFHJKLMNPRSTUVWXY"[rest] == number[10]


def resident(number: str) -> bool:
    values = [10 if c == "X" else int(c) for c in number]
    right = sum(v * pow(2, 17 - k, 11) for k, v in enumerate(values)) % 11 == 1
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    place = 11 <= int(number[:2]) <= 82
    return right and place and 1850 <= year <= 2099 and 1 <= month <= 12 and 1 <= day <= 31


def turkish(number: str) -> bool:
    digits = [int(c) for c in number]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return number[0] != "0" and digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def ssn(number: str) -> bool:
    return not re.match(r"000|666|9|...00|.....0000", number)


def nanp(number: str) -> bool:
    return re.fullmatch(r"1?(?!.11)[2-9]\d\d(?!.11)[2-9]\d{6}", number) is not None


def iban(number: str) -> bool:
    lengths = {entry[:2]: int(entry[2:]) for entry in tables.IBAN_LENGTHS.split()}
    digits = "".join(str(int(c, 36)) for c in number[4:] + number[:4])
    return lengths.get(number[:2]) == len(number) and int(digits) % 97 == 1


CHECKS: dict[str, Callable[[str], bool]] = {
    "es_dni": dni,
    "br_cpf": cpf,
    "pl_pesel": pesel,
    "nl_bsn": bsn,
    "fi_hetu": hetu,
    "cn_rid": resident,
    "tr_tc": turkish,
    "us_ssn": ssn,
    "nanp": nanp,
}
