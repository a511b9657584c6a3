"""Line breaks between characters of scripts without spaces: none in the text, in markup and out of it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.kernels.text.source_breaks import without_source_breaks
from gristmill.kernels.text.unspaced import folded, is_unspaced


def joined(page: str) -> str:
    return without_source_breaks(page.encode()).decode()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("漢字\n漢字", "漢字漢字"), ("漢字 漢字", "漢字 漢字"), ("ひら\r\n\t カナ", "ひらカナ"),
        ("字。\n「字」", "字。「字」"),
        ("ไทย\nไทย", "ไทยไทย"), ("ລາວ\nລາວ", "ລາວລາວ"), ("ខ្មែរ\nខ្មែរ", "ខ្មែរខ្មែរ"), ("မြန်\nမာ", "မြန်မာ"),
        ("한국\n한국", "한국\n한국"), ("漢字\nabc\n漢字", "漢字\nabc\n漢字"), ("字，\n字", "字，字"),
        ("字,\n字", "字,\n字"),
        ("字</b>\n <i>字", "字</b><i>字"), ("字<!-- \n -->\n字", "字<!-- \n -->字"),
        ("字\n</p>\n<p>字", "字\n</p>\n<p>字"),
        ("字<br>\n字", "字<br>\n字"), ("<pre>字\n字</pre>字\n字", "<pre>字\n字</pre>字字"),
        ("<script>字\n字</script>字", "<script>字\n字</script>字"), ("&#x6f22;\n&#28450;", "&#x6f22;&#28450;"),
        ("字&amp;\n字", "字&amp;\n字"), ("字\n", "字\n"), ("\n字", "\n字"), ("", ""),
    ],
)  # fmt: skip
def test_a_break_goes_where_both_sides_have_no_spaces(page: str, expected: str) -> None:
    assert joined(page) == expected


@given(st.text("漢あไ한a \n\t,。", max_size=30))
def test_text_without_markup_is_as_by_the_definition(text: str) -> None:
    def unless_between(found: re.Match[str]) -> str:
        before, after = text[: found.start()][-1:], text[found.end() :][:1]
        both = is_unspaced(before) and is_unspaced(after) and "\n" in found[0]
        return "" if both else found[0]

    expected = re.sub(r"[ \n\t]+", unless_between, text)
    assert joined(text) == expected
    assert folded(text) == " ".join(expected.split())


@given(
    st.lists(
        st.sampled_from(["漢", "\n", " ", "<b>", "</b>", "<p>", "<pre>", "</pre>", "<!--", "-->", "&#28450;", "a", "<"])
    )
)
def test_only_white_space_goes(parts: list[str]) -> None:
    page = "".join(parts)
    assert "".join(joined(page).split()) == "".join(page.split())


@pytest.mark.parametrize("part", ["漢\n", "漢<b>\n", "漢<!--", "漢<script>", "&#", "漢 </b> "])
def test_the_time_is_proportional_to_the_size(part: str) -> None:
    without_source_breaks("漢".encode())
    page = part.encode() * (4_000_000 // len(part.encode()))
    begun = time.process_time()
    without_source_breaks(page)
    assert time.process_time() - begun < 5
