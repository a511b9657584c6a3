"""Shards: read back by our reader, by numpy alone, by Megatron; damage is found."""

from __future__ import annotations

import io
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenizer.manifest import data_args, manifest, read_manifest, verify_shards, write_manifest
from gristmill.tokenizer.shards import DOCUMENT_COLUMNS, Layout, ShardReader, ShardWriter, open_to_write

documents_of_tokens = st.lists(st.lists(st.integers(0, 255_999), max_size=20), max_size=12)


def table(n: int, start: int = 0) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([(start + i).to_bytes(16, "big") for i in range(n)], pa.binary(16)),
            "epoch": pa.array([0] * n, pa.int32()),
            "domain": pa.array([("english", "code", "multilingual")[i % 3] for i in range(n)], pa.string()),
            "source": pa.array(["machine"] * n, pa.string()),
            "language": pa.array(["en"] * n, pa.string()),
            "category": pa.array([None] * n, pa.string()),
            "bytes": pa.array([10] * n, pa.int64()),
        }
    )


def write(prefix, documents, batch=5, **options) -> dict:
    writer = ShardWriter(prefix, **options)
    for i in range(0, len(documents), batch):
        part = documents[i : i + batch]
        offsets = np.concatenate([[0], np.cumsum([len(d) for d in part])]).astype(np.int64)
        writer.append(
            np.array([token for document in part for token in document], np.int32), offsets, table(len(part), i)
        )
    return writer.close()


@settings(deadline=None, max_examples=60)
@given(documents_of_tokens)
def test_reader_gives_back_what_was_written(tmp_path_factory, documents):
    prefix = tmp_path_factory.mktemp("shard") / "shard-00000"
    entry = write(prefix, documents)
    reader = ShardReader(prefix)
    assert [reader[i].tolist() for i in range(len(reader))] == documents
    rows = reader.documents()
    assert rows.column_names == list(DOCUMENT_COLUMNS)
    for row, document in zip(rows.to_pylist(), documents, strict=True):
        assert reader.tokens[row["first_token"] : row["first_token"] + row["tokens"]].tolist() == document
    assert (entry["documents"], entry["tokens"]) == (len(documents), sum(map(len, documents)))
    assert sum(entry["tokens_by_domain"].values()) == entry["tokens"]


def test_bytes_of_the_index_are_those_of_the_format(tmp_path):
    write(tmp_path / "s", [[7, 8, 3], [], [255_999, 3]])
    assert (tmp_path / "s.bin").read_bytes() == struct.pack("<5i", 7, 8, 3, 255_999, 3)
    assert (tmp_path / "s.idx").read_bytes() == (
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 4, 3, 4) + struct.pack("<3i", 3, 0, 2)
        + struct.pack("<3q", 0, 12, 12) + struct.pack("<4q", 0, 1, 2, 3)
    )  # fmt: skip


def test_batches_do_not_show_in_tokens_or_index(tmp_path):
    documents = [[i] * (i % 7) for i in range(40)]
    write(tmp_path / "a", documents, batch=1)
    write(tmp_path / "b", documents, batch=40)
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@settings(deadline=None, max_examples=20)
@given(documents_of_tokens.filter(lambda documents: any(documents)))
def test_megatron_reads_the_shard(tmp_path_factory, documents):
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    prefix = str(tmp_path_factory.mktemp("shard") / "shard")
    write(prefix, documents)
    dataset = indexed.IndexedDataset(prefix)
    assert dataset.index.dtype == np.int32
    assert [dataset[i].tolist() for i in range(len(dataset))] == documents
    assert dataset.document_indices.tolist() == list(range(len(documents) + 1))
    longest = max(range(len(documents)), key=lambda i: len(documents[i]))
    assert dataset.get(longest, offset=0, length=1).tolist() == documents[longest][:1]


def test_our_bytes_are_those_of_megatrons_own_writer(tmp_path):
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    torch = pytest.importorskip("torch")
    documents = [[5, 6, 3], [3], list(range(1000, 1100))]
    write(tmp_path / "ours", documents)
    builder = indexed.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=np.int32)
    for document in documents:
        builder.add_document(torch.tensor(document), [len(document)])
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()


def test_numpy_alone_reads_the_shard(tmp_path):
    write(tmp_path / "s", [[1, 2, 3], [4, 3]])
    assert np.fromfile(tmp_path / "s.bin", "<i4").tolist() == [1, 2, 3, 4, 3]


def test_files_go_where_the_opener_puts_them():
    store: dict[str, bytes] = {}

    class Kept(io.BytesIO):
        def __init__(self, path):
            super().__init__()
            self.path = path

        def close(self):
            store[self.path] = self.getvalue()
            super().close()

    entry = write("bucket/s", [[1, 3], [2, 3]], open=Kept)
    folder = manifest([entry], blend="b", seed=1, tokenizer_sha256="0" * 64, vocab_size=10, eos_id=3)
    write_manifest("bucket", folder, Kept)
    assert sorted(store) == ["bucket/manifest.json", "bucket/s.bin", "bucket/s.docs.parquet", "bucket/s.idx"]
    assert verify_shards("bucket", lambda path: io.BytesIO(store[path])) == []


def test_pyarrow_filesystems_work(tmp_path):
    from pyarrow import fs

    local = fs.LocalFileSystem()
    write(str(tmp_path / "s"), [[1, 3]], open=local.open_output_stream)
    assert ShardReader(tmp_path / "s")[0].tolist() == [1, 3]


@pytest.fixture
def folder(tmp_path):
    entries = [write(tmp_path / f"shard-{k:05}", [[k, i, 3] for i in range(10 + k)]) for k in range(2)]
    content = manifest(entries, blend="pretrain", seed=1, tokenizer_sha256="ab" * 32, vocab_size=4000, eos_id=3)
    write_manifest(str(tmp_path), content)
    return tmp_path


def test_manifest_adds_up_and_comes_back(folder):
    content = read_manifest(str(folder))
    assert content["documents"] == 21
    assert content["tokens"] == 63
    assert sum(content["tokens_by_domain"].values()) == 63
    assert [shard["name"] for shard in content["shards"]] == ["shard-00000", "shard-00001"]
    assert verify_shards(str(folder)) == []


def test_one_flipped_bit_in_any_file_is_found(folder):
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        for at in {0, len(good) - 1, *rng.integers(0, len(good), 60).tolist()}:
            bad = bytearray(good)
            bad[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            problems = verify_shards(str(folder))
            assert len(problems) == 1
            assert path.name in problems[0]
        path.write_bytes(good)
    assert verify_shards(str(folder)) == []


def test_missing_and_cut_files_are_named(folder):
    (folder / "shard-00000.bin").write_bytes((folder / "shard-00000.bin").read_bytes()[:-4])
    (folder / "shard-00001.docs.parquet").unlink()
    first, second = verify_shards(str(folder))
    assert "shard-00000.bin: 116 bytes where the manifest has 120" in first
    assert "shard-00001.docs.parquet: no such file" in second


def test_a_manifest_that_disagrees_with_its_shards_is_found(folder):
    content = read_manifest(str(folder))
    entries = [{**shard, "tokens": shard["tokens"] + 1} for shard in content["shards"]]
    keys = ("blend", "seed", "tokenizer_sha256", "vocab_size", "eos_id")
    write_manifest(str(folder), manifest(entries, **{key: content[key] for key in keys}))
    assert "tokens are 30 where the manifest has 31" in verify_shards(str(folder))[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: b"", "not a Megatron index"),
        (lambda d: b"X" + d[1:], "not a Megatron index"),
        (lambda d: d[:9] + struct.pack("<Q", 2) + d[17:], "index version 2 where 1 is read"),
        (lambda d: d[:17] + b"\x07" + d[18:], "dtype code 7 is not"),
        (lambda d: d[:-1], "copy the shard again"),
        (lambda d: d[:34] + struct.pack("<i", 99) + d[38:], "pointers do not follow"),
        (lambda d: d[:-8] + struct.pack("<q", 99), "document ends do not run"),
    ],
)
def test_a_damaged_index_is_one_sentence(tmp_path, damage, message):
    write(tmp_path / "s", [[1, 3], [2, 3]])
    path = tmp_path / "s.idx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        ShardReader(tmp_path / "s")
    assert "s.idx" in str(error.value)


def test_a_damaged_payload_is_one_sentence(tmp_path):
    write(tmp_path / "s", [[1, 3], [2, 3]])
    (tmp_path / "s.bin").write_bytes(b"\0" * 12)
    with pytest.raises(ValueError, match=r"3 tokens, the .idx has 4"):
        ShardReader(tmp_path / "s")
    (tmp_path / "s.bin").write_bytes(b"\0" * 13)
    with pytest.raises(ValueError, match="not a whole number"):
        ShardReader(tmp_path / "s")
    (tmp_path / "s.bin").unlink()
    with pytest.raises(ValueError, match="no such file"):
        ShardReader(tmp_path / "s")


def test_what_does_not_belong_together_is_refused(tmp_path):
    writer = ShardWriter(tmp_path / "s")
    with pytest.raises(ValueError, match="do not belong together"):
        writer.append(np.zeros(3, np.int32), np.array([0, 2]), table(1))
    with pytest.raises(ValueError, match="token ids are int64"):
        writer.append(np.zeros(2, np.int64), np.array([0, 2]), table(1))


def test_an_aborted_shard_is_not_read_as_a_whole_one(tmp_path):
    with pytest.raises(ValueError, match="belong together"), ShardWriter(tmp_path / "s") as writer:
        writer.append(np.zeros(2, np.int32), np.array([0, 2]), table(2))
    with pytest.raises(ValueError, match="no such file"):
        ShardReader(tmp_path / "s")


def test_a_uint16_shard_of_others_is_read(tmp_path):
    (tmp_path / "s.bin").write_bytes(struct.pack("<3H", 1, 2, 65535))
    (tmp_path / "s.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 1, 2) + struct.pack("<i", 3) + struct.pack("<3q", 0, 0, 1)
    )
    assert ShardReader(tmp_path / "s")[0].tolist() == [1, 2, 65535]


def test_document_table_is_the_same_for_the_same_batches(tmp_path):
    for name in "ab":
        write(tmp_path / name, [[1, 3], [2, 3]])
    assert (tmp_path / "a.docs.parquet").read_bytes() == (tmp_path / "b.docs.parquet").read_bytes()
    assert pq.read_schema(tmp_path / "a.docs.parquet").field("first_token").type == pa.int64()
    assert open_to_write(str(tmp_path / "deep" / "er" / "x")).close() is None


def test_the_dtype_is_megatrons_where_it_is_left_to_the_vocabulary():
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    for size in (100, 65_499, 65_500, 65_536, 65_537, 256_000):
        layout = Layout.of("auto", ["megatron"], size, "t")
        assert np.dtype(layout.dtype) == indexed.DType.optimal_dtype(size)
        assert Layout.of("int32", ["megatron"], size, "t") == Layout()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 65_499), max_size=20), min_size=1, max_size=12).filter(any))
def test_megatron_reads_a_uint16_shard_and_writes_the_same_bytes(tmp_path_factory, documents):
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset", exc_type=ImportError)
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("shard")
    write(folder / "ours", documents, layout=Layout("uint16"))
    dataset = indexed.IndexedDataset(str(folder / "ours"))
    assert dataset.index.dtype == np.uint16
    assert [dataset[i].tolist() for i in range(len(dataset))] == documents
    reader = ShardReader(folder / "ours")
    assert (reader.dtype, [reader[i].tolist() for i in range(len(reader))]) == (np.dtype("<u2"), documents)
    builder = indexed.IndexedDatasetBuilder(str(folder / "theirs.bin"), dtype=np.uint16)
    for document in documents:
        builder.add_document(torch.tensor(document, dtype=torch.int64), [len(document)])
    builder.finalize(str(folder / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        assert (folder / f"ours{suffix}").read_bytes() == (folder / f"theirs{suffix}").read_bytes()


def test_an_id_beyond_uint16_is_refused(tmp_path):
    with pytest.raises(ValueError, match="65536 does not fit uint16"):
        write(tmp_path / "s", [[1, 65_536]], layout=Layout("uint16"))


@pytest.mark.parametrize(
    ("dtype", "vocab_size", "kind", "written"),
    [("int32", 60_000, "<u2", True), ("auto", 60_000, "<u2", False), ("int32", 256_000, "<u4", False),
     ("auto", 65_530, "<u2", True)],
)  # fmt: skip
def test_datatroves_files_are_tokens_ends_and_three_lines(tmp_path, dtype, vocab_size, kind, written):
    """As DocumentTokenizer writes them: uint16 up to 65,536 pieces, which nanotron works out from the tokenizer."""
    documents = [[7, 8, 3], [], [59_999, 3]]
    layout = Layout.of(dtype, ["megatron", "datatrove"], vocab_size, "gristmill-0123")
    entry = write(tmp_path / "s", documents, layout=layout)
    assert (tmp_path / "s.ds").exists() == written
    tokens = tmp_path / ("s.ds" if written else "s.bin")  # the same bytes: the step that places the shard links it
    assert np.fromfile(tokens, kind).tolist() == [7, 8, 3, 59_999, 3]
    assert np.fromfile(tmp_path / "s.ds.index", "<u8").tolist() == [3, 3, 5]
    name, tokens_in_all, _ = (tmp_path / "s.ds.metadata").read_text().split("\n")
    assert (name, tokens_in_all) == (f"gristmill-0123|{np.dtype(kind).itemsize}", "5")
    sums = {file["name"]: file for file in entry["files"]}
    assert list(sums) == ["s.bin", "s.idx", "s.docs.parquet", "s.ds", "s.ds.index", "s.ds.metadata"]
    if not written:
        assert {**sums["s.ds"], "name": ""} == {**sums["s.bin"], "name": ""}


def test_megatrons_list_of_paths_has_a_weight_and_a_prefix_a_shard(tmp_path):
    entries = [write(tmp_path / f"shard-0000{i}", [[1] * (i + 1), [3]]) for i in range(2)]
    content = manifest(entries, blend="b", seed=1, tokenizer_sha256="0" * 64, vocab_size=10, eos_id=3)
    assert data_args(content).split() == [b"2", b"shard-00000", b"3", b"shard-00001"]


def test_a_manifest_that_names_another_dtype_is_found(tmp_path):
    entry = write(tmp_path / "s", [[1, 3]], layout=Layout("uint16"))
    facts = {"blend": "b", "seed": 1, "tokenizer_sha256": "0" * 64, "vocab_size": 10, "eos_id": 3}
    write_manifest(str(tmp_path), manifest([entry], dtype="uint16", **facts))
    assert verify_shards(str(tmp_path)) == []
    write_manifest(str(tmp_path), manifest([entry], **facts))
    [problem] = verify_shards(str(tmp_path))
    assert "uint16 where the manifest has int32" in problem
