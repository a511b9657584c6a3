"""Line edits: the kernel does what a plain definition in Python does, on text of every script and of every size."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.kernels.text import utf8
from gristmill.kernels.text.line_rules import COUNTED, EDITS, MEASURES, POLICIES
from gristmill.kernels.text.lines import BLANK_KEPT, BLANK_REMOVED, COUNTS, EDITED, KEPT, LONG_LINE, Rules, edit, fates

# -- the definition ----------------------------------------------------------------------------------------------------

flags = cache(utf8.flags_of)
ASCII_LOWER = {c: c + 32 for c in range(65, 91)}


def words_of(line: str) -> tuple[int, int]:
    """(words, characters of the longest)."""
    words: list[list[str]] = []
    spaced = quarters = 0
    before = " "  # the character before, or the letter of a script without spaces whose marks have not ended
    for c in line:
        if flags(c) & utf8.SPACE:
            before = " "
        elif flags(c) & utf8.UNSPACED:
            quarters += 2 if flags(c) & utf8.EAST_ASIAN else 1
            words.append([c])
            before = c
        elif before == " " or (flags(before) & utf8.UNSPACED and flags(c) & utf8.ALNUM):
            spaced += 1
            words.append([c])
            before = c
        else:
            words[-1].append(c)
    return spaced + -(-quarters // 4), max(map(len, words), default=0)


def has_end(line: str) -> bool:
    letters = [c for c in line if flags(c) & utf8.LETTER]
    if sum(flags(c) & utf8.UNSTOPPED != 0 for c in letters) * 2 > len(letters):
        return True
    before = next((c for c in line[-2:-6:-1] if flags(c) & (utf8.ALNUM | utf8.SPACE)), " ")  # but for up to 3 quotes
    if (line[-1] == ":" and "\u0530" <= before <= "\u058f") or (line[-1] == ";" and "\u0370" <= before <= "\u03ff"):
        return True
    return line[-1] in utf8.END_MARKS and not line.endswith(("...", "…"))


def is_word(c: str) -> bool:
    return unicodedata.category(c)[0] in "LNM" or c == "_"


def is_counter(line: str) -> bool:
    core = line.translate(ASCII_LOWER)
    while core and not is_word(core[0]):
        core = core[1:]
    while core and not is_word(core[-1]):
        core = core[:-1]
    return re.fullmatch(rf"\d[\d,.]*[kmb]?\s+(?:{'|'.join(COUNTED)})", core) is not None


def measure(line: str, name: str) -> float:
    lower = line.translate(ASCII_LOWER)
    return {
        "words": lambda: words_of(line)[0],
        "longest_word": lambda: words_of(line)[1],
        "end_mark": lambda: has_end(line),
        "javascript": lambda: "javascript" in lower,
        "policy": lambda: any(phrase in lower for phrase in POLICIES),
        "uppercase": lambda: sum(c.isupper() for c in line) / len(line),
        "digits": lambda: sum(unicodedata.category(c) == "Nd" for c in line) / len(line),
        "counter": lambda: is_counter(line),
    }[name]()


CUTS = {
    "citation_numbers": r"\[\d*\]",
    "citation_notes": r"\[edit\]|\[citation needed\]",
    "items_in_cart": r"(?ai)[ \t]?items in cart",
    "read_more": r"(?ai)[ \t]?read more(?:\.\.\.|…)\Z",
    "sign_in": r"(?ai)\Asign-in[ \t]?",
}

Row = tuple[str, float | None, float | None]


class Judged(NamedTuple):
    removed_by: int | None
    cut_by: int | None
    text: str
    lost: int
    """Words that all rules removed."""


def judge(line: str, rows: list[Row]) -> Judged:
    whole = words_of(line)[0]
    cut_by = None
    for k, (name, low, high) in enumerate(rows):
        if name in CUTS:
            if name not in ("citation_numbers", "citation_notes") and words_of(line)[0] > 10:
                continue
            cut = re.sub(CUTS[name], "", line)
            if cut != line:
                cut_by, line = k, cut.strip()
                if not line:
                    return Judged(k, None, "", whole)
        else:
            value = measure(line, name)
            if (low is not None and value < low) or (high is not None and value > high):
                return Judged(k, None, "", whole)
    return Judged(None, cut_by, line, whole - words_of(line)[0])


def plain(text: str, rows: list[Row]) -> tuple[str, dict[str, int], list[int]]:
    """(text, the counts that are not 0, fates) by definition."""
    counts = dict.fromkeys(COUNTS, 0)
    fate: list[int] = []
    kept: list[str] = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        core = line.strip()
        if not core:
            fate.append(BLANK_REMOVED)
            kept.append(line)
            continue
        found = judge(core, rows)
        counts["lines"] += 1
        counts["words"] += words_of(core)[0]
        counts["words_flagged"] += found.lost
        if found.removed_by is not None:
            counts["lines_removed"] += 1
            counts[f"lines_removed_by_{rows[found.removed_by][0]}"] += 1
            fate.append(found.removed_by)
            kept.append("")
            continue
        counts["words_kept"] += words_of(found.text)[0]
        counts["long_lines"] += len(found.text) >= LONG_LINE
        counts["lines_edited"] += found.cut_by is not None
        fate.append(KEPT if found.cut_by is None else EDITED - found.cut_by)
        begin = line.index(core)
        kept.append(line[:begin] + found.text + line[begin + len(core) :])
    blank_lines(fate)
    result = "".join(line for line, of in zip(kept, fate) if of != BLANK_REMOVED)
    stays = [k for k, of in enumerate(fate) if of == KEPT or of <= EDITED]
    if any(of >= 0 for of in fate[stays[-1] + 1 if stays else 0 :]) and not text.endswith("\n"):
        result = result.removesuffix("\n").removesuffix("\r") if result.endswith("\n") else result
    return (
        result,
        {name: n for name, n in counts.items() if n},
        fate + [BLANK_KEPT] * (text.count("\n") + 1 - len(fate)),
    )


def blank_lines(fate: list[int]) -> None:
    """Marks the blank lines that stay: all between lines that stay, or where others were removed the first run."""
    stays = [k for k, of in enumerate(fate) if of == KEPT or of <= EDITED]
    for begin, end in pairwise([-1, *stays, len(fate)]):
        gap = range(begin + 1, end)
        removed = any(fate[k] >= 0 for k in gap)
        blank = [k for k in gap if fate[k] == BLANK_REMOVED]
        if removed and (begin < 0 or end == len(fate)):
            blank = []
        elif removed:
            blank = [k for n, k in enumerate(blank) if k - blank[0] == n]
        for k in blank:
            fate[k] = BLANK_KEPT


# -- the kernel --------------------------------------------------------------------------------------------------------


def for_kernel(rows: list[Row]) -> Rules:
    order = (*MEASURES, *EDITS)
    return Rules(
        np.array([order.index(name) for name, _, _ in rows], np.int64),
        np.array([-np.inf if low is None else low for _, low, _ in rows], np.float64),
        np.array([np.inf if high is None else high for _, _, high in rows], np.float64),
        np.ones(len(rows), np.bool_),
    )


ALL = np.uint64(2**64 - 1)


def edited(texts: list[str], rows: list[Row]) -> tuple[list[str], list[dict[str, int]]]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    scope = np.full(len(texts), ALL)
    out, ends, counts = edit(np.frombuffer(b"".join(encoded), np.uint8), offsets, scope, for_kernel(rows))
    data = out.tobytes()
    result = [data[a:b].decode() for a, b in pairwise(ends)]
    for n, row in enumerate(counts):
        if row[COUNTS.index("lines")] == row[COUNTS.index("lines_removed")] > 0:
            assert result[n] == texts[n], "where nothing would stay, the text does"
            result[n] = ""
    return result, [{name: int(n) for name, n in zip(COUNTS, row) if n} for row in counts]


C4: list[Row] = [
    ("longest_word", None, 1000),
    ("citation_numbers", None, 0),
    ("citation_notes", None, 0),
    ("end_mark", 1, None),
    ("words", 5, None),
    ("javascript", None, 0),
    ("policy", None, 0),
]
REFINEDWEB: list[Row] = [
    ("uppercase", None, 0.5),
    ("digits", None, 0.999999),
    ("counter", None, 0),
    ("words", 2, None),
    ("items_in_cart", None, 0),
    ("read_more", None, 0),
    ("sign_in", None, 0),
]
ODD: list[Row] = [("read_more", None, 0), ("longest_word", 2, 4), ("sign_in", None, 0), ("digits", 0.1, None)]

PIECES = (
    *(" ", " ", " ", "\n", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x1c", "\x00"),
    *(
        "bread",
        "Bread is good.",
        "BREAD IS",
        "a",
        "X",
        "I said",
        "...",
        "…",
        ".",
        "!",
        "?",
        '"',
        "'",
        "”",
        ":",
        ";",
        "_",
    ),
    *("[1]", "[", "]", "[]", "[12", "[edit]", "[Edit]", "[citation needed]", "[٣]", "12", "3 likes", "1,234.5K views"),
    *(
        "javascript",
        "JavaScript",
        "java",
        "privacy policy",
        "Terms of Use",
        "uses cookies",
        "use cookie",
        "cookie policy",
    ),
    *("items in cart", "3 Items in Cart", "Read more...", "read more…", "Sign-in", "sign-in ", "word " * 4, "x" * 9),
    *(
        "Привет мир.",
        "ПРИВЕТ",
        "γεια;",
        "Բարեւ:",
        "שלום",
        "مرحبا؟",
        "नमस्ते।",
        "漢字かな。",
        "漢",
        "ไทยภาษา",
        "ລາວ",
        "ខ្មែរ។",
        "한국어",
    ),
    *("é", "\u0301", "😀", "\U00020000", "ß", "İ", "K", "٣", "①", "²", "\ufeff", "\u200d", "က", "ー"),
)
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=40).map("".join)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(TEXT, max_size=4), st.sampled_from([C4, REFINEDWEB, [*C4, *REFINEDWEB], ODD, C4[1:3], []]))
def test_edits_are_their_definition_on_every_script(texts: list[str], rows: list[Row]) -> None:
    found, counts = edited(texts, rows)
    for text, after, count in zip(texts, found, counts):
        expected, expected_counts, expected_fates = plain(text, rows)
        if not rows:
            assert (after, count) == (text, {}), "nothing is asked, nothing is counted"
            continue
        assert (after, count) == (expected, expected_counts)
        assert fates(np.frombuffer(text.encode(), np.uint8), int(ALL), for_kernel(rows)).tolist() == expected_fates


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_what_stays_is_a_subsequence_of_the_lines_and_stays_again(text: str) -> None:
    """Without cuts, which can uncover what the next pass cuts, as in [[1]2]."""
    for rows in ([row for row in C4 if row[0] not in EDITS], [row for row in REFINEDWEB if row[0] not in EDITS]):
        [once], _ = edited([text], rows)
        lines = iter(text.split("\n"))
        for line in once.split("\n") if once else []:
            assert any(line in (each, each.removesuffix("\r")) for each in lines), "each behind the one before"
        assert edited([once], rows)[0] == [once]


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("This line ends in a full stop.", True),
        ('He said: "This line ends in a quote."', True),
        ("Does this line end in a question mark?", True),
        ("This line ends in no mark at all", False),
        ("This line breaks off in the middle...", False),
        ("This line breaks off in the middle…", False),
        ("Эта строка кончается точкой, как надо.", True),
        ("यह पंक्ति पूर्ण विराम पर समाप्त होती है।", True),
        ("这一行以句号结尾，所以应该保留下来。", True),
        ("这一行没有句号，所以不应该保留下来", False),
        ("บรรทัดนี้เป็นภาษาไทยซึ่งไม่มีจุดจบประโยคจึงถูกเก็บไว้", True),
        ("Այս տողն ավարտվում է վերջակետով, ինչպես պետք է:", True),
        ("This line ends in a colon, in no Armenian letter:", False),
        ("Τελειώνει αυτή η γραμμή με ερωτηματικό;", True),
        ("Four words are few.", False),
        ("三个字。", False),
        ("Please enable JavaScript to see this page.", False),
        ("By going on you agree that this site uses cookies.", False),
        ("This word is too long: " + "a" * 1001 + ".", False),
        ("This word is just short enough: " + "a" * 1000, False),
        ("This word is just short enough: " + "a" * 999 + ".", True),
        ("Bread was baked in Egypt.[12][citation needed]", True),
    ],
)
def test_lines_of_c4(line: str, stays: bool) -> None:
    [after], _ = edited([line], C4)
    assert bool(after) == stays


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("MAINLY UPPER CASE here", ""),
        ("NASA and ESA fly", "NASA and ESA fly"),
        ("ПРОПИСНЫЕ БУКВЫ", ""),
        ("123456", ""),
        ("12.50", ""),  # a word
        ("12 50", "12 50"),
        ("3 likes", ""),
        ("(1.2K followers)", ""),
        ("3 likes for bread", "3 likes for bread"),
        ("Home", ""),
        ("首页", ""),
        ("关于我们", "关于我们"),
        ("Sign-in to see more", "to see more"),
        ("More about bread Read more...", "More about bread"),
        ("You have 3 items in cart today", "You have 3 today"),
        ("items in cart", ""),
        ("A line of more than ten words that ends with the words Read more...",) * 2,
    ],
)
def test_lines_of_refinedweb(line: str, after: str) -> None:
    assert edited([line], REFINEDWEB)[0] == [after]


def test_blank_lines_do_not_pile_up_where_lines_were_removed() -> None:
    line = "This is a line that stays."
    text = f"Home\n\n{line}\n\nMenu\n\nMore\n\n{line}\n\n\n{line}\nFoot\n"
    assert edited([text], C4)[0] == [f"{line}\n\n{line}\n\n\n{line}\n"]
    assert edited([f"{line}\r\nMenu"], C4)[0] == [line]
    assert edited([f"\n\n{line}\n\n"], C4)[0] == [f"\n\n{line}\n\n"], "nothing removed, nothing touched"


def test_a_rule_is_asked_of_the_documents_in_its_scope_alone() -> None:
    texts = [b"Home\n", b"123456\n", b"Home\n123456\n"]
    offsets = np.cumsum([0, *map(len, texts)])
    data = np.frombuffer(b"".join(texts), np.uint8)
    rules = for_kernel([("words", 2, None), ("digits", None, 0.9)])
    out, ends, counts = edit(data, offsets, np.array([0, 2, 2], np.uint64), rules)
    assert [out[a:b].tobytes() for a, b in pairwise(ends)] == [b"Home\n", b"123456\n", b"Home\n"]
    assert counts[:, 0].tolist() == [0, 1, 2]


def test_more_rules_than_the_scope_has_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="65 rules: at most 64"):
        edited(["x"], [("words", 1, None)] * 65)


def test_nothing_and_broken_bytes_do_no_harm() -> None:
    assert edited([], C4) == ([], [])
    assert edited(["", "\n", " "], C4)[0] == ["", "\n", " "]
    rng = np.random.default_rng(1)
    for size in (1, 2, 3, 1000):
        data = rng.integers(0, 256, size).astype(np.uint8)
        data[data == 0x62] = 0x5B  # brackets, which are looked behind
        out, ends, _ = edit(data, np.array([0, size]), np.array([ALL]), for_kernel([*C4, *REFINEDWEB]))
        assert len(out) == ends[-1] <= size


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        *((b"a\n", 20_000_000), ("漢".encode(), 60_000_000), (b"a b", 6_000_000), (b"[1", 6_000_000)),
        *((b"read more...", 6_000_000), (b"items in cart", 6_000_000), (b"\n", 6_000_000)),
    ],
)
def test_a_huge_text_of_one_line_or_of_millions_is_judged(unit: bytes, size: int) -> None:
    data = np.frombuffer(unit * (size // len(unit)), np.uint8)
    for rows in (C4, REFINEDWEB):
        _, ends, counts = edit(data, np.array([0, len(data)]), np.array([ALL]), for_kernel(rows))
        assert ends[-1] <= len(data)
        assert counts[0, 0] == (0 if unit == b"\n" else np.count_nonzero(data[:-1] == 10) + 1)
