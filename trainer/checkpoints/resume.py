"""Where a run starts, and what a checkpoint remembers of it beside the tensors.

progress.json: step, samples, optimizer_step (`Cursor`), tokens, phase, phase_starts (first sample of each phase begun),
seed, sequence_length, data (checksums of the manifests, by phase), instability (`trainer.policy`). The samples consumed
are the whole state of the data; the rest is there to refuse a checkpoint for which they would mean other samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.trainer.checkpoints import reading
from gristmill.trainer.errors import TrainerError
from gristmill.trainer.policy import Judge
from gristmill.trainer.setup import Built, Run
from gristmill.trainer.state import initialise


@dataclass
class Cursor:
    """Where a run stands: finished steps, consumed samples, the optimizer's own count (AdamW's bias correction), and
    what the policy for bad steps remembers."""

    step: int = 0
    samples: int = 0
    optimizer_step: int = 0
    judge: dict[str, Any] | None = field(default=None, repr=False)


def start(run: Run, built: Built, fresh: bool, say: Callable[[str], None]) -> Cursor:
    """Weights and cursor from the newest good checkpoint, `initialize_from` or the seed; collective."""
    config, directory = run.config, run.config.checkpoint.directory
    if fresh and run.groups.world.rank == 0 and (aside := reading.set_aside(directory)):
        say(f"{directory}: its checkpoints are in {aside} now")
    path = reading.newest_good(directory, say, run.groups, retire=True)
    if path is not None:
        _check_same_data(path, reading.read_progress(path), run)
        progress = reading.load(path, built.state, run.groups)
        say(f"resuming from {path}: step {progress['step']:,}, {progress['tokens']:,} tokens")
        return Cursor(progress["step"], progress["samples"], progress["optimizer_step"], progress.get("instability"))
    if config.initialize_from is None:
        initialise(built.state, config.seed)
        return Cursor()
    found = reading.find(config.initialize_from, say, run.groups)
    say(f"starting from the weights and moments of {found}")
    return Cursor(optimizer_step=reading.load(found, built.state, run.groups)["optimizer_step"])


def progress(run: Run, cursor: Cursor, judge: Judge) -> dict[str, Any]:
    """What a checkpoint taken now remembers."""
    current = run.schedule.at(cursor.samples)
    phase = current.phase if current else len(run.config.phases) - 1
    return {
        "step": cursor.step,
        "samples": cursor.samples,
        "optimizer_step": cursor.optimizer_step,
        "tokens": cursor.samples * run.schedule.sequence,
        "phase": phase,
        "phase_starts": [run.schedule.first_sample(i) for i in range(phase + 1)],
        "seed": run.config.seed,
        "sequence_length": run.schedule.sequence,
        "data": run.identities(),
        "instability": judge.memory(),
    }


def _check_same_data(path: Path, held: dict[str, Any], run: Run) -> None:
    """The cursor means the same samples only with the same seed, sequence length, shards up to where it stands, and
    beginnings of the phases up to there."""
    if held["samples"] == 0:
        return
    for key, now in (("seed", run.config.seed), ("sequence_length", run.schedule.sequence)):
        if held[key] != now:
            raise TrainerError(f"{path}: was trained with {key} {held[key]}, not {now}: set it back or give --fresh")
    begun = held["phase"] + 1
    for phase, identities in enumerate(run.identities()[:begun]):
        if held["data"][phase] != identities:
            raise TrainerError(
                f"{path}: the shards of phases.{phase} are not those it was trained on: put them back or give --fresh"
            )
    for phase, first in enumerate(held["phase_starts"]):
        now = run.schedule.first_sample(phase)
        if now != first:
            raise TrainerError(
                f"{path}: phases.{phase} began at sample {first:,} and would begin at {now:,} now: set tokens and "
                "batch_ramp of the phases before it back (those of the phase at hand and later ones may change), "
                "or give --fresh"
            )
