"""Runs with a Python that has `regex` and `loguru`: NeMo Curator's English heuristic filters, one by one.

    python decisions_nemo.py SITE_PACKAGES INPUT.jsonl OUTPUT.jsonl

Output, line by line: {filter: kept}; null where the filter fails on the document. The package's __init__ files import
what it needs elsewhere (Ray, cuDF), so its modules are loaded from their files, without them.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any


def without_init(site: Path, name: str) -> None:
    module = types.ModuleType(name)
    module.__path__ = [str(site / name.replace(".", "/"))]
    sys.modules[name] = module


def filters(site: Path) -> dict[str, Any]:
    for name in ("", ".stages", ".stages.text", ".stages.text.filters", ".stages.text.filters.heuristic"):
        without_init(site, "nemo_curator" + name)
    for name in (".stages.text.utils", ".stages.text.filters.heuristic.repetition"):
        without_init(site, "nemo_curator" + name)
    text = importlib.import_module("nemo_curator.stages.text.filters.heuristic.string")
    repetition = importlib.import_module("nemo_curator.stages.text.filters.heuristic.repetition.repetition")
    return {
        "non_alphanumeric": text.NonAlphaNumericFilter(),
        "alpha_words": text.WordsWithoutAlphabetsFilter(),
        "numbers": text.NumbersFilter(),
        "urls": text.UrlsFilter(),
        "bullet_lines": text.BulletsFilter(),
        "whitespace": text.WhiteSpaceFilter(),
        "parentheses": text.ParenthesesFilter(),
        "symbol_words": text.SymbolsToWordsFilter(),
        "max_word_length": text.LongWordFilter(),
        "words": text.WordCountFilter(),
        "stop_word_occurrences": text.CommonEnglishWordsFilter(),
        "mean_word_length": text.MeanWordLengthFilter(),
        "boilerplate_paragraphs": text.BoilerPlateStringFilter(),
        "duplicate_lines": repetition.RepeatedLinesFilter(),
        "duplicate_paragraphs": repetition.RepeatedParagraphsFilter(),
        "duplicate_line_characters": repetition.RepeatedLinesByCharFilter(),
        "duplicate_paragraph_characters": repetition.RepeatedParagraphsByCharFilter(
            max_repeated_paragraphs_char_ratio=0.9
        ),
        "top_2_gram": repetition.RepeatingTopNGramsFilter(n=2),
        "top_3_gram": repetition.RepeatingTopNGramsFilter(n=3),
        "top_4_gram": repetition.RepeatingTopNGramsFilter(n=4),
        "duplicate_5_grams": repetition.RepeatingDuplicateNGramsFilter(n=5),
        "lines_without_end_mark": text.PunctuationFilter(),
        "ellipsis_lines": text.EllipsisFilter(),
        "pornographic_urls": text.PornographicUrlsFilter(),
    }


def main() -> None:
    asked = filters(Path(sys.argv[1]))
    with open(sys.argv[2], encoding="utf-8") as source, open(sys.argv[3], "w", encoding="utf-8") as target:
        for row in source:
            text = json.loads(row)["text"]
            kept: dict[str, bool | None] = {}
            for name, each in asked.items():
                try:
                    kept[name] = bool(each.keep_document(each.score_document(text)))
                except (ZeroDivisionError, ValueError):  # a text without words or lines
                    kept[name] = None
            target.write(json.dumps(kept) + "\n")


main()
