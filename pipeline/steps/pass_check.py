"""What the counts of the first pass say of each source.

    source.nothing       no document of the source is left after the pass      void where it is so of all sources
    text.none            records without text
    text.empty           texts of nothing or white space
    read.quarantined     records that cannot be read, by reason
    encoding.other       files that are not UTF-8, by the encoding that was found
    ids.empty            a column is mapped to `id` and documents have none
    ids.repeated         documents whose id an earlier one has                  void from half of them on
    dates.unread         dates that cannot be read or cannot be
    code.unsaid          most of the source is source code and it does not say so
    domain.unexpected    documents of another domain than the source says
    language.dropped     most of the source left by its language

Shares below `NOTABLE` are not worth a sentence. Everything is counted by the tasks and committed with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.manifest import Reported, Sealed
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.findings import Finding
from gristmill.pipeline.steps.first_pass import Brought, ReadStats, Volume
from gristmill.pipeline.steps.source_check import FEW, VOID_SHARE, repeated_ids

NOTABLE = 0.01
MOST = 0.5
SHOWN = 5
"""Of encodings that are named."""
NO_TEXT = "read.no_text"
REPEATED = "identity.duplicate_id"


@dataclass
class Passed:
    """The first pass of one source."""

    spec: SourceSpec
    brought: Brought = field(default_factory=Brought)
    encodings: Counter[str] = field(default_factory=Counter)
    units: dict[tuple[str, str, str], Volume] = field(default_factory=dict)
    """(domain, category, language) -> what is there after the pass."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """By stage."""

    @property
    def rules(self) -> dict[str, int]:
        """Documents that left, by rule or reason."""
        return {rule: n for counts in self.counts.values() for rule, (n, _) in counts.rules.items()}

    @property
    def left(self) -> Volume:
        return sum(self.units.values(), Volume())


def passed(sources: Sequence[SourceSpec], partitions: Sequence[str], sealed: Sealed[ReadStats]) -> list[Passed]:
    """By source. partitions: the source of each task."""
    found = {spec.name: Passed(spec) for spec in sources}
    for index, manifest in sealed.done():
        source = found[partitions[index]]
        source.brought += manifest.stats.brought
        source.encodings.update(manifest.stats.encodings)
        for key, volume in manifest.stats.units.items():
            domain, category, language = key.split("\0")
            unit = (domain, category, language)
            source.units[unit] = source.units.get(unit, Volume()) + volume
        for stage, counts in manifest.counts.items():
            source.counts.setdefault(stage, Counts()).add(counts)
    return list(found.values())


def check(sources: Sequence[Passed]) -> list[Finding]:
    findings = [finding for source in sources for finding in _check(source)]
    if sources and not any(source.left.documents for source in sources):
        findings = [finding for finding in findings if finding.kind != "source.nothing"]
        findings.append(nothing_left(sources))
    return findings


def nothing_left(sources: Sequence[Passed]) -> Finding:
    rules: dict[str, int] = {}
    for source in sources:
        for rule, number in source.rules.items():
            rules[rule] = rules.get(rule, 0) + number
    read = sum(source.counts["read"].documents_in for source in sources if "read" in source.counts)
    return Finding(
        "source.nothing",
        f"nothing is left after the first pass: of {read:,} records {_most(rules) or 'none was a document'}; try one "
        "with `gristmill try FILE`, which shows what each stage makes of it",
        void=True,
        figures={"records": read},
    )


def _check(source: Passed) -> Iterable[Finding]:
    spec, brought = source.spec, source.brought
    head = f"source {spec.name}: "
    rules = source.rules
    records = source.counts["read"].documents_in if "read" in source.counts else 0
    if not records:
        return

    def finding(kind: str, number: int, whole: int, sentence: str) -> Iterable[Finding]:
        if whole and number / whole >= NOTABLE:
            figures = {"documents": whole, "affected": number, "share": number / whole}
            yield Finding(kind, f"{head}{number:,} of {whole:,} {sentence}", spec.name, False, figures)

    columns = spec.columns_in_use()
    place = columns["content" if "content" in columns else "text"]
    yield from finding(
        "text.none",
        rules.get(NO_TEXT, 0),
        records,
        f"records have no text ({_share(rules.get(NO_TEXT, 0), records)}), which is looked for under `{place}`; they "
        "are in the ledger as read.no_text",
    )
    broken = {rule: n for rule, n in _rules(source, "read").items() if rule != NO_TEXT}
    number = sum(broken.values())
    yield from finding(
        "read.quarantined",
        number,
        records,
        f"records cannot be read ({_share(number, records)}): {_most(broken)}; they are in the ledger with file, place "
        "and reason",
    )
    yield from finding(
        "text.empty",
        brought.empty,
        brought.documents,
        f"texts are empty or white space ({_share(brought.empty, brought.documents)}) and leave",
    )
    if spec.encoding is None:
        number = source.encodings.total()
        names = ", ".join(f"{n:,} {name}" for name, n in source.encodings.most_common(SHOWN))
        yield from finding(
            "encoding.other",
            number,
            brought.documents,
            f"files are not UTF-8 and were read as what their bytes say: {names}; if that is wrong add `encoding:` to "
            "the source",
        )
    if "id" in spec.columns:
        without = brought.documents - brought.ids
        yield from finding(
            "ids.empty",
            without,
            brought.documents,
            f"documents have no id under `{spec.columns['id']}` ({_share(without, brought.documents)}); they are known "
            "by file and place",
        )
    dated = brought.dates + brought.unread_dates
    yield from finding(
        "dates.unread",
        brought.unread_dates,
        dated,
        f"dates under `{columns['timestamp']}` cannot be read or cannot be ({_share(brought.unread_dates, dated)}); "
        "these documents count as undated, and the values stay in their metadata",
    )
    left, code = source.left, sum((v for (d, _, _), v in source.units.items() if d == "code"), Volume())
    if spec.domain is None and not left_to_format(spec) and left.bytes and code.bytes / left.bytes >= MOST:
        yield from finding(
            "code.unsaid",
            code.documents,
            left.documents,
            f"documents are source code, {code.bytes / left.bytes:.0%} of the text, and the source does not say so; "
            "add `domain: code` to it, so that all of its records are treated as code",
        )
    other = rules.get("language.unexpected", 0)
    yield from finding(
        "domain.unexpected",
        other,
        brought.documents,
        f"documents are not {spec.domain} ({_share(other, brought.documents)}) and leave as language.unexpected; take "
        "`domain` out of the source to keep them",
    )
    by_language = {rule: n for rule, n in rules.items() if rule.startswith("language.") and n != other}
    number = sum(by_language.values())
    if number >= MOST * brought.documents:
        yield from finding(
            "language.dropped",
            number,
            brought.documents,
            f"documents leave by their language ({_share(number, brought.documents)}): {_most(by_language)}; if that "
            "is not right, see `languages` and the stage `language`",
        )
    if not left.documents:
        yield Finding(
            "source.nothing",
            f"{head}none of its {records:,} records is left after the first pass: {_most(rules)}",
            spec.name,
            figures={"records": records},
        )


def left_to_format(spec: SourceSpec) -> bool:
    """Whether the source says by its format that it is code, or is this computer, which is of everything."""
    return spec.stated in ("tree", "machine")


def check_ids(sources: Sequence[Passed], partitions: Sequence[str], identity: Sealed[Reported]) -> list[Finding]:
    """After the step that decides who keeps an id."""
    again: dict[str, int] = {}
    for index, manifest in identity.done():
        for counts in manifest.counts.values():
            number, _ = counts.rules.get(REPEATED, (0, 0))
            again[partitions[index]] = again.get(partitions[index], 0) + number
    findings = []
    for source in sources:
        number, whole = again.get(source.spec.name, 0), source.brought.ids
        if number and number / whole >= NOTABLE:
            void = whole >= FEW and number / whole >= VOID_SHARE
            findings.append(repeated_ids(source.spec, number, whole, "in the source", void))
    return findings


def _rules(source: Passed, stage: str) -> Mapping[str, int]:
    return {rule: n for rule, (n, _) in source.counts[stage].rules.items()}


def _most(rules: Mapping[str, int], most: int = 3) -> str:
    """'12 left as read.no_text, 3 as language.score'."""
    ordered = sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{number:,} as {rule}" for rule, number in ordered[:most])
    rest = sum(number for _, number in ordered[most:])
    return f"{named}, {rest:,} for other reasons" if rest else named


def _share(number: int, whole: int) -> str:
    return f"{number / max(1, whole):.1%}"
