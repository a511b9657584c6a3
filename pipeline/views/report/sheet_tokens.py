"""Sections of the datasheet about languages and tokens: what is there, how the tokenizer cuts it, what each blend took.

Markdown; `pipeline.views.datasheet` puts them together. record: what stands in `run.json`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pipeline.steps.record import BlendRecord, RunRecord, measured_by
from gristmill.pipeline.views.report.figures import LANGUAGES
from gristmill.pipeline.views.report.markdown import cell, count, ratio, share, size, table, wrapped
from gristmill.pipeline.views.report.sums import Group, unit_key
from gristmill.wording import plural


def languages(record: RunRecord, held: Mapping[str, Mapping[Group, tuple[int, int]]]) -> str:
    tokens: dict[tuple[str, str], int] = {}
    for name, entry in list(record["blends"].items())[:1]:  # every blend draws from the same tokenized documents
        for unit in entry["units"]:
            key = (unit["domain"], unit["language"] or "")
            tokens[key] = tokens.get(key, 0) + unit["tokens"]
        for (domain, _, _, language), (_, n) in held[name].items():
            tokens[domain, language] = tokens.get((domain, language), 0) + n
    report = measured_by(record["tokenizer"])
    measured = {(row["domain"], row["language"]): row for row in report.get("languages", [])} if report else {}
    whole = sum(group["bytes"] for group in record["groups"])
    rows = []
    for group in sorted(record["groups"], key=lambda g: (-g["bytes"], g["domain"], g["language"])):
        key = (group["domain"], group["language"])
        row = measured.get(key)
        rows.append(
            (
                group["domain"],
                group["language"],
                LANGUAGES.get(group["language"], "") if group["domain"] != "code" else "",
                count(group["documents"]),
                size(group["bytes"]),
                share(group["bytes"], whole),
                count(tokens[key]) if key in tokens else "–",
                ratio(row["bytes_per_token"] if row else None),
                ratio(row["fertility"] if row else None),
            )
        )
    head = ("domain", "language", "", "documents", "text", "share", "tokens", "bytes per token", "tokens per word")
    return f"""### Languages

Curated documents by what language identification, or for code the file's name, says. Tokens are those of all curated
documents of the blended domains, each once; the last two columns were measured on the tokenizer's sample.

{table(head, rows, "lllrrrrrr", len(rows))}"""


def tokenizer(record: RunRecord) -> str:
    found = record["tokenizer"]
    text = f"SHA-256 of tokenizer.model: `{found['sha256']}`."
    report, measured = found["report"], measured_by(found)
    if not report or not measured:
        return f"## Tokenizer\n\n{wrapped(text + ' It was given, not trained in this run.')}"
    trained = report.get("trained")
    if trained:
        text += (
            f" Byte-pair encoding of {count(trained['vocab_size'])} pieces, trained on {count(trained['documents'])} "
            f"documents, {size(trained['bytes'])}, sampled from the curated text."
        )
    rows = [
        (
            name,
            count(row["documents"]),
            count(row["tokens"]),
            ratio(row["bytes_per_token"]),
            ratio(row["fertility"]),
            share(row["byte_fallback_rate"] or 0, 1, 2),
            share(row["coverage"] or 0, 1, 2),
        )
        for name, row in [("all", measured["all"]), *measured.get("domains", {}).items()]
    ]
    head = ("measured on", "documents", "tokens", "bytes per token", "tokens per word", "byte fallback", "coverage")
    failures = measured["all"]["round_trip_failures"]
    trip = f"Tokens per word is also called fertility. {count(failures)} documents did not decode to what they were."
    return f"## Tokenizer\n\n{wrapped(text)}\n\n{table(head, rows, 'lrrrrrr')}\n\n{trip}"


def blend(name: str, entry: BlendRecord, record: RunRecord, taken: Mapping[Group, tuple[int, int]]) -> str:
    targets, found = entry["target_tokens_by_domain"], entry["tokens_by_domain"]
    whole, planned = sum(found.values()), sum(targets.values())
    domains = [
        (
            domain,
            count(targets.get(domain, 0)),
            share(targets.get(domain, 0), planned, 2),
            count(found.get(domain, 0)),
            share(found.get(domain, 0), whole, 2),
        )
        for domain in dict.fromkeys([*targets, *found])
    ]
    units = [
        (
            unit["domain"],
            unit["category"] or "",
            unit["source"],
            unit["language"] or "",
            count(unit["documents"]),
            count(unit["tokens"]),
            count(unit["target"]),
            count(taken[key][1]) if (key := unit_key(unit)) in taken else "0",
            f"{unit['epochs']:.2f}",
        )
        for unit in sorted(entry["units"], key=lambda unit: (-unit["target"], unit_key(unit)))
    ]
    fraction = record["configuration"].get("shards", {}).get("holdout", 0)
    text = (
        f"{count(entry['tokens'])} tokens, {count(entry['documents'])} copies of documents, "
        f"{plural(entry['shards'], 'shard')} in `shards/{cell(name)}`. Held out: {count(entry['holdout_tokens'])} "
        f"tokens, by a draw of {fraction:g} of the near-duplicate clusters, so that no copy of a held-out document is "
        "in the shards."
    )
    text += "".join(f" {cell(note)}." for note in entry["notes"])
    head = ("domain", "category", "source", "language", "documents", "tokens there", "target", "taken", "epochs")
    return f"""## Blend: {cell(name)}

{wrapped(text)}

{table(("domain", "target", "share", "taken", "share"), domains, "lrrrr")}

Epochs: target over tokens there. Above 1 documents are repeated.

{table(head, units, "llllrrrrr")}"""
