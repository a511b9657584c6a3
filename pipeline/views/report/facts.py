"""Sections about the run itself: where the time went, what it was made from and with."""

from __future__ import annotations

import json

from gristmill.pipeline.steps.record import SourceRecord
from gristmill.pipeline.views.report.charts import bar
from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.elements import Section, fold, folded, quiet, table
from gristmill.pipeline.views.report.figures import count, duration, esc, plural, share, size


def time_section(run: Run) -> Section:
    steps = sorted(run.record["steps"], key=lambda step: -step["seconds"])
    total = sum(step["seconds"] for step in steps)
    longest = max([1e-9, *(step["seconds"] for step in steps)])
    reused = sum(1 for step in steps if step["tasks"] and step["reused"] == step["tasks"])
    missing = sum(len(step["missing"]) for step in steps)
    rows = [
        (
            esc(step["name"]),
            bar(step["seconds"] / longest),
            duration(step["seconds"]),
            share(step["seconds"], total),
            count(step["tasks"]),
            size(step["bytes_written"]),
            count(step["reused"]) if step["reused"] else "",
        )
        for step in steps
    ]
    lede = f"{duration(run.record['seconds'])} in all, {duration(total)} of it in {plural(len(steps), 'step')}."
    if reused:
        lede += f" {plural(reused, 'step')} {'was' if reused == 1 else 'were'} done before and not run again."
    head, kinds = ("step", "", "time", "share", "tasks", "written", "tasks reused"), "lbnnNNN"
    shown = len(head) if any(step["reused"] for step in steps) else len(head) - 1
    body = folded(head[:shown], [row[:shown] for row in rows], kinds[:shown], 12, "steps")
    if missing:
        body = (
            quiet(f"{plural(missing, 'task')} failed and {'is' if missing == 1 else 'are'} missing from this output.")
            + body
        )
    return Section("time", "Time", lede, body)


def facts_section(run: Run) -> Section:
    record = run.record
    configuration = record["configuration"]
    inputs = record["inputs"]
    versions = {"python": record["python"], **record["libraries"]}
    facts = [
        ("inputs", f"{plural(inputs['files'], 'file')}, {size(inputs['bytes'])}"),
        ("seed", esc(configuration.get("seed", "–"))),
        ("host", esc(record["host"])),
        ("tokenizer", f"<code>{esc(record['tokenizer']['sha256'])}</code>"),
        ("versions", ", ".join(f"{esc(name)}{chr(160)}{esc(version)}" for name, version in versions.items())),
    ]
    body = '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts) + "</dl>"
    sources = configuration.get("sources", [])
    if sources:
        body += table(("source", "where", "domain"), [_source(source) for source in sources], "llL")
    prints = [(esc(step["name"]), f"<code>{esc(step['fingerprint'])}</code>") for step in record["steps"]]
    body += fold("Fingerprints of the steps", table(("step", "fingerprint"), prints, "ll"))
    text = json.dumps(configuration, indent=2, ensure_ascii=False)
    body += fold("The whole configuration", f"<pre>{esc(text)}</pre>")
    lede = "The same input, configuration and versions give the same bytes; each step's fingerprint covers all of them."
    return Section("facts", "The run", lede, body)


def _source(source: SourceRecord) -> tuple[str, str, str]:
    return esc(source.get("name", "")), f"<code>{esc(source.get('uri', ''))}</code>", esc(source.get("domain") or "any")
