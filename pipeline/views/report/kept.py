"""What was kept: samples of the curated documents, how long and how old they are, and which hosts they come from.

One pass over `curated/`, row group by row group. Memory grows with the groups (domain, language), years and hosts, not
with the documents. A sample are the smallest ids of a group: ids are hashes, so the choice is even and depends on no
order. Hosts are counted as `clusters` counts survivors, by Misra and Gries (1982): with more than MAX_HOSTS different
ones, a host with under 1 / MAX_HOSTS of the documents may be lost or counted low. Of a corpus whose files hold more
than MAX_BYTES only each n-th file is read, and `every` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.kernels.text.preview import preview
from gristmill.pipeline.steps.published import has, row_group
from gristmill.pipeline.views.published import parts
from gristmill.storage.store import Store

SAMPLES = 4
"""Documents shown of a group."""
GROUPS = 8
"""Groups shown of a domain, those with the most text."""
PREVIEW = 500
"""Characters of a sample."""
MAX_BYTES = 4_000_000_000
"""As stored: about half a minute on one core."""
MAX_GROUPS = 1024
MAX_HOSTS = 1 << 18
HOSTS = 20
"""Hosts shown."""
COLUMNS = ("id", "text", "source", "path", "record", "domain", "language", "url", "timestamp", "title")
EDGES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000)
"""Bytes of text at which a column of the histogram ends, exclusive; the last column is open."""
HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]/?#]*\]|[^/?#:]+)"

Pair = tuple[str, str]
"""Domain and language."""


@dataclass(frozen=True)
class KeptRow:
    """A sample: the document's id in hex, where it stood, and how its text begins."""

    id: str
    domain: str
    language: str
    source: str
    path: str
    record: int
    url: str | None
    title: str | None
    date: str | None
    bytes: int
    preview: str


@dataclass
class Kept:
    documents: int = 0
    bytes: int = 0
    groups: dict[Pair, int] = field(default_factory=dict)
    """Bytes of text."""
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) + 1, np.int64))
    years: dict[int, int] = field(default_factory=dict)
    """Documents with a date."""
    hosts: dict[str, int] = field(default_factory=dict)
    addressed: int = 0
    """Documents whose URL names a host."""
    exact: bool = True
    """Whether every host was counted to the end."""
    samples: dict[Pair, list[KeptRow]] = field(default_factory=dict)
    every: int = 1
    """1: all files were read; n: each n-th."""

    def top_hosts(self) -> list[tuple[str, int]]:
        return sorted(self.hosts.items(), key=lambda item: (-item[1], item[0]))[:HOSTS]

    def shown(self) -> list[tuple[Pair, list[KeptRow]]]:
        """Of each domain the groups with the most text, the largest first, each with its samples."""
        largest = sorted(self.samples, key=lambda pair: (-self.groups[pair], pair))
        domains = {domain for domain, _ in largest}
        chosen = {pair for domain in domains for pair in [p for p in largest if p[0] == domain][:GROUPS]}
        return [(pair, self.samples[pair]) for pair in largest if pair in chosen]


def kept(store: Store) -> Kept | None:
    """None where nothing was curated."""
    paths = parts(store, "curated")
    every = max(1, -(-sum(store.size(path) for path in paths) // MAX_BYTES))
    found = Kept(every=every)
    for path in paths[::every]:
        with store.open_input(path) as handle:
            file = pq.ParquetFile(handle)
            there = [name for name in COLUMNS if has(file, path, name)]
            for group in range(file.num_row_groups):
                add(found, row_group(file, path, group, there))
    return found if found.documents else None


def add(found: Kept, table: pa.Table) -> None:
    """Counts a row group and keeps its rows with the smallest ids."""
    if not table.num_rows:
        return
    sizes = pc.fill_null(pc.binary_length(table.column("text")), 0).to_numpy().astype(np.int64)
    found.documents += table.num_rows
    found.bytes += int(sizes.sum())
    found.lengths += np.bincount(np.searchsorted(EDGES, sizes, side="right"), minlength=len(EDGES) + 1)
    _add_years(found, table.column("timestamp"))
    _add_hosts(found, table.column("url"))
    domains, languages = (pc.fill_null(table.column(name).cast(pa.string()), "") for name in ("domain", "language"))
    coded = pc.binary_join_element_wise(domains, languages, "\0").combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    weights = np.bincount(codes, weights=sizes, minlength=len(coded.dictionary))
    for code, name in enumerate(coded.dictionary.to_pylist()):
        domain, _, language = name.partition("\0")
        pair = domain, language
        if pair not in found.groups and len(found.groups) >= MAX_GROUPS:
            continue
        found.groups[pair] = found.groups.get(pair, 0) + int(weights[code])
        _add_samples(found, pair, table, np.flatnonzero(codes == code), sizes)


def _add_years(found: Kept, dates: pa.ChunkedArray) -> None:
    for entry in pc.value_counts(pc.year(dates.drop_null())).to_pylist():
        found.years[entry["values"]] = found.years.get(entry["values"], 0) + entry["counts"]


def _add_hosts(found: Kept, urls: pa.ChunkedArray) -> None:
    hosts = pc.struct_field(pc.extract_regex(urls.drop_null(), HOST), "host").drop_null()
    found.addressed += len(hosts)
    for entry in pc.value_counts(pc.utf8_lower(hosts)).to_pylist():
        found.hosts[entry["values"]] = found.hosts.get(entry["values"], 0) + entry["counts"]
    if len(found.hosts) > MAX_HOSTS:
        found.exact = False
        too_many = sorted(found.hosts.values(), reverse=True)[MAX_HOSTS]
        found.hosts = {host: n - too_many for host, n in found.hosts.items() if n > too_many}


def _add_samples(found: Kept, pair: Pair, table: pa.Table, rows: np.ndarray, sizes: np.ndarray) -> None:
    held = found.samples.setdefault(pair, [])
    ids = [value.hex() for value in table.column("id").take(pa.array(rows)).to_pylist()]
    order = sorted(range(len(ids)), key=ids.__getitem__)[:SAMPLES]
    chosen = [i for i in order if len(held) < SAMPLES or ids[i] < held[-1].id]
    if not chosen:
        return
    taken = table.take(pa.array(rows[chosen]))
    texts = preview(pa.array(taken.column("text").to_pylist(), pa.large_string()), PREVIEW).to_pylist()
    for i, row, text in zip(chosen, taken.drop_columns(["text"]).to_pylist(), texts, strict=True):
        date = f"{row['timestamp']:%Y-%m-%d}" if row.get("timestamp") else None
        where = row["source"], row["path"], row["record"], row.get("url"), row.get("title")
        held.append(KeptRow(ids[i], *pair, *where, date, int(sizes[rows[i]]), text or ""))
    found.samples[pair] = sorted(held, key=lambda sample: sample.id)[:SAMPLES]


def length_bins(lengths: Sequence[int]) -> list[tuple[str, int]]:
    """The histogram's columns, named by where each begins, from the first to the last that holds a document."""
    names = ["0", *map(_short, EDGES)]
    filled = [i for i, n in enumerate(lengths) if n]
    first, last = (filled[0], filled[-1]) if filled else (0, -1)
    return [(names[i], int(lengths[i])) for i in range(first, last + 1)]


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1_000}k" if size >= 1_000 else str(size)


YEARS = 16
"""Columns of the histogram of dates; what is older stands in the first."""


def year_bins(years: dict[int, int]) -> list[tuple[str, int]]:
    """The last years in which there are documents, each with its number; the years before them are one column."""
    if not years:
        return []
    last = max(years)
    first = max(min(years), last - YEARS + 1)
    bins = [(str(year), years.get(year, 0)) for year in range(first, last + 1)]
    older = sum(n for year, n in years.items() if year < first)
    return [(f"<{first}", older), *bins] if older else bins
