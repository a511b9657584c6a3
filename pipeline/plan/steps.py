"""The steps of a run as `pipeline.run.Driver` has them, one after the other: their tasks, amounts and exchanges.

Partitions, buckets of `curated/`, token files and shards are counted by the rules of the modules that cut them. What a
step costs is in `pipeline.plan.costs`; how much there is at each point in `pipeline.plan.volumes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gristmill.pipeline.plan.costs import Costs, peak
from gristmill.pipeline.plan.exchange import Shuffle
from gristmill.pipeline.plan.volumes import Amount, BlendVolume, Volumes
from gristmill.pipeline.steps.blending import PART_TOKENS
from gristmill.stages.interface import CorpusStage, Stage

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config

ID_BYTES = 4
"""Of a token."""

NEMO_BANDS = 20
"""For which near_dedup was measured: `stages.near_dedup.PRESETS`."""


@dataclass
class Planning:
    """Its methods are those of `pipeline.run.Driver`, in its order."""

    config: Config
    volumes: Volumes
    costs: Costs

    def run(self) -> None:
        from gristmill.pipeline.config.order import order

        volumes = self.volumes
        stages = order(self.config.stages)
        self.first_pass(stages.first)
        named: dict[str, Stage] = {stage.name: stage for stage in stages.deciding}
        for name, amount in volumes.funnel.items():
            if name.startswith("curate"):
                continue
            stage = named.get(name)
            if stage is None:
                from gristmill.stages.registry import UNIQUE_IDS, load

                stage = load(UNIQUE_IDS)()
            if isinstance(stage, CorpusStage):
                self.corpus_stage(stage, amount)
            else:
                read = self.signal_bytes + volumes.partitions * self.costs.rates.steps["rules"].task_written
                read += self.text_bytes if "text" in stage.needs else 0.0
                extra = self.seconds_of([stage], amount.bytes)
                self.costs.add(name, "rules", volumes.partitions, work(amount), volumes.largest, read, 2, extra=extra)
        token_files = self.curate(stages.late)
        self.tokenize(token_files)
        for name, blend in volumes.blends.items():
            self.blend(f"blend/{name}", blend, token_files)

    @property
    def text_bytes(self) -> float:
        """The first pass's documents, as stored."""
        return sum(part.bytes * self.costs.rates.kind(part.kind).documents for part in self.volumes.parts)

    @property
    def signal_bytes(self) -> float:
        return sum(part.bytes * self.costs.rates.kind(part.kind).signals for part in self.volumes.parts)

    def seconds_of(self, stages: Iterable[Stage], size: float) -> float:
        """Of stages that the measured runs did not have, over `size` bytes of text."""
        return sum(size * self.costs.rates.stage_seconds.get(stage.name, 0.0) for stage in stages)

    def first_pass(self, stages: Iterable[Stage]) -> None:
        volumes, rate = self.volumes, self.costs.rates.steps["read"]
        more = self.seconds_of(stages, 1.0)
        speeds = [(part, self.costs.rates.kind(part.kind).seconds + more) for part in volumes.parts]
        cost = sum(part.bytes * speed for part, speed in speeds)
        largest = max((part.largest for part in volumes.parts), default=0.0)
        slowest = max(part.largest * speed for part, speed in speeds) if speeds else 0.0
        written = self.text_bytes + self.signal_bytes + volumes.partitions * rate.task_written
        self.costs.append(
            "read",
            rate,
            volumes.partitions,
            cost,
            slowest,
            sum(part.stored for part in volumes.parts),
            written,
            peak(rate, largest, largest),
            gets=2 * sum(part.files for part in volumes.parts),
            puts=3 * volumes.partitions,
        )
        self.costs.publish(2 * volumes.partitions, self.signal_bytes)

    def corpus_stage(self, stage: CorpusStage, amount: Amount) -> None:
        volumes, count = self.volumes, self.volumes.partitions
        received: Shuffle | None = None
        bands = getattr(getattr(stage, "parameters", None), "bands", NEMO_BANDS) / NEMO_BANDS
        for each in stage.rounds():
            documents = each.over == "documents"
            text = "text" in each.columns
            tasks = count if documents else received.receivers if received else 1
            read = 0.0
            if documents:
                read = self.text_bytes if text else amount.documents * self.costs.rates.column_bytes
            received = self.costs.add(
                f"{stage.name}.{each.method}",
                "exact_dedup.key" if documents else "exact_dedup.survivors",
                tasks,
                work(amount),
                volumes.largest if documents else 1 / tasks,
                read,
                1,
                received,
                receivers=1 if each.send == "one" else count,
                more=bands if text else 1.0,
            )
        read = amount.documents * self.costs.rates.column_bytes
        self.costs.add(stage.name, "exact_dedup", count, work(amount), volumes.largest, read, 2, received)
        self.costs.publish(count, 0.0)

    def curate(self, stages: Iterable[Stage]) -> int:
        """Two steps; returns how many tasks the second has, which is how many files of tokens there will be."""
        volumes = self.volumes
        buckets, tasks = cut(volumes.groups, self.config.sizes.partition_bytes)
        sent = self.costs.add(
            "curate.send",
            "curate.send",
            volumes.partitions,
            work(volumes.funnel["curate.send"]),
            volumes.largest,
            self.text_bytes,
            2,
            receivers=buckets,
            per_sender=groups_of_a_partition(volumes),
            extra=self.seconds_of(stages, volumes.funnel["curate.send"].bytes),
        )
        largest = min(self.config.sizes.partition_bytes, max(volumes.groups.values(), default=0.0))
        largest /= volumes.curated.bytes or 1.0
        self.costs.add("curate", "curate", tasks, work(volumes.curated), largest, 0.0, max(1, buckets // tasks), sent)
        self.costs.publish(buckets, self.costs.written)
        return tasks

    def tokenize(self, tasks: int) -> None:
        volumes = self.volumes
        stored = self.costs.written
        even = 1 / tasks
        curated = work(volumes.curated)
        if not self.config.tokenizer.path:
            self.costs.add("tokenizer.sample", "", tasks, curated, even, stored, 1)
            rate = self.costs.rates.steps["tokenizer.sample"]
            self.costs.rewrite(rate.written * volumes.sample + tasks * rate.task_written)
            read = self.costs.written
            self.costs.add("tokenizer.train", "", 1, {"bytes": volumes.sample}, 1.0, read, 4)
            files = self.costs.rates.piece_bytes * self.config.sizes.vocab_size
            self.costs.rewrite(files)
            self.costs.publish(4, files)
        amounts = {**curated, "tokens": volumes.tokens}
        self.costs.add("tokenize", "", tasks, amounts, even, stored, 1)
        self.costs.add(
            "blend.units", "", tasks, amounts, even, volumes.curated.documents * self.costs.rates.column_bytes, 0
        )

    def blend(self, name: str, blend: BlendVolume, files: int) -> None:
        ids = next(step.bytes_written for step in self.costs.steps if step.name == "tokenize")
        copies = {"copies": blend.copies, "tokens": float(blend.tokens), "bytes": ID_BYTES * blend.tokens}
        columns = self.volumes.curated.documents * self.costs.rates.column_bytes
        even = 1 / files
        order = self.costs.add(f"{name}/order", "", files, copies, even, columns, 1, receivers=files)
        self.costs.add(f"{name}/sums", "", files, copies, even, 0.0, 1, order)
        self.costs.add(f"{name}/select", "", files, copies, even, self.costs.written, 1)
        placed = self.costs.add(f"{name}/place", "", files, copies, even, self.costs.written, 1, receivers=files)
        pieces = max(1, math.ceil(min(blend.tokens, self.config.sizes.tokens_per_shard) / PART_TOKENS))
        sent = self.costs.add(
            f"{name}/scatter", "", files, copies, even, ids, 1, placed, receivers=blend.shards * pieces
        )
        largest = blend.shard_tokens / (blend.tokens or 1.0)
        self.costs.add(f"{name}/write", "", blend.shards, copies, largest, 0.0, 3, sent)
        written = 6 if "datatrove" in self.config.shards.formats else 3
        self.costs.publish(written * blend.shards, self.costs.written)


def groups_of_a_partition(volumes: Volumes) -> float:
    """How many (domain, language) groups a partition has documents of: groups of n meet 1 - e^(-n / partitions)."""
    documents = volumes.curated.documents / (volumes.curated.bytes or 1.0) / volumes.partitions
    return sum(-math.expm1(-size * documents) for size in volumes.groups.values())


def work(amount: Amount) -> dict[str, float]:
    return {"documents": amount.documents, "bytes": amount.bytes}


def cut(groups: Mapping[tuple[str, str], float], partition_bytes: int) -> tuple[int, int]:
    """(buckets, tasks) of `pipeline.steps.curate`: slices of the groups in order, packed while they fit a partition."""
    buckets = tasks = 0
    room = -1.0
    for key in sorted(groups):
        whole, rest = divmod(groups[key], partition_bytes)
        if whole:
            buckets, tasks, room = buckets + int(whole), tasks + int(whole), 0.0
        if rest >= 1:
            buckets += 1
            if rest > room:
                tasks, room = tasks + 1, float(partition_bytes)
            room -= rest
    return max(1, buckets), max(1, tasks)
