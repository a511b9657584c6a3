"""Near de-duplication of documents: MinHash, LSH by bands, connected components, one survivor a cluster.

    key         documents: MinHash bands; a row a band (20 bytes), to where the band's hash routes it
    edges       exchange: documents that share a band are a star around the smallest handle; only a spanning forest
                of the partition's stars goes on
    components  one task: union-find over the forests; a document's root is its cluster's smallest handle
    members     documents: attributes of the documents that have a root, to where the root routes them
    survivors   exchange: `stages.survivor` decides

Every round is a function of sets of rows, so clusters and survivors do not depend on partitions. Candidates are
merged without comparing texts, as NeMo Curator and FineWeb do; a Jaccard check would be a round after `edges`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.extras import require
from gristmill.stages.exact_dedup import Scope, require_scope, source_salts
from gristmill.stages.interface import Round
from gristmill.stages.survivor import CANDIDATE, COLUMNS, Keep, candidates, decisions, ranking, require_keep

if TYPE_CHECKING:
    from gristmill.kernels.text.minhash import Family
    from gristmill.kernels.text.shingle import Shingling


class Preset(NamedTuple):
    shingle: Literal["characters", "words"]
    size: int
    bands: int
    rows: int


PRESETS = {
    "nemo": Preset("characters", 24, 20, 13),  # NeMo Curator, FuzzyDeduplicationWorkflow; Nemotron-CC (Su et al. 2024)
    "fineweb": Preset("words", 5, 14, 8),  # Penedo et al. 2024 (FineWeb), on de-duplication
}

METHODS = ("minhash", "datasketch")

BAND = pa.schema(
    [
        pa.field("route", pa.uint64(), nullable=False),  # hash of the band: its index, its rows, the scope
        pa.field("check", pa.uint32(), nullable=False),  # an independent hash of the same
        pa.field("handle", pa.uint64(), nullable=False),
    ]
)
ROOT = pa.schema(
    [
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("root", pa.uint64(), nullable=False),  # smallest handle of the component, as far as it is known
    ]
)
MEMBER = pa.schema(
    [
        pa.field("route", pa.uint64(), nullable=False),  # mix of the root
        pa.field("root", pa.uint64(), nullable=False),
        *CANDIDATE,
    ]
)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiplying spreads consecutive roots over partitions


@dataclass(frozen=True)
class NearDedup:
    """Keeps one document of every cluster of near-duplicates.

    preset: nemo (24 characters, 20 bands of 13 rows) or fineweb (5 words, 14 bands of 8 rows).
    shingle, size, bands, rows: what to have other than the preset. shingle: characters or words, as
        `kernels.text.shingle` defines them; documents of similarity J meet with 1 - (1 - J^rows)^bands.
    keep: which one: oldest, newest or longest, ties as in `stages.survivor`.
    scope: global, or source: only documents of one source are compared.
    seed: of the hash functions.
    method: minhash, our kernel; or datasketch, that library's MinHash over the same shingles, many times slower: the
        same chance to meet, by other hash functions.
    """

    preset: str = "nemo"
    shingle: Literal["characters", "words"] | None = None
    size: int | None = None
    bands: int | None = None
    rows: int | None = None
    keep: Keep = "oldest"
    scope: Scope = "global"
    seed: int = 1
    method: Literal["minhash", "datasketch"] = "minhash"

    name: ClassVar[str] = "near_dedup"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("id", "text", "source", "timestamp", "priority")
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    clusters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_keep(self.name, self.keep)
        require_scope(self.name, self.scope)
        if self.preset not in PRESETS:
            raise ValueError(f"near_dedup.preset is {self.preset!r}: use one of {', '.join(PRESETS)}")
        if self.shingle not in (None, "characters", "words"):
            raise ValueError(f"near_dedup.shingle is {self.shingle!r}: use characters or words")
        for name in ("size", "bands", "rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"near_dedup.{name} is {value}: use 1 or more")
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"near_dedup.seed is {self.seed}: use 0 to 2^64 - 1")
        if self.method not in METHODS:
            raise ValueError(f"near_dedup.method is {self.method!r}: use {' or '.join(METHODS)}")
        for package in self.libraries:
            require(package, f"near_dedup.method: {self.method}")

    @property
    def libraries(self) -> tuple[str, ...]:
        return ("datasketch",) if self.method == "datasketch" else ()

    @property
    def parameters(self) -> Preset:
        """The preset with the fields that are set in its place."""
        changed = {name: getattr(self, name) for name in Preset._fields if getattr(self, name) is not None}
        return PRESETS[self.preset]._replace(**changed)

    def rounds(self) -> tuple[Round, ...]:
        columns = ("text",) if self.scope == "global" else ("text", "source")
        return (
            Round("key", over="documents", send="key", columns=columns),
            Round("edges", over="exchange", send="one"),
            Round("components", over="exchange", send="document"),
            Round("members", over="documents", send="key", columns=COLUMNS),
            Round("survivors", over="exchange", send="document"),
        )

    def key(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.Table:
        """Rows of schema `BAND`, `bands` a document; none for a document without a shingle."""
        shingles, functions, bands = _kernel(self.parameters, self.seed)
        scopes = None if self.scope == "global" else source_salts(batch.column("source"))
        texts = pc.fill_null(batch.column("text"), "")
        if self.method == "datasketch":
            from gristmill.stages import near_dedup_datasketch as reference

            count = len(functions.multipliers)
            route, check, signed = reference.band_hashes(texts, shingles, count, bands, self.seed, scopes)
        else:
            from gristmill.kernels.text.minhash import band_hashes

            route, check, signed = band_hashes(texts, shingles, functions, bands, scopes)
        handle = np.repeat(batch.column("handle").to_numpy()[signed], bands)
        return _table(BAND, route[signed].ravel(), check[signed].ravel(), handle)

    def edges(self, table: pa.Table) -> pa.Table:
        """Rows of schema `ROOT`: a spanning forest of the documents that share a band of this partition."""
        from gristmill.kernels.text.unionfind import stars

        return _forest(*stars(*(table.column(name).to_numpy() for name in BAND.names)), roots=False)

    def components(self, table: pa.Table) -> pa.Table:
        """Rows of schema `ROOT`: every document of a cluster and the cluster's smallest handle."""
        return _forest(table.column("root").to_numpy(), table.column("handle").to_numpy(), roots=True)

    def members(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.Table:
        """Rows of schema `MEMBER` for the documents of the batch that were sent a root."""
        if received is None or received.num_rows == 0:
            return MEMBER.empty_table()
        known, roots = (received.column(name).to_numpy() for name in ROOT.names)
        order = np.argsort(known)
        known, roots = known[order], roots[order]
        handle = batch.column("handle").to_numpy()
        place = np.minimum(np.searchsorted(known, handle), len(known) - 1)
        rows = np.flatnonzero(known[place] == handle)
        root = roots[place[rows]]
        return pa.Table.from_arrays([pa.array(root * _GOLDEN), pa.array(root), *candidates(batch, rows)], schema=MEMBER)

    def survivors(self, table: pa.Table) -> pa.Table:
        """Rows of schema `DECISION` for every member of the clusters that met here."""
        roots = table.column("root").to_numpy()
        return decisions(table, [roots], ranking(table, self.keep), f"{self.name}.duplicate")


@cache
def _kernel(parameters: Preset, seed: int) -> tuple[Shingling, Family, int]:
    from gristmill.kernels.text.minhash import family
    from gristmill.kernels.text.shingle import shingling

    shingles = shingling(parameters.shingle, parameters.size)
    return shingles, family(parameters.bands * parameters.rows, seed), parameters.bands


def _forest(left: np.ndarray, right: np.ndarray, roots: bool) -> pa.Table:
    """Every node of the graph with its component's smallest; without `roots`, those that are not the smallest."""
    from gristmill.kernels.text.unionfind import components

    handle, root = components(left, right)
    if not roots:
        handle, root = handle[handle != root], root[handle != root]
    return _table(ROOT, handle, root)


def _table(schema: pa.Schema, *columns: np.ndarray) -> pa.Table:
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)
