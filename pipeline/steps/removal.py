"""Removal requests: documents that an output must never have held.

`removed.jsonl` in the output lists them: id, source, path and URL. The first pass reads as if they were not in the
input, so everything after it is what it would have been without them. Only tasks that read them, or what follows from
them, are computed again; `clean` then deletes what the earlier steps held of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.storage.store import Store

PATH = "removed.jsonl"
COLUMNS = ("id", "source", "path")


@dataclass(frozen=True, order=True)
class Removed:
    id: str
    """32 hexadecimal digits."""
    source: str
    path: str
    url: str = ""
    """By which a later list may name the document, which the output does not know any more; "" for none."""


@dataclass(frozen=True)
class Requested:
    """What became of a list of requests."""

    removed: tuple[Removed, ...]
    """All documents that are left out of the output now, sorted."""
    new: int
    """Those of them that an earlier list did not name."""
    before: int
    """Lines of this list that an earlier one named too, by id or URL."""
    unknown: tuple[str, ...]
    """Lines of this list that name no document of the output, now or before, in the order of the list."""


def load(store: Store) -> list[Removed]:
    """What has been asked to be removed from this output, sorted."""
    if not store.exists(PATH):
        return []
    try:
        return sorted(Removed(**json.loads(line)) for line in store.read(PATH).splitlines() if line.strip())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{store.path(PATH)}: is not what `gristmill remove` wrote ({error}); restore it") from error


def request(store: Store, lines: Iterable[str], name: str) -> Requested:
    """Adds the documents that `lines` name to the output's list.

    A line is an id (32 hexadecimal digits) or a URL; empty lines and those that begin with # are passed over. What an
    earlier list named may stand in this one again, and so may what the output has never held: one list serves many
    outputs. ValueError names the first line that is neither an id nor a URL, and nothing is changed.
    """
    wanted = {text: number for number, line in enumerate(lines, 1) if (text := line.strip()) and text[0] != "#"}
    known = load(store)
    before = {each.id for each in known}
    ids = {text.lower() for text in wanted if re.fullmatch("[0-9a-fA-F]{32}", text)}
    urls = {text for text in wanted if "://" in text}
    strange = [text for text in wanted if text.lower() not in ids and text not in urls]
    if strange:
        raise ValueError(
            f"{name}, line {wanted[strange[0]]}: {strange[0][:80]!r} is neither an id of 32 hexadecimal digits nor a "
            "URL; `gristmill explain` shows a document's id"
        )
    found, seen_urls = locate(store, ids - before, urls)
    new = {each.id: each for each in found if each.id not in before}
    if new:
        lines_of = [json.dumps(asdict(each), ensure_ascii=False) for each in sorted([*known, *new.values()])]
        store.write(PATH, ("\n".join(lines_of) + "\n").encode())
    earlier = before | {each.url for each in known}
    held = seen_urls | new.keys()
    return Requested(
        tuple(sorted([*known, *new.values()])),
        len(new),
        sum(named(text) in earlier for text in wanted),
        tuple(text for text in wanted if named(text) not in earlier and named(text) not in held),
    )


def named(text: str) -> str:
    """An id in small letters, a URL as it is."""
    return text if "://" in text else text.lower()


def locate(store: Store, ids: set[str], urls: set[str]) -> tuple[list[Removed], set[str]]:
    """Where the documents with these ids or URLs were read, and the URLs that were found; file by file."""
    if not ids and not urls:
        return [], set()
    digits = pa.array(sorted(ids), pa.string())
    wanted = pa.array(sorted(bytes.fromhex(each) for each in ids), pa.binary(16))
    addresses = pa.array(sorted(urls), pa.string())
    found: set[Removed] = set()
    seen: set[str] = set()
    for table in batches(store):
        in_hex = pa.types.is_string(table.schema.field("id").type)  # in the ledger, which people open
        keep = pc.is_in(table.column("id"), digits if in_hex else wanted)
        if "url" in table.column_names:
            keep = pc.or_(keep, pc.and_(pc.is_in(table.column("url"), addresses), table.column("url").is_valid()))
        for row in table.filter(keep).to_pylist():
            name = row["id"] if in_hex else row["id"].hex()
            found.add(Removed(name, row["source"], row["path"], row.get("url") or ""))
            seen.add(row.get("url") or "")
    return sorted(found), seen & urls


def batches(store: Store) -> Iterator[pa.Table]:
    """id, source, path and where there is one url of every document that the last run knows, signals/ then ledger/."""
    for path in [path for top in ("signals", "ledger") for path in store.files(top) if "part-" in path]:
        with store.open_input(path) as handle:
            parquet = pq.ParquetFile(handle)
            columns = [name for name in (*COLUMNS, "url") if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(65_536, columns=columns):
                yield pa.Table.from_batches([batch])


def describe(removed: Sequence[Removed]) -> str:
    are = "document is" if len(removed) == 1 else "documents are"
    return f"{len(removed):,} {are} left out on request (removed.jsonl)"
