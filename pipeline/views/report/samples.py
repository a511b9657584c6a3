"""The section to look things up in: previews of documents that left, by rule, with a search over all of them.

Without a script it is a list of rules that open. `samples.js` filters by words (in text, rule, path or id), rule,
language and source.
"""

from __future__ import annotations

from collections.abc import Iterable

from gristmill.pipeline.views.report.corpus import rule_name, sample
from gristmill.pipeline.views.report.data import PREVIEWS, Removal, Run
from gristmill.pipeline.views.report.elements import Section
from gristmill.pipeline.views.report.figures import count, esc, plural


def samples_section(run: Run) -> Section | None:
    removed = [r for r in sorted(run.removals, key=lambda r: (-r.documents, r.rule)) if r.previews]
    edited = [r for r in run.edits if r.previews]
    if not removed and not edited:
        return None
    shown = [*removed, *edited]
    number_of = sum(len(r.previews) for r in shown)
    lede = (
        f"{plural(number_of, 'document')} that left, at most {PREVIEWS} of each rule, by their beginnings. "
        "<code>gristmill explain ID</code> tells a document's whole way."
    )
    groups = "".join(group(r) for r in shown)
    return Section("samples", "Look inside", lede, f'{controls(shown)}<div class="samples">{groups}</div>')


def controls(shown: list[Removal]) -> str:
    rows = [row for r in shown for row in r.previews]
    lists = (
        chooser("rule", "every rule", (r.rule for r in shown))
        + chooser("language", "every language", sorted({row["language"] for row in rows if row["language"]}))
        + chooser("source", "every source", sorted({row["source"] for row in rows}))
    )
    return (
        '<div class="controls search" hidden><input type="search" placeholder="Search text, rules, paths, ids" '
        f'aria-label="Search the samples">{lists}<output aria-live="polite"></output></div>'
    )


def chooser(key: str, everything: str, names: Iterable[str]) -> str:
    """A list to choose from; none where there is nothing to choose."""
    values = list(dict.fromkeys(names))
    if len(values) < 2:
        return ""
    options = "".join(f"<option>{esc(value)}</option>" for value in values)
    return f'<select data-key="{key}" aria-label="{key}"><option value="">{everything}</option>{options}</select>'


def group(removal: Removal) -> str:
    r = removal
    rows = "".join(
        f'<div class="found" data-language="{esc(row["language"] or "")}" data-source="{esc(row["source"])}">'
        f"{sample(row, r)}</div>"
        for row in r.previews
    )
    of = f"{count(len(r.previews))} of {count(r.documents)}"
    return (
        f'<details class="group" data-rule="{esc(r.rule)}"><summary><span class="name">{rule_name(r)}</span>'
        f'<span class="n">{of}</span></summary>{rows}</details>'
    )
