"""Every column that a stage measures and a rule may limit, by name: what it is counted in and what it says.

A table made of the stages' own tables. It measures nothing, and holds no signals of a user's.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from gristmill.stages.bad_words import BAD_WORDS
from gristmill.stages.code_signals import CODE_SIGNALS
from gristmill.stages.compat import DATATROVE_SIGNALS
from gristmill.stages.lines import LINE_SIGNALS
from gristmill.stages.signals import SIGNALS


class Measured(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def definition(self) -> str: ...
    @property
    def dtype(self) -> pa.DataType: ...


_OTHERS: tuple[tuple[Measured, ...], ...] = (LINE_SIGNALS, (BAD_WORDS,), CODE_SIGNALS, DATATROVE_SIGNALS)

MEASURED: dict[str, Measured] = {**SIGNALS, **{each.name: each for table in _OTHERS for each in table}}
