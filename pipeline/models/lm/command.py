"""What the words of `gristmill lm train` mean: options from text, where the text comes from, and how it is cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gristmill.pipeline.config.keys import RuntimeConfig, load
from gristmill.pipeline.engine.engine import Progress
from gristmill.pipeline.models.lm.options import Options
from gristmill.pipeline.models.lm.train import Trained, train


def trained(
    source: str,
    texts: Sequence[str],
    *,
    columns: str,
    output: str,
    languages: str,
    categories: str,
    prune: str,
    memory: int | None,
    seed: int | None,
    workers: int | None,
    inline: bool,
    progress: Progress,
    **numbers: Any,
) -> Trained:
    """source: a configuration, or the output of a run, not looked at where there are `texts`."""
    config = None if texts or not re.search(r"\.ya?ml$", source) else load(source)
    try:
        counts = tuple(int(count) for count in prune.split(","))
    except ValueError:
        raise ValueError(f"--prune {prune}: write counts with commas between them, as in 0,0,1") from None
    options = Options(
        languages=tuple(words(languages)),
        categories=tuple(words(categories)),
        prune=counts,
        seed=seed if seed is not None else config.seed if config is not None else 1,
        columns=named(columns),
        **numbers,
    )
    runtime = config.runtime if config is not None else RuntimeConfig()
    if memory is not None:
        runtime = replace(runtime, memory_per_worker=memory)
    return train(
        options,
        output,
        curated=None if texts else config.output if config is not None else source,
        texts=texts,
        plan=config.plan if config is not None else None,
        runtime=runtime,
        workers=workers,
        inline=inline,
        progress=progress,
    )


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def named(columns: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in words(columns)]
    for ours, equals, theirs in pairs:
        if not (ours and equals and theirs):
            raise ValueError(f"--columns {columns}: write ours=theirs, as in text=content,language=lang")
    return {ours: theirs for ours, _, theirs in pairs}
