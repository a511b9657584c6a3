"""The encoding of a text without a label: what the bytes say, of texts in many languages and of what is no text."""

from __future__ import annotations

import io
import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from gristmill.stages.encoding_letters import ALPHABETS, LATIN
from gristmill.stages.text_encoding import decoded, known_encoding, wide_encoding

SENTENCES = [
    ("cp1252", "Über den Wolken muß die Freiheit wohl grenzenlos sein, sagte der Müller und ging nach Hause."),
    ("latin-1", "Où est passé le garçon de café ? Il était là hier, près de la fenêtre, à côté du théâtre."),
    ("iso8859-15", "Le château coûte cinq mille €, mais la maîtresse de la forêt préfère rester où elle est née."),
    ("cp1252", "“Quotation marks” are what most texts hold beyond ASCII — and dashes – nothing more than that."),
    ("cp1250", "Žluťoučký kůň úpěl ďábelské ódy a příliš mnoho lidí přišlo až k řece, kde stál starý mlýn."),
    ("iso8859-2", "Zażółć gęślą jaźń, powiedział młynarz, i poszedł nad rzekę, gdzie rosły wierzby."),
    ("cp1251", "Старая мельница стоит у реки, где вода медленно течёт между ивами."),
    ("koi8-r", "Старая мельница стоит у реки, где вода медленно течет между ивами."),
    ("iso8859-5", "Старая мельница стоит у реки, где вода медленно течёт между ивами."),
    ("cp866", "Старая мельница стоит у реки, где вода медленно течет между ивами."),
    ("koi8-u", "Старий млин стоїть біля річки, де вода повільно тече між вербами."),
    ("cp1253", "Ο παλιός μύλος στέκεται δίπλα στο ποτάμι, όπου το νερό κυλάει αργά."),
    ("cp1254", "Eski değirmen, suyun söğütlerin arasından yavaşça aktığı nehrin yanında duruyor."),
    ("cp1255", "הטחנה הישנה עומדת ליד הנהר, שם המים זורמים לאט בין הערבות."),
    ("cp1256", "تقف الطاحونة القديمة بجانب النهر حيث يجري الماء ببطء بين أشجار الصفصاف."),
    ("cp1257", "Senas malūnas stovi prie upės, kur vanduo lėtai teka tarp gluosnių, ir žmonės čia atveža grūdus."),
    ("cp874", "โรงสีเก่าตั้งอยู่ริมแม่น้ำที่น้ำไหลช้าๆ"),
    ("gbk", "老磨坊坐落在河边,河水在柳树之间缓缓流过。秋天农民把粮食带到这里来。"),
    ("gb18030", "老磨坊坐落在河边，河水在柳树之间缓缓流过。秋天，农民们把粮食带到这里来。"),
    ("big5", "老磨坊坐落在河邊，河水在柳樹之間緩緩流過。秋天，農民們把糧食帶到這裡來。"),
    ("shift_jis", "古い水車小屋は川のそばに立っていて、水は柳の間をゆっくりと流れています。"),
    ("euc_jp", "古い水車小屋は川のそばに立っていて、水は柳の間をゆっくりと流れています。"),
    ("iso2022_jp", "古い水車小屋は川のそばに立っていて、水は柳の間をゆっくりと流れています。"),
    ("euc_kr", "오래된 방앗간은 강가에 서 있고, 물은 버드나무 사이로 천천히 흐릅니다."),
    ("utf-16", "The old mill stands by the river."),
    ("utf-16-le", "Старая мельница стоит у реки."),
    ("utf-16-be", "古い水車小屋は川のそばに立っています。\n水は流れています。"),
    ("utf-16-le", "老磨坊坐落在河边。\n河水在柳树之间缓缓流过。"),
    ("utf-32", "Über den Wolken"),
    ("utf-32-be", "Über den Wolken"),
    ("utf-8-sig", "Über den Wolken"),
]


@pytest.mark.parametrize(("encoding", "text"), SENTENCES)
def test_a_sentence_in_its_usual_encoding(encoding: str, text: str) -> None:
    found = decoded(text.encode(encoding))
    assert found is not None
    assert found.text == text
    assert (found.encoding is None) == encoding.startswith("utf-8")


def test_utf8_stays_utf8_with_its_nuls_and_its_damage() -> None:
    for text in ("plain", "größer", "a\0b", "x\0" * 3 + "words and words", "老磨坊", ""):
        assert decoded(text.encode()) == decoded(text.encode(), None, True)
        found = decoded(text.encode())
        assert found is not None
        assert (found.text, found.encoding) == (text, None)
    assert decoded("größer und schöner".encode() + b"\xff") is None
    assert decoded("größer und schö".encode()[:-1]) is None


def test_a_source_file_names_its_encoding() -> None:
    for line in ("# -*- coding: koi8-r -*-", "#!/bin/sh\n# vim: set fileencoding=koi8-r :", "// coding: koi8-r"):
        data = f"{line}\nx = 'ъ'\n".encode("koi8-r")
        found = decoded(data, None, True)
        assert found is not None
        assert (found.text.rstrip()[-3:], found.encoding) == ("'ъ'", "koi8-r")
    for wrong in (
        b"# coding: rot13\nx = '\xe9'\n",
        b"# coding: nothing\nx = '\xe9'\n",
        b"# coding: utf-8\nx = 'caf\xe9 au lait'",
    ):
        found = decoded(wrong, None, True)
        assert found is None or "é" in found.text


def test_what_a_source_states_goes_before_the_guess_and_behind_the_mark() -> None:
    data = "größer".encode("cp1252")
    for stated, text in (("cp1252", "größer"), ("cp1251", "grцЯer"), ("latin1", "größer")):
        found = decoded(data, stated)
        assert found is not None
        assert found.text == text
    assert decoded(b"\xff\xfe\xfd", "utf-8") is None
    assert decoded(data, "ascii") is None or decoded(data, "ascii").text == "größer"  # type: ignore[union-attr]
    assert decoded("a".encode("utf-16"), "cp1252") == decoded("a".encode("utf-16"))
    assert [known_encoding(name) for name in ("rot13", "base64", "punycode", "utf-7", "unicode_escape", "x")] == [
        None
    ] * 6
    assert known_encoding("UTF8") == known_encoding("utf-8") == "utf-8"


def test_programs_pictures_and_noise_are_nobodys_text() -> None:
    draw = random.Random(1)
    noise = [draw.randbytes(size) for size in (1, 10, 100, 5000) for _ in range(50)]
    numbers = [struct.pack("<500f", *(draw.gauss(0, scale) for _ in range(500))) for scale in (1e-3, 1, 1e3, 1e9)]
    samples = [struct.pack("<2000h", *(round(draw.gauss(0, width)) for _ in range(2000))) for width in (30, 300, 8000)]
    for data in [*noise, *numbers, *samples, bytes(range(256)) * 8, b"\xff" * 1000, b"\0" * 1000, b"\x80" * 1000]:
        found = decoded(data)
        assert found is None or found.encoding is None or len(data) <= 10, (found, data[:20])


def test_wide_encodings_are_told_from_a_beginning_that_ends_within_a_character() -> None:
    for encoding, text in SENTENCES:
        if encoding.startswith(("utf-16", "utf-32")):
            data = (text * 3).encode(encoding)
            for cut in range(len(data) - 9, len(data)):
                assert wide_encoding(data[:cut]) == wide_encoding(data)


LEGACY = {
    "cp1252": "en de fr es it pt nl sv da fi", "iso8859-15": "de fr es", "cp1250": "pl cs hu ro hr",
    "iso8859-2": "pl cs hu", "cp1251": "ru uk bg sr", "koi8-r": "ru", "iso8859-5": "ru sr", "cp866": "ru",
    "cp1253": "el", "iso8859-7": "el", "cp1254": "tr", "cp1255": "he", "cp1256": "ar fa", "cp1257": "lv et",
    "gbk": "zh", "big5": "zh", "shift_jis": "ja", "euc_jp": "ja", "euc_kr": "ko", "cp874": "th",
}  # fmt: skip


def documents(folder: Path, language: str, count: int) -> Iterator[str]:
    """Texts of real documents that hold the letters of the language: some of these files are untranslated English."""
    own = set(LATIN.get(language, ALPHABETS.get(language, "")))
    for path in sorted(folder.glob("*.jsonl.zst")):
        with path.open("rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
            for line in lines:
                if f'"lang": "{language}"' not in line:
                    continue
                text = json.loads(line)["text"][:1500].lower()
                letters = sum(ord(c) > 127 and (c in own if own else c.isalpha()) for c in text)
                if letters * 100 >= len(text) > 300:
                    yield json.loads(line)["text"][:1500]
                    count -= 1
                    if not count:
                        return


@pytest.mark.slow
def test_the_share_of_real_documents_that_are_read_right(shared_data: Path) -> None:
    known: dict[str, list[str]] = {}
    counts: Counter[tuple[int, bool]] = Counter()
    for encoding, languages in LEGACY.items():
        for language in languages.split():
            texts = known.setdefault(language, list(documents(shared_data / "multilingual", language, 12)))
            for text in texts:
                for size in (300, 1500):
                    data = text[:size].encode(encoding, "ignore")  # what the encoding has not is left out
                    wanted = data.decode(encoding)
                    if len(wanted) < 0.9 * len(text[:size]) or wanted.isascii():
                        continue
                    found = decoded(data)
                    counts[size, found is not None and found.text == wanted] += 1
    assert counts[300, True] + counts[300, False] > 250
    assert counts[300, True] >= 0.95 * (counts[300, True] + counts[300, False])
    assert counts[1500, True] >= 0.98 * (counts[1500, True] + counts[1500, False])
