"""Every Parquet file that is read as a whole is read by `gristmill.storage.parquet`."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.storage.parquet import read_table

ROOT = Path(__file__).parents[1]
FOLDERS = ("gristmill/settings", "gristmill/storage", "kernels", "tokenizer", "stages", "pipeline", "trainer")


def test_the_same_table_from_a_path_a_python_file_and_an_arrow_file(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None, 3], "b": ["x", "y", "z"]})
    path = tmp_path / "language=de" / "t.parquet"
    path.parent.mkdir()
    pq.write_table(table, path)
    for source in (str(path), io.BytesIO(path.read_bytes()), pa.OSFile(str(path))):
        assert read_table(source).equals(table)
    assert read_table(str(path), ["b"]).equals(table.select(["b"]))


def test_what_is_no_parquet_raises_as_arrow_does() -> None:
    with pytest.raises(pa.ArrowInvalid):
        read_table(io.BytesIO(b"no table"))


def test_nothing_else_reads_a_table_through_arrows_data_sets() -> None:
    """Its threads outlive the call: a command that ends then may end by a signal."""
    found = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if re.search(
            r"(?:pq|parquet)\.read_table\(|^\s*(?:import|from) pyarrow\.dataset|ParquetDataset",
            path.read_text("utf-8"),
            re.M,
        )
    ]
    assert found == []
