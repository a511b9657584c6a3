"""The whole per-document chain in one worker, JSON Lines in, Parquet out: MB/s, and what each stage takes of it.

    python benchmarks/chain.py [--data FOLDER]      results/chain.json, docs/chain.svg, the plan's stage_seconds

Language, line rules, signals, all English presets, perplexity, personal data, decontamination against all benchmark
files of the data, then Parquet. Extraction is off: the input is text. The language model is trained here by
`gristmill lm train` on every second document, and the chain runs on the others. Seconds are those of the processor, the
best of three passes after one that compiles and loads. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from machine import described  # noqa: E402

from gristmill.pipeline.readers.formats import read  # noqa: E402
from gristmill.pipeline.readers.segments import Partition, Segment  # noqa: E402
from gristmill.pipeline.readers.source import SourceSpec  # noqa: E402
from gristmill.pipeline.steps.chain import as_batch  # noqa: E402
from gristmill.pipeline.steps.ledger import split_verdicts, without_verdicts  # noqa: E402

ENGLISH = ("academic-plos", "books-standard-ebooks", "news-digitalgov", "us-speeches", "encyclopedia-wikipedia-en")
PRESETS = ("gopher_quality", "gopher_repetition", "c4", "fineweb", "nemotron", "refinedweb")
PASSES = 3
BATCH_BYTES = 4_000_000
CLAIM = 8.0
RATES = ROOT / "pipeline" / "plan" / "rates.json"
PLANNED = ("lines", "perplexity", "pii", "decontaminate")
"""Stages whose speed the plan takes from here: the runs behind its other rates do not have them."""


def write(folder: Path, data: Path) -> tuple[Path, Path]:
    """(what the model is trained on, what the chain reads): documents by turns."""
    paths = folder / "train.jsonl", folder / "chain.jsonl.zst"
    with paths[0].open("w", encoding="utf-8") as train, zstandard.open(paths[1], "wt", encoding="utf-8") as rest:
        for name in ENGLISH:
            lines = zstandard.open(data / "english" / f"{name}.jsonl.zst", "rt", encoding="utf-8")
            for number, line in enumerate(lines):
                (train, rest)[number % 2].write(line)
    return paths


def stages(data: Path, models: Path) -> list[Any]:
    from gristmill.stages.decontaminate import Decontaminate
    from gristmill.stages.language import Language
    from gristmill.stages.lines import Lines
    from gristmill.stages.perplexity import Measure
    from gristmill.stages.pii import Pii
    from gristmill.stages.rules import Rules
    from gristmill.stages.signals import Signals

    lists = tuple(str(path) for path in sorted((data / "labelled").glob("decontam-*.jsonl.zst")))
    return [
        Language(model=str(data / "models" / "lid.176.ftz")),
        Lines(),
        Signals(),
        Rules(presets=PRESETS),
        Measure(models=str(models)),
        Pii(),
        Decontaminate(benchmarks=lists),
    ]


def run(path: Path, chain: list[Any], out: Path, all_through: bool) -> dict[str, Any]:
    """Seconds and bytes in by stage. all_through: a stage's verdicts are filled but nobody leaves."""
    size = path.stat().st_size
    segment = Segment(str(path), path.name, size, 0, size)
    spec = SourceSpec("documents", str(path), columns={"timestamp": "date"})
    partition = Partition(0, spec.name, (segment,), size)
    seconds = dict.fromkeys(("read", *(stage.name for stage in chain), "write"), 0.0)
    taken = dict.fromkeys(seconds, 0)
    writer = None
    began = time.process_time()
    for batch in read(partition, spec, batch_bytes=BATCH_BYTES):
        seconds["read"] += time.process_time() - began
        table = pa.Table.from_batches([batch]).drop_columns(["content", "content_type", "read_bytes", "quarantined_by"])
        taken["read"] += text_bytes(table)
        for stage in chain:
            began = time.process_time()
            taken[stage.name] += text_bytes(table)
            result = pa.Table.from_batches([stage.apply(as_batch(table))])
            dropped, quarantined = split_verdicts(result)
            table = without_verdicts(result)
            if not all_through:
                table = table.filter(pa.array(~(dropped | quarantined)))
            seconds[stage.name] += time.process_time() - began
        began = time.process_time()
        taken["write"] += text_bytes(table)
        if writer is None:
            writer = pq.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table)
        seconds["write"] += time.process_time() - began
        began = time.process_time()
    if writer:
        writer.close()
    return {"seconds": seconds, "bytes": taken}


def text_bytes(table: pa.Table) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(table.column("text")), min_count=0).as_py())


def summary(result: dict[str, Any]) -> dict[str, Any]:
    seconds, taken = result["seconds"], result["bytes"]
    total = sum(seconds.values())
    return {
        "mb_per_second": taken["read"] / 1e6 / total,
        "bytes": taken["read"],
        "seconds": total,
        "stages": {
            name: {
                "share_of_time": seconds[name] / total,
                "seconds": seconds[name],
                "mb_in": taken[name] / 1e6,
                "mb_per_second": taken[name] / 1e6 / seconds[name] if seconds[name] else None,
            }
            for name in seconds
        },
    }


def picture(stages: dict[str, Any]) -> str:
    """Bars: each stage's share of the time, with its own MB/s."""
    rows = []
    for i, (name, stage) in enumerate(stages.items()):
        y, width = 30 + 26 * i, 420 * stage["share_of_time"]
        rows.append(
            f'<text x="110" y="{y + 13}" text-anchor="end">{name}</text>'
            f'<rect x="118" y="{y}" width="{width:.1f}" height="18" fill="#b5651d"/>'
            f'<text x="{124 + width:.1f}" y="{y + 13}">{100 * stage["share_of_time"]:.0f} %, '
            f"{stage['mb_per_second']:.0f} MB/s</text>"
        )
    height = 40 + 26 * len(stages)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 {height}" font-family="sans-serif" font-size="12">'
        f'<title>Time of the per-document chain by stage</title><rect width="660" height="{height}" fill="#fff"/>'
        f'<text x="118" y="18">share of the time of one core, and MB/s of the stage alone</text>{"".join(rows)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, path = write(folder, options.data)
        command = [sys.executable, "-m", "pipeline", "lm", "train", "--text", str(train), "--columns", "language=lang"]
        command += ["--languages", "en", "--output", str(folder / "lm"), "--arpa", "none", "--inline"]
        subprocess.run(command, check=True, cwd=ROOT)
        chain = stages(options.data, folder / "lm")
        run(path, chain, folder / "out.parquet", all_through=True)
        results = {}
        for way in (True, False):
            found = [run(path, chain, folder / "out.parquet", all_through=way) for _ in range(PASSES)]
            results[way] = summary(min(found, key=lambda result: sum(result["seconds"].values())))
    result = {
        "claim": f"{CLAIM} MB/s a core",
        **described("sentencepiece", "kenlm", "fasttext"),
        "presets": PRESETS,
        "every_document_through_every_stage": results[True],
        "documents_leave_where_they_are_dropped": results[False],
        "holds": results[True]["mb_per_second"] >= CLAIM,
    }
    (ROOT / "benchmarks" / "results" / "chain.json").write_text(json.dumps(result, indent=1) + "\n")
    rates = json.loads(RATES.read_text())
    rates["stage_seconds"] = {
        name: round(stage["seconds"] / (1e6 * stage["mb_in"]), 12)
        for name, stage in results[True]["stages"].items()
        if name in PLANNED
    }
    RATES.write_text(json.dumps(rates, indent=1) + "\n")
    (ROOT / "docs" / "chain.svg").write_text(picture(results[True]["stages"]))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
