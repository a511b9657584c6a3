"""The report's page: masthead, headline figures, sections; style and script inline, nothing fetched.

A content security policy allows this page's own script by its hash and no other, and no request to anywhere, so even
text that slipped through unescaped could neither run nor call home.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from gristmill.pipeline.views.report.against import Comparison
from gristmill.pipeline.views.report.against_section import against_section
from gristmill.pipeline.views.report.charts import millstone
from gristmill.pipeline.views.report.contamination import contamination_section
from gristmill.pipeline.views.report.corpus import funnel_section, languages_section, rules_section
from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.duplicates import clusters_section
from gristmill.pipeline.views.report.elements import Section, quiet, render
from gristmill.pipeline.views.report.facts import facts_section, time_section
from gristmill.pipeline.views.report.figures import count, duration, esc, listing, plural, share, short, size
from gristmill.pipeline.views.report.findings import findings_section, other_notes
from gristmill.pipeline.views.report.kept_section import kept_section
from gristmill.pipeline.views.report.labels import Pairs, labels_section
from gristmill.pipeline.views.report.personal import personal_section
from gristmill.pipeline.views.report.plan import plan_section
from gristmill.pipeline.views.report.samples import samples_section
from gristmill.pipeline.views.report.signals import signals_section
from gristmill.pipeline.views.report.tokens import blends_section, tokenizer_section, training_section
from gristmill.pipeline.views.report.training import Training

SCRIPTS = ("page", "samples", "signals")
"""Files beside this one that make up the page's one script."""


def page(run: Run, training: Training | None, labels: Pairs | None = None, comparison: Comparison | None = None) -> str:
    """The whole file as text. labels: what `labels.label_pairs` counted. comparison: with another run."""
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    script = "".join(Path(__file__).with_name(f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    possible = {
        "duplicates": clusters_section(run),
        "blend": blends_section(run),
        "trained tokenizer": tokenizer_section(run),
        "training": training_section(training),
    }
    found = [
        against_section(comparison),
        funnel_section(run),
        findings_section(run.record),
        kept_section(run.kept),
        rules_section(run),
        samples_section(run),
        signals_section(run.distributions),
        languages_section(run),
        labels_section(labels or {}),
        contamination(run),
        personal_section(tallies(run, "pii")),
        *possible.values(),
        plan_section(run),
        time_section(run),
        facts_section(run),
    ]
    sections = [section for section in found if section]
    absent = [name for name, section in possible.items() if section is None]
    sentence = quiet(f"Not in this output: {listing(absent)}.") if absent else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>Gristmill: {esc(run.name)}</title><style>{style}</style></head>\n<body>"
        f"{masthead(run, sections)}{headline(run, training)}<main>{''.join(map(render, sections))}</main>"
        f"<footer>{sentence}</footer><script>{script}</script></body></html>\n"
    )


def tallies(run: Run, stage: str) -> dict[str, int]:
    """What a stage counted beside documents and bytes; empty where it did not run."""
    return next((entry.get("tallies", {}) for entry in run.record["funnel"] if entry["stage"] == stage), {})


def contamination(run: Run) -> Section | None:
    from gristmill.stages.decontaminate import report_of_tallies

    ran = any(entry["stage"] == "decontaminate" for entry in run.record["funnel"])
    return contamination_section(report_of_tallies(tallies(run, "decontaminate"))) if ran else None


def masthead(run: Run, sections: list[Section]) -> str:
    began = datetime.fromtimestamp(run.record["started"], UTC)
    links = "".join(f'<a href="#{section.key}">{esc(section.title)}</a>' for section in sections)
    return (
        f'<header class="masthead">{millstone()}<div><h1>Gristmill</h1><p>A run of the mill: <b>{esc(run.name)}</b>, '
        f'<time datetime="{began:%Y-%m-%dT%H:%M:%SZ}">{began.day} {began:%B %Y, %H:%M} UTC</time></p></div>'
        f"<nav>{links}</nav></header>"
    )


def headline(run: Run, training: Training | None) -> str:
    record, first = run.record, run.record["funnel"][0]
    groups = record["groups"]
    documents, weight = sum(g["documents"] for g in groups), sum(g["bytes"] for g in groups)
    natural = {g["language"] for g in groups if g["domain"] != "code"}
    code = {g["language"] for g in groups if g["domain"] == "code"}
    figures = [
        (count(first["documents_in"]), "documents in", size(first["bytes_in"])),
        (
            count(documents),
            "curated",
            f"{size(weight)} of text, {share(documents, first['documents_in'])} of the documents",
        ),
        (count(len(natural)), "languages", f"and {plural(len(code), 'programming language')}"),
    ]
    blends = record["blends"]
    if blends:
        name, entry = next(iter(blends.items()))
        more = f", and {plural(len(blends) - 1, 'blend')} more" if len(blends) > 1 else ""
        figures.append((short(entry["tokens"]), "tokens", f"in the blend {esc(name)}{more}"))
    report = run.tokenizer
    if report and report["all"]["bytes_per_token"]:
        vocabulary = count(report["tokenizer"]["vocab_size"])
        figures.append((f"{report['all']['bytes_per_token']:.2f}", "bytes per token", f"of {vocabulary} pieces"))
    if training:
        held_out = training.evaluations[-1]["loss"] if training.evaluations else None
        value, name = (training.last_loss, "loss") if held_out is None else (held_out, "loss, held out")
        figures.append((f"{value:.3f}", name, f"after {short(training.points[-1].tokens)} tokens"))
    figures.append((duration(record["seconds"]), "run time", f"{plural(len(record['steps']), 'step')}"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for value, name, note in figures)
    notes = "".join(quiet(esc(note)) for note in other_notes(record))
    return f'<dl class="headline">{cells}</dl>{notes}'
