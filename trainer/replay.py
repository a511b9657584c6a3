"""`--replay STEP`: the samples of a past or future step, as text.

The loader has no state, so the batch of any step follows from the configuration. Step numbers are those of
metrics.jsonl: the first is 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gristmill.trainer.config.keys import Config
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.setup import plan_run
from gristmill.wording import plural


def replay(config: Config, number: int) -> Iterator[str]:
    """A line about the step, then per sample a line of where it is from and its text, or its ids without tokenizer."""
    run = plan_run(config, Groups())
    step = run.schedule.step(number - 1)
    if step is None:
        raise ConfigError(f"--replay {number}: this run has the steps 1 to {run.schedule.total_steps:,}")
    yield (
        f"step {number}: phase {step.phase}, samples {step.first_sample:,} to "
        f"{step.first_sample + step.sequences - 1:,}, learning rate {step.learning_rate:.4e}"
    )
    decode = _decoder(config)
    for sample in range(step.first_sample, step.first_sample + step.sequences):
        member, epoch, window = (int(x[0]) for x in run.loader.locate(step.phase, np.array([sample])))
        fetched = run.loader.fetch(step.phase, np.array([sample]))
        yield (
            f"--- sample {sample:,}: {run.loader.sets[member].folder}, window {window:,}, epoch {epoch}, "
            f"{plural(len(fetched.cu_seqlens) - 1, 'document')}"
        )
        yield decode(fetched.tokens[0])


def _decoder(config: Config):
    if config.tokenizer is None:
        return lambda ids: " ".join(map(str, ids.tolist()))
    from gristmill.tokenizer.encode import Encoder

    path = Path(config.tokenizer)
    try:
        encoder = Encoder(path / "tokenizer.model" if path.is_dir() else path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return lambda ids: encoder.decode(ids.astype(np.int32))
