"""The section about what stayed: samples by domain and language, lengths, dates, hosts."""

from __future__ import annotations

from functools import partial

from gristmill.pipeline.views.report.charts import bar, histogram, pair
from gristmill.pipeline.views.report.elements import Section, fold, quiet, table
from gristmill.pipeline.views.report.figures import count, esc, language, plural, share, size
from gristmill.pipeline.views.report.kept import MAX_HOSTS, Kept, KeptRow, length_bins, year_bins

FIRST = 12
"""Groups before the fold."""


def kept_section(kept: Kept | None) -> Section | None:
    if kept is None:
        return None
    some = f" Of the files each {kept.every}th was read." if kept.every > 1 else ""
    lede = (
        "What is in <code>curated/</code>: some documents of each domain and language, chosen by the hash of their "
        f"ids, not by how they look.{some}"
    )
    groups = [group(name, rows, kept) for name, rows in kept.shown()]
    rest = "".join(groups[FIRST:])
    more = fold(f"{plural(len(groups) - FIRST, 'more language')}", f'<div class="samples">{rest}</div>') if rest else ""
    body = f'<div class="samples">{"".join(groups[:FIRST])}</div>{more}{charts(kept)}{hosts(kept)}'
    return Section("kept", "What was kept", lede, body)


def group(name: tuple[str, str], rows: list[KeptRow], kept: Kept) -> str:
    domain, code = name
    shown = "".join(map(sample, rows))
    return (
        f'<details class="group"><summary><span class="name">{language(domain, code)}</span>'
        f'<span class="n">{size(kept.groups[name])}</span></summary>{shown}</details>'
    )


def sample(row: KeptRow) -> str:
    where = f"{row.source}: {row.path}" + (f" #{row.record}" if row.record else "")
    facts = [f"<b>{esc(row.title)}</b>"] if row.title else []
    facts += [size(row.bytes), *([row.date] if row.date else []), esc(row.url or where), f"<code>{esc(row.id)}</code>"]
    return (
        f'<figure class="sample stayed"><blockquote dir="auto">{esc(row.preview)}</blockquote>'
        f"<p>{' · '.join(facts)}</p></figure>"
    )


def charts(kept: Kept) -> str:
    lengths = partial(histogram, length_bins(kept.lengths.tolist()), x_title="bytes of text, from", y_title="documents")
    parts = f"<figure><figcaption><b>Length</b> {_mean(kept)}</figcaption>{pair(lengths, 470)}</figure>"
    dated = sum(kept.years.values())
    said = f"{share(dated, kept.documents)} of the documents have one"
    if dated:
        years = partial(histogram, year_bins(kept.years), x_title="year", y_title="documents")
        parts += f"<figure><figcaption><b>Date</b> {said}</figcaption>{pair(years, 470)}</figure>"
    else:
        parts += quiet("No document has a date: among duplicates the oldest cannot be told.")
    return f'<h3>How long and how old</h3><div class="columns">{parts}</div>'


def _mean(kept: Kept) -> str:
    return f"{size(kept.bytes / kept.documents)} on average"


def hosts(kept: Kept) -> str:
    found = kept.top_hosts()
    if not found:
        return ""
    most = found[0][1]
    rows = [(esc(name), bar(n / most), count(n), share(n, kept.documents)) for name, n in found]
    if kept.exact:
        number = f"{plural(len(kept.hosts), 'host')} in all"
    else:
        number = f"More than {count(MAX_HOSTS)} hosts, of which the frequent ones were counted"
    note = quiet(f"{number}; {share(kept.addressed, kept.documents)} of the documents have one.")
    return f"<h3>Top hosts</h3>{note}" + table(("host", "", "documents", "of all"), rows, "lbnn")
