"""The report says what the run left, opens without a network, and nothing a document holds can act in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.accounting import Counts, check
from pipeline.commit import Output
from pipeline.ledger import Ledger
from pipeline.outputs import parquet_bytes
from pipeline.publish import publish
from pipeline.report import write
from pipeline.report.charts import Sieve, ticks
from pipeline.report.charts import funnel as funnel_chart
from pipeline.report.data import failing, gather
from pipeline.report.figures import esc
from pipeline.report.training import MAX_POINTS, read
from pipeline.store import Store
from stages.rules import Rules, describe

PLANTED = [
    '<script>alert(1)</script> "quoted" & more',
    "<img src=http://example.com/x.png onerror=alert(2)>",
    "</blockquote></details></section><style>*{display:none}</style>",
    '"><svg onload=alert(3)>',
    "\x00\x1b[31m control",
    "مرحبا بالعالم",
]
RULES = ("gopher_quality.words", "gopher_repetition.duplicate_lines", "nemotron.urls")
STAGES = ("read", "extract", "language", "rules", "near_dedup", "curate", "tokenize")


def ledger_rows(partition: int, rows: int) -> pa.Table:
    """Rows that failed one to three rules, some without a preview, those of the last rule all."""
    texts = [None if i % 5 == 0 or i % 3 == 2 else f"{' '.join(PLANTED)} {partition}.{i}" for i in range(rows)]
    masks = [bytes(mask) for mask in ([1, 0, 0], [0, 7, 0], [3, 0, 0], [0, 0, 128])]
    return pa.table(
        {
            "id": pa.array([xxhash.xxh3_128_digest(f"{partition}/{i}".encode()) for i in range(rows)], pa.binary(16)),
            "source": ["web <b>"] * rows,
            "path": ["a/<i>b</i>.jsonl"] * rows,
            "record": list(range(rows)),
            "language": ["en"] * rows,
            "rule": [RULES[i % len(RULES)] for i in range(rows)],
            "value": np.arange(rows) / 7,
            "limit": [50.0] * rows,
            "failed": [masks[i % 4] for i in range(rows)],
            "bytes": [100 + i for i in range(rows)],
            "preview": texts,
        }
    )


def funnel(rules: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Counts that hold together: pages shrink to a tenth, then the rules and duplicates take theirs."""
    dropped, away = (sum(column) for column in zip(*rules.values(), strict=True))
    documents, size, result = 5000, 90_000_000, []
    for stage in STAGES:
        counts = Counts(documents, kept=documents, bytes_in=size, bytes_kept=size)
        if stage == "extract":
            counts.bytes_kept, counts.bytes_edited_away = size // 10, size - size // 10
        if stage == "rules":
            counts.rules, counts.dropped, counts.bytes_dropped = rules, dropped, away
        if stage == "near_dedup":
            counts.rules, counts.dropped, counts.bytes_dropped = {"near_dedup.duplicate": [90, 9000]}, 90, 9000
        counts.kept -= counts.dropped
        counts.bytes_kept -= counts.bytes_dropped
        check(stage, 0, counts)
        result.append({"stage": stage, **counts.to_dict()})
        documents, size = counts.kept, counts.bytes_kept
    return result


def blend() -> dict[str, Any]:
    units = [
        {"domain": d, "category": c, "source": s, "language": language, "tokens": n, "documents": 10, "target": t}
        for d, c, s, language, n, t in (
            ("english", "web", "crawl", "en", 500, 700),
            ("multilingual", None, "crawl", "ar", 300, 150),
            ("code", "code", "git <x>", "python", 50, 150),
        )
    ]
    targets = {"english": 700, "multilingual": 150, "code": 150}
    return {
        "tokens": 1000,
        "documents": 30,
        "shards": 2,
        "holdout_tokens": 7,
        "target_tokens_by_domain": targets,
        "tokens_by_domain": {**targets, "code": 140, "english": 710},
        "units": [{**unit, "epochs": unit["target"] / unit["tokens"]} for unit in units],
        "notes": ["<script>note</script>"],
    }


def tokenizer_figures() -> dict[str, Any]:
    row: dict[str, Any] = {"documents": 9, "tokens": 500, "round_trip_failures": 0, "bytes_per_token": 4.25}
    row |= {"characters_per_token": 4.0, "fertility": 1.5, "byte_fallback_rate": 0.001, "coverage": 0.9999}
    languages = [{"domain": "english", "language": "en", **row}, {"domain": "multilingual", "language": "ja", **row}]
    languages[1]["fertility"] = None
    pieces = {"of_text": 2000, "used": 1500}
    return {"tokenizer": {"vocab_size": 2304}, "all": row, "languages": languages, "pieces": pieces}


def make(folder: Path, *, full: bool) -> Path:
    """An output as a run publishes it; `full`: with a tokenizer, a blend and clusters."""
    store = Store(str(folder))
    files, rules = [], {}
    for partition in range(2):
        output = Output(store, "work/rules", partition)
        ledger = Ledger(output, partition, seed=1)
        table = ledger_rows(partition, 120)
        columns = {name: table.column(name) for name in ("rule", "value", "limit", "failed", "bytes", "preview")}
        ledger.add("rules", "dropped", table, **columns)
        ledger.add("pii", "edited", table.slice(0, 4), **{**columns_of(table, 4), "rule": pa.array(["pii.edited"] * 4)})
        ledger.close()
        for rule, size in zip(table["rule"].to_pylist(), table["bytes"].to_pylist(), strict=True):
            entry = rules.setdefault(rule, [0, 0])
            entry[0], entry[1] = entry[0] + 1, entry[1] + size
        files.append((f"01-rules/part-{partition:05d}.parquet", output.files[0]))
    presets = Rules(presets=("gopher_quality", "gopher_repetition", "nemotron"))
    publish(store, "ledger", files, {"rules.parquet": parquet_bytes(describe(presets))})
    step = {"fingerprint": "f" * 64, "tasks": 2, "reused": 0, "seconds": 1.5, "missing": [], "bytes_written": 10}
    record = {
        "started": 1_790_000_000.0,
        "seconds": 12.5,
        "host": "<host>",
        "python": "3.11.7",
        "libraries": {"pyarrow": "26.0.1"},
        "configuration": {
            "seed": 1,
            "sources": [{"name": "web", "uri": "https://example.com/x.jsonl", "domain": None}],
            "blends": {"pretrain": {"domains": {"english": 70, "multilingual": 15, "code": 15}}},
        },
        "inputs": {"files": 3, "bytes": 91_000_000},
        "steps": [{"name": name, **step} for name in ("read", "rules", "blend/<script>")],
        "funnel": funnel(dict(sorted(rules.items()))),
        "groups": [
            {"domain": "english", "language": "en", "documents": 3000, "bytes": 6_000_000},
            {"domain": "multilingual", "language": "ar", "documents": 1000, "bytes": 2_000_000},
            {"domain": "code", "language": "python", "documents": 670, "bytes": 900_000},
        ],
        "clusters": {"near_dedup": {"2": 30, "3": 5, "41": 1}} if full else {},
        "tokenizer": {"sha256": "ab" * 32, "report": {"measured": tokenizer_figures()} if full else None},
        "blends": {"pretrain": blend()} if full else {},
        "notes": ["<script>note</script>", "another note"] if full else [],
    }
    store.write("run.json", json.dumps(record).encode())
    return folder


def columns_of(table: pa.Table, rows: int) -> dict[str, pa.ChunkedArray]:
    return {name: table.column(name).slice(0, rows) for name in ("bytes", "preview")}


def metrics(path: Path, steps: int, entropy: float | None = 6.5) -> list[float]:
    """A training run as the trainer writes it; returns its losses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = [9 - 5 * i / steps + (i % 7) / 10 for i in range(steps)]
    lines = [{"event": "start", "parameters": 1_500_000, **({"unigram_entropy": entropy} if entropy else {})}]
    for i, loss in enumerate(losses):
        line = {"event": "step", "step": i + 1, "tokens": 1024 * (i + 1), "loss": loss, "seconds": 0.5}
        lines.append({**line, "learning_rate": 3e-4, "grad_norm": 1.0, "tokens_per_s": 2048.0})
    domains = {"english": {"tokens": 10, "loss": 4.5, "bits_per_byte": None}}
    lines.append({"event": "evaluation", "tokens": 10, "loss": 4.5, "bits_per_byte": 1.25, "domains": domains})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "step", "lo', "utf-8")
    return losses


class Document(HTMLParser):
    """Tags, attributes, texts, and elements left open."""

    VOID = {"meta", "link", "input", "wbr", "br"}

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.texts)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("report") / "out", full=True)
    metrics(folder / "train" / "metrics.jsonl", 3000)
    return Path(write(str(folder)))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write(str(make(tmp_path_factory.mktemp("report") / "out", full=False))))


@pytest.fixture(scope="module")
def page(full: Path) -> Document:
    return Document(full.read_text("utf-8"))


# -- what it says ------------------------------------------------------------------------------------------------------


def test_every_stage_and_every_rule_appears_with_its_documents(full: Path, page: Document) -> None:
    record = json.loads((full.parents[1] / "run.json").read_text())
    charts = " ".join(attributes["aria-label"] or "" for attributes in page.named("svg") if "aria-label" in attributes)
    for entry in record["funnel"]:
        assert f"{entry['stage']} kept {entry['kept']:,} documents" in charts
        for rule, (documents, size) in entry["rules"].items():
            rows = [row for row in page.named("details") if (row.get("data-text") or "").startswith(rule + " ")]
            assert [(row["data-documents"], row["data-bytes"]) for row in rows] == [(str(documents), str(size))]
    for rule in describe(Rules(presets=("gopher_quality", "gopher_repetition", "nemotron")))["rule"].to_pylist():
        assert rule in page.text
    for phrase in ("Rae et al. 2021, A1.1", "50 – 100,000", "pii.edited"):
        assert phrase in page.text


def test_shares_epochs_languages_clusters_tokenizer_and_curve_appear(page: Document) -> None:
    for phrase in (
        "71.00 % (target 70.00 %, +1.00 points)",
        "3.00",  # epochs of code: 150 of 50 tokens
        "Arabic",
        "36 clusters of 116 documents",
        "4.25",
        "unigram entropy 6.500",
        "learning rate",
        "f" * 64,
        "another note",
    ):
        assert phrase.replace("\u00a0", " ") in page.text.replace("\u00a0", " ")


def test_samples_are_the_smallest_ids_among_rows_with_a_preview(full: Path) -> None:
    output = full.parents[1]
    rows = [row for path in (output / "ledger").rglob("part-*.parquet") for row in pq.read_table(path).to_pylist()]
    for removal in gather(Store(str(output))).removals:
        if removal.stage != "rules":
            continue
        mine = [row for row in rows if row["rule"] == removal.rule]
        ids = sorted(row["id"] for row in mine if row["preview"] is not None) or sorted(row["id"] for row in mine)
        assert [row["id"] for row in removal.samples] == ids[:3]
        assert removal.alone == sum(int.from_bytes(row["failed"], "little").bit_count() == 1 for row in mine)
        assert (removal.documents, removal.bytes) == (len(mine), sum(row["bytes"] for row in mine))


@given(st.lists(st.none() | st.binary(max_size=9), max_size=20))
def test_failing_counts_the_bits_of_each_mask(masks: list[bytes | None]) -> None:
    found = failing(pa.array(masks, pa.binary()))
    assert found.tolist() == [int.from_bytes(mask or b"", "little").bit_count() for mask in masks]


def test_what_a_run_does_not_have_is_one_sentence(bare: Path) -> None:
    found = Document(bare.read_text("utf-8"))
    assert "Not in this output: duplicates, blend, trained tokenizer and training." in found.text
    assert not found.crossed
    assert {"funnel", "rules", "languages", "time", "facts"} == {a.get("id") for a in found.named("section")}


def test_the_same_output_gives_the_same_page(full: Path) -> None:
    before = full.read_bytes()
    assert write(str(full.parents[1])) == str(full)
    assert full.read_bytes() == before


def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.json: missing; give the output"):
        write(str(tmp_path))


def test_raw_pages_do_not_squeeze_the_text_out_of_the_funnel() -> None:
    read = Sieve("read", "", 9, 9, 90_000, 90_000, "", "", raw=True, raw_kept=True)
    extract = Sieve("extract", "", 9, 9, 90_000, 800, "", "", raw=True)
    rules = Sieve("rules", "", 9, 9, 800, 400, "", "")
    bars = re.findall(
        r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="(\w+)"',
        funnel_chart([read, extract, rules], 350),
    )
    right = [(float(width), kind) for x, width, kind in bars if float(x) > 175]
    assert right == [(173, "raw"), (173, "raw"), (174, "kept"), (87, "lost"), (87, "kept")]


# -- what it must not do -----------------------------------------------------------------------------------------------


def test_nothing_is_fetched(full: Path, page: Document) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action", "data", "background", "manifest"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not re.search(r"url\(|@import", attributes.get("style") or "")
    style = re.findall(r"<style>(.*?)</style>", full.read_text("utf-8"), re.S)
    assert len(style) == 1
    assert not re.search(r"url\(|@import|https?:", style[0])


def test_text_of_documents_stays_text(page: Document) -> None:
    assert not page.crossed
    assert page.open == []
    assert len(page.named("script")) == 1
    assert not page.named("img")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for planted in (PLANTED[0], PLANTED[1], PLANTED[3], "a/<i>b</i>.jsonl", "<host>", "blend/<script>", "git <x>"):
        assert planted in page.text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    found = Document(f'<p title="{esc(text)}">{esc(text)}</p>')
    shown = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text)
    assert found.tags == [("p", {"title": shown})]
    assert found.text == shown


# -- the training curve ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, MAX_POINTS, 5 * MAX_POINTS + 3])
def test_a_long_curve_keeps_its_mean_its_extremes_and_few_points(tmp_path: Path, steps: int) -> None:
    losses = metrics(tmp_path / "metrics.jsonl", steps)
    training = read(Store(str(tmp_path)), ["metrics.jsonl"])
    assert training is not None
    points = training.points
    assert len(points) <= MAX_POINTS
    assert sum(point.steps for point in points) == training.steps == steps
    assert sum(point.steps * point.loss for point in points) / steps == pytest.approx(np.mean(losses))
    assert (min(p.least for p in points), max(p.greatest for p in points)) == (min(losses), max(losses))
    assert [p.tokens for p in points] == sorted({p.tokens for p in points})
    assert points[-1].tokens == 1024 * steps
    assert training.last_loss == losses[-1]


def test_the_longest_training_run_is_shown_and_the_others_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "out", full=False)
    metrics(folder / "training" / "short" / "metrics.jsonl", 3)
    metrics(folder / "training" / "long" / "metrics.jsonl", 40, entropy=None)
    found = Document(Path(write(str(folder))).read_text("utf-8")).text
    assert "in 40 steps" in found.replace("\u00a0", " ")
    assert "not shown: training/short/metrics.jsonl" in found
    assert "unigram" not in found


def test_a_training_folder_elsewhere_is_found_and_an_empty_one_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "out", full=False)
    metrics(tmp_path / "elsewhere" / "metrics.jsonl", 5)
    for place in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "metrics.jsonl"):
        assert "The training" in Document(Path(write(str(folder), str(place))).read_text("utf-8")).text
    with pytest.raises(ValueError, match=r"no metrics\.jsonl there"):
        write(str(folder), str(folder / "ledger"))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_few_round_and_within(low: float, span: float, about: int) -> None:
    high = low + span
    found = ticks(low, high, about)
    room = 1e-6 * max(abs(low), abs(high), span)
    assert len(found) <= about + 2
    assert all(low - room <= tick <= high + room for tick in found)


# -- in a browser ------------------------------------------------------------------------------------------------------


def chromium(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """(DOM after scripts ran, what the browser logged). Skips where no Chromium is installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium: the page is not rendered")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder}", "--enable-logging=stderr", "--virtual-time-budget=3000", *options]
    with subprocess.Popen(
        [*command, "--dump-dom", page.as_uri()], stdout=-1, stderr=-1, start_new_session=True
    ) as process:
        try:
            dom, log = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.skip("chromium did not answer within a minute")
    if not dom:
        pytest.skip(f"chromium cannot run here: {log.decode('utf-8', 'replace')[-200:]}")
    return dom.decode("utf-8", "replace"), log.decode("utf-8", "replace")


def said(log: str) -> Sequence[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def test_a_browser_renders_it_without_a_word_and_runs_its_script(full: Path, tmp_path: Path) -> None:
    dom, log = chromium(full, tmp_path / "profile", "--window-size=390,844")
    assert said(log) == []
    (controls,) = (a for a in Document(dom).named("div") if a.get("class") == "controls")
    assert "hidden" not in controls  # only the script shows them


def test_a_script_that_slipped_in_would_be_refused(full: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted.html"
    planted.write_text(full.read_text("utf-8").replace("<footer>", "<footer><script>document.title='taken'</script>"))
    dom, log = chromium(planted, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in said(log))
    assert "<title>taken</title>" not in dom
