"""Which column is what: by name and by value, and never by a name that the values contradict."""

from __future__ import annotations

from typing import Any

import pytest

from gristmill.pipeline.init.columns import Mapped, mapped
from gristmill.pipeline.init.values import columns_of, words_of
from gristmill.pipeline.readers.field_paths import field_names, value_at

TEXT = (
    "The mill stands where the river bends, and has ground the grain of the valley for three hundred years. Nobody "
    "knows who built it. Its stones were brought up from the coast on carts, two days each way, in summer."
)


def of(record: Any, count: int = 40) -> Mapped:
    """record: i -> a record."""
    records = [record(i) for i in range(count)]
    names = list(dict.fromkeys(name for each in records for name in field_names(each)))
    return mapped(columns_of(names, [[value_at(each, name) for name in names] for each in records]))


def base(i: int) -> dict[str, Any]:
    return {"text": f"{TEXT} Sack {i}.", "n": i % 5}


NAMES = {
    "text": ["text", "content", "body", "raw_content", "document", "articleBody", "full_text", "markdown",
             "page_content"],
    "id": ["id", "docID", "doc-id", "_id", "uuid", "recordId", "article_id", "hexsha", "Document Id", "nid", "sha256"],
    "url": ["url", "URI", "source_url", "pageUrl", "link", "WARC-Target-URI", "permalink", "href", "web-url"],
    "timestamp": ["date", "published_at", "datePublished", "crawl_date", "created_utc", "fetch-time", "pubDate",
                  "ts_date"],
    "language": ["lang", "language", "language_code", "locale", "detectedLanguage", "doc_lang"],
    "title": ["title", "headline", "articleTitle", "page-title"],
    "license": ["license", "licence", "licenses"],
}  # fmt: skip
VALUES = {
    "text": lambda i: f"{TEXT} Sack {i}.",
    "id": lambda i: f"a{i:05}",
    "url": lambda i: f"https://example.org/{i}",
    "timestamp": lambda i: f"2018-03-{1 + i % 28:02}T10:00:00Z",
    "language": lambda i: ("en", "de", "fr")[i % 3],
    "title": lambda i: f"About sack {i}",
    "license": lambda i: ("CC-BY-4.0", "CC0-1.0")[i % 2],
}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in NAMES.items() for name in names])
def test_a_column_is_known_by_other_names(role: str, name: str) -> None:
    found = of(lambda i: ({} if role == "text" else base(i)) | {name: VALUES[role](i)})
    assert found.columns.get(role) == name


@pytest.mark.parametrize("role", [role for role in NAMES if role != "text"])
def test_and_by_a_dotted_name(role: str) -> None:
    found = of(lambda i: base(i) | {"meta": {NAMES[role][0]: VALUES[role](i), "score": 0.5}})
    assert found.columns.get(role) == f"meta.{NAMES[role][0]}"


@pytest.mark.parametrize(
    ("role", "name", "value"),
    [
        ("text", "payload", VALUES["text"]),
        ("id", "key_of_ours", lambda i: f"{i:08x}-0000-4000-8000-{i:012x}"),
        ("url", "found_at", VALUES["url"]),
        ("timestamp", "seen", VALUES["timestamp"]),
    ],
)
def test_values_that_can_be_nothing_else_need_no_name(role: str, name: str, value: Any) -> None:
    found = of(lambda i: ({"n": i} if role == "text" else base(i)) | {name: value(i)})
    assert found.columns.get(role) == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", lambda i: i % 3),
        ("id", lambda i: None if i % 2 else i),
        ("id", lambda i: i / 7),
        ("url", lambda i: f"page {i} of the book"),
        ("date", lambda i: f"chapter {i}"),
        ("date", lambda i: i),
        ("timestamp", lambda i: "1970-01-01T00:00:00Z"),
        ("language", lambda i: f"formal, register {i}"),
        ("title", lambda i: TEXT * 4),
        ("license", lambda i: f"{TEXT} {i}"),
        ("created", lambda i: i % 2 == 0),
    ],
)
def test_a_name_that_the_values_contradict_says_nothing(name: str, value: Any) -> None:
    found = of(lambda i: base(i) | {name: value(i)})
    assert name not in {theirs for ours, theirs in found.columns.items() if ours != "text"}


def test_a_short_text_is_no_text_beside_a_long_one() -> None:
    found = of(lambda i: {"text": f"Sack {i} of grain", "content": f"{TEXT * 5} {i}", "id": i})
    assert found.columns == {"text": "content", "id": "id"}


def test_text_is_preferred_to_what_it_was_made_from() -> None:
    found = of(
        lambda i: {"text": f"{TEXT * 3} {i}", "raw_html": f"<html><body><p>{TEXT * 9}</p></body></html>", "id": i}
    )
    assert found.columns["text"] == "text"
    found = of(lambda i: {"text": f"{TEXT * 3} {i}", "raw_content": f"{TEXT * 9} {i}", "id": i})
    assert found.columns["text"] == "text"
    assert any("raw_content" in note for note in found.notes)


def test_a_column_of_pages_is_content() -> None:
    found = of(lambda i: {"url": f"https://example.org/{i}", "html": f"<html><body><p>{TEXT} {i}</p></body></html>"})
    assert found.columns == {"content": "html", "url": "url"}


def test_records_of_conversations_have_no_text() -> None:
    found = of(lambda i: {"messages": [{"role": "user", "content": f"{TEXT} {i}"}], "id": i})
    assert "text" not in found.columns


def test_a_language_of_programs_is_a_programming_language() -> None:
    found = of(lambda i: {"content": f"def f{i}(x):\n    return x\n", "language": ("Python", "C++")[i % 2], "size": i})
    assert found.columns == {"text": "content", "programming_language": "language"}


def test_urls_of_other_things_are_not_the_url() -> None:
    found = of(lambda i: base(i) | {"image_url": f"https://cdn.example/{i}.png", "link": f"https://example.org/{i}"})
    assert found.columns["url"] == "link"
    found = of(lambda i: base(i) | {"image_url": f"https://cdn.example/{i}.png"})
    assert "url" not in found.columns


def test_an_id_that_is_a_url_is_the_id() -> None:
    found = of(lambda i: {"id": f"http://example.org/{i}", "text": f"{TEXT} {i}"})
    assert found.columns == {"text": "text", "id": "id"}


def test_when_a_document_was_made_comes_before_when_it_was_added() -> None:
    found = of(lambda i: base(i) | {"added": VALUES["timestamp"](i), "created": VALUES["timestamp"](i + 3)})
    assert found.columns["timestamp"] == "created"
    assert any("`added`" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("docID", ["doc", "id"]), ("WARC-Target-URI", ["warc", "target", "uri"]),
        ("datePublished", ["date", "published"]), ("metadata.source_url", ["metadata", "source", "url"]),
        ("HTMLBody", ["html", "body"]),
    ],
)  # fmt: skip
def test_words_of_a_name(name: str, words: list[str]) -> None:
    assert words_of(name) == words
