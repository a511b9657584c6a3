"""Hashes and buckets of character n-grams, sixteen at a time in registers.

    hash      FNV-1a, 32 bits: h = (h ^ byte) * 16777619 from 2166136261 on; bytes above 127 are widened by ones
    bucket    hash mod the number of buckets, from the quotient in float64, one too small at most

A text's characters stand as their UTF-8 bytes in one uint32 each, low end first. Lane k takes the characters from
`at + k` on; its hash of n characters is that of n - 1 and the bytes of one more. Written as LLVM vectors, because
hashing byte by byte waits five cycles for each product. Integers all the way to the quotient, and that is corrected:
the results are exact on every machine. Nothing is checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_intrinsic: Any = intrinsic  # its type is that of a function of Python, which a call from a kernel does not fit
LANES = 16
BASIS, PRIME = 2166136261, 16777619
_WORDS, _REALS = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.DoubleType(), LANES)


def _all(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * LANES)


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), _all(0))


def _place(builder: Any, pointer: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), _WORDS.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


@_intrinsic
def hash_ngrams(typing_context: Any, codes: Any, at: Any, longest: Any, widest: Any, hashes: Any) -> Any:
    """hashes[n - 1, k] = hash of codes[at + k : at + k + n] for n = 1 .. longest and k = 0 .. 15.

    codes: (at + longest + 15 or more,) uint32; widest: bytes of the widest character; hashes: (longest, 16) uint32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        target = context.make_array(signature.args[4])(context, builder, arguments[4])
        held = cgutils.alloca_once_value(builder, _all(BASIS))
        with cgutils.for_range(builder, arguments[2]) as level:
            code = _load(builder, _place(builder, source.data, builder.add(arguments[1], level.index)))
            left = cgutils.alloca_once_value(builder, code)
            with cgutils.for_range(builder, arguments[3]):
                rest, value = builder.load(left), builder.load(held)
                byte = builder.ashr(builder.shl(rest, _all(24)), _all(24))
                longer = builder.mul(builder.xor(value, byte), _all(PRIME))
                there = builder.icmp_unsigned("!=", byte, _all(0))  # no word holds the byte 0
                builder.store(builder.select(there, longer, value), held)
                builder.store(builder.lshr(rest, _all(8)), left)
            row = builder.mul(level.index, ir.Constant(level.index.type, LANES))
            builder.store(builder.load(held), _place(builder, target.data, row)).align = 4
        return context.get_dummy_value()

    return types.none(codes, types.intp, types.intp, types.intp, hashes), generate


@_intrinsic
def to_buckets(typing_context: Any, hashes: Any, row: Any, count: Any, inverse: Any) -> Any:
    """hashes[row, k] %= count for k = 0 .. 15.

    count: uint32; inverse: float64, a little below 1 / count, so that the quotient is never too large.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = _place(builder, array.data, builder.mul(arguments[1], ir.Constant(arguments[1].type, LANES)))
        value, number = _load(builder, place), _splat(builder, arguments[2], _WORDS)
        real = builder.fmul(builder.uitofp(value, _REALS), _splat(builder, arguments[3], _REALS))
        rest = builder.sub(value, builder.mul(builder.fptoui(real, _WORDS), number))
        too_small = builder.icmp_unsigned(">=", rest, number)
        builder.store(builder.select(too_small, builder.sub(rest, number), rest), place).align = 4
        return context.get_dummy_value()

    return types.none(hashes, types.intp, types.uint32, types.float64), generate
