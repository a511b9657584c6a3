"""Sizes that follow from the input: what `auto` stands for.

    partitions    the smallest of 4, 8, … 256 MB with which there are at most 64 partitions
    pieces        8,192 for less than 45 MB of text, twice as many from there and for every eightfold of it, at most
                  256,000
    sample        an eighth of the text, 50 to 500 MB
    shards        the smallest of 2, 5, 10, … 100 M tokens with which an epoch has at most 32
    holdout       1 % of less than 1 GB of text, 0.1 % of more

They are functions of the inventory alone: its files, formats and sizes. Cores and memory must not enter, because the
same input gives the same bytes on any machine. All go in steps, so that a corpus may grow somewhat without being cut
anew; whoever adds to a corpus every day sets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gristmill.pipeline.engine.progress import size_text
from gristmill.pipeline.readers.segments import EXPANSION
from gristmill.tokenizer.train import VOCAB_SIZE

if TYPE_CHECKING:
    from gristmill.pipeline.readers.inventory import FileEntry

AUTO: Literal["auto"] = "auto"

PARTITIONS = 64
"""Enough for every core of a workstation to have several, few enough that tasks, which cost 0.05 s each and step
(`pipeline.plan.rates`), cost a laptop seconds in all."""
PARTITION_BYTES = tuple(4_000_000 << doublings for doublings in range(7))

LEAST_PIECES, MORE_PIECES_FROM, EIGHTFOLD = 8_192, 45_000_000, 8
"""256 bytes, 660 digits and some thousand characters of Chinese or Japanese come before the first piece that is
learned. From there to 256,000 pieces for trillions of tokens (Parmar et al. 2024a) the third root of the text leads
past what others train: 16,384 for 100 MB, 32,768 for 1 GB, 65,536 for 10 GB, 131,072 for 100 GB; GPT-2 has 50,257 from
40 GB (Radford et al. 2019), Llama 3 128,256 from 15 T tokens. With fewer bytes a piece is seen so seldom that its
embedding is not learned: Gowda and May 2020 (arXiv:2004.02334) ask for a hundred times."""

SAMPLE_SHARE = 8
LEAST_SAMPLE, MOST_SAMPLE = 50_000_000, 500_000_000
"""Training takes up to 22 bytes of memory for each: 1 GB, and 11 GB."""

SHARDS = 32
TOKENS_PER_SHARD = tuple(m * 10**e for e in (6, 7, 8) for m in (1, 2, 5))[1:7]
BYTES_PER_TOKEN = 4

HOLDOUT, LARGE_HOLDOUT, LARGE = 0.01, 0.001, 1_000_000_000
"""About a megabyte is held out of 100 MB as of 1 GB: enough for a loss per domain."""

PAGE_FORMATS = ("warc", "html")
PAGE_TEXT = 0.1
"""Text in a byte of web pages as they are stored: 0.094 measured (`pipeline/plan/rates.json`: read and extract)."""


@dataclass(frozen=True)
class Amounts:
    """What an inventory holds, estimated from sizes and formats; bytes."""

    read: int
    """As read, uncompressed."""
    text: int


@dataclass(frozen=True)
class Sizes:
    partition_bytes: int
    vocab_size: int
    sample_bytes: int
    tokens_per_shard: int
    holdout: float


def amounts(files: Iterable[FileEntry]) -> Amounts:
    read = text = 0
    for file in files:
        size = sum(file.row_groups) or file.size * (EXPANSION if file.compression else 1)
        read += size
        text += int(size * PAGE_TEXT) if file.format in PAGE_FORMATS else size
    return Amounts(read, text)


def sizes_for(found: Amounts) -> Sizes:
    return Sizes(
        _smallest(PARTITION_BYTES, found.read, PARTITIONS),
        _pieces(found.text),
        min(max(found.text // SAMPLE_SHARE // 1_000_000 * 1_000_000, LEAST_SAMPLE), MOST_SAMPLE),
        _smallest(TOKENS_PER_SHARD, found.text // BYTES_PER_TOKEN, SHARDS),
        LARGE_HOLDOUT if found.text >= LARGE else HOLDOUT,
    )


def sentence(found: Amounts, chosen: Sizes, automatic: Iterable[str]) -> str | None:
    """What was chosen and from what, for people; None where nothing was. automatic: fields of `Sizes`."""
    said = {
        "partition_bytes": f"partitions of {chosen.partition_bytes / 1e6:,.0f} MB",
        "vocab_size": f"{chosen.vocab_size:,} pieces",
        "sample_bytes": f"a sample of {chosen.sample_bytes / 1e6:,.0f} MB for the tokenizer",
        "tokens_per_shard": f"shards of {chosen.tokens_per_shard / 1e6:,.0f} M tokens",
        "holdout": f"{chosen.holdout:.1%} held out",
    }
    parts = [said[name] for name in automatic]
    if not parts:
        return None
    return f"for {size_text(found.read)} of input, about {size_text(found.text)} of it text: {', '.join(parts)}"


def _smallest(sizes: tuple[int, ...], whole: int, most: int) -> int:
    """The first size of which `most` hold the whole."""
    return next((size for size in sizes if size * most >= whole), sizes[-1])


def _pieces(text: int) -> int:
    pieces, more_from = LEAST_PIECES, MORE_PIECES_FROM
    while text >= more_from:
        pieces, more_from = 2 * pieces, EIGHTFOLD * more_from
    return min(pieces, VOCAB_SIZE)
