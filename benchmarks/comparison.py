"""The rows of the table that compares Gristmill with its peers, from the results in `results/`.

A row: what is done, our figure, the peer's, their ratio, the script that measured both in one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = tuple[str, str, str, str, str]


def rows(results: Mapping[str, Any]) -> Iterator[Row]:
    for name, made in (
        ("curation", curation),
        ("language", language),
        ("perplexity", perplexity),
        ("extract", extract),
        ("decisions", decisions),
    ):
        if name in results:
            yield from made(results[name])


def curation(result: Mapping[str, Any]) -> Iterator[Row]:
    ours = f"{result['english']['ours']['mb_per_second']:.0f} MB/s a core"
    theirs = result["english"]["datatrove"]
    script = "`benchmarks/peers/curation.py`"
    shipped, given = result["over_datatrove_as_shipped"], result["over_datatrove_with_splits_given"]
    name = f"datatrove {result['peer_versions']['datatrove']}"
    yield (
        "Gopher's, C4's and FineWeb's filters, JSONL.zst to Parquet, English",
        ours,
        f"{name}: {theirs['shipped']['mb_per_second']:.2f} MB/s, most of it spaCy's word splitting",
        f"{shipped:.0f}×",
        script,
    )
    yield (
        "the same, all word and sentence splits given to the peer",
        ours,
        f"{name}: {theirs['given']['mb_per_second']:.1f} MB/s",
        f"{given:.0f}×",
        script,
    )


def language(result: Mapping[str, Any]) -> Iterator[Row]:
    speed = result["speed"]["english"]
    yield (
        "language identification, lid.176, whole documents, English; the same first choice on every text",
        f"{speed['mb_per_s']:.0f} MB/s a core",
        f"fastText: {speed['library_mb_per_s']:.1f} MB/s",
        f"{speed['ratio']:.1f}×",
        "`benchmarks/language.py`",
    )


def perplexity(result: Mapping[str, Any]) -> Iterator[Row]:
    chain = result["chain"]
    yield (
        "CCNet's perplexity: normalise, SentencePiece, 5-gram model; the same ids and scores",
        f"{chain['ours_mb_s']:.0f} MB/s a core",
        f"SentencePiece and KenLM from Python: {chain['libraries_mb_s']:.1f} MB/s",
        f"{chain['ratio']:.1f}×",
        "`benchmarks/perplexity.py`",
    )


def extract(result: Mapping[str, Any]) -> Iterator[Row]:
    for ours, theirs in (
        ("gristmill, engine: resiliparse", "resiliparse alone, as shipped"),
        ("gristmill, engine: trafilatura", "trafilatura alone, as shipped"),
    ):
        mine, other = (result["strings"][name]["held out"]["f1"] for name in (ours, theirs))
        engine = ours.partition(": ")[2]
        yield (
            f"main content of {result['inputs']['evaluation pages']} pages, F1 on the half not used for tuning",
            f"{mine:.3f} (engine {engine})",
            f"{theirs}: {other:.3f}",
            f"{mine - other:+.3f}",
            "`benchmarks/extract.py`",
        )


def decisions(result: Mapping[str, Any]) -> Iterator[Row]:
    same, own = (result[kind]["all four"] for kind in ("same splits", "own splits"))
    yield (
        f"decisions of datatrove's four filters, `compat: datatrove`, {same['documents']:,} documents, its splits",
        f"{same['we drop']:,} dropped",
        f"datatrove {result['peers']['datatrove']}: {same['they drop']:,} dropped",
        f"{100 * same['agreement']:.2f} % agree",
        "`benchmarks/peers/decisions.py`",
    )
    yield (
        f"the same with splits of our own, {own['documents']:,} English documents",
        f"{own['we drop']:,} dropped",
        f"datatrove {result['peers']['datatrove']}: {own['they drop']:,} dropped",
        f"{100 * own['agreement']:.2f} % agree",
        "`benchmarks/peers/decisions.py`",
    )
