"""Our fastText kernel beside the library: every kind of model file, every loss, text of all scripts."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gristmill.kernels.text.fasttext_model import Model, cache_folder, load
from gristmill.kernels.text.fasttext_predict import line_shares, predict, probabilities

TOLERANCE = 1e-4
SPACES = " \n\r\t\v\f\0"


def records(path: Path, first: int, step: int = 1) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        stream = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        yield from (json.loads(line) for line in islice(stream, 0, first * step, step))


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def asked(library: Any, texts: list[str], k: int = 1) -> tuple[list[list[str]], list[list[float]]]:
    """The library's labels and probabilities, line ends as spaces, as its command line gives them."""
    labels, scores = library.f.multilinePredict([text.replace("\n", " ") + "\n" for text in texts], k, 0.0, "strict")
    return labels, [[min(1.0, float(value)) for value in row] for row in scores]


def agree(model: Model, library: Any, texts: list[str]) -> None:
    """Same first choice, except where the library's first two are equal within what rounding makes of them."""
    labels, scores = predict(column(texts), model)
    expected, values = asked(library, texts, 2)
    for text, label, score, names, found in zip(texts, labels.tolist(), scores.tolist(), expected, values, strict=True):
        if not names:
            assert (label, score) == (-1, 0.0), text
            continue
        assert score == pytest.approx(found[0], abs=TOLERANCE), text
        tied = len(found) > 1 and found[0] - found[1] < 1e-5
        assert model.labels[label] == names[0] or (tied and model.labels[label] == names[1]), text


@pytest.fixture(scope="module")
def lid(shared_data: Path) -> tuple[Model, Any]:
    path = str(shared_data / "models" / "lid.176.ftz")
    return load(path), fasttext.load_model(path)


# -- lid.176 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lid-lingua-testdata", "lid-tatoeba-laser", "lid-udhr"])
def test_labelled_texts_get_the_librarys_label(lid: tuple[Model, Any], shared_data: Path, name: str) -> None:
    agree(*lid, [row["text"] for row in records(shared_data / "labelled" / f"{name}.jsonl.zst", 4000, 5)])


def test_real_documents_get_the_librarys_label(lid: tuple[Model, Any], shared_data: Path) -> None:
    paths = sorted(path for part in ("english", "multilingual", "code") for path in (shared_data / part).glob("*.zst"))
    assert len(paths) > 15
    agree(*lid, [row["text"][:20_000] for path in paths for row in records(path, 40, 3)])


LETTERS = st.characters(exclude_categories=["Cs"])
SCRIPTS = (
    *("aeinst", "абвгде", "αβγδ", "אבגד", "ابتثح", "कखगघा्"),
    *("กขคงั", "漢字語文", "かなカナ", "가나다라", "ՀԱՅ", "𝔸😀𓀀"),
)
ALPHABETS = [
    st.text(st.sampled_from(letters), max_size=12)
    for letters in (
        "aeinst",
        "абвгде",
        "αβγδ",
        "אבגד",
        "ابتثح",
        "कखगघा्",
        "กขคงั",
        "漢字語文",
        "かなカナ",
        "가나다라",
        "ՀԱՅ",
        "𝔸😀𓀀",
    )
]
WORDS = st.one_of(
    st.sampled_from(
        ["</s>", "__label__en", "__label__", "<", ">", "the", "и", "a\u0001b", "x" * 33, "é" * 16, "語" * 70]
    ),
    st.text(LETTERS, max_size=40),
    *ALPHABETS,
)
TEXTS = st.lists(st.tuples(WORDS, st.text(st.sampled_from(SPACES), max_size=3)), max_size=12).map(
    lambda parts: "".join(word + space for word, space in parts)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=4))
@example([""])
@example(["", " \n\0\t", "\n\n"])
@example(["one </s> two", "</s>", "__label__en", "x __label__nothing y"])
@example(["語" * n for n in (61, 62, 63, 64, 65, 126, 127, 128, 129, 130)])
@example(["a" * n for n in (7, 8, 9, 16, 17, 24, 25, 31, 32, 33, 62, 63, 64, 65, 66)])
@pytest.mark.slow
def test_any_text_gets_the_librarys_label(lid: tuple[Model, Any], texts: list[str]) -> None:
    agree(*lid, texts)


def test_a_result_depends_on_the_text_alone(lid: tuple[Model, Any], shared_data: Path) -> None:
    """Bit for bit, whatever came before it, wherever it lies in its buffer."""
    model, _ = lid
    texts = [row["text"] for row in records(shared_data / "multilingual" / "wikipedia-ml.jsonl.zst", 150, 7)]
    labels, scores = predict(column(texts), model)
    back_labels, back_scores = predict(column(texts[::-1]), model)
    assert (labels == back_labels[::-1]).all()
    assert (scores == back_scores[::-1]).all()
    alone = [predict(column([text]), model) for text in texts]
    assert [score[0] for _, score in alone] == scores.tolist()
    sliced = predict(column(["x", *texts]).slice(1), model)
    assert (sliced[1] == scores).all()
    plain = predict(pa.array(texts, pa.string()), model)
    assert (plain[1] == scores).all()


@pytest.mark.parametrize(("window", "size"), [("first", 300), ("three", 299), ("three", 3), ("first", 1)])
def test_a_window_is_the_text_cut_at_characters(
    lid: tuple[Model, Any], shared_data: Path, window: str, size: int
) -> None:
    model, _ = lid
    texts = [row["text"] for row in records(shared_data / "multilingual" / "wikipedia-ml.jsonl.zst", 200, 5)] + ["a"]

    def cut(text: str) -> str:
        data = text.encode()
        if len(data) <= size:
            return text

        def at(place: int) -> int:
            return len(data[:place].decode(errors="ignore").encode())

        if window == "first":
            return data[: at(size)].decode()
        each = size // 3
        middle = at((len(data) - each) // 2)
        pieces = data[: at(each)], data[middle : at(middle + each)], data[at(len(data) - each) :]
        return " ".join(piece.decode() for piece in pieces)

    labels, scores = predict(column(texts), model, window, size)
    expected = predict(column([cut(text) for text in texts]), model)
    assert (labels == expected[0]).all()
    assert (scores == expected[1]).all()


@pytest.mark.slow
def test_the_share_of_lines_is_that_of_lines_asked_one_by_one(lid: tuple[Model, Any], shared_data: Path) -> None:
    model, _ = lid
    texts = [row["text"] for row in records(shared_data / "multilingual" / "debian-handbook.jsonl.zst", 60, 9)]
    texts += ["", "\n\n", "short\nlines\n"]
    groups = np.arange(len(model.labels)) // 2
    wanted = np.where(predict(column(texts), model)[0] < 0, -1, predict(column(texts), model)[0] // 2)
    shares = line_shares(column(texts), model, groups, wanted, 20)
    for text, group, share in zip(texts, wanted.tolist(), shares.tolist(), strict=True):
        lines = [line for line in text.split("\n") if len(line.encode()) >= 20]
        found = groups[predict(column(lines), model)[0]] if lines else []
        sizes = [len(line.encode()) for line in lines]
        same = sum(size for size, label in zip(sizes, found, strict=True) if label == group)
        assert share == pytest.approx(same / sum(sizes)) if lines else np.isnan(share)


# -- other models ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(training file of fastText, other texts): sentences of twelve languages."""
    rows = list(records(shared_data / "labelled" / "lid-tatoeba-laser.jsonl.zst", 6000, 15))
    known = sorted({row["lang"] for row in rows})[::4][:12]
    mine = [row for row in rows if row["lang"] in known]
    path = tmp_path_factory.mktemp("fasttext") / "train.txt"
    lines = [f"__label__{row['lang']} {' '.join(row['text'].split())}" for row in mine[::2]]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    texts = [row["text"] for row in mine[1::2]] + [
        "",
        "</s>",
        "\n \0",
        "a </s> b",
        "__label__x y",
        "語" * 200,
        "q " * 50,
    ]
    return path, texts


PLAIN = {"dim": 10, "epoch": 8, "lr": 0.5, "thread": 12, "seed": 3, "verbose": 0, "minCount": 1}
"""With fewer threads fastText 0.9.3 leaves part of the matrix as memory happens to be, and may find NaN in it."""
NGRAMS = {"minn": 2, "maxn": 4, "bucket": 5000}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "softmax": (PLAIN, None),
    "softmax characters": ({**PLAIN, **NGRAMS, "dim": 16}, None),
    "softmax words": ({**PLAIN, "wordNgrams": 3, "bucket": 4001, "dim": 20}, None),
    "all n-grams": ({**PLAIN, "minn": 1, "maxn": 5, "bucket": 3000, "wordNgrams": 2}, None),
    "hierarchical": ({**PLAIN, **NGRAMS, "loss": "hs"}, None),
    "negative": ({**PLAIN, **NGRAMS, "loss": "ns"}, None),
    "one against all": ({**PLAIN, "loss": "ova", "wordNgrams": 2, "bucket": 5000}, None),
    "rare words dropped": ({**PLAIN, **NGRAMS, "minCount": 3, "wordNgrams": 2}, None),
    "quantised": ({**PLAIN, **NGRAMS}, {}),
    "quantised with norms": ({**PLAIN, **NGRAMS, "dim": 9}, {"qnorm": True, "dsub": 4}),
    "pruned": ({**PLAIN, **NGRAMS, "loss": "hs"}, {"cutoff": 1500, "retrain": False}),
    "pruned with norms": ({**PLAIN, **NGRAMS, "wordNgrams": 2}, {"cutoff": 1000, "qnorm": True}),
    "pruned to few": ({**PLAIN, "wordNgrams": 2, "bucket": 4000}, {"cutoff": 300}),
}


def trained(corpus: tuple[Path, list[str]], folder: Path, name: str) -> tuple[Model, Any]:
    options, quantised = MODELS[name]
    library = fasttext.train_supervised(input=str(corpus[0]), **options)
    path = folder / ("model.bin" if quantised is None else "model.ftz")
    if quantised is not None:
        library.quantize(input=str(corpus[0]), verbose=0, thread=1, **quantised)
    library.save_model(str(path))
    return load(str(path)), fasttext.load_model(str(path))


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_is_read(corpus: tuple[Path, list[str]], tmp_path: Path, name: str) -> None:
    model, library = trained(corpus, tmp_path, name)
    assert list(model.labels) == library.get_labels()
    assert model.quantised == (MODELS[name][1] is not None)
    agree(model, library, corpus[1])


@pytest.mark.slow
def test_a_quantised_output_is_read(shared_data: Path, tmp_path: Path) -> None:
    """A quantiser needs 256 rows, so as many labels."""
    rows = list(records(shared_data / "english" / "news-digitalgov.jsonl.zst", 300))
    lines = [f"__label__{i} {' '.join(row['text'].split()[:40])}" for i, row in enumerate(rows)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for loss in ("softmax", "hs"):
        library = fasttext.train_supervised(input=str(tmp_path / "train.txt"), loss=loss, **PLAIN)
        library.quantize(input=str(tmp_path / "train.txt"), qout=True, qnorm=True, verbose=0)
        library.save_model(str(tmp_path / f"{loss}.ftz"))
        agree(load(str(tmp_path / f"{loss}.ftz")), library, [row["text"][:500] for row in rows])


@pytest.mark.parametrize("name", ["softmax words", "hierarchical", "negative", "pruned"])
def test_the_probability_of_any_label_is_the_librarys(
    corpus: tuple[Path, list[str]], tmp_path: Path, name: str
) -> None:
    model, library = trained(corpus, tmp_path, name)
    labels, scores = asked(library, corpus[1], -1)
    for number, label in enumerate(model.labels):
        expected = [dict(zip(*row, strict=True)).get(label, 0.0) for row in zip(labels, scores, strict=True)]
        assert probabilities(column(corpus[1]), model, number) == pytest.approx(expected, abs=TOLERANCE)


# -- files and memory --------------------------------------------------------------------------------------------------


def test_what_is_no_model_is_named(tmp_path: Path, lid: tuple[Model, Any], shared_data: Path) -> None:
    whole = (shared_data / "models" / "lid.176.ftz").read_bytes()
    vectors = bytearray(whole[:500])
    vectors[36:40] = struct.pack("<i", 1)
    cases = {
        "empty.bin": (b"", "is empty"),
        "text.bin": (b"hello, world", "is no fastText model"),
        "newer.bin": (struct.pack("<ii", 793712314, 13) + whole[8:], "newer fastText"),
        "vectors.bin": (bytes(vectors), "word vectors"),
        **{f"short-{n}.ftz": (whole[:n], "ends before its model does") for n in (9, 60, 5000, 200_000, len(whole) - 9)},
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: .*{said}"):
            load(str(tmp_path / name))


def test_processes_share_one_copy_of_a_model(lid: tuple[Model, Any], shared_data: Path) -> None:
    """A second worker maps what is there: its own memory does not grow by the model's matrix and table."""
    model, _ = lid
    arrays = [array for array in model.weights if isinstance(array, np.ndarray) and array.size]
    assert all(not array.flags.writeable and isinstance(array.base, np.memmap) for array in arrays)
    code = f"""
from gristmill.kernels.text.fasttext_model import load
def private():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty"))
import numpy, json
before = private()
model = load({str(shared_data / "models" / "lid.176.ftz")!r})
total = sum(float(array.sum()) for array in model.weights[:2])
print(private() - before)
"""
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 1500, f"{grown} kB"


def test_a_damaged_copy_is_made_again(
    corpus: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, library = trained(corpus, tmp_path, "pruned")
    (copy,) = cache_folder().iterdir()
    (copy / "output.npy").unlink()
    (tmp_path / "model.ftz").touch()
    agree(load(str(tmp_path / "model.ftz")), library, corpus[1])
    assert len(list(cache_folder().iterdir())) == 1
    assert model.rows == 1500
