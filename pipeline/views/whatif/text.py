"""The answer of `whatif` for people, in 80 columns, and for programs, as one JSON object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypedDict

from gristmill.pipeline.views.report.figures import number, share, short, size
from gristmill.pipeline.views.whatif.answer import Answer
from gristmill.pipeline.views.whatif.expression import SIDES, limit_text
from gristmill.pipeline.views.whatif.scan import Example, Tally
from gristmill.wording import plural

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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


class ExampleRecord(TypedDict):
    """A document that changes sides, for programs."""

    becomes: str
    """kept | dropped"""
    rule: str
    value: float | None
    limit: float | None
    id: str
    source: str
    path: str
    record: int
    url: str | None
    domain: str | None
    language: str | None
    preview: str | None


class AnswerRecord(TypedDict):
    """An answer for programs. Sums are by the fields of `Tally`, and tokens where they are known."""

    conditions: list[str]
    notes: list[str]
    total: dict[str, int]
    domains: list[dict[str, str | int]]
    groups: list[dict[str, str | int]]
    tokens_from: str | None
    examples: list[ExampleRecord]
    missing_partitions: list[int]
    later_steps: list[str]
    set: list[str]
    command: str
    """Makes it so, from the folder that the question was asked in."""


def as_dict(answer: Answer) -> AnswerRecord:
    """Everything, with plain JSON values; groups in order of domain and language."""
    groups = _groups(answer)
    return {
        "conditions": list(answer.change.lines),
        "notes": list(answer.change.notes),
        "total": _sum(groups.values()),
        "domains": [{"domain": name, **sums} for name, sums in _domains(groups).items()],
        "groups": [{"domain": domain, "language": language, **sums} for (domain, language), sums in groups.items()],
        "tokens_from": answer.rates_from if answer.rates else None,
        "examples": [
            {
                "becomes": "kept" if each.kept_after else "dropped",
                "rule": each.rule,
                "value": each.value,
                "limit": each.limit,
                "id": each.document["id"].hex(),
                "source": each.document["source"],
                "path": each.document["path"],
                "record": each.document["record"],
                "url": each.document["url"],
                "domain": each.document["domain"],
                "language": each.document["language"],
                "preview": each.document["preview"],
            }
            for each in answer.examples
        ],
        "missing_partitions": list(answer.missing),
        "later_steps": list(answer.later),
        "set": list(answer.change.assignments),
        "command": answer.command,
    }


def show(answer: Answer, console: Console) -> None:
    """Prints what the conditions stand for, the sums, what changes where, examples, and last the --set."""
    groups = _groups(answer)
    total = _sum(groups.values())
    for line in answer.change.lines:
        console.print(line, style="bold")
    for note in answer.change.notes:
        console.print(f"note: {note}")
    console.print()
    _totals(total, bool(answer.rates), console)
    if total["lost"] or total["gained"]:
        _changes("domain", list(_domains(groups).items()), console)
        _changes("language", [(_language(*group), sums) for group, sums in groups.items()], console)
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
        console.print(f"Without the {plural(len(answer.missing), 'partition')} that failed in the run.")
    if answer.change.assignments:
        console.print("To make it so:")
        console.print(answer.command, soft_wrap=True)


def _groups(answer: Answer) -> dict[tuple[str, str], dict[str, int]]:
    """(domain, language) -> its figures, in this order."""
    return {group: _figures(tally, answer.rates.get(group)) for group, tally in sorted(answer.groups.items())}


def _domains(groups: Mapping[tuple[str, str], Mapping[str, int]]) -> dict[str, dict[str, int]]:
    names = sorted({domain for domain, _ in groups})
    return {name: _sum(sums for (domain, _), sums in groups.items() if domain == name) for name in names}


def _figures(tally: Tally, rate: float | None) -> dict[str, int]:
    figures = dict(vars(tally))
    if rate:
        figures["tokens"], figures["tokens_before"], figures["tokens_after"] = (
            round(each / rate) for each in (tally.bytes, tally.bytes_before, tally.bytes_after)
        )
    return figures


def _sum(groups: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for figures in groups:
        for name, value in figures.items():
            sums[name] = sums.get(name, 0) + value
    return sums or dict(vars(Tally()))


def _totals(total: Mapping[str, int], tokens: bool, console: Console) -> None:
    table = _table(f"{plural(total['documents'], 'document')}, {size(total['bytes'])}", "before", "after", "change", "")
    units: list[tuple[str, str, Callable[[float], str]]] = [("documents", "kept_", _whole), ("bytes", "bytes_", size)]
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
        console.print(f"{document['id'].hex()}  {_language(document['domain'], document['language'])}")
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


def _language(domain: str | None, language: str | None) -> str:
    return f"{language} (code)" if domain == "code" else str(language)


def _table(*heads: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _signed(value: float, text: Callable[[float], str]) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{text(abs(value))}"


def _percent(change: float, whole: float) -> str:
    if not change or not whole:
        return ""
    said = share(abs(change), whole)
    return said if said.startswith("<") else f"{'+' if change > 0 else '−'}{said}"


def _plain(value: float) -> float:
    return int(value) if value.is_integer() else value
