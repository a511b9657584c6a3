"""The report says what the run left, opens without a network, and nothing a document holds can act in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_output import PLANTED, Document, make, metrics, shown_as

from gristmill.pipeline.views.report.charts import Sieve, ticks
from gristmill.pipeline.views.report.charts import funnel as funnel_chart
from gristmill.pipeline.views.report.data import failing, gather
from gristmill.pipeline.views.report.figures import esc
from gristmill.pipeline.views.report.training import MAX_POINTS, read
from gristmill.pipeline.views.report.write import write
from gristmill.stages.rules import Rules, describe
from gristmill.storage.store import Store


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
        "Near-duplicates: the largest clusters",
        "× 3.00",  # 1.5 s of 0.5 s planned
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
        assert [row["id"].hex() for row in removal.samples] == ids[:3]
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
    assert {"funnel", "rules", "samples", "languages", "time", "facts"} == {a.get("id") for a in found.named("section")}


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
    for planted in (
        PLANTED[0],
        PLANTED[1],
        PLANTED[3],
        "a/<i>b</i>.jsonl",
        "<host>",
        "blend/<script>",
        "git <x>",
        'x"<b>',
    ):
        assert planted in page.text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    found = Document(f'<p title="{esc(text)}">{esc(text)}</p>')
    assert found.tags == [("p", {"title": shown_as(text)})]
    assert found.text == shown_as(text)


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
