"""What a run writes down: metrics.jsonl for programs, event files for TensorBoard, train.log and a bar for people.

    {"event": "start", config, parameters, flops_per_token, mfu_convention, unigram_entropy, processes, ...}
    {"event": "step", step, tokens, samples, phase, loss, loss_by_domain, learning_rate, grad_norm, seconds,
                      tokens_per_s, data_wait_s, memory_bytes, epochs, eta_s, skipped_steps, skipped?, mfu?}
    {"event": "evaluation", shards, tokens, loss, bits_per_byte, domains}

`step` counts finished steps, `tokens` and `samples` consumed ones; losses in nats per token; `epochs` says how often
each shard set has been read. Rates are of the one step, so a restart does not bend them, and of all ranks together;
MFU is per GPU. `memory_bytes` is rank 0's peak. A skipped step has the reason in `skipped`, and null for a figure that
is no number. A resumed run cuts the lines past its checkpoint off and goes on in the same file. Only rank 0 writes.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

from gristmill.terminal import takes_escapes
from gristmill.trainer.tensorboard import EventFile
from gristmill.wording import duration

NAME = "metrics.jsonl"
_PLAIN = {  # key of a step -> tag
    "loss": "loss/all",
    "learning_rate": "train/learning_rate",
    "grad_norm": "train/grad_norm",
    "skipped_steps": "train/skipped_steps",
    "tokens": "train/tokens",
    "tokens_per_s": "speed/tokens_per_s",
    "mfu": "speed/mfu",
    "seconds": "speed/seconds",
    "data_wait_s": "speed/data_wait_s",
    "memory_bytes": "memory/bytes",
}


class Metrics:
    """Files in `folder`; None writes nothing. resumed_at: finished steps of the checkpoint, 0: fresh, new files."""

    def __init__(self, folder: str | Path | None, resumed_at: int, tensorboard: bool = True):
        self._files: list[Any] = []
        if folder is None:
            return
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        kept = _lines_until(path / NAME, resumed_at) if resumed_at else []
        _replace(path / NAME, kept)
        self._metrics = open(path / NAME, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._log = open(path / "train.log", "a" if resumed_at else "w", encoding="utf-8")  # noqa: SIM115
        self._events = EventFile(path / "tensorboard", resumed_at) if tensorboard else None
        self._files = [self._metrics, self._log, *([self._events] if self._events else [])]

    def write(self, event: str, **values: Any) -> None:
        if self._files:
            self._metrics.write(json.dumps({"event": event, **_numbers(values)}, allow_nan=False) + "\n")
            self._metrics.flush()

    def step(self, values: dict[str, Any]) -> None:
        """A finished step: a line of metrics.jsonl and the scalars of TensorBoard."""
        self.write("step", **values)
        if self._files and self._events:
            plain = {tag: values[key] for key, tag in _PLAIN.items() if key in values}
            domains = {f"loss/{name or 'none'}": loss for name, loss in values["loss_by_domain"].items()}
            epochs = {f"epochs/{Path(folder).name}": epochs for folder, epochs in values["epochs"].items()}
            self._events.scalars(values["step"], {**plain, **domains, **epochs})

    def log(self, line: str) -> None:
        if self._files:
            self._log.write(line + "\n")
            self._log.flush()

    def close(self) -> None:
        for file in self._files:
            file.close()


def _numbers(value: Any) -> Any:
    """The same with None for what is no number, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _numbers(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Display:
    """A progress bar on a terminal, otherwise a line every so many steps; both on standard error. silent: neither."""

    def __init__(self, total_tokens: int, every_steps: int, silent: bool = False):
        self._every, self._total, self._silent = every_steps, total_tokens, silent
        self._recent: deque[tuple[int, float]] = deque(maxlen=50)  # tokens and seconds of the latest steps
        self._warming = True
        self._bar: Any = None
        if takes_escapes(sys.stderr) and not silent:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.percentage:>5.1f} %"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[line]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total_tokens, line="")

    def __enter__(self) -> Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._bar:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif not self._silent:
            print(text, file=sys.stderr, flush=True)

    def eta_s(self, tokens: int, step_tokens: int, seconds: float) -> float:
        """Seconds left after `tokens` in all, from the mean rate of the last 50 steps, this one among them; the first
        step of a process, which also warms everything up, counts only until there is another."""
        if self._warming and self._recent:
            self._recent.clear()
            self._warming = False
        self._recent.append((step_tokens, seconds))
        rate = sum(t for t, _ in self._recent) / sum(s for _, s in self._recent)
        return max(0, self._total - tokens) / rate

    def step(self, step: int, tokens: int, line: str) -> None:
        """Shows a finished step."""
        if self._bar:
            self._bar.update(self._task, completed=tokens, line=line)
        elif not self._silent and (step % self._every == 0 or step == 1):
            print(line, file=sys.stderr, flush=True)


def step_line(values: dict[str, Any], total_steps: int) -> str:
    """One step in one line."""
    parts = [
        f"step {values['step']:,}/{total_steps:,}",
        f"{values['tokens']:,} tokens",
        f"loss {values['loss']:.4f}",
        f"lr {values['learning_rate']:.3e}",
        f"norm {values['grad_norm']:.3f}",
        f"{values['tokens_per_s']:,.0f} tokens/s",
        f"{values['memory_bytes'] / 1e9:.2f} GB",
        f"ETA {duration(values['eta_s'])}",
    ]
    if "mfu" in values:
        parts.insert(6, f"MFU {values['mfu']:.1%} (attention non-causal)")
    if "skipped" in values:
        parts.insert(1, f"skipped, {values['skipped']}")
    return " · ".join(parts)


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """All events of a run, in order."""
    return [json.loads(line) for line in (Path(folder) / NAME).read_text("utf-8").splitlines()]


def _lines_until(path: Path, step: int) -> list[str]:
    if not path.exists():
        return []
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # the process died while it wrote this line
            break
        if event.get("step", 0) > step or event["event"] == "evaluation":
            break
        kept.append(line)
    return kept


def _replace(path: Path, lines: list[str]) -> None:
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text("".join(line + "\n" for line in lines), "utf-8")
    os.replace(partial, path)
