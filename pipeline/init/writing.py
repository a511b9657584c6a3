"""The YAML of a configuration for the sources that were found: short, commented, and to be edited by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gristmill.pipeline.engine.progress import size_text
from gristmill.pipeline.init.sources import Source
from gristmill.storage.uris import redacted

WIDTH = 118
MAX_LEFT_OUT = 12
LANGUAGES = 4  # named of a sample

_PLAIN = re.compile(r"[A-Za-z_./][\w./@ -]*(?<! )")
_RESERVED = re.compile(r"(?:y|n|yes|no|on|off|true|false|null|~)", re.I)


@dataclass
class Proposal:
    """What is written."""

    inputs: Sequence[str]
    sources: list[Source]
    left_out: Sequence[str]
    """A sentence each."""
    output: str = "out"
    notes: list[str] = field(default_factory=list)
    """Of the whole, a sentence each: a model that is not there."""
    memory_per_worker: int | None = None


ROOM = WIDTH - 60
"""Characters for the inputs in the first line."""


def yaml_of(proposal: Proposal, path: str) -> str:
    """path: of the configuration, for the commands that are named."""
    files = sum(len(source.files) for source in proposal.sources)
    size = sum(source.bytes for source in proposal.sources)
    shown = " ".join(redacted(uri) for uri in proposal.inputs)
    if len(shown) > ROOM and len(proposal.inputs) > 1:
        shown = f"{redacted(proposal.inputs[0])} and {len(proposal.inputs) - 1:,} more"
    if len(shown) > ROOM:
        shown = f"…{shown[-ROOM:]}"
    lines = [
        f"# Made by `gristmill init` from {shown}: {files:,} file{'s' if files != 1 else ''}, {size_text(size)}.",
        f"#   gristmill plan {path}     says what a run will do and take",
        f"#   gristmill run {path}      does it; every key is in docs/configuration.md",
        *_comments(proposal.notes),
        "",
        f"output: {scalar(proposal.output)}",
        "",
        "sources:",
    ]
    for source in proposal.sources:
        lines += _source(source)
    lines += [f"  # left out: {sentence}" for sentence in proposal.left_out[:MAX_LEFT_OUT]]
    if len(proposal.left_out) > MAX_LEFT_OUT:
        lines.append(f"  # left out: {len(proposal.left_out) - MAX_LEFT_OUT} more kinds of files")
    lines += ["", *_blend(proposal)]
    if proposal.memory_per_worker is not None:
        lines += [
            "",
            "runtime:",
            f"  memory_per_worker: {proposal.memory_per_worker:_}    # of this machine's memory, a share for each core",
        ]
    return "\n".join(lines) + "\n"


def _source(source: Source) -> list[str]:
    lines = _comments(_findings(source), "  ")
    lines += [f"  - name: {scalar(source.name)}", f"    uri: {scalar(source.uri)}", f"    format: {source.format}"]
    if source.domain is not None:
        lines.append(f"    domain: {source.domain}")
    if source.category is not None:
        lines.append(f"    category: {source.category}")
    if source.columns:
        lines.append(f"    columns: {mapping(source.columns)}")
    if source.per_file:
        lines.append("    ids: per_file")
    return lines


def _findings(source: Source) -> list[str]:
    number = len(source.files)
    head = f"{number:,} file{'s' if number != 1 else ''}, {size_text(source.bytes)}"
    languages = languages_of(source)
    return [f"{head}{'; ' + languages if languages else ''}", *source.notes]


def languages_of(source: Source) -> str:
    """What the sample is in, as "en 93 %, de 4 %; 12 % source code"."""
    shares = source.shares
    total = shares.languages.total()
    if source.format == "tree" or not shares.records:
        return "source code" if source.domain == "code" else ""
    if source.domain == "code" or not shares.domains.keys() - {"code"}:
        return "source code"
    if not shares.identified:
        said = f"English {shares.share('english'):.0%}" if shares.domains else ""
        return f"{said} by its most frequent words" if said else ""
    named = [f"{code} {n / total:.0%}" for code, n in shares.languages.most_common(LANGUAGES) if n >= 0.01 * total]
    return f"of a sample {', '.join(named)}" if named else ""


def _blend(proposal: Proposal) -> list[str]:
    return [
        "blends:",
        "  pretrain:    # every document once, in the proportions of the data; the recipe's blend is instead",
        "    #   domains: {english: 0.70, multilingual: 0.15, code: 0.15}, max_epochs: 4",
        "    max_epochs: 1",
    ]


def _comments(sentences: Sequence[str], indent: str = "") -> list[str]:
    lines: list[str] = []
    for sentence in sentences:
        line = f"{indent}#"
        for word in re.sub(r"\s+", " ", sentence).split(" "):
            if len(line) + len(word) + 1 > WIDTH and not line.endswith("#"):
                lines.append(line)
                line = f"{indent}#  "
            line += f" {word}"
        lines.append(line)
    return lines


def mapping(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in values.items()) + "}"


def scalar(value: str) -> str:
    """The value as YAML reads it back: bare where it can be nothing else, else in double quotes."""
    if _PLAIN.fullmatch(value) and not _RESERVED.fullmatch(value) and ": " not in value and " #" not in value:
        return value
    return json.dumps(value, ensure_ascii=False)
