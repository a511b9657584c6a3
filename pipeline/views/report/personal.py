"""The section about personal data and keys: how many of each kind were found, and in how many documents."""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pipeline.views.report.elements import Section, folded
from gristmill.pipeline.views.report.figures import count, esc, plural

SHOWN = 20


def personal_section(tallies: Mapping[str, int]) -> Section | None:
    """None where nothing was looked for. tallies: what `stages.pii.Pii.tally` counted."""
    kinds = list(dict.fromkeys(name.split("\t")[0] for name in tallies))
    if not kinds:
        return None
    rows = [(esc(kind), count(tallies[f"{kind}\tfound"]), count(tallies[f"{kind}\tdocuments"])) for kind in kinds]
    total = sum(tallies[f"{kind}\tfound"] for kind in kinds)
    lede = f"{plural(total, 'finding')} in the documents that the stage pii took in."
    return Section(
        "personal", "Personal data", lede, folded(("kind", "found", "documents"), rows, "lnn", SHOWN, "kinds")
    )
