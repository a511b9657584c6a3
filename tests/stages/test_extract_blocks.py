"""What has lines and structure in a page has them in its text: lists, tables, code, captions, formulas."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from gristmill.pipeline.readers.markup.fragment import fragment_text
from gristmill.stages.document import RAW
from gristmill.stages.extract import Extract

SENTENCE = "The old mill stands by the river where the water runs slowly between the willows of the valley."
PROSE = " ".join([SENTENCE] * 4)
ITEMS = ("Open the sluice by a hand's breadth and wait.", "Never run the stones without grain.", "Stop the wheel.")
LIST = f"<ul>{''.join(f'<li>{item}</li>' for item in ITEMS)}</ul>"
LISTED = "\n".join(f"  • {item}" for item in ITEMS)


def texts(*pages: str, media: str = "text/html") -> list[str | None]:
    schema = pa.schema([RAW.field(name) for name in ("text", "url", "content", "content_type")])
    rows = [{"content": page.encode(), "content_type": media} for page in pages]
    return Extract().apply(pa.RecordBatch.from_pylist(rows, schema)).column("text").to_pylist()


def within(article: str) -> str:
    """The text of something between two paragraphs of an article."""
    (text,) = texts(f"<html><body><article><p>{PROSE}</p>{article}<p>{PROSE}</p></article></body></html>")
    assert text is not None
    assert text.startswith(PROSE)
    assert text.endswith(PROSE)
    return text.removeprefix(PROSE).removesuffix(PROSE).strip("\n")


MARKED = [
    ("div", 'class="entry-content"'), ("div", 'class="post-content"'), ("div", 'class="post-body entry-content"'),
    ("div", 'itemprop="articleBody"'), ("div", 'role="main"'), ("main", ""), ("article", ""), ("div", 'id="content"'),
    ("article", 'class="markdown-body entry-content"'), ("div", 'class="article-body"'), ("div", 'class="body"'),
    ("section", 'class="post"'), ("div", ""),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "attributes"), MARKED)
@pytest.mark.parametrize("depth", [0, 1, 2, 6])
def test_lists_of_an_article_stay_however_deep_it_lies(tag: str, attributes: str, depth: int) -> None:
    article = f"<{tag} {attributes}><h1>How to grind</h1><p>{PROSE}</p>{LIST}<p>{PROSE}</p></{tag}>"
    page = f"<html><body>{'<div>' * depth}{article}{'</div>' * depth}</body></html>"
    assert texts(page) == [f"How to grind\n\n{PROSE}\n\n{LISTED}\n\n{PROSE}"]


def test_lists_stay_in_a_page_without_any_container() -> None:
    expected = f"{PROSE}\n\n{LISTED}\n\n{PROSE}"
    assert texts(f"<body><p>{PROSE}</p>{LIST}<p>{PROSE}</p>", f"<p>{PROSE}</p>{LIST}<p>{PROSE}</p>") == [expected] * 2


def test_links_do_not_make_navigation_of_a_list_in_the_text() -> None:
    items = [f"<li><a href=x>A mill of the valley</a>, number {i}</li>" for i in range(3)]
    assert within(f"<ul>{''.join(items)}</ul>").count("A mill of the valley, number") == 3
    sources = [f"<li><a href=x>Millers and their customers, volume {i}</a></li>" for i in range(3)]
    assert within(f"<ul>{''.join(sources)}</ul>").count("Millers and their customers") == 3


def test_navigation_stays_out() -> None:
    links = "".join(f"<li><a href=/{i}>Page {i}</a></li>" for i in range(20))
    menus = (f"<ul>{links}</ul>", f"<nav><ul>{links}</ul></nav>", f"<div class=menu><ul class=nav>{links}</ul></div>")
    for menu in menus:
        (text,) = texts(f"<body>{menu}<main><h1>Mills</h1><p>{PROSE}</p>{LIST}<p>{PROSE}</p></main>{menu}</body>")
        assert text == f"Mills\n\n{PROSE}\n\n{LISTED}\n\n{PROSE}"


TABLE = """<table><caption>Flour</caption><thead><tr><th>Grain</th><th>Weight</th></tr></thead>
<tbody><tr><td><p>Rye</p></td><td>12<br>kg</td></tr><tr><td>Wheat
 and spelt</td><td><div>7</div><div>kg</div></td></tr></tbody></table>"""


def test_a_row_of_a_table_is_a_line() -> None:
    expected = ["Flour", "Grain\t\tWeight", "Rye\t\t12 kg", "Wheat and spelt\t\t7 kg"]
    for table in (TABLE, f"<figure class='wp-block-table'>{TABLE}</figure>"):
        assert [line for line in within(table).split("\n") if line] == expected
        assert [line for line in fragment_text(table).split("\n") if line] == expected


def test_the_tables_of_a_layout_keep_their_paragraphs() -> None:
    text = within(f"<table><tr><td>a</td><td><p>{PROSE * 4}</p><p>{PROSE * 4}</p></td></tr></table>")
    assert [line.strip() for line in text.split("\n") if line] == ["a", PROSE * 4, PROSE * 4]


CODE = "def f():\n    return 1\n\n\tx = 2"
SHOWN = [
    f"<pre>{CODE}</pre>",
    f"<pre><code>{CODE}\n</code></pre>",
    f"<pre>{CODE.replace(chr(10), '<br>')}</pre>",
    f"<div class=highlight><pre><span class=k>def</span>{CODE[3:]}</pre></div>",
    "<table class=highlighttable><tr><td class=linenos><div class=linenodiv><pre>1\n2\n3\n4</pre></div></td>"
    f"<td class=code><div class=highlight><pre>{CODE}</pre></div></td></tr></table>",
    "<pre>" + "".join(f"<span class=lineno>{i} </span>{x}\n" for i, x in enumerate(CODE.split("\n"))) + "</pre>",
    f"<pre class=line-numbers><code>{CODE}<span class=line-numbers-rows>1 2 3 4</span></code></pre>",
]


@pytest.mark.parametrize("code", SHOWN)
def test_code_keeps_its_lines_and_has_no_line_numbers(code: str) -> None:
    assert within(code) == CODE
    assert fragment_text(f"<p>x</p>{code}").removeprefix("x").strip("\n") == CODE


def test_a_caption_stands_once_and_without_the_credit_of_its_picture() -> None:
    figure = "<figure><img src=m.jpg alt='a mill'><figcaption>{}</figcaption></figure>"
    assert within(figure.format("The mill in winter")) == "The mill in winter"
    assert within(figure.format("The mill in winter. Foto: A. Miller")) == "The mill in winter."
    assert within(figure.format("© A. Miller")) == ""
    assert fragment_text(figure.format("The mill © 1920")) == "The mill © 1920"


KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
    '<annotation encoding="application/x-tex">x^2</annotation></semantics></math></span>'
    '<span class="katex-html" aria-hidden="true"><span class="base">x<span>2</span></span></span></span>'
)
MATHML = "<math><msup><mi>x</mi><mn>2</mn></msup></math>"
WIKIPEDIA = (
    '<span class="mwe-math-element"><span class="mwe-math-mathml-inline" style="display: none;">'
    '<math alttext="{\\displaystyle x^2}"><semantics><mi>x</mi><annotation encoding="application/x-tex">'
    "{\\displaystyle x^2}</annotation></semantics></math></span>"
    '<img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/a" alt="{\\displaystyle x^2}"></span>'
)
INLINE = {
    "MathJax 2, script": '<script type="math/tex">x^2</script>',
    "MathJax 2, preview": '<span class="MathJax_Preview">x2</span><script type="math/tex">x^2</script>',
    "MathJax 2, rendered": '<span class="MathJax"><nobr>x2</nobr></span><script type="math/tex">x^2</script>',
    "MathJax 2, MathML": '<script type="math/mml"><math><msup><mi>x</mi><mn>2</mn></msup></math></script>',
    "MathJax 3": '<mjx-container class="MathJax" jax="CHTML"><mjx-math aria-hidden="true"><mjx-mi></mjx-mi></mjx-math>'
    f"<mjx-assistive-mml>{MATHML}</mjx-assistive-mml></mjx-container>",
    "MathJax 4": '<mjx-container class="MathJax"><mjx-math data-latex="x^2"></mjx-math></mjx-container>',
    "KaTeX": KATEX,
    "MathML": MATHML,
    "LaTeXML": '<math alttext="x^2" display="inline"><mi>x</mi></math>',
    "Wikipedia": WIKIPEDIA,
    "Wikipedia, picture": '<img class="mwe-math-fallback-image-inline" alt="{\\displaystyle x^2}" src="a.svg">',
    "old Wikipedia": '<img class="tex" alt="x^2" src="a.png">',
    "WordPress": '<img src="https://s0.wp.com/latex.php?latex=x%5E2&amp;bg=ffffff" alt="x^2" class="latex">',
    "CodeCogs": '<img src="https://latex.codecogs.com/gif.latex?x^2" alt="x^2">',
    "Zhihu": '<span class="ztext-math" data-tex="x^2"><span>x2</span></span>',
    "text": "$x^2$",
}


@pytest.mark.parametrize("name", INLINE)
def test_a_formula_stands_once_as_tex(name: str) -> None:
    assert within(f"<p>Let {INLINE[name]} be large.</p>") == "Let $x^2$ be large."
    assert fragment_text(f"<p>Let {INLINE[name]} be large.</p>") == "Let $x^2$ be large."


DISPLAYED = [
    '<script type="math/tex; mode=display">x^2</script>',
    f'<span class="katex-display">{KATEX}</span>',
    MATHML.replace("<math", '<math display="block"'),
    '<img class="mwe-math-fallback-image-display" alt="x^2">',
    f'<mjx-container display="true"><mjx-assistive-mml>{MATHML}</mjx-assistive-mml></mjx-container>',
]


@pytest.mark.parametrize("formula", DISPLAYED)
def test_a_displayed_formula_is_a_line(formula: str) -> None:
    assert within(f"<p>Let {formula} be large.</p>").split("\n") == ["Let", "$$x^2$$", "be large."]


@pytest.mark.parametrize(
    ("mathml", "tex"),
    [
        ("<mfrac><mn>1</mn><msqrt><mi>x</mi></msqrt></mfrac>", "\\frac{1}{\\sqrt{x}}"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>", "∑_{i=1}^n"),
        ("<mi>sin</mi><mo>\u2061</mo><mi>x</mi>", "\\sin x"),
        ("<msub><mi>x</mi><mn>12</mn></msub>", "x_{12}"),
        ("<mover><mi>x</mi><mo>¯</mo></mover>", "\\bar{x}"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "\\sqrt[3]{x}"),
        ("<mfenced open='['><mi>a</mi><mi>b</mi></mfenced>", "[a, b)"),
        ("<mtext>if </mtext>", "\\text{if}"),
        (
            "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr><mtr><mtd><mi>c</mi></mtd></mtr></mtable>",
            "\\begin{matrix} a & b \\\\ c \\end{matrix}",
        ),
    ],
)
def test_mathml_without_tex_becomes_tex(mathml: str, tex: str) -> None:
    assert fragment_text(f"<p><math>{mathml}</math></p>") == f"${tex}$"


HUGE = ["<math>" + "<mrow>" * 400 + "x", "<math>" + "<mi>x</mi>" * 50_000, "<math>", KATEX * 2000]


@pytest.mark.parametrize("formula", HUGE)
def test_huge_formulas_take_no_time(formula: str) -> None:
    (text,) = texts(f"<body><p>{PROSE}</p>{formula}</body>")
    assert text is not None


def test_a_character_alone_in_an_element_is_text() -> None:
    """resiliparse alone takes it for the icon of a font."""
    sentence = "漢字の文章です。" * 40
    table = "<table><tr><td>男</td><td> 女 </td></tr></table>"
    assert texts(f"<article><p>{sentence}<b>字</b>文<i>。</i></p>{table}</article>") == [
        f"{sentence}字文。\n\n男\t\t女"
    ]
    assert texts(f"<article><p>{PROSE}<i>\ue123</i></p></article>") == [PROSE]


def test_line_breaks_between_characters_of_scripts_without_spaces_are_none() -> None:
    sentence = "漢字の\n文章\n  です。\n" * 40
    assert texts(f"<article><p>{sentence}</p></article>") == ["漢字の文章です。" * 40]
    assert fragment_text("<p>漢字\n漢字 and\n한국\n어</p>") == "漢字漢字 and 한국 어"


XHTML = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x"/></head><body>'


@pytest.mark.parametrize(
    ("media", "begin"),
    [
        ("application/xhtml+xml", "<html><head><title/><style/></head><body>"),
        ("text/html", XHTML),
        ("text/html", XHTML.partition("?>")[2]),
        ("application/xml", XHTML),
        ("", XHTML),
    ],
)
@pytest.mark.parametrize("end", ["</body></html>", "<p>not <b>well-formed & more</p>"])
def test_xhtml_is_read_as_xml_where_the_page_says_that_it_is(media: str, begin: str, end: str) -> None:
    page = f'{begin}<div/><a id="x"/><iframe src="v"/><p>{PROSE}&nbsp;x</p><textarea/><p>{PROSE}</p>{end}'
    (text,) = texts(page, media=media)
    assert text is not None
    assert text.count(PROSE) == 2
    assert "\xa0x" in text


def test_an_expanded_page_has_the_limit_of_any_other() -> None:
    page = f"{XHTML}<p>{PROSE}</p>{'<a/>' * 1000}</body></html>"
    schema = pa.schema([RAW.field(name) for name in ("text", "url", "content", "content_type")])
    batch = pa.RecordBatch.from_pylist([{"content": page.encode(), "content_type": "text/html"}], schema)
    (row,) = Extract(max_page_bytes=len(page) + 100).apply(batch).to_pylist()
    assert row["quarantined_by"] == "extract.too_large"


def test_prefixes_and_entities_of_xhtml_are_resolved() -> None:
    page = (
        '<!DOCTYPE html [<!ENTITY mill "The Old Mill"><!ENTITY dash "&#8212;"><!ENTITY bad "<b>">]>'
        '<h:html xmlns:h="http://www.w3.org/1999/xhtml" xmlns:m="http://www.w3.org/1998/Math/MathML"><h:body>'
        f"<h:p>&mill; &dash; <m:math><m:mi>x</m:mi></m:math> {PROSE}</h:p></h:body></h:html>"
    )
    assert texts(page, media="application/xhtml+xml") == [f"The Old Mill — $x$ {PROSE}"]


def test_of_the_list_items_in_the_reference_of_real_pages_95_in_100_are_kept(shared_data: Path) -> None:
    files = {}
    stream = zstandard.ZstdDecompressor().stream_reader((shared_data / "web" / "html-readability.tar.zst").read_bytes())
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.name.endswith(("__source.html", "__expected.html")):
                files[member.name.rpartition("/")[2]] = archive.extractfile(member).read()  # type: ignore[union-attr]
    names = [name.removesuffix("expected.html") for name in files if name.endswith("expected.html")]
    found = texts(*(files[name + "source.html"].decode("utf-8", "replace") for name in names))
    items = kept = 0
    for name, text in zip(names, found, strict=True):
        wanted = files[name + "expected.html"].decode()
        for item in re.findall(r"<li\b[^>]*>((?:(?!<li\b).)*?)</li>", wanted, re.DOTALL):
            letters = re.sub(r"\W", "", fragment_text(item))
            items += len(letters) >= 30
            kept += len(letters) >= 30 and letters in re.sub(r"\W", "", text or "")
    assert items > 500
    assert kept / items >= 0.95
