"""How much there is of what at each point of a run: documents, bytes, groups, tokens, copies, shards.

From the inventory and its partitions, which are exact, and the rates' shares of what stages keep. Sample, blends and
shards are planned by the functions that plan them in a run. Nothing is opened but what the caller has listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gristmill.pipeline.plan.rates import Rates, Share
from gristmill.pipeline.readers.segments import Segment, partitions
from gristmill.stages.blend import Unit, plan
from gristmill.stages.interface import CorpusStage, Stage

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.readers.inventory import FileEntry
    from gristmill.pipeline.readers.source import SourceSpec


@dataclass(frozen=True)
class Part:
    """What the first pass reads of one source. `bytes` are those of documents as read, uncompressed."""

    source: str
    kind: str
    partitions: int
    files: int
    stored: int
    bytes: float
    largest: float
    """Bytes of its largest partition."""
    documents: float
    domain: str | None = None
    category: str | None = None
    own_ids: bool = False
    groups: tuple[tuple[str, str, float], ...] | None = None
    """(domain, language, share of bytes) where they are known; None: those of the kind."""


@dataclass(frozen=True)
class Amount:
    documents: float
    bytes: float

    def kept(self, share: Share) -> Amount:
        return Amount(self.documents * share[0], self.bytes * share[1])


@dataclass(frozen=True)
class BlendVolume:
    """Of one blend: copies (documents, repeats counted) and tokens without the holdout, shards with it."""

    copies: float
    tokens: float
    shards: int
    shard_tokens: float
    """Of the largest shard."""


@dataclass(frozen=True)
class Volumes:
    parts: tuple[Part, ...]
    read: Amount
    """As read; the first pass's units."""
    funnel: Mapping[str, Amount]
    """What each step or stage of the deciding ones takes in, by name; `curate`: what they leave."""
    largest: float
    """Share of the documents' bytes that is in the largest partition."""
    groups: Mapping[tuple[str, str], float]
    """(domain, language) -> curated bytes."""
    tokens: float
    """Of all curated documents, once."""
    sample: float
    """Bytes of the tokenizer's sample; 0 where the tokenizer is given."""
    blends: Mapping[str, BlendVolume]
    notes: tuple[str, ...]

    @property
    def partitions(self) -> int:
        return max(1, sum(part.partitions for part in self.parts))

    @property
    def curated(self) -> Amount:
        return self.funnel["curate"]


def parts(config: Config, inventory: Sequence[FileEntry], rates: Rates) -> list[Part]:
    """One for each source that has files; partitions as the run will cut them."""
    entries = {(entry.source, entry.path): entry for entry in inventory}
    specs = {spec.name: spec for spec in config.sources}
    found: dict[str, list[tuple[float, int]]] = {}
    for partition in partitions(inventory, config.sizes.partition_bytes):
        size = sum(
            _read_bytes(segment, entries[partition.source, segment.path], rates) for segment in partition.segments
        )
        found.setdefault(partition.source, []).append((size, len(partition.segments)))
    stored: dict[str, int] = {}
    formats: dict[str, str] = {}
    for entry in inventory:
        stored[entry.source] = stored.get(entry.source, 0) + entry.size
        formats.setdefault(entry.source, entry.format)
    result = []
    for source, cut in found.items():
        kind, total = rates.kind(formats[source]), sum(size for size, _ in cut)
        files = sum(number for _, number in cut)
        result.append(
            Part(
                source,
                formats[source],
                len(cut),
                files,
                stored[source],
                total,
                max(size for size, _ in cut),
                files if kind.files else total / kind.document_bytes,
                specs[source].domain,
                category(specs[source], formats[source]),
                "id" in specs[source].columns,
            )
        )
    return result


def category(spec: SourceSpec, kind: str) -> str:
    """What the readers give documents of the source: `pipeline.readers.source`."""
    return spec.category or ("web" if kind in ("warc", "wet") else "misc")


def _read_bytes(segment: Segment, entry: FileEntry, rates: Rates) -> float:
    if segment.unit == "row_groups":
        return float(sum(entry.row_groups[segment.start : segment.end]))
    expansion = rates.kind(entry.format).expansion
    return (segment.end - segment.start) * expansion.get(entry.compression or "", expansion.get("gz", 1.0))


def volumes(config: Config, found: Sequence[Part], rates: Rates) -> Volumes:
    """Never raises for a valid configuration: what cannot be planned ahead is estimated, and a note says so."""
    from gristmill.pipeline.config.order import order

    stages = order(config.stages)
    notes: list[str] = []
    after: list[Amount] = []
    for part in found:
        shares = rates.kind(part.kind).stages
        amount = Amount(part.documents, part.bytes).kept(shares.get("read", (1.0, 1.0)))
        for stage in stages.first:
            amount = amount.kept(shares.get(stage.name, (1.0, 1.0)))
        after.append(amount)
    current = _total(after)
    first = current
    deciding: list[Stage] = list(stages.deciding)
    if any(part.own_ids for part in found):
        from gristmill.stages.registry import UNIQUE_IDS, load

        deciding.insert(0, load(UNIQUE_IDS)())
    funnel: dict[str, Amount] = {}
    for each in deciding:
        funnel[each.name] = current
        current = current.kept(rates.stages.get(each.name, (1.0, 1.0)))
    funnel["curate.send"] = current
    for late in stages.late:
        current = current.kept(rates.stages.get(late.name, (1.0, 1.0)))
    funnel["curate"] = current
    notes += [
        f"{stage.name} was never measured: it is taken to keep everything"
        + (", and to cost what exact_dedup costs" if isinstance(stage, CorpusStage) else ", and to cost nothing")
        for stage in config.stages
        if not rates.measured(stage.name)
    ]
    whole = sum(amount.bytes for amount in after) or 1.0
    left = current.bytes / (first.bytes or 1.0)
    units: dict[tuple[str, str, str, str], float] = {}
    for part, amount in zip(found, after, strict=True):
        for domain, language, share in _groups(part, rates):
            key = (domain, part.category or "misc", part.source, language)
            units[key] = units.get(key, 0.0) + amount.bytes * left * share
    groups: dict[tuple[str, str], float] = {}
    for (domain, _, _, language), size in units.items():
        groups[domain, language] = groups.get((domain, language), 0.0) + size
    vocabulary = None if config.tokenizer.path else config.sizes.vocab_size
    per_token = {domain: rates.token_bytes(domain, vocabulary) for domain, _ in groups}
    tokens = sum(size / per_token[domain] for (domain, _), size in groups.items())
    blends = {name: _blend(config, name, units, per_token, current, notes) for name in config.blends}
    return Volumes(
        tuple(found),
        Amount(sum(part.documents for part in found), sum(part.bytes for part in found)),
        funnel,
        max((part.largest / (part.bytes or 1.0) * a.bytes / whole for part, a in zip(found, after)), default=1.0),
        groups,
        tokens,
        _sample(config, groups),
        blends,
        tuple(notes),
    )


def _total(amounts: Sequence[Amount]) -> Amount:
    return Amount(sum(a.documents for a in amounts), sum(a.bytes for a in amounts))


def _groups(part: Part, rates: Rates) -> list[tuple[str, str, float]]:
    """The part's groups; of a source that holds one domain, those of it."""
    given = list(part.groups if part.groups is not None else rates.kind(part.kind).groups)
    if part.domain == "prose":
        given = [group for group in given if group[0] != "code"] or [("english", "en", 1.0)]
    elif part.domain:
        given = [group for group in given if group[0] == part.domain] or [
            (part.domain, "en" if part.domain == "english" else "unknown", 1.0)
        ]
    whole = sum(share for *_, share in given) or 1.0
    return [(domain, language, share / whole) for domain, language, share in given]


def _sample(config: Config, groups: Mapping[tuple[str, str], float]) -> float:
    if config.tokenizer.path:
        return 0.0
    from gristmill.tokenizer.sample import DOMAIN_SHARES, plan_sample

    shares = DOMAIN_SHARES if config.tokenizer.shares is None else config.tokenizer.shares
    totals = {key: round(size) for key, size in groups.items()}
    try:
        sample = plan_sample(
            totals, config.sizes.sample_bytes, seed=config.seed, shares=shares, alpha=config.tokenizer.alpha
        )
    except ValueError:  # no text in the domains it samples: the run will say so
        return 0.0
    return float(sum(group.target_bytes for group in sample.groups))


def _blend(
    config: Config,
    name: str,
    sizes: Mapping[tuple[str, str, str, str], float],
    per_token: Mapping[str, float],
    curated: Amount,
    notes: list[str],
) -> BlendVolume:
    document = curated.bytes / curated.documents if curated.documents else 1.0
    units = []
    for (domain, kind, source, language), size in sorted(sizes.items()):
        trained = size * (1 - config.sizes.holdout)
        if tokens := round(trained / per_token[domain]):
            units.append(Unit(domain, kind, source, language, tokens, round(trained / document)))
    whole = sum(unit.tokens for unit in units)
    try:
        planned = plan(units, config.blends[name], name)
        tokens = planned.tokens
        copies = sum(each.tokens * each.unit.documents / each.unit.tokens for each in planned.units)
    except ValueError as error:
        notes.append(f"blend {name}: cannot be planned from what is known ({error}); taken as every document once")
        tokens, copies = whole, float(sum(unit.documents for unit in units))
    held = sum(size / per_token[key[0]] for key, size in sizes.items()) * config.sizes.holdout
    shards = max(1, round(tokens / config.sizes.tokens_per_shard))
    held_shards = max(1, round(held / config.sizes.tokens_per_shard)) if held >= 1 else 0
    return BlendVolume(copies, tokens, shards + held_shards, max(tokens / shards, held / max(1, held_shards)))
