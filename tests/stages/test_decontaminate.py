"""Decontamination: planted questions are found in any script, cut out as Megatron-LM does, and a benchmark that cannot
be looked for is an error, never a clean corpus."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.stages import decontaminate, decontamination_index
from gristmill.stages.benchmark_files import benchmark_texts
from gristmill.stages.decontaminate import Decontaminate, contamination_report, shares_of
from gristmill.stages.interface import DocumentStage

QUESTION = "Which of the seven lighthouse keepers on that island first counted the migrating geese in autumn?"
SHORT = "Why do the older lamps burn so blue?"  # 8 words
RIVER = " ".join(f"The {n} river runs past mill number {n} and on to the sea." for n in range(40))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decontamination_index, "cache_folder", lambda: tmp_path / "cache")
    decontaminate._opened.cache_clear()


def jsonl(path: Path, records: Iterable[dict]) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return str(path)


def batch(texts: Sequence[str | None], **columns: list) -> pa.RecordBatch:
    arrays = {"text": pa.array(texts, pa.large_string()), **{k: pa.array(v, pa.string()) for k, v in columns.items()}}
    return pa.RecordBatch.from_pydict(arrays)


def stage(tmp_path: Path, *texts: str, **options) -> Decontaminate:
    return Decontaminate(benchmarks=(jsonl(tmp_path / "quiz.jsonl", ({"question": t} for t in texts)),), **options)


def test_it_is_a_document_stage(tmp_path: Path) -> None:
    assert isinstance(stage(tmp_path, QUESTION), DocumentStage)
    assert stage(tmp_path, QUESTION).edits
    assert not stage(tmp_path, QUESTION, action="drop").edits


@pytest.mark.slow
def test_a_question_leaves_with_two_hundred_characters_on_each_side(tmp_path: Path) -> None:
    result = stage(tmp_path, QUESTION).apply(batch([f"{RIVER} {QUESTION} {RIVER}", RIVER]))
    cut, whole = result.column("text").to_pylist()
    head, tail = cut.split("\n\n")
    assert RIVER.startswith(head)
    assert RIVER.endswith(tail)
    for piece in (head, tail):
        assert 0 <= len(RIVER) - len(piece) - 199 <= 12  # a space stays behind, and no word is cut
    assert whole == RIVER
    assert result.column("contaminated").to_pylist() == [16 - 12, 0]
    assert result.column("contaminated_by").to_pylist() == ["quiz:4", None]
    assert result.column("dropped_by").null_count == 2


def test_a_document_is_dropped_with_its_reason(tmp_path: Path) -> None:
    many = f" {QUESTION} ".join([RIVER] * 12)
    texts = [QUESTION, many, f" {QUESTION} ".join([RIVER] * 11)]
    result = stage(tmp_path, QUESTION).apply(batch(texts))
    assert result.column("dropped_by").to_pylist() == [
        "decontaminate.nothing_left",
        "decontaminate.too_many_cuts",
        None,
    ]
    assert result.column("value").to_pylist() == [0, 11, None]
    assert result.column("limit").to_pylist() == [200, 10, None]
    assert result.column("text").to_pylist()[:2] == texts[:2]
    dropped = stage(tmp_path, QUESTION, action="drop").apply(batch([many, RIVER, None]))
    assert dropped.column("dropped_by").to_pylist() == ["decontaminate.overlap", None, None]
    assert dropped.column("value").to_pylist() == [44, None, None]
    assert dropped.column("text").to_pylist() == [many, RIVER, None]


def test_rows_without_text_or_already_out_are_left_alone(tmp_path: Path) -> None:
    rows = batch([None, QUESTION, QUESTION], dropped_by=[None, "rules.x", None], quarantined_by=[None, None, "a.b"])
    result = stage(tmp_path, QUESTION).apply(rows)
    assert result.column("text") == rows.column("text")
    assert result.column("dropped_by").to_pylist() == [None, "rules.x", None]
    assert result.column("contaminated").null_count == 3
    assert stage(tmp_path, QUESTION).apply(rows.slice(0, 0)).num_rows == 0


def test_a_short_question_is_one_gram_and_a_shorter_one_none(tmp_path: Path) -> None:
    looked_for = stage(tmp_path, SHORT, "Too short to say.", QUESTION, action="drop")
    texts = [f"{RIVER} {SHORT} {RIVER}", f"{RIVER} {SHORT[:-6]} {RIVER}", "Too short to say."]
    assert looked_for.apply(batch(texts)).column("contaminated").to_pylist() == [1, 0, 0]
    counts = decontaminate._opened(looked_for.benchmarks, 13, ()).counts["quiz"]
    assert counts == {"texts": 3, "too_short": 1, "grams": 5}


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=0, max_size=50).map(" ".join)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(WORDS, min_size=1, max_size=4), question=st.permutations(["a", "b", "c", "d", "e"]).map(" ".join))
def test_a_second_application_finds_nothing(tmp_path_factory, texts: list[str], question: str) -> None:
    folder = tmp_path_factory.mktemp("quiz")
    looked_for = stage(folder, question, words=3, margin_characters=1, min_piece_characters=1)
    first = looked_for.apply(batch(texts))
    stay = first.filter(first.column("dropped_by").is_null())
    again = looked_for.apply(stay.select(["text"]))
    assert again.column("contaminated").to_pylist() == [0] * stay.num_rows
    assert again.column("text").to_pylist() == stay.column("text").to_pylist()
    one_by_one = [looked_for.apply(batch([text])).to_pylist()[0] for text in texts]
    assert one_by_one == first.to_pylist()  # a pure function of the document


SCRIPTS = {"en", "zh", "th", "ar", "hi", "ru", "ja", "te", "bn", "el", "vi", "ro", "python"}


def questions(shared_data: Path) -> dict[str, list[str]]:
    """Texts by benchmark and language, without the words of a prompt."""
    out: dict[str, list[str]] = {}
    for path in sorted(shared_data.glob("labelled/decontam-*.jsonl.zst")):
        with path.open("rb") as file:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
                record = json.loads(line)
                out.setdefault(f"{record['benchmark']}-{record['lang']}", []).append(record["text"])
    return out


@pytest.mark.slow
def test_planted_questions_are_found_in_every_language(shared_data: Path) -> None:
    files = tuple(str(path) for path in sorted(shared_data.glob("labelled/decontam-*.jsonl.zst")))
    looked_for = Decontaminate(benchmarks=files, action="drop")
    assert looked_for.apply(batch([RIVER])).column("contaminated").to_pylist() == [0]
    opened = decontaminate._opened(files, 13, ())
    assert opened.bytes < 100_000_000
    assert sum(counts["grams"] for counts in opened.counts.values()) == len(opened.index.hashes)
    draw = random.Random(1)
    planted: list[tuple[str, str]] = []
    for name, texts in questions(shared_data).items():
        unspaced = name.split("-")[1] in ("zh", "ja", "th")
        long = [text for text in texts if len(text) > 60 and (unspaced or len(text.split()) > 12)]
        planted += [(name, text) for text in draw.sample(long, min(20, len(long)))]
    assert {name.split("-")[1] for name, _ in planted} >= SCRIPTS
    result = looked_for.apply(batch([f"{RIVER}\n{text.upper()}\n{RIVER}" for _, text in planted]))
    for (name, text), described in zip(planted, result.column("contaminated_by").to_pylist()):
        assert name.split("-")[0] in dict(shares_of(described)), text


def test_a_prompt_s_labels_are_no_part_of_a_question(tmp_path: Path) -> None:
    text = f"Passage: {RIVER[:120]}\nQuestion: {SHORT}\nAnswer:"
    assert [part.strip() for _, part in benchmark_texts(stage(tmp_path, text).benchmarks[0])] == [RIVER[:120], SHORT]


def test_every_format_gives_the_same_texts(tmp_path: Path) -> None:
    records: list[dict] = [
        {"id": "x" * 99, "question": QUESTION, "choices": ["one", {"text": "two"}], "license": RIVER, "answer": 3},
        {"benchmark": "other", "question": "three"},
    ]
    plain = Path(jsonl(tmp_path / "a.jsonl", records))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(plain.read_bytes()) * 1)
    (tmp_path / "a.json").write_text(json.dumps(records, indent=1))
    expected = [("a", QUESTION), ("a", "one"), ("a", "two"), ("other", "three")]
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json"):
        assert list(benchmark_texts(str(tmp_path / name))) == expected
    pq.write_table(pa.table({"question": [QUESTION, "three"], "id": ["1", "2"]}), tmp_path / "a.parquet")
    assert list(benchmark_texts(str(tmp_path / "a.parquet"))) == [("a", QUESTION), ("a", "three")]
    assert list(benchmark_texts(str(plain), ["choices"])) == expected[1:3]


BROKEN = {
    "empty.jsonl": (b"", "no record has any text"),
    "numbers.jsonl": (b'{"question": 5}\n', "no record has any text"),
    "half.jsonl": (b'{"question": "a"}\n{"question": "b', "half.jsonl:2: is no JSON"),
    "list.jsonl": (b"[1, 2]\n", "list.jsonl:1: is no JSON object"),
    "latin.jsonl": ('{"question": "é"}\n'.encode("latin-1"), "latin.jsonl:1: is no JSON"),
    "cut.jsonl.zst": (zstandard.compress(b'{"question": "a b c"}\n' * 5000)[:-9], "cannot be unpacked"),
    "cut.jsonl.gz": (gzip.compress(b'{"question": "a b c"}\n' * 5000)[:-9], "cannot be unpacked"),
    "half.json": (b'[{"question": "a"}', "half.json: is no JSON"),
    "text.json": (b'["a"]', "where a record should be"),
    "not.parquet": (b"PAR1", "is no whole Parquet file"),
    "notes.docx": (b"PK", "is no benchmark file"),
    "missing.jsonl": (None, "no such file"),
    "brief.jsonl": (b'{"question": "Too short."}\n', "yields no gram"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_benchmark_that_cannot_be_looked_for_is_an_error_of_one_sentence(tmp_path: Path, name: str) -> None:
    content, said = BROKEN[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, RuntimeError), match=re.escape(said)) as raised:
        Decontaminate(benchmarks=(str(tmp_path / name),)).apply(batch([RIVER]))
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


def test_a_benchmark_of_too_many_grams_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decontamination_index, "MAX_GRAMS", 100)
    with pytest.raises(ValueError, match="more than 100 grams; index the questions alone"):
        stage(tmp_path, RIVER).apply(batch([RIVER]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"benchmarks": ()}, "benchmarks: names no file"),
        ({"words": 1}, "words: 1 is out of range"),
        ({"max_cuts": -1}, "max_cuts: -1 is negative"),
        ({"action": "mark"}, "unknown action 'mark'"),
    ],
)
def test_a_wrong_configuration_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=f"stages.decontaminate.*{said}"):
        Decontaminate(**{"benchmarks": ("a.jsonl",), **options})


def test_an_index_that_does_not_find_its_question_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decontamination_index, "bit_filter", lambda hashes: decontamination_index.np.zeros(1, "u8"))
    with pytest.raises(RuntimeError, match="a planted question of quiz is not found"):
        stage(tmp_path, QUESTION).apply(batch([RIVER]))


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    looked_for = stage(tmp_path, QUESTION)
    expected = looked_for.apply(batch([f"{RIVER} {QUESTION}"])).to_pylist()
    [index] = (tmp_path / "cache").glob("*/hashes.npy")
    content = index.read_bytes()
    for damaged in (content[:-1] + b"\0", content[:-8], b""):
        index.unlink()
        index.write_bytes(damaged)
        decontaminate._opened.cache_clear()
        assert looked_for.apply(batch([f"{RIVER} {QUESTION}"])).to_pylist() == expected
        assert index.read_bytes() == content


def _open_in_a_process(paths: tuple[str, ...], cache: str) -> bytes:
    decontamination_index.cache_folder = lambda: Path(cache)
    return decontamination_index.open_index(paths, 13, 8, ()).index.hashes.tobytes()


def test_processes_that_open_at_once_get_one_index(tmp_path: Path) -> None:
    paths = stage(tmp_path, QUESTION, RIVER).benchmarks
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(_open_in_a_process, [(paths, str(tmp_path / "cache"))] * 4)
    assert len(set(found)) == 1
    assert len(list((tmp_path / "cache").glob("*/index.json"))) == 1


def test_the_report_counts_documents_and_grams_by_benchmark_and_source(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", [{"question": QUESTION, "benchmark": "b"}, {"question": RIVER, "benchmark": "c"}])
    looked_for = Decontaminate(benchmarks=(str(tmp_path / "b.jsonl"),), action="drop")
    result = looked_for.apply(batch([QUESTION, RIVER[:-1], QUESTION + RIVER], source=["web", "books", "web"]))
    rows = contamination_report([result, result.slice(0, 1)]).to_pylist()
    assert [(row["benchmark"], row["source"], row["documents"]) for row in rows] == [
        ("c", "books", 1),
        ("c", "web", 1),
        ("b", "web", 3),
    ]
    assert rows[2]["grams"] == 4 * 3
