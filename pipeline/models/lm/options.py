"""How language models are trained: what `gristmill lm train` may be told, with every mistake as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from gristmill.kernels.text.ngram_counts import MAX_ORDER
from gristmill.pipeline.engine.records import JsonObject

MAX_PIECES = 1 << 16
"""A piece's id has 16 bits. cc_net's models have as many (Wenzek et al. 2020, section 3.3: 65k)."""
CATEGORIES = ("encyclopedia", "books")
"""Of curated documents: text that models of good language are trained on, as CCNet's are on Wikipedia."""
MIN_BYTES = 1_000_000
"""Of normalised text that a language needs where nobody names it: some 200,000 pieces."""
ARPA = ("plain", "gz", "none")


@dataclass(frozen=True)
class Options:
    languages: tuple[str, ...] = ()
    """None: all that have `min_bytes` of text."""
    categories: tuple[str, ...] = CATEGORIES
    """Of curated documents; a language without any takes all."""
    order: int = 5
    prune: tuple[int, ...] = (0, 0, 1, 1, 1)
    """Counts up to which n-grams are left out, by order; the last holds for all further orders."""
    pieces: int = MAX_PIECES
    max_bytes: int | None = None
    """Of normalised text a language; documents are chosen by draw."""
    min_bytes: int = MIN_BYTES
    arpa: str = "plain"
    seed: int = 1
    columns: Mapping[str, str] = field(default_factory=dict)
    """Ours -> theirs, of JSONL and Parquet files."""

    def __post_init__(self) -> None:
        if not 2 <= self.order <= MAX_ORDER:
            raise ValueError(f"--order {self.order}: choose 2 to {MAX_ORDER}")
        if not self.prune or self.prune[0] != 0 or len(self.prune) > self.order:
            raise ValueError(f"--prune {text(self.prune)}: write up to {self.order} counts, the first one 0")
        if list(self.prune) != sorted(self.prune):
            raise ValueError(
                f"--prune {text(self.prune)}: counts may not fall from one order to the next, since an n-gram would "
                "stay whose end is gone"
            )
        if not 8 <= self.pieces <= MAX_PIECES:
            raise ValueError(f"--pieces {self.pieces}: choose 8 to {MAX_PIECES}")
        if self.max_bytes is not None and self.max_bytes <= 0:
            raise ValueError(f"--max-bytes {self.max_bytes}: write a number above 0")
        if self.arpa not in ARPA:
            raise ValueError(f"--arpa {self.arpa}: choose {', '.join(ARPA[:-1])} or {ARPA[-1]}")

    @property
    def thresholds(self) -> tuple[int, ...]:
        """One count an order."""
        return (*self.prune, *[self.prune[-1]] * (self.order - len(self.prune)))

    def record(self) -> JsonObject:
        return asdict(self)


def text(prune: tuple[int, ...]) -> str:
    return ",".join(map(str, prune))
