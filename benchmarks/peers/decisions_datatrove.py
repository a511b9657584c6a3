"""Runs with datatrove's Python: the decision of each of four filters on each document, and the splits it is based on.

    python decisions_datatrove.py INPUT.jsonl OUTPUT.jsonl

Input: {text, language}; language is datatrove's code. Output, line by line: `reasons`, for each filter "" or why it
drops, null where it fails, `word_spans`, begin and end of each word in turn, in bytes, and `line_sentences` of the
lines that C4 keeps, in the order of str.splitlines. Where words do not stand in the text one after another,
`word_spans` is null. Stop words are asked of English alone.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
)
from datatrove.utils.text import split_into_words
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

ASKED: list[tuple[str, int]] = []
_split_into_sentences = c4_filters.split_into_sentences


def recorded(text: str, language: str) -> list[str]:
    found: list[str] = _split_into_sentences(text, language)
    ASKED.append((text, len(found)))
    return found


c4_filters.split_into_sentences = recorded


def filters(language: Any) -> dict[str, Any]:
    english = language == "en"
    return {
        "gopher_quality": GopherQualityFilter(language=language, min_stop_words=2 if english else 0),
        "gopher_repetition": GopherRepetitionFilter(language=language),
        "fineweb": FineWebQualityFilter(language=language),
        "c4": C4QualityFilter(language=language),
    }


def word_spans(text: str, language: Any) -> list[int] | None:
    spans: list[int] = []
    at = place = 0  # in characters, in bytes
    for word in split_into_words(text, language):
        start = text.find(word, at)
        if start < 0 or text[at:start].strip():
            return None
        place += len(text[at:start].encode())
        size = len(word.encode())
        spans += [place, place + size]
        at, place = start + len(word), place + size
    return spans


def line_sentences(text: str) -> list[int]:
    """Sentences of each line, from what the filter asked for in the order of its lines."""
    out, asked = [], iter(ASKED)
    expected = next(asked, None)
    for line in text.splitlines():
        cleaned = c4_filters.CITATION_REGEX.sub("", line.strip())
        if expected and cleaned == expected[0]:
            out.append(expected[1])
            expected = next(asked, None)
        else:
            out.append(0)
    return out


def splitter(language: str) -> Any:
    """What datatrove takes as language: the code, or its plainest splitter where the code's needs what is not there."""
    try:
        split_into_words("a", language)
    except Exception:  # an unknown code, a missing package or model
        return WhitespaceTokenizer()
    return language


def decided(text: str, language: Any, asked: dict[str, Any]) -> dict[str, Any]:
    reasons: dict[str, str | None] = {}
    for name, each in asked.items():
        ASKED.clear()  # the last is C4
        try:
            kept = each.filter(Document(text=text, id="0"))
            reasons[name] = "" if kept is True else kept[1]
        except Exception:  # no words to divide by, a splitter that fails
            reasons[name] = None
    try:
        spans = word_spans(text, language)
    except Exception:  # as above
        spans = None
    return {"reasons": reasons, "word_spans": spans, "line_sentences": line_sentences(text)}


def main() -> None:
    known: dict[str, tuple[Any, dict[str, Any]]] = {}
    with open(sys.argv[1], encoding="utf-8") as source, open(sys.argv[2], "w", encoding="utf-8") as target:
        for row in source:
            record = json.loads(row)
            code = record["language"]
            if code not in known:
                language = splitter(code)
                known[code] = language, filters(language)
            language, asked = known[code]
            found = decided(record["text"], language, asked)
            found["splitter"] = language if isinstance(language, str) else "whitespace"
            target.write(json.dumps(found) + "\n")


main()
