"""The stage pii: what is found is counted and replaced, or its document leaves; a second application finds nothing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pii_definition import emails, ipv4

from gristmill.kernels.text.pii_patterns import KINDS
from gristmill.stages.interface import DocumentStage
from gristmill.stages.pii import COLUMNS, STYLES, Pii

LETTER = (
    "Write to jo@web.de or +49 30 901820, pay with 4012 8888 8888 1881 or to DE89 3704 0044 0532 0130 00; "
    "host 81.2.69.142, CPF 457.394.463-09, key ghp_16C7e42F292c6912E7710c838347Ae178B4a."
)
REPLACED = (
    "Write to <EMAIL> or <PHONE_NUMBER>, pay with <CARD_NUMBER> or to <BANK_ACCOUNT>; "
    "host <IP_ADDRESS>, CPF <NATIONAL_ID>, key <KEY>."
)


def batch(
    texts: Sequence[str | None], domain: str = "english", language: str = "en", **columns: list
) -> pa.RecordBatch:
    arrays = {
        "text": pa.array(texts, pa.large_string()),
        "domain": pa.array([domain] * len(texts), pa.string()),
        "language": pa.array([language] * len(texts), pa.string()),
        **{name: pa.array(values, pa.string()) for name, values in columns.items()},
    }
    return pa.RecordBatch.from_pydict(arrays)


def test_it_is_a_document_stage_with_a_column_for_every_kind() -> None:
    assert isinstance(Pii(), DocumentStage)
    assert tuple(COLUMNS) == KINDS
    assert Pii().adds == tuple(COLUMNS.values())
    assert Pii(kinds=("ip", "email")).adds == ("pii_emails", "pii_ips")
    assert Pii().edits
    assert not Pii(action="drop").edits


def test_every_kind_is_replaced_and_counted() -> None:
    result = Pii().apply(batch([LETTER, "nothing here", LETTER + LETTER]))
    assert result.column("text").to_pylist() == [REPLACED, "nothing here", REPLACED + REPLACED]
    for column in COLUMNS.values():
        assert result.column(column).to_pylist() == [1, 0, 2]
    assert result.column("dropped_by").null_count == 3


@pytest.mark.parametrize("style", STYLES)
def test_a_second_application_finds_nothing(style) -> None:
    once = Pii(style=style).apply(batch([LETTER, LETTER * 3], domain="code", language="python"))
    again = Pii(style=style).apply(once.select(["text", "domain", "language"]))
    assert again.column("text") == once.column("text")
    assert [sum(again.column(name).to_pylist()) for name in COLUMNS.values()] == [0] * len(COLUMNS)


def test_placeholders_are_configurable() -> None:
    stage = Pii(style="dolma", replacements={"key": ""}, kinds=("email", "key"))
    [text] = stage.apply(batch([LETTER])).column("text").to_pylist()
    assert "|||EMAIL_ADDRESS||| or +49 30" in text
    assert text.endswith("key .")


def test_documents_with_too_many_are_dropped_as_dolma_does() -> None:
    texts = [" ".join(f"a{k}@web.de" for k in range(n)) for n in (0, 5, 6)]
    result = Pii(max_per_document=5).apply(batch(texts))
    assert result.column("dropped_by").to_pylist() == [None, None, "pii.too_many"]
    assert result.column("value").to_pylist() == [None, None, 6]
    assert result.column("limit").to_pylist() == [None, None, 5]
    assert result.column("text").to_pylist() == [texts[0], " ".join(["<EMAIL>"] * 5), texts[2]]
    dropped = Pii(action="drop").apply(batch(texts))
    assert dropped.column("dropped_by").to_pylist() == [None, "pii.too_many", "pii.too_many"]
    assert dropped.column("text").to_pylist() == texts


def test_rows_without_text_or_already_out_are_left_alone() -> None:
    rows = batch([None, LETTER, LETTER], dropped_by=[None, "rules.x", None], quarantined_by=[None, None, "a.b"])
    result = Pii().apply(rows)
    assert result.column("text") == rows.column("text")
    assert result.column("pii_emails").null_count == 3
    assert result.column("dropped_by").to_pylist() == [None, "rules.x", None]
    assert Pii().apply(rows.slice(0, 0)).num_rows == 0


def test_a_slice_gives_what_its_documents_give_one_by_one() -> None:
    texts = [LETTER[: 17 * k] for k in range(14)]
    whole = Pii().apply(batch(texts).slice(3, 9)).to_pylist()
    assert whole == [Pii().apply(batch([text])).to_pylist()[0] for text in texts[3:12]]


def test_a_kind_is_looked_for_where_its_scope_says() -> None:
    stage = Pii(kinds=("email",), scope={"email": ("de", "code")})
    for domain, language, count in (("multilingual", "de", 1), ("english", "en", 0), ("code", "python", 1)):
        result = stage.apply(batch(["x@web.de"], domain=domain, language=language))
        assert result.column("pii_emails").to_pylist() == [count]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ("mail",)}, "kinds: unknown kind 'mail'; use email, ip"),
        ({"replacements": {"mail": "x"}}, "replacements: unknown kind 'mail'"),
        ({"style": "mine"}, "style: unknown style 'mine'"),
        ({"action": "hide"}, "action: unknown action 'hide'"),
        ({"max_per_document": -1}, "max_per_document: -1 is negative"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"stages.pii.{re.escape(said)}"):
        Pii(**options)


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def test_addresses_of_dolma_s_e_mail_tests_are_the_ones_found(shared_data: Path) -> None:
    folder = shared_data / "labelled" / "dolma-tests-data"
    documents, expected = (
        records(folder / name) for name in ("provided/documents/000.json.gz", "expected/email-spans.json.gz")
    )
    mark = "\uffff"
    result = Pii(kinds=("email",), replacements={"email": mark}).apply(batch([d["text"] for d in documents]))
    for document, theirs, ours in zip(documents, expected, result.column("text").to_pylist()):
        pieces = ours.split(mark)
        addresses = re.findall(r"\[B-EMAIL\](.*?)\[E-EMAIL\]", theirs["text"])
        assert "".join(map("".join, zip(pieces, [*addresses, ""], strict=True))) == document["text"]
    assert sum(result.column("pii_emails").to_pylist()) == 3


def test_what_is_found_in_real_text_is_what_the_definition_finds(shared_data: Path) -> None:
    texts = []
    for path in sorted((shared_data / "labelled" / "dolma-tests-data" / "multiple_files").glob("*.jsonl")):
        texts += [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    texts = [text.encode("ascii", "replace").decode() for text in texts]
    result = Pii(kinds=("email", "ip")).apply(batch(texts))
    assert result.column("pii_emails").to_pylist() == [len(emails(text)) for text in texts]
    assert all(mine <= len(ipv4(text)) for mine, text in zip(result.column("pii_ips").to_pylist(), texts))
