"""The datasheet of a run: `datasheet.md`, what the corpus is, where it is from, what was done to it, what it is not.

The questions follow Gebru et al. 2021, "Datasheets for Datasets"; the tables are those of a data card (Pushkarna et al.
2022). Everything is counted from `run.json` and the published folders, streamed; nothing is estimated. What a run
cannot know (who paid, what for, who agreed) is said to be not stated. The same output gives the same text: of times
it holds the date of the run, of places what the configuration names. Tables are padded, so they read as plain text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from gristmill.pipeline.steps.record import RunRecord
from gristmill.pipeline.views.report.limitations import limitations
from gristmill.pipeline.views.report.markdown import cell, count, limits, share, size, table, wrapped
from gristmill.pipeline.views.report.sheet_tokens import blend, languages, tokenizer
from gristmill.pipeline.views.report.sums import NOT_STATED, OTHERS, SourceSums, shard_tokens, source_sums
from gristmill.pipeline.views.tables import RuleRow
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted_values
from gristmill.wording import plural

PATH = "datasheet.md"
LICENCES = 10
"""Licences of a source that are named, the most frequent."""

METHODS = {
    "read": "input that is broken, no text, or too large",
    "extract": "main content of web pages: resiliparse (Bevendorff et al. 2018) or trafilatura (Barbaresi 2021)",
    "language": "fastText lid.176 (Joulin et al. 2017), as CCNet (Wenzek et al. 2020)",
    "identity": "one text under one id",
    "exact_dedup": "equal text after Unicode normalisation NFC",
    "near_dedup": "MinHash (Broder 1997) with bands; which copy stays: Parmar et al. 2024 (Data, Data Everywhere)",
    "perplexity": "5-gram language model, modified Kneser-Ney (Heafield et al. 2013), as CCNet (Wenzek et al. 2020)",
    "decontaminate": "13-gram overlap with benchmarks (Brown et al. 2020, appendix C)",
    "pii": "patterns for addresses, numbers and keys",
}
"""Literature of the stages whose verdicts are no rows of the rules' table."""

LIMITS = {"language.score": ("language", "min_score", "≥ {}")}
"""Verdicts with a limit in their stage's configuration: (stage, key, how it is written)."""


def write(store: Store, record: RunRecord) -> str:
    """Writes `datasheet.md` below the output and returns its path there. record: a RunRecord."""
    store.write(PATH, datasheet(record, store).encode(errors="replace"))
    return PATH


def datasheet(record: RunRecord, store: Store) -> str:
    """The datasheet as Markdown. record: what stands in `run.json`; store: the output with its published folders."""
    record = {**record, "configuration": redacted_values(record["configuration"])}
    sources = source_sums(store)
    held = {name: shard_tokens(store, f"shards/{name}/holdout") for name in record["blends"]}
    taken = {name: shard_tokens(store, f"shards/{name}") for name in record["blends"]}
    sections = [
        head(record, store),
        composition(record, sources),
        languages(record, held),
        processing(record, store),
        duplicates(record),
        tokenizer(record),
        *(blend(name, entry, record, taken[name]) for name, entry in record["blends"].items()),
        uses(record, sources),
        maintenance(record, store),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


# -- the sections ------------------------------------------------------------------------------------------------------


def head(record: RunRecord, store: Store) -> str:
    first, groups = record["funnel"][0], record["groups"]
    documents, weight = sum(g["documents"] for g in groups), sum(g["bytes"] for g in groups)
    code = {g["language"] for g in groups if g["domain"] == "code"}
    natural = {g["language"] for g in groups if g["domain"] != "code"}
    rows = [
        ("run", f"{datetime.fromtimestamp(record['started'], UTC):%Y-%m-%d}, gristmill {_version()}"),
        ("read", f"{plural(first['documents_in'], 'document')}, {size(first['bytes_in'])}"),
        ("curated", f"{plural(documents, 'document')}, {size(weight)} of text"),
        ("languages", f"{count(len(natural))} natural, {count(len(code))} of programming"),
        *(
            (f"blend {name}", f"{plural(b['tokens'], 'token')} in {plural(b['shards'], 'shard')}")
            for name, b in record["blends"].items()
        ),
    ]
    name = store.shown.rstrip("/").rsplit("/", 1)[-1]
    return f"""# Datasheet: {cell(name)}

After Gebru et al. 2021, "Datasheets for Datasets". Written by the run itself from what it counted.

{table(("", ""), rows, "ll")}

## Motivation

Text for pre-training a language model. Who made this corpus, for which purpose and with whose money: {NOT_STATED}."""


def composition(record: RunRecord, sources: Mapping[str, SourceSums]) -> str:
    inputs = record["inputs"].get("sources", {})
    configured = {source["name"]: source for source in record["configuration"].get("sources", [])}
    rows, licences = [], []
    for name in dict.fromkeys([*configured, *sources]):
        spec, entry = configured.get(name), sources.get(name, SourceSums())
        files = inputs.get(name)
        rows.append(
            (
                name,
                spec.get("uri", "") if spec else "",
                count(files["files"]) if files else "–",
                size(files["bytes"]) if files else "–",
                count(entry.read),
                size(entry.bytes),
                count(entry.curated),
                share(entry.curated, entry.read),
            )
        )
        ordered = sorted(entry.licences.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
        for licence, documents in ordered[:LICENCES]:
            licences.append((name, licence, count(documents), share(documents, entry.curated)))
        if len(ordered) > LICENCES:
            rest = sum(documents for _, documents in ordered[LICENCES:])
            text = f"{count(len(ordered) - LICENCES)} more"
            licences.append((name, text, count(rest), share(rest, entry.curated)))
    columns = ("source", "where", "files", "bytes", "documents read", "text", "documents curated", "share kept")
    return f"""## Composition

An instance is a document: text, id, source, path and record in its source, domain, category, language, and where the
source gives them URL, date and further columns as JSON. `text` is what extraction and the check of languages left.
In all {count(record["inputs"]["files"])} files of {size(record["inputs"]["bytes"])} were read.

{table(columns, rows, "llrrrrrr")}

### Licences

As the sources' own columns `license` or `licence` state them for the curated documents, unchecked.

{table(("source", "licence", "documents", "share"), licences, "llrr")}{findings(record)}"""


def findings(record: RunRecord) -> str:
    found = record.get("findings", [])
    if not found:
        return ""
    sentences = "\n".join(wrapped(cell(each["sentence"]), "- ") for each in found)
    return f"""

### What was found in the sources

What they say was compared with the first records of their files and with what the first pass counted.

{sentences}"""


def processing(record: RunRecord, store: Store) -> str:
    from gristmill.pipeline.views.report.data import rule_rows

    rows, stages, rules = rule_rows(store), [], []
    for entry in record["funnel"]:
        gone = entry["dropped"] + entry["quarantined"] + entry["merged"]
        lost = entry["bytes_dropped"] + entry["bytes_quarantined"]
        taken = (entry["documents_in"], entry["bytes_in"])
        stages.append(
            (
                entry["stage"],
                count(taken[0]),
                count(entry["kept"]),
                count(gone),
                share(gone, taken[0]),
                size(lost),
                share(lost, taken[1]),
                size(entry["bytes_edited_away"]),
            )
        )
        for rule, (documents, weight) in sorted(entry["rules"].items(), key=lambda item: (-item[1][0], item[0])):
            row = rows.get(rule)
            shares = (share(documents, taken[0]), size(weight), share(weight, taken[1]))
            source = row["source"] if row else METHODS.get(entry["stage"], "")
            rules.append((rule, _limit(rule, row, record), count(documents), *shares, source))
    idle = [name for name in rows if not any(name in entry["rules"] for entry in record["funnel"])]
    nothing = f"Rules that removed nothing: {', '.join(f'`{cell(name)}`' for name in idle)}."
    tail = f"\n\n{wrapped(nothing)}" if idle else ""
    stage_head = ("stage", "documents in", "kept", "left", "share", "bytes left", "share", "edited away")
    rule_head = ("rule", "stays if", "documents", "share", "bytes", "share", "source")
    return f"""## Preprocessing

In the order of the run; shares are of what the stage took in. Bytes are those of raw pages until text is extracted.

{table(stage_head, stages, "lrrrrrrr")}

A document counts for the first rule it failed. The ledger has a row for each of them.

{table(rule_head, rules, "llrrrrl", len(rules))}{tail}"""


def duplicates(record: RunRecord) -> str:
    rows = []
    for step, found in record["clusters"].items():
        sizes = {int(value): n for value, n in found.items()}
        if sizes:
            documents, clusters = sum(s * n for s, n in sizes.items()), sum(sizes.values())
            rows.append((step, count(clusters), count(documents), count(documents - clusters), count(max(sizes))))
    if not rows:
        return ""
    head = ("stage", "clusters", "documents in them", "copies removed", "largest cluster")
    return f"### Duplicates\n\nOf each cluster one document stays.\n\n{table(head, rows, 'lrrrr')}"


def uses(record: RunRecord, sources: Mapping[str, SourceSums]) -> str:
    known = "\n".join(wrapped(sentence, "- ") for sentence in limitations(record, sources))
    return f"""## Uses and known limitations

Made for training language models. Not made for conclusions about the people or places that the texts are about.

{known}"""


def maintenance(record: RunRecord, store: Store) -> str:
    import yaml

    versions = [("gristmill", _version()), ("python", record["python"]), *record["libraries"].items()]
    prints = [(step["name"], f"`{step['fingerprint'][:16]}`") for step in record["steps"]]
    configuration = yaml.safe_dump(record["configuration"], sort_keys=False, allow_unicode=True, width=100)
    return f"""## Maintenance

### Removal requests

`gristmill explain ID-OR-URL` says what became of a document. With ids or URLs in a file, one a line,

    gristmill remove --ids FILE

makes this output what it would be without these documents and leaves them out of later runs.

### How to reproduce

The same input, configuration and versions give the same bytes: save the configuration below as `pipeline.yaml` and

    gristmill run pipeline.yaml

{table(("package", "version"), versions, "ll")}

Each step's fingerprint covers its configuration, versions, models and everything upstream.

{table(("step", "fingerprint"), prints, "ll", len(prints))}

```yaml
{configuration.rstrip()}
```"""


def _limit(rule: str, row: RuleRow | None, record: RunRecord) -> str:
    if row and row.get("expression"):
        return str(row["expression"])
    if row:
        return limits(row["minimum"], row["maximum"])
    if rule in LIMITS:
        stage, key, text = LIMITS[rule]
        found = [entry[stage] for entry in record["configuration"].get("stages", []) if stage in entry]
        return text.format(found[0][key]) if found and key in found[0] else ""
    return ""


def _version() -> str:
    try:
        return version("gristmill")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
