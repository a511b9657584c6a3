"""What a trial found, for people in 80 columns and for programs as one JSON object a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gristmill.pipeline.readers.content import KINDS
from gristmill.pipeline.views.report.figures import limits, number
from gristmill.pipeline.views.trial.trial import (
    FAILS,
    NO_VALUE,
    PASSES,
    Judged,
    Line,
    Passed,
    Recipe,
    Trial,
    Value,
    Verdict,
)
from gristmill.pipeline.views.whatif.text import measured, printable
from gristmill.wording import plural

if TYPE_CHECKING:
    from rich.console import Console

    from gristmill.pipeline.views.trial.source import Input

FIRST_LINES = 40
"""Of a text, unless all are asked for; lines that an edit touches are shown wherever they are."""

REASONS = {
    "read.truncated": "the data ends too early or is damaged from here on",
    "read.expansion": "the compressed data grows to far more than text can",
    "read.too_large": "it is larger than plan.max_document_bytes",
    "read.invalid_utf8": "it is not valid UTF-8, and no other encoding fits",
    "read.packed_twice": "an archive or a compressed file within an archive",
    "read.7z": "it is a 7z archive, which is not read; unpack it first",
    "read.sparse": "a file with holes within an archive",
    "read.unknown_encoding": "its character encoding is not known",
    "read.unreadable_value": "a value of the record cannot be read",
    "read.malformed_json": "the line is no JSON object",
    "read.columns_twice": "two of its columns have one name",
    "csv.ragged": "it has more or fewer values than the header has columns",
    "csv.malformed": "its quotes do not fit: one is not closed, or something stands behind it",
    "json.several_lists": "an object with several lists of objects; which one holds the documents is not known",
    "read.pdf_no_text": "the PDF has no text layer: its pages are pictures; run text recognition over it first",
    "pdf.encrypted": "the PDF needs a password",
    "pdf.damaged": "the PDF is damaged, or is none",
    "pdf.crashed": "the library that reads PDF crashed on it",
    "pdf.timeout": "reading it took longer than its size allows",
    "pdf.too_many_pages": "it has more pages than are read",
    "read.malformed_catalogue": "the message catalogue is damaged",
    "read.no_text": "the record has no text under the column that should hold it; `columns:` of a source names another",
    "warc.broken_record": "what stands here is no record",
    "warc.unknown_type": "it is a record of a type that nobody knows",
    "warc.expansion": "the compressed page grows to far more than text can",
    "warc.redirect": "the server answered with a redirect",
    "warc.status": "the server did not answer 200 OK",
    "warc.not_text": "it is neither a web page nor plain text",
    "warc.empty": "the response is empty",
    "warc.not_http": "the record holds no HTTP response",
    "warc.undecodable": "its content encoding cannot be undone",
    "extract.too_large": "the page is larger than extract.max_page_bytes",
    "extract.too_deep": "its tags are nested deeper than extract.max_depth",
    "extract.too_tangled": "to build its tree would take far longer than pages do",
    "extract.undecodable": "no character encoding fits its bytes",
    "extract.failed": "the parser of web pages failed on it",
    "extract.empty": "the page has no main content",
    "lines.empty": "rules for lines would remove every line of it",
    "language.score": "its language is not told with enough certainty",
    "language.unlisted": "its language is not among those that are kept",
    "xml.malformed": "it is no well-formed XML",
    "xml.entities": "it declares entities of its own",
    "xml.too_deep": "its elements are nested too deeply",
    "xml.too_many_elements": "it has more elements than a document has",
    "markup.too_deep": "its markup is nested too deeply",
    "markup.too_tangled": "its markup would take too long to untangle",
    "epub.damaged": "the archive is damaged",
    "epub.no_package": "it names no package of a book",
    "epub.encrypted": "it is encrypted",
    "epub.compression": "it is compressed in a way that is not read",
    "epub.too_many_files": "it has more files than a book has",
    "jats.no_article": "there is no article in it",
    "stackexchange.no_id": "the post has no id",
    "latex.expansion": "its includes and macros grow to far more than a paper",
    "extract.timeout": "it took longer than extract.max_page_seconds",
    "extract.crashed": "the parser of web pages crashed on it",
    "urls.domain": "its domain is on a list",
    "urls.word": "a word of a list is in its URL",
    "urls.subword": "a word of a list is in its URL",
    "urls.soft_words": "two words of a list are in its URL",
    "quality.score": "the classifier's probability is below the minimum",
    "language.unexpected": "its source is restricted to another domain",
}
REASONS |= {
    f"read.{kind}": f"what is inside is not what the name says: {name}"
    for kind, name in KINDS.items()
    if f"read.{kind}" not in REASONS
}
"""What the reasons of readers and stages mean; rules say it by their value and limit."""

NO_DOCUMENT = {
    "mediawiki.redirect": "redirects",
    "mediawiki.other_namespace": "pages of other namespaces",
    "mediawiki.other_model": "pages that are no wikitext",
    "mediawiki.no_text": "pages without a text",
    "mediawiki.empty": "empty pages",
    "stackexchange.other_post": "posts that are neither question nor answer",
    "stackexchange.other_table": "rows of another table",
    "stackexchange.no_question": "answers without their question",
    "stackexchange.repeated_question": "questions that occur twice",
    "epub.not_linear": "parts of a book beside its reading order",
    "epub.navigation": "tables of contents of a book",
    "epub.no_text": "pictures and other media in place of a page of a book",
    "epub.empty_part": "pages of a book without text",
    "epub.missing_part": "pages of a book that are not in its archive",
    "html.empty": "empty files",
    "html.no_page": "files that are no page",
    "latex.no_tex": "archives without a TeX file",
    "files.unknown_content": "files whose name and first line name no language",
    "files.binary": "binary data",
    "files.empty": "the file is empty",
    "files.unwanted_name": "its name announces no text",
    "jsonl.empty_line": "empty lines",
    "parquet.no_rows": "a table without rows",
    "tar.folder": "folders",
    "tar.link": "links",
    "warc.continuation": "continuations of records",
    "warc.metadata": "metadata of records",
    "warc.request": "requests",
    "warc.resource": "resources",
    "warc.revisit": "revisits, which refer to a page elsewhere",
    "warc.warcinfo": "what the archive says of itself",
}
"""What readers pass over without a row."""

_MARKS = {" ": "", "-": "red strike", "+": "green", "=": "yellow"}


def as_dict(trial: Trial, recipe: Recipe, where: str) -> dict[str, Any]:
    """Plain JSON values, apart from dates."""
    verdict = trial.verdict
    own = {name: value for name, value in trial.document.items() if name not in ("id", "source", "priority")}
    return {
        "input": where,
        "configuration": recipe.origin,
        **own,
        "verdict": verdict.action if verdict else "kept",
        **_verdict(verdict),
        "reason": REASONS.get(verdict.by) if verdict else None,
        "stages": [
            {"stage": each.stage, **each.facts, "bytes_in": each.bytes_before, "bytes_out": each.bytes_after}
            | _verdict(each.verdict)
            for each in trial.passed
        ],
        "not_tried": list(recipe.untried),
        "notes": list(recipe.notes),
        "signals": dict(trial.signals),
        "rules": [
            {
                "rule": each.rule.name,
                "signal": each.rule.signal,
                "value": each.value,
                "minimum": each.rule.minimum,
                "maximum": each.rule.maximum,
                "drop_when": each.rule.expression or None,
                "verdict": each.verdict,
            }
            for each in trial.judged
        ],
        "text": trial.text,
        "edits": [
            {"stage": line.stage, "mark": line.mark, "line": line.text, "reason": line.reason}
            for line in trial.lines
            if line.stage
        ],
        "repeated_lines": [i for i, line in enumerate(_standing(trial.lines)) if line.mark == "="],
    }


def show(trial: Trial, recipe: Recipe, where: str, console: Console, whole: bool = False) -> None:
    """Prints the document's way, the verdict, every signal beside its limits, and the text; `where` stands above."""
    console.print(printable(where), style="bold", overflow="fold")
    _field("read", _reading(trial), console)
    dropped = False
    for each in trial.passed:
        said = _stage(each)
        if said:
            _field(each.stage, f"{said} (a run would not come so far)" if dropped else said, console)
        dropped = dropped or each.verdict is not None
    if recipe.untried and trial.quarantined_by is None:
        _field("not tried", f"{', '.join(recipe.untried)}: what needs the whole corpus", console)
    for note in recipe.notes:
        _field("left out", note, console)
    verdict = trial.verdict
    style = "bold red" if verdict else "bold green"
    later = ", as far as one document can tell" if recipe.untried else ""
    said = f"{verdict.action}, {_because(verdict, trial.judged)}" if verdict else f"kept{later}"
    _field("verdict", said, console, style)
    _signals(trial, console)
    _text(trial.lines, console, whole)


def no_document(given: Input) -> str:
    """A sentence for an input of which the reader made nothing."""
    passed_over = [NO_DOCUMENT.get(reason, f"{count:,} × {reason}") for reason, count in given.skipped.items()]
    return f"{given.name}: no document in it, read as {given.format}: {', '.join(passed_over) or 'nothing is in it'}"


def _verdict(verdict: Verdict | None) -> dict[str, str | float | None]:
    return {"by": None} if verdict is None else {"by": verdict.by, "value": verdict.value, "limit": verdict.limit}


def _field(name: str, said: str, console: Console, style: str = "") -> None:
    """`name` in a column of its own, what is said wrapped beside it."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(width=max(11, len(name)), no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(f"  {name}" if len(name) < 10 else name, Text(printable(said), style))
    console.print(table)


def _reading(trial: Trial) -> str:
    document = trial.document
    if trial.quarantined_by is not None:
        return f"{plural(document['read_bytes'], 'byte')}, no document: {_reason(trial.quarantined_by)}"
    media = document["content_type"]
    parts = [f"{plural(document['read_bytes'], 'byte')} of {f'a page, {media}' if media else 'text'}"]
    parts += [f"{name} {document[name]}" for name in ("domain", "language", "url", "timestamp") if document[name]]
    return "; ".join(parts)


def _stage(passed: Passed) -> str:
    """What one stage made of it, in a line."""
    facts = {name: _value(value) for name, value in passed.facts.items() if value is not None}
    parts = [text if name == passed.stage else f"{name.replace('_', ' ')} {text}" for name, text in facts.items()]
    if passed.bytes_before != passed.bytes_after:
        parts.append(f"{plural(passed.bytes_before, 'byte')} in, {plural(passed.bytes_after, 'byte')} of text out")
    if passed.verdict:
        parts.append(f"{passed.verdict.action}, {_because(passed.verdict)}")
    elif passed.by_rules:
        parts.append("passes")
    return ", ".join(parts)


def _because(verdict: Verdict, judged: Iterable[Judged] = ()) -> str:
    if verdict.by in REASONS:
        figures = "" if verdict.value is None else f" {measured(verdict.value, verdict.limit)}"
        figures += "" if verdict.limit is None else f", limit {number(verdict.limit)}"
        return f"{verdict.by}{figures}: {REASONS[verdict.by]}"
    judged = list(judged)
    others = [each.rule.name for each in judged if each.verdict == FAILS and each.rule.name != verdict.by]
    also = f"; it also fails {', '.join(others)}" if others else ""
    expression = next((each.rule.expression for each in judged if each.rule.name == verdict.by), "")
    if expression:
        return f"{verdict.by}: {expression}{also}"
    if verdict.value is None or verdict.limit is None:
        return verdict.by
    side = "maximum" if verdict.value > verdict.limit else "minimum"
    return f"{verdict.by}: {measured(verdict.value, verdict.limit)}, {side} {number(verdict.limit)}{also}"


def _reason(reason: str) -> str:
    return f"{REASONS[reason]} ({reason})" if reason in REASONS else reason


def _signals(trial: Trial, console: Console) -> None:
    """A row for every rule, signal by signal in the order measured, then the signals without a rule."""
    from rich.table import Table

    if not trial.signals:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("signal", no_wrap=True)
    for head in ("value", "limits"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("rule of", overflow="fold")
    table.add_column("", no_wrap=True)
    by_signal: dict[str, list[Judged]] = {}
    conditions = [each for each in trial.judged if each.rule.expression]
    for each in trial.judged:
        if each.rule.expression:
            continue
        by_signal.setdefault(each.rule.signal, []).append(each)
    for name in sorted(by_signal, key=lambda name: list(trial.signals).index(name) if name in trial.signals else -1):
        first = by_signal[name][0]
        for i, each in enumerate(by_signal[name]):
            style = {FAILS: "bold red", PASSES: ""}.get(each.verdict, "dim")
            owner = each.rule.name.removesuffix(f".{name}")
            said = {FAILS: "FAIL", PASSES: "pass", NO_VALUE: "–"}.get(each.verdict, "n/a")
            ends = [end for other in by_signal[name] for end in (other.rule.minimum, other.rule.maximum)]
            shown = number(None) if first.value is None else measured(first.value, *ends)
            cells = (name, shown) if i == 0 else ("", "")
            table.add_row(*cells, limits(each.rule.minimum, each.rule.maximum), owner, said, style=style)
    console.print()
    console.print(table)
    for each in conditions:
        console.print(f"{each.rule.name}: {_condition(each, trial)}", style="bold red" if each.verdict == FAILS else "")
    others = [
        f"{name} {number(value)}"
        for name, value in trial.signals.items()
        if name not in by_signal and _says(name, value)
    ]
    if others:
        console.print(f"without a rule: {', '.join(others)}", style="dim")
    if any(each.verdict not in (PASSES, FAILS) for each in trial.judged):
        console.print("–: no value, which fails nothing; n/a: for another domain or language", style="dim")


def _condition(judged: Judged, trial: Trial) -> str:
    """What a rule with `drop_when` says, the values it looked at, and what came of it."""
    values = [f"{name} {number(trial.signals.get(name))}" for name in judged.rule.signals]
    said = {FAILS: "FAIL", PASSES: "pass"}.get(judged.verdict, "n/a")
    return f"drop when {judged.rule.expression} ({', '.join(values)}): {said}"


def _says(name: str, value: float | None) -> bool:
    """Of the counts of removed lines by reason, those that are not 0."""
    return not name.startswith("lines_removed_by_") or bool(value)


def _text(lines: tuple[Line, ...], console: Console, whole: bool) -> None:
    """The text with marks in front: '-' removed, '+' put in its place, '=' equal to an earlier line."""
    from rich.text import Text

    if not lines:
        return
    legend = {"-": "- removed", "+": "+ put in", "=": "= equal to an earlier line"}
    marks = [said for mark, said in legend.items() if any(line.mark == mark for line in lines)]
    console.print(f"\ntext{': ' if marks else ''}{', '.join(marks)}", style="bold")
    skipped = 0
    for i, line in enumerate(lines):
        if not whole and i >= FIRST_LINES and line.stage is None:
            skipped += 1
            continue
        _gap(skipped, console)
        skipped = 0
        stage = f"  [{line.reason or line.stage}]" if line.stage else ""
        shown = Text(f"{line.mark} ") + Text(printable(line.text.replace("\t", "    ")), _MARKS[line.mark])
        console.print(shown + Text(stage, "dim"), soft_wrap=True)
    _gap(skipped, console)


def _gap(skipped: int, console: Console) -> None:
    if skipped:
        console.print(f"  … {skipped:,} more lines, which --full shows", style="dim")


def _standing(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.mark != "-"]


def _value(value: Value) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
