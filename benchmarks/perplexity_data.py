"""Labelled documents for the perplexity benchmark: clean text to train on, clean text held out, and junk.

A language's row says which sources are clean and which are junk. Clean documents are divided by a hash of the work that
they are a part of, so a chapter of a novel that was trained on is not tested with. Junk is never trained on, and the
titles of articles are not either: CCNet's models learn from opening paragraphs, and the question is what a title alone
looks like. Messages of programs are those of the computer that this runs on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xxhash import xxh3_64_intdigest

STUB_CHARACTERS = 100
"""An encyclopedia article of one line and fewer characters is a title and nothing else."""
ARTICLE_CHARACTERS = 500
WORKS = {"books-standard-ebooks": "book"}
"""Sources of documents that are parts of a work, and the field that names it."""
MAX_TEST = 2_000
"""Documents of each kind, by hash."""

CATALOGUES = "messages of programs"
_LOCALES = Path("/usr/share/locale")

_PROSE = (
    *("debian-handbook", "opensource-guide", "tico19", "xquad-paragraphs", "stories-asp-source", "bitcoin-org"),
    "mozilla-legal",
)
SOURCES: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "en": (
        ("encyclopedia-wikipedia-en", "books-standard-ebooks", "academic-plos", "news-digitalgov", "us-speeches"),
        ("encyclopedia-wikipedia-en",),
        "title-only stubs",
    ),
    "zh": (("wikipedia-zh", "tico19", "xquad-paragraphs"), ("wikipedia-zh",), "title-only stubs"),
    "ml": (("wikipedia-ml", "stories-pb-source"), ("wikipedia-ml",), "title-only stubs"),
    "da": (("gnome-user-docs", "bitcoin-org"), ("libreoffice-help",), "templated help"),
    "et": (("bible-cc0",), ("libreoffice-help",), "templated help"),
    "sl": (("gnome-user-docs", "bitcoin-org"), ("libreoffice-help",), "templated help"),
    **dict.fromkeys(("de", "es", "fr", "it", "ru"), (_PROSE, (), CATALOGUES)),
}
"""Language -> clean sources, junk sources, what the junk is."""


HELP_PAGES = "gnome-user-docs"
"""Well-written instructions, first taken for junk in the languages that now have messages of programs. Perplexity does
not tell them from prose; they are measured, and reported, beside the claim."""


class Documents(NamedTuple):
    train: list[str]
    clean: list[str]
    junk: list[str]
    help_pages: list[str]  # of languages whose model has seen none


def documents(data: Path, language: str, identify: Any, titles: bool = False) -> Documents:
    """identify: texts -> codes of their languages; documents of another language are left out. titles: train on
    the titles of articles too."""
    clean, junk, _ = SOURCES[language]
    found = Documents([], [], [], [])
    ranked: dict[str, list[tuple[int, str]]] = {"clean": [], "junk": []}
    for source in dict.fromkeys((*clean, *junk)):
        records = [record for record in read(data, source) if record["lang"].lower() == language]
        codes = identify([record["text"][:2000] for record in records])
        encyclopedia = source.split("-")[-2:][0] == "wikipedia"
        for record, code in zip(records, codes, strict=True):
            text = record["text"].strip()
            rank = digest(f"{source}/{record['id']}")
            stub = encyclopedia and len(text) < STUB_CHARACTERS and "\n" not in text
            if stub and source in junk:
                ranked["junk"].append((rank, text))
            elif code != language or not text:
                continue
            elif source in clean and not (encyclopedia and len(text) < ARTICLE_CHARACTERS):
                if digest(f"{source}/{record[WORKS.get(source, 'id')]}") % 2:
                    found.train.append(text.partition("\n")[2] if encyclopedia and not titles else text)
                else:
                    ranked["clean"].append((rank, text))
            elif source in junk and not encyclopedia:
                ranked["junk"].append((rank, text))
    if SOURCES[language][2] == CATALOGUES:
        ranked["junk"] = [(digest(name), text) for name, text in catalogues(language)]
        pages = [record["text"] for record in read(data, HELP_PAGES) if record["lang"].lower() == language]
        codes = identify([page[:2000] for page in pages])
        found.help_pages.extend(page for page, code in zip(pages, codes, strict=True) if code == language)
    found.clean.extend(text for _, text in sorted(ranked["clean"])[:MAX_TEST])
    found.junk.extend(text for _, text in sorted(ranked["junk"])[:MAX_TEST])
    return found


def read(data: Path, source: str) -> Iterator[dict[str, Any]]:
    import zstandard

    [path] = data.glob(f"*/{source}.jsonl.zst")
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        yield from map(json.loads, io.TextIOWrapper(stream, "utf-8", newline="\n"))


def catalogues(language: str) -> Iterator[tuple[str, str]]:
    """(name, text) of the message catalogues of this computer's programs, as the source `machine:` reads them."""
    from gristmill.pipeline.readers.markup.catalogue import catalogue_text

    for path in sorted((_LOCALES / language / "LC_MESSAGES").glob("*.mo")):
        text = catalogue_text(path.read_bytes())
        if text:
            yield path.name, text


def digest(name: str) -> int:
    return xxh3_64_intdigest(name.encode())
