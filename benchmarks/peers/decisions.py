"""Do our rules decide as datatrove's and NeMo Curator's do? Document by document, on real text, with the causes.

    python benchmarks/peers/decisions.py [--documents 20000] [--output FILE]

Three questions to datatrove 0.10.1, for GopherQuality, GopherRepetition, FineWebQuality and C4Quality with defaults:
  same splits      `signals: {compat: datatrove}` with datatrove's own words and sentences, all languages
  own splits       the same with our splitter, English documents
  own definitions  the presets gopher_quality, gopher_repetition, fineweb (its 0.1 for repeated lines set to datatrove's
                   0.01) and c4_datatrove after its rules for lines, English documents
and one to NeMo Curator 1.4: the rows of our preset nemotron against its filters of the same name, English documents.

Half of the documents are English (a third of these titles without a text, as the encyclopedia has them), half are of
other languages; texts are cut at 20,000 characters, those at 3,000. Peers run in their own environments
(`environments.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(Path(__file__).parent)]

import pyarrow as pa  # noqa: E402
import zstandard  # noqa: E402
from environments import FOLDER, check, python, versions  # noqa: E402
from machine import described  # noqa: E402

from gristmill.stages.lines import Lines  # noqa: E402
from gristmill.stages.presets.table import PRESETS  # noqa: E402
from gristmill.stages.rules import Rules  # noqa: E402
from gristmill.stages.signals import Signals  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "decisions.json"
LONGEST, LONGEST_OTHER = 20_000, 3_000  # characters; datatrove splits other languages at a few kB a second
FILTERS = ("gopher_quality", "gopher_repetition", "fineweb", "c4")
OWN = {
    "gopher_quality": Rules(("gopher_quality",)),
    "gopher_repetition": Rules(("gopher_repetition",)),
    "fineweb": Rules(("fineweb",), {"fineweb.duplicate_line_characters": {"max": 0.01}}),
    "c4": Rules(("c4_datatrove",)),
}


CAUSES = {
    "own splits": {
        "gopher_quality": "emoticons, file names and e-mail links that one of the two keeps whole and the other cuts, "
        "near the limit of 0.8 of words with a letter",
        "gopher_repetition": "as above, near the limits of the n-grams",
    },
    "own definitions": {
        "gopher_quality": "datatrove's words include punctuation marks, which hold no letter; ours are runs without "
        "white space. Its 50 words are without them",
        "gopher_repetition": "datatrove counts the most frequent n-gram even if it occurs once, which may be a fifth "
        "of a text of a few words; its shares are of all characters, ours of those in words; it skips the words of a "
        "duplicate",
        "fineweb": "white space after an end mark hides it from datatrove; a quote or an ellipsis ends a line for us; "
        "line breaks are per word",
        "c4": "sentences: ours go on before a lower-case letter and after an initial, theirs after abbreviations; we "
        "look for { in all lines that stay",
    },
    "nemo": {
        "top_2_gram": "NeMo Curator counts the most frequent n-gram even if it occurs once and drops texts of fewer "
        "words than n; nearly all have fewer than 50 words, which both drop for that. Likewise the other n-grams",
    },
}
"""What differs between the definitions, for the disagreements that are counted."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--documents", type=int, default=20_000)
    arguments.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments.add_argument("--output", type=Path, default=RESULT)
    arguments.add_argument("--work", type=Path, help="folder to keep the peers' answers in")
    given = arguments.parse_args()
    check("datatrove", "nemo")
    with tempfile.TemporaryDirectory(prefix="gristmill-decisions-") as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        documents = sample(given.data, given.documents)
        theirs, nemo = answers(work, documents)
        english = [k for k, each in enumerate(documents) if each["language"] == "en"]
        split = [k for k, each in enumerate(theirs) if each["word_spans"] is not None]
        some = [documents[k] for k in english]
        result = {
            **described(),
            "peers": {**versions("datatrove", "datatrove", "spacy"), **versions("nemo", "nemo-curator")},
            "documents": {"all": len(documents), "english": len(english), "languages": languages(documents, theirs)},
            "words that do not stand in the text": len(documents) - len(split),
            "same splits": compared(same_splits(documents, theirs, split), theirs, split),
            "own splits": compared(own_splits(some), theirs, english),
            "own definitions": compared(own_definitions(some), theirs, english),
            "causes": CAUSES,
            "nemo": curator(some, [nemo[k] for k in english]),
        }
    given.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result)


def sample(data: Path, count: int) -> list[dict[str, str]]:
    """Every k-th document of every file, so that each language and source is there; half of them English."""
    found: dict[bool, dict[str, list[dict[str, str]]]] = {True: defaultdict(list), False: defaultdict(list)}
    for path in sorted([*(data / "english").glob("*.jsonl.zst"), *(data / "multilingual").glob("*.jsonl.zst")]):
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                code = record["lang"].replace("_", "-").split("-")[0].lower()
                text = record["text"][: LONGEST if code == "en" else LONGEST_OTHER]
                found[code == "en"][f"{path.name} {code}"].append({"text": text, "language": code})
    return [*spread(found[True].values(), count // 2), *spread(found[False].values(), count - count // 2)]


def spread(groups: Iterable[list[dict[str, str]]], count: int) -> list[dict[str, str]]:
    """`count` documents: the small groups whole, an equal number, evenly spaced, of the others."""
    out: list[dict[str, str]] = []
    waiting = sorted(groups, key=len)
    for k, group in enumerate(waiting):
        take = min(len(group), (count - len(out)) // (len(waiting) - k))
        out += [group[i * len(group) // take] for i in range(take)]
    return out


def answers(work: Path, documents: list[dict[str, str]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What datatrove and NeMo Curator say; kept in `work`, and taken from there if the documents are the same."""
    question = "".join(json.dumps(each) + "\n" for each in documents)
    asked = work / "documents.jsonl"
    if not asked.exists() or asked.read_text() != question:
        asked.write_text(question)
        for answer in ("datatrove", "nemo"):
            (work / f"{answer}.jsonl").unlink(missing_ok=True)
    folder = Path(__file__).parent
    site = next((FOLDER / "nemo").glob("lib/python*/site-packages"))
    for name, worker, more in (("datatrove", "decisions_datatrove.py", []), ("nemo", "decisions_nemo.py", [str(site)])):
        if not (work / f"{name}.jsonl").exists():
            made = work / f"{name}.part"
            command = [python("datatrove"), str(folder / worker), *more, str(asked), str(made)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            made.rename(work / f"{name}.jsonl")
    with open(work / "datatrove.jsonl") as one, open(work / "nemo.jsonl") as other:
        return [json.loads(line) for line in one], [json.loads(line) for line in other]


def batch(documents: list[dict[str, str]]) -> pa.RecordBatch:
    """As documents whose language is known. Scopes are not what is compared: a row of English is asked of English."""
    languages = [each["language"] for each in documents]
    return pa.record_batch(
        {
            "text": pa.array([each["text"] for each in documents], pa.large_string()),
            "domain": pa.array(["english" if code == "en" else "multilingual" for code in languages]),
            "language": pa.array(languages),
            "url": pa.nulls(len(documents), pa.string()),
        }
    )


def verdicts(measured: pa.RecordBatch, rules: Rules) -> list[str]:
    """The rule that drops each document; "" where it stays."""
    return [name or "" for name in rules.apply(measured).column("dropped_by").to_pylist()]


def compatible(rows: pa.RecordBatch) -> dict[str, list[str]]:
    measured = Signals(compat="datatrove").apply(rows)
    return {name: verdicts(measured, Rules((f"datatrove_{name}",))) for name in FILTERS}


def same_splits(
    documents: list[dict[str, str]], theirs: list[dict[str, Any]], split: list[int]
) -> dict[str, list[str]]:
    rows = batch([documents[k] for k in split])
    for column in ("word_spans", "line_sentences"):
        rows = rows.append_column(column, pa.array([theirs[k][column] for k in split], pa.list_(pa.int64())))
    return compatible(rows)


def own_splits(documents: list[dict[str, str]]) -> dict[str, list[str]]:
    return compatible(batch(documents))


def own_definitions(documents: list[dict[str, str]]) -> dict[str, list[str]]:
    rows = batch(documents)
    measured = Signals().apply(rows)
    edited = Signals().apply(Lines(presets=("c4_datatrove",)).apply(rows))
    return {name: verdicts(edited if name == "c4" else measured, OWN[name]) for name in FILTERS}


def compared(ours: dict[str, list[str]], theirs: list[dict[str, Any]], at: list[int]) -> dict[str, Any]:
    """Agreement per filter, and every disagreement under its cause: their reason and our rule, one of them "kept"."""
    out: dict[str, Any] = {}
    answers = {name: [theirs[k]["reasons"][name] for k in at] for name in ours}
    answers["all four"] = [together(each) for each in zip(*answers.values(), strict=True)]
    for name, verdict in {
        **ours,
        "all four": [together(each) or "" for each in zip(*ours.values(), strict=True)],
    }.items():
        reasons = answers[name]
        causes: Counter[tuple[str, str]] = Counter()
        for reason, rule in zip(reasons, verdict, strict=True):
            if reason is not None and bool(reason) != bool(rule):
                causes[reason or "kept", rule.rpartition(".")[2] or "kept"] += 1
        out[name] = {
            "documents": len(at) - reasons.count(None),
            "they fail": reasons.count(None),
            "they drop": sum(map(bool, reasons)),
            "we drop": sum(bool(rule) for rule, reason in zip(verdict, reasons, strict=True) if reason is not None),
            "agreement": 1 - sum(causes.values()) / max(1, len(at) - reasons.count(None)),
            "disagreements": [
                {"theirs": their, "ours": our, "documents": number} for (their, our), number in causes.most_common()
            ],
        }
    return out


def together(reasons: Sequence[str | None]) -> str | None:
    """The first reason of several filters; null where one failed and none of the others drops."""
    dropped = next(filter(None, reasons), "")
    return None if not dropped and None in reasons else dropped


def curator(documents: list[dict[str, str]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Each row of the preset alone against the filter of its name."""
    measured = Signals().apply(batch(documents))
    out: dict[str, Any] = {}
    for rule in PRESETS["nemotron"]:
        if rule.signal not in theirs[0]:
            continue
        values = measured.column(rule.signal).to_pylist()
        pairs: Counter[tuple[bool, bool]] = Counter()
        short = 0
        for value, words, answer in zip(values, measured.column("words").to_pylist(), theirs, strict=True):
            low, high = rule.minimum, rule.maximum
            dropped = value is not None and ((low is not None and value < low) or (high is not None and value > high))
            if answer[rule.signal] is False and not dropped and words < 50:
                short += 1
            if answer[rule.signal] is not None:
                pairs[not answer[rule.signal], dropped] += 1
        out[rule.signal] = {
            "documents": sum(pairs.values()),
            "agreement": (pairs[False, False] + pairs[True, True]) / max(1, sum(pairs.values())),
            "only they drop": pairs[True, False],
            "of these under 50 words": short,
            "only we drop": pairs[False, True],
        }
    return out


def languages(documents: list[dict[str, str]], theirs: list[dict[str, Any]]) -> dict[str, int]:
    splitters = Counter("own" if each["splitter"] != "whitespace" else "plainest" for each in theirs)
    return {
        "languages": len({each["language"] for each in documents}),
        **{f"{k} splitter": n for k, n in splitters.items()},
    }


def show(result: dict[str, Any]) -> None:
    for question in ("same splits", "own splits", "own definitions"):
        print(question)
        for name, row in result[question].items():
            print(f"  {name:18} {row['agreement']:8.3%} of {row['documents']:,}, they drop {row['they drop']:,}")
            for each in row["disagreements"][:8]:
                print(f"      {each['documents']:5} theirs: {each['theirs']:28} ours: {each['ours']}")
    print("nemo")
    for name, row in result["nemo"].items():
        only, short = row["only they drop"], row["of these under 50 words"]
        print(f"  {name:32} {row['agreement']:8.3%}  only they {only} ({short} short), only we {row['only we drop']}")


if __name__ == "__main__":
    main()
