"""The section about the sources: what the check of what they say found, and what was left out."""

from __future__ import annotations

from gristmill.pipeline.steps.record import RunRecord
from gristmill.pipeline.views.report.elements import Section, folded
from gristmill.pipeline.views.report.figures import esc, plural

SHOWN = 20
"""Findings before the fold."""


def findings_section(record: RunRecord) -> Section | None:
    """None where nothing was found."""
    found = record.get("findings", [])
    if not found:
        return None
    rows = [(esc(each["source"] or "all"), esc(each["kind"]), esc(said(each["sentence"]))) for each in found]
    lede = (
        f"{plural(len(found), 'finding')}: what sources say was compared with the first records of files and with "
        "what the first pass counted."
    )
    return Section("sources", "Sources", lede, folded(("source", "kind", "found"), rows, "lLl", SHOWN, "findings"))


def said(sentence: str) -> str:
    """The sentence without the source, which has a column."""
    head, mark, rest = sentence.partition(": ")
    return rest if mark and head.startswith("source ") else sentence


def other_notes(record: RunRecord) -> list[str]:
    """The run's notes but for those that are findings or stand with the blends."""
    told = {note for entry in record["blends"].values() for note in entry["notes"]}
    told |= {finding["sentence"] for finding in record.get("findings", [])}
    return [note for note in record.get("notes", []) if note not in told]
