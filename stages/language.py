"""Which natural language a document is in, by fastText's lid.176, and from that its domain.

The label is the model's first choice over the whole text with line ends as spaces (Joulin et al. 2017,
arXiv:1607.01759); its probability must reach 0.5 (CCNet, Wenzek et al. 2019, section 3.3). The domain follows: code
where the row holds code, english for en, else multilingual. Source code keeps the programming language that its
reader gave it. What a source said itself stays as `language_labelled`, and decides nothing. The model is read by
`kernels.text.fasttext_predict`, whose choices are the library's; `engine: fasttext` asks the library itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill import user_data
from gristmill.extras import require
from gristmill.kernels.text.fasttext_model import load
from gristmill.kernels.text.fasttext_predict import WINDOWS, line_shares, predict
from gristmill.stages.languages import DEFAULT_LANGUAGES, iso_code
from gristmill.stages.signals import with_columns

ENGINES = ("gristmill", "fasttext")
LINE_BYTES = 64
"""Shorter lines do not count in `language_share`: names, numbers and menu entries are too little to tell a language
by. Of the lines of 64 to 95 bytes in English news and papers 96 % are found English, of those under 16 76 %
(benchmarks/language.py)."""


@dataclass(frozen=True)
class Language:
    model: str = "models/lid.176.ftz"
    """Path of a fastText model with labels like those of lid.176; `gristmill fetch` gets it."""
    min_score: float = 0.5
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    """ISO 639-1 codes that are kept; of code every language is."""
    window: str = "whole"
    """How much of a text is read: whole; first: its first `window_bytes`; three: a third of that at the beginning, in
    the middle and at the end."""
    window_bytes: int = 3000
    line_share: bool = False
    """Whether the lines of a document are identified one by one, for `language_share`."""
    engine: str = "gristmill"
    """gristmill: `kernels.text.fasttext_predict`; fasttext: the library, the same choices several times slower."""

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("text",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("model",)

    @property
    def libraries(self) -> tuple[str, ...]:
        return ("fasttext",) if self.engine == "fasttext" else ()

    @property
    def adds(self) -> tuple[str, ...]:
        return ("language", "language_labelled", "language_score", "domain", *["language_share"] * self.line_share)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f"stages.language.min_score: {self.min_score} is no probability; give 0 to 1")
        if self.window not in WINDOWS:
            raise ValueError(f"stages.language.window: unknown window {self.window!r}; use {', '.join(WINDOWS)}")
        if self.window_bytes < 1:
            raise ValueError(f"stages.language.window_bytes: {self.window_bytes} is nothing to read; give 1 or more")
        if self.engine not in ENGINES:
            raise ValueError(f"stages.language.engine: unknown engine {self.engine!r}; use {' or '.join(ENGINES)}")
        for package in self.libraries:
            require(package, f"stages.language.engine: {self.engine}")
        object.__setattr__(self, "languages", tuple(self.languages))
        for code in self.languages:
            if iso_code(code) != code:
                raise ValueError(f"stages.language.languages: write {iso_code(code)!r} in place of {code!r}")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `language`, `domain` and adds

            language_score     float64: the model's probability
            language_labelled  string: the language that the source stated, as an ISO 639-1 code; null where it did not
            language_share     float64, with `line_share`: of the bytes of lines of LINE_BYTES or more, the share of
                               lines that alone are identified as the document's language; null without such a line

        all of them null for code. Verdict columns dropped_by, value, limit; in the order of decision:

            language.score       value: the score, limit: min_score
            language.unlisted    a language outside `languages`; value: the score
            language.unexpected  the source is restricted to another domain; value: the score

        Rows that have no text or are already out stay as they are.
        """
        rows = batch.num_rows
        verdicts = {name: _column(batch, name, kind) for name, kind in _VERDICTS.items()}
        domains, stated = _strings(batch, "domain"), _strings(batch, "language")
        alive = pc.and_(batch.column("text").is_valid(), verdicts["dropped_by"].is_null())
        if "quarantined_by" in batch.schema.names:
            alive = pc.and_(alive, batch.column("quarantined_by").is_null())
        prose = pc.and_(alive, pc.fill_null(pc.not_equal(domains, "code"), True))
        at = np.flatnonzero(prose.to_numpy(zero_copy_only=False))

        texts = batch.column("text") if len(at) == rows else batch.column("text").take(pa.array(at))
        names, scores = identify(texts, self.model, self.window, self.window_bytes, self.engine)
        names_all, scores_all = _scatter(names, at, rows), _scatter(scores, at, rows)
        language = pc.if_else(prose, names_all, stated)
        decided = pc.if_else(pc.equal(names_all, "en"), "english", "multilingual")
        domain = pc.if_else(prose, pc.fill_null(decided, "multilingual"), domains)

        low = pc.fill_null(pc.less(scores_all, self.min_score), False)
        unlisted = pc.invert(pc.is_in(names_all, pa.array(self.languages, pa.string())))
        unexpected = pc.fill_null(pc.and_(pc.not_equal(domains, decided), pc.not_equal(domains, "prose")), False)
        reason = pc.if_else(
            low,
            "language.score",
            pc.if_else(unlisted, "language.unlisted", pc.if_else(unexpected, "language.unexpected", _NO_REASON)),
        )
        reason = pc.if_else(prose, reason, _NO_REASON)
        fails = reason.is_valid()
        added = {
            "language": language,
            "language_score": scores_all,
            "language_labelled": pc.if_else(prose, labelled(stated), pa.scalar(None, pa.string())),
            "domain": domain,
            "dropped_by": pc.coalesce(verdicts["dropped_by"], reason),
            "value": pc.if_else(fails, scores_all, verdicts["value"]),
            "limit": pc.if_else(pc.and_(fails, low), self.min_score, verdicts["limit"]),
        }
        if self.line_share:
            added["language_share"] = _scatter(shares(texts, names, self.model, self.engine), at, rows)
        return with_columns(batch, added)


_VERDICTS = {"dropped_by": pa.string(), "value": pa.float64(), "limit": pa.float64()}
_NO_REASON = pa.scalar(None, pa.string())


def identify(
    texts: pa.Array, model: str, window: str = "whole", window_bytes: int = 0, engine: str = "gristmill"
) -> tuple[pa.Array, pa.Array]:
    """(languages string, scores float64) of (n,) texts; language null and score 0 for a text without a word.

    Scores are the model's float32 probabilities, at most 1 (its table of logarithms reaches 1.00001).
    """
    model = _file(model)
    if engine == "fasttext":
        from gristmill.stages.language_fasttext import predict as by_library

        names, probabilities = by_library(texts, model, window, window_bytes)
        return pa.array([name and iso_code(name) for name in names], pa.string()), pa.array(probabilities)
    found = load(model)
    labels, scores = predict(texts, found, window, window_bytes)
    codes = pa.array([iso_code(label) for label in found.labels], pa.string())
    return codes.take(pa.array(labels, mask=labels < 0)), pa.array(scores, pa.float64())


def shares(texts: pa.Array, languages: pa.Array, model: str, engine: str = "gristmill") -> pa.Array:
    """(n,) float64: `language_share` of texts whose languages are (n,) codes of `identify`."""
    model = _file(model)
    if engine == "fasttext":
        from gristmill.stages.language_fasttext import line_shares as by_library

        values = by_library(texts, model, languages.to_pylist(), iso_code, LINE_BYTES)
        return pa.array(values, pa.float64(), mask=np.isnan(values))
    found = load(model)
    codes = [iso_code(label) for label in found.labels]
    number = {code: i for i, code in enumerate(dict.fromkeys(codes))}
    groups = np.array([number[code] for code in codes], np.int64)
    coded = languages.dictionary_encode()
    wanted = np.array([number.get(code, -1) for code in coded.dictionary.to_pylist()] + [-1], np.int64)
    wanted = wanted[pc.fill_null(coded.indices, len(wanted) - 1).to_numpy(zero_copy_only=False)]
    values = line_shares(texts, found, groups, wanted, LINE_BYTES)
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def labelled(stated: pa.Array) -> pa.Array:
    """(n,) string: stated languages as ISO 639-1 codes."""
    coded = stated.dictionary_encode()
    codes = pa.array([iso_code(name) or None for name in coded.dictionary.to_pylist()], pa.string())
    return codes.take(coded.indices)


def _file(path: str) -> str:
    """Where the model is: at its path, or where `gristmill fetch` has put it."""
    path = user_data.found(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"stages.language.model: no file {path}; {user_data.remedy(path)}")
    return path


def _strings(batch: pa.RecordBatch, name: str) -> pa.Array:
    return _column(batch, name, pa.string())


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)


def _scatter(values: pa.Array, at: np.ndarray, rows: int) -> pa.Array:
    """`values` at the rows `at`, null elsewhere."""
    place = np.full(rows, -1, np.int64)
    place[at] = np.arange(len(at))
    return values.take(pa.array(place, mask=place < 0))
