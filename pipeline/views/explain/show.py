"""An explanation as a page for a person: coloured in a terminal, plain when piped, readable at 80 columns.

From the outcome to the details: what became of the document, where it was read, its way through the steps, its
duplicates and how it differs from the one that stayed, its places in the shards, every signal beside its limits, the
text's beginning. Text of a corpus may hold control characters, which would act on a terminal: they become symbols.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypedDict

from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gristmill.pipeline.views.explain.clusters import Cluster
from gristmill.pipeline.views.explain.diff import Difference, Hunk, Line
from gristmill.pipeline.views.explain.explanation import Explanation
from gristmill.pipeline.views.explain.text import Comparison
from gristmill.pipeline.views.explain.way import Limit, Step, number
from gristmill.terminal import console
from gristmill.wording import plural

COLOURS = {
    "curated": "green",
    "dropped": "red",
    "quarantined": "red",
    "missing": "red",
    "merged": "yellow",
    "edited": "yellow",
    "not drawn": "yellow",
    "held out": "yellow",
    "not reached": "dim",
}
MARKS = {"-": "red", "+": "green", " ": ""}
CHANGED = {"-": "bold reverse red", "+": "bold reverse green", " ": ""}
HUNKS, RUN_LINES, LINES = 20, 10, 80
"""Of a difference: places shown, successive lines of one side, lines in all."""
UNCHANGED, CHANGE = 60, 300
"""Characters kept of an unchanged stretch on either side of a change, and of a change itself."""
EXCERPT_LINES = 12
WIDTH = 80  # where the output is no terminal

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def show(explanation: Explanation) -> None:
    """Prints it on standard output."""
    shown = console(piped_width=int(os.environ.get("COLUMNS", WIDTH)), emoji=False)
    if shown.is_terminal:
        shown.print(page(explanation))
        return
    with shown.capture() as capture:
        shown.print(page(explanation))
    for line in capture.get().splitlines():
        print(line.rstrip())


def page(explanation: Explanation) -> Group:
    return Group(*_parts(explanation))


def _parts(e: Explanation) -> Iterator[RenderableType]:
    yield Text(e.id, "bold")
    yield Text(safe(e.summary), f"bold {COLOURS.get(e.outcome, '')}")
    yield from _section("where it was read", _facts(e))
    yield from _section("its way through the steps", _way(e.steps))
    if e.clusters:
        yield from _section("duplicates", Group(*map(_cluster, e.clusters)))
    if e.comparison is not None:
        yield from _section("beside the one that stayed", _comparison(e, e.comparison))
    if e.curated is not None:
        yield from _section("in the shards", _shards(e))
    if e.limits:
        yield from _section("signals beside the limits of the rules", _limits(e.limits))
        ruled = {limit.signal for limit in e.limits}
        rest = [f"{name} {number(value) or '–'}" for name, value in e.signals.items() if name not in ruled]
        if rest:
            yield Padding(Text("no rule: " + " · ".join(rest), "dim"), (0, 0, 0, 2))
    if e.text is not None:
        length = f"{plural(e.text.characters, 'character')}, " if e.text.characters is not None else ""
        yield from _section(f"the text ({length}{e.text.origin})", _excerpt(e.text.excerpt, e.text.characters))
    if e.notes:
        yield from _section("notes", Group(*(Text("· " + safe(note)) for note in e.notes)))


def _section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, "bold cyan")
    yield Padding(body, (0, 0, 0, 2))


class ColumnOptions(TypedDict, total=False):
    """Of `rich.table.Table.add_column`."""

    style: str
    justify: JustifyMethod
    no_wrap: bool


def _grid(*columns: ColumnOptions) -> Table:
    table = Table.grid(padding=(0, 2))
    for options in columns:
        table.add_column(overflow="fold", **options)
    return table


def _facts(e: Explanation) -> Table:
    table = _grid({"style": "dim", "no_wrap": True}, {})
    for name, value in e.document.items():
        if value is not None and name not in ("id", "row", "partition"):
            shown = f"{value:,}" if isinstance(value, int) else safe(str(value))
            table.add_row(name.replace("_", " "), shown if len(shown) <= 400 else shown[:400] + " …")
    return table


def _way(steps: Sequence[Step]) -> Table:
    table = _grid({"no_wrap": True}, {"no_wrap": True}, {})
    for reached, run in groupby(steps, lambda step: step.action != "not reached"):
        if not reached:
            names = [step.stage for step in run]
            table.add_row(Text("after that", "dim"), Text("not reached", "dim"), Text(", ".join(names), "dim"))
            continue
        for step in run:
            name = step.stage if step.stage == step.step else f"{step.step} / {step.stage}"
            detail = safe(step.detail)
            if len(step.failing) > 1:
                detail += "\nit fails " + ", ".join(step.failing)
            table.add_row(name, Text(step.action, COLOURS.get(step.action, "green")), detail)
    return table


def _cluster(cluster: Cluster) -> Text:
    who = {
        "duplicate": f"one of {cluster.size:,} duplicates of which {cluster.survivor} stayed",
        "survivor": f"it stayed for a cluster of {cluster.size:,}",
        "survivor's": f"the one that stayed was in turn one of {cluster.size:,}, of which {cluster.survivor} stayed",
    }[cluster.role]
    text = Text.assemble((f"{cluster.step}: ", "bold"), who)
    if cluster.role != "survivor" and cluster.survivor_name:
        text.append(f"\n  {safe(cluster.survivor_name)}, {cluster.fate}")
    for key, name in cluster.others:
        text.append(f"\n  {key}  {safe(name)}", "dim")
    left = cluster.size - 1 - len(cluster.others) - (cluster.role == "duplicate")
    if left > 0:
        text.append(f"\n  and {left:,} more", "dim")
    return text


def _comparison(e: Explanation, comparison: Comparison) -> Group:
    table = _grid({"style": "dim", "no_wrap": True}, {}, {})
    table.add_row("", Text("- this document", "bold red"), Text("+ the one that stayed", "bold green"))
    for name in ("id", "source", "path", "record", "url", "timestamp", "priority", "bytes"):
        values = [e.document.get(name), comparison.survivor.get(name)]
        if values != [None, None]:
            shown = ["–" if v is None else f"{v:,}" if isinstance(v, int) else safe(str(v)) for v in values]
            table.add_row(name, *shown)
    if comparison.difference is None:
        return Group(table)
    return Group(table, Text(), *_difference(comparison.difference, comparison.normalised))


def _difference(d: Difference, normalised: bool) -> Iterator[RenderableType]:
    if d.equal:
        yield Text("The texts are the same, byte for byte.")
        return
    if normalised:
        yield Text("The texts are the same but for line ends, white space around them or composed characters.")
    share = f"{100 * d.similarity:.1f} % of the two texts is the same" if not d.cut else "their beginnings are compared"
    yield Text(f"{share}; {d.removed:,} characters are here alone, {d.added:,} there alone.")
    if normalised:
        return
    left = LINES
    shown = 0
    for hunk in d.hunks[:HUNKS]:
        if left <= 0:
            break
        table = _hunk(hunk)
        yield table
        left -= table.row_count
        shown += 1
    if shown < len(d.hunks):
        yield Text(f"… {len(d.hunks) - shown:,} more places where they differ", "dim")


def _hunk(hunk: Hunk) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("@@", "cyan"), Text(f"line {hunk.first_line:,} here, line {hunk.second_line:,} there", "cyan"))
    for mark, run in groupby(hunk.lines, lambda line: line.mark):
        lines = list(run)
        count = len(lines) if len(lines) <= RUN_LINES + 1 else RUN_LINES
        for line in lines[:count]:
            table.add_row(Text(mark, MARKS[mark]), _line(line))
        if count < len(lines):
            table.add_row(Text(mark, MARKS[mark]), Text(f"… {len(lines) - count:,} more lines", "dim"))
    return table


def _line(line: Line) -> Text:
    """A line with its changes marked; long stretches are shortened."""
    text = Text(style=MARKS[line.mark])
    whole = len(line.spans) == 1
    for place, (piece, changed) in enumerate(line.spans):
        if changed:
            shown = shorten(piece, CHANGE, CHANGE // 4)
            text.append(
                safe(visible(shown) if shown.isspace() else shown), MARKS[line.mark] if whole else CHANGED[line.mark]
            )
        else:
            before = UNCHANGED if place else 0
            after = UNCHANGED if place + 1 < len(line.spans) else 0
            text.append(safe(shorten(piece, before or (2 * UNCHANGED if not after else 0), after)))
    return text


def shorten(text: str, head: int, tail: int) -> str:
    """`text` with its middle, or an end of which 0 characters are wanted, replaced by an ellipsis."""
    if len(text) <= head + tail + 12:
        return text
    return f"{text[:head]} … {text[len(text) - tail :]}" if tail else f"{text[:head]} …"


def visible(space: str) -> str:
    """White space as symbols."""
    return space.replace(" ", "·").replace("\t", "→").replace("\r", "␍").replace("\n", "␊")


def safe(text: str) -> str:
    """Control and direction characters as symbols, so that a terminal shows and does not obey them."""

    def symbol(found: re.Match[str]) -> str:
        code = ord(found[0])
        return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"<U+{code:04X}>"

    return _CONTROL.sub(symbol, text.replace("\r\n", "\n"))


def _shards(e: Explanation) -> Group:
    file, row = (e.curated["file"], e.curated["row"]) if e.curated else ("", 0)
    lines: list[RenderableType] = [Text(f"{safe(file)}, row {row:,}")]
    for blend in e.blends:
        lines.append(Text.assemble((f"blend {blend.name}: ", "bold"), safe(blend.detail)))
        if not blend.copies:
            continue
        right: ColumnOptions = {"justify": "right", "no_wrap": True}
        table = _grid({}, right, right, right, right, right)
        table.add_row(*(Text(n, "dim") for n in ("file", "epoch", "sequence", "first token", "tokens", "byte")))
        for copy in blend.copies:
            values = (copy.epoch, copy.sequence, copy.first_token, copy.tokens, copy.byte_offset)
            table.add_row(copy.file.removeprefix(f"shards/{blend.name}/"), *(f"{value:,}" for value in values))
        lines.append(Padding(table, (0, 0, 0, 2)))
    return Group(*lines)


def _limits(limits: Sequence[Limit]) -> Table:
    table = _grid({}, {"justify": "right", "no_wrap": True}, {"no_wrap": True}, {})
    for preset, rules in groupby(limits, lambda limit: limit.rule.rpartition(".")[0]):
        table.add_row(Text(preset, "bold"))
        for limit in rules:
            name = limit.rule.rpartition(".")[2]
            shown = f"  {name}" if name == limit.signal else f"  {name} ({limit.signal})"
            state, style = _state(limit)
            value = number(limit.value) or "–"
            table.add_row(
                Text(shown, style if state != "ok" else ""), Text(value, style), _range(limit), Text(state, style)
            )
    return table


def _range(limit: Limit) -> str:
    if limit.expression:
        return f"not: {limit.expression}"
    if limit.minimum is None:
        return f"≤ {number(limit.maximum)}"
    return (
        f"≥ {number(limit.minimum)}" if limit.maximum is None else f"{number(limit.minimum)} – {number(limit.maximum)}"
    )


def _state(limit: Limit) -> tuple[str, str]:
    if limit.failed:
        return "fails", "bold red"
    if not limit.applies:
        return "only " + ", ".join([*limit.domains, *limit.languages]), "dim"
    return ("no value", "dim") if limit.value is None else ("ok", "green")


def _excerpt(text: str, characters: int | None) -> Text:
    lines = text.splitlines()[:EXCERPT_LINES]
    shown = "\n".join(shorten(line, 400, 0) for line in lines)
    more = characters is not None and characters > sum(map(len, lines)) + len(lines)
    return Text(safe(shown) + ("\n…" if more else ""))
