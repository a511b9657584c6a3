"""`machine:` on a computer made for the test and on this one; manual pages against their plain words."""

from __future__ import annotations

import gzip
import struct
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
from reading import read_rows, read_table

from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.machine import catalogue_text, missing, shares
from gristmill.pipeline.readers.markup.roff import render
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.source import SourceSpec

PAGE = r"""'\" t
.\" a comment
.TH LS 1 "May 2020" "GNU"
.SH NAME
ls \- list directory contents
.SH DESCRIPTION
.de XX
never shown
..
List \fIinformation\fP about
.BR files (5),
.B \-\-all
\(bu \(lqquoted\(rq \[u00E9] caf\['e] na\(:ive.
.if t shown by typesetters only
.ie n on \
terminals
.el on paper
.TP
.B \-a
do not ignore \&.
.nf
kept   as
  it is
.fi
.TS
tab(:);
l l.
one:two
T{
three
T}:four
.TE
.ds Na Name
\*(Na and \*[Na].
"""

RENDERED = """LS(1)

NAME
ls - list directory contents

DESCRIPTION
List information about files(5), --all • “quoted” é café naïve. on terminals
-a do not ignore .
kept   as
  it is
one  two
three  four

Name and Name."""


def test_a_manual_page_becomes_its_words() -> None:
    assert render(PAGE) == RENDERED


def test_a_bsd_manual_page_becomes_its_words() -> None:
    page = """.Dd May 1, 2020
.Dt SSH 1
.Os
.Sh NAME
.Nm ssh
.Nd remote login
.Sh SYNOPSIS
.Nm
.Op Fl 46A
.Op Fl b Ar address
.Ar host
.Sh DESCRIPTION
.Nm
connects, see
.Xr sshd 8 ,
.Pq or Dq nothing .
.Bl -tag
.It Fl v , Fl Fl verbose
Verbose.
.El
"""
    assert render(page) == (
        "SSH(1)\n\nNAME\nssh - remote login\n\nSYNOPSIS\nssh [-46A] [-b address] host\n\nDESCRIPTION\n"
        "ssh connects, see sshd(8), (or “nothing”).\n-v, --verbose Verbose."
    )


def test_a_page_that_points_to_another_has_no_words() -> None:
    assert render(".so man1/ls.1\n") == ""


@pytest.mark.parametrize(
    "junk",
    ["", ".", "'", ".SH", ".TP\n.TP", ".if", ".ie n \\{", ".TS\nl", "\\", ".Dd\n.It", ".Dd\n.Op Fl", ".B \\", '.B "'],
)
def test_broken_pages_render_to_something(junk: str) -> None:
    assert isinstance(render(junk), str)


def catalogue(**messages: str) -> bytes:
    """A compiled gettext catalogue (GNU gettext manual, section 10.3)."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    ids, texts, offsets = b"", b"", []
    for key, text in pairs:
        raw_key, raw_text = key.encode(), text.encode()
        offsets.append((len(raw_key), len(ids), len(raw_text), len(texts)))
        ids, texts = ids + raw_key + b"\0", texts + raw_text + b"\0"
    start = 28 + 16 * len(pairs)
    keys = b"".join(struct.pack("<II", n, start + at) for n, at, _, _ in offsets)
    values = b"".join(struct.pack("<II", n, start + len(ids) + at) for _, _, n, at in offsets)
    return struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0) + keys + values + ids + texts


def computer(root: Path) -> SourceSpec:
    stdlib, site = (sysconfig.get_paths()[name].lstrip("/") for name in ("stdlib", "purelib"))
    files = {
        "usr/share/man/man1/ls.1.gz": gzip.compress(PAGE.encode()),
        "usr/share/man/de/man1/ls.1.gz": gzip.compress(b".TH LS 1\nVerzeichnisse auflisten.\n"),
        "usr/share/man/ja/man1/x.1": '.\\" -*- coding: EUC-JP -*-\n.TH X 1\n日本語\n'.encode("euc-jp"),
        "usr/share/man/man1/dir.1": b".so man1/ls.1\n",
        "usr/share/doc/ls/copyright": b"GPL\n",
        "usr/share/doc/ls/changelog.gz": gzip.compress(b"* fixed\n"),
        "usr/share/doc/ls/index.html": b"<p>x</p>",
        "usr/share/doc/ls/README": b"caf\xe9",
        "usr/share/doc/ls/shot.png": b"\x89PNG",
        "usr/share/locale/fr/LC_MESSAGES/ls.mo": catalogue(file="fichier", same="same", dir="dossier"),
        "usr/share/locale/pt_BR/LC_MESSAGES/bad.mo": b"not a catalogue",
        "usr/lib/tcl8.6/a.tcl": b"puts hello\n",
        "usr/lib/thing/.hidden.py": b"secret = 1\n",
        "etc/passwd.py": b"root\n",
        "home/me/notes.py": b"private\n",
        f"{stdlib}/os.py": b"import sys\n",
        f"{site}/pkg/mod.c": b"int x;\n",
        f"{site}/pkg-1.dist-info/METADATA": b"Name: pkg\n\n# Read me\n",
        f"{site}/__editable___me.py": b"import private\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "usr/lib/link.py").symlink_to(root / "home/me/notes.py")
    (root / "usr/lib/linked").symlink_to(root / "home/me")
    return SourceSpec("machine", f"machine:{root}")


def test_each_kind_of_file_becomes_a_document_of_its_kind(tmp_path: Path) -> None:
    rows = {row["path"]: row for row in read_table(computer(tmp_path)).to_pylist()}
    assert {path: (row["domain"], row["language"]) for path, row in rows.items()} == {
        "man/man1/ls.1.gz": ("prose", "en"), "man/de/man1/ls.1.gz": ("prose", "de"), "man/ja/man1/x.1": ("prose", "ja"),
        "doc/ls/copyright": ("prose", None), "doc/ls/changelog.gz": ("prose", None),
        "doc/ls/index.html": ("prose", None), "doc/ls/README": ("prose", None),
        "locale/fr/LC_MESSAGES/ls.mo": ("prose", "fr"), "locale/pt_BR/LC_MESSAGES/bad.mo": ("prose", None),
        "lib/tcl8.6/a.tcl": ("code", "tcl"),
        "stdlib/os.py": ("code", "python"), "site-packages/pkg/mod.c": ("code", "c"),
        "site-packages/pkg-1.dist-info/METADATA": ("prose", None),
    }  # fmt: skip
    assert rows["man/man1/ls.1.gz"]["text"] == RENDERED
    assert rows["man/ja/man1/x.1"]["text"] == "X(1)\n日本語"
    assert rows["locale/fr/LC_MESSAGES/ls.mo"]["text"] == "dossier\nfichier"
    assert rows["site-packages/pkg-1.dist-info/METADATA"]["text"] == "# Read me\n"
    assert rows["doc/ls/index.html"]["content"] == b"<p>x</p>"
    assert rows["doc/ls/copyright"]["category"] == "legal"
    assert rows["doc/ls/README"]["quarantined_by"] == "read.invalid_utf8"
    assert rows["locale/pt_BR/LC_MESSAGES/bad.mo"]["quarantined_by"] == "read.malformed_catalogue"
    assert not any(row["timestamp"] for row in rows.values())


def test_a_restricted_source_takes_the_files_of_its_domain(tmp_path: Path) -> None:
    uri = computer(tmp_path).uri
    code = read_rows(uri, domain="code")
    foreign = read_rows(uri, domain="multilingual")
    assert {row["language"] for row in code} == {"tcl", "python", "c"}
    assert {row["language"] for row in foreign} == {"de", "ja", "fr", None}


def test_a_computer_without_manuals_is_named_in_a_sentence_and_read(tmp_path: Path) -> None:
    spec = computer(tmp_path)
    assert missing(spec) == []
    for folder in ("man", "locale"):
        (tmp_path / "usr/share" / folder).rename(tmp_path / folder)
    assert [sentence.partition(" has ")[0].rpartition("/")[2] for sentence in missing(spec)] == ["man", "locale"]
    assert len(inventory([spec])) > 5
    with pytest.raises(ValueError, match="nothing to read"):
        inventory([SourceSpec("m", f"machine:{tmp_path / 'nowhere'}")])


def test_shares_are_even_and_what_one_cannot_fill_goes_to_the_others() -> None:
    assert shares({"a": 10, "b": 100, "c": 1000}, 310) == {"a": 10, "b": 100, "c": 200}
    assert shares({"a": 10, "b": 100}, 1000) == {"a": 10, "b": 100}
    assert sum(shares({str(i): 100 for i in range(7)}, 100).values()) == 100


def test_the_cap_is_shared_over_kinds_and_the_choice_is_the_same_each_time(tmp_path: Path) -> None:
    spec = computer(tmp_path)
    capped = SourceSpec(spec.name, spec.uri, max_bytes=600)
    chosen = inventory([capped])
    assert chosen == inventory([capped])
    assert len(chosen) < len(inventory([spec]))
    assert len({entry.path.partition("/")[0] for entry in chosen}) >= 4


def test_a_catalogue_gives_its_translations_in_the_order_of_the_originals() -> None:
    assert catalogue_text(catalogue(b="zwei", a="eins", untranslated="untranslated")) == "eins\nzwei"


@pytest.mark.slow
def test_this_computer_gives_code_and_prose_without_a_broken_row_for_good_files() -> None:
    spec = SourceSpec("machine", "machine:", max_bytes=10_000_000)
    languages: Counter[str] = Counter()
    quarantined = rows = 0
    for partition in partitions(inventory([spec]), 256_000_000):
        for batch in read(partition, spec):
            rows += batch.num_rows
            quarantined += batch.num_rows - batch.column("quarantined_by").null_count
            code = batch.filter(batch.column("domain").is_valid())
            languages.update(code.column("language").to_pylist())
    assert rows > 100
    assert quarantined < 0.05 * rows
    assert len(languages) >= 5  # a slim container has Python, C, C++, Cython, CUDA headers and the like
