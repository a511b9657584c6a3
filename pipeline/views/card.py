"""The data set card of a run: `README.md`, as Hugging Face reads it.

The front matter names the files of `curated/` as subsets: all of them, those of a domain, those of a language in it. So
`load_dataset` finds them in the output as well as on the Hub. Below it stands in short what `datasheet.md` says at
length. All of it follows from `run.json` and the licences in `curated/`: the same output gives the same card. What
comes from the data (licences, names of languages) is escaped, so it can neither end a table nor become a link.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gristmill.pipeline.steps.first_pass import group_name
from gristmill.pipeline.steps.published import subset
from gristmill.pipeline.steps.record import GroupRecord, RunRecord
from gristmill.pipeline.views.report.markdown import count, share, size, table
from gristmill.pipeline.views.report.sums import NOT_STATED, OTHERS, SourceSums, source_sums
from gristmill.storage.hive import folder
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store

PATH = "README.md"
SIZES = ((1e3, "1K"), (1e4, "10K"), (1e5, "100K"), (1e6, "1M"), (1e7, "10M"), (1e8, "100M"), (1e9, "1B"), (1e10, "10B"),
         (1e11, "100B"), (1e12, "1T"))  # fmt: skip
"""Bounds of Hugging Face's `size_categories`, in documents."""
LICENCES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "zlib", "mpl-2.0", "gpl-2.0",
    "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "epl-2.0", "artistic-2.0", "cc0-1.0", "cc-by-2.0", "cc-by-2.5",
    "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "odc-by", "pddl", "odbl", "gfdl",
}  # fmt: skip
"""Identifiers of licences that the Hub knows, of those that texts and code are under."""
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, those that turn the direction of writing included."""
SHOWN_LICENCES = 20
FORBIDDEN = re.compile(r"[<>:/\\|?*\x00-\x1f]")
"""Characters that the name of a subset may not have."""


def write(store: Store, record: RunRecord) -> str:
    """Writes `README.md` below the output and returns its path there."""
    store.write(PATH, card(record, store).encode(errors="replace"))
    return PATH


def card(record: RunRecord, store: Store, ledger: bool = False) -> str:
    """The card as Markdown. ledger: whether `ledger/` lies beside `curated/` where the card will be read."""
    import yaml

    sources = source_sums(store)
    matter = yaml.safe_dump(front_matter(record, sources, ledger), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{matter}---\n\n{body(record, sources, store)}\n"


def front_matter(record: RunRecord, sources: Mapping[str, SourceSums], ledger: bool = False) -> dict[str, Json]:
    groups = [group for group in record["groups"] if group["documents"]]
    natural = {group["language"] for group in groups if group["domain"] != "code"}
    languages = sorted(language for language in natural if re.fullmatch("[a-z]{2,3}", language))
    languages += ["code"] if any(group["domain"] == "code" for group in groups) else []
    documents = sum(group["documents"] for group in groups)
    matter: dict[str, Json] = {"license": licence(sources)}
    if languages:
        matter["language"] = [*languages]
    matter |= {
        "task_categories": ["text-generation"],
        "size_categories": [size_category(documents)],
        "tags": ["gristmill"],
        "configs": [*configs(groups)],
    }
    if ledger:
        files: list[Json] = [{"split": "train", "path": "ledger/**/*.parquet"}]
        matter["configs"] = [*configs(groups), {"config_name": "ledger", "data_files": files}]
    return matter


def configs(groups: list[GroupRecord]) -> list[Json]:
    """A subset for all, for each domain and for each (domain, language)."""
    places = {"all": "curated/**/*.parquet"}
    places |= {g["domain"] or "unknown": f"curated/{folder('domain', g['domain'])}/**/*.parquet" for g in groups}
    for group in groups:
        name = FORBIDDEN.sub("_", subset(group["domain"], group["language"]))
        place = f"curated/{group_name(group['domain'], group['language'])}/*.parquet"
        while places.setdefault(name, place) != place:  # two names that differ in what a name may not have
            name += "_"
    made: list[Json] = []
    for name, place in places.items():
        entry: dict[str, Json] = {"config_name": name, "data_files": [{"split": "train", "path": place}]}
        made.append(entry | {"default": True} if name == "all" else entry)
    return made if groups else []


def licence(sources: Mapping[str, SourceSums]) -> Json:
    """Identifiers as the Hub knows them where every document states one; else `other`, or `unknown` where none does."""
    stated = {name for entry in sources.values() for name, documents in entry.licences.items() if documents}
    if not stated - {NOT_STATED}:
        return "unknown"
    known = sorted({name.lower() for name in stated if name.lower() in LICENCES})
    if len(known) < len({name.lower() for name in stated}):
        return "other"
    return known[0] if len(known) == 1 else [*known]


def size_category(documents: int) -> str:
    """As in `1K<n<10K`."""
    before = ""
    for bound, name in SIZES:
        if documents < bound:
            return f"{before}<n<{name}" if before else f"n<{name}"
        before = name
    return f"n>{before}"


def plain(value: object) -> str:
    """A text from the data as Markdown that shows it as it is: no links, emphasis, code, HTML or entities."""
    text = " ".join(CONTROLS.sub(" ", str(value)).split())
    return re.sub(r"([\\`*_{}\[\]#~!|<>])", r"\\\1", text.replace("&", "&amp;"))


def body(record: RunRecord, sources: Mapping[str, SourceSums], store: Store) -> str:
    name = store.shown.rstrip("/").rsplit("/", 1)[-1]
    parts = [
        f"# {plain(name)}",
        "Text for pre-training language models, curated by Gristmill. A row is a document.",
        "## Contents",
        contents(record),
        "## Licences",
        licences(sources),
        "## How it was made",
        recipe(record),
        "## Loading",
        LOADING,
        "## Columns",
        COLUMNS,
    ]
    return "\n\n".join(parts)


def contents(record: RunRecord) -> str:
    groups = sorted(record["groups"], key=lambda group: (-group["bytes"], group["domain"], group["language"]))
    whole = sum(group["bytes"] for group in groups)
    rows = [("all", "", count(sum(group["documents"] for group in groups)), size(whole), "")]
    rows += [
        (
            plain(group["domain"] or "unknown"),
            plain(group["language"] or "unknown"),
            count(group["documents"]),
            size(group["bytes"]),
            share(group["bytes"], whole),
        )
        for group in groups
    ]
    return table(("domain", "language", "documents", "text", "share"), rows, "llrrr", escaped=True)


def licences(sources: Mapping[str, SourceSums]) -> str:
    """As the documents state them."""
    sums: dict[str, int] = {}
    for entry in sources.values():
        for name, documents in entry.licences.items():
            sums[name] = sums.get(name, 0) + documents
    ordered = sorted(sums.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    rows = [(plain(name), count(documents)) for name, documents in ordered]
    said = "As the sources state them for the documents that are here; nobody has checked them."
    return f"{said}\n\n{table(('licence', 'documents'), rows, 'lr', SHOWN_LICENCES, escaped=True)}"


def recipe(record: RunRecord) -> str:
    rows = []
    for entry in record["funnel"]:
        if "/" not in entry["stage"]:
            left = entry["dropped"] + entry["quarantined"] + entry["merged"]
            rows.append((plain(entry["stage"]), count(entry["documents_in"]), count(entry["kept"]), count(left)))
    head = ("stage", "documents in", "kept", "left")
    said = "The stages in the order of the run. `datasheet.md` of the run has every rule with its limit and its source."
    return f"{said}\n\n{table(head, rows, 'lrrr', escaped=True)}"


LOADING = """\
```python
from datasets import load_dataset

everything = load_dataset("ORG/NAME", split="train", streaming=True)
english = load_dataset("ORG/NAME", "english", split="train")
```

The files lie in folders that name their domain and language (`curated/domain=english/language=en/`). pandas,
`pyarrow.dataset`, Polars, DuckDB and Ray Data read `curated/` as one table with the columns `domain` and `language`;
`datasets` has both in the column `subset`."""

COLUMNS = """\
| column | |
|---|---|
| `id` | 32 hexadecimal characters |
| `text` | |
| `source`, `path`, `record` | where the document stood in the input |
| `own_id` | the source's own id |
| `subset` | domain and language, as in `english-en` |
| `category` | web, books, news, papers, encyclopedia, legal, finance, misc |
| `url`, `title`, `site`, `canonical_url` | what a page or a record says about itself |
| `timestamp`, `published` | when the source had it, when the page says that it was; UTC |
| `license` | as stated |
| `metadata` | JSON of the source's other columns |
| `priority` | lower wins among duplicates |
| `cluster` | id of the survivor of the document's near-duplicate cluster |
| `perplexity`, `bucket`, `quality` | where the run measured them |"""
