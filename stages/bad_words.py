"""How many words and phrases of a list of bad words a document holds: C4's page filter, with lists of one's own.

Raffel et al. 2020, section 2.2: "we removed any page that contained any word on the List of Dirty, Naughty, Obscene or
Otherwise Bad Words". No list is shipped. A list is a text file of UTF-8, a word or phrase a line, named for its
language: `en`, `en.txt`. In Japanese, Chinese and the other scripts written without spaces an entry may stand anywhere
(datatrove, C4BadWordsFilter: ja, th, zh), elsewhere it needs boundaries (`kernels.text.wordlist`).

It counts; the preset `c4_bad_words` drops. It stands behind `lines`, so that what stays is what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.languages import iso_code
from gristmill.stages.signal_table import Signal
from gristmill.stages.signals import with_columns

if TYPE_CHECKING:
    from gristmill.kernels.text.wordlist import Lists

BAD_WORDS = Signal(
    "bad_words",
    "occurrences",
    "places where a word or phrase of the language's list stands; null for languages without a list, and for the share "
    "of documents that `keep` lets pass",
    "bad_words",
)

UNSPACED = frozenset({"ja", "zh", "th", "lo", "km", "my", "bo", "dz"})
"""Languages written without spaces between words."""

_NAME = re.compile(r"(?P<language>[A-Za-z]{2,3})(?:[-_][A-Za-z0-9_-]+)?(?:\.txt)?")


@dataclass(frozen=True)
class BadWords:
    lists: str | tuple[str, ...] = ()
    """A folder of lists, a list, or several; of a folder, files whose names are no language are passed over."""
    keep: float = 0.0
    """Share of the documents that is let pass whatever it holds, by a draw of its id; datatrove calls it
    keep_fraction."""
    seed: int = 1
    """Of that draw."""

    name: ClassVar[str] = "bad_words"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("id", "text", "domain", "language")
    adds: ClassVar[tuple[str, ...]] = ("bad_words",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("lists",)

    def __post_init__(self) -> None:
        if isinstance(self.lists, list):
            object.__setattr__(self, "lists", tuple(self.lists))
        if not self.lists:
            raise ValueError("stages.bad_words.lists: names no list; give a folder with files such as en.txt, or files")
        if not 0.0 <= self.keep <= 1.0:
            raise ValueError(f"stages.bad_words.keep: {self.keep} is no share; give 0 to 1")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `bad_words` (int64). Null for code, for null texts, and see `BAD_WORDS`."""
        from gristmill.kernels.text import utf8
        from gristmill.kernels.text.draw import draw, uniform
        from gristmill.kernels.text.wordlist import count

        languages, lists = _lists((self.lists,) if isinstance(self.lists, str) else self.lists)
        text, language = batch.column("text"), batch.column("language")
        natural = pc.fill_null(pc.not_equal(batch.column("domain"), "code"), True)
        at = pc.if_else(
            pc.and_(natural, text.is_valid()), pc.index_in(language, pa.array(languages, language.type)), None
        )
        which = pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        if self.keep:
            which[uniform(draw(self.seed, "bad_words", batch.column("id"))) < self.keep] = -1
        data, offsets = utf8.buffers(text)
        found = count(data, offsets, which, lists)
        return with_columns(batch, {"bad_words": pa.array(found, pa.int64(), mask=which < 0)})


@lru_cache(maxsize=4)
def _lists(paths: Sequence[str]) -> tuple[list[str], Lists]:
    """(languages, their lists compiled)."""
    from gristmill.kernels.text.wordlist import compiled

    entries: dict[str, dict[str, None]] = {}
    for path, named in sorted((each, given) for given in paths for each in _files(Path(given))):
        found = _NAME.fullmatch(path.name)
        if found is None:
            if not Path(named).is_dir():
                raise ValueError(f"{path}: is named for no language; call it after the language, as in en.txt")
            continue
        words = entries.setdefault(iso_code(found["language"].lower()), {})
        try:
            words |= dict.fromkeys(line.strip() for line in path.read_text("utf-8").splitlines())
        except UnicodeDecodeError:
            raise ValueError(f"{path}: is not UTF-8; convert the list") from None
    if not entries:
        raise ValueError(f"{', '.join(map(str, paths))}: holds no list; name files after languages, as in en.txt")
    return list(entries), compiled([(list(words), language not in UNSPACED) for language, words in entries.items()])


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"stages.bad_words.lists: no file or folder {path}; check the path")
    return [each for each in path.iterdir() if each.is_file()] if path.is_dir() else [path]
