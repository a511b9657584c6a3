"""PDF files written by hand: lines of text at places, in Helvetica, or in any script by a font without glyphs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HELVETICA = {
    " ": 278, "-": 333, ".": 278, ",": 278, "i": 222, "l": 222, "j": 222, "t": 278, "f": 278, "r": 333, "m": 833,
    "w": 722, "c": 500, "k": 500, "s": 500, "v": 500, "x": 500, "y": 500, "z": 500,
}  # fmt: skip
"""Widths in thousandths of the size; most letters have 556. Adobe's font metrics."""


def width(text: str, size: float) -> float:
    return sum(HELVETICA.get(letter, 556) for letter in text) * size / 1000


@dataclass(frozen=True)
class Text:
    x: float
    y: float
    text: str
    size: float = 10.0
    font: str = "F1"
    """F1: Helvetica, codes of WinAnsi. F2: any character, each as wide as high (`wide`: 1.0) or half as wide (F3)."""
    turned: bool = False
    """Written upwards."""

    def operators(self) -> bytes:
        matrix = "0 1 -1 0" if self.turned else "1 0 0 1"
        if self.font == "F1":
            shown = self.text.encode("cp1252").translate(None, b"")
            string = b"(" + shown.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") + b")"
        else:
            string = b"<" + self.text.encode("utf-16-be").hex().encode() + b">"
        return f"BT /{self.font} {self.size} Tf {matrix} {self.x} {self.y} Tm ".encode() + string + b" Tj ET\n"


@dataclass
class Pdf:
    """Objects are added by `add`; `bytes()` is the file."""

    objects: list[bytes] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    information: dict[str, str] = field(default_factory=dict)
    trailer: str = ""

    def __post_init__(self) -> None:
        self.objects = [b"", b""]  # catalog, page tree
        helvetica = self.add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
        fonts = [helvetica, self.composite(1000), self.composite(500)]
        names = " ".join(f"/F{i} {number} 0 R" for i, number in enumerate(fonts, 1))
        self.resources = f"/Resources << /Font << {names} >> >>"

    def add(self, content: bytes) -> int:
        self.objects.append(content)
        return len(self.objects)

    def stream(self, content: bytes, entries: str = "") -> int:
        data = zlib.compress(content)
        head = f"<< /Length {len(data)} /Filter /FlateDecode {entries} >>\nstream\n".encode()
        return self.add(head + data + b"\nendstream")

    def composite(self, advance: int) -> int:
        """A font whose codes are UTF-16 and that has no glyphs."""
        to_unicode = self.stream(
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /U def /CMapType 2 def "
            b"1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
            + b"".join(
                b"100 beginbfrange\n"
                + b"".join(b"<%02X00> <%02XFF> <%02X00>\n" % (high, high, high) for high in range(first, first + 100))
                + b"endbfrange\n"
                for first in (0, 100)
            )
            + b"56 beginbfrange\n"
            + b"".join(b"<%02X00> <%02XFF> <%02X00>\n" % (high, high, high) for high in range(200, 256))
            + b"endbfrange endcmap end end"
        )
        descriptor = self.add(
            b"<< /Type /FontDescriptor /FontName /Any /Flags 4 /FontBBox [0 -200 1000 800] /ItalicAngle 0 "
            b"/Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>"
        )
        font = self.add(
            f"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Any /CIDSystemInfo << /Registry (Adobe) /Ordering "
            f"(Identity) /Supplement 0 >> /FontDescriptor {descriptor} 0 R /DW {advance} >>".encode()
        )
        return self.add(
            f"<< /Type /Font /Subtype /Type0 /BaseFont /Any /Encoding /Identity-H /DescendantFonts [{font} 0 R] "
            f"/ToUnicode {to_unicode} 0 R >>".encode()
        )

    def page(self, texts: Iterable[Text] = (), extra: bytes = b"", entries: str = "", resources: str = "") -> int:
        content = self.stream(b"".join(text.operators() for text in texts) + extra)
        number = self.add(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {resources or self.resources} {entries} "
            f"/Contents {content} 0 R >>".encode()
        )
        self.pages.append(number)
        return number

    def picture(self) -> int:
        """A page that is a picture: a scan."""
        image = self.stream(
            bytes(range(256)) * 4,
            "/Type /XObject /Subtype /Image /Width 32 /Height 32 /ColorSpace /DeviceGray /BitsPerComponent 8",
        )
        return self.page((), b"612 0 0 792 0 0 cm /I Do", "", f"/Resources << /XObject << /I {image} 0 R >> >>")

    def bytes(self) -> bytes:
        kids = " ".join(f"{page} 0 R" for page in self.pages)
        self.objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
        self.objects[1] = self.objects[1] or f"<< /Type /Pages /Kids [{kids}] /Count {len(self.pages)} >>".encode()
        trailer = self.trailer
        if self.information:
            said = b" ".join(b"/%s %s" % (key.encode(), _string(value)) for key, value in self.information.items())
            trailer += f" /Info {self.add(b'<< ' + said + b' >>')} 0 R"
        out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        places = []
        for number, content in enumerate(self.objects, 1):
            places.append(len(out))
            out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
        out += b"".join(b"%010d 00000 n \n" % place for place in places)
        out += f"trailer << /Size {len(places) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
        return bytes(out)


def _string(text: str) -> bytes:
    return b"<" + (b"\xfe\xff" + text.encode("utf-16-be")).hex().encode() + b">"


def column(x: float, top: float, lines: Iterable[str], leading: float = 12.0, size: float = 10.0) -> list[Text]:
    return [Text(x, top - i * leading, line, size) for i, line in enumerate(lines)]


def document(*pages: Iterable[Text], information: Mapping[str, str] | None = None) -> bytes:
    pdf = Pdf(information=dict(information or {}))
    for texts in pages:
        pdf.page(texts)
    return pdf.bytes()


def wrapped(text: str, points: float, size: float = 10.0) -> list[str]:
    """Lines of at most `points`, as a simple word processor breaks them."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(f"{lines[-1]} {word}", size) <= points:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
