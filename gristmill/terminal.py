"""Whether what is printed goes to a terminal, and what such a terminal is sent.

Bars and colours are for terminals that take them. A log, a pipe, `TERM=dumb` and NO_COLOR (https://no-color.org) get
plain text without a single escape sequence.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 80
"""Columns of tables that go to no terminal."""


def takes_escapes(stream: TextIO) -> bool:
    """Whether a bar may be drawn on this stream."""
    return stream.isatty() and not plain()


def plain() -> bool:
    """Whether the environment asks for text without escape sequences."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def console(stderr: bool = False, piped_width: int | None = PIPED_WIDTH, **options: Any) -> Console:
    """Rich's console; styles and all other escape sequences only where the stream takes them.

    piped_width: columns where the stream is no terminal; None: what Rich finds.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    lively = takes_escapes(stream)
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        force_terminal=lively,
        color_system="auto" if lively else None,
        width=None if stream.isatty() else piped_width,
        **options,
    )


def wrapped(lines: Iterable[str], stream: TextIO | None = None) -> Iterator[str]:
    """Long lines broken between words where they go to a terminal; as they are elsewhere, for `grep`."""
    stream = sys.stdout if stream is None else stream
    width = columns() if stream.isatty() else 0
    for line in lines:
        if len(line) <= width or not width:
            yield line
        else:
            yield from textwrap.wrap(
                line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )


def columns() -> int:
    """Of the terminal; COLUMNS wins."""
    from shutil import get_terminal_size

    return get_terminal_size().columns
