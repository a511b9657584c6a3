"""A corpus and a cluster in words, as in "8 T tokens, 200 nodes of 64 cores, s3": what they mean and what is assumed.

Items are separated by commas, in any order. Every item must be understood; what is not said has a default, and every
default is among `assumed`, so that a reader sees what the plan rests on. Bytes are decimal (1 TB = 10^12) unless
written TiB. No plan is made here: `pipeline.plan.cluster`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, Unpack

from gristmill.wording import plural

Value = TypeVar("Value")

NETWORK = 25e9 / 8
"""Bytes a second and node where none is said: a common figure of cloud machines of this size."""
MEMORY_PER_CORE = 4e9
"""Where none is said: that of general-purpose cloud machines."""
REQUEST_S = {"s3": 0.1, "gs": 0.1, "hdfs": 0.01, "local": 0.001}
"""Of one request. s3: "roughly 100-200 milliseconds" for small objects (Amazon S3 User Guide, "Best practices design
patterns: optimizing Amazon S3 performance"), of which the lower; gs as s3; the others are guesses."""

MOST = 1e18
"""Of anything: an exabyte, or as many tokens."""

FORMS = {
    "text": ("jsonl", None),
    "jsonl": ("jsonl", ""),
    "jsonl.gz": ("jsonl", "gz"),
    "jsonl.zst": ("jsonl", "zst"),
    "gz": ("jsonl", "gz"),
    "zst": ("jsonl", "zst"),
    "parquet": ("parquet", "zst"),
    "warc": ("warc", ""),
    "warc.gz": ("warc", "gz"),
    "wet": ("wet", ""),
    "wet.gz": ("wet", "gz"),
}
"""What a size may be of -> (kind of input, compression); None: the text itself."""

EXAMPLES = (
    "8 T tokens; 30 TB of text, or of " + ", ".join(name for name in FORMS if name != "text") + "; "
    "200 nodes of 64 cores; 256 GB of memory; s3, gs, hdfs or local; 25 Gbit/s; documents of 4 kB; "
    "4.2 bytes per token; 50 ms per request"
)

SCALES = {"": 1.0, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "g": 1e9, "billion": 1e9}
SCALES |= {"t": 1e12, "trillion": 1e12, "p": 1e15, "q": 1e15, "quadrillion": 1e15}
NUMBER = r"(\d[\d,_]*(?:\.\d+)?(?:e\d+)?)"
SIZE = NUMBER + r"\s*([kmgtp]?i?)b(?:ytes)?"
CORES = r"(?:v?cpus?|cores?)"
PER_NODE = r"(?:\s*(?:a|per|each|/)\s*(?:node|machine|host)?)?"


@dataclass(frozen=True)
class Described:
    """The corpus and the cluster. Sizes in bytes, of all the corpus or of one node."""

    tokens: float | None
    size: float | None
    form: str
    nodes: int
    cores: int
    memory: float
    storage: str
    network: float
    request_s: float
    document_bytes: float | None
    bytes_per_token: float | None
    assumed: tuple[str, ...]

    @property
    def kind(self) -> str:
        return FORMS[self.form][0]

    @property
    def compression(self) -> str | None:
        return FORMS[self.form][1]


class Said(TypedDict, total=False):
    """What was said of the corpus and the cluster, as the fields of `Described`."""

    tokens: float
    size: float
    form: str
    nodes: int
    cores: int
    memory: float
    storage: str
    network: float
    request_s: float
    document_bytes: float
    bytes_per_token: float


@dataclass
class Found:
    """What the items said so far."""

    values: Said = field(default_factory=Said)
    sizes: list[tuple[str, float]] = field(default_factory=list)
    """Sizes that do not say of what."""

    def put(self, item: str, **values: Unpack[Said]) -> None:
        for name, value in values.items():
            if name in self.values and self.values.get(name) != value:
                raise ValueError(f"--corpus: {item!r} says again, and otherwise, what an earlier item said; keep one")
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"--corpus: {item!r} is nothing to plan for; write a number above 0")
            if isinstance(value, int | float) and value > MOST:
                raise ValueError(f"--corpus: {item!r} is beyond what can be planned for; write less than {MOST:.0e}")
        self.values.update(values)


def parse(text: str) -> Described:
    """ValueError in one sentence that names the item and says what can be written."""
    found = Found()
    items = [item.strip(" .") for item in re.split(r",(?!\d{3}(?!\d))|;|\n", text)]
    for item in items:
        if item:
            _item(item, found)
    for item, size in found.sizes:
        if "tokens" in found.values or "size" in found.values:
            found.put(item, memory=size)
        else:
            found.put(item, size=size, form="text")
    if "tokens" not in found.values and "size" not in found.values:
        raise ValueError(f"--corpus: {text.strip()!r} does not say how large the corpus is; write e.g. {EXAMPLES}")
    if "tokens" in found.values and "size" in found.values:
        raise ValueError("--corpus: a number of tokens and a size in bytes are two sizes of one corpus; keep one")
    return _complete(found.values)


def _complete(given: Said) -> Described:
    import os

    assumed: list[str] = []

    def default(said: Value | None, value: Value, sentence: str) -> Value:
        if said is None:
            assumed.append(sentence)
            return value
        return said

    nodes = default(given.get("nodes"), 1, "one node")
    cores = default(
        given.get("cores"), os.cpu_count() or 1, f"{plural(os.cpu_count() or 1, 'core')} a node, as on this machine"
    )
    memory = default(
        given.get("memory"), cores * MEMORY_PER_CORE, f"{MEMORY_PER_CORE * cores / 1e9:.0f} GB of memory a node"
    )
    storage = default(given.get("storage"), "s3" if nodes > 1 else "local", "s3" if nodes > 1 else "a local disk")
    network = default(
        given.get("network"), NETWORK, f"{NETWORK * 8 / 1e9:.0f} Gbit/s a node between it and the storage"
    )
    request = default(
        given.get("request_s"), REQUEST_S[storage], f"{REQUEST_S[storage] * 1000:.0f} ms a request to {storage}"
    )
    return Described(
        given.get("tokens"),
        given.get("size"),
        given.get("form", "text"),
        int(nodes),
        int(cores),
        float(memory),
        storage,
        float(network),
        float(request),
        given.get("document_bytes"),
        given.get("bytes_per_token"),
        tuple(assumed),
    )


def _item(item: str, found: Found) -> None:
    plain = re.sub(r"^(?:on|with|at|in|and|of|over|from)\s+", "", item.lower().replace("×", "x"))
    for pattern, take in PATTERNS:
        match = re.fullmatch(pattern, plain)
        if match:
            take(item, found, *match.groups())
            return
    raise ValueError(f"--corpus: {item!r} is not understood; items are, for example: {EXAMPLES}")


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


def _bytes(number: str, prefix: str) -> float:
    """Bytes of '30', 't' (decimal) or 'ti' (binary)."""
    scale = SCALES[prefix.rstrip("i")] if not prefix.endswith("i") else 1024.0 ** "kmgtp".find(prefix[0]) * 1024
    return _number(number) * scale


def _whole(item: str, number: str) -> int:
    value = _number(number)
    if value != int(value):
        raise ValueError(f"--corpus: {item!r} is not a whole number of them; write one")
    return int(value)


def _tokens(item: str, found: Found, number: str, scale: str | None) -> None:
    found.put(item, tokens=_number(number) * SCALES[scale or ""])


def _size(item: str, found: Found, number: str, prefix: str, form: str | None) -> None:
    if form is None:
        found.sizes.append((item, _bytes(number, prefix)))
    else:
        found.put(item, size=_bytes(number, prefix), form=form)


def _nodes(item: str, found: Found, nodes: str, cores: str | None) -> None:
    found.put(item, nodes=_whole(item, nodes))
    if cores:
        found.put(item, cores=_whole(item, cores))


def _storage(item: str, found: Found, name: str) -> None:
    found.put(item, storage={"gcs": "gs", "disk": "local"}.get(name, name))


PATTERNS: tuple[tuple[str, Callable[..., None]], ...] = (
    (NUMBER + r"\s*(k|m|b|g|t|q|thousand|million|billion|trillion|quadrillion)?\s*(?:of\s+)?tok(?:en)?s?", _tokens),
    (
        SIZE + r"(?:\s*(?:of\s+)?(" + "|".join(re.escape(name) for name in sorted(FORMS, reverse=True)) + "))?",
        _size,
    ),
    (SIZE + r"\s*(?:of\s+)?(?:memory|ram)" + PER_NODE, lambda i, f, n, p: f.put(i, memory=_bytes(n, p))),
    (SIZE + r"\s*(?:a|per|each|/)\s*(?:node|machine|host)", lambda i, f, n, p: f.put(i, memory=_bytes(n, p))),
    (NUMBER + r"\s*(?:nodes?|machines?|hosts?)(?:\s*(?:of|with|x)?\s*" + NUMBER + r"\s*" + CORES + ")?", _nodes),
    (NUMBER + r"\s*x\s*" + NUMBER + r"\s*" + CORES, _nodes),
    (NUMBER + r"\s*" + CORES + PER_NODE, lambda i, f, n: f.put(i, cores=_whole(i, n))),
    (r"(s3|gs|gcs|hdfs|local|disk)(?:://.*)?", _storage),
    (
        NUMBER + r"\s*([kmgt])(?:bit/s|bits/s|bps|bit)" + PER_NODE,
        lambda i, f, n, p: f.put(i, network=_number(n) * SCALES[p] / 8),
    ),
    (SIZE + "/s" + PER_NODE, lambda i, f, n, p: f.put(i, network=_bytes(n, p))),
    (r"(?:documents?|docs?)\s*(?:of|:)?\s*" + SIZE, lambda i, f, n, p: f.put(i, document_bytes=_bytes(n, p))),
    (
        SIZE + r"\s*(?:a|per|/)?\s*(?:documents?|docs?)",
        lambda i, f, n, p: f.put(i, document_bytes=_bytes(n, p)),
    ),
    (NUMBER + r"\s*bytes?\s*(?:per|a|/)\s*token", lambda i, f, n: f.put(i, bytes_per_token=_number(n))),
    (NUMBER + r"\s*ms\s*(?:per|a|/)\s*request", lambda i, f, n: f.put(i, request_s=_number(n) / 1000)),
)
"""An item's form in lower case -> what takes its groups."""
