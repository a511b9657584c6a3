"""Bad words: lists by language, null where there is nothing to say, a share kept by draw, what C4 does with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from gristmill.kernels.text.draw import draw, uniform
from gristmill.stages.bad_words import BadWords
from gristmill.stages.interface import DocumentStage
from gristmill.stages.rules import Rules


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "en").write_text("darn\nholy cow\n")
    (folder / "de.txt").write_text("mist\n")
    (folder / "fr-CA-x-any.txt").write_text("zut\n")
    (folder / "ja").write_text("馬鹿\n", "utf-8")
    (folder / "README.md").write_text("darn mist")
    return folder


def batch(rows: list[tuple[str | None, str | None, str | None]]) -> pa.RecordBatch:
    texts, domains, languages = zip(*rows)
    return pa.record_batch(
        {
            "id": pa.array([i.to_bytes(16, "big") for i in range(len(rows))], pa.binary(16)),
            "text": pa.array(texts, pa.large_string()),
            "domain": pa.array(domains, pa.string()),
            "language": pa.array(languages, pa.string()),
        }
    )


def found(stage: BadWords, rows: list[tuple[str | None, str | None, str | None]]) -> list[int | None]:
    return stage.apply(batch(rows)).column("bad_words").to_pylist()


def test_each_language_has_its_list_and_others_no_count(lists: Path) -> None:
    stage = BadWords(str(lists))
    assert isinstance(stage, DocumentStage)
    rows = [
        ("Holy cow, darn it! Darned.", "english", "en"),
        ("So ein Mist. Misthaufen.", "multilingual", "de"),
        ("zut alors", "multilingual", "fr"),
        ("彼は馬鹿だ", "multilingual", "ja"),
        ("darn mist", "multilingual", "fi"),
        ("darn", "code", "en"),
        (None, "english", "en"),
        ("darn", None, None),
        ("clean", "english", "en"),
    ]
    assert found(stage, rows) == [2, 1, 1, 1, None, None, None, None, 0]
    one = BadWords((str(lists / "en"),))
    assert found(one, rows)[:2] == [2, None]


def test_the_preset_drops_pages_with_a_bad_word(lists: Path) -> None:
    rows = [("darn it", "english", "en"), ("clean", "english", "en"), ("darn", "multilingual", "fi")]
    judged = Rules(("c4_bad_words",)).apply(BadWords(str(lists)).apply(batch(rows)))
    assert judged.column("dropped_by").to_pylist() == ["c4_bad_words.bad_words", None, None]


def test_a_share_is_kept_by_the_draw_of_the_id(lists: Path) -> None:
    rows = [("darn it", "english", "en")] * 4000
    given = batch(rows)
    stage = BadWords(str(lists), keep=0.25)
    kept = [value is None for value in stage.apply(given).column("bad_words").to_pylist()]
    assert kept == (uniform(draw(1, "bad_words", given.column("id"))) < 0.25).tolist()
    assert 900 < sum(kept) < 1100
    shuffled = given.take(pa.array(range(3999, -1, -1)))
    assert stage.apply(shuffled).column("bad_words").is_null().to_pylist() == kept[::-1]
    other = replace(stage, seed=2).apply(given).column("bad_words").is_null().to_pylist()
    assert other != kept
    assert found(BadWords(str(lists), keep=1.0), rows[:3]) == [None] * 3


def test_what_is_wrong_with_a_list_is_one_sentence(lists: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names no list"):
        BadWords()
    with pytest.raises(ValueError, match="keep: 2 is no share"):
        BadWords(str(lists), keep=2)
    row = [("x", "english", "en")]
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*gone; check the path"):
        found(BadWords(str(tmp_path / "gone")), row)
    (tmp_path / "swearwords.txt").write_text("darn")
    with pytest.raises(ValueError, match=r"named for no language; call it after the language, as in en\.txt"):
        found(BadWords(str(tmp_path / "swearwords.txt")), row)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no list"):
        found(BadWords(str(tmp_path / "empty")), row)
    (lists / "es").write_bytes(b"ma\xf1ana")
    with pytest.raises(ValueError, match="is not UTF-8; convert the list"):
        found(BadWords((str(lists),)), row)
