"""Which natural language a document is in, by fastText's lid.176, and from that its domain.

The label is the model's first choice over the whole text with line ends as spaces (Joulin et al. 2017,
arXiv:1607.01759); its probability must reach 0.5 (CCNet, Wenzek et al. 2019, section 3.3). The domain follows: code
where the row holds code, english for en, else multilingual. Source code keeps the programming language that its
reader gave it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.languages import DEFAULT_LANGUAGES, iso_code

LABEL_PREFIX = "__label__"


@dataclass(frozen=True)
class Language:
    model: str = "models/lid.176.ftz"
    """Path of a fastText model with labels like those of lid.176; `make model` obtains it."""
    min_score: float = 0.5
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    """ISO 639-1 codes that are kept; of code every language is."""

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text",)
    adds: ClassVar[tuple[str, ...]] = ("language", "language_score", "domain")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("model",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"stages.language.min_score: {self.min_score} is no probability; give 0 to 1")
        object.__setattr__(self, "languages", tuple(self.languages))
        for code in self.languages:
            if iso_code(code) != code:
                raise ValueError(f"stages.language.languages: write {iso_code(code)!r} in place of {code!r}")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `language`, `domain`, `language_score` (float64, null for code) and the verdict columns
        dropped_by, value, limit. In the order of decision:

            language.score       value: the score, limit: min_score
            language.unlisted    a language outside `languages`; value: the score
            language.unexpected  the source is restricted to another domain; value: the score

        Rows that have no text or are already out stay as they are.
        """
        rows = batch.num_rows
        verdicts = {name: _verdict(batch, name, kind) for name, kind in _VERDICTS.items()}
        domains = _strings(batch, "domain")
        alive = pc.and_(batch.column("text").is_valid(), verdicts["dropped_by"].is_null())
        if "quarantined_by" in batch.schema.names:
            alive = pc.and_(alive, batch.column("quarantined_by").is_null())
        prose = pc.and_(alive, pc.fill_null(pc.not_equal(domains, "code"), True))
        at = np.flatnonzero(prose.to_numpy(zero_copy_only=False))

        names, scores = identify(batch.column("text").take(pa.array(at)), self.model)
        names_all, scores_all = _scatter(names, at, rows), _scatter(scores, at, rows)
        language = pc.if_else(prose, names_all, _strings(batch, "language"))
        decided = pc.if_else(pc.equal(names_all, "en"), "english", "multilingual")
        domain = pc.if_else(prose, pc.fill_null(decided, "multilingual"), domains)

        low = pc.fill_null(pc.less(scores_all, self.min_score), False)
        unlisted = pc.invert(pc.is_in(names_all, pa.array(self.languages, pa.string())))
        unexpected = pc.fill_null(pc.not_equal(domains, decided), False)
        reason = pc.if_else(
            low,
            "language.score",
            pc.if_else(unlisted, "language.unlisted", pc.if_else(unexpected, "language.unexpected", _NO_REASON)),
        )
        reason = pc.if_else(prose, reason, _NO_REASON)
        fails = reason.is_valid()
        replaced = {
            "language": language,
            "language_score": scores_all,
            "domain": domain,
            "dropped_by": pc.coalesce(verdicts["dropped_by"], reason),
            "value": pc.if_else(fails, scores_all, verdicts["value"]),
            "limit": pc.if_else(pc.and_(fails, low), self.min_score, verdicts["limit"]),
        }
        columns = {**{name: batch.column(name) for name in batch.schema.names}, **replaced}
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


SLICE_BYTES = 1_000_000
"""Text that fastText is given at once, as Python strings, which take up to four times as much."""

_VERDICTS = {"dropped_by": pa.string(), "value": pa.float64(), "limit": pa.float64()}
_NO_REASON = pa.scalar(None, pa.string())


def identify(texts: pa.Array, model: str) -> tuple[pa.Array, pa.Array]:
    """(languages string, scores float64) of (n,) texts; language null and score 0 for a text without a word.

    Scores are the model's float32 probabilities, at most 1 (its table of logarithms reaches 1.00001).
    """
    codes: list[str | None] = []
    values: list[float] = []
    size = pc.fill_null(pc.binary_length(texts), 0).to_numpy().astype(np.int64)
    group = (np.cumsum(size) - size) // SLICE_BYTES
    bounds = [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(texts)]
    for first, end in pairwise(bounds if len(texts) else []):
        lines = pc.replace_substring(texts.slice(first, end - first), "\n", " ").to_pylist()
        # the Python wrapper's own list form copies each probability into an array of numpy, one by one
        labels, scores = _load(model).f.multilinePredict([line + "\n" for line in lines], 1, 0.0, "strict")
        codes += [_code(found[0]) if found else None for found in labels]
        values += [min(1.0, float(found[0])) if len(found) else 0.0 for found in scores]
    return pa.array(codes, pa.string()), pa.array(values, pa.float64())


@lru_cache(maxsize=1024)
def _code(label: str) -> str:
    return iso_code(label.removeprefix(LABEL_PREFIX))


@lru_cache(maxsize=2)
def _load(path: str) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"stages.language.model: no file {path}; run `make model` or give the path of lid.176.ftz"
        )
    import fasttext

    fasttext.FastText.eprint = lambda *args, **kwargs: None  # a deprecation notice at each load
    return fasttext.load_model(path)


def _strings(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, pa.string())


def _verdict(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)


def _scatter(values: pa.Array, at: np.ndarray, rows: int) -> pa.Array:
    """`values` at the rows `at`, null elsewhere."""
    place = np.full(rows, -1, np.int64)
    place[at] = np.arange(len(at))
    return values.take(pa.array(place, mask=place < 0))
