"""Loss on held-out shards: nats per token and bits per byte, in all and per domain.

    bits per byte = sum of token losses / (ln 2 * bytes of the documents' text)

Comparable between tokenizers, unlike the loss. Windows as in training; the tail of a shard is padded and the padding
has no loss, so every token but each shard's first counts once. A token belongs to the document it lies in; domains
and bytes come from the shard's table of documents, and a domain's bytes are those of its scored tokens' share.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tokenizer.manifest import read_manifest
from tokenizer.shards import ShardReader
from trainer.data.loader import document_layout
from trainer.errors import ConfigError
from trainer.model import IGNORE, Nemotron


@torch.no_grad()
def evaluate(
    model: Nemotron,
    folder: str | Path,
    sequence: int,
    batch: int,
    max_tokens: int,
    device: torch.device | str,
    documents: Literal["joined", "separate"] = "joined",
) -> dict[str, Any]:
    """{"tokens", "loss", "bits_per_byte", "domains": {name: {"tokens", "bytes", "loss", "bits_per_byte"}}}.

    folder: shards with manifest.json; of each shard the first max_tokens / shards tokens. batch: sequences at a time.
    documents: as in training. Losses in nats per token.
    """
    try:
        shards = [shard for shard in read_manifest(str(folder))["shards"] if shard["tokens"] > 1]
        readers = [ShardReader(f"{folder}/{shard['name']}") for shard in shards]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    sums: dict[str, np.ndarray] = {}  # domain -> tokens, loss, bytes
    for reader in readers:
        tokens = np.asarray(reader.tokens[: max(2, max_tokens // len(readers))], np.int64)
        starts = np.asarray(reader.pointers) // reader.dtype.itemsize
        losses = _token_losses(model, tokens, starts if documents == "separate" else None, sequence, batch, device)
        _add(sums, reader, starts, losses)
    total = np.sum(list(sums.values()), axis=0) if sums else np.zeros(3)
    return {**_figures(total), "domains": {name: _figures(sums[name]) for name in sorted(sums)}}


def _token_losses(
    model, tokens: np.ndarray, starts: np.ndarray | None, sequence: int, batch: int, device
) -> np.ndarray:
    """float64 [len(tokens) - 1]: the loss of each token but the first. starts: of documents that are kept apart."""
    labels = len(tokens) - 1
    windows = -(-labels // sequence)
    padded = np.full(windows * sequence + 1, IGNORE, np.int64)
    padded[: len(tokens)] = tokens
    inputs = np.where(padded[:-1] == IGNORE, 0, padded[:-1]).reshape(windows, sequence)
    wanted = padded[1:].reshape(windows, sequence)
    out = []
    for first in range(0, windows, batch):
        part = slice(first, first + batch)
        x, y = torch.from_numpy(inputs[part]).to(device), torch.from_numpy(wanted[part]).to(device)
        layout: tuple = (None, None)
        if starts is not None:
            at = range(first * sequence, min(first + batch, windows) * sequence, sequence)
            begins = [np.union1d([0], starts[(starts > w) & (starts < w + sequence)] - w) for w in at]
            layout = tuple(torch.from_numpy(a).to(device) for a in document_layout(begins, sequence))
        out.append(model.loss(x, y, 1.0, *layout)[1].double().cpu().numpy())
    return np.concatenate(out)[:labels]


def _add(sums: dict[str, np.ndarray], reader: ShardReader, starts: np.ndarray, losses: np.ndarray) -> None:
    document = np.searchsorted(starts, np.arange(1, len(losses) + 1), side="right") - 1  # of each label
    table = reader.documents(["domain", "bytes", "tokens"])
    names = np.array([name or "" for name in table["domain"].to_pylist()])
    share = table["bytes"].to_numpy() / np.maximum(table["tokens"].to_numpy(), 1)  # bytes per token of the document
    for name in np.unique(names[document]):
        mine = names[document] == name
        added = np.array([mine.sum(), losses[mine].sum(), share[document[mine]].sum()])
        sums[str(name)] = sums.get(str(name), np.zeros(3)) + added


def _figures(sums: np.ndarray) -> dict[str, Any]:
    tokens, loss, size = sums.tolist()
    return {
        "tokens": int(tokens),
        "bytes": round(size),
        "loss": loss / tokens if tokens else None,
        "bits_per_byte": loss / math.log(2) / size if size else None,
    }
