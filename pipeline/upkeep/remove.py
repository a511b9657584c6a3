"""Carries out removal requests: the list, the run that leaves them out, and the deletion of what was held of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from gristmill.pipeline.config.keys import Config
from gristmill.pipeline.engine.engine import Progress
from gristmill.pipeline.run import run
from gristmill.pipeline.steps.record import InvocationRecord
from gristmill.pipeline.steps.removal import request
from gristmill.pipeline.upkeep.clean import clean
from gristmill.storage.json_values import Json
from gristmill.storage.lease import Lease
from gristmill.storage.store import Store


@dataclass(frozen=True)
class Removal:
    new: int
    before: int
    """Lines of the list that an earlier list named."""
    unknown: tuple[str, ...]
    """Lines of the list that name no document of the output, now or before."""
    removed: int
    """Documents that are left out of this output now."""
    computed: int
    """Tasks that were run."""
    reused: int
    """Tasks whose result stands, because they read nothing of the removed documents."""
    files: int
    freed: int
    """Files and bytes deleted below `work/`."""
    summary: tuple[str, ...]

    def to_dict(self) -> dict[str, Json]:
        return asdict(self)


def remove(
    config: Config,
    lines: Iterable[str],
    name: str,
    *,
    workers: int | None = None,
    inline: bool = False,
    progress: Progress | None = None,
    invocation: InvocationRecord | None = None,
) -> Removal:
    """`lines`: ids or URLs; `name`: where they come from, for messages. invocation: of the run, for its record.

    Raises what `run` raises. Where the run fails, the list stands, and the same command or `gristmill run` goes on.
    """
    store = Store(config.output)
    if not store.exists("run.json"):
        raise ValueError(f"{store.location()}: holds no run.json; removal needs the output of a finished run")
    with Lease(store):  # not while a run reads the list
        requested = request(store, lines, name)
    result = run(config, workers=workers, inline=inline, progress=progress, invocation=invocation)
    steps = result.record["steps"]
    computed = sum(step["computed"] for step in steps)
    files, freed = clean(config.output)
    total = sum(step["tasks"] for step in steps)
    return Removal(
        requested.new,
        requested.before,
        requested.unknown,
        len(requested.removed),
        computed,
        total - computed,
        files,
        freed,
        tuple(result.summary),
    )
