"""Writes the tables of the documentation that are made from the code and from measured results.

    python docs/tables.py            rewrites the regions <!-- table: NAME --> … <!-- /table --> of README.md and docs/
    python docs/tables.py --check    exit 1 where one of them is not what it would write

`rules`, `line-rules`, `signals`: from the presets. `stage-attributes`: from `stages.interface`. `formats`: from
`pipeline.readers.format_table`. `comparison`: from benchmarks/results/*.json, in which a figure that was not measured
is missing, and then so is its row. `gpu`, `gpu-sentence`: from benchmarks/results/gpu_*.json; there a row whose result
is missing says "not measured".
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"
REGION = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.S)


def rules() -> str:
    from gristmill.stages.presets.table import PRESETS

    return "\n".join(_preset(name, rows) for name, rows in PRESETS.items())


def line_rules() -> str:
    from gristmill.stages.lines import MEANINGS
    from gristmill.stages.presets.table import LINE_PRESETS

    meanings = _table(("of a line", "what"), ((f"`{name}`", text) for name, text in MEANINGS.items()))
    return "\n".join([*(_preset(name, rows) for name, rows in LINE_PRESETS.items()), meanings])


def signals() -> str:
    from gristmill.stages.measured import MEASURED

    return _table(
        ("signal", "unit", "what"), ((f"`{each.name}`", each.unit, each.definition) for each in MEASURED.values())
    )


def stage_attributes() -> str:
    from gristmill.stages.interface import ATTRIBUTES, Stage, Traits

    said = {**{name: getattr(Stage, name).__doc__ for name in ATTRIBUTES}, **_field_docs(Traits)}
    defaults = {each.name: f"`{each.default!r}`" for each in fields(Traits)}
    rows = ((f"`{name}`", " ".join(text.split()), defaults.get(name, "must be given")) for name, text in said.items())
    return _table(("attribute", "what it says", "default"), rows)


def formats() -> str:
    from gristmill.pipeline.readers.format_table import FORMATS

    head = ("`format:`", "files", "a document is", "`record`", "`own_id`")
    rows = FORMATS.values()
    return _table(head, ((f"`{row.name}`", row.files, row.document, row.record, row.own_id) for row in rows))


def _field_docs(cls: type) -> dict[str, str]:
    """Of each field of a dataclass, the string that stands below it."""
    [body] = [node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)]
    return {
        field.target.id: said.value.value
        for field, said in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(said, ast.Expr)
    }


def _preset(name: str, rows: Iterable[Any]) -> str:
    def scope(rule: Any) -> str:
        languages = ", ".join(rule.languages) if len(rule.languages) <= 6 else f"{len(rule.languages)} languages"
        return "; ".join(filter(None, (", ".join(rule.domains), languages))) or "all"

    def limits(rule: Any) -> tuple[str, str]:
        low, high = ("" if x is None else f"{x:,g}" for x in (rule.minimum, rule.maximum))
        return low, high

    body = ((f"`{r.name}`", f"`{r.signal}`", *limits(r), scope(r), r.source) for r in rows)
    return f"### {name}\n\n" + _table(("rule", "signal", "at least", "at most", "applies to", "source"), body)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _results(pattern: str) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))}


def comparison() -> str:
    found = _results("*.json")
    from comparison import rows

    return _table(("what", "Gristmill", "beside it", "ratio", "measured by"), rows(found))


def gpu() -> str:
    found = _results("gpu_*.json")
    from gpu_table import HEAD, rows

    return _table(HEAD, rows(found))


def gpu_sentence() -> str:
    found = _results("gpu_*.json")
    from gpu_table import sentence

    return sentence(found)


TABLES: dict[str, Callable[[], str]] = {
    "rules": rules,
    "line-rules": line_rules,
    "signals": signals,
    "stage-attributes": stage_attributes,
    "formats": formats,
    "comparison": comparison,
    "gpu": gpu,
    "gpu-sentence": gpu_sentence,
}


def main() -> int:
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text()
        after = REGION.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]().rstrip()}\n\n{m[3]}", before)
        if after != before:
            stale.append(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(after)
    if "--check" in sys.argv:
        for name in stale:
            print(f"{name}: is not what the code says; run python docs/tables.py", file=sys.stderr)
        return int(bool(stale))
    return 0


if __name__ == "__main__":
    sys.exit(main())
