"""Where a curated document is: its row in `curated/`, its tokens, and every copy in the shards of every blend.

A copy's ids are `tokens` little-endian numbers, of the dtype that the manifest names, from `byte_offset` of the shard's
`.bin`, eos at the end. They are found by the id column of `.docs.parquet`; no `.bin` is read.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from gristmill.pipeline.steps.first_pass import group_name
from gristmill.pipeline.views.explain.document import Document
from gristmill.pipeline.views.explain.find import over, rows_with_id
from gristmill.pipeline.views.explain.way import Run, number
from gristmill.pipeline.views.published import parts
from gristmill.tokenizer.manifest import NAME
from gristmill.wording import plural


@dataclass(frozen=True)
class Copy:
    file: str
    """The `.bin`, below the output."""
    holdout: bool
    epoch: int
    """Copies of a document in a blend are counted from 0."""
    sequence: int
    """Place in `.idx` and row in `.docs.parquet`."""
    first_token: int
    tokens: int
    byte_offset: int
    bytes: int


@dataclass(frozen=True)
class Blend:
    name: str
    copies: list[Copy]
    detail: str


def locate(run: Run, key: bytes, domain: str | None, language: str | None) -> tuple[str, int] | None:
    """(file, row) of a document in `curated/`: in its group's folder, else in any."""
    home = f"curated/{group_name(domain, language)}/"
    files = parts(run.store, "curated")
    for chosen in ([p for p in files if p.startswith(home)], [p for p in files if not p.startswith(home)]):
        for path, hits in over(run.store, chosen, lambda path: rows_with_id(run.store, path, [key], columns=["id"])):
            if hits:
                return path, hits[0][0]
    return None


def blends(run: Run, document: Document) -> list[Blend]:
    """Every blend in configured order with the document's copies by epoch, holdout last."""
    key = bytes.fromhex(document["id"])
    result = []
    names = run.store.folders("shards")
    configured = [name for name in (run.record.get("blends", {}) if run.record else ()) if name in names]
    for name in dict.fromkeys([*configured, *names]):
        files = [p for p in run.store.files(f"shards/{name}") if p.endswith(".docs.parquet")]
        copies = []
        size = token_bytes(run, name)
        for path, hits in over(run.store, files, lambda path: rows_with_id(run.store, path, [key])):
            for sequence, row in hits:
                copies.append(
                    Copy(
                        file=path.removesuffix(".docs.parquet") + ".bin",
                        holdout="/holdout/" in path,
                        epoch=row["epoch"],
                        sequence=sequence,
                        first_token=row["first_token"],
                        tokens=row["tokens"],
                        byte_offset=row["first_token"] * size,
                        bytes=row["tokens"] * size,
                    )
                )
        copies.sort(key=lambda copy: (copy.holdout, copy.epoch, copy.file))
        result.append(Blend(name, copies, _detail(run, name, copies, document)))
    return result


def token_bytes(run: Run, name: str) -> int:
    """Bytes of a token in the shards of a blend, as its manifest says."""
    path = f"shards/{name}/{NAME}"
    dtype = json.loads(run.store.read(path))["dtype"] if run.store.exists(path) else "int32"
    return int(np.dtype(dtype).itemsize)


def _detail(run: Run, name: str, copies: list[Copy], document: Document) -> str:
    if any(copy.holdout for copy in copies):
        share = run.configuration.get("shards", {}).get("holdout") if run.configuration else None
        part = f" with {100 * share:g} % of all clusters" if share else ""
        return f"held out{part}: not in the training shards"
    times = {0: "not drawn", 1: "drawn once", 2: "drawn twice"}.get(len(copies), f"drawn {len(copies)} times")
    blend = run.record.get("blends", {}).get(name) if run.record else None
    unit = next(
        (
            unit
            for unit in (blend.get("units", []) if blend else ())
            if all(unit[key] == document.get(key) for key in ("domain", "category", "source", "language"))
        ),
        None,
    )
    if unit is None:
        return times
    group = " · ".join(unit[key] or "" for key in ("domain", "category", "source", "language"))
    return (
        f"{times}; its group ({group}: {plural(unit['documents'], 'document')}, {unit['tokens']:,} tokens) is taken "
        f"{number(unit['epochs'])} times"
    )


def count_tokens(run: Run, text: str) -> int | None:
    """Tokens of a text with eos, by the output's tokenizer; None where it is not there."""
    from gristmill.tokenizer.encode import Encoder

    if not run.store.exists("tokenizer/tokenizer.model"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tokenizer.model"
        model.write_bytes(run.store.read("tokenizer/tokenizer.model"))
        return len(Encoder(model).encode(text, eos=True))


def sampled(run: Run, document: Document) -> tuple[str, str] | None:
    """Whether the tokenizer was trained on the document; None where no sample was taken."""
    from gristmill.tokenizer.sample import Sample, choose_batch

    if not run.store.exists("tokenizer/report.json"):
        return None
    record = json.loads(run.store.read("tokenizer/report.json")).get("sample")
    if not record:
        return None
    sample = Sample.from_record(record)
    row = {
        "id": pa.array([bytes.fromhex(document["id"])], pa.binary(16)),
        "domain": pa.array([document.get("domain")], pa.string()),
        "language": pa.array([document.get("language")], pa.string()),
    }
    fraction = next(
        (g.fraction for g in sample.groups if (g.domain, g.language) == (document["domain"], document["language"])), 0
    )
    chosen = bool(choose_batch(pa.table(row), sample)[0])
    text = f"{'in' if chosen else 'not in'} the tokenizer's sample, which takes {100 * fraction:.3g} % of its group"
    return ("taken" if chosen else "not taken"), text
