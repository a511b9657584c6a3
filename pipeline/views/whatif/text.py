"""The answer of `whatif` for people, in 80 columns, and for programs, as one JSON object."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gristmill.pipeline.views.report.figures import number, share, short, size
from gristmill.pipeline.views.whatif.answer import Answer
from gristmill.pipeline.views.whatif.expression import SIDES, limit_text
from gristmill.pipeline.views.whatif.scan import Example, Tally

if TYPE_CHECKING:
    from rich.console import Console

LANGUAGES = 12
"""Rows of the table of languages; --json has all."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Foreign text for a terminal: control characters, which could move the cursor or turn the text, become U+FFFD."""
    return _CONTROL.sub("\ufffd", text)


def measured(value: float, *limits: float | None) -> str:
    """Four significant digits; all of them where these would make it look like a limit that it is not."""
    alike = any(limit is not None and limit != value and number(limit) == number(value) for limit in limits)
    return repr(value) if alike else number(value)


def as_dict(answer: Answer) -> dict[str, Any]:
    """Everything, with plain JSON values; groups in order of domain and language."""
    rows = [
        {"domain": domain, "language": language, **_figures(tally, answer.rates.get((domain, language)))}
        for (domain, language), tally in sorted(answer.groups.items())
    ]
    domains = sorted({domain for domain, _ in answer.groups})
    return {
        "conditions": list(answer.change.lines),
        "notes": list(answer.change.notes),
        "total": _sum(rows),
        "domains": [{"domain": name, **_sum(row for row in rows if row["domain"] == name)} for name in domains],
        "groups": rows,
        "tokens_from": answer.rates_from if answer.rates else None,
        "examples": [
            {
                "becomes": "kept" if each.kept_after else "dropped",
                "rule": each.rule,
                "value": each.value,
                "limit": each.limit,
                **each.document,
                "id": each.document["id"].hex(),
            }
            for each in answer.examples
        ],
        "missing_partitions": list(answer.missing),
        "later_steps": list(answer.later),
        "set": list(answer.change.assignments),
    }


def show(answer: Answer, console: Console) -> None:
    """Prints what the conditions stand for, the sums, what changes where, examples, and last the --set."""
    figures = as_dict(answer)
    total = figures["total"]
    for line in answer.change.lines:
        console.print(line, style="bold")
    for note in answer.change.notes:
        console.print(f"note: {note}")
    console.print()
    _totals(total, bool(answer.rates), console)
    if total["lost"] or total["gained"]:
        _changes("domain", [(row["domain"], row) for row in figures["domains"]], console)
        rows = [(_language(row), row) for row in figures["groups"]]
        _changes("language", rows, console)
        _examples(answer, console)
    else:
        console.print("\nno document changes sides")
    console.print()
    later = [name for name in answer.later if "dedup" in name]
    said = f"; {' and '.join(later)} may still remove documents that pass" if later else ""
    console.print(f"The numbers are exact at the rules step{said}.")
    if answer.rates:
        console.print(
            f"Tokens are estimates: bytes over the bytes per token of the language, from {answer.rates_from}."
        )
    if answer.missing:
        console.print(f"Without the {len(answer.missing)} partitions that failed in the run.")
    if answer.change.assignments:
        console.print("To make it so:")
        sets = " ".join(f"--set {shlex.quote(each)}" for each in answer.change.assignments)
        console.print(f"gristmill run {sets}", soft_wrap=True)


def _figures(tally: Tally, rate: float | None) -> dict[str, int]:
    figures = dict(vars(tally))
    if rate:
        figures["tokens"], figures["tokens_before"], figures["tokens_after"] = (
            round(each / rate) for each in (tally.bytes, tally.bytes_before, tally.bytes_after)
        )
    return figures


def _sum(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int):
                sums[name] = sums.get(name, 0) + value
    return sums or dict(vars(Tally()))


def _totals(total: Mapping[str, int], tokens: bool, console: Console) -> None:
    table = _table(f"{total['documents']:,} documents, {size(total['bytes'])}", "before", "after", "change", "")
    units: list[tuple[str, str, Any]] = [("documents", "kept_", _whole), ("bytes", "bytes_", size)]
    units += [("tokens", "tokens_", short)] if tokens else []
    for name, prefix, text in units:
        before, after = total[f"{prefix}before"], total[f"{prefix}after"]
        everything = total[name]
        for label, was, will in (("kept", before, after), ("dropped", everything - before, everything - after)):
            moved = _signed(will - was, text)
            table.add_row(f"{name} {label}", text(was), text(will), moved, _percent(will - was, was))
    console.print(table)


def _changes(what: str, rows: list[tuple[str, Mapping[str, int]]], console: Console) -> None:
    """The groups in which documents change sides, those with most of them first."""
    changed = [(name, row) for name, row in rows if row["lost"] or row["gained"]]
    changed.sort(key=lambda item: (-item[1]["lost"] - item[1]["gained"], item[0]))
    tokens = any("tokens" in row for _, row in changed)
    heads = ["kept before", "kept after", "change", "", "bytes", *(["tokens"] if tokens else [])]
    console.print()
    table = _table(f"by {what}", *heads)
    for name, row in changed[:LANGUAGES]:
        moved = row["kept_after"] - row["kept_before"]
        both = f"+{row['gained']:,} −{row['lost']:,}" if row["gained"] and row["lost"] else _signed(moved, _whole)
        cells = [_whole(row["kept_before"]), _whole(row["kept_after"]), both, _percent(moved, row["kept_before"])]
        cells.append(_signed(row["bytes_after"] - row["bytes_before"], size))
        if tokens:
            cells.append(_signed(row.get("tokens_after", 0) - row.get("tokens_before", 0), short))
        table.add_row(printable(name), *cells)
    console.print(table)
    if len(changed) > LANGUAGES:
        console.print(f"and {len(changed) - LANGUAGES} more, all in --json")


def _examples(answer: Answer, console: Console) -> None:
    from rich.text import Text

    title = None
    for each in answer.examples:
        heading = "now dropped, would be kept" if each.kept_after else "now kept, would be dropped"
        if heading != title:
            console.print(f"\n{heading}, for example", style="bold")
            title = heading
        document = each.document
        console.print(f"{document['id'].hex()}  {_language(document)}")
        lines = [_why(each, answer)]
        lines += [document["url"] or f"{document['source']}: {document['path']}", document["preview"] or ""]
        for line, style in zip(lines, ("", "", "dim")):
            if line:
                console.print(Text("  " + printable(line), style), no_wrap=True, overflow="ellipsis")


def _why(example: Example, answer: Answer) -> str:
    """What drops the document, before or after."""
    expression = answer.expressions.get(example.rule)
    if expression:
        return f"{example.rule}: {expression}"
    if example.value is None or example.limit is None:
        return example.rule
    side = SIDES["max" if example.value > example.limit else "min"]
    return f"{example.rule} {measured(example.value, example.limit)}, {side} {limit_text(_plain(example.limit))}"


def _language(row: Mapping[str, Any]) -> str:
    return f"{row['language']} (code)" if row["domain"] == "code" else str(row["language"])


def _table(*heads: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _signed(value: float, text: Any) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{text(abs(value))}"


def _percent(change: float, whole: float) -> str:
    if not change or not whole:
        return ""
    said = share(abs(change), whole)
    return said if said.startswith("<") else f"{'+' if change > 0 else '−'}{said}"


def _plain(value: float) -> float:
    return int(value) if value.is_integer() else value
