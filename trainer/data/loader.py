"""The stateless loader: sample number in, tokens out. Its only state is how many samples were consumed.

    sample g of phase p  ->  (source k, its j-th sample)      by `blend`, g counted from the phase's first sample
    (k, j)               ->  epoch j // N, window permute(j mod N)    by `permutation`, keyed by (seed, manifest, epoch)
    window               ->  s + 1 tokens                     by `shard_set`

A source that returns in a later phase goes on where it stopped, also under other weights. Which rank reads which
samples of a step is a slice of [g, g + B): any data-parallel size, batch ramp or restart sees the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gristmill.trainer.config.keys import Phase
from gristmill.trainer.config.schedule import Schedule
from gristmill.trainer.data.blend import Blend
from gristmill.trainer.data.permutation import key64, permute
from gristmill.trainer.data.shard_set import ShardSet
from gristmill.trainer.errors import ConfigError


@dataclass(frozen=True)
class Samples:
    """tokens, labels: int64 [n, s]; positions: int64 [n, s]; cu_seqlens: int32 [documents + 1] over n * s tokens;
    domains: int16 [n, s], of the document each label lies in, index into `Loader.domains`."""

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    cu_seqlens: np.ndarray
    domains: np.ndarray


def document_layout(begins: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """begins: per window, where documents start in it, the first 0 -> positions int64 [n, s], cu_seqlens int32."""
    rows = [np.arange(length) - np.repeat(begin, np.diff(np.append(begin, length))) for begin in begins]
    starts = [begin + row * length for row, begin in enumerate(begins)]
    return np.stack(rows), np.concatenate([*starts, [len(begins) * length]]).astype(np.int32)


class Loader:
    """The data of a run. schedule: gives each phase's first sample and the sequence length."""

    def __init__(self, phases: Sequence[Phase], schedule: Schedule, seed: int, block: int):
        self.schedule, self.seed = schedule, seed
        self.sets: list[ShardSet] = []  # distinct by content
        self._members: list[np.ndarray] = []  # per phase: index into `sets` of each source
        self._blends: list[Blend] = []
        self._offsets = []  # per phase: samples of each set that earlier phases took
        taken = np.zeros(0, np.int64)
        for index, phase in enumerate(phases):
            members = [self._add(source.shards) for source in phase.sources()]
            if len(set(members)) != len(members):
                raise ConfigError(f"phases.{index}.blend: a shard set is listed twice: add its weights up")
            try:
                blend = Blend([source.weight for source in phase.sources()], block)
            except ValueError as error:
                raise ConfigError(f"phases.{index}.blend: {error}") from error
            taken = np.concatenate([taken, np.zeros(len(self.sets) - len(taken), np.int64)])
            self._members.append(np.array(members))
            self._blends.append(blend)
            self._offsets.append(taken.copy())
            taken[members] += blend.counts(schedule.first_sample(index + 1) - schedule.first_sample(index))
        self.domains = sorted({domain for shard_set in self.sets for domain in shard_set.domains})
        self._domain_codes = [np.searchsorted(self.domains, s.domains).astype(np.int16) for s in self.sets]
        self.epochs = [(s.folder, int(n) / len(s)) for s, n in zip(self.sets, taken, strict=True)]

    def locate(self, phase: int, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """samples: int64 [n] of the run -> shard set, epoch, window, each int64 [n]."""
        source, local = self._blends[phase].locate(np.asarray(samples) - self.schedule.first_sample(phase))
        chosen = self._members[phase][source]
        local = local + self._offsets[phase][chosen]
        epoch, window = np.empty_like(local), np.empty_like(local)
        for member in np.unique(chosen):
            shard_set = self.sets[member]
            mine = chosen == member
            epoch[mine], place = np.divmod(local[mine], len(shard_set))
            images = np.empty_like(place)
            for e in np.unique(epoch[mine]):
                now = epoch[mine] == e
                key = key64(self.seed, "windows", shard_set.identity, int(e))
                images[now] = permute(place[now], len(shard_set), key)
            window[mine] = images
        return chosen, epoch, window

    def fetch(self, phase: int, samples: np.ndarray) -> Samples:
        """samples: int64 [n] of the run, all of one phase."""
        length = self.schedule.sequence
        chosen, _, window = self.locate(phase, samples)
        tokens = np.empty((len(window), length + 1), np.int64)
        domains = np.empty((len(window), length), np.int16)
        begins = []
        for row, (member, index) in enumerate(zip(chosen.tolist(), window.tolist(), strict=True)):
            found = self.sets[member].window(index)
            tokens[row], domains[row] = found.tokens, self._domain_codes[member][found.domains]
            begins.append(found.begins)
        return Samples(tokens[:, :-1], tokens[:, 1:], *document_layout(begins, length), domains)

    def consumed(self, phase: int, samples: int) -> dict[str, float]:
        """Folder -> epochs read of it when the run stands at `samples`, in `phase`; sources up to that phase."""
        offsets = self._offsets[phase].copy()
        offsets[self._members[phase]] += self._blends[phase].counts(samples - self.schedule.first_sample(phase))
        return {self.sets[i].folder: int(n) / len(self.sets[i]) for i, n in enumerate(offsets.tolist())}

    def members(self, phase: int) -> list[int]:
        """Index into `sets` of each source of a phase, in the configuration's order."""
        return self._members[phase].tolist()

    def _add(self, folder: str) -> int:
        new = ShardSet(folder, self.schedule.sequence)
        for i, held in enumerate(self.sets):
            if held.identity == new.identity:
                return i
        if len(new) == 0:
            raise ConfigError(
                f"{folder}: {new.tokens:,} tokens give no window of {self.schedule.sequence} + 1: "
                "lower sequence_length or add text"
            )
        self.sets.append(new)
        return len(self.sets) - 1
