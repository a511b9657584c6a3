"""Conditions over signals, as `lines_without_end_mark > 0.5 and words < 200`.

Names of signals, numbers, + - * / and brackets, the comparisons < <= > >= == != (chained as in 3 <= words < 9), and,
or, not, all as in Python; nothing else of it. Three-valued: a null signal, a NaN or a division by zero makes a
comparison neither true nor false, `null and false` is false, `null or true` is true (Kleene's logic). A document is
dropped where the whole is true, so a null fails nothing.

It is evaluated on whole columns. It knows no signals: who parses says which there are.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

MAX_CHARACTERS = 500
"""Longer ones are refused: a parser could run out of stack on them."""

FORM = 'as in "lines_without_end_mark > 0.5 and words < 200"'

_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

Truth = tuple[np.ndarray, np.ndarray]
"""(n,) bool each: where it is true, where it is false; neither: unknown."""


@dataclass(frozen=True)
class Expression:
    text: str
    signals: tuple[str, ...]
    """In the order in which they are named."""
    limit: float | None
    """What the first signal is compared with, where that is a number."""

    def holds(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) bool: where it is true. columns: (n,) float64 of each signal, NaN for null."""
        with np.errstate(all="ignore"):
            return _truth(_tree(self.text), columns)[0]


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """ValueError, in one sentence, where `text` is no condition."""
    tree = _tree(text)
    if not isinstance(tree, ast.BoolOp | ast.Compare) and not _is_not(tree):
        raise ValueError(f"{text!r} compares nothing: write a condition, {FORM}")
    names: dict[str, None] = {}
    try:
        _check(tree, text, names, condition=True)
    except RecursionError:
        raise ValueError(f"{text!r} is nested too deeply: split it into several rules") from None
    if not names:
        raise ValueError(f"{text!r} names no signal: write a condition, {FORM}")
    signals = tuple(names)
    return Expression(text, signals, _limit(tree, signals[0]))


@lru_cache(maxsize=1024)
def _tree(text: str) -> ast.expr:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a condition of {len(text):,} characters: split it into rules of at most {MAX_CHARACTERS:,}")
    try:
        return ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no condition: compare signals with numbers, {FORM}") from None


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _check(node: ast.expr, text: str, names: dict[str, None], condition: bool) -> None:
    """`condition`: a truth is wanted here, else a number. Adds the signals to `names` in the order of the text."""
    if isinstance(node, ast.BoolOp) or _is_not(node):
        _want(condition, True, node, text)
        for each in node.values if isinstance(node, ast.BoolOp) else [node.operand]:  # type: ignore[attr-defined]
            _check(each, text, names, condition=True)
    elif isinstance(node, ast.Compare) and all(type(each) in _COMPARISONS for each in node.ops):
        _want(condition, True, node, text)
        for each in (node.left, *node.comparators):
            _check(each, text, names, condition=False)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _want(condition, False, node, text)
        _check(node.left, text, names, condition=False)
        _check(node.right, text, names, condition=False)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _want(condition, False, node, text)
        _check(node.operand, text, names, condition=False)
    elif isinstance(node, ast.Name):
        _want(condition, False, node, text)
        names[node.id] = None
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and abs(node.value) < 1e300:  # type: ignore[arg-type]
        _want(condition, False, node, text)
    else:
        raise ValueError(
            f"{text!r}: {ast.unparse(node)!r} cannot stand there: use signals, numbers, + - * / < <= > >= == != and or "
            "not"
        )


def _want(condition: bool, is_condition: bool, node: ast.expr, text: str) -> None:
    if condition and not is_condition:
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is a number where a condition is needed: compare it, {FORM}")
    if is_condition and not condition:
        raise ValueError(f"{text!r}: {ast.unparse(node)!r} is a condition where a number is needed: use and, or, not")


def _limit(tree: ast.expr, signal: str) -> float | None:
    """The number that the signal is compared with, the first time that it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            for one, other in pairwise(sides):
                for this, that in ((one, other), (other, one)):
                    if isinstance(this, ast.Name) and this.id == signal and (number := _constant(that)) is not None:
                        return number
    return None


def _constant(node: ast.expr) -> float | None:
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -float(node.operand.value)  # type: ignore[arg-type]
    return None


def _truth(node: ast.expr, columns: Mapping[str, np.ndarray]) -> Truth:
    if isinstance(node, ast.BoolOp):
        parts = [_truth(each, columns) for each in node.values]
        join, part = (
            (np.logical_and, np.logical_or) if isinstance(node.op, ast.And) else (np.logical_or, np.logical_and)
        )
        return join.reduce([true for true, _ in parts]), part.reduce([false for _, false in parts])
    if isinstance(node, ast.Compare):
        sides = [_number(each, columns) for each in (node.left, *node.comparators)]
        true: Any = True
        false: Any = False
        for compare, (left, right) in zip(node.ops, pairwise(sides)):
            known = ~(np.isnan(left) | np.isnan(right))
            holds = _COMPARISONS[type(compare)](left, right)
            true, false = true & holds & known, false | (~holds & known)
        return true, false
    true, false = _truth(node.operand, columns)  # type: ignore[attr-defined]
    return false, true


def _number(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return np.full(len(next(iter(columns.values()))), float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp):
        left, right = _number(node.left, columns), _number(node.right, columns)
        result = _ARITHMETIC[type(node.op)](left, right)
        return np.where(right == 0, np.nan, result) if isinstance(node.op, ast.Div) else result
    value = _number(node.operand, columns)  # type: ignore[attr-defined]
    return -value if isinstance(node.op, ast.USub) else value  # type: ignore[attr-defined]
