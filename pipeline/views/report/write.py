"""The report of a run: one HTML file that opens anywhere, without a network.

`data` gathers what a run left behind, with `distributions` (`axes`), `clusters`, `kept`, `sums` and `training`;
`against` compares it with another run; `charts` draws as SVG; `corpus`, `samples`, `signals`, `duplicates`, `tokens`,
`plan`, `facts` and the files named `_section` lay out the sections, and `page` puts them together with the style sheet
and the scripts beside it. What came from documents is escaped. `sums`, `limitations`, `markdown` and `sheet_tokens`
serve the datasheet (`pipeline.views.datasheet`).
"""

from __future__ import annotations

PATH = "report/index.html"


def write(output: str, training: str | None = None, against: str | None = None) -> str:
    """Writes `report/index.html` below `output` and returns where it is.

    output: folder or URI of a run. training: folder of a training run, or its metrics.jsonl; by default the longest run
    found below `<output>/train` or `<output>/training`. against: output of another run to compare with. Raises
    ValueError where there is no run.
    """
    from gristmill.pipeline.views.report.against import compare
    from gristmill.pipeline.views.report.data import gather
    from gristmill.pipeline.views.report.labels import label_pairs
    from gristmill.pipeline.views.report.page import page
    from gristmill.pipeline.views.report.training import find, read
    from gristmill.storage.store import Store

    store = Store(output)
    run = gather(store)
    comparison = compare(run.record, Store(against)) if against is not None else None
    written = page(run, read(*find(store, training)), label_pairs(store), comparison)
    store.write(PATH, written.encode(errors="replace"))
    return store.location(PATH)
