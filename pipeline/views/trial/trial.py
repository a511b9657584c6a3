"""One document through the per-document stages of a configuration, with everything that they find.

In the order of a run: the first pass, then `rules` and what else decides by document, then late editing stages. A
stage that would drop the document does not end the trial: what follows is measured all the same. Stages that compare
documents are left out. The stages are the run's own; nothing is written.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias, TypedDict

import pyarrow as pa

from gristmill.pipeline.config.keys import EXAMPLE
from gristmill.pipeline.config.order import order
from gristmill.pipeline.config.recorded import read_configuration
from gristmill.pipeline.config.stage_list import build_stages, missing
from gristmill.pipeline.readers.source import FORMATS, SourceSpec
from gristmill.pipeline.steps.ledger import without_verdicts
from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, override
from gristmill.settings.validation import validated
from gristmill.stages.document import VERDICT
from gristmill.stages.interface import DocumentStage, Stage, has_rules, rules_of, traits
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.rule import Rule
from gristmill.stages.registry import PREPARING

CONFIG = "pipeline.yaml"
BUILT_IN = "the built-in recipe"
MAX_DOCUMENT_BYTES = 64_000_000  # `plan.max_document_bytes`, its default
EXACT_LINES = 5_000  # lines up to which the comparison looks for the shortest difference

FACTS = ("language_score", "perplexity", "lines_removed", "lines_edited")
"""Measured columns that are told of the stage that measures them, too."""

PASSES, FAILS, OTHER_DOMAIN, OTHER_LANGUAGE, NO_VALUE = "pass", "fail", "other domain", "other language", "no value"


Value: TypeAlias = bool | int | float | str | bytes | datetime | None
"""Of one column in one row."""


class DocumentRow(TypedDict):
    """Columns of the reader (`pipeline.readers.rows.READ`), but for text, page and reason."""

    id: bytes
    source: str
    path: str
    record: int
    own_id: str | None
    domain: str | None
    category: str | None
    language: str | None
    url: str | None
    timestamp: datetime | None
    priority: int
    title: str | None
    site: str | None
    canonical_url: str | None
    published: datetime | None
    license: str | None
    metadata: str | None
    content_type: str | None
    read_bytes: int


@dataclass(frozen=True)
class Recipe:
    """What a trial takes from a configuration."""

    origin: str
    stages: tuple[DocumentStage, ...]
    untried: tuple[str, ...]
    """Stages that compare documents."""
    notes: tuple[str, ...]
    """A sentence for every stage that cannot run here."""
    max_document_bytes: int
    sources: Mapping[str, SourceSpec]


@dataclass(frozen=True)
class Verdict:
    action: str
    """dropped | quarantined"""
    by: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Passed:
    """What one stage did."""

    stage: str
    facts: Mapping[str, Value]
    """Values of the columns that it adds, but for text, signals and verdicts."""
    bytes_before: int
    bytes_after: int
    verdict: Verdict | None
    by_rules: bool = False
    """Whether it decides by rules."""


@dataclass(frozen=True)
class Judged:
    rule: Rule
    value: float | None
    verdict: str
    """PASSES, FAILS, OTHER_DOMAIN, OTHER_LANGUAGE or NO_VALUE."""


@dataclass(frozen=True)
class Line:
    text: str
    mark: str
    """' ' stays, '-' removed, '+' added, '=' stays and is equal to an earlier line."""
    stage: str | None = None
    reason: str | None = None
    """The rule for lines that removed it or cut something out of it."""


@dataclass(frozen=True)
class Trial:
    document: DocumentRow
    quarantined_by: str | None
    """The reader's reason."""
    passed: tuple[Passed, ...]
    signals: Mapping[str, float | None]
    judged: tuple[Judged, ...]
    text: str | None
    """As the last stage left it."""
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict | None:
        """The first; None: kept, as far as one document can tell."""
        if self.quarantined_by is not None:
            return Verdict("quarantined", self.quarantined_by)
        return next((each.verdict for each in self.passed if each.verdict), None)


def recipe(config: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """From the configuration `config`, pipeline.yaml of the working directory, or the built-in recipe.

    Its sources need not exist. A stage whose model or list is missing is left out with a note. ConfigError where
    something else is wrong.
    """
    path = config or (CONFIG if os.path.isfile(CONFIG) else None)
    located = read_configuration(path, *EXAMPLE) if path else Located({}, BUILT_IN)
    for assignment in overrides:
        override(located, assignment)
    problems: list[str] = []
    named, given, plan = (located.data.get(key) for key in ("languages", "sources", "plan"))
    languages = [str(code) for code in named] if isinstance(named, list) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what a run would say
        stages = build_stages(located, languages, problems)
    absent = {stage.name: uris for stage in stages if (uris := _absent(stage))}
    notes = [problem for problem in problems if any(repr(uri) in problem for uris in absent.values() for uri in uris)]
    if "language" in absent:
        notes.append("without `language` no domain is known, and rules for a domain or a language do not apply")
    sources: dict[str, SourceSpec] = {}
    for i, item in enumerate(given if isinstance(given, list) else []):
        spec = validated(SourceSpec, item, located, ("sources", i), problems)
        if spec is not None:
            sources[spec.name] = spec
    if wrong := [problem for problem in problems if problem not in notes]:
        raise ConfigError("\n".join(wrong))
    ordered = order([stage for stage in stages if stage.name not in absent])
    decides = [stage for stage in ordered.deciding if isinstance(stage, DocumentStage)]
    limit = plan.get("max_document_bytes") if isinstance(plan, dict) else None
    return Recipe(
        path or BUILT_IN,
        (*ordered.first, *decides, *ordered.late),
        tuple(stage.name for stage in ordered.deciding if not isinstance(stage, DocumentStage)),
        tuple(notes),
        limit if isinstance(limit, int) else MAX_DOCUMENT_BYTES,
        sources,
    )


def source_spec(recipe: Recipe, source: str | None, format_name: str | None) -> SourceSpec:
    """How the input is read: as the source of this name of the configuration, in this format. ValueError if unknown."""
    if source is not None and source not in recipe.sources:
        there = ", ".join(recipe.sources) or "none"
        raise ValueError(f"{recipe.origin}: has no source {source!r}; its sources: {there}")
    if format_name is not None and format_name not in FORMATS and ":" not in format_name:
        raise ValueError(f"--format {format_name}: is no format; use one of {', '.join(FORMATS)}")
    spec = recipe.sources[source] if source is not None else SourceSpec("try", "")
    return replace(spec, format=format_name) if format_name is not None else spec


def _absent(stage: Stage) -> list[str]:
    values = [getattr(stage, name) for name in stage.files]
    uris = [uri for value in values for uri in ([value] if isinstance(value, str) else value or ())]
    return [str(uri) for uri in uris if missing(str(uri))]


def trial(row: pa.RecordBatch, stages: Sequence[DocumentStage]) -> Trial:
    """`row`: one row of schema `pipeline.readers.rows.READ`."""
    told = [name for name in row.schema.names if name not in ("text", "content", "quarantined_by")]
    document: DocumentRow = row.select(told).to_pylist()[0]
    reason = row.column("quarantined_by")[0].as_py()
    found = _Trial(row.drop_columns(["quarantined_by", "read_bytes"]))
    for stage in stages:
        if reason is not None or found.ended:
            break
        found.apply(stage)
    return Trial(
        document, reason, tuple(found.passed), found.signals, tuple(found.judged), found.text(), tuple(found.marked())
    )


@dataclass
class _Trial:
    row: pa.RecordBatch
    passed: list[Passed] = field(default_factory=list)
    signals: dict[str, float | None] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    lines: list[Line] | None = None
    emptied: list[Line] | None = None
    """All lines, where rules for lines would remove them all: the text stays, the document does not."""
    ended: bool = False
    """Unusable, or without text: no later stage has anything to look at."""

    def apply(self, stage: DocumentStage) -> None:
        before, size, row = self.text(), self.size(), self.row
        result = stage.apply(self.row)
        if result is row and stage.name in PREPARING:
            return  # it runs unasked, and had nothing to say
        verdict = _verdict(result)
        if has_rules(stage):
            self.judged += _judged(rules_of(stage), result)
        added = [name for name in stage.adds if name in result.schema.names and name not in (*VERDICT.names, "text")]
        values = {name: result.column(name)[0].as_py() for name in added}
        measured = {name for name in added if name in MEASURED or traits(stage).measures}
        self.signals |= {name: value for name, value in values.items() if name in measured and not _is_text(value)}
        facts = {name: value for name, value in values.items() if name not in measured or name in FACTS}
        table = without_verdicts(pa.Table.from_batches([result]))
        self.row = table.combine_chunks().to_batches()[0]
        after = self.text()
        if stage.edits and before is not None and after is not None and (after != before or verdict):
            kept = self.lines or [Line(line, " ") for line in before.split("\n")]
            told = _reasons(stage, row, before)
            if after == before:
                if any(reason for _, reason in told) and not _stands(told, before):
                    self.emptied = judged(kept, [], stage.name, [(False, reason) for _, reason in told])
            elif sum(stays for stays, _ in told) == len(after.split("\n")):
                self.lines = judged(kept, after.split("\n"), stage.name, told)
            else:
                self.lines = edited(kept, after.split("\n"), stage.name)
        facts = {} if traits(stage).measures else facts
        self.passed.append(Passed(stage.name, facts, size, self.size(), verdict, has_rules(stage)))
        self.ended = after is None or (verdict is not None and verdict.action == "quarantined")

    def text(self) -> str | None:
        text: str | None = self.row.column("text")[0].as_py()
        return text

    def size(self) -> int:
        """UTF-8 bytes of the text, or of the page as long as there is no text."""
        text = self.text()
        if text is None and "content" in self.row.schema.names:
            return len(self.row.column("content")[0].as_py() or b"")
        return len((text or "").encode())

    def marked(self) -> list[Line]:
        text = self.text()
        lines = self.emptied or self.lines or [Line(line, " ") for line in (text or "").split("\n")]
        return repeated(lines) if text is not None else []


def edited(lines: Sequence[Line], after: Sequence[str], stage: str) -> list[Line]:
    """`lines` with those marked that a stage removed, and those put in that it made; removed ones keep their place."""
    standing = [i for i, line in enumerate(lines) if line.mark != "-"]
    before = [lines[i].text for i in standing]
    matcher = difflib.SequenceMatcher(None, before, list(after), autojunk=len(before) > EXACT_LINES)
    result: list[Line] = []
    at = 0  # in `lines`
    for operation, start, end, first, last in matcher.get_opcodes():
        for i in standing[start:end]:
            result += lines[at:i]  # removed by an earlier stage
            result.append(lines[i] if operation == "equal" else replace(lines[i], mark="-", stage=stage))
            at = i + 1
        if operation != "equal":
            result += [Line(text, "+", stage) for text in after[first:last]]
    return result + list(lines[at:])


def judged(
    lines: Sequence[Line], after: Sequence[str], stage: str, told: Sequence[tuple[bool, str | None]]
) -> list[Line]:
    """The same where the stage tells of each line that stood before it whether it stays, and by which rule it was
    removed or cut."""
    result: list[Line] = []
    left, verdicts = iter(after), iter(told)
    for line in lines:
        stays, reason = (True, None) if line.mark == "-" else next(verdicts)
        if line.mark == "-" or (stays and reason is None):
            result.append(line)
            if line.mark != "-":
                next(left)
            continue
        result.append(replace(line, mark="-", stage=stage, reason=reason))
        if stays:
            result.append(Line(next(left), "+", stage, reason))
    return result


def repeated(lines: Sequence[Line]) -> list[Line]:
    """Marks lines that are equal to an earlier one that stays, as the signal `duplicate_lines` takes them: trimmed."""
    seen: set[str] = set()
    result = []
    for line in lines:
        trimmed = line.text.strip()
        result.append(replace(line, mark="=") if line.mark == " " and trimmed in seen else line)
        if line.mark != "-" and trimmed:
            seen.add(trimmed)
    return result


def _verdict(result: pa.RecordBatch) -> Verdict | None:
    found = {name: result.column(name)[0].as_py() for name in VERDICT.names if name in result.schema.names}
    if found.get("quarantined_by"):
        return Verdict("quarantined", found["quarantined_by"])
    if found.get("dropped_by"):
        return Verdict("dropped", found["dropped_by"], found.get("value"), found.get("limit"))
    return None


def _stands(told: Sequence[tuple[bool, str | None]], text: str) -> bool:
    """Whether a line stays that holds more than white space."""
    return any(stays and line.strip() for (stays, _), line in zip(told, text.split("\n"), strict=True))


def _is_text(value: Value) -> bool:
    return isinstance(value, str)


def _reasons(stage: DocumentStage, row: pa.RecordBatch, text: str) -> list[tuple[bool, str | None]]:
    """What a stage says of each line of the text that has a method `reasons`, as `stages.lines`; nothing of others."""
    tells = getattr(stage, "reasons", None)
    if tells is None:
        return []
    domain, language = (row.column(name)[0].as_py() for name in ("domain", "language"))
    return list(tells(text, domain, language))


def _judged(rules: Sequence[Rule], result: pa.RecordBatch) -> list[Judged]:
    """Every rule with its value and verdict; who fails is read from the stage's own bit mask."""
    mask = result.column("failed")[0].as_py() or b""
    domain, language = (result.column(name)[0].as_py() for name in ("domain", "language"))
    judged = []
    for k, rule in enumerate(rules):
        value = result.column(rule.signal)[0].as_py()
        if rule.domains and domain not in rule.domains:
            verdict = OTHER_DOMAIN
        elif rule.languages and language not in rule.languages:
            verdict = OTHER_LANGUAGE
        elif value is None and not rule.expression:
            verdict = NO_VALUE
        else:
            verdict = FAILS if mask and mask[k // 8] >> k % 8 & 1 else PASSES
        judged.append(Judged(rule, value, verdict))
    return judged
