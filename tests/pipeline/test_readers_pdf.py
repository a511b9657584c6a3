"""PDF: reading order, words, paragraphs, what is dropped, what is said of it, and files that are out to harm."""

from __future__ import annotations

import io
import json
import random
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_files import Pdf, Text, column, document, wrapped
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.markup.pdf_pages import reader
from gristmill.stages.guard import CHILD_BYTES, Guarded

LEFT = (
    "The first column tells of the mill and of the river that turns its wheel from spring until the ice comes in the "
    "late days of the year. Grain goes in above and flour comes out below. The miller listens to the stones."
)
RIGHT = (
    "The second column tells of the village where the flour goes when the carts come down the hill in the morning. "
    "Bread is baked there before anybody else is awake. Nobody in it has ever seen where the water comes from."
)


def text_of(data: bytes) -> str:
    text, more = reader("64000000")(memoryview(data), None)
    assert not isinstance(more, str), more
    return text or ""


def reason_of(data: bytes, tmp_path: Path) -> str | None:
    (tmp_path / "x.pdf").write_bytes(data)
    (row,) = read_rows(tmp_path / "x.pdf")
    assert row["path"] == "x.pdf"
    return row["quarantined_by"]


def beside(left: list[Text], right: list[Text]) -> list[Text]:
    """Both columns line by line across, as some programs write them."""
    return sorted([*left, *right], key=lambda text: (-text.y, text.x))


# -- reading order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [lambda a, b: [*a, *b], beside, lambda a, b: [*b, *a]], ids=["columns", "rows", "last"]
)
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_two_columns_are_read_one_after_the_other(order: Callable[..., list[Text]], offset: float) -> None:
    left = column(60, 700, wrapped(LEFT, 230))
    right = column(320, 700 - offset, wrapped(RIGHT, 230))
    assert text_of(document(order(left, right))) == f"{LEFT}\n\n{RIGHT}"


def test_a_title_and_an_abstract_stand_before_the_columns_and_a_caption_between_them() -> None:
    title = [Text(150, 750, "On Mills and Villages, a Study of Water", 18)]
    abstract = column(60, 715, wrapped("This goes over the whole page. " + LEFT, 490))
    one = beside(column(60, 640, wrapped(LEFT, 230)), column(320, 640, wrapped(RIGHT, 230)))
    caption = [Text(60, 450, "Figure 1: a picture that is as wide as both of the columns of this page together are.")]
    two = beside(column(60, 420, wrapped(RIGHT, 230)), column(320, 420, wrapped(LEFT, 230)))
    assert text_of(document([*title, *abstract, *one, *caption, *two])).split("\n\n") == [
        "On Mills and Villages, a Study of Water",
        f"This goes over the whole page. {LEFT}",
        LEFT,
        RIGHT,
        "Figure 1: a picture that is as wide as both of the columns of this page together are.",
        RIGHT,
        LEFT,
    ]


def test_three_columns_are_read_from_the_left() -> None:
    texts = ["First " + LEFT, "Second " + RIGHT, "Third " + LEFT]
    columns = [column(50 + 180 * i, 700, wrapped(text, 160)) for i, text in enumerate(texts)]
    assert text_of(document(beside(beside(*columns[:2]), columns[2]))) == "\n\n".join(texts)


def test_a_table_is_read_row_by_row() -> None:
    cells = [(f"item {i}", f"{i * 37}", f"{i * 11}.50") for i in range(1, 15)]
    texts = [Text(60 + 150 * x, 700 - 14 * y, cell) for y, row in enumerate(cells) for x, cell in enumerate(row)]
    assert text_of(document(texts)).split("\n") == [" ".join(row) for row in cells]


def test_a_paragraph_goes_on_in_the_next_column_and_on_the_next_page() -> None:
    lines = wrapped(LEFT + " " + RIGHT, 230)
    first = [*column(60, 300, lines[:5]), *column(320, 300, lines[5:9])]
    assert text_of(document(first, column(60, 700, lines[9:]))) == f"{LEFT} {RIGHT}"


def test_text_that_is_turned_comes_last_and_whole() -> None:
    stamp = Text(30, 200, "arXiv:0000.00000v1 [cs.CL] 1 Jan 2000", 18, turned=True)
    assert text_of(document([stamp, *column(60, 700, wrapped(LEFT, 490))])) == f"{LEFT}\n\n{stamp.text}"


def test_a_page_shown_sideways_is_read_as_it_was_written() -> None:
    pdf = Pdf()
    pdf.page(column(60, 700, wrapped(LEFT, 490)), entries="/Rotate 90")
    assert text_of(pdf.bytes()) == LEFT


# -- words and paragraphs ----------------------------------------------------------------------------------------------


def test_words_that_are_divided_at_a_lines_end_are_joined() -> None:
    lines = [
        "The miller was an extraordi-",
        "nary man, well-known in the whole vil-",
        "lage for his generous, well-",
        "known honesty, for the fine Franco-",
        "German bread that he made; see the pages 12-",
        "14 of that book.",
    ]
    assert text_of(document(column(60, 700, lines))) == (
        "The miller was an extraordinary man, well-known in the whole village for his generous, well-known honesty, "
        "for the fine Franco-German bread that he made; see the pages 12-14 of that book."
    )


def test_soft_hyphens_ligatures_and_odd_spaces_are_letters_and_spaces() -> None:
    texts = [Text(60, 700, "The \ufb01rst o\ufb03ce\u00a0has\u2003a wa\u00adter\u200bwheel.", 10, "F3")]
    assert text_of(document(texts)) == "The first office has a waterwheel."


def test_paragraphs_have_an_empty_line_between_them() -> None:
    first, second, third = wrapped(LEFT, 400), wrapped(RIGHT, 400), wrapped("Short. " + LEFT, 400)
    apart = [*column(60, 700, first), *column(60, 650, second), *column(60, 590, third)]
    assert text_of(document(apart)) == f"{LEFT}\n\n{RIGHT}\n\nShort. {LEFT}"
    indented = column(60, 700, [*first, *second, *third])
    starts = (0, len(first), len(first) + len(second))
    indented = [Text(75, t.y, t.text) if i in starts else t for i, t in enumerate(indented)]
    assert text_of(document(indented)) == f"{LEFT}\n\n{RIGHT}\n\nShort. {LEFT}"


def test_headings_and_items_are_lines_of_their_own_and_code_keeps_its_lines() -> None:
    texts = [Text(60, 700, "1 Of Mills", 14), *column(60, 684, wrapped(LEFT, 400)),
             *column(60, 600, ["• grain of the fields;", "• water of the river."]),
             *column(60, 560, ["for grain in fields:", "    mill(grain)", "return flour"])]  # fmt: skip
    assert text_of(document(texts)) == (
        f"1 Of Mills\n\n{LEFT}\n\n• grain of the fields;\n\n• water of the river.\n\n"
        "for grain in fields:\nmill(grain)\nreturn flour"
    )


def test_running_heads_and_page_numbers_are_dropped() -> None:
    words = ("one", "two", "three", "four", "five", "six")
    texts = [" ".join(f"Page {word} has {other} sentences of its own." for other in words * 3) for word in words]
    pages = []
    for i, text in enumerate(texts):
        head = Text(60, 760, "The Journal of Mills" if i % 2 else f"Chapter {i}: of water {i + 41}", 8)
        pages.append([head, *column(60, 700, wrapped(text, 490)), Text(300, 30, str(i + 41), 8)])
    assert text_of(document(*pages)) == "\n\n".join(texts)


def test_a_line_that_comes_twice_is_text() -> None:
    pages = [[Text(60, 760, "Once more.", 10), *column(60, 700, wrapped(LEFT, 490))] for _ in range(2)]
    assert text_of(document(*pages)).count("Once more.") == 2


def test_chinese_and_japanese_have_no_spaces_where_lines_end() -> None:
    lines = ["磨坊在河邊已經有三百年的歷史了。春天的時候水", "很多,輪子轉得很快,村民把穀物送來磨成麵粉。", "夏天水少。"]
    texts = [Text(60, 700 - 14 * i, line, 10, "F2") for i, line in enumerate(lines)]
    assert text_of(document(texts)) == "".join(lines)


def test_hebrew_is_in_the_order_in_which_it_is_read() -> None:
    words = "הטחנה עומדת ליד הנהר כבר שלוש מאות שנה"
    texts = [Text(60, 700, words[::-1], 10, "F3")]  # glyphs stand from the left
    assert text_of(document(texts)) == words


def test_text_that_has_no_known_characters_is_none(tmp_path: Path) -> None:
    pdf = Pdf()
    number = pdf.add(
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 1 1] /FontMatrix [0.001 0 0 0.001 0 0] /FirstChar 0 "
        b"/LastChar 3 /Widths [500 500 500 500] /CharProcs << >> "
        b"/Encoding << /Type /Encoding /Differences [0 /g0 /g1 /g2 /g3] >> >>"
    )
    pdf.page((), b"BT /T 10 Tf 60 700 Td <0001020300010203> Tj ET", "", f"/Resources << /Font << /T {number} 0 R >> >>")
    assert reason_of(pdf.bytes(), tmp_path) == "read.pdf_no_text"


# -- documents ---------------------------------------------------------------------------------------------------------


def test_what_a_document_says_of_itself_is_kept(tmp_path: Path) -> None:
    said = {
        "Title": "Of Mills",
        "Author": "Ä. Müller",
        "CreationDate": "D:20010203040506+01'30'",
        "Producer": "by hand",
    }
    (tmp_path / "a.pdf").write_bytes(document(column(60, 700, wrapped(LEFT, 490)), [], information=said))
    (row,) = read_rows(tmp_path / "a.pdf", metadata={"shelf": "3"})
    assert (row["title"], row["timestamp"].isoformat()) == ("Of Mills", "2001-02-03T02:35:06+00:00")
    assert json.loads(row["metadata"]) == {
        "author": "Ä. Müller", "producer": "by hand", "pages": 2, "pages_without_text": 1, "shelf": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("D:2001", "2001-01-01"), ("20010203", "2001-02-03"), ("D:20010203040506Z", "2001-02-03"), ("D:20019903", None),
     ("yesterday", None), ("D:00000101", None)],
)  # fmt: skip
def test_dates_are_read_leniently(tmp_path: Path, stated: str, expected: str | None) -> None:
    (tmp_path / "a.pdf").write_bytes(document(column(60, 700, ["Words."]), information={"CreationDate": stated}))
    (row,) = read_rows(tmp_path / "a.pdf")
    assert (row["timestamp"] and row["timestamp"].date().isoformat()) == expected
    assert json.loads(row["metadata"]).get("date") == (None if expected else stated)


@pytest.mark.parametrize("title", ["Microsoft Word - draft3.doc", "untitled", "paper.dvi", "  "])
def test_the_name_of_a_file_is_no_title(tmp_path: Path, title: str) -> None:
    (tmp_path / "a.pdf").write_bytes(document(column(60, 700, ["Words."]), information={"Title": title}))
    assert read_rows(tmp_path / "a.pdf")[0]["title"] is None


def test_folders_and_archives_are_read_and_what_is_none_is_counted(tmp_path: Path) -> None:
    data = document(column(60, 700, ["Words of a document."]))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(data)
    (tmp_path / "in" / "empty.PDF").write_bytes(b"")
    with tarfile.open(tmp_path / "in" / "more.tar.gz", "w:gz") as archive:
        for name, content in (("x/b.pdf", data), ("x/notes.txt", b"notes")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for path in (tmp_path / "in" / "a.pdf", tmp_path / "in" / "more.tar.gz"):
        (row,) = read_rows(path, format="pdf")
        assert row["text"] == "Words of a document."
    assert read_rows(tmp_path / "in" / "more.tar.gz", format="pdf")[0]["path"] == "more.tar.gz/x/b.pdf"
    assert read_skipped(tmp_path / "in" / "more.tar.gz", format="pdf") == {"files.unwanted_name": 1}
    assert read_skipped(tmp_path / "in" / "empty.PDF", format="pdf") == {"files.empty": 1}


def test_the_same_file_gives_the_same_bytes_whatever_was_read_before(tmp_path: Path) -> None:
    pages = [beside(column(60, 700, wrapped(LEFT, 230)), column(320, 700, wrapped(RIGHT, 230)))] * 4
    data = document(*pages)
    first = text_of(data)
    text_of(document([Text(60, 700, "other", 40)]))
    assert text_of(data) == first
    (tmp_path / "a.pdf").write_bytes(data)
    assert read_rows(tmp_path / "a.pdf")[0]["text"] == first


# -- what cannot be read -----------------------------------------------------------------------------------------------


def scanned() -> bytes:
    pdf = Pdf()
    pdf.picture()
    pdf.picture()
    return pdf.bytes()


def encrypted() -> bytes:
    pdf = Pdf(trailer=(
        f"/ID [<{'00' * 16}> <{'00' * 16}>] "
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'11' * 32}> /U <{'22' * 32}> /P -44 >>"
    ))  # fmt: skip
    pdf.page(column(60, 700, ["Secret."]))
    return pdf.bytes()


def recursive_tree() -> bytes:
    pdf = Pdf()
    pdf.page(column(60, 700, ["Words."]))
    pdf.objects[1] = f"<< /Type /Pages /Kids [2 0 R 2 0 R {pdf.pages[0]} 0 R 2 0 R] /Count 1000000 >>".encode()
    return pdf.bytes()


def recursive_form() -> bytes:
    pdf = Pdf()
    form = len(pdf.objects) + 1
    pdf.stream(
        b"/X Do /X Do", f"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {form} 0 R >> >>"
    )
    pdf.page((), b"/X Do", "", f"/Resources << /XObject << /X {form} 0 R >> >>")
    return pdf.bytes()


def bomb() -> bytes:
    """A page whose content decompresses to 300 MB of operators."""
    pdf = Pdf()
    pdf.page((), b"BT /F1 1 Tf (aaaaaaaaaaaaaaaa) Tj ET\n" * 8_000_000)
    return pdf.bytes()


@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        (scanned, {"read.pdf_no_text"}),
        (encrypted, {"pdf.encrypted"}),
        (lambda: b"%PDF-1.4 and no more", {"pdf.damaged"}),
        (lambda: b"<html>a page of an error</html>", {"pdf.damaged"}),
        (lambda: document(column(60, 700, ["Words."]))[:300], {"pdf.damaged"}),
        pytest.param(recursive_form, {"read.pdf_no_text", "pdf.crashed"}, marks=pytest.mark.slow),
        (lambda: document(*[[]] * 3), {"read.pdf_no_text"}),
    ],
    ids=["scanned", "encrypted", "head", "html", "cut", "form", "blank"],
)  # fmt: skip
def test_what_cannot_be_read_is_one_row_with_its_path(
    make: Callable[[], bytes], reasons: set[str], tmp_path: Path
) -> None:
    assert reason_of(make(), tmp_path) in reasons


def test_a_recursive_page_tree_ends(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert reason_of(recursive_tree(), tmp_path) in (None, "pdf.damaged", "read.pdf_no_text", "pdf.too_many_pages")
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_ten_thousand_pages_are_read(tmp_path: Path) -> None:
    data = document(*[[Text(60, 700, f"This is page number {i} of the book.")] for i in range(10_000)])
    (tmp_path / "a.pdf").write_bytes(data)
    (row,) = read_rows(tmp_path / "a.pdf")
    assert row["text"].count("of the book.") == 10_000
    assert json.loads(row["metadata"])["pages"] == 10_000


@pytest.mark.slow
def test_a_bomb_harms_nobody_and_the_next_document_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(bomb())
    (tmp_path / "b.pdf").write_bytes(document(column(60, 700, ["Words."])))
    bad, good = read_rows(tmp_path, format="pdf", limits={"max_document_bytes": 1_000_000})
    assert bad["quarantined_by"] in ("read.too_large", "pdf.timeout", "pdf.crashed", "pdf.damaged")
    assert good["text"] == "Words."


def test_a_document_over_its_time_is_a_row_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipeline.readers.pdf.SECONDS", 0.05)
    monkeypatch.setattr("gristmill.pipeline.readers.pdf.SECONDS_PER_MB", 0.0)
    (tmp_path / "a.pdf").write_bytes(document(*[column(60, 700, wrapped(LEFT, 490))] * 400))
    (tmp_path / "b.pdf").write_bytes(document(column(60, 700, ["Words."])))
    slow, quick = read_rows(tmp_path, format="pdf")
    assert (slow["quarantined_by"], quick["text"]) == ("pdf.timeout", "Words.")


def test_the_child_has_a_limit_of_memory() -> None:
    guarded = Guarded("test_readers_pdf:hungry", "", "test")
    assert guarded.ask(b"", None, 60) == "failed"
    guarded.close()


def hungry(argument: str) -> Callable[[memoryview, str | None], tuple[str | None, list[int]]]:
    return lambda content, address: (None, [len(bytearray(CHILD_BYTES))])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_broken_files_never_raise(data: st.DataObject) -> None:
    whole = bytearray(
        document(*[beside(column(60, 700, wrapped(LEFT, 230)), column(320, 700, wrapped(RIGHT, 230)))] * 2)
    )
    chance = random.Random(data.draw(st.integers(0, 1 << 30)))
    for _ in range(data.draw(st.integers(1, 40))):
        at = chance.randrange(len(whole))
        whole[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    guarded = _SHARED.setdefault("pdf", Guarded("gristmill.pipeline.readers.markup.pdf_pages:reader", "1000000", "pdf"))
    answer = guarded.ask(bytes(whole), None, 20)
    assert answer in ("damaged", "encrypted", "crashed", "timeout", "too_large") or not isinstance(answer, str)


_SHARED: dict[str, Guarded] = {}
