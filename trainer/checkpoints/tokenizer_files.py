"""The tokenizer's files beside an exported model, so that `AutoTokenizer.from_pretrained` finds it.

transformers reads tokenizer.json and tokenizer_config.json, we read tokenizer.model. Where a folder lacks the first
two, they are made from the third.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from gristmill.tokenizer.encode import Encoder
from gristmill.tokenizer.export import export
from gristmill.trainer.errors import ConfigError

MODEL, DOCUMENT, CONFIG = "tokenizer.model", "tokenizer.json", "tokenizer_config.json"
FURTHER = ("special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
"""Copied where they are there."""


def find(given: Path, vocab_size: int) -> dict[str, Path]:
    """The files of a tokenizer, by the name that they get beside a model.

    given: a folder, a tokenizer.model under whatever name, or a tokenizer.json. vocab_size: the model's. ConfigError
    where there is no tokenizer, or one with more pieces than the model has.
    """
    if not given.exists():
        raise ConfigError(f"--tokenizer {given}: no such file or folder: give the folder `tokenizer` of a run")
    folder = given if given.is_dir() else given.parent
    beside = given.is_dir() or given.name in (MODEL, DOCUMENT)
    names = (MODEL, DOCUMENT, CONFIG, *FURTHER) if beside else ()
    found = {name: folder / name for name in names if (folder / name).is_file()}
    if given.is_file() and not beside:
        found = {MODEL: given}
    if MODEL not in found and DOCUMENT not in found:
        raise ConfigError(
            f"--tokenizer {given}: holds neither {MODEL} nor {DOCUMENT}: give the folder `tokenizer` of a run"
        )
    pieces = _pieces(found)
    if pieces > vocab_size:
        raise ConfigError(
            f"--tokenizer {given}: has {pieces:,} pieces, the model {vocab_size:,}: give the one it was trained with"
        )
    return found


def _pieces(found: dict[str, Path]) -> int:
    if MODEL in found:
        return Encoder(found[MODEL]).vocab_size
    try:
        document = json.loads(found[DOCUMENT].read_text("utf-8"))
        added = [token["id"] for token in document.get("added_tokens", [])]
        return max([*document["model"]["vocab"].values(), *added]) + 1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{found[DOCUMENT]}: is no tokenizer of transformers ({error!r}): restore it") from error


def copy(found: dict[str, Path], out: Path) -> list[str]:
    """Puts them into `out`, with the rights of new files; the names of those of `find` that are lacking there now."""
    for name, path in found.items():
        shutil.copyfile(path, out / name)
    if MODEL in found and (DOCUMENT not in found or CONFIG not in found):
        with tempfile.TemporaryDirectory() as made:
            export(found[MODEL], made)
            for name in (DOCUMENT, CONFIG):
                if name not in found:
                    shutil.copyfile(Path(made) / name, out / name)
    return [name for name in (MODEL, DOCUMENT, CONFIG) if not (out / name).exists()]
