"""What is known to be wrong with, or missing from, a corpus: sentences that follow from how it was made.

Each row of the table says when its sentence holds: with a stage, without one, or by what the run counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pipeline.steps.record import RunRecord
from gristmill.pipeline.views.report.findings import other_notes
from gristmill.pipeline.views.report.markdown import cell, listing
from gristmill.pipeline.views.report.sums import NOT_STATED, SourceSums

EPOCHS = 4
"""Repetitions up to which repeated text helps nearly as new text does: Muennighoff et al. 2023."""

WITH = {
    "rules": "Most limits on words and lines were published for English web text; they hold for other languages and "
    "kinds of text by analogy only. They remove lists, tables, verse and some dialects more often than prose.",
    "language": "Languages are a model's guess from the text: short, mixed and closely related ones are confused, and "
    "text of which it was unsure was dropped.",
    "near_dedup": "Near-duplicates are found with a probability that grows with their similarity and are not compared "
    "again: some remain, and some texts were taken for copies that are none.",
    "pii": "Personal data was replaced by patterns; what matches no pattern, names above all, is still there.",
}
"""Stage -> what having it leaves open."""

WITHOUT = {
    "pii": "Personal data (names, addresses, numbers) was not looked for: no stage `pii` was configured.",
    "decontaminate": "Benchmarks were not taken out: no stage `decontaminate` was configured, so scores of models "
    "trained on this corpus may be too good.",
    "near_dedup": "Near-duplicates were not removed: no stage `near_dedup` was configured.",
}
"""Stage -> what not having it means."""


def limitations(record: RunRecord, sources: Mapping[str, SourceSums]) -> list[str]:
    """Sentences in Markdown. record: what stands in `run.json`; sources: `pipeline.views.report.sums.source_sums`."""
    stages = [next(iter(stage)) for stage in record["configuration"].get("stages", [])]
    unstated = [name for name, entry in sources.items() if entry.licences.get(NOT_STATED)]
    repeated = [name for name, b in record["blends"].items() if any(u["epochs"] > EPOCHS for u in b["units"])]
    missing = [step["name"] for step in record["steps"] if step["missing"]]
    found = []
    if unstated:
        found.append(
            f"Licences of documents of {listing(unstated)} are {NOT_STATED}: clear them before passing on text."
        )
    found += [sentence for stage, sentence in WITH.items() if stage in stages]
    found += [sentence for stage, sentence in WITHOUT.items() if stage not in stages]
    found.append("Nothing was checked for truth, tone or harm beyond the rules that are listed here.")
    if repeated:
        found.append(
            f"In {listing(repeated)} some sources are repeated more than {EPOCHS} times (Muennighoff et al. 2023)."
        )
    if missing:
        found.append(f"Tasks of {listing(missing)} failed; what they would have written is missing.")
    return found + [cell(note) for note in other_notes(record)]
