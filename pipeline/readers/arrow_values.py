"""Rows of Arrow batches as records of Python values, the same whatever else is installed.

Arrow's own conversion gives what Python has: but nanoseconds and time zones only through pandas, pytz or the system's
time zones, where they are there. So moments are made microseconds in UTC, and durations microseconds, before they leave
Arrow. Maps become objects, so that a path leads into them; of a key that occurs twice the last value stays. What Python
cannot hold (a date in the year 30,000) is written out as text.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.readers.values import Record, Value


def plain_records(batch: pa.RecordBatch) -> Iterator[Record | str]:
    """Per row its values by column, or the reason why they cannot be had: read.invalid_utf8, read.unreadable_value."""
    names = batch.schema.names
    columns = [plain_array(batch.column(i)) for i in range(batch.num_columns)]
    try:
        yield from pa.RecordBatch.from_arrays(columns, names).to_pylist(maps_as_pydicts="lossy")
        return
    except Exception:  # one of the rows; which one is seen below
        pass
    for i in range(batch.num_rows):
        try:
            yield {name: _value(column[i]) for name, column in zip(names, columns, strict=True)}
        except UnicodeDecodeError:
            yield "read.invalid_utf8"
        except Exception:
            yield "read.unreadable_value"


def plain_array(column: pa.Array) -> pa.Array:
    """The same values in types that need nothing but Python; the array itself where it has none of the others."""
    try:
        if pa.types.is_run_end_encoded(column.type):
            column = pc.run_end_decode(column)
        wanted = _plain(column.type)
        if wanted == column.type:
            return column
        if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
            return _as_lists(column)
        return column.cast(wanted, safe=False)  # what is less than a microsecond goes
    except pa.ArrowException:  # types in types for which Arrow has no cast
        return column


def _as_lists(views: pa.Array) -> pa.Array:
    """Lists of the same values; Arrow 26's own cast loses the last list."""
    sizes = pc.fill_null(pc.list_value_length(views), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])
    return pa.LargeListArray.from_arrays(offsets, plain_array(views.flatten()), mask=views.is_null())


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        unit = "us" if kind.unit == "ns" else kind.unit  # coarser units may reach beyond what microseconds can count
        return pa.timestamp(unit, "UTC" if kind.tz is not None else None)
    if pa.types.is_duration(kind):
        return pa.duration("us" if kind.unit == "ns" else kind.unit)
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_dictionary(kind):
        value = _plain(kind.value_type)
        return kind if value == kind.value_type else value
    if pa.types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_plain(kind.field(i).type)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(
            kind.key_field.with_type(_plain(kind.key_type)), kind.item_field.with_type(_plain(kind.item_type))
        )
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    lists = (pa.types.is_large_list, pa.types.is_list_view, pa.types.is_large_list_view)
    if any(is_list(kind) for is_list in lists):
        value = _plain(kind.value_type)
        if value == kind.value_type:
            return kind
        return pa.large_list(kind.value_field.with_type(value))
    return kind


def _value(scalar: pa.Scalar) -> Value:
    try:
        value: Value = scalar.as_py(maps_as_pydicts="lossy")
        return value
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError, KeyError):  # beyond the years 1 to 9999
        if isinstance(scalar, pa.StructScalar):
            return {name: _value(each) for name, each in scalar.items()}
        if isinstance(scalar, pa.ListScalar | pa.LargeListScalar):
            return [_value(each) for each in scalar.values]
        return f"{scalar.value} {scalar.type}"
