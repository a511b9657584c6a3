"""Sections about documents: the funnel, what each rule removed, languages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gristmill.pipeline.steps.record import FunnelEntry, GroupRecord
from gristmill.pipeline.views.report.charts import Sieve, bar, funnel, pair
from gristmill.pipeline.views.report.data import Removal, Run
from gristmill.pipeline.views.report.elements import Section, fold, folded, quiet, table
from gristmill.pipeline.views.report.figures import count, esc, language, limits, number, plural, share, size
from gristmill.pipeline.views.tables import SampleRow

WHAT = {
    "read": "records of the input files",
    "extract": "text out of pages",
    "language": "identified, domain decided",
    "lines": "edited line by line",
    "signals": "measured",
    "rules": "limits on the signals",
    "identity": "one text under one id",
    "exact_dedup": "same text",
    "near_dedup": "nearly the same text",
    "perplexity": "language model",
    "decontaminate": "benchmarks taken out",
    "pii": "personal data replaced",
    "join_code": "files joined by repository",
    "curate": "written by domain and language",
    "tokenize": "encoded",
}
"""What a stage does, below its name in the funnel."""


def funnel_section(run: Run) -> Section:
    entries = run.record["funnel"]
    raw = pages(entries)
    sieves = [sieve(entry, i < raw, i + 1 < raw) for i, entry in enumerate(entries)]
    first, last = entries[0], entries[-1]
    lede = (
        f"{share(last['kept'], first['documents_in'])} of the documents came through. Blue is what a stage kept, "
        "ochre what it lost; each took in what the one before it kept, to the document and the byte."
    )
    body = f"<figure>{pair(lambda width: funnel(sieves, width))}</figure>"
    if raw:
        before, after = size(entries[raw - 1]["bytes_in"]), size(entries[raw - 1]["bytes_kept"])
        body += quiet(
            f"What <em>extract</em> takes in are bytes of raw pages, outlined here: {before} gave {after} of text."
        )
    return Section("funnel", "The funnel", lede, body + fold("The funnel in figures", funnel_table(entries)))


def pages(entries: Sequence[FunnelEntry]) -> int:
    """How many stages from the first on have bytes of raw pages: to `extract`, where it edited more than half away."""
    for i, entry in enumerate(entries):
        if entry["stage"] == "extract" and entry["bytes_edited_away"] > 0.5 * entry["bytes_in"]:
            return i + 1
    return 0


def sieve(entry: FunnelEntry, raw: bool, raw_kept: bool) -> Sieve:
    gone = entry["dropped"] + entry["quarantined"] + entry["merged"]
    worst = max(entry["rules"].items(), key=lambda item: item[1][0], default=None)
    lost, why = "", ""
    if gone:
        lost = f"−{count(gone)} · {share(gone, entry['documents_in'])}"
        name = worst[0].removeprefix(entry["stage"] + ".") if worst else ""
        why = f"{'mostly ' if len(entry['rules']) > 1 else ''}{name.replace('_', ' ')}" if worst else ""
    elif entry["bytes_edited_away"]:
        lost = f"−{share(entry['bytes_edited_away'], entry['bytes_in'])} of the bytes edited away"
    kept = (entry["documents_in"] + entry["split"], entry["kept"], entry["bytes_in"] + entry["bytes_added"])
    what = WHAT.get(entry["stage"], "")
    return Sieve(entry["stage"], what, *kept, entry["bytes_kept"], lost, _cut(why, 40), raw, raw_kept)


def funnel_table(entries: Sequence[FunnelEntry]) -> str:
    head = (
        "stage",
        "in",
        "split",
        "kept",
        "merged",
        "dropped",
        "quarantined",
        "bytes in",
        "added",
        "edited away",
        "kept",
    )
    nothing = '<span class="zero">0</span>'
    rows = []
    for e in entries:
        documents = (e["documents_in"], e["split"], e["kept"], e["merged"], e["dropped"], e["quarantined"])
        weights = (e["bytes_in"], e["bytes_added"], e["bytes_edited_away"], e["bytes_kept"])
        rows.append(
            (
                esc(e["stage"]),
                *(count(number) if number else nothing for number in documents),
                *(size(number) if number else nothing for number in weights),
            )
        )
    return table(head, rows, "l" + "n" * 10)


def rules_section(run: Run) -> Section:
    removed = sorted(run.removals, key=lambda r: (-r.documents, r.rule))
    if not removed:
        return Section(
            "rules", "What was removed", "", quiet("Nothing was removed: every document passed every stage.")
        )
    documents, weight = sum(r.documents for r in removed), sum(r.bytes for r in removed)
    lede = (
        f"{plural(documents, 'document')}, {size(weight)}. A document counts for the first rule it failed; "
        "<em>alone</em> are those that failed no other rule of the stage. A row opens to three of its documents."
    )
    controls = (
        '<div class="controls" hidden><span>Sort by</span>'
        '<button data-by="documents" aria-pressed="true">documents</button><button data-by="bytes">bytes</button>'
        '<button data-by="alone">alone</button><button data-by="place">order of the run</button>'
        '<input type="search" placeholder="Filter rules" aria-label="Filter rules"></div>'
    )
    head = (
        '<div class="rulehead" aria-hidden="true"><span>rule</span><span>stays if</span>'
        '<span class="n">documents</span><span></span><span class="n">of its stage</span><span class="n">bytes</span>'
        '<span class="n">alone</span><span class="source">source</span></div>'
    )
    place = {(r.stage, r.rule): i for i, r in enumerate(run.removals)}
    most = max(r.documents for r in removed)
    rows = "".join(rule_row(r, place[r.stage, r.rule], most) for r in removed)
    body = f'{controls}{head}<div class="rules">{rows}</div>'
    if run.idle:
        idle = [(rule_name(r), limits(r.minimum, r.maximum), scope(r), esc(r.source)) for r in run.idle]
        title = f"{plural(len(run.idle), 'rule')} removed nothing"
        body += fold(title, table(("rule", "stays if", "applies to", "source"), idle, "llLL"))
    if run.edits:
        body += '<h3>Edited, not removed</h3><div class="rules edits">'
        widest = max(r.documents for r in run.edits)
        body += "".join(rule_row(r, i, widest, edited=True) for i, r in enumerate(run.edits)) + "</div>"
    return Section("rules", "Removed", lede, body)


def rule_row(removal: Removal, place: int, most: int, edited: bool = False) -> str:
    r = removal
    limit = limits(r.minimum, r.maximum) or (f"limit {number(r.limit)}" if r.limit is not None else "")
    facts = [f"stage <b>{esc(r.stage)}</b>"]
    if scope(r):
        facts.append(f"applies to {scope(r)}")
    facts.append(f"source: {esc(r.source)}" if r.source else "by the stage's own configuration")
    samples = "".join(sample(row, r) for row in r.samples)
    alone = count(r.alone) if r.alone is not None else ""
    keys = f'data-documents="{r.documents}" data-bytes="{r.bytes}" data-alone="{r.alone or 0}" data-place="{place}"'
    search = esc(f"{r.rule} {r.stage} {r.source} {r.action}".lower())
    return (
        f'<details class="rule" {keys} data-text="{search}"><summary><span class="name">{rule_name(r)}</span>'
        f'<span class="limit">{limit}</span><span class="n">{count(r.documents)}</span>'
        f"<span>{bar(r.documents / max(1, most), 'lost')}</span>"
        f'<span class="n share">{share(r.documents, r.documents_in) if not edited else ""}</span>'
        f'<span class="n bytes">{size(r.bytes)}</span><span class="n alone">{alone}</span>'
        f'<span class="source" title="{esc(r.source)}">{short_source(r)}</span></summary>'
        f'<p class="facts">{" · ".join(facts)}</p>{samples}</details>'
    )


def short_source(removal: Removal) -> str:
    """The source without what stands in brackets; where there is none, the stage."""
    return esc(re.sub(r" \([^)]*\)", "", removal.source) or f"stage {removal.stage}")


def rule_name(removal: Removal) -> str:
    preset, _, name = removal.rule.partition(".")
    parts = esc(name).replace("_", '_<wbr class="late">')  # breaks inside the name on a phone only
    mark = ' <span class="mark">quarantined</span>' if removal.action == "quarantined" else ""
    return f'<span class="preset">{esc(preset)}.</span><wbr>{parts}{mark}'


def scope(removal: Removal) -> str:
    return esc(", ".join([*removal.domains, *(f"language {code}" for code in removal.languages)]))


def sample(row: SampleRow, removal: Removal) -> str:
    facts = []
    if row["value"] is not None:
        against = f" against {number(row['limit'])}" if row["limit"] is not None else ""
        signal = removal.rule.partition(".")[2].replace("_", " ")
        facts.append(f"<b>{esc(signal)} {number(row['value'])}</b>{against}")
    if row["survivor"]:
        facts.append(f"kept in its place: <code>{row['survivor'].hex()}</code>")
    if row["language"]:
        facts.append(esc(row["language"]))
    where = f"{row['source']}: {row['path']}" + (f" #{row['record']}" if row["record"] else "")
    facts += [esc(where), f"<code>{row['id'].hex()}</code>"]
    text = f'<blockquote dir="auto">{esc(row["preview"])}</blockquote>' if row["preview"] else ""
    return f'<figure class="sample">{text}<p>{" · ".join(facts)}</p></figure>'


def languages_section(run: Run) -> Section:
    groups = sorted(run.record["groups"], key=lambda g: (-g["bytes"], g["language"]))
    natural = [g for g in groups if g["domain"] != "code"]
    code = [g for g in groups if g["domain"] == "code"]
    if not groups:
        return Section("languages", "Languages", "", quiet("Nothing was curated."))
    lede = (
        f"{plural(len({g['language'] for g in natural}), 'natural language')} and "
        f"{plural(len(code), 'programming language')} in the curated corpus, by bytes of text."
    )
    sides = [
        language_table(part, name) for part, name in ((natural, "language"), (code, "programming language")) if part
    ]
    return Section(
        "languages", "Languages", lede, f'<div class="columns">{"".join(map("<div>{}</div>".format, sides))}</div>'
    )


def language_table(groups: Sequence[GroupRecord], name: str) -> str:
    most = max(1, *(g["bytes"] for g in groups))
    rows = [
        (language(g["domain"], g["language"]), bar(g["bytes"] / most), size(g["bytes"]), count(g["documents"]))
        for g in groups
    ]
    return folded((name, "", "bytes", "documents"), rows, "lbnn", 16, "languages")


def _cut(value: str, length: int) -> str:
    return value if len(value) <= length else value[: length - 1] + "…"
