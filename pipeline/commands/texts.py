"""What commands of other parts are handed, as they may not import the pipeline: the context's object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristmill.tokenizer.texts import Corpus


def texts(
    places: Sequence[str], *, format: str | None = None, columns: str = "", language_model: str | None = None
) -> Corpus:
    """The texts of anything that `sources:` takes. columns: 'ours=theirs,...'."""
    from gristmill.pipeline.models.lm.command import named
    from gristmill.pipeline.readers.texts import corpus

    return corpus(places, format=format, columns=named(columns), language_model=language_model)


HANDED: dict[str, Callable[..., object]] = {"texts": texts}
