"""A folder of shards as numbered windows of s + 1 tokens.

Window w of a shard starts at token w * s and holds s + 1 tokens, so neighbours share one: every token but a shard's
first is a label exactly once per epoch. Windows do not cross shards; the tail of fewer than s tokens of each shard is
left out. A window is found by binary search over the shards' counts, its documents by binary search over the shard's
document starts; files are memory-mapped and opened when first needed. Which domain a document is of stands in the
shard's table of documents, read once per shard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.tokenizer.manifest import read_manifest
from gristmill.tokenizer.shards import ShardReader
from gristmill.trainer.errors import ConfigError

OPEN_SHARDS = 256
"""Shards of a set held open at a time."""


@dataclass(frozen=True)
class Window:
    """tokens: int32 or uint16 [s + 1]. begins: where documents start among the first s, int64, ascending, from 0.
    domains: int16 [s], of each label (the tokens but the first): index into the set's `domains`."""

    tokens: np.ndarray
    begins: np.ndarray
    domains: np.ndarray


class ShardSet:
    """folder: with manifest.json; sequence: s; identity: the manifest's own checksum, which keys the windows' order."""

    def __init__(self, folder: str | Path, sequence: int):
        self.folder, self.sequence = str(folder), sequence
        try:
            self.manifest = read_manifest(self.folder)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.identity = bytes.fromhex(self.manifest["xxh3_128"])
        shards = self.manifest["shards"]
        self._names = [shard["name"] for shard in shards]
        windows = np.array([max(0, (shard["tokens"] - 1) // sequence) for shard in shards], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(windows)])  # first window of each shard
        self.domains: list[str] = sorted(self.manifest["tokens_by_domain"])
        self.reader = lru_cache(OPEN_SHARDS)(self._open)
        self._document_domains = lru_cache(OPEN_SHARDS)(self._read_domains)

    def __len__(self) -> int:
        """Windows of one epoch."""
        return int(self._starts[-1])

    @property
    def tokens(self) -> int:
        return int(self.manifest["tokens"])

    @property
    def vocab_size(self) -> int:
        return int(self.manifest["vocab_size"])

    def window(self, index: int) -> Window:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        reader = self.reader(shard)
        size, length = reader.dtype.itemsize, self.sequence
        offset = (index - int(self._starts[shard])) * length
        # documents that start at tokens offset + 1 .. offset + s; empty ones start where the next one does
        low = int(np.searchsorted(reader.pointers, np.int64(offset) * size, side="right"))
        high = int(np.searchsorted(reader.pointers, np.int64(offset + length) * size, side="right"))
        starts = reader.pointers[low:high] // size - offset  # 1 .. s
        of_label = np.diff(np.concatenate([[0], starts - 1, [length]]))  # labels in each document
        domains = np.repeat(self._document_domains(shard)[low - 1 : high], of_label)
        begins = np.concatenate([[0], np.unique(starts[starts < length])])
        return Window(reader.tokens[offset : offset + length + 1], begins, domains)

    def _read_domains(self, shard: int) -> np.ndarray:
        """int16 [documents] of a shard: each one's domain as an index into `domains`."""
        table = self._reading(lambda: self.reader(shard).documents(["domain"]))
        column = table["domain"].combine_chunks().dictionary_encode()
        known = {name: i for i, name in enumerate(self.domains)}
        try:
            codes = np.array([known[name or ""] for name in column.dictionary.to_pylist()], np.int16)
        except KeyError as error:
            raise ConfigError(
                f"{self.folder}/{self._names[shard]}.docs.parquet: domain {error} is not in manifest.json: "
                "copy the shard again"
            ) from None
        if column.null_count:
            codes = np.append(codes, np.int16(known[""]))
        return codes[column.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)]

    def _open(self, shard: int) -> ShardReader:
        name = self._names[shard]
        reader = self._reading(lambda: ShardReader(f"{self.folder}/{name}"))
        claimed = self.manifest["shards"][shard]["tokens"]
        if len(reader.tokens) != claimed:
            raise ConfigError(
                f"{self.folder}/{name}.bin: {len(reader.tokens):,} tokens where manifest.json has {claimed:,}: "
                "copy the shard again"
            )
        return reader

    @staticmethod
    def _reading(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ValueError as error:
            raise ConfigError(str(error)) from error
