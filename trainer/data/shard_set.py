"""A folder of shards as numbered windows of s + 1 tokens.

Window w of a shard starts at token w * s and holds s + 1 tokens, so neighbours share one: every token but a shard's
first is a label exactly once per epoch. Windows do not cross shards; the tail of fewer than s tokens of each shard is
left out. A window is found by binary search over the shards' counts, its documents by binary search over the shard's
document starts; files are memory-mapped and opened when first needed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from tokenizer.manifest import read_manifest
from tokenizer.shards import ShardReader
from trainer.errors import ConfigError

OPEN_SHARDS = 256
"""Shards of a set held open at a time."""


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
        self.reader = lru_cache(OPEN_SHARDS)(self._open)

    def __len__(self) -> int:
        """Windows of one epoch."""
        return int(self._starts[-1])

    @property
    def tokens(self) -> int:
        return int(self.manifest["tokens"])

    @property
    def vocab_size(self) -> int:
        return int(self.manifest["vocab_size"])

    def window(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """tokens [s + 1], and where documents start among the first s of them: int64, ascending, the first is 0."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        reader = self.reader(shard)
        offset = (index - int(self._starts[shard])) * self.sequence
        tokens = reader.tokens[offset : offset + self.sequence + 1]
        first_bytes = np.int64(offset) * reader.dtype.itemsize
        last_bytes = np.int64(offset + self.sequence) * reader.dtype.itemsize
        low, high = np.searchsorted(reader.pointers, [first_bytes + 1, last_bytes], side="left")
        inside = np.unique(reader.pointers[low:high] // reader.dtype.itemsize - offset)
        return tokens, np.concatenate([[0], inside])

    def _open(self, shard: int) -> ShardReader:
        name = self._names[shard]
        try:
            reader = ShardReader(f"{self.folder}/{name}")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        claimed = self.manifest["shards"][shard]["tokens"]
        if len(reader.tokens) != claimed:
            raise ConfigError(
                f"{self.folder}/{name}.bin: {len(reader.tokens):,} tokens where manifest.json has {claimed:,}: "
                "copy the shard again"
            )
        return reader
