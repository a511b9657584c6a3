"""Token shards: Megatron-LM's IndexedDataset with a table of the documents beside it.

    <prefix>.bin           token ids of all documents end to end, int32 or uint16, little-endian, no header
    <prefix>.idx           MMIDIDX\\0\\0 · u64 version 1 · u8 dtype code · u64 S · u64 D = S + 1
                           · S × int32 lengths · S × int64 byte pointers · D × int64 document ends (0 first)
    <prefix>.docs.parquet  per document: where it came from, first_token, tokens (DOCUMENT_COLUMNS)

and, for datatrove and nanotron, where they are asked for (`datatrove/pipeline/tokens/tokenizer.py`):

    <prefix>.ds            the same token ids as uint16 or uint32, as the vocabulary's size says
    <prefix>.ds.index      where every document ends, in tokens, uint64
    <prefix>.ds.metadata   three lines: tokenizer|bytes a token, tokens, tokens for people

One sequence is one document. The writer streams: what it holds is 4 bytes a document. The reader maps the files
and copies nothing. Layout: Megatron-LM, megatron/core/datasets/indexed_dataset.py. Manifests are in `manifest`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypedDict

import numpy as np

from gristmill.kernels.text.hexadecimal import in_hex
from gristmill.storage.parquet import read_table

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from _typeshed import ReadableBuffer

MAGIC = b"MMIDIDX\0\0"
VERSION = 1
HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences S, documents D
DTYPES: dict[int, np.dtype] = {4: np.dtype("<i4"), 8: np.dtype("<u2")}  # Megatron-LM's codes for what token shards use
CODES = {"int32": 4, "uint16": 8}
MEGATRON_UINT16 = 65_500
"""Vocabularies below it are uint16 in Megatron-LM (`DType.optimal_dtype`)."""
DATATROVE_UINT16 = 65_536
"""Vocabularies up to it have two bytes a token in datatrove and nanotron, which work it out from the tokenizer."""
LONGEST = 2**31 - 1  # lengths are int32

GIVEN_COLUMNS = ("id", "epoch", "domain", "source", "language", "category", "bytes")
DOCUMENT_COLUMNS = (*GIVEN_COLUMNS, "first_token", "tokens")

Format = Literal["megatron", "datatrove"]
Dtype = Literal["int32", "auto"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the token ids of a shard are written."""

    dtype: Literal["int32", "uint16"] = "int32"
    """Of the `.bin`."""
    token_bytes: int = 0
    """Of datatrove's `.ds`, 2 or 4; 0: there is none."""
    tokenizer: str = ""
    """As `.ds.metadata` names it."""

    @classmethod
    def of(cls, dtype: Dtype, formats: Sequence[Format], vocab_size: int, tokenizer: str) -> Layout:
        """dtype `auto`: uint16 where the vocabulary fits, as Megatron-LM decides; formats: besides Megatron's."""
        small = dtype == "auto" and vocab_size < MEGATRON_UINT16
        token_bytes = (2 if vocab_size <= DATATROVE_UINT16 else 4) if "datatrove" in formats else 0
        return cls("uint16" if small else "int32", token_bytes, tokenizer if token_bytes else "")

    @property
    def same_bytes(self) -> bool:
        """Whether the `.ds` has the bytes of the `.bin`, so that it need not be written."""
        return self.token_bytes == np.dtype(self.dtype).itemsize


Open = Callable[[str], BinaryIO]
"""Opens a path for reading or for writing, binary; `pyarrow.fs` streams do."""


class FileSum(TypedDict):
    """Size and checksum of a file as it was written."""

    bytes: int
    xxh3_128: str


class ShardFile(FileSum):
    name: str


class ShardEntry(TypedDict):
    """A shard in the manifest."""

    name: str
    documents: int
    tokens: int
    tokens_by_domain: dict[str, int]
    files: list[ShardFile]


def open_to_write(path: str) -> BinaryIO:
    """A local file to write, its folder made where needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, "wb")


def open_to_read(path: str) -> BinaryIO:
    """A local file to read."""
    return open(path, "rb")


class ShardWriter:
    """Writes one shard, batch by batch; `close` gives its entry for the manifest.

    prefix: path without suffix. open: where the files go. A `.ds` with the bytes of the `.bin` is in the entry, but
    not written: whoever places the shard links or copies it. As a context manager the writer closes on success only:
    after an error there is no `.idx`, and no reader takes the shard for a whole one.
    """

    def __init__(self, prefix: str | Path, open: Open = open_to_write, layout: Layout | None = None):
        self.prefix = str(prefix)
        self._open = open
        self._layout = layout or Layout()
        self._tokens_file = None
        if self._layout.token_bytes and not self._layout.same_bytes:
            self._tokens_file = _Summed(open(self.prefix + ".ds"))
        self._bin = _Summed(open(self.prefix + ".bin"))
        self._documents = _Summed(open(self.prefix + ".docs.parquet"))
        self._table: pq.ParquetWriter | None = None
        self._lengths: list[np.ndarray] = []
        self._tokens = 0
        self._tokens_by_domain: dict[str, int] = {}

    def append(self, values: np.ndarray, offsets: np.ndarray, documents: pa.Table | pa.RecordBatch) -> None:
        """Adds documents. values: (tokens,) int32 ids; offsets: (n + 1,) int64 into values, from 0; documents: n
        rows with the columns id (binary 16, written as 32 digits), epoch, domain, source, language, category, bytes.
        """
        lengths = np.diff(offsets)
        if len(lengths) != documents.num_rows or offsets[0] != 0 or offsets[-1] != len(values) or (lengths < 0).any():
            raise ValueError(
                f"{self.prefix}: {documents.num_rows} documents, {len(lengths)} lengths and {len(values)} tokens "
                f"do not belong together"
            )
        if lengths.max(initial=0) > LONGEST:
            raise ValueError(f"{self.prefix}: a document of {lengths.max():,} tokens is over {LONGEST:,}: cut it first")
        if values.dtype != np.int32:
            raise ValueError(f"{self.prefix}: token ids are {values.dtype}: give int32")
        if self._layout.dtype == "uint16" and values.max(initial=0) > 0xFFFF:
            raise ValueError(f"{self.prefix}: token id {values.max()} does not fit uint16: write int32")
        self._bin.write(np.ascontiguousarray(values, DTYPES[CODES[self._layout.dtype]]).view(np.uint8).data)
        if self._tokens_file is not None:
            self._tokens_file.write(np.ascontiguousarray(values, f"<u{self._layout.token_bytes}").view(np.uint8).data)
        table = _document_table(documents, self._tokens + offsets[:-1], lengths)
        self._write_rows(table)
        self._lengths.append(lengths.astype("<i4"))
        self._tokens += len(values)
        for row in table.group_by("domain").aggregate([("tokens", "sum")]).to_pylist():
            domain = row["domain"] or ""
            self._tokens_by_domain[domain] = self._tokens_by_domain.get(domain, 0) + row["tokens_sum"]

    def close(self) -> ShardEntry:
        """Writes the index, closes the files; returns the shard's entry."""
        table = self._table
        if table is None:
            table = self._write_rows(_document_table(None, np.empty(0, np.int64), np.empty(0, np.int64)))
        table.close()
        lengths = np.concatenate([np.empty(0, "<i4"), *self._lengths])
        index = _Summed(self._open(self.prefix + ".idx"))
        code = CODES[self._layout.dtype]
        index.write(HEADER.pack(MAGIC, VERSION, code, len(lengths), len(lengths) + 1))
        index.write(lengths.view(np.uint8).data)
        index.write(_pointers(lengths, DTYPES[code].itemsize).view(np.uint8).data)
        index.write(np.arange(len(lengths) + 1, dtype="<i8").view(np.uint8).data)
        name = Path(self.prefix).name
        written = {".bin": self._bin.finish(), ".idx": index.finish(), ".docs.parquet": self._documents.finish()}
        if self._layout.token_bytes:
            written |= self._datatrove(lengths, written[".bin"])
        return {
            "name": name,
            "documents": len(lengths),
            "tokens": self._tokens,
            "tokens_by_domain": dict(sorted(self._tokens_by_domain.items())),
            "files": [{"name": name + suffix, **file} for suffix, file in written.items()],
        }

    def _datatrove(self, lengths: np.ndarray, tokens: FileSum) -> dict[str, FileSum]:
        """The files of datatrove; tokens: the `.bin`."""
        ends = _Summed(self._open(self.prefix + ".ds.index"))
        ends.write(np.cumsum(lengths, dtype="<u8").view(np.uint8).data)
        facts = _Summed(self._open(self.prefix + ".ds.metadata"))
        total = f"{self._tokens / 1e6:.3g} MT"
        facts.write(f"{self._layout.tokenizer}|{self._layout.token_bytes}\n{self._tokens}\n{total}".encode())
        return {
            ".ds": tokens if self._tokens_file is None else self._tokens_file.finish(),
            ".ds.index": ends.finish(),
            ".ds.metadata": facts.finish(),
        }

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            for file in filter(None, (self._bin, self._tokens_file)):
                file.finish()

    def _write_rows(self, table: pa.Table) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        if self._table is None:
            self._table = pq.ParquetWriter(self._documents, table.schema, compression="zstd")
        self._table.write_table(table)
        return self._table


class ShardReader:
    """One shard, memory-mapped: `len(reader)` documents, `reader[i]` the ids of one, (tokens,) int32.

    Attributes: tokens, (total,) of the shard's dtype; lengths, (S,) int32; pointers, (S,) int64, in bytes.
    Raises ValueError with one sentence on a file that is missing, damaged or of another kind.
    """

    def __init__(self, prefix: str | Path):
        self.prefix = str(prefix)
        index = Path(self.prefix + ".idx")
        for path in (index, Path(self.prefix + ".bin")):
            if not path.is_file():
                raise ValueError(f"{path}: no such file; a shard is a .bin and an .idx of one name")
        size = index.stat().st_size
        mapped = np.memmap(index, np.uint8, "r") if size else np.empty(0, np.uint8)
        self.dtype, self.lengths, self.pointers, self.document_index = parse_index(mapped, str(index))
        payload = Path(self.prefix + ".bin")
        self.tokens = map_tokens(payload, self.dtype)
        total = int(self.lengths.sum(dtype=np.int64))
        if len(self.tokens) != total:
            raise ValueError(f"{payload}: {len(self.tokens):,} tokens, the .idx has {total:,}; copy the shard again")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        start = int(self.pointers[i]) // self.dtype.itemsize
        return self.tokens[start : start + int(self.lengths[i])]

    def documents(self, columns: list[str] | None = None) -> pa.Table:
        """The table of documents, in the order of the sequences; DOCUMENT_COLUMNS or those asked for."""
        path = self.prefix + ".docs.parquet"
        if not Path(path).is_file():
            raise ValueError(f"{path}: no such file; it is written beside the .bin")
        return read_table(path, columns=columns)


def parse_index(data: np.ndarray, path: str) -> tuple[np.dtype, np.ndarray, np.ndarray, np.ndarray]:
    """dtype, lengths (S,) int32, pointers (S,) int64 bytes, document index (D,) int64 of the bytes of an .idx file.

    data: (bytes,) uint8; the arrays are views of it. path names the file in errors.
    """
    if len(data) < HEADER.size or data[: len(MAGIC)].tobytes() != MAGIC:
        raise ValueError(f"{path}: not a Megatron index, it does not begin with {MAGIC[:7].decode()}; is it a shard?")
    _, version, code, sequences, documents = HEADER.unpack(data[: HEADER.size].tobytes())
    if version != VERSION:
        raise ValueError(f"{path}: index version {version} where {VERSION} is read; write the shard again")
    if code not in DTYPES:
        raise ValueError(f"{path}: dtype code {code} is not 4 (int32) or 8 (uint16); write the shard again")
    expected = HEADER.size + 12 * sequences + 8 * documents
    if len(data) != expected:
        raise ValueError(
            f"{path}: {len(data):,} bytes where {sequences:,} sequences and {documents:,} document ends need "
            f"{expected:,}; copy the shard again"
        )
    body = data[HEADER.size :]
    lengths = body[: 4 * sequences].view("<i4")
    pointers = body[4 * sequences : 12 * sequences].view("<i8")
    ends = body[12 * sequences :].view("<i8")
    if not np.array_equal(pointers, _pointers(lengths, DTYPES[code].itemsize)):
        raise ValueError(f"{path}: its pointers do not follow from its lengths; copy the shard again")
    if documents and (ends[0] != 0 or ends[-1] != sequences or (np.diff(ends) < 0).any()):
        raise ValueError(f"{path}: its document ends do not run from 0 to {sequences:,}; copy the shard again")
    return DTYPES[code], lengths, pointers, ends


def map_tokens(path: Path, dtype: np.dtype) -> np.ndarray:
    """A .bin file as an array without copying it."""
    size = path.stat().st_size
    if size % dtype.itemsize:
        raise ValueError(f"{path}: {size:,} bytes are not a whole number of {dtype} tokens; copy the shard again")
    return np.memmap(path, dtype, "r") if size else np.empty(0, dtype)  # an empty file cannot be mapped


def _pointers(lengths: np.ndarray, itemsize: int) -> np.ndarray:
    """Where each sequence starts, (S,) int64 bytes."""
    pointers = np.zeros(len(lengths), "<i8")
    np.cumsum(lengths[:-1], dtype=np.int64, out=pointers[1:])
    pointers *= itemsize
    return pointers


def _document_table(documents: pa.Table | pa.RecordBatch | None, first: np.ndarray, lengths: np.ndarray) -> pa.Table:
    import pyarrow as pa

    types = {
        "id": pa.string(),
        "epoch": pa.int32(),
        "domain": pa.string(),
        "source": pa.string(),
        "language": pa.string(),
        "category": pa.string(),
        "bytes": pa.int64(),
    }
    if documents is not None:
        documents = in_hex(pa.table(documents))
    columns = {
        name: documents[name].cast(type_) if documents is not None else pa.array([], type_)
        for name, type_ in types.items()
    }
    return pa.table({**columns, "first_token": pa.array(first, pa.int64()), "tokens": pa.array(lengths, pa.int32())})


class _Summed:
    """A file that is written once, front to back, with its size and checksum taken on the way."""

    closed = False

    def __init__(self, file: BinaryIO):
        import xxhash

        self._file = file
        self._hash = xxhash.xxh3_128()
        self._bytes = 0

    def write(self, data: ReadableBuffer) -> int:
        content = memoryview(data).cast("B") if len(memoryview(data)) else b""
        self._hash.update(content)
        self._file.write(content)
        self._bytes += len(content)
        return len(content)

    def tell(self) -> int:
        return self._bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def finish(self) -> FileSum:
        self._file.close()
        return {"bytes": self._bytes, "xxh3_128": self._hash.hexdigest()}
