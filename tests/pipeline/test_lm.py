"""`gristmill lm train`: the same model however the text is cut and whoever works, from curated text or files."""

from __future__ import annotations

import gzip
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
from lm_reference import ours

from gristmill.kernels.text.ccnet_normalise import normalise
from gristmill.kernels.text.perplexity import _lines
from gristmill.kernels.text.utf8 import buffers
from gristmill.pipeline.cli import main
from gristmill.pipeline.config.keys import PlanConfig, RuntimeConfig
from gristmill.pipeline.engine.engine import Silent
from gristmill.pipeline.engine.manifest import Manifest
from gristmill.pipeline.models.lm import ngrams
from gristmill.pipeline.models.lm.lines import Source, normalised_lines
from gristmill.pipeline.models.lm.options import Options
from gristmill.pipeline.models.lm.train import Trained, train
from gristmill.stages.document import CURATED

pytestmark = pytest.mark.slow

RHYMES = Path(__file__).parents[1] / "kernels" / "lmplz_recorded.json"
SENTENCES = [line.replace("<", "(") for line in json.loads(RHYMES.read_text("utf-8"))["lines"]]


def documents(language: str = "en", category: str | None = "books", number: int = 40) -> list[dict[str, Any]]:
    """Documents of some lines each; every one is different."""
    rows = []
    for i in range(number):
        lines = [f"{SENTENCES[(i * 7 + k * k) % len(SENTENCES)]} {language} {(i * 31 + k) % 11}" for k in range(9)]
        row = {"id": i.to_bytes(16, "little"), "text": "\n".join([*lines, "", "Naïve — Ünd"]), "domain": "english"}
        rows.append(row | {"language": language, "category": category, "source": "s", "path": "p", "record": i})
    return rows


def curate(folder: Path, rows: list[dict[str, Any]], parts: int = 3) -> str:
    """An output folder with these documents."""
    for part in range(parts):
        path = folder / "curated" / "english" / f"part-{part}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {"priority": 0, "cluster": bytes(16)}
        table = pa.Table.from_pylist([{**row, **fields} for row in rows[part::parts]], schema=CURATED)
        pq.write_table(table, path, row_group_size=5)
    return str(folder)


def trained(folder: Path, rows: list[dict[str, Any]], name: str = "models/lm", **given: Any) -> tuple[Trained, Path]:
    options = Options(**{"languages": ("en",), "pieces": 400, **given.pop("options", {})})
    where = {"curated": curate(folder / "out", rows)} | given
    return train(options, str(folder / name), **{"inline": True, **where}), folder / name


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path, Path]:
    folder = tmp_path_factory.mktemp("lm")
    result, models = trained(folder, documents())
    return result, models, folder


def lines_in_pieces(rows: list[dict[str, Any]], model: Path, parts: int = 3) -> list[str]:
    """What lmplz would be given: every line normalised, in pieces, in the order of the files."""
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(model))
    texts = [line.encode() for part in range(parts) for row in rows[part::parts] for line in row["text"].split("\n")]
    data, offsets = normalise(np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)]))
    normal = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    lines = [" ".join(encoder.id_to_piece(int(i)) for i in encoder.encode(line)) for line in normal]
    return [line for line in lines if line]


def test_model_is_the_one_of_these_lines(english: tuple[Trained, Path, Path]) -> None:
    _, models, _ = english
    lines = lines_in_pieces(documents(), models / "en" / "sentencepiece.model")
    expected = ours(lines, 5, [0, 0, 1, 1, 1])
    found: list[dict[str, tuple[float, float]]] = []
    for line in (models / "en" / "lm.arpa").read_text("utf-8").splitlines():
        if line.endswith("-grams:"):
            found.append({})
        elif found and "\t" in line:
            prob, gram, *backoff = line.split("\t")
            found[-1][gram] = (float(prob), float(backoff[0]) if backoff else 0.0)
    assert [list(grams) for grams in found] == [list(grams) for grams in expected]
    for grams, wanted in zip(found, expected, strict=True):
        assert np.abs(np.array(list(grams.values())) - np.array(list(wanted.values()))).max() < 1e-6


def test_kenlm_loads_both_files_and_gives_the_same_scores(english: tuple[Trained, Path, Path]) -> None:
    _, models, _ = english
    binary, text = (kenlm.Model(str(models / "en" / name)) for name in ("lm.binary", "lm.arpa"))
    assert binary.order == text.order == 5
    for line in [*lines_in_pieces(documents("xx"), models / "en" / "sentencepiece.model")[:50], "▁never ▁seen"]:
        assert list(binary.full_scores(line)) == list(text.full_scores(line))
    line = lines_in_pieces(documents(), models / "en" / "sentencepiece.model")[0]
    assert binary.score(line) > binary.score(" ".join(reversed(line.split()))) + 1


def test_record_says_what_the_model_is(english: tuple[Trained, Path, Path]) -> None:
    result, models, _ = english
    record = json.loads((models / "en" / "lm.json").read_text("utf-8"))
    assert [record] == result.models
    assert (record["order"], record["prune"], record["normalisation"]) == (5, [0, 0, 1, 1, 1], "ccnet")
    assert record["text"]["documents"] == 40
    assert record["text"]["trained_lines"] == len(lines_in_pieces(documents(), models / "en" / "sentencepiece.model"))
    head = (models / "en" / "lm.arpa").read_text("utf-8").split("\n\n")[0].splitlines()[1:]
    assert head == [f"ngram {n}={count}" for n, count in record["ngrams"].items()]
    assert record["files"].keys() == {"lm.arpa", "lm.binary", "sentencepiece.model"}


class Computed(Silent):
    """The steps that had something to do."""

    def __init__(self) -> None:
        self.steps: set[str] = set()

    def advance(self, step: str, manifest: Manifest) -> None:
        self.steps.add(step)


def test_a_run_computes_what_is_new(english: tuple[Trained, Path, Path]) -> None:
    _, models, folder = english
    before = content(models)
    progress = Computed()
    trained(folder, documents(), progress=progress)
    assert (progress.steps, content(models)) == (set(), before)
    trained(folder, documents(), progress=progress, options={"prune": (0, 0, 0)}, name="models/unpruned")
    assert progress.steps == {"lm/en/adjust", "lm/en/estimate", "lm/en/write"}
    assert content(models) == before


def test_model_does_not_depend_on_chunks_and_partitions(
    english: tuple[Trained, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams, "CHUNK_WORDS", 700)
    monkeypatch.setattr(ngrams, "PART_WORDS", 600)
    _, models = trained(tmp_path, documents(), plan=PlanConfig(partition_bytes=2000, max_segments=2))
    assert any(tmp_path.glob("models/work/lm-en-count.merge*"))
    assert content(models) == content(english[1])


def test_model_does_not_depend_on_the_number_of_workers(
    english: tuple[Trained, Path, Path], tmp_path: Path, one_ray: None
) -> None:
    _, models = trained(tmp_path, documents(), plan=PlanConfig(partition_bytes=2000), inline=False, workers=2)
    _, alone = trained(tmp_path / "alone", documents(), plan=PlanConfig(partition_bytes=2000))
    assert len(list(tmp_path.glob("models/work/lm-en-encode-*/files/ids*"))) > 2
    assert content(models) == content(alone) == content(english[1])


def test_a_language_of_five_lines_has_a_model(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("one two\nthree four five\nsix\n\nseven eight\nnine ten\n", "utf-8")
    result, models = trained(tmp_path, [], curated=None, texts=[str(tmp_path / "few.txt")])
    assert result.models[0]["text"]["lines"] == 5
    assert result.models[0]["fallback_discounts"]
    assert kenlm.Model(str(models / "en" / "lm.binary")).score("") < 0


def test_files_give_every_language_its_model(tmp_path: Path) -> None:
    rows = [*documents("en"), *documents("de"), *documents("fr", number=2)]
    text = "".join(json.dumps({"body": row["text"], "lang": row["language"]}) + "\n" for row in rows)
    (tmp_path / "text.jsonl").write_text(text + json.dumps({"body": "no language"}) + "\n", "utf-8")
    options = {"languages": (), "min_bytes": 2000, "arpa": "gz", "columns": {"text": "body", "language": "lang"}}
    given = {"curated": None, "texts": [str(tmp_path / "text.jsonl")], "options": options}
    result, models = trained(tmp_path, [], **given)
    assert [model["language"] for model in result.models] == ["de", "en"]
    assert any("fr" in note and "2,000" in note for note in result.notes)
    assert any("1 document does not say its language" in note for note in result.notes)
    assert gzip.decompress((models / "de" / "lm.arpa.gz").read_bytes()).startswith(b"\\data\\\nngram 1=")
    assert kenlm.Model(str(models / "en" / "lm.binary")).order == 5


def test_books_are_taken_and_all_where_there_are_none(tmp_path: Path) -> None:
    rows = [*documents(number=20), *documents(category="web", number=30), *documents("de", "web", 20)]
    result, _ = trained(tmp_path, rows, options={"languages": ("de", "en"), "arpa": "none"})
    assert {model["language"]: model["text"]["documents"] for model in result.models} == {"de": 20, "en": 20}
    assert result.notes == ["de: no documents of encyclopedia or books; all categories are taken"]
    assert "lm.arpa" not in result.models[0]["files"]


def test_a_sample_has_about_the_bytes_asked_for_and_is_part_of_a_larger_one(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path, documents(number=300), options={"arpa": "none"})
    size = whole.models[0]["text"]["bytes"]
    lines = []
    for share in (0.2, 0.5):
        options = {"max_bytes": int(size * share), "arpa": "none"}
        part, _ = trained(tmp_path, documents(number=300), options=options)
        lines.append(part.models[0]["text"]["trained_lines"])
        assert lines[-1] == pytest.approx(share * whole.models[0]["text"]["lines"], rel=0.3)
    assert lines[0] < lines[1]


def test_text_that_needs_more_memory_than_a_task_may_take_is_one_sentence(tmp_path: Path) -> None:
    """And a sample as large as the sentence says is not refused."""
    rows = documents(number=200)
    small = RuntimeConfig(memory_per_worker=400_000)
    with pytest.raises(ValueError, match=r"en: [\d,]+ pieces need a task of about [\d,]+ bytes") as refused:
        trained(tmp_path, rows, runtime=small)
    sample = int(str(refused.value).rpartition("--max-bytes ")[2])
    result, _ = trained(tmp_path, rows, options={"max_bytes": sample * 9 // 10}, runtime=small)
    assert result.models[0]["language"] == "en"


def test_threshold_takes_whole_bins_and_a_part_of_the_next() -> None:
    source = Source("en", (), 0, 0, 256, (1,) * 256)
    assert source.threshold(None) == source.threshold(256) == 1 << 64
    assert source.threshold(64) == 64 << 56
    assert Source("en", (), 0, 0, 1000, (0, 1000, *[0] * 254)).threshold(500) == (1 << 56) + (1 << 55)


def test_lines_are_those_that_perplexity_is_of() -> None:
    texts = ["a\n\nÉté 12\r\n", "", "\n", "\u65e5" * 800_000 + "\nend", "x" * ((1 << 20) + 3), "y" * ((1 << 20) - 4)]
    column = pa.array(texts, pa.large_string())
    lines, place = normalised_lines(column)
    bounds, owner = _lines(*buffers(column), sum(text.count("\n") for text in texts))
    data, ends = normalise(buffers(column)[0], bounds)
    full = np.flatnonzero(np.diff(ends))
    assert [bytes(data[ends[i] : ends[i + 1]]).decode() for i in full] == lines.to_pylist()
    assert place.tolist() == owner[full].tolist()


MISTAKES = [
    ((), "holds no curated documents; curate some with `gristmill run`, or name text with --text"),
    (("--text", "gone.txt"), "gone.txt: no such file"),
    (("--text", "empty.txt", "--languages", "en"), "en: there is no text in this language"),
    (("--text", "empty.txt"), "no language has 1,000,000 bytes of text (there is none in any language)"),
    (("--text", "few.jsonl"), "no language has 1,000,000 bytes of text (en has most, 13 bytes)"),
    (("--text", "few.jsonl", "--languages", "de"), "de: there is no text in this language"),
    (("--text", "few.jsonl", "--languages", "English"), "English: not the code of a language"),
    (("--order", "6"), "--order 6: choose 2 to 5"),
    (("--prune", "0,2,1"), "counts may not fall"),
    (("--prune", "1,1"), "the first one 0"),
    (("--prune", "0,x"), "write counts with commas"),
    (("--arpa", "zip"), "choose plain, gz or none"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n\x07\n", "utf-8")
    Path("few.jsonl").write_text(json.dumps({"text": "a b c d e f g", "language": "en"}) + "\n", "utf-8")
    os.mkdir("out")
    with pytest.raises(SystemExit) as ended:
        main(["lm", "train", "out", "--inline", *words])
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("step ")]
    assert ended.value.code == 2
    assert len(said) == 1
    assert sentence in said[0]


def test_command_answers_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = curate(tmp_path / "out", documents())
    arguments = ["lm", "train", out, "--languages", "en", "--pieces", "300", "--inline", "--order", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--prune", "0,1", "--output", str(tmp_path / "models" / "lm"), "--json"])
    assert ended.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["models"][0]["prune"] == [0, 1, 1]
    assert (tmp_path / "models" / "lm" / "en" / "lm.binary").is_file()
