"""`gristmill init`: looks at inputs and says what was found, a line each, and what to write.

    found = proposed(["data/crawl", "s3://bucket/wiki/*.jsonl.zst"])
    found.text("pipeline.yaml")   the configuration
    found.lines                   a line a finding, for the terminal

Nothing is read whole: file names, the first bytes of some files, the first records of a few.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gristmill.pipeline.engine.progress import size_text
from gristmill.pipeline.init.domains import default_model
from gristmill.pipeline.init.layout import Layout, layout_of
from gristmill.pipeline.init.sources import TOTAL_SECONDS, Source, sources_of
from gristmill.pipeline.init.writing import Proposal, languages_of, mapping, yaml_of
from gristmill.pipeline.readers.folder import find
from gristmill.pipeline.readers.left_out import tally
from gristmill.pipeline.readers.source import format_by_name, stored_name
from gristmill.storage.json_values import Json
from gristmill.storage.uris import OPTIONS, Found, is_folder, is_local, names_many, redacted

MEMORY_PER_WORKER = 2_000_000_000
"""The default of `runtime.memory_per_worker`."""
LEAST_MEMORY = 500_000_000
MEMORY_SHARE = 0.7  # of the machine's, for workers; the rest is Ray's object store and the system
GENERIC = frozenset({"data", "documents", "train", "raw", "files", "output", "out", "default", "part", "en", "test"})
"""Names of folders and files that say nothing of a source."""


@dataclass
class Findings:
    """What was found, before it is written."""

    proposal: Proposal
    lines: list[str] = field(default_factory=list)

    def text(self, path: str) -> str:
        """The configuration. path: its file, for the commands that it names."""
        return yaml_of(self.proposal, path)

    def record(self) -> dict[str, Json]:
        """What was found as JSON values."""
        return {
            "sources": [_record(source) for source in self.proposal.sources],
            "left_out": list(self.proposal.left_out),
            "notes": list(self.proposal.notes),
        }


def _record(source: Source) -> dict[str, Json]:
    shares = source.shares
    return {
        "name": source.name,
        "uri": source.uri,
        "format": source.format,
        "files": len(source.files),
        "bytes": source.bytes,
        "columns": dict(source.columns),
        "domain": source.domain,
        "category": source.category,
        "ids": "per_file" if source.per_file else "per_source",
        "domains": {domain: round(shares.share(domain), 4) for domain in sorted(shares.domains)},
        "notes": list(source.notes),
    }


def proposed(inputs: Sequence[str], say: Callable[[str], None] = lambda line: None) -> Findings:
    """inputs: paths, patterns and URIs. `say` is called with each finding as it is made.

    ValueError in one sentence where an input names nothing or holds nothing that can be read.
    """
    model = default_model()
    end = time.monotonic() + TOTAL_SECONDS
    sources: list[Source] = []
    result = Findings(Proposal(inputs, sources, []))
    left_out: list[tuple[str, int, str]] = []

    def tell(line: str) -> None:
        result.lines.append(line)
        say(line)

    for layout in _layouts(inputs):
        left_out += layout.left_out
        for source in sources_of(layout, model, end):
            if source.unusable is not None:
                where = redacted(source.uri)
                tell(f"{where}: {len(source.files):,} {source.format} left out: {source.unusable}")
                left_out += [(file.path, file.size, source.unusable) for file in source.files]
                continue
            source.name = _name(source.uri, source.format, {each.name for each in sources})
            sources.append(source)
            tell(_line(source))
            for note in source.notes:
                tell(f"  {source.name}: {note}")
    rows = tally("", left_out)
    result.proposal.left_out = [
        f"{row.files:,} {row.extension or 'without an extension'}: {row.why}" for row in rows if row.files
    ]
    for sentence in result.proposal.left_out:
        tell(f"left out: {sentence}")
    if not sources:
        why = f"; {result.proposal.left_out[0]}" if result.proposal.left_out else ""
        raise ValueError(f"{redacted(inputs[0])}: nothing in it can be read as documents{why}")
    result.proposal.output = _output(inputs)
    result.proposal.memory_per_worker = _memory()
    if is_local(model) and not os.path.isfile(model):
        sentence = f"the language model {model} is not there: `gristmill fetch` gets it, before the run"
        result.proposal.notes.append(sentence)
        tell(sentence)
    return result


def _line(source: Source) -> str:
    number = len(source.files)
    parts = [
        f"{source.name}: {number:,} file{'s' if number != 1 else ''} of {source.format}, {size_text(source.bytes)}"
    ]
    if source.columns:
        parts.append(mapping(source.columns))
    languages = languages_of(source)
    return "; ".join([*parts, *([languages] if languages else [])])


def _layouts(inputs: Sequence[str]) -> list[Layout]:
    """One an input; files that are named one by one go by their folder."""
    together: dict[str, list[str]] = {}
    order: list[str] = []
    for uri in dict.fromkeys(inputs):
        folder = os.path.dirname(uri) if is_local(uri) and os.path.isfile(uri.removeprefix("file://")) else None
        key = f"folder {folder}" if folder is not None else f"uri {uri}"
        if key not in together:
            order.append(key)
        together.setdefault(key, []).append(uri)
    return [_layout(together[key]) for key in order]


def _layout(uris: Sequence[str]) -> Layout:
    uri = uris[0]
    if len(uris) == 1:
        return layout_of(uri, find(uri), is_folder(uri) if names_many(uri) else False)
    folder = os.path.dirname(uri) or "."
    names = {os.path.basename(each) for each in uris}
    found = [file for file in find(os.path.join(folder, "*")) if "/" not in file.path]
    layout = layout_of(folder, [file for file in found if file.path in names], True)
    layout.files = [file for file in found if isinstance(file, Found)]
    return layout


def _name(uri: str, format_name: str, taken: set[str]) -> str:
    """From the last part of the URI that says something; unique."""
    options = OPTIONS.search(uri) if not is_local(uri) else None
    path = (
        os.path.abspath(uri.removeprefix("file://"))
        if is_local(uri)
        else uri.removesuffix(options[0] if options else "")
    )
    name = ""
    for i, part in enumerate(reversed([part for part in path.split("/") if part])):
        stem = _stem(part) if i == 0 else part
        stem = re.sub(r"[^\w-]+", "-", re.sub(r"[*?\[].*|\d{4,}.*", "", stem)).strip("-_").lower()
        if stem and not stem.isdigit() and stem not in GENERIC:
            name = stem
            break
    name = name or format_name
    candidates = [name, f"{name}-{format_name}", *(f"{name}-{i}" for i in range(2, 10_000))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _stem(name: str) -> str:
    """Without what says its format."""
    stem = stored_name(name)
    return (
        posixpath.splitext(stem)[0] if format_by_name(name) or stem != name or re.search(r"\.\w{2,5}$", stem) else stem
    )


def _output(inputs: Sequence[str]) -> str:
    """`out`, unless an input holds the current folder: an output there would be read as an input."""
    here = Path.cwd()
    for uri in inputs:
        if is_local(uri):
            path = Path(uri.removeprefix("file://")).absolute()
            if path == here or path in here.parents or path == here / "out":
                return posixpath.join("..", f"{here.name or 'data'}-out")
    return "out"


def _memory() -> int | None:
    """Bytes of memory for each of this machine's cores, where that is less than the default."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = int(whole * MEMORY_SHARE / cores)
    return None if share >= MEMORY_PER_WORKER else max(LEAST_MEMORY, share // 100_000_000 * 100_000_000)
