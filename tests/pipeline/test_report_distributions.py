"""Distributions of whatever was measured: every numeric column of `signals/`, those of lines and of one's own too."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.views.report.distributions import distributions
from gristmill.pipeline.views.report.signals import signals_section
from gristmill.stages.lines import LINE_SIGNALS, Lines
from gristmill.stages.rules import Rules, describe
from gristmill.storage.store import Store

TEXTS = ["Home\n\nThe bread of Egypt was baked in clay pots.\n", "Menu\nBread and butter, as you like it.", "Home"]


def test_columns_of_lines_are_drawn_and_conditions_cut_nothing(tmp_path: Path) -> None:
    texts = pa.array(TEXTS * 20, pa.large_string())
    scope = {name: pa.array([value] * len(texts)) for name, value in (("domain", "english"), ("language", "en"))}
    measured = Lines(("c4", "refinedweb")).apply(pa.record_batch({"text": texts, **scope}))
    loudness = pa.array(range(len(texts)), pa.float64())
    table = pa.Table.from_batches([measured]).drop_columns(["text", "dropped_by"]).append_column("loudness", loudness)
    (tmp_path / "signals").mkdir()
    pq.write_table(table, tmp_path / "signals" / "part-00000.parquet")
    rules = Rules(
        presets=("refinedweb",),
        add=[
            {"rule": "own.loud", "drop_when": "loudness > 3 and lines_removed > 0", "signals": ["own:loudness"]},
            {"rule": "own.removed", "signal": "lines_removed", "max": 1},
        ],
    )
    found = distributions(Store(str(tmp_path)), describe(rules).to_pylist())
    assert found is not None
    assert {each.signal for each in found.signals} == {*(signal.name for signal in LINE_SIGNALS), "loudness"}
    limits = {each.signal: [limit.rules for limit in each.limits] for each in found.signals if each.limits}
    assert limits == {"words_flagged": [("refinedweb.words_flagged",)], "lines_removed": [("own.removed",)]}
    section = signals_section(found)
    assert section is not None
    assert "lines that the stage lines removed" in section.body, "the page says what the column is"
