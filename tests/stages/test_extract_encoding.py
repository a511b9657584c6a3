"""Encodings: real pages in two dozen languages, written in the encodings of their countries, labelled, unlabelled and
mislabelled."""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest
import zstandard

from gristmill.stages.page_encoding import decode

LABELS = {
    "cp1250": "windows-1250", "cp1251": "windows-1251", "cp1252": "iso-8859-1", "cp1253": "windows-1253",
    "cp1254": "iso-8859-9", "cp1256": "windows-1256", "cp1258": "windows-1258", "iso8859_2": "iso-8859-2",
    "iso8859_5": "iso-8859-5", "koi8_r": "koi8-r", "gb18030": "gb2312", "big5": "big5", "cp932": "shift_jis",
    "euc_jp": "euc-jp", "iso2022_jp": "iso-2022-jp", "cp949": "ks_c_5601-1987", "utf-16": "utf-16",
    "utf-16-le": "utf-16",
}  # fmt: skip
PAGES = {
    "de-DE": ("cp1252", "utf-16"), "fr-FR": ("cp1252",), "pl-PL": ("cp1250", "iso8859_2"), "cs-CZ": ("cp1250",),
    "ru-RU": ("cp1251", "koi8_r", "iso8859_5"), "el-GR": ("cp1253",), "tr-TR": ("cp1254",), "ar-MA": ("cp1256",),
    "vi-VN": ("cp1258",), "zh-CN": ("gb18030", "utf-16-le"), "zh-TW": ("big5",), "ko-KR": ("cp949",),
    "ja-JP": ("cp932", "euc_jp", "iso2022_jp", "utf-16"),
}  # fmt: skip
DETECTED = {"cp1253": 0.7, "cp1254": 0.8, "cp1258": 0.4, "cp1251": 0.8, "cp1256": 0.8}
"""Share of whole pages that must be right without a label; 0.95 elsewhere. Of single-byte encodings the detector sees
statistics alone, and these pages are half English."""
A_LANGUAGE = 25


@pytest.fixture(scope="module")
def handbook(shared_data: Path) -> dict[str, list[str]]:
    found = defaultdict(list)
    with (shared_data / "web" / "html-debian-handbook.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                language = next((part for part in member.name.split("/") if part in PAGES), None)
                if language and member.name.endswith(".html") and len(found[language]) < A_LANGUAGE:
                    text = archive.extractfile(member).read().decode()  # type: ignore[union-attr]
                    found[language].append(re.sub(r"<meta[^>]*charset[^>]*>|<\?xml[^>]*>", "", text))
    return found


@pytest.mark.parametrize(("language", "encoding"), [(name, one) for name, every in PAGES.items() for one in every])
def test_real_pages_are_decoded_with_and_without_a_label(
    handbook: dict[str, list[str]], language: str, encoding: str
) -> None:
    pages = [text.encode(encoding, "xmlcharrefreplace") for text in handbook[language]]
    right = [page.decode(encoding) for page in pages]
    label = LABELS[encoding]
    assert [decode(page, f"text/html; charset={label}") for page in pages] == right
    if not encoding.startswith("utf-16"):
        named = [text.replace("<head>", f'<head><meta charset="{label}">') for text in right]
        assert [decode(text.encode(encoding), "text/html") for text in named] == named
    at_least = DETECTED.get(encoding, 0.95) * len(pages)
    assert sum(decode(page, "text/html") == text for page, text in zip(pages, right, strict=True)) >= at_least
    mislabelled = [decode(page, "text/html; charset=utf-8") for page in pages]
    assert sum(found == text for found, text in zip(mislabelled, right, strict=True)) >= at_least


def test_utf8_that_is_called_something_else_is_utf8(handbook: dict[str, list[str]]) -> None:
    for texts in handbook.values():
        for label in ("iso-8859-1", "windows-1251", "shift_jis", "gb2312"):
            assert decode(texts[0].encode(), f"text/html; charset={label}") == texts[0]


@pytest.mark.parametrize("text", ["Die Größe ändert sich", "Le café et l’été à la plage, dit-il — enfin"])
def test_a_few_letters_beyond_ascii_are_no_broken_utf8(text: str) -> None:
    page = f"<html><body>{'<div class=x>' * 500}{text}{'</div>' * 500}".encode("cp1252")
    assert text in (decode(page, "text/html") or "")
    assert text in (decode(page, "text/html; charset=utf-8") or "")


def test_utf8_with_a_bad_byte_or_a_cut_is_utf8() -> None:
    text = "Größe und Länge " * 20
    assert decode(text.encode() + b"\xe6\x9d", "text/html") == text + "\ufffd"
    assert decode(text.encode()[:160] + b"\xff" + text.encode()[160:], "text/html", html=False) is not None
    assert decode(b"plain " * 50 + b"\xc3", "text/html") == "plain " * 50 + "\ufffd"
