"""The section about duplicates: sizes of clusters, and the largest clusters with some of their members."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gristmill.pipeline.views.report.charts import histogram, pair
from gristmill.pipeline.views.report.clusters import Cluster
from gristmill.pipeline.views.report.data import Run
from gristmill.pipeline.views.report.elements import Section, quiet
from gristmill.pipeline.views.report.figures import count, esc, plural, size
from gristmill.pipeline.views.tables import MemberRow

TITLES = {
    "exact_dedup": "Exact duplicates",
    "near_dedup": "Near-duplicates",
    "identity": "Two texts under one id",
}
SHOWN = 6
"""Clusters of a step before the fold."""


def clusters_section(run: Run) -> Section | None:
    sizes = {step: found for step, found in run.record["clusters"].items() if found}
    if not sizes and not run.clusters:
        return None
    parts, total = "", 0
    for step, found in sizes.items():
        by_size = {int(value): number_of for value, number_of in found.items()}
        documents, number_of = sum(s * n for s, n in by_size.items()), sum(by_size.values())
        total += documents - number_of
        chart = pair(partial(columns, cluster_bins(by_size)), 470)
        title = f"<b>{esc(step)}</b> {plural(number_of, 'cluster')} of {plural(documents, 'document')}"
        parts += f"<figure><figcaption>{title}</figcaption>{chart}</figure>"
    lede = (
        f"{plural(total, 'document')} left because a copy stayed. Counts are on a logarithmic scale. Below are the "
        "largest clusters: the document that stayed, in blue, and some of those that left for it."
    )
    body = f'<div class="columns">{parts}</div>' + "".join(largest(step, found) for step, found in run.clusters.items())
    return Section("duplicates", "Duplicates", lede, body)


def largest(step: str, clusters: Sequence[Cluster]) -> str:
    rows = [cluster(each) for each in clusters]
    title = f"<h3>{esc(TITLES.get(step, step))}: the largest clusters</h3>"
    rest = "".join(rows[SHOWN:])
    more = f'<details class="more"><summary>{plural(len(rows) - SHOWN, "more cluster")}</summary>{rest}</details>'
    return f'{title}<div class="clusters">{"".join(rows[:SHOWN])}</div>{more if rest else ""}'


def cluster(each: Cluster) -> str:
    """Closed: how many, of what language, how the survivor begins. Open: its members."""
    kept = each.kept
    name = kept.get("preview") or kept.get("path") or kept["id"].hex()
    shown = 1 + len(each.removed)
    rows = member(kept, True) + "".join(member(row, False) for row in each.removed)
    note = quiet(f"{shown} of {count(each.size)} are shown.") if shown < each.size else ""
    return (
        f'<details class="cluster"><summary><b class="n">{count(each.size)}</b>'
        f'<span class="language">{esc(kept.get("language") or "")}</span>'
        f'<span class="begins" dir="auto">{esc(name)}</span></summary><ol>{rows}</ol>{note}</details>'
    )


def member(row: MemberRow, kept: bool) -> str:
    facts = [f"<b>{'stayed' if kept else 'left'}</b>"]
    if row.get("language"):
        facts.append(esc(row["language"]))
    if row.get("bytes") is not None:
        facts.append(size(row["bytes"]))
    if "source" in row:
        record = f" #{row['record']}" if row["record"] else ""
        where = row.get("url") or row["path"] + record
        facts.append(f"{esc(row['source'])}: {esc(where)}")
    else:
        facts.append("of an earlier run")
    facts.append(f"<code>{row['id'].hex()}</code>")
    text = f'<q dir="auto">{esc(row["preview"])}</q>' if row.get("preview") else ""
    return f"<li{' class=stayed' if kept else ''}>{text}<p>{' · '.join(facts)}</p></li>"


def columns(bins: Sequence[tuple[str, int]], width: int) -> str:
    return histogram(bins, width, "documents in a cluster", "clusters")


def cluster_bins(sizes: dict[int, int]) -> list[tuple[str, int]]:
    """Clusters by size in bins 2, 3–4, 5–8, 9–16 and so on."""
    bins: dict[int, int] = {}
    for value, number_of in sizes.items():
        power = max(1, (value - 1).bit_length())
        bins[power] = bins.get(power, 0) + number_of
    names = {k: "2" if k == 1 else f"{_k(2 ** (k - 1) + 1)}–{_k(2**k)}" for k in range(1, max(bins) + 1)}
    return [(names[k], bins.get(k, 0)) for k in names]


def _k(value: int) -> str:
    return str(value) if value < 1000 else f"{value // 1024}k"
