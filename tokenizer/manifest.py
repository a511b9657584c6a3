"""What a blend's shards are, and whether they are still that: manifest.json and its verification.

The manifest lists every shard with its files, sizes, xxh3_128 sums, documents and tokens per domain, and what they
were made with. It carries the sum of its own content, so that one flipped byte in any file of the folder, the
manifest included, is found. Reads Parquet footers and index files whole; token files in blocks of 8 MB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypedDict

import numpy as np

from gristmill.storage.parquet import read_table
from gristmill.tokenizer.shards import Open, ShardEntry, ShardFile, open_to_read, open_to_write, parse_index

NAME = "manifest.json"
FORMAT = "gristmill-shards"
VERSION = 1
BLOCK_BYTES = 8 << 20


class Shards(TypedDict):
    """The manifest but for its own checksum."""

    format: str
    version: int
    blend: str
    seed: int
    dtype: str
    tokenizer_sha256: str
    vocab_size: int
    eos_id: int
    documents: int
    tokens: int
    tokens_by_domain: dict[str, int]
    shards: list[ShardEntry]


class ShardManifest(Shards):
    """What manifest.json holds."""

    xxh3_128: str


def manifest(
    shards: Iterable[ShardEntry],
    *,
    blend: str,
    seed: int,
    tokenizer_sha256: str,
    vocab_size: int,
    eos_id: int,
    dtype: str = "int32",
) -> ShardManifest:
    """The manifest of a blend from the entries that `ShardWriter.close` gave, sorted by name."""
    entries = sorted(shards, key=lambda shard: shard["name"])
    by_domain: dict[str, int] = {}
    for shard in entries:
        for domain, tokens in shard["tokens_by_domain"].items():
            by_domain[domain] = by_domain.get(domain, 0) + tokens
    content: Shards = {
        "format": FORMAT,
        "version": VERSION,
        "blend": blend,
        "seed": seed,
        "dtype": dtype,
        "tokenizer_sha256": tokenizer_sha256,
        "vocab_size": vocab_size,
        "eos_id": eos_id,
        "documents": sum(shard["documents"] for shard in entries),
        "tokens": sum(shard["tokens"] for shard in entries),
        "tokens_by_domain": dict(sorted(by_domain.items())),
        "shards": entries,
    }
    return {**content, "xxh3_128": _sum(content)}


def write_manifest(folder: str, content: ShardManifest, open: Open = open_to_write) -> None:
    """Writes manifest.json into a folder."""
    with open(f"{folder}/{NAME}") as file:
        file.write(to_bytes(content))


def read_manifest(folder: str, open: Open = open_to_read) -> ShardManifest:
    """Reads manifest.json of a folder. ValueError, in one sentence, where it is missing, damaged or of another kind."""
    path = f"{folder}/{NAME}"
    try:
        with open(path) as file:
            data = file.read()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; is this a folder of shards?") from error
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); copy it again") from error
    known = isinstance(content, dict) and content.get("format") == FORMAT and content.get("version") == VERSION
    if not known:
        raise ValueError(f"{path}: not a manifest of {FORMAT} version {VERSION}; write the shards again")
    found: ShardManifest = content
    claimed = content.copy()
    claimed.pop("xxh3_128", None)
    if _sum(claimed) != found.get("xxh3_128") or to_bytes(found) != data:
        raise ValueError(f"{path}: its content does not match its own checksum; copy it again")
    return found


def verify_shards(folder: str, open: Open = open_to_read) -> list[str]:
    """Every problem of a folder of shards, one sentence each; empty: all is as the manifest says.

    Checks the manifest itself, each file's size and checksum, and each shard's index and table of documents against
    the counts in the manifest.
    """
    try:
        content = read_manifest(folder, open)
    except ValueError as error:
        return [str(error)]
    problems: list[str] = []
    for shard in content["shards"]:
        before = len(problems)
        for file in shard["files"]:
            problems += _check_file(f"{folder}/{file['name']}", file, open)
        if len(problems) == before:
            problems += _check_counts(f"{folder}/{shard['name']}", shard, content["dtype"], open)
    for key in ("documents", "tokens"):
        total = sum(shard[key] for shard in content["shards"])
        if total != content[key]:
            problems.append(f"{folder}/{NAME}: {content[key]:,} {key} where its shards have {total:,}")
    return problems


def _check_file(path: str, claimed: ShardFile, open: Open) -> list[str]:
    import xxhash

    digest, size = xxhash.xxh3_128(), 0
    try:
        with open(path) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                size += len(block)
    except FileNotFoundError:
        return [f"{path}: no such file, though the manifest lists it; copy it again"]
    if size != claimed["bytes"]:
        return [f"{path}: {size:,} bytes where the manifest has {claimed['bytes']:,}; copy it again"]
    if digest.hexdigest() != claimed["xxh3_128"]:
        return [f"{path}: its content has changed since it was written (xxh3_128 differs); copy it again"]
    return []


def _check_counts(prefix: str, shard: ShardEntry, claimed_dtype: str, open: Open) -> list[str]:
    with open(prefix + ".idx") as file:
        data = np.frombuffer(file.read(), np.uint8)
    try:
        dtype, lengths, _, _ = parse_index(data, prefix + ".idx")
    except ValueError as error:
        return [str(error)]
    if dtype.name != claimed_dtype:
        return [f"{prefix}.idx: {dtype.name} where the manifest has {claimed_dtype}; write the shard again"]
    with open(prefix + ".docs.parquet") as file:
        table = read_table(file, columns=["domain", "first_token", "tokens"])
    tokens = table["tokens"].to_numpy()
    sums = table.group_by("domain").aggregate([("tokens", "sum")]).to_pylist()
    found = {
        "documents": len(lengths),
        "tokens": int(lengths.sum(dtype=np.int64)),
        "tokens_by_domain": dict(sorted((row["domain"] or "", row["tokens_sum"]) for row in sums)),
    }
    problems = [
        f"{prefix}: {key} are {found[key]} where the manifest has {shard[key]}; write the shard again"
        for key in ("documents", "tokens", "tokens_by_domain")
        if found[key] != shard[key]
    ]
    starts = np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])[:-1]
    if not np.array_equal(tokens, lengths) or not np.array_equal(table["first_token"].to_numpy(), starts):
        problems.append(f"{prefix}.docs.parquet: its rows do not match the .idx; write the shard again")
    return problems


def to_bytes(content: ShardManifest) -> bytes:
    """The content of manifest.json, byte for byte."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


MEGATRON = "megatron.txt"


def data_args(content: ShardManifest) -> bytes:
    """Megatron-LM's `--data-args-path` file: a line a shard, its tokens as weight and its prefix below the folder."""
    return "".join(f"{shard['tokens']} {shard['name']}\n" for shard in content["shards"]).encode()


def _sum(content: Shards) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())
