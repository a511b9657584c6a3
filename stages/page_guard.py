"""Extraction in a process of its own, so that no page can hang, crash or fill a worker.

`stages.guard` has the process and its limits, `stages.page_engine` what runs in it. The limit of CPU time is the last
resort: what `stages.extract` counts beforehand keeps every page that is known far below it.
"""

from __future__ import annotations

import functools

from gristmill.stages.guard import STALLED, Guarded
from gristmill.stages.page_blocks import ALL
from gristmill.stages.page_engine import Extracted


class Guard(Guarded):
    """Extracts pages in a child process. Not for several threads at once."""

    def __init__(self, engine: str, page_seconds: float) -> None:
        super().__init__("gristmill.stages.page_engine:extractor", engine, "extract: the process that parses pages")
        self.page_seconds = page_seconds

    def extract(self, html: bytes, url: str | None, hints: int = ALL) -> Extracted | str:
        """Of a page in UTF-8, `hints` as by `extract_page`; or why there is nothing: failed, crashed, timeout.

        RuntimeError where the child came to an end that is not the page's doing.
        """
        address = f"{hints}" if url is None else f"{hints} {url}"
        answer = self.ask(html, address, self.page_seconds)
        return answer if isinstance(answer, str) else Extracted(answer.text, *answer.more)

    def stalled_s(self, seconds: float) -> float:
        return max(1.0, STALLED * seconds)


@functools.cache
def guard(engine: str, page_seconds: float, pid: int) -> Guard:
    """This process's guard. pid: of the calling process: a fork must not use its parent's pipes."""
    return Guard(engine, page_seconds)
