"""What `gristmill plan` answers, as lines and as JSON values: a plan for the files there are, or for a corpus in words.

Rates are those of `--measured OUT`, else of the last run in the configured output, else the shipped ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from gristmill.pipeline.plan.calibration import of_run
from gristmill.pipeline.plan.rates import Rates, shipped
from gristmill.wording import plural

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.plan.cluster import EstimateRecord
    from gristmill.pipeline.steps.record import PlanRecord

CONFIG = "pipeline.yaml"
"""Where no configuration is named."""


def planned(
    path: str,
    assignments: Sequence[str],
    *,
    corpus: str | None,
    measured: str | None,
    workers: int | None,
    strict: bool = False,
) -> tuple[list[str], PlanRecord | EstimateRecord]:
    """ValueError in one sentence for a wrong configuration, description or `measured`; `Void` for what a run would not
    start with, and for every finding where `strict`."""
    from gristmill.pipeline.config.keys import load
    from gristmill.pipeline.engine.progress import size_text
    from gristmill.pipeline.plan.text import estimate_lines, plan_lines

    if corpus is not None:
        from gristmill.pipeline.plan.cluster import estimate
        from gristmill.pipeline.plan.described import parse

        described = parse(corpus)
        if workers is not None:
            raise ValueError("--workers is of this machine: --corpus says how many nodes and cores there are")
        if path == CONFIG and not os.path.exists(path):  # it is not about the files of anybody
            path, shown = str(resources.files("gristmill") / "pipeline.yaml"), "the shipped recipe"
        else:
            shown = path
        config = load(path, assignments, files=False)
        keys = [assignment.partition("=")[0] for assignment in assignments]
        found = estimate(described, config, rates_for(config, measured), keys)
        return estimate_lines(found, f"{shown}, for a corpus in words: {corpus.strip()}"), found.to_dict()
    from gristmill.pipeline.plan.foreseen import examined
    from gristmill.pipeline.plan.prediction import predicted
    from gristmill.pipeline.readers.inventory import inventory
    from gristmill.pipeline.readers.left_out import LeftOut
    from gristmill.pipeline.steps.findings import WRONG, judge

    config = load(path, assignments)
    notes: list[str] = []
    left_out: list[LeftOut] = []
    files = inventory(config.sources, notes, left_out)
    findings = examined(config, files, left_out)
    judge(findings, WRONG, strict)
    said = tuple(finding.sentence for finding in findings)
    plan = predicted(config, files, workers, rates_for(config, measured))
    plan = replace(plan, notes=(*plan.notes, *(note for note in notes if note not in said)), findings=said)
    stored = sum(entry.size for entry in files)
    return plan_lines(
        plan, f"{path}: {plural(len(files), 'file')} of {size_text(stored)}, to {config.output}"
    ), plan.to_dict()


def rates_for(config: Config, measured: str | None) -> Rates:
    """Those of `measured`; of the last run in the output, where it has a finished one; the shipped ones."""
    rates = shipped()
    if measured is not None:
        return of_run(measured, rates)
    try:
        return of_run(config.output, rates)
    except (ValueError, OSError):  # none there, or not of this version: the shipped ones do
        return rates
