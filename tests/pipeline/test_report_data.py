"""What the report shows of signals, clusters and plan is what a count by hand gives, however the files are read."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.views.report import clusters as clusters_module
from gristmill.pipeline.views.report import distributions as distributions_module
from gristmill.pipeline.views.report import sums
from gristmill.pipeline.views.report.axes import MAX_BINS, axis_of
from gristmill.pipeline.views.report.clusters import CLUSTERS, MEMBERS, largest, largest_clusters
from gristmill.pipeline.views.report.data import Run, rule_rows
from gristmill.pipeline.views.report.distributions import Distributions, Tally, distributions
from gristmill.pipeline.views.report.plan import plan_section, ratio
from gristmill.pipeline.views.report.signals import apart, axis_ticks, brief, groups_of, signals_section
from gristmill.pipeline.views.report.write import write
from gristmill.storage.store import Store


@pytest.fixture(scope="module")
def output(small_output: Path) -> Path:
    return small_output


@pytest.fixture(scope="module")
def found(output: Path) -> Distributions:
    store = Store(str(output))
    result = distributions(store, list(rule_rows(store).values()))
    assert result is not None
    return result


def as_bytes(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the ledger with its ids as the signals have them."""
    return row | {name: bytes.fromhex(row[name]) for name in ("id", "survivor")}


def rows_of(output: Path, folder: str) -> list[dict[str, Any]]:
    return [row for path in sorted((output / folder).rglob("part-*")) for row in pq.read_table(path).to_pylist()]


# -- signals -----------------------------------------------------------------------------------------------------------


def test_every_measured_value_is_in_one_bin_of_its_group(output: Path, found: Distributions) -> None:
    rows = rows_of(output, "signals")
    assert found.documents == Counter((row["domain"], row["language"]) for row in rows)
    assert {"words", "comments", "duplicate_lines"} <= {each.signal for each in found.signals}
    for each in found.signals:
        inner = each.axis.edges[1:-1]
        for pair, counts in each.counts.items():
            values = [row[each.signal] for row in rows if (row["domain"], row["language"]) == pair]
            expected = [0] * (len(inner) + 1)
            for value in values:
                if value is not None:
                    expected[sum(edge <= value for edge in inner)] += 1
            assert counts.tolist() == expected, each.signal


def test_what_a_limit_cuts_off_is_counted_exactly_and_within_its_scope(output: Path, found: Distributions) -> None:
    rows, rules = rows_of(output, "signals"), list(rule_rows(Store(str(output))).values())
    seen = 0
    for each in found.signals:
        outside: Counter[tuple[str, str]] = Counter()
        for row in rows:
            value, pair = row[each.signal], (row["domain"], row["language"])
            mine = [r for r in rules if r["signal"] == each.signal and applies(r, *pair)]
            outside[pair] += value is not None and any(not within(value, r) for r in mine)
        assert {pair: int(lost.sum()) for pair, lost in each.lost.items()} == {p: outside[p] for p in each.lost}
        for limit in each.limits:
            asked = [r for r in rows if applies(vars(limit), r["domain"], r["language"])]
            values = [r[each.signal] for r in asked if r[each.signal] is not None]
            below = sum(limit.minimum is not None and value < limit.minimum for value in values)
            above = sum(limit.maximum is not None and value > limit.maximum for value in values)
            assert limit.outside(list(found.documents)) == (len(values), below, above)
            seen += len(limit.rules)
    measured = {each.signal for each in found.signals}
    assert seen == sum(rule["signal"] in measured for rule in rules)


def applies(rule: dict[str, Any], domain: str, language: str) -> bool:
    return (not rule["domains"] or domain in rule["domains"]) and (
        not rule["languages"] or language in rule["languages"]
    )


def within(value: float, rule: dict[str, Any]) -> bool:
    low = -math.inf if rule["minimum"] is None else rule["minimum"]
    return bool(low <= value <= (math.inf if rule["maximum"] is None else rule["maximum"]))


def test_the_page_does_not_depend_on_how_the_files_are_read(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(write(str(output)))
    before = page.read_bytes()
    monkeypatch.setattr(sums, "BATCH_ROWS", 7)
    monkeypatch.setattr("gristmill.pipeline.views.report.data.BATCH_ROWS", 5)
    write(str(output))
    assert page.read_bytes() == before


def test_of_a_large_corpus_each_nth_file_is_counted_and_the_page_says_so(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((output / "signals").glob("part-*"))
    rows = [pq.read_metadata(path).num_rows for path in files]
    monkeypatch.setattr(distributions_module, "MAX_DOCUMENTS", -(-sum(rows) // 2))
    found = distributions(Store(str(output)), [])
    assert found is not None
    assert found.every == 2
    assert sum(found.documents.values()) == sum(rows[::2])
    section = signals_section(found)
    assert section is not None
    assert "one of 2 files" in section.lede


def test_all_documents_are_the_sum_of_the_domains_and_those_of_their_languages(found: Distributions) -> None:
    groups = groups_of(found)
    everything, domains = groups[0], [group for group in groups if group.domain and not group.language]
    assert everything.documents == sum(group.documents for group in domains) == sum(found.documents.values())
    assert sorted(pair for group in domains for pair in group.pairs) == sorted(everything.pairs)


def test_beyond_the_limit_on_groups_documents_count_under_their_domain_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions_module, "MAX_GROUPS", 3)
    tally = Tally({"words": axis_of(np.arange(9.0), [], True)}, [])
    languages = ["a", "b", "c", "d", "e"]
    for _ in range(2):
        columns = {"domain": ["code"] * 5, "language": languages, "words": pa.array(range(5), pa.int64())}
        tally.add(pa.RecordBatch.from_pydict(columns))
    assert tally.result().documents == {("code", "a"): 2, ("code", "b"): 2, ("code", "c"): 2, ("code", ""): 4}


NUMBERS = st.floats(-1e12, 1e12) | st.floats(0, 1) | st.integers(0, 10**9).map(float)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.lists(st.floats(0, 1e6), max_size=3), st.booleans())
def test_an_axis_has_few_ascending_bins_and_places_values_in_order(
    values: list[float], limits: list[float], whole: bool
) -> None:
    known = np.array([float(round(value)) if whole else value for value in values])
    axis = axis_of(known, limits, whole)
    assert 1 <= len(axis.edges) - 1 <= MAX_BINS + 1
    assert (np.diff(axis.edges) > 0).all()
    at = [axis.place(float(edge)) for edge in axis.edges]
    assert (at[0], at[-1]) == (0, 1)
    assert (np.diff(at) > 0).all()
    if whole:
        assert all(edge == int(edge) for edge in axis.edges)
    ticks = apart(axis, axis_ticks(axis))
    assert all(axis.edges[0] - 1e-9 <= tick <= axis.edges[-1] * (1 + 1e-9) + 1e-9 for tick in ticks)


def test_values_over_decades_get_a_logarithmic_axis_with_the_limits_on_it() -> None:
    words = axis_of(10 ** np.linspace(0, 4, 1000), [50, 100_000], True)
    assert words.log
    assert words.edges[0] == 0
    assert words.edges[-1] == 100_000
    assert 0 < words.place(50) < words.place(1000) < 1
    share = axis_of(np.linspace(0, 1, 1000) ** 8, [0.3], False)
    assert not share.log
    assert (share.edges[0], share.edges[-1]) == (0, 1)


def test_a_maximum_among_integers_is_drawn_behind_its_value() -> None:
    axis = axis_of(np.array([0.0, 1, 2, 3, 4, 5]), [0], True)
    assert axis.line(0, maximum=True) == axis.place(1)
    assert axis.line(2, maximum=False) == axis.place(2)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.05, "0.05"), (1000, "1k"), (2.5e6, "2.5M"), (-3, "−3")])
def test_ticks_are_written_briefly(value: float, text: str) -> None:
    assert brief(value) == text


# -- clusters ----------------------------------------------------------------------------------------------------------


def test_the_largest_clusters_are_those_with_the_most_rows_in_the_ledger(output: Path) -> None:
    signals = {row["id"]: row for row in rows_of(output, "signals")}
    record = json.loads((output / "run.json").read_text())
    shown = largest_clusters(Store(str(output)))
    assert set(shown) == {"exact_dedup", "near_dedup"} == set(record["clusters"])
    for step, found in shown.items():
        rows = [as_bytes(row) for row in rows_of(output, "ledger") if row["stage"] == step and row["survivor"]]
        sizes = Counter(row["survivor"] for row in rows)
        expected = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:CLUSTERS]
        assert [(each.kept["id"], each.size - 1) for each in found] == expected
        for each in found:
            mine = sorted((row["preview"] is None, row["id"]) for row in rows if row["survivor"] == each.kept["id"])
            assert [row["id"] for row in each.removed] == [id for _, id in mine[: MEMBERS - 1]]
            kept = signals[each.kept["id"]]
            assert (each.kept["path"], each.kept["bytes"]) == (kept["path"], kept["text_bytes"])


@given(st.lists(st.integers(0, 40), max_size=400), st.integers(2, 12), st.integers(3, 50))
def test_with_few_counters_a_cluster_above_its_share_is_found_and_counted_exactly(
    draws: list[int], counters: int, batch: int
) -> None:
    """Misra & Gries: what is more than (all) / (counters + 1) survives; its count then is the true one."""
    numbers = [n * n // 40 for n in draws]  # small numbers often
    ids = [n.to_bytes(16, "big") for n in numbers]
    batches = [pa.array(ids[i : i + batch], pa.binary(16)) for i in range(0, len(ids), batch)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters_module, "COUNTERS", counters)
        patch.setattr(clusters_module, "removed_for", lambda store, paths: iter(batches))
        shown = dict(largest(Store("unused"), []))
    true = Counter(ids)
    assert all(true[survivor] == n for survivor, n in shown.items())
    for survivor, n in true.items():
        if n > len(ids) / (counters + 1) and len(shown) < CLUSTERS:
            assert survivor in shown


def test_more_members_than_are_shown_are_the_smallest_ids_with_a_preview_first(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    survivor = b"s" * 16
    ids = [bytes([250 - i]) * 16 for i in range(60)]
    rows = {
        "id": pa.array(ids, pa.binary(16)),
        "survivor": pa.array([survivor] * 60, pa.binary(16)),
        "preview": [None if i % 3 else "text" for i in range(60)],
        **{name: ["x"] * 60 for name in ("source", "path", "domain", "language")},
        **{name: [1] * 60 for name in ("record", "bytes")},
    }
    (tmp_path / "ledger" / "step=near_dedup").mkdir(parents=True)
    pq.write_table(pa.table(rows), tmp_path / "ledger" / "step=near_dedup" / "part-00000.parquet", row_group_size=7)
    ((each,),) = largest_clusters(store).values()
    assert each.size == 61
    assert each.kept == {"id": survivor}  # of an earlier run: nothing but its id is known
    assert [row["id"] for row in each.removed] == sorted(ids[i] for i in range(0, 60, 3))[: MEMBERS - 1]


# -- the plan ----------------------------------------------------------------------------------------------------------


def step(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "tasks": 2, "seconds": 3.0, "bytes_written": 1000, "reused": 0, **values}


def test_the_plan_stands_beside_what_happened_by_name() -> None:
    record = {
        "steps": [step("read"), step("rules", reused=2, seconds=0.0), step("extra")],
        "plan": {"steps": [step("read", seconds=2.0, bytes_written=4000), step("rules"), step("blend/a")]},
    }
    section = plan_section(Run("out", record, (), (), (), None))
    assert section is not None
    body = section.body.replace("\u00a0", " ")
    for phrase in ("× 1.50", '<span class="off">× 0.25</span>', "done before", "extra", "blend/a"):
        assert phrase in body
    assert "3.0 s against 2.0 s planned" in section.lede.replace("\u00a0", " ")  # read alone was planned and run
    assert body.count("<tr>") == 5


def test_without_a_plan_there_is_no_section() -> None:
    plans: list[dict[str, Any]] = [{}, {"plan": None}, {"plan": {"steps": []}}]
    for plan in plans:
        assert plan_section(Run("out", {"steps": [step("read")], **plan}, (), (), (), None)) is None


def test_nothing_planned_has_no_ratio() -> None:
    assert ratio(step("a", seconds=0.0), step("a"), "seconds") == ""
    assert ratio(None, step("a"), "seconds") == ratio(step("a"), None, "seconds") == ""
