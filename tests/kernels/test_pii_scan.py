"""Personal data: found where a plain definition finds it, checksums as published, and nothing else in their likes."""

from __future__ import annotations

import ipaddress
import random
import re
import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pii_definition import CHECKS, Span, emails, iban, ipv4, luhn

from gristmill.kernels.text.pii import replaced, scan
from gristmill.kernels.text.pii_checksums import CHECK_NUMBERS, valid
from gristmill.kernels.text.pii_patterns import KINDS, SCHEMES, scope_bits
from gristmill.kernels.text.utf8 import buffers


def spans(text: str, *kinds: str, language: str = "en", code: bool = False) -> list[tuple[str, Span]]:
    data, offsets = buffers(pa.array([text], pa.large_string()))
    wanted = np.array([[not kinds or kind in kinds for kind in KINDS]])
    found = scan(data, offsets, np.array([scope_bits(language, code)]), wanted)
    return [(KINDS[kind], (int(a), int(b))) for _, a, b, kind in found.T]


def found(text: str, *kinds: str, language: str = "en", code: bool = False) -> list[str]:
    return [text.encode()[a:b].decode() for _, (a, b) in spans(text, *kinds, language=language, code=code)]


PIECES = st.sampled_from(
    [
        "jo",
        ".",
        "@",
        "x.org",
        "example.com",
        "-",
        "_",
        "+",
        "%20",
        " ",
        "A1",
        "com",
        "png",
        "git",
        "(",
        "a@b.de",
        "é",
        "xn",
    ]
    + ["81.2.69", ".142", "10.", "2.2.2.2", "192.168.1.1", "/", "==", ",", "255", "0", "100.64.3.3", "8", "v", ":"]
)
FRAGMENTS = st.lists(PIECES, max_size=12).map("".join) | st.text(string.printable, max_size=40)


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(text=FRAGMENTS, code=st.booleans())
@example(
    text="a@b.com-x.org, a@b.com- a@b..com a..b@c.de .a@c.de a@-b.de a@b.c1 a@b.com.2 %20a@b.de %a@b.de", code=False
)
def test_email_addresses_are_their_definition(text: str, code: bool) -> None:
    text = text.encode("ascii", "replace").decode()
    assert [span for _, span in spans(text, "email", code=code)] == emails(text, code)


@settings(deadline=None, max_examples=400)
@given(text=FRAGMENTS | st.ip_addresses(v=4).map("at {}.".format))
@example(text="81.2.69.142, 81.2.69.142:80 81.2.69.142.3 x81.2.69.142 Chrome/81.2.69.142 //81.2.69.142/ ==81.2.69.142")
def test_ipv4_addresses_are_their_definition(text: str) -> None:
    text = re.sub(r"(?i)ver|rev|release|build", "", text.encode("ascii", "replace").decode())
    assert [span for _, span in spans(text, "ip")] == ipv4(text)


@settings(deadline=None)
@given(address=st.ip_addresses(v=6) | st.ip_addresses(v=6, network="2000::/3"))
def test_ipv6_addresses_are_public_as_the_library_says(address) -> None:
    public = address.is_global and address in ipaddress.ip_network("2000::/3")
    # of later date than the library: 3fff::/20 is for documentation; 6to4 (2002::/16) names no machine of its own
    public = public and not str(address).startswith(("3fff:0", "3fff::", "2002:"))
    for form in (str(address), address.exploded, str(address).upper()):
        expected = [form] if public and not form.endswith("::") else []
        if not re.match(r"3fff:[0-9a-f]{1,3}:", form.lower()):
            assert found(f"ping [{form}]", "ip") == expected


ALPHABETS = {"d": "0123456789", "L": "ABCDEFGHTRWXYZ", "?": "0123456789ABCDEFHJKLMNPRSTUVWXY"}
PATTERNS = [(s.check, p) for s in SCHEMES for p in s.patterns if s.check in CHECKS]


@pytest.mark.parametrize(("check", "pattern"), PATTERNS)
def test_numbers_pass_where_their_checksum_by_the_book_does(check: str, pattern: str) -> None:
    draw = random.Random(pattern)
    separators = "".join(set(pattern) - set("dL?X")) if check != "fi_hetu" else ""
    agreed = 0
    for _ in range(3000):
        number = "".join(draw.choice(ALPHABETS[c]) if c in ALPHABETS else c for c in pattern)
        bare = number.translate(str.maketrans("", "", separators))
        if check == "pl_pesel" and draw.random() < 0.5:  # dates are rare at random
            bare = bare[:2] + "0715" + bare[6:]
        room = np.zeros(32, np.uint8)
        room[: len(bare)] = np.frombuffer(bare.encode(), np.uint8)
        assert valid(CHECK_NUMBERS[check], room, len(bare)) == CHECKS[check](bare), bare
        agreed += CHECKS[check](bare)
    assert agreed > 0 or check == "cn_rid"


# numbers that python-stdnum 2.2 calls valid
VALID = {
    "es": ["39710168R", "96097919D", "Y0703312D", "Z7041561R"],
    "it": ["NCPCDF88E57A339Y", "MNRLZB56P23M730I"],
    "pt": ["457.394.463-09", "576.069.448-06"],
    "pl": ["29232141664", "55072320811"],
    "fr": ["128052908787318", "183051442546722"],
    "fi": ["210763-809J", "121094-296L"],
    "sv": ["400113-9056", "870712-6010"],
    "zh": ["440304200910116265", "510104199210067310"],
    "tr": ["55594992200", "43094190820"],
    "en": ["795-40-1009", "249-38-3976"],
}
ANNOUNCED = ["BSN: 900510961", "burgerservicenummer 799750086", "Aadhaar no. 4850 2316 0332", "UIDAI 460591968439"]
ANNOUNCED += ["SSN 795401009", "DNI 39710168R", "PESEL: 55072320811", "CPF 45739446309", "card no 4222222222222"]


@pytest.mark.parametrize("language", VALID)
def test_national_numbers_are_found_in_their_language_and_not_with_another_digit(language: str) -> None:
    for number in VALID[language]:
        assert found(f"({number}).", language=language) == [number]
        if language == "en":  # no checksum, only ranges
            continue
        place = 9 if language in ("pl", "tr", "fr") else 12 if language == "it" else 1 if language == "fi" else 4
        wrong = number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :]
        assert found(f"({wrong}).", "national_id", language=language) == []
        for around in ("1{}", "{}1", "x{}", "{}_", "0.{}", "3,{}"):
            assert found(around.format(number), "national_id", language=language) == []


@pytest.mark.parametrize("text", ANNOUNCED)
def test_weak_numbers_need_their_name_before_them(text: str) -> None:
    number = re.search(r"[\d ]{8,}[A-Z]?\Z", text)[0].strip()  # type: ignore[index]
    assert found(text) == [number]
    assert found(text.replace(text[: -len(number)], "The number ")) == []
    assert found(f"{text[: -len(number)]}{' ' * 60}{number}") == []


def card(prefix: str, length: int, draw: random.Random) -> str:
    body = prefix + "".join(draw.choice("0123456789") for _ in range(length - len(prefix) - 1))
    return next(body + c for c in "0123456789" if luhn(body + c))


def test_cards_are_issuers_numbers_with_the_luhn_digit() -> None:
    draw = random.Random(2)
    for prefix, length in (("4", 16), ("55", 16), ("2221", 16), ("37", 15), ("6011", 16), ("3530", 16), ("62", 16)):
        number = card(prefix, length, draw)
        assert found(f"pay {number} now", "card") == [number]
        wrong = number[:-1] + str((int(number[-1]) + 5) % 10)
        assert found(f"pay {wrong} now", "card") == []
        assert found(f"pay 0.{number}", "card") == []
        if length == 16:
            laid_out = " ".join(number[k : k + 4] for k in range(0, 16, 4))
            assert found(f"x = {laid_out};", "card", code=True) == [laid_out]
            assert found(f"1234 {laid_out} 5678", "card") == []  # a row of a table
    assert found(f"id {card('4', 16, draw)}", "card", code=True) == []
    assert found(f"pay {card('1', 16, draw)}", "card") == []


def test_ibans_have_their_country_s_length_and_rest_one() -> None:
    examples = [
        "DE89370400440532013000",
        "GB82WEST12345698765432",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
    ]
    for number in examples:
        assert iban(number)
        laid_out = " ".join(number[k : k + 4] for k in range(0, len(number), 4))
        for form in (number, laid_out):
            assert found(f"IBAN {form}.") == [form]
        for wrong in (number[:-1] + ("1" if number[-1] != "1" else "2"), "XX" + number[2:], number + "7", "A" + number):
            assert found(f"to {wrong}!", "iban") == []


PHONES = {
    "+44 (0)20 7393 1500": True,
    "+1 (415) 555-2671": True,
    "+14155552671": True,
    "+49 30 901820": True,
    "(415) 555-2671": True,
    "415-555-2671": True,
    "1-800-352-5267": True,
    "Tel: 020 7946 0958": True,
    "телефон 8 495 123-45-67": True,
    "电话：010-12345678": True,
    "Fax (030) 90 18 20": True,
    "+1 911 555 2671": False,
    "+999 20 7393 1500": False,
    "2011-11-28 08:32:24 +0400": False,
    "115-555-2671": False,
    "phone 2010-2011": False,
    "Fax 12.05.2020": False,
    "cell 10.20.30.40": False,
    "hotel 020 7946 0958": False,
    "020 7946 0958": False,
    "5+14155552671": False,
    "978-3-16-148410-0": False,
}


@pytest.mark.parametrize("text", PHONES)
def test_telephone_numbers_have_a_plus_a_layout_or_a_word_before_them(text: str) -> None:
    number = re.sub(r"\A[^\d(+]+", "", text)
    assert found(f"so {text}.", "phone") == ([number] if PHONES[text] else [])


KEYS = {
    "AKIAJ2EQ7D5XKUYVZ3NA": "an AWS key",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a": "a GitHub token",
    "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe": "a Google key",
    "xoxb-2345-987654-AbCdEfGhIjKlMnOp": "a Slack token",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc": "a Stripe key",
    "glpat-AbC3dEf6hIj9kLm2nOpQ": "a GitLab token",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U": "a JWT",
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA==\n-----END EC PRIVATE KEY-----": "a private key",
}


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_known_by_their_beginning(key: str) -> None:
    for code in (False, True):
        assert found(f"use {key}\nhere", "key", code=code) == [key]
    assert found(f"z{key}", "key") == ([key] if key.startswith("-") else [])
    assert found(key.replace("-----BEGIN", "----- BEGIN")[: len(key) // 2], "key") == []


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('password = "hunter2Xq9!"', "hunter2Xq9!"),
        ("DB_PASSWORD: 'k3Jd-92mQz'", "k3Jd-92mQz"),
        ('"api-key": "d41d8cd98f00b204e9800998ecf8427e"', "d41d8cd98f00b204e9800998ecf8427e"),
        ('os.environ["API_KEY"] = "d41d8cd98f00b204e9800998ecf8427e"', "d41d8cd98f00b204e9800998ecf8427e"),
        ("SECRET_KEY=9f86d081884c7d659a2feaa0c55ad015", "9f86d081884c7d659a2feaa0c55ad015"),
        ('clientSecret := "Zx81-qpr0-77tt"', "Zx81-qpr0-77tt"),
        ('password = "changeme1234"', None),
        ("password = getpass()", None),
        ('password = "${DB_PASSWORD}"', None),
        ("password: str = field(default=None)", None),
        ('token = "identifier"', None),
        ('title = "hunter2Xq9!"', None),
        ('api_key = "YOUR_API_KEY_HERE_1"', None),
        ("tokens = 9f86d081884c7d659a2feaa0c55ad015", None),
    ],
)
def test_a_random_value_under_a_secret_s_name_is_a_secret_in_code(line: str, value: str | None) -> None:
    assert found(line, code=True) == ([value] if value else [])
    assert found(line) == []


@settings(deadline=None, max_examples=200)
@given(texts=st.lists(FRAGMENTS | st.text(), max_size=5))
def test_matches_are_in_order_apart_and_replaced_in_place(texts: list[str]) -> None:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    matches = scan(data, offsets, np.ones(len(texts), np.int64), np.ones((len(texts), len(KINDS)), np.bool_))
    words = [f"<{kind}>".encode() for kind in KINDS]
    content, bounds = replaced(
        data, offsets, matches, np.frombuffer(b"".join(words), np.uint8), np.cumsum([0, *map(len, words)])
    )
    for row, text in enumerate(texts):
        mine = [match for match in matches.T.tolist() if match[0] == row]
        out, place = b"", int(offsets[row])
        for _, start, end, kind in mine:
            assert place <= start < end <= offsets[row + 1]
            out += bytes(data[place:start]) + words[kind]
            place = end
        out += bytes(data[place : offsets[row + 1]])
        assert bytes(content[bounds[row] : bounds[row + 1]]) == out
        out.decode()  # no character is cut
        assert text.encode() == bytes(data[offsets[row] : offsets[row + 1]])


BYTES = st.lists(st.sampled_from([b"@", b"\xc3", b"a.b", b"\x80", b"+49", b"-----BEGIN ", b"1", b" "])).map(b"".join)


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=80) | BYTES)
def test_bytes_that_are_no_text_are_read_to_their_end(content: bytes) -> None:
    data = np.frombuffer(content + b"\0", np.uint8)
    offsets = np.array([0, len(content)], np.int64)
    for scope in (1, 2):
        scan(data, offsets, np.array([scope]), np.ones((1, len(KINDS)), np.bool_))
