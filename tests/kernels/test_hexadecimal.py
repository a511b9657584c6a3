"""Ids as digits and back, for whole columns, sliced ones and nulls."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.kernels.text.hexadecimal import from_hex, in_bytes, in_hex, to_hex

columns = st.lists(st.none() | st.binary(min_size=16, max_size=16), max_size=40)


@given(columns, st.integers(0, 40), st.integers(0, 40))
def test_digits_are_those_of_the_bytes_and_come_back(ids: list[bytes | None], first: int, length: int) -> None:
    array = pa.array(ids, pa.binary(16))
    for column in (
        array,
        array.slice(first, length),
        pa.chunked_array([array, array]),
        pa.chunked_array([], array.type),
    ):
        digits = to_hex(column)
        digits.validate(full=True)
        assert digits.to_pylist() == [each.hex() if each is not None else None for each in column.to_pylist()]
        back = from_hex(digits)
        back.validate(full=True)
        assert back.to_pylist() == column.to_pylist()
        assert from_hex(digits.slice(first)).to_pylist() == column.to_pylist()[first:]


def test_upper_case_and_large_strings_are_ids_too() -> None:
    assert from_hex(pa.array(["AB" * 16], pa.large_string())).to_pylist() == [b"\xab" * 16]


@pytest.mark.parametrize("wrong", ["ab", "z" * 32, "a" * 31 + "é", "a" * 33, ""])
def test_what_is_no_id_is_an_error_that_shows_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        from_hex(pa.array(["0" * 32, wrong, "f" * 32]))


def test_of_a_table_the_columns_of_ids_change_and_no_others() -> None:
    ids = [bytes(16), b"\1" * 16]
    table = pa.table(
        {"id": pa.array(ids, pa.binary(16)), "survivor": pa.array([None, ids[0]], pa.binary(16)), "n": [1, 2]}
    )
    text = in_hex(table)
    assert text.schema.types == [pa.string(), pa.string(), pa.int64()]
    assert in_bytes(text).equals(table)
    assert in_bytes(text, ["id"]).schema.types == [pa.binary(16), pa.string(), pa.int64()]
