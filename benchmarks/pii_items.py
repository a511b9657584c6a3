"""Personal data made up from a seed, well formed and nobody's: what `benchmarks/pii.py` plants into documents."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

from pii_definition import CHECKS, iban, ipv4, luhn

from gristmill.kernels.text.pii_patterns import IBAN_LENGTHS, TOKENS

Draw = random.Random


def digits(draw: Draw, n: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(n))


def passing(make: Callable[[], str], check: Callable[[str], bool]) -> str:
    while not check(number := make()):
        pass
    return number


def email(draw: Draw) -> str:
    name = "".join(draw.choice(string.ascii_lowercase) for _ in range(draw.randint(2, 9)))
    local = draw.choice([name, f"{name}.{name[::-1]}", f"{name}_{draw.randint(1, 99)}", f"{name}+list", name.title()])
    return (
        f"{local}@{draw.choice(['mail.', '', 'uni-'])}{name[:5]}.{draw.choice(['com', 'de', 'co.uk', 'org', 'info'])}"
    )


def address(draw: Draw) -> str:
    return passing(lambda: ".".join(str(draw.randint(1, 223)) for _ in range(4)), lambda text: bool(ipv4(text)))


def address6(draw: Draw) -> str:
    return f"2a0{draw.randint(0, 9)}:{draw.randint(16, 9999):x}:" + ":".join(
        f"{draw.randint(1, 65535):x}" for _ in range(6)
    )


def phone(draw: Draw) -> str:
    n = f"{draw.randint(2, 9)}0{draw.randint(1, 9)}", f"{draw.randint(2, 9)}{draw.randint(20, 99)}", digits(draw, 4)
    return draw.choice([f"+1 {n[0]} {n[1]} {n[2]}", f"({n[0]}) {n[1]}-{n[2]}", "-".join(n), f"+1{''.join(n)}"])


def phone_abroad(draw: Draw) -> str:
    land = draw.choice([f"+44 20 {digits(draw, 4)} {digits(draw, 4)}", f"+49 30 {digits(draw, 6)}"])
    return draw.choice([land, f"+33 {draw.randint(1, 9)} " + " ".join(digits(draw, 2) for _ in range(4))])


def card(draw: Draw) -> str:
    prefix, n = draw.choice([("4", 16), ("53", 16), ("2300", 16), ("34", 15), ("6011", 16)])
    number = passing(lambda: prefix + digits(draw, n - len(prefix)), luhn)
    if n == 16:
        return draw.choice([number, *(c.join(number[k : k + 4] for k in range(0, 16, 4)) for c in " -")])
    return draw.choice([number, f"{number[:4]} {number[4:10]} {number[10:]}"])


def account(draw: Draw) -> str:
    entry = draw.choice([each for each in IBAN_LENGTHS.split() if each[:2] in ("DE", "AT", "BE", "ES", "PL", "NO")])
    body = digits(draw, int(entry[2:]) - 4)
    number = next(n for k in range(2, 99) if iban(n := f"{entry[:2]}{k:02d}{body}"))
    return draw.choice([number, " ".join(number[k : k + 4] for k in range(0, len(number), 4))])


def key(draw: Draw) -> str:
    token = draw.choice([token for token in TOKENS if token.of in ("upper", "word", "alnum", "hex")])
    signs = {"upper": string.ascii_uppercase + "234567", "hex": "0123456789abcdef"}.get(
        token.of, string.ascii_letters + string.digits
    )
    return token.prefix + "".join(draw.choice(signs) for _ in range(token.least))


def secret(draw: Draw) -> str:
    return "".join(draw.choice(string.ascii_letters + string.digits) for _ in range(draw.randint(20, 40)))


def national(check: str, make: Callable[[Draw], str]) -> Callable[[Draw], str]:
    def made(draw: Draw) -> str:
        return passing(
            lambda: make(draw), lambda text: CHECKS[check](text.replace("-", "") if check == "us_ssn" else text)
        )

    return made


# item -> (kind, language, in code, words before it, maker)
ITEMS: dict[str, tuple[str, str, bool, str, Callable[[Draw], str]]] = {
    "e-mail": ("email", "en", False, "", email),
    "e-mail in code": ("email", "python", True, "# ", email),
    "IPv4": ("ip", "en", False, "", address),
    "IPv6": ("ip", "en", False, "", address6),
    "telephone, North America": ("phone", "en", False, "", phone),
    "telephone, with country code": ("phone", "en", False, "", phone_abroad),
    "telephone, national, after a word": ("phone", "de", False, "Tel. ", lambda d: f"030 {digits(d, 7)}"),
    "card": ("card", "en", False, "", card),
    "IBAN": ("iban", "en", False, "", account),
    "US social security number": (
        "national_id", "en", False, "", national("us_ssn", lambda d: f"{digits(d, 3)}-{digits(d, 2)}-{digits(d, 4)}")
    ),
    "Spanish DNI": (
        "national_id", "es", False, "", national("es_dni", lambda d: digits(d, 8) + d.choice("TRWAGMYFPDXBNJZSQVHLCKE"))
    ),
    "Polish PESEL": (
        "national_id", "pl", False, "", national("pl_pesel", lambda d: f"{digits(d, 2)}0{digits(d, 8)}")
    ),
    "Dutch BSN, after its name": ("national_id", "nl", False, "BSN ", national("nl_bsn", lambda d: digits(d, 9))),
    "Turkish TC": ("national_id", "tr", False, "", national("tr_tc", lambda d: digits(d, 11))),
    "Finnish HETU": (
        "national_id", "fi", False, "",
        national("fi_hetu", lambda d: f"1{d.randint(0, 9)}0{d.randint(1, 9)}{digits(d, 2)}-{digits(d, 3)}"
                 + d.choice("0123456789ABCDEFHJKLMNPRSTUVWXY")),
    ),
    "key with a known beginning": ("key", "en", False, "", key),
    "key with a known beginning, in code": ("key", "python", True, "x = ", key),
    "value of a secret's name, in code": ("key", "python", True, "api_key = '", secret),
}  # fmt: skip
