"""Sums of rows of float32 matrices, sixteen numbers at a time in registers.

    add_to_total(total, matrix, row)             total[d] += matrix[row, d], in float64
    sum_rows(matrix, rows, count, sums, slot)    sums[slot, d] += matrix[rows[k], d] for k = 0 .. count - 1, in order

Rows are multiples of 16 long. Written as LLVM vectors, because a loop over two arrays that might overlap is compiled to
scalar code or to checks that take longer than the sum. Each number is added on its own and in the given order, so the
result does not depend on the width of the machine's registers. Nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_intrinsic: Any = intrinsic  # its type is that of a function of Python, which a call from a kernel does not fit
LANES = 16
"""Numbers of a row are padded with zeros to a multiple: 64 bytes, a cache line."""
_SINGLE, _DOUBLE = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)


def _lanes(builder: Any, pointer: Any, index: Any, kind: Any) -> Any:
    """Pointer to sixteen numbers from `index` on."""
    return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())


def _load(builder: Any, pointer: Any, align: int) -> Any:
    value = builder.load(pointer)
    value.align = align
    return value


def _store(builder: Any, value: Any, pointer: Any, align: int) -> None:
    builder.store(value, pointer).align = align


def _blocks(context: Any, builder: Any, width: Any) -> Any:
    """A loop over 0, 16, 32 .. below width."""
    return cgutils.for_range_slice(
        builder, context.get_constant(types.intp, 0), width, context.get_constant(types.intp, LANES), inc=True
    )


@_intrinsic
def add_to_total(typing_context: Any, total: Any, matrix: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        into = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[1])(context, builder, arguments[1])
        width = builder.extract_value(source.shape, 1)
        first = builder.mul(arguments[2], width)
        with _blocks(context, builder, width) as (at, _):
            numbers = _load(builder, _lanes(builder, source.data, builder.add(first, at), _SINGLE), 4)
            place = _lanes(builder, into.data, at, _DOUBLE)
            _store(builder, builder.fadd(_load(builder, place, 8), builder.fpext(numbers, _DOUBLE)), place, 8)
        return context.get_dummy_value()

    _check(total, types.float64, 1)
    _check(matrix, types.float32, 2)
    return types.none(total, matrix, types.intp), generate


@_intrinsic
def sum_rows(typing_context: Any, matrix: Any, rows: Any, count: Any, sums: Any, slot: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        numbers = context.make_array(signature.args[1])(context, builder, arguments[1])
        into = context.make_array(signature.args[3])(context, builder, arguments[3])
        width = builder.extract_value(source.shape, 1)
        target = builder.mul(arguments[4], width)
        held = cgutils.alloca_once(builder, _SINGLE)
        with _blocks(context, builder, width) as (at, _):
            place = _lanes(builder, into.data, builder.add(target, at), _SINGLE)
            _store(builder, _load(builder, place, 4), held, 64)
            with cgutils.for_range(builder, arguments[2]) as loop:
                row = builder.mul(builder.load(builder.gep(numbers.data, [loop.index])), width)
                found = _load(builder, _lanes(builder, source.data, builder.add(row, at), _SINGLE), 4)
                _store(builder, builder.fadd(_load(builder, held, 64), found), held, 64)
            _store(builder, _load(builder, held, 64), place, 4)
        return context.get_dummy_value()

    _check(matrix, types.float32, 2)
    _check(rows, types.int64, 1)
    _check(sums, types.float32, 2)
    return types.none(matrix, rows, types.intp, sums, types.intp), generate


@_intrinsic
def ones(typing_context: Any, x: Any) -> Any:
    """Number of bits set in a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _check(array: Any, dtype: Any, dimensions: int) -> None:
    if not (
        isinstance(array, types.Array) and array.layout == "C" and array.dtype == dtype and array.ndim == dimensions
    ):
        raise TypeError(f"{array}: give a contiguous array of {dtype} with {dimensions} dimensions")
