"""Tables of what is looked for: kinds, patterns of numbers, the words that announce them, prefixes of keys.

A pattern of a number: d is a digit, L a capital letter, ? one of the check characters below, everything else itself. A
number that fits one and passes the check (`pii_checksums`) is taken
    where the document's language, or `prose` or `code`, is among `scope`, else
    where a word of `context` stands before it, at most `REACH` bytes away.
So what is strong (layout and checksum) counts everywhere; what is weak (nine digits, of which one in eleven passes)
needs its name beside it. It searches nothing: `kernels.text.pii` does.
"""

from __future__ import annotations

from typing import NamedTuple

KINDS = ("email", "ip", "phone", "card", "iban", "national_id", "key")
"""Numbers of kinds are places here."""
EMAIL, IP, PHONE, CARD, IBAN, NATIONAL_ID, KEY = range(len(KINDS))

REACH = 48  # bytes before a number in which its name may stand
PHONE_REACH = 20  # bytes before a telephone number in which "Tel." or the like stands, with no digit in between


class Scheme(NamedTuple):
    kind: int
    check: str
    patterns: tuple[str, ...]
    scope: tuple[str, ...] = ()
    context: tuple[str, ...] = ()


_EVERYWHERE = ("prose", "code")
_CARD_WORDS = ("card", "visa", "mastercard", "amex", "maestro", "carte", "tarjeta", "karte", "cartão", "карт", "卡号")
_SSN_WORDS = ("ssn", "social security")
_BSN_WORDS = ("bsn", "burgerservicenummer", "sofinummer", "sofi-nummer")
_DNI_WORDS = ("dni", "nie", "nif", "documento nacional")
_NIR_WORDS = ("nir", "sécurité sociale", "securite sociale", "insee", "numéro de sécu")
_PNR_WORDS = ("personnummer", "personnr", "samordningsnummer", "pnr")
_AADHAAR_WORDS = ("aadhaar", "aadhar", "uidai", "आधार")
_TC_WORDS = ("tc", "t.c.", "tckn", "kimlik")
_SPANISH = ("es", "ca", "gl", "eu")

SCHEMES = (
    Scheme(PHONE, "nanp", ("(ddd) ddd-dddd", "(ddd)ddd-dddd", "ddd-ddd-dddd", "d-ddd-ddd-dddd"), ("prose",)),
    Scheme(PHONE, "nanp", ("ddd.ddd.dddd",), ("en",)),
    Scheme(CARD, "card", ("dddd dddd dddd dddd", "dddd-dddd-dddd-dddd", "dddd dddddd ddddd"), _EVERYWHERE),
    Scheme(CARD, "card", ("dddd-dddddd-ddddd", "dddd dddddd dddd"), _EVERYWHERE),
    Scheme(CARD, "card", ("d" * 16, "d" * 15), ("prose",), _CARD_WORDS),
    Scheme(CARD, "card", tuple("d" * n for n in (12, 13, 14, 17, 18, 19)), (), _CARD_WORDS),
    Scheme(NATIONAL_ID, "us_ssn", ("ddd-dd-dddd",), ("en",), _SSN_WORDS),
    Scheme(NATIONAL_ID, "us_ssn", ("ddd dd dddd", "ddddddddd"), (), _SSN_WORDS),
    Scheme(NATIONAL_ID, "es_dni", ("ddddddddL", "dddddddd-L", "LdddddddL", "L-ddddddd-L"), _SPANISH, _DNI_WORDS),
    Scheme(NATIONAL_ID, "es_dni", ("dd.ddd.ddd-L",), _EVERYWHERE),
    Scheme(NATIONAL_ID, "it_cf", ("LLLLLLddLddLdddL",), _EVERYWHERE),
    Scheme(NATIONAL_ID, "br_cpf", ("ddd.ddd.ddd-dd",), _EVERYWHERE),
    Scheme(NATIONAL_ID, "br_cpf", ("ddddddddddd", "ddddddddd-dd"), (), ("cpf",)),
    Scheme(NATIONAL_ID, "pl_pesel", ("ddddddddddd",), ("pl",), ("pesel",)),
    Scheme(NATIONAL_ID, "nl_bsn", ("ddddddddd", "dddd.dd.ddd"), (), _BSN_WORDS),
    Scheme(NATIONAL_ID, "fr_nir", ("d dd dd dd ddd ddd dd",), _EVERYWHERE),
    Scheme(NATIONAL_ID, "fr_nir", ("ddddddddddddddd", "ddddddddddddd dd"), ("fr",), _NIR_WORDS),
    Scheme(NATIONAL_ID, "fi_hetu", tuple(f"dddddd{c}ddd?" for c in "-+ABCDEFYXWVU"), _EVERYWHERE),
    Scheme(NATIONAL_ID, "se_pnr", ("dddddd-dddd", "dddddd+dddd", "dddddddd-dddd"), ("sv",), _PNR_WORDS),
    Scheme(NATIONAL_ID, "se_pnr", ("dddddddddd", "dddddddddddd"), (), _PNR_WORDS),
    Scheme(NATIONAL_ID, "cn_rid", ("dddddddddddddddddd", "dddddddddddddddddX"), _EVERYWHERE),
    Scheme(NATIONAL_ID, "tr_tc", ("ddddddddddd",), ("tr",), _TC_WORDS),
    Scheme(NATIONAL_ID, "in_aadhaar", ("dddd dddd dddd", "dddd-dddd-dddd", "dddddddddddd"), (), _AADHAAR_WORDS),
)
"""In the order in which they are tried."""

PHONE_WORDS = (
    *("tel", "tel.", "phone", "telephone", "fax", "mobile", "cell", "whatsapp", "ph", "telefon", "tlf", "mobil"),
    *("handy", "telefax", "telefono", "teléfono", "telefone", "celular", "móvil", "téléphone", "tél", "portable"),
    *("telefoon", "puhelin", "puh", "тел", "телефон", "факс", "моб", "τηλ", "هاتف", "फोन", "โทร", "电话", "電話"),
    *("手机", "传真", "전화", "điện thoại", "telefonu", "gsm"),
)
"""Before a national number; case does not matter for ASCII."""

VERSION_WORDS = ("version", "versions", "ver", "release", "rev", "revision", "build", "firmware", "section", "chapter")
"""Before four numbers with dots that are no address."""

TRUNK = {
    (4, 7): "683 690", (4, 11): "352", (5, 5): "247 500 682", (5, 7): "676 677 678 688", (5, 8): "686",
    (5, 9): "27", (5, 10): "82 358 685", (5, 13): "43 49", (6, 6): "298 299 672 681 687", (6, 7): "597",
    (6, 9): "40 252 359 376 421 508", (6, 10): "53 63 95 98 880", (6, 12): "39",
    (7, 7): "238 239 246 248 269 291 297 501 592 673 674 679 680 691 692 960",
    (7, 8): "230 241 267 372 507 599 670 675 961 975", (7, 9): "46 48 220 231 254 265 354 423 595 967",
    (7, 10): "243 353", (7, 11): "86", (7, 12): "62",
    (8, 8): "45 47 65 216 222 223 226 227 228 232 235 236 253 257 266 268 350 356 357 370 371 373 374 382 386 389 502 "
            "503 504 505 506 509 591 598 689 852 853 965 968 973 974 993",
    (8, 9): "32 36 51 66 213 224 250 258 264 355 377 385 387 593 855 886 962 963 970 971",
    (8, 10): "20 57 60 64 378 850 856 964 976 977", (8, 12): "972",
    (9, 9): "33 34 41 56 61 93 94 211 212 218 221 233 237 240 242 244 245 249 251 255 256 260 261 262 263 351 375 380 "
            "420 590 594 596 966 979 992 994 995 996 998",
    (9, 10): "44 81 84 92", (9, 11): "31", (10, 10): "1 7 30 52 58 90 91 225 229 234", (10, 11): "54 55",
}  # fmt: skip
"""Digits after the country code, least and most -> country codes (ITU-T E.164, list of assigned codes; lengths of the
national numbering plans that its members communicate)."""

IBAN_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
    "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 "
    "QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)
"""SWIFT, IBAN Registry (ISO 13616)."""


class Token(NamedTuple):
    """A key known by its beginning: `least` to `most` characters of `of` after it."""

    prefix: str
    anchor: int  # place in the prefix of the rare byte that is searched for
    of: str  # upper: A-Z2-7; word: A-Za-z0-9_-; alnum; hex
    least: int
    most: int


TOKENS = (
    *(Token(prefix, 1, "upper", 16, 16) for prefix in ("AKIA", "ASIA")),  # AWS IAM, unique identifiers
    Token("AIza", 2, "word", 35, 35),  # Google Cloud
    *(Token(f"gh{kind}_", 3, "alnum", 36, 251) for kind in "pousr"),  # GitHub, authentication token formats
    Token("github_pat_", 6, "word", 82, 82),
    Token("glpat-", 5, "word", 20, 64),  # GitLab
    *(Token(f"xox{kind}-", 4, "word", 20, 255) for kind in "abeoprs"),  # Slack
    *(Token(f"{kind}_live_", 2, "alnum", 16, 247) for kind in ("sk", "rk")),  # Stripe
    Token("npm_", 3, "alnum", 36, 36),
    Token("pypi-AgE", 4, "word", 60, 400),
    Token("hf_", 2, "alnum", 34, 40),  # Hugging Face
    Token("shpat_", 5, "hex", 32, 32),  # Shopify
    Token("dop_v1_", 3, "hex", 64, 64),  # DigitalOcean
    Token("sk-ant-", 2, "word", 40, 200),
    Token("sk-proj-", 2, "word", 40, 200),
    Token("SG.", 1, "sendgrid", 66, 66),  # SendGrid: 22, a dot, 43
    Token("eyJ", 2, "jwt", 33, 8000),  # RFC 7519: three parts of base64url with dots between, the first a JSON object
)
"""Formats as their issuers publish them (and their secret-scanning partners list them)."""

SECRET_NAMES = (
    *(("password", 8), ("passwd", 8), ("pwd", 8), ("passphrase", 8), ("secret", 12), ("secretkey", 12), ("apikey", 16)),
    *(("accesskey", 16), ("privatekey", 16), ("authtoken", 16), ("accesstoken", 16), ("refreshtoken", 16)),
    *(("encryptionkey", 16), ("clientsecret", 12), ("token", 20), ("credentials", 16)),
)
"""Ends of names, in lower case without _ and -, with the characters that a value assigned to them must have."""

PLACEHOLDERS = (
    *("example", "placehold", "changeme", "your", "xxxx", "dummy", "sample", "fake", "redacted", "insert", "todo"),
    "1234567",
)
"""Words, in lower case, of a key or a value that is none."""

RESERVED_DOMAINS = ("example.com", "example.net", "example.org", "example.edu")
RESERVED_TLDS = ("test", "example", "invalid", "localhost", "local", "localdomain", "internal")
"""RFC 2606, RFC 6762 and names that never were in the root zone."""

NO_TLDS = (
    *("png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "scss", "less", "js", "jsx", "mjs", "tsx"),
    *("json", "html", "htm", "xml", "xsl", "yml", "yaml", "toml", "txt", "csv", "tsv", "pdf", "doc", "docx", "log"),
    *("conf", "cfg", "ini", "lock", "service", "socket", "target", "timer", "mount", "slice", "scope", "device"),
    *("path", "dll", "exe", "bin", "dat", "sql", "whl", "tgz", "tar", "deb", "rpm", "patch", "diff", "java", "class"),
    *("jar", "cpp", "hpp", "php", "mp3", "mp4", "wav", "ttf", "woff", "map", "min", "self", "shape", "size", "dtype"),
    *("data", "value", "values"),
)
"""Ends of file names and of attributes, which look like a domain after @."""

CODE_TLDS = (
    *("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "dev", "app", "tech", "online"),
    *("cloud", "xyz", "email", "software", "systems", "page", "site", "blog", "tel", "mobi", "jobs", "arpa", "asia"),
)
"""In source code an address ends in one of these or in two letters."""


LANGUAGES = tuple(sorted({name for scheme in SCHEMES for name in scheme.scope} - set(_EVERYWHERE)))
"""Languages that a scheme names; bit k + 2 of a document's scope. Bit 0 is prose, bit 1 code."""
PROSE_BIT, CODE_BIT = 1, 2
PHONES, VERSIONS = 0, 1  # sets of words
ALPHABETS = ("upper", "word", "alnum", "hex", "sendgrid", "jwt")


def scope_bits(language: str | None, code: bool) -> int:
    """A document's scope."""
    if code:
        return CODE_BIT
    return PROSE_BIT | (1 << LANGUAGES.index(language) + 2 if language in LANGUAGES else 0)
