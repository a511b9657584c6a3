"""How likely a document is of the kind that a fastText classifier was trained to call good.

    quality = P(label | text), with the text's line ends as spaces

as in GPT-3 (Brown et al. 2020, Appendix A), LLaMA (Touvron et al. 2023, section 2.1) and DataComp-LM (Li et al. 2024,
section 4.4), which take a linear classifier over words for this. Any supervised fastText model serves;
`gristmill quality train` makes one. No model is shipped, so the stage is not in the default recipe.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.fasttext_model import Model, load
from gristmill.kernels.text.fasttext_predict import probabilities
from gristmill.stages.signals import with_columns

PREFIX = "__label__"


@dataclass(frozen=True)
class Quality:
    model: str = "models/quality.bin"
    """Path of a supervised fastText model, .bin or .ftz."""
    label: str = "good"
    """Whose probability is the score, with or without fastText's prefix `__label__`."""
    minimum: float | None = None
    """Documents below it are dropped; None: none is, the score is only measured."""
    domains: tuple[str, ...] = ("english", "multilingual")
    """Of which domains documents are scored; one of no domain yet is. A model trained on English text alone says little
    of other languages: write [english]."""

    name: ClassVar[str] = "quality"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain")
    adds: ClassVar[tuple[str, ...]] = ("quality",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", tuple(self.domains))
        if self.minimum is not None and not 0.0 <= self.minimum <= 1.0:
            raise ValueError(f"stages.quality.minimum: {self.minimum} is no probability; give 0 to 1, or leave it out")
        if unknown := set(self.domains) - {"english", "multilingual", "code"}:
            raise ValueError(
                f"stages.quality.domains: unknown domain {min(unknown)!r}; use english, multilingual and code"
            )

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Adds `quality` (float64) and, with a minimum, dropped_by = quality.score, value and limit.

        Null for documents without text, already out or of other domains. ValueError where the model lacks the label.
        """
        rows, names = batch.num_rows, batch.schema.names
        before = {
            name: batch.column(name) if name in names else pa.nulls(rows, kind) for name, kind in _VERDICTS.items()
        }
        domain = batch.column("domain")
        wanted = pc.and_(batch.column("text").is_valid(), before["dropped_by"].is_null())
        if "quarantined_by" in names:
            wanted = pc.and_(wanted, batch.column("quarantined_by").is_null())
        wanted = pc.and_(wanted, pc.or_(domain.is_null(), pc.is_in(domain, pa.array(self.domains, pa.string()))))
        at = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
        model, label = found(self.model, self.label)
        texts = batch.column("text") if len(at) == rows else batch.column("text").take(pa.array(at))
        values = np.zeros(rows)
        values[at] = probabilities(texts, model, label)
        score = pa.array(values, pa.float64(), mask=~wanted.to_numpy(zero_copy_only=False))
        columns = {"quality": score}
        if self.minimum is not None:
            low = pc.fill_null(pc.less(score, self.minimum), False)
            columns["dropped_by"] = pc.if_else(low, "quality.score", before["dropped_by"])
            columns["value"] = pc.if_else(low, score, before["value"])
            columns["limit"] = pc.if_else(low, self.minimum, before["limit"])
        return with_columns(batch, columns)


_VERDICTS = {"dropped_by": pa.string(), "value": pa.float64(), "limit": pa.float64()}


def found(path: str, label: str) -> tuple[Model, int]:
    """(model, number of the label). FileNotFoundError, ValueError in one sentence."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"stages.quality.model: no file {path}; train one with `gristmill quality train`, or give another path"
        )
    model = load(path)
    names = [name.removeprefix(PREFIX) for name in model.labels]
    if label.removeprefix(PREFIX) not in names:
        shown = ", ".join(names[:10]) + (" and others" if len(names) > 10 else "")
        raise ValueError(f"stages.quality.label: {path} has no label {label!r}; it has {shown}")
    return model, names.index(label.removeprefix(PREFIX))
