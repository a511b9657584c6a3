"""`gristmill quality train`: same input, same model; what is judged was not trained on; errors in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import records

from gristmill.pipeline.cli import main
from gristmill.pipeline.models.quality.evaluation import area, figures
from gristmill.pipeline.models.quality.sample import sample
from gristmill.pipeline.models.quality.training import Options, train

SMALL = ["--dimensions", "16", "--buckets", "20000", "--rate", "0.5", "--documents", "400"]


@pytest.fixture(scope="module")
def sides(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a curated folder of papers in Parquet with a manifest beside it, encyclopedia articles in JSONL)."""
    folder = tmp_path_factory.mktemp("quality")
    english = shared_data / "english"
    papers = [row["text"][:3000] for row in records(english / "academic-plos.jsonl.zst", 120)]
    curated = folder / "curated" / "domain=english" / "language=en"
    curated.mkdir(parents=True)
    pq.write_table(pa.table({"text": pa.array(papers, pa.large_string())}), curated / "part-00000.parquet")
    (folder / "curated" / "LICENSE").write_text("as the sources state it")
    articles = [row["text"][:3000] for row in records(english / "encyclopedia-wikipedia-en.jsonl.zst", 500)]
    lines = [json.dumps({"content": text}) for text in articles + articles[:100]]
    (folder / "articles.jsonl").write_text("\n".join(lines), "utf-8")
    return folder / "curated", folder / "articles.jsonl"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["quality", "train", *arguments])
    return ended.value.code, *capsys.readouterr()


@pytest.mark.slow
def test_papers_are_told_from_articles_and_the_model_is_the_same_each_time(
    sides: tuple[Path, Path], shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (str(path) for path in (sides[0], shared_data / "english" / "encyclopedia-wikipedia-en.jsonl.zst"))
    models = [str(tmp_path / name / "model.bin") for name in "ab"]
    code, out, _ = answer(capsys, "--good", good, "--bad", bad, "--output", models[0], *SMALL, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["auc"] > 0.97
    assert result["accuracy"] > 0.9
    assert result["trained_on"]["good"] + result["held_out"]["good"] == 120
    assert result["trained_on"]["bad"] + result["held_out"]["bad"] == 400
    memory = [np.full(n, np.nan, np.float32) for n in (100, 10_000, 1_000_000)]  # what the second run finds
    del memory
    code, out, _ = answer(capsys, "--good", good, "--bad", bad, "--output", models[1], *SMALL)
    assert code == 0
    assert f"AUC {result['auc']:.4f}" in out
    assert Path(models[0]).read_bytes() == Path(models[1]).read_bytes()
    assert [path.name for path in Path(models[1]).parent.iterdir()] == ["model.bin"]


def test_a_sample_depends_on_the_texts_alone_and_has_each_once(sides: tuple[Path, Path], tmp_path: Path) -> None:
    whole = sample([str(sides[1])], "bad", "content", 10_000, 1)
    texts = whole.column("text").to_pylist()
    assert len(texts) == len(set(texts)) == len({json.loads(line)["content"] for line in sides[1].open()})
    lines = sides[1].read_text("utf-8").splitlines()[::-1]
    (tmp_path / "0.jsonl").write_text("\n".join(lines[:7]), "utf-8")
    (tmp_path / "1.jsonl").write_text("\n".join(lines[7:]), "utf-8")
    other = sample([str(tmp_path / "*.jsonl")], "bad", "content", 10_000, 1)
    assert other.equals(whole)
    fewer = sample([str(sides[1])], "bad", "content", 50, 1)
    assert fewer.column("text").to_pylist() == texts[:50]
    assert sample([str(sides[1])], "bad", "content", 50, 2).column("text").to_pylist() != texts[:50]


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(1)
    good, bad = rng.integers(0, 20, 60) / 20, rng.integers(0, 15, 80) / 20
    pairs = np.sign(good[:, None] - bad[None, :])
    assert area(good, bad) == pytest.approx((pairs.mean() + 1) / 2)
    assert area(np.ones(3), np.zeros(2)) == 1.0
    rows = figures(good, bad)["minimums"]
    assert all(row["good_kept"] == (good >= row["minimum"]).mean() for row in rows)
    assert [row["good_kept"] >= share for row, share in zip(rows, (0.95, 0.9, 0.75, 0.5), strict=True)] == [True] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--good", "gone", "--bad", "few.jsonl"], "--good gone: gone: no such file or folder"),
        (["--good", "few.jsonl", "--bad", "few.jsonl"], "--good: 3 different documents are too few"),
        (
            ["--good", "few.jsonl", "--bad", "few.jsonl", "--text", "body"],
            "no text in few.jsonl; name files with a column",
        ),
        (
            ["--good", "few.jsonl", "--bad", "few.jsonl", "--output", "model"],
            "--output model: a model's name ends in .bin",
        ),
        (["--good", "few.jsonl"], "Missing option '--bad'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.jsonl").write_text("\n".join(json.dumps({"text": f"text {i}"}) for i in range(3)))
    code, out, err = answer(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not Path("models").exists()


def test_too_little_text_leaves_no_model(sides: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--good: 15 different documents"):
        train([str(sides[0])], [str(sides[0])], str(tmp_path / "m.bin"), Options(documents=15))
    assert list(tmp_path.iterdir()) == []
