"""The training loop: steps, their record, checkpoints, evaluation; on one process or on many.

Its state is `trainer.checkpoints.resume.Cursor`; everything else is a function of it. The step itself is
`trainer.step`. All ranks run the same loop and decide alike; rank 0 alone prints and writes metrics. SIGTERM and
SIGINT, to whichever rank, end the run on all after the step at hand, with a checkpoint; so does the death of the
torchrun that started it.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gristmill.trainer.checkpoints import saving
from gristmill.trainer.checkpoints.resume import Cursor, progress, start
from gristmill.trainer.config.keys import Config
from gristmill.trainer.config.schedule import Step
from gristmill.trainer.data.feed import Feed
from gristmill.trainer.data.unigram import unigram_entropy
from gristmill.trainer.metrics import Display, Metrics, step_line
from gristmill.trainer.model.shape import flops_per_token, parameters
from gristmill.trainer.planning.plot import schedule_svg
from gristmill.trainer.planning.rates import CONVENTION, mfu, peak_flops
from gristmill.trainer.planning.schedule_table import table_text
from gristmill.trainer.policy import Judge
from gristmill.trainer.scoring.evaluate import evaluate
from gristmill.trainer.setup import Built, Run, build, check_batches, plan_run
from gristmill.trainer.step import Figures, run_step
from gristmill.trainer.watch import Watch
from gristmill.wording import plural


def train(config: Config, fresh: bool = False, stop_after_steps: int | None = None) -> dict[str, Any]:
    """Runs or resumes a training run; returns {"step", "tokens", "loss", "finished", "evaluation"}.

    fresh: set existing checkpoints aside and start anew. stop_after_steps: of this call; a checkpoint is saved there.
    Called on every rank; each gets the same but for "evaluation", which is rank 0's.
    """
    run = plan_run(config)
    first = run.groups.world.rank == 0
    built = build(run)
    display = Display(run.schedule.total_tokens, config.logging.every_steps, silent=not first)
    cursor = start(run, built, fresh, display.say)
    metrics = Metrics(config.logging.directory if first else None, cursor.step, config.logging.tensorboard)
    try:
        remark = check_batches(run, cursor.samples)
        if first:
            _announce(run, cursor, metrics, display, remark)
        with display, _stopping() as stop:
            loss = _steps(run, built, cursor, metrics, display, stop, stop_after_steps)
            finished = run.schedule.at(cursor.samples) is None
            evaluation = _evaluate(run, built, metrics, display) if finished else []
        tokens = cursor.samples * run.schedule.sequence
        return {"step": cursor.step, "tokens": tokens, "loss": loss, "finished": finished, "evaluation": evaluation}
    finally:
        metrics.close()


def _steps(run, built, cursor, metrics, display, stop, stop_after_steps) -> float:
    config, schedule, groups = run.config, run.schedule, run.groups
    loss, done, saved_at = math.nan, 0, -1
    judge = Judge(config.instability, cursor.judge)
    saver = saving.Saver(config.checkpoint.directory, built.state, groups, config.checkpoint.keep)
    feed = Feed(run.loader, schedule, groups.data, config.micro_batch_size, cursor.samples)
    watch = Watch(config.logging.directory, groups.world, config.logging.hang_seconds, display.say)
    with feed, watch.running():
        while (step := schedule.at(cursor.samples)) is not None:
            with watch.step(cursor.step + 1):
                began = time.perf_counter()
                number = cursor.step + 1
                figures = run_step(
                    run,
                    built,
                    feed,
                    step,
                    cursor.optimizer_step + 1,
                    partial(judge.verdict, number),
                    lambda: stop.asked,
                )
                loss = figures.loss
                cursor.step, cursor.samples = number, cursor.samples + step.sequences
                cursor.optimizer_step += figures.skipped is None
                seconds = time.perf_counter() - began
                if groups.world.rank == 0:
                    _record(run, built, cursor, step, figures, judge.skipped, seconds, metrics, display)
                done += 1
                _say_saved(saver.check(), metrics)
                tokens, every = cursor.samples * schedule.sequence, config.checkpoint.every_tokens
                if tokens // every > step.first_sample * schedule.sequence // every:
                    saver.save(progress(run, cursor, judge))
                    saved_at = cursor.step
            if figures.stop or done == stop_after_steps:
                break
    if done and saved_at != cursor.step:
        saver.save(progress(run, cursor, judge))
    _say_saved(saver.wait(), metrics)
    return loss


def _record(run: Run, built: Built, cursor: Cursor, step: Step, figures: Figures, skips, seconds, metrics, display):
    schedule, device = run.schedule, built.device
    tokens, step_tokens = cursor.samples * schedule.sequence, step.sequences * schedule.sequence
    values: dict[str, Any] = {
        "step": cursor.step,
        "tokens": tokens,
        "samples": cursor.samples,
        "phase": step.phase,
        "loss": figures.loss,
        "loss_by_domain": figures.domains,
        "learning_rate": step.learning_rate,
        "grad_norm": figures.norm,
        "seconds": seconds,
        "tokens_per_s": step_tokens / seconds,
        "data_wait_s": figures.data_wait_s,
        "memory_bytes": _memory(device),
        "epochs": run.loader.consumed(step.phase, cursor.samples),
        "eta_s": display.eta_s(tokens, step_tokens, seconds),
        "skipped_steps": skips,
    }
    if figures.skipped is not None:
        values["skipped"] = figures.skipped
    if device.type == "cuda" and (peak := peak_flops(torch.cuda.get_device_name(device))):
        values["mfu"] = mfu(run.shape, step_tokens / seconds / run.groups.world.size, peak, schedule.sequence)
    metrics.step(values)
    line = step_line(values, cursor.step + schedule.total_steps - step.index - 1)
    metrics.log(line)
    display.step(cursor.step, tokens, line)


def _say_saved(saved: saving.Saved | None, metrics: Metrics) -> None:
    if saved is not None:
        metrics.log(f"saved {saved.path} in {saved.seconds:.1f} s")


def _announce(run: Run, cursor: Cursor, metrics: Metrics, display: Display, remark: str | None) -> None:
    """What is ahead, before the first step: sizes, the schedule as a table and as a picture, what is odd about it."""
    config, groups, folder = run.config, run.groups, Path(run.config.logging.directory)
    sets = [run.loader.sets[i] for i in run.loader.members(0)]
    entropy = unigram_entropy(sets, [source.weight for source in config.phases[0].sources()])
    layout = f"tensor {groups.tensor.size} x pipeline {groups.pipeline.size} x data {groups.data.size}"
    display.say(
        f"{parameters(run.shape):,} parameters · {layout} · "
        f"{plural(run.schedule.total_tokens, 'token')} in {plural(run.schedule.total_steps, 'step')} · "
        f"unigram entropy of the shards {entropy:.3f} nats"
    )
    table = table_text(config)
    for line in table:
        display.say(line)
        metrics.log(line)
    (folder / "schedule.svg").write_text(schedule_svg(config, f"schedule of {folder}"), "utf-8")
    display.say(f"the same as a picture: {folder / 'schedule.svg'}")
    if remark:
        display.say(remark)
    for name, epochs in run.loader.epochs:
        if epochs > config.data.max_epochs:
            display.say(f"{name}: read {epochs:.1f} times, more than data.max_epochs {config.data.max_epochs:g}")
    if cursor.step == 0:
        metrics.write(
            "start",
            config=asdict(config),
            shape=asdict(run.shape),
            parameters=parameters(run.shape),
            processes={name: getattr(groups, name).size for name in ("world", "tensor", "pipeline", "data")},
            flops_per_token=flops_per_token(run.shape, sequence=run.schedule.sequence),
            mfu_convention=CONVENTION,
            unigram_entropy=entropy,
            epochs=dict(run.loader.epochs),
        )


def _evaluate(run: Run, built: Built, metrics: Metrics, display: Display) -> list[dict[str, Any]]:
    settings = run.config.evaluation
    folders = [settings.shards] if settings.shards else []
    if not folders:
        beside = (f"{source.shards}/holdout" for source in run.config.phases[-1].sources())
        folders = [folder for folder in beside if Path(folder).is_dir()]
    if settings.max_tokens and folders and run.groups.pipeline.size > 1:
        saved = run.config.checkpoint.directory
        display.say(f"not evaluated over a pipeline: gristmill train evaluate {saved} {folders[0]}")
        return []
    results = []
    for folder in folders if settings.max_tokens else []:
        figures = evaluate(
            built.model,
            folder,
            run.schedule.sequence,
            run.config.micro_batch_size,
            settings.max_tokens,
            built.device,
            run.config.data.documents,
            run.groups.data,
        )
        results.append({"shards": folder, **figures})
        metrics.write("evaluation", **results[-1])
        for name, row in [("all", figures), *figures["domains"].items()]:
            if row["tokens"]:
                bits = f" · {row['bits_per_byte']:.3f} bits per byte" if row["bits_per_byte"] else ""
                display.say(f"held out, {name}: loss {row['loss']:.4f}{bits} · {row['tokens']:,} tokens")
    return results


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass
class _Stop:
    """told: by a signal. Under torchrun its death is one too: nobody would end what it leaves behind."""

    told: bool = False
    parent: int | None = None

    @property
    def asked(self) -> bool:
        return self.told or (self.parent is not None and os.getppid() != self.parent)


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """SIGTERM and SIGINT end the run after the step at hand; a second SIGINT interrupts at once."""
    stop = _Stop(parent=os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)

    def ask(number: int, _: object) -> None:
        stop.told = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever runs us handles signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
