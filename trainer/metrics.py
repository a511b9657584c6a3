"""What a run writes down: metrics.jsonl for programs, train.log and a progress bar for people.

    {"event": "start", config, parameters, flops_per_token, unigram_entropy, ...}
    {"event": "step", step, tokens, phase, loss, learning_rate, grad_norm, tokens_per_s, seconds, memory_bytes, mfu?}
    {"event": "evaluation", shards, tokens, loss, bits_per_byte, domains}

`step` counts finished steps, `tokens` consumed ones; loss in nats per token. Rates are of the one step, so a restart
does not bend them. A resumed run cuts the lines past its checkpoint off and goes on in the same file.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

NAME = "metrics.jsonl"


class Metrics:
    """Files in `folder`. resumed_at: finished steps of the checkpoint, 0 for a fresh run, which starts new files."""

    def __init__(self, folder: str | Path, resumed_at: int):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        kept = _lines_until(path / NAME, resumed_at) if resumed_at else []
        _replace(path / NAME, kept)
        self._metrics = open(path / NAME, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._log = open(path / "train.log", "a" if resumed_at else "w", encoding="utf-8")  # noqa: SIM115

    def write(self, event: str, **values: Any) -> None:
        self._metrics.write(json.dumps({"event": event, **values}) + "\n")
        self._metrics.flush()

    def log(self, line: str) -> None:
        self._log.write(line + "\n")
        self._log.flush()

    def close(self) -> None:
        self._metrics.close()
        self._log.close()


class Display:
    """A progress bar on a terminal, otherwise a line every so many steps; both on standard error."""

    def __init__(self, total_tokens: int, every_steps: int):
        self._every, self._total = every_steps, total_tokens
        self._recent: deque[tuple[int, float]] = deque(maxlen=50)  # tokens and seconds of the latest steps
        self._bar: Any = None
        if sys.stderr.isatty():
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
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def eta_s(self, tokens: int, step_tokens: int, seconds: float) -> float:
        """Seconds left after `tokens` in all, from the mean rate of the last 50 steps, this one among them."""
        self._recent.append((step_tokens, seconds))
        rate = sum(t for t, _ in self._recent) / sum(s for _, s in self._recent)
        return max(0, self._total - tokens) / rate

    def step(self, step: int, tokens: int, line: str) -> None:
        """Shows a finished step."""
        if self._bar:
            self._bar.update(self._task, completed=tokens, line=line)
        elif step % self._every == 0 or step == 1:
            print(line, file=sys.stderr, flush=True)


def step_line(values: dict[str, Any], total_steps: int, eta_s: float) -> str:
    """One step in one line."""
    parts = [
        f"step {values['step']:,}/{total_steps:,}",
        f"{values['tokens']:,} tokens",
        f"loss {values['loss']:.4f}",
        f"lr {values['learning_rate']:.3e}",
        f"norm {values['grad_norm']:.3f}",
        f"{values['tokens_per_s']:,.0f} tokens/s",
        f"{values['memory_bytes'] / 1e9:.2f} GB",
        f"ETA {duration(eta_s)}",
    ]
    if "mfu" in values:
        parts.insert(6, f"MFU {values['mfu']:.1%} (attention non-causal)")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """3 h 05 min, 4 min 10 s, 7 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


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
