"""Loss on held-out shards: nats per token and bits per byte, in all, per domain and per language of a domain.

    bits per byte = sum of token losses / (ln 2 * bytes of the documents' text)

Comparable between tokenizers, unlike the loss. Windows as in training; the tail of a shard is padded and the padding
has no loss, so every token but each shard's first counts once. A token belongs to the document it lies in; domains,
languages and bytes come from the shard's table of documents, and a group's bytes are those of its scored tokens'
share. The language of code is its programming language.

Data-parallel ranks take the batches in turn and add up the losses, so each has the figures of one process. Every
rank must hold whole layers: with pipeline parallelism, evaluate the checkpoint.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gristmill.tokenizer.manifest import read_manifest
from gristmill.tokenizer.shards import ShardReader
from gristmill.trainer.data.loader import document_layout
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.nemotron import IGNORE, Nemotron
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group

Key = tuple[str, str]
"""Domain and language; "" where the shard's table has none."""


@torch.no_grad()
def evaluate(
    model: Nemotron,
    folder: str | Path,
    sequence: int,
    batch: int,
    max_tokens: int,
    device: torch.device | str,
    documents: Literal["joined", "separate"] = "joined",
    data: Group = Group(),  # noqa: B008  immutable
) -> dict[str, Any]:
    """{"tokens", "bytes", "loss", "bits_per_byte", "domains": {domain: {the same four, "languages": {language: {the
    same four}}}}}; losses in nats per token.

    folder: shards with manifest.json; of each shard the first max_tokens / shards tokens. batch: sequences at a time.
    documents: as in training. data: the ranks that share the work; all call with the same arguments.
    Raises ConfigError where the folder is none of shards, or of tokens that the model does not have.
    """
    try:
        manifest = read_manifest(str(folder))
        shards = [shard for shard in manifest["shards"] if shard["tokens"] > 1]
        readers = [ShardReader(f"{folder}/{shard['name']}") for shard in shards]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if manifest["vocab_size"] > model.shape.vocab_size:
        raise ConfigError(
            f"{folder}: its tokens are of a vocabulary of {manifest['vocab_size']:,}, the model has "
            f"{model.shape.vocab_size:,}: give shards of the tokenizer that the model was trained with"
        )
    sums: dict[Key, np.ndarray] = {}  # tokens, loss, bytes
    for reader in readers:
        tokens = np.asarray(reader.tokens[: max(2, max_tokens // len(readers))], np.int64)
        starts = np.asarray(reader.pointers) // reader.dtype.itemsize
        losses = _token_losses(
            model, tokens, starts if documents == "separate" else None, sequence, batch, device, data
        )
        _add(sums, reader, starts, losses)
    domains: dict[str, Any] = {}
    for domain in sorted({domain for domain, _ in sums}):
        mine = {language: value for (of, language), value in sorted(sums.items()) if of == domain}
        languages = {language: _figures(value) for language, value in mine.items()}
        domains[domain] = {**_figures(sum(mine.values(), np.zeros(3))), "languages": languages}
    return {**_figures(sum(sums.values(), np.zeros(3))), "domains": domains}


def rows(figures: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(domain, language, figures) of `evaluate`'s result, to print: all, then each domain and its languages, most
    tokens first; a domain of one language has one row."""
    out: list[tuple[str, str, dict[str, Any]]] = [("all", "", figures)]
    for domain, of_domain in sorted(figures["domains"].items(), key=_most_tokens):
        languages = sorted(of_domain["languages"].items(), key=_most_tokens)
        out.append((domain, languages[0][0] if len(languages) == 1 else "", of_domain))
        out += [("", language, of_language) for language, of_language in languages if len(languages) > 1]
    return out


def _most_tokens(entry: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    return -entry[1]["tokens"], entry[0]


def _token_losses(
    model, tokens: np.ndarray, starts: np.ndarray | None, sequence: int, batch: int, device, data: Group
) -> np.ndarray:
    """float64 [len(tokens) - 1]: the loss of each token but the first. starts: of documents that are kept apart."""
    labels = len(tokens) - 1
    windows = -(-labels // sequence)
    padded = np.full(windows * sequence + 1, IGNORE, np.int64)
    padded[: len(tokens)] = tokens
    inputs = np.where(padded[:-1] == IGNORE, 0, padded[:-1]).reshape(windows, sequence)
    wanted = padded[1:].reshape(windows, sequence)
    losses = torch.zeros(windows, sequence, dtype=torch.float64, device=device)
    for first in range(data.rank * batch, windows, data.size * batch):
        part = slice(first, first + batch)
        x, y = torch.from_numpy(inputs[part]).to(device), torch.from_numpy(wanted[part]).to(device)
        layout: tuple = (None, None)
        if starts is not None:
            at = range(first * sequence, min(first + batch, windows) * sequence, sequence)
            begins = [np.union1d([0], starts[(starts > w) & (starts < w + sequence)] - w) for w in at]
            layout = tuple(torch.from_numpy(a).to(device) for a in document_layout(begins, sequence))
        losses[part] = model.loss(x, y, 1.0, *layout)[1].view(x.shape).double()
    collectives.all_reduce(losses, data, "evaluate.losses")  # exact: all but one rank add zeros
    return losses.cpu().numpy().reshape(-1)[:labels]


def _add(sums: dict[Key, np.ndarray], reader: ShardReader, starts: np.ndarray, losses: np.ndarray) -> None:
    document = np.searchsorted(starts, np.arange(1, len(losses) + 1), side="right") - 1  # of each label
    table = reader.documents(["domain", "language", "bytes", "tokens"])
    columns = (table[name].to_pylist() for name in ("domain", "language"))
    keys = [(domain or "", language or "") for domain, language in zip(*columns, strict=True)]
    share = table["bytes"].to_numpy() / np.maximum(table["tokens"].to_numpy(), 1)  # bytes per token of the document
    count, loss = (np.bincount(document, weights, len(keys)) for weights in (None, losses))
    for number in np.flatnonzero(count).tolist():
        added = np.array([count[number], loss[number], count[number] * share[number]])
        sums[keys[number]] = sums.get(keys[number], np.zeros(3)) + added


def _figures(sums: np.ndarray) -> dict[str, Any]:
    tokens, loss, size = sums.tolist()
    return {
        "tokens": int(tokens),
        "bytes": round(size),
        "loss": loss / tokens if tokens else None,
        "bits_per_byte": loss / math.log(2) / size if size else None,
    }
