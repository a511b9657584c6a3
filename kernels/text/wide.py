"""Eight bytes at a time: hashes of spans of bytes, runs of ASCII letters.

    span_hash(data, begin, end)    uint64: for each 8 bytes, low end first, h = fold(h ^ bytes, K); h starts as size + S
    fold(a, b)                     high xor low half of the 128-bit product (the mixing step of wyhash, Wang Yi 2019)
    letter_run(x)                  how many of the first bytes of the uint64 x are ASCII letters, 0 to 8
    capitals(x, run)               a bit for each of the first `run` bytes of x, all letters, that is a capital; that of
                                   the last is the highest of the uint64
    ones(x)                        how many bits of the uint64 x are set
    byte_mask(x, byte)             0x80 in every byte of x | 0x20 that is `byte`, up to the first wrong one

A hash depends on the bytes alone, not on where they lie; the last chunk is padded with zeros. Collisions are those of
64 bits. Loads are unaligned and little-endian: the kernels run on x86-64 and ARM64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gristmill.kernels.text.uncounted import inlined, uncounted

_intrinsic: Callable[..., Any] = intrinsic  # its first parameter is the compiler's, which type checkers do not know
_START = 0x9E3779B97F4A7C15  # 2^64 / golden ratio
_FACTOR = 0xE7037ED1A0B428DB  # wyhash's second secret
_ONES, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SEVENS, _LOWER = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x2020202020202020)
_TO_A, _PAST_Z = np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)  # 0x80 - "a", 0x80 - ("z" + 1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@_intrinsic
def load8(typing_context: Any, data: Any, at: Any) -> Any:
    """The eight bytes of data, (n,) uint8, from `at` <= n - 8 on, as a little-endian uint64. Nothing is checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        value = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        value.align = 1
        return value

    if isinstance(data, types.Array) and data.layout == "C":
        return types.uint64(data, types.int64), generate
    return None


@_intrinsic
def fold(typing_context: Any, a: Any, b: Any) -> Any:
    """High xor low half of a * b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(value, wide) for value in arguments))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@_intrinsic
def trailing_zeros(typing_context: Any, x: Any) -> Any:
    """Number of zero bits below the lowest set bit of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.int64(types.uint64), generate


@_intrinsic
def ones(typing_context: Any, x: Any) -> Any:
    """Number of set bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@inlined
def letter_run(x):
    low = (x | _LOWER) & _SEVENS
    letters = (low + _TO_A) & ~(low + _PAST_Z) & ~x & _HIGHS
    return trailing_zeros(letters ^ _HIGHS) >> 3


@inlined
def capitals(x, run):
    return (~x & _LOWER) << np.uint64(66 - 8 * run)


@inlined
def byte_mask(x, byte):
    differs = (x | _LOWER) ^ (_ONES * np.uint64(byte))
    return (differs - _ONES) & ~differs & _HIGHS


@uncounted
def span_hash(data, begin, end):
    """Hash of data[begin:end]; data: (n,) uint8, contiguous."""
    hashed = np.uint64(end - begin) + np.uint64(_START)
    at = begin
    while at + 8 <= end:
        hashed = fold(hashed ^ load8(data, at), np.uint64(_FACTOR))
        at += 8
    left = end - at
    if left:
        if at + 8 <= len(data):
            last = load8(data, at) & (_ALL >> np.uint64(64 - 8 * left))
        else:
            last = np.uint64(0)
            for k in range(left):
                last |= np.uint64(data[at + k]) << np.uint64(8 * k)
        hashed = fold(hashed ^ last, np.uint64(_FACTOR))
    return hashed


def hash_of(text: bytes) -> int:
    """`span_hash` in Python, for tables that are made before a kernel runs."""
    hashed = (len(text) + _START) & 0xFFFFFFFFFFFFFFFF
    for at in range(0, len(text), 8):
        product = (hashed ^ int.from_bytes(text[at : at + 8], "little")) * _FACTOR
        hashed = (product ^ product >> 64) & 0xFFFFFFFFFFFFFFFF
    return hashed
