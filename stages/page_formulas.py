"""The formulas of a page, each once, as TeX where the page has TeX: `$x^2$`, displayed ones `$$x^2$$`.

    MathJax 2     <script type="math/tex"> (mode=display) beside what it rendered, or a preview
    MathJax 3, 4  <mjx-container>: data-latex, or the MathML for screen readers
    KaTeX         <span class="katex">: MathML with the TeX as annotation, and the same again as HTML
    Wikipedia     <span class="mwe-math-element">: MathML and a picture
    MathML        annotation in TeX, `alttext` (LaTeXML), else `page_mathml`
    pictures      <img class="tex" alt="…">: WordPress, old Wikipedia; by the address CodeCogs, Zhihu

An extractor alone drops the scripts and pictures and writes MathML's characters together with its annotation. What a
page writes as text, `\\(x^2\\)` or `$x^2$`, stays as it is.
"""

from __future__ import annotations

import re
from typing import Any

from gristmill.stages.page_mathml import TOKENS, Math, mathml_tex

MAX_FORMULAS = 5000
MAX_NODES = 10_000
"""Elements of one formula, and 100 in each other; a larger one is its characters."""
MAX_DEPTH = 100

_TEX = "annotation[encoding*=tex i]"
_FOUND = (
    "script[type^='math/' i], .katex-display, .katex, mjx-container, .mwe-math-element, .MathJax, .MathJax_Display, "
    "math, img.tex, img.latex, img[class*=mwe-math], img[src*=latex], img[src*='tex='], img[src*='math/render/'], "
    "[data-tex]"
)
_RENDERED = (
    ".MathJax_Preview, .MathJax, .MathJax_Display, .MathJax_SVG, .MathJax_SVG_Display, .MathJax_CHTML, .mjx-chtml, "
    ".MJXc-display, .MJX_Assistive_MathML"
)
"""What MathJax 2 puts beside its scripts."""
_DELIMITED = re.compile(r"^(?:\$\$(.*)\$\$|\$(.*)\$|\\\((.*)\\\)|\\\[(.*)\\\])$", re.DOTALL)
_STYLE = re.compile(r"^\{\\(?:display|text)style\s(.*)\}$", re.DOTALL)
_PICTURE = re.compile(r"latex\.php|latex\.codecogs|codecogs\.com/\w+\.latex|[?&](?:tex|latex)=|/math/render/", re.I)


def write_formulas(tree: Any) -> None:
    """Puts text in the place of every formula of a `resiliparse.parse.html.HTMLTree`."""
    document = tree.document
    if document.query_selector("script[type^='math/tex' i]") is not None:
        for element in document.query_selector_all(_RENDERED)[:MAX_FORMULAS]:
            element.remove()
    for element in document.query_selector_all(_FOUND)[:MAX_FORMULAS]:
        if element.closest("body") is None:  # within one that was replaced
            continue
        found = _formula(element)
        if found is None:
            continue
        tex, displayed = found
        text = f"$${tex}$$" if displayed else f"${tex}$"
        written = tree.create_text_node(text if tex else "")
        if displayed and tex:
            block = tree.create_element("div")
            block.append_child(written)
            written = block
        element.replace_with(written)


def _formula(element: Any) -> tuple[str, bool] | None:
    """(TeX, whether it is displayed); None where the element is no formula that can be written."""
    tag, classes = element.tag, (element.getattr("class") or "").split()
    if tag == "script":
        kind = (element.getattr("type") or "").lower()
        if kind.startswith("math/mml"):
            return _of_source(element.text or "")
        return _tidy(element.text or ""), "mode=display" in kind.replace(" ", "")
    if tag == "img":
        return _of_picture(element, classes)
    if tag == "math":
        return _of_mathml(element)
    displayed = (tag == "mjx-container" and element.getattr("display") == "true") or bool(
        {"katex-display", "MathJax_Display"} & set(classes)
    )
    stated = element.getattr("data-tex") or element.getattr("data-latex")
    if stated is None and tag == "mjx-container":
        holder = element.query_selector("[data-latex]")
        stated = holder.getattr("data-latex") if holder is not None else None
    if stated:
        return _tidy(stated), displayed
    math = element.query_selector("math")
    if math is not None:
        tex, block = _of_mathml(math)
        return tex, displayed or block
    if element.getattr("data-mathml"):
        found = _of_source(element.getattr("data-mathml"))
        return found and (found[0], found[1] or displayed)
    image = element.query_selector("img[alt]")
    if image is not None and "mwe-math-element" in classes:
        return _of_picture(image, (image.getattr("class") or "").split())
    return None


def _of_mathml(math: Any) -> tuple[str, bool]:
    annotation = math.query_selector(_TEX)
    stated = annotation.text if annotation is not None else math.getattr("alttext")
    displayed = math.getattr("display") == "block" or math.getattr("mode") == "display"
    return _tidy(stated or _structure(math)), displayed


def _of_source(source: str) -> tuple[str, bool] | None:
    from resiliparse.parse.html import HTMLTree

    document: Any = HTMLTree.parse(source).document
    math = document.query_selector("math")
    return None if math is None else _of_mathml(math)


def _of_picture(image: Any, classes: list[str]) -> tuple[str, bool] | None:
    marked = "tex" in classes or "latex" in classes or any(name.startswith("mwe-math") for name in classes)
    if not marked and not _PICTURE.search(image.getattr("src") or ""):
        return None
    tex = _tidy(image.getattr("alt") or "")
    displayed = any(name.endswith("-display") for name in classes) or image.getattr("eeimg") == "2"
    return (tex, displayed) if tex else None


def _structure(math: Any) -> str:
    if len(math.query_selector_all("*")) > MAX_NODES:
        return " ".join((math.text or "").split())
    return mathml_tex(_node(math, 0))


def _node(element: Any, depth: int) -> Math:
    tag = element.tag
    inner = element.children[:] if depth < MAX_DEPTH and tag not in TOKENS else []
    attributes = {name: element.getattr(name) or "" for name in element.attrs} if tag == "mfenced" else {}
    text = "" if inner else element.text or ""
    return Math(tag, text, attributes, [_node(child, depth + 1) for child in inner])


def _tidy(tex: str) -> str:
    """Without delimiters, which are written around it, and without the style that Wikipedia sets."""
    tex = tex.strip()
    for pattern in (_DELIMITED, _STYLE):
        if found := pattern.match(tex):
            tex = next(part for part in found.groups() if part is not None).strip()
    return tex if "%" in tex else " ".join(tex.split())
