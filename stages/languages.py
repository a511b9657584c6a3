"""Names of natural languages: what the recipe takes, and one code for each.

`iso_code` maps labels of fastText's lid.176, locales (`pt_BR`, `sr@latin`) and BCP 47 tags to ISO 639-1, or to ISO
639-3 where there is no two-letter code. Programming languages and the names of their files are in `stages.code_names`.
"""

from __future__ import annotations

import re

from gristmill.stages.code_names import PROGRAMMING_LANGUAGES as PROGRAMMING_LANGUAGES
from gristmill.stages.code_names import language_of_path as language_of_path
from gristmill.stages.code_names import programming_language as programming_language

RECIPE_LANGUAGES = (
    "ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fr", "gl", "he", "hi", "hr", "hu",
    "hy", "id", "is", "it", "ja", "ka", "kk", "kn", "ko", "lt", "lv", "mk", "ml", "mr", "ne", "nl", "no", "pl", "pt",
    "ro", "ru", "sk", "sl", "sq", "sr", "sv", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
"""The 53 languages beside English of Nemotron-4 15B (Parmar et al. 2024, arXiv:2402.16819), in ISO 639-1."""

DEFAULT_LANGUAGES = ("en", *RECIPE_LANGUAGES)

_CODES = {
    "nb": "no",  # Norwegian is one macrolanguage in ISO 639 (no = nb + nn); lid.176 trains `no` on Bokmål
    "nn": "no",
    "sh": "hr",  # lid.176's `sh` is Serbo-Croatian in Latin script, its `sr` Serbian in Cyrillic
    "hbs": "hr",
    "cmn": "zh",  # written Chinese in either script and by either region; lid.176 has wuu and yue beside zh
    "yue": "zh",
    "wuu": "zh",
    "lzh": "zh",
    "arz": "ar",  # Egyptian belongs to the macrolanguage ar; lid.176 learned it beside Standard Arabic
    "als": "gsw",  # lid.176 follows Wikipedia, where als is Alemannic; in ISO 639-3 it is Tosk Albanian
    "iw": "he",  # withdrawn codes that software still writes
    "in": "id",
    "ji": "yi",
    "jw": "jv",
    "mo": "ro",
    "fil": "tl",
    "c": "en",  # the POSIX locale
    "posix": "en",
}

_ISO_639_3 = {
    "ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "dan": "da", "deu": "de", "ell": "el", "eng": "en",
    "est": "et", "fas": "fa", "fin": "fi", "fra": "fr", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "hye": "hy", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "kor": "ko",
    "lav": "lv", "lit": "lt", "mal": "ml", "mar": "mr", "mkd": "mk", "nep": "ne", "nld": "nl", "nno": "no", "nob": "no",
    "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl", "spa": "es", "sqi": "sq",
    "srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi",
    "zho": "zh", "aze": "az",
}  # fmt: skip


def iso_code(label: str) -> str:
    """`label`: a lid.176 label with or without `__label__`, a locale or a BCP 47 tag; region and script are left out.

    A script that decides the language is heeded: Serbian in Latin script stays `sr`.
    """
    code = re.split(r"[_\-@.]", label.strip().removeprefix("__label__").lower(), maxsplit=1)[0]
    return _CODES.get(code) or _ISO_639_3.get(code, code)
