"""The training loop: fetch, forward and backward per micro-batch, one optimizer step, metrics, checkpoints.

The loop's state is three numbers, `step`, `samples` and the optimizer's step; everything else is a function of them.
The scale of the loss, 1 / tokens of the whole step, goes into the loss kernel, so gradients add up over micro-batches
in `main_grad` and need no division. Stops after a step and saves on SIGTERM and SIGINT.
"""

from __future__ import annotations

import math
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer import checkpoint
from trainer.config import Config
from trainer.data.loader import Samples
from trainer.data.unigram import unigram_entropy
from trainer.errors import TrainerError
from trainer.estimate import peak_flops
from trainer.evaluate import evaluate
from trainer.metrics import Display, Metrics, step_line
from trainer.optimizer import optimizer_step
from trainer.schedule import Step
from trainer.setup import Built, Run, build, plan_run
from trainer.shape import flops_per_token, parameters
from trainer.state import initialise


@dataclass
class Cursor:
    """Where a run stands: finished steps, consumed samples, the optimizer's own count (AdamW's bias correction)."""

    step: int = 0
    samples: int = 0
    optimizer_step: int = 0


def train(config: Config, fresh: bool = False, stop_after_steps: int | None = None) -> dict[str, Any]:
    """Runs or resumes a training run; returns {"step", "tokens", "loss", "finished", "evaluation"}.

    fresh: set existing checkpoints aside and start anew. stop_after_steps: of this call; a checkpoint is saved there.
    """
    run = plan_run(config)
    built = build(run)
    display = Display(run.schedule.total_tokens, config.logging.every_steps)
    cursor = _start(run, built, fresh, display)
    metrics = Metrics(config.logging.directory, cursor.step)
    try:
        _announce(run, cursor, metrics, display)
        with display, _stopping() as stop:
            loss = _steps(run, built, cursor, metrics, display, stop, stop_after_steps)
            finished = run.schedule.at(cursor.samples) is None
            evaluation = _evaluate(run, built, metrics, display) if finished else []
        tokens = cursor.samples * run.schedule.sequence
        return {"step": cursor.step, "tokens": tokens, "loss": loss, "finished": finished, "evaluation": evaluation}
    finally:
        metrics.close()


def run_step(run: Run, built: Built, step: Step, optimizer_number: int) -> tuple[float, float]:
    """One step on its samples; returns (mean loss in nats per token, gradient norm before clipping)."""
    built.state.zero_grad()
    scale = 1.0 / (step.sequences * run.schedule.sequence)
    total = torch.zeros((), device=built.device)
    for samples in _micro_batches(run, step):
        x, labels, positions, cu_seqlens = _to_device(samples, run.config.data.documents, built.device)
        loss, _ = built.model.loss(x, labels, scale, positions, cu_seqlens)
        loss.backward()
        total += loss.detach()
    norm = optimizer_step(built.state, built.ops, run.config.optimizer, step.learning_rate, optimizer_number)
    return total.item(), norm.item()


def _steps(run, built, cursor, metrics, display, stop, stop_after_steps) -> float:
    config, schedule = run.config, run.schedule
    loss, done, last = math.nan, 0, -1
    while (step := schedule.at(cursor.samples)) is not None:
        began = time.perf_counter()
        loss, norm = run_step(run, built, step, cursor.optimizer_step + 1)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainerError(
                f"step {cursor.step + 1}: the loss is {loss} and the gradient norm {norm}: lower the learning rate, "
                f"or look at the batch with --replay {cursor.step + 1}; the checkpoints before it are untouched"
            )
        cursor.step, cursor.optimizer_step = cursor.step + 1, cursor.optimizer_step + 1
        cursor.samples += step.sequences
        _record(run, built, cursor, step, loss, norm, time.perf_counter() - began, metrics, display)
        done += 1
        tokens, every = cursor.samples * schedule.sequence, config.checkpoint.every_tokens
        if tokens // every > step.first_sample * schedule.sequence // every:
            last = _save(run, built, cursor, metrics)
        if stop.asked or done == stop_after_steps:
            break
    if done and last != cursor.step:
        _save(run, built, cursor, metrics)
    return loss


def _record(run, built, cursor, step: Step, loss, norm, seconds, metrics, display) -> None:
    schedule = run.schedule
    tokens = cursor.samples * schedule.sequence
    rate = step.sequences * schedule.sequence / seconds
    values = {
        "step": cursor.step,
        "tokens": tokens,
        "phase": step.phase,
        "loss": loss,
        "learning_rate": step.learning_rate,
        "grad_norm": norm,
        "tokens_per_s": rate,
        "seconds": seconds,
        "memory_bytes": _memory(built.device),
    }
    if built.device.type == "cuda" and (peak := peak_flops(torch.cuda.get_device_name(built.device))):
        values["mfu"] = rate * flops_per_token(run.shape, sequence=schedule.sequence) / peak
    metrics.write("step", **values)
    eta_s = display.eta_s(tokens, step.sequences * schedule.sequence, seconds)
    line = step_line(values, schedule.total_steps, eta_s)
    metrics.log(line)
    display.step(cursor.step, tokens, line)


def _start(run: Run, built: Built, fresh: bool, display: Display) -> Cursor:
    """Weights and cursor from the newest good checkpoint, from `initialize_from`, or drawn from the seed."""
    config, directory = run.config, run.config.checkpoint.directory
    if fresh and (aside := checkpoint.set_aside(directory)):
        display.say(f"{directory}: its checkpoints are in {aside} now")
    path = checkpoint.newest_good(directory, display.say)
    if path is not None:
        progress = checkpoint.load(path, built.state)
        _check_same_data(path, progress, run)
        display.say(f"resuming from {path}: step {progress['step']:,}, {progress['tokens']:,} tokens")
        return Cursor(progress["step"], progress["samples"], progress["optimizer_step"])
    if config.initialize_from is None:
        initialise(built.state, config.seed)
        return Cursor()
    source = Path(config.initialize_from)
    found = source if (source / checkpoint.COMMIT).exists() else checkpoint.newest_good(source, display.say)
    if found is None or (trouble := checkpoint.problem(found)):
        raise TrainerError(trouble if found else f"initialize_from: {source} holds no checkpoint: correct the path")
    return Cursor(optimizer_step=checkpoint.load(found, built.state)["optimizer_step"])


def _check_same_data(path: Path, progress: dict, run: Run) -> None:
    """The cursor means the same samples only with the same seed, sequence length and shards up to where it stands."""
    if progress["samples"] == 0:
        return
    for key, now in (("seed", run.config.seed), ("sequence_length", run.schedule.sequence)):
        if progress[key] != now:
            raise TrainerError(
                f"{path}: was trained with {key} {progress[key]}, not {now}: set it back or give --fresh"
            )
    for phase, identities in enumerate(run.identities()[: progress["phase"] + 1]):
        if progress["data"][phase] != identities:
            raise TrainerError(
                f"{path}: the shards of phases.{phase} are not those it was trained on: put them back or give --fresh"
            )


def _save(run: Run, built: Built, cursor: Cursor, metrics: Metrics) -> int:
    config, tokens = run.config, cursor.samples * run.schedule.sequence
    current = run.schedule.at(cursor.samples)
    progress = {
        **asdict(cursor),
        "tokens": tokens,
        "phase": current.phase if current else len(config.phases) - 1,
        "seed": config.seed,
        "sequence_length": run.schedule.sequence,
        "data": run.identities(),
    }
    began = time.perf_counter()
    path = checkpoint.save(config.checkpoint.directory, built.state, progress, config.checkpoint.keep)
    metrics.log(f"saved {path} in {time.perf_counter() - began:.1f} s")
    return cursor.step


def _announce(run: Run, cursor: Cursor, metrics: Metrics, display: Display) -> None:
    config = run.config
    sets = [run.loader.sets[i] for i in run.loader.members(0)]
    entropy = unigram_entropy(sets, [source.weight for source in config.phases[0].sources()])
    display.say(
        f"{parameters(run.shape):,} parameters · {run.schedule.total_tokens:,} tokens in {run.schedule.total_steps:,} "
        f"steps · unigram entropy of the shards {entropy:.3f} nats"
    )
    for folder, epochs in run.loader.epochs:
        if epochs > config.data.max_epochs:
            display.say(f"{folder}: read {epochs:.1f} times, more than data.max_epochs {config.data.max_epochs:g}")
    if cursor.step == 0:
        metrics.write(
            "start",
            config=asdict(config),
            shape=asdict(run.shape),
            parameters=parameters(run.shape),
            flops_per_token=flops_per_token(run.shape, sequence=run.schedule.sequence),
            unigram_entropy=entropy,
            epochs=dict(run.loader.epochs),
        )


def _evaluate(run: Run, built: Built, metrics: Metrics, display: Display) -> list[dict[str, Any]]:
    settings = run.config.evaluation
    folders = [settings.shards] if settings.shards else []
    if not folders:
        beside = (f"{source.shards}/holdout" for source in run.config.phases[-1].sources())
        folders = [folder for folder in beside if Path(folder).is_dir()]
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
        )
        results.append({"shards": folder, **figures})
        metrics.write("evaluation", **results[-1])
        for name, row in [("all", figures), *figures["domains"].items()]:
            if row["tokens"]:
                bits = f" · {row['bits_per_byte']:.3f} bits per byte" if row["bits_per_byte"] else ""
                display.say(f"held out, {name}: loss {row['loss']:.4f}{bits} · {row['tokens']:,} tokens")
    return results


def _micro_batches(run: Run, step: Step) -> Iterator[Samples]:
    """This rank's samples of a step, in micro-batches; the next one is fetched while one is computed."""
    data, size = run.groups.data, run.config.micro_batch_size
    share = step.sequences // data.size
    first = step.first_sample + data.rank * share
    pieces = [np.arange(i, min(i + size, first + share)) for i in range(first, first + share, size)]
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(run.loader.fetch, step.phase, pieces[0])
        for piece in [*pieces[1:], None]:
            ready = coming.result()
            if piece is not None:
                coming = pool.submit(run.loader.fetch, step.phase, piece)
            yield ready


def _to_device(samples: Samples, documents: str, device: torch.device) -> tuple:
    x, labels = torch.from_numpy(samples.tokens).to(device), torch.from_numpy(samples.labels).to(device)
    if documents == "joined":
        return x, labels, None, None
    return x, labels, torch.from_numpy(samples.positions).to(device), torch.from_numpy(samples.cu_seqlens).to(device)


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass
class _Stop:
    asked: bool = False


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """SIGTERM and SIGINT end the run after the step at hand; a second SIGINT interrupts at once."""
    stop = _Stop()

    def ask(number: int, _: object) -> None:
        stop.asked = True
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
