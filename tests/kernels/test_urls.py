"""Hosts and list look-ups of URLs against urllib.parse and definitions in a few lines of Python."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.url_lists import list_items
from gristmill.kernels.text.url_words import automaton, inside, word_table, words
from gristmill.kernels.text.urls import Places, find, places, table


def placed(*urls: str) -> Places:
    encoded = [url.encode() for url in urls]
    sizes = np.array([len(url) for url in encoded], np.int64)
    ends = np.cumsum(sizes)
    return places(np.frombuffer(b"".join(encoded), np.uint8), ends - sizes, ends)


def hosts(*urls: str) -> list[str]:
    found = placed(*urls)
    return [found.data[a:b].tobytes().lower().decode() for a, b in zip(found.begin, found.split, strict=True)]


def listed(text: str) -> list[str]:
    starts, ends, _ = list_items(text.encode())
    return [text.encode()[a:b].decode() for a, b in zip(starts, ends, strict=True)]


def match(text: str, *urls: str) -> list[int]:
    """1-based line that stops each URL, 0 for none."""
    data = np.frombuffer(text.encode(), np.uint8)
    starts, ends, lines = list_items(text.encode())
    at = find(placed(*urls), table(places(data, starts, ends)))
    return [int(lines[i]) + 1 if i >= 0 else 0 for i in at]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.com/", "example.com"), ("HTTPS://WWW.Example.COM:443?x", "www.example.com"),
        ("http://user:pa@ss@example.com./a@b", "example.com"), ("example.com/path", "example.com"),
        ("//example.com", "example.com"), ("  http://example.com \n", "example.com"),
        ("http://[2001:DB8::1]:80/", "2001:db8::1"), ("http://1.2.3.4:8080", "1.2.3.4"), ("", ""), ("http://", ""),
        ("http:///path", ""), ("http://example.com\\@other.org/", "example.com"),
        ("http://ex%61mple.com/", "example.com"),
        ("http://müller.de/ü", "xn--mller-kva.de"), ("http://M%C3%9CLLER.de", "xn--mller-kva.de"),
        ("http://XN--MLLER-KVA.de", "xn--mller-kva.de"), ("http://例え。jp/", "xn--r8jz45g.jp"),
        ("localhost:8080/x", "localhost"), ("http://a..b.../", "a..b"),
    ],
)  # fmt: skip
def test_the_host_is_the_one_that_a_browser_asks(url: str, host: str) -> None:
    assert hosts(url) == [host]


LABEL = st.text("abcXYZ019-_", min_size=1, max_size=6)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
URL = st.builds(
    "{}://{}{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "ftp", "svn+ssh"]),
    st.sampled_from(["", "", "u@", "u:p@", "a@b@", "@"]),
    HOST,
    st.sampled_from(["", ".", ":80", ":", ".:8080"]),
    st.sampled_from(["", "/", "/a/b", "/x@y", "/a:b"]),
    st.sampled_from(["", "?q=http://other.org/", "#f", "?a@b", "?"]),
)


@given(st.lists(URL, max_size=5))
@settings(max_examples=300, deadline=None)
@example(["http://a@b?c@d"])
def test_hosts_agree_with_urllib(urls: list[str]) -> None:
    assert hosts(*urls) == [(urlsplit(url).hostname or "").rstrip(".") for url in urls]


@given(st.lists(st.text(max_size=40), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_text_is_placed_the_same_alone_or_among_others(urls: list[str]) -> None:
    try:
        [url.encode() for url in urls]
    except UnicodeEncodeError:
        return
    assert hosts(*urls) == [hosts(url)[0] for url in urls]


def test_lists_are_domains_urls_or_hosts_files_with_comments() -> None:
    text = (
        "# comment\n! another\r\n\nexample.com\n  .tld.org  # why\n*.wild.net\nhttp://a.b/c d\n"
        "127.0.0.1 localhost\n0.0.0.0 ads.example  tracker.example # two\n::1 ip6-localhost\n"
        "1.2.3.4\n0.0.0.0 0.0.0.0\nlast"
    )
    expected = [
        "example.com",
        "tld.org",
        "wild.net",
        "http://a.b/c",
        "ads.example",
        "tracker.example",
        "1.2.3.4",
        "last",
    ]
    assert listed(text) == expected


def test_a_domain_stands_for_its_subdomains_and_for_no_other_name() -> None:
    urls = ("http://bad.com", "https://a.b.BAD.com:8/x", "http://notbad.com", "http://bad.com.org", "http://com/")
    assert match("x.org\nbad.com\n", *urls) == [2, 2, 0, 0, 0]
    assert match("xxx\n", "http://a.xxx/", "http://xxx.com/") == [1, 0]
    assert match("Müller.de\n", "http://www.xn--mller-kva.de/", "http://MÜLLER.de.") == [1, 1]


def test_a_url_stands_for_what_begins_with_it_up_to_the_end_of_a_part() -> None:
    urls = (
        "http://x.com/a",
        "https://www.x.com/a/b?c",
        "http://x.com/a?b",
        "http://x.com/ab",
        "http://x.com/",
        "http://x.com/A",
    )
    assert match("https://x.com:80/a/\n", *urls) == [1, 1, 1, 0, 0, 0]
    assert match("x.com/?id=3\n", "http://x.com/?id=3&b=1", "http://x.com/?id=31", "http://x.com/") == [1, 0, 0]


def test_of_equal_items_the_first_line_counts() -> None:
    assert match("a.com\nA.com.\nb.com\n", "http://a.com", "http://b.com") == [1, 3]


SMALL = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(SMALL, SMALL | st.just([])), max_size=6),
    st.lists(st.tuples(SMALL, SMALL | st.just([])), max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_look_ups_agree_with_the_definition(
    items: list[tuple[list[str], list[str]]], asked: list[tuple[list[str], list[str]]]
) -> None:
    def write(host: list[str], path: list[str]) -> str:
        return ".".join(host) + "".join("/" + part for part in path)

    def stops(item: tuple[list[str], list[str]], url: tuple[list[str], list[str]]) -> bool:
        return url[0][-len(item[0]) :] == item[0] and url[1][: len(item[1])] == item[1]

    found = match("\n".join(write(*item) for item in items), *("http://" + write(*url) for url in asked))
    for url, line in zip(asked, found, strict=True):
        assert (line > 0) == any(stops(item, url) for item in items)
        if line:
            assert stops(items[line - 1], url)


def test_a_list_of_many_domains_is_found_in_full() -> None:
    names = [f"d{i * 7919 % 1_000_003}.example" for i in range(50_000)]
    found = match("\n".join(names), *(f"http://www.{name}/" for name in names[:3000]), "http://d.example/")
    assert found == [*range(1, 3001), 0]


WORDS = ["sex", "cam", "größe", "a1"]
TEXT = st.text("secxam1größ-_./%", max_size=30)


def tokens(url: str) -> list[str]:
    decoded = unquote_to_bytes(url).decode("utf-8", "surrogateescape").removeprefix("x.y")
    return [token for token in re.split(r"[^0-9a-z\x80-\U0010ffff]+", decoded) if token]


@given(st.lists(TEXT, max_size=5))
@settings(max_examples=300, deadline=None)
@example(["sex%20cam", "s%65x", "%", "%7", "gr%C3%B6%C3%9Fe"])
@pytest.mark.slow
def test_words_agree_with_the_definition(paths: list[str]) -> None:
    urls = ["x.y/" + path for path in paths]
    first, count = words(placed(*urls), word_table([word.encode() for word in WORDS]))
    anywhere = inside(placed(*urls), automaton([word.encode() for word in WORDS]))
    for url, at, number, within in zip(urls, first, count, anywhere, strict=True):
        found = [WORDS.index(token) for token in tokens(url) if token in WORDS]
        assert at == (found[0] if found else -1)
        assert number == len(set(found))
        joined = "xy" + "".join(tokens(url))
        assert (within >= 0) == any(word in joined for word in WORDS)
        if within >= 0:
            assert WORDS[within] in joined
