"""Language identification beside fastText itself, domains, and the tables of names."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from gristmill.stages.interface import DocumentStage
from gristmill.stages.language import Language, identify
from gristmill.stages.languages import (
    DEFAULT_LANGUAGES,
    PROGRAMMING_LANGUAGES,
    iso_code,
    language_of_path,
    programming_language,
)

ENGLISH = "The quick brown fox jumps over the lazy dog\nand runs into the forest.\n"
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und läuft in den Wald."
ESPERANTO = "La rapida bruna vulpo saltas super la maldiligentan hundon kaj kuras en la arbaron."


@pytest.fixture(scope="session")
def model(shared_data: Path) -> str:
    return str(shared_data / "models" / "lid.176.ftz")


def batch(texts: list[str | None], domains: list[str | None] | None = None, **columns: list) -> pa.RecordBatch:
    arrays = {
        "text": pa.array(texts, pa.large_string()),
        "domain": pa.array(domains or [None] * len(texts), pa.string()),
        "language": pa.array([None] * len(texts), pa.string()),
        **{name: pa.array(values) for name, values in columns.items()},
    }
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def test_it_is_a_document_stage() -> None:
    assert isinstance(Language(), DocumentStage)


def test_the_domain_follows_the_language(model: str) -> None:
    result = Language(model=model).apply(
        batch(
            [ENGLISH, GERMAN, "print(1)"],
            [None, None, "code"],
        )
    )
    assert result.column("language").to_pylist() == ["en", "de", None]
    assert result.column("domain").to_pylist() == ["english", "multilingual", "code"]
    assert result.column("dropped_by").null_count == 3
    scores = result.column("language_score")
    assert scores.type == pa.float64()
    assert scores[2].as_py() is None
    assert 0.5 < scores[0].as_py() <= 1.0


def test_code_keeps_its_programming_language_whatever_its_words_are(model: str) -> None:
    code = batch([GERMAN], ["code"]).set_column(2, "language", pa.array(["python"]))
    (row,) = Language(model=model).apply(code).to_pylist()
    assert (row["language"], row["domain"], row["dropped_by"]) == ("python", "code", None)


def test_each_reason_to_leave_has_its_value_and_limit(model: str) -> None:
    texts = ["xq zzt 00", ESPERANTO, GERMAN, ENGLISH]
    result = Language(model=model).apply(batch(texts, [None, None, "english", "multilingual"])).to_pylist()
    assert [row["dropped_by"] for row in result] == [
        "language.score", "language.unlisted", "language.unexpected", "language.unexpected",
    ]  # fmt: skip
    assert [row["limit"] for row in result] == [0.5, None, None, None]
    assert all(row["value"] == row["language_score"] for row in result)
    assert result[1]["language"] == "eo"


def test_rows_without_text_or_already_out_stay_as_they_are(model: str) -> None:
    rows = batch([None, GERMAN, GERMAN], dropped_by=[None, "lines.empty", None], quarantined_by=[None, None, "read.x"])
    result = Language(model=model).apply(rows).to_pylist()
    assert [row["language"] for row in result] == [None, None, None]
    assert [row["dropped_by"] for row in result] == [None, "lines.empty", None]
    assert Language(model=model).apply(batch([])).num_rows == 0


def test_labels_and_scores_are_those_of_fasttext(model: str, shared_data: Path) -> None:
    import fasttext

    with (shared_data / "labelled" / "lid-udhr.jsonl.zst").open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        texts = [json.loads(line)["text"] for line in islice(stream, 500)]
    texts += ["", "\n\n", "a\0b", "é" * 5000, "one\ntwo"]
    codes, scores = identify(pa.array(texts, pa.large_string()), model)
    oracle = fasttext.load_model(model)
    labels, probabilities = oracle.predict([text.replace("\n", " ") for text in texts])
    assert codes.to_pylist() == [iso_code(found[0]) for found in labels]
    assert scores.to_pylist() == pytest.approx([min(1.0, float(found[0])) for found in probabilities], abs=1e-4)


@pytest.mark.parametrize("window", ["whole", "first", "three"])
@pytest.mark.slow
def test_the_engine_fasttext_makes_the_same_columns(model: str, shared_data: Path, window: str) -> None:
    texts = [row["text"] for row in records(shared_data / "labelled" / "lid-udhr.jsonl.zst")[:300]]
    texts += [row["text"] for row in records(shared_data / "multilingual" / "wikipedia-zh.jsonl.zst", 40)]
    texts += [
        "",
        "\n\n",
        "a\0b",
        "é" * 5000,
        "one\ntwo",
        "so </s> und weiter",
        "__label__de alone",
        ENGLISH * 9 + GERMAN * 9,
    ]
    given = batch([*texts, None, "print(1)"], [None] * (len(texts) + 1) + ["code"])
    ours, library = (
        Language(model=model, line_share=True, engine=engine, window=window, window_bytes=500).apply(given)
        for engine in ("gristmill", "fasttext")
    )
    assert library.schema.equals(ours.schema)
    for name in ours.schema.names:
        values, expected = ours.column(name).to_pylist(), library.column(name).to_pylist()
        if ours.column(name).type == pa.float64():
            assert [value is None for value in values] == [value is None for value in expected]
            assert [v for v in values if v is not None] == pytest.approx(
                [v for v in expected if v is not None], abs=1e-4
            )
        else:
            assert values == expected, name
    assert ours.column("language_share").null_count < len(texts)


def test_a_reference_engine_names_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Language().libraries, Language(engine="fasttext").libraries) == ((), ("fasttext",))
    with pytest.raises(ValueError, match="unknown engine 'cld3'; use gristmill or fasttext"):
        Language(engine="cld3")
    monkeypatch.setattr("gristmill.extras.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'engine: fasttext needs fasttext, .*pip install "gristmill.reference."'):
        Language(engine="fasttext")


def records(path: Path, step: int = 1) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        return [json.loads(line) for line in islice(stream, 0, None, step)]


def test_what_the_source_stated_stays_beside_what_was_found(model: str) -> None:
    stated = ["de", None, "nb_NO", "python", "zz", ""]
    rows = batch([ENGLISH, GERMAN, GERMAN, "print(1)", GERMAN, GERMAN], [None, None, None, "code", None, None])
    rows = rows.set_column(2, "language", pa.array(stated, pa.string()))
    result = Language(model=model).apply(rows).to_pylist()
    assert [row["language_labelled"] for row in result] == ["de", None, "no", None, "zz", None]
    assert [row["language"] for row in result] == ["en", "de", "de", "python", "de", "de"]
    assert {row["dropped_by"] for row in result} == {None}


@pytest.mark.parametrize("name", ["gnome-user-docs", "debian-handbook"])
def test_english_pages_under_another_label_end_in_english(model: str, shared_data: Path, name: str) -> None:
    """Manuals that were translated in part: a page is English if 97 % of it are lines of the English edition."""
    rows = records(shared_data / "multilingual" / f"{name}.jsonl.zst")
    english = {line for row in rows if row["lang"] == "en" for line in row["text"].split("\n")}

    def untranslated(text: str) -> float:
        return sum(len(line) for line in text.split("\n") if line in english) / len(text.replace("\n", ""))

    left = [row for row in rows if row["lang"] != "en" and untranslated(row["text"]) > 0.97]
    assert len(left) > (600 if name == "debian-handbook" else 2500)
    given = batch([row["text"] for row in left]).set_column(2, "language", pa.array([row["lang"] for row in left]))
    result = Language(model=model).apply(given)
    assert set(result.column("language_labelled").to_pylist()) == {iso_code(row["lang"]) for row in left}
    wrong = [row["id"] for row, found in zip(left, result.column("language").to_pylist()) if found != "en"]
    assert wrong == []
    assert result.column("domain").unique().to_pylist() == ["english"]


@pytest.mark.parametrize("window", ["first", "three"])
def test_a_window_finds_what_the_whole_text_does(model: str, shared_data: Path, window: str) -> None:
    texts = [row["text"] for row in records(shared_data / "multilingual" / "mozilla-legal.jsonl.zst")]
    texts += [row["text"] for row in records(shared_data / "english" / "academic-plos.jsonl.zst", 5)]
    given = batch(texts)
    whole = Language(model=model).apply(given).column("language").to_pylist()
    part = Language(model=model, window=window, window_bytes=2000).apply(given).column("language").to_pylist()
    assert sum(a == b for a, b in zip(whole, part)) >= 0.985 * len(texts)
    everything = Language(model=model, window=window, window_bytes=100_000_000).apply(given)
    assert everything.column("language").to_pylist() == whole


def test_the_share_of_lines_tells_a_mixed_page_from_a_plain_one(model: str, shared_data: Path) -> None:
    news = [row["text"] for row in records(shared_data / "english" / "news-digitalgov.jsonl.zst", 40)]
    other = [row["text"] for row in records(shared_data / "multilingual" / "wikipedia-zh.jsonl.zst", 40)]
    mixed = [a[:3000] + "\n" + "\n".join([GERMAN] * 30) for a in news]
    stage = Language(model=model, line_share=True)
    assert "language_share" in stage.adds
    assert "language_share" not in Language(model=model).adds

    def share(texts: list[str | None], *domains: str | None) -> list[float | None]:
        return stage.apply(batch(texts, [*domains] or None)).column("language_share").to_pylist()

    assert sum(share(news)) / len(news) > 0.97
    assert sum(value or 1 for value in share(other)) / len(other) > 0.97
    assert max(share(mixed)) < 0.9
    assert share([GERMAN + "\n" + ENGLISH.replace("\n", " ") + "\n" + GERMAN]) == pytest.approx([160 / 230], abs=0.05)
    assert share(["short lines\nonly", None, GERMAN], None, None, "code") == [None, None, None]


def test_sentences_of_the_recipes_languages_are_recognised(model: str, shared_data: Path) -> None:
    """Tatoeba: macro accuracy over the recipe's languages that it has."""
    hits: dict[str, list[bool]] = {}
    with (shared_data / "labelled" / "lid-tatoeba-laser.jsonl.zst").open("rb") as file:
        rows = [
            json.loads(line) for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        ]
    codes, _ = identify(pa.array([row["text"] for row in rows], pa.large_string()), model)
    for row, code in zip(rows, codes.to_pylist(), strict=True):
        truth = iso_code(row["lang"])
        if truth in DEFAULT_LANGUAGES:
            hits.setdefault(truth, []).append(truth == code)
    assert len(hits) > 40
    assert sum(sum(found) / len(found) for found in hits.values()) / len(hits) > 0.87


def test_a_missing_model_and_a_wrong_field_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file /no/such/model\.ftz; check the path"):
        Language(model="/no/such/model.ftz").apply(batch([ENGLISH]))
    with pytest.raises(ValueError, match="min_score"):
        Language(min_score=2.0)
    with pytest.raises(ValueError, match="window: unknown window 'last'; use whole, first, three"):
        Language(window="last")
    with pytest.raises(ValueError, match="window_bytes: 0 is nothing to read"):
        Language(window="first", window_bytes=0)
    with pytest.raises(ValueError, match="write 'no' in place of 'nn'"):
        Language(languages=("en", "nn"))


def test_the_recipe_has_53_languages_beside_english() -> None:
    assert len(set(DEFAULT_LANGUAGES)) == 54
    assert all(iso_code(code) == code for code in DEFAULT_LANGUAGES)


def test_one_code_per_language() -> None:
    meant = {
        "nn": "no", "nb_NO.UTF-8": "no", "no": "no", "sh": "hr", "hr": "hr", "sr@latin": "sr", "sr-Cyrl-RS": "sr",
        "zh_TW": "zh", "yue": "zh", "zh-Hans": "zh", "pt_BR": "pt", "__label__als": "gsw", "arz": "ar", "deu": "de",
        "fil": "tl", "C": "en", "ceb": "ceb", "iw": "he",
    }  # fmt: skip
    assert {label: iso_code(label) for label in meant} == meant


def test_programming_languages_have_one_name() -> None:
    names = {
        "C++": "cpp", "C#": "csharp", "c-sharp": "csharp", "Visual Basic": "visual-basic",
        "Common Lisp": "common-lisp", "RST": "restructuredtext", "Jupyter": "jupyter",
        "SystemVerilog": "systemverilog", "algol68": "algol68",
    }  # fmt: skip
    assert {name: programming_language(name) for name in names} == names
    files = {
        "a/b.PY": "python", "Makefile": "makefile", "Makefile.am": "makefile", "x/CMakeLists.txt": "cmake",
        "k.cu": "cuda", "a.unknown": None, "README": None, ".py": None, "Dockerfile": "dockerfile",
        "m.f90": "fortran",
    }  # fmt: skip
    assert {path: language_of_path(path) for path in files} == files
    assert all(programming_language(name) == name for name in PROGRAMMING_LANGUAGES)


def test_the_programming_languages_of_the_recipe_are_in_the_table() -> None:
    named = """
        JavaScript Markdown Java Python PHP C C++ C# Go HTML TypeScript SQL CSS XML Rust Jupyter Ruby Swift JSON TeX
        Scala YAML Shell Dart Lua RST Perl Haskell Pascal Assembly Fortran Makefile Julia Mathematica Visual-Basic VHDL
        Common-Lisp CUDA SystemVerilog Dockerfile R Verilog
    """
    assert {programming_language(name) for name in named.split()} <= PROGRAMMING_LANGUAGES
