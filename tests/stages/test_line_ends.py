"""Line ends of prose are one character before anything counts lines; source code keeps its bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gristmill.pipeline.engine.accounting import Counts, check
from gristmill.pipeline.steps.chain import same_buffers
from gristmill.stages.document import DOCUMENT
from gristmill.stages.interface import DocumentStage
from gristmill.stages.line_ends import LineEnds
from gristmill.stages.lines import Lines
from gristmill.stages.signals import Signals

ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r", "nel": "\x85", "ls": "\u2028", "ps": "\u2029", "vt": "\v", "ff": "\f"}
SENTENCES = [f"The old mill number {i} stands by the river where the water runs slowly." for i in range(6)]
REPEATED = ["Share this page with your friends on the net today."] * 6


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    given = {"id": bytes(16), "source": "s", "path": "p", "record": 0, "priority": 0}
    return pa.Table.from_pylist([given | row for row in rows], DOCUMENT).combine_chunks().to_batches()[0]


def test_every_line_end_gives_the_same_lines_and_signals() -> None:
    texts = [end.join(SENTENCES + REPEATED) for end in ENDS.values()]
    batch = LineEnds().apply(batch_of([{"text": text, "domain": "english", "language": "en"} for text in texts]))
    assert set(batch.column("text").to_pylist()) == {texts[0]}
    assert set(Lines(("c4",)).apply(batch).column("text").to_pylist()) == {"\n".join(SENTENCES + REPEATED)}
    signals = Signals().apply(batch)
    assert set(signals.column("total_lines").to_pylist()) == {12}
    assert len(set(signals.column("duplicate_lines").to_pylist())) == 1
    assert signals.column("duplicate_lines")[0].as_py() > 0.3


@pytest.mark.parametrize("domain", ["english", "multilingual", None])
def test_what_is_not_code_is_edited(domain: str | None) -> None:
    batch = batch_of([{"text": "a\r\nb", "domain": domain}, {"text": None}, {"text": "a\r\nb\f", "domain": "code"}])
    assert LineEnds().apply(batch).column("text").to_pylist() == ["a\nb", None, "a\r\nb\f"]
    assert LineEnds().apply(batch.slice(1)).column("text").to_pylist() == [None, "a\r\nb\f"]


def test_rows_that_are_out_stay_as_they_are() -> None:
    batch = batch_of([{"text": "a\rb"}, {"text": "a\rb"}])
    batch = batch.append_column("dropped_by", pa.array(["urls.domain", None]))
    assert LineEnds().apply(batch).column("text").to_pylist() == ["a\rb", "a\nb"]


def test_a_batch_without_such_characters_is_returned_as_it_is() -> None:
    batch = batch_of([{"text": "a\nb"}, {"text": "c", "domain": "code"}])
    assert isinstance(LineEnds(), DocumentStage)
    assert LineEnds().apply(batch) is batch
    table = pa.Table.from_batches([batch])
    assert same_buffers(table.column("text"), pa.Table.from_batches([batch]).column("text"))
    assert not same_buffers(table.column("text"), table.slice(1).column("text"))
    assert not same_buffers(table.column("text"), pa.chunked_array([pa.array(["a\nb", "c"], pa.large_string())]))


def test_bytes_that_go_are_counted_as_edited_away() -> None:
    from gristmill.pipeline.steps.chain import sizes, take_out

    class NoLedger:
        def __init__(self) -> None:
            self.rows: list[tuple[str, int]] = []

        def add(self, name: str, action: str, rows: pa.Table, **given: Any) -> None:
            self.rows += [(action, size) for size in given["bytes"].to_pylist()]

    table = pa.Table.from_batches([batch_of([{"text": "a\r\nb\u2028c"}, {"text": "a\nb"}, {"text": "a\rb"}])])
    result = pa.Table.from_batches([LineEnds().apply(table.to_batches()[0])])
    counts, ledger = Counts(), NoLedger()
    changed = np.array([True, False, True])
    take_out("line_ends", result, sizes(table), counts, ledger, changed)  # type: ignore[arg-type]
    check("line_ends", 0, counts)
    assert (counts.bytes_in, counts.bytes_kept, counts.bytes_edited_away) == (14, 11, 3)
    assert ledger.rows == [("edited", 3), ("edited", 0)]
