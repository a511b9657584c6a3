"""Benchmarks in files on disk, scored by `trainer.scoring.harness`: one JSON record a line, plain or .zst.

    text, choices, gold or label        multiple choice: the choice with the highest log-likelihood after the text
    context_options, continuation, gold the context after which the continuation is likeliest (WinoGrande)
    text, continuation                  whether the likeliest tokens after the text are the continuation
    text, answer                        a number that the model writes (GSM8K, MGSM, SVAMP)
    optional                            benchmark, lang, split, id

Figures of a benchmark, each with its standard error, the sample standard deviation / sqrt(n):

    acc, acc_norm, acc_bytes            right by log-likelihood; by that per character; per UTF-8 byte of the choice
    exact_match, exact_match_flexible   the number after "####"; the last number of the answer

Names, prompts, `####` and the number's pattern are lm-evaluation-harness's, except where a record lacks what its
prompt needs: XCOPA's records here do not say whether cause or effect is asked for, so no connective stands between.
Where records have splits, those of "test" are scored and the examples come from others; else the examples are the
first records, never the one that is asked. Code is not run: HumanEval is left out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.trainer.errors import ConfigError
from gristmill.trainer.scoring.harness import Scorer

_QUESTION, _ANSWER = "Question: {text}\nAnswer:", "{text}\nAnswer:"
PROMPTS = {
    "arc_easy": _ANSWER,
    "arc_challenge": _ANSWER,
    "boolq": _ANSWER,
    "piqa": _ANSWER,
    "gsm8k": _QUESTION,
    "mgsm": _QUESTION,
    "svamp": _QUESTION,
}
"""Prompt by benchmark, default the text; lm-evaluation-harness's, where the file has no "Question:" yet."""

STOP = ("Question:",)
ANSWER_TOKENS = 256  # lm-evaluation-harness's default of max_gen_toks
STRICT = re.compile(r"#### (-?[0-9.,]+)")
NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


@dataclass(frozen=True)
class Item:
    """One question. pairs: (context, continuation) to compare, none for a number to write; gold: index of the right
    pair, or the number; lengths: characters and bytes of each choice; split: "" where the record names none."""

    pairs: tuple[tuple[str, str], ...]
    gold: int | str
    prompt: str
    lengths: tuple[tuple[int, int], ...]
    example: str  # the prompt and its right answer
    language: str
    split: str


def read_items(paths: Sequence[str | Path]) -> tuple[dict[str, list[Item]], dict[str, str]]:
    """Benchmark -> its items, in the files' order, and benchmark -> why it cannot be scored.

    A record without `benchmark` belongs to one of its file's name. Raises ConfigError for what is no task file.
    """
    records: dict[str, list[dict[str, Any]]] = {}
    for path in map(Path, paths):
        for number, line in enumerate(lines(path), 1):
            try:
                record = json.loads(line)
                records.setdefault(record.get("benchmark") or path.name.split(".")[0], []).append(record)
            except (ValueError, AttributeError) as error:
                raise ConfigError(f"{path}:{number}: is not a JSON record: give JSON lines, plain or .zst") from error
    items: dict[str, list[Item]] = {}
    refused: dict[str, str] = {}
    for name, mine in records.items():
        try:
            items[name] = [_item(name, record) for record in mine]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            refused[name] = str(error)
    return items, refused


def score_items(
    scorer: Scorer, items: Sequence[Item], shots: int = 0, limit: int | None = None, answer_tokens: int = ANSWER_TOKENS
) -> dict[str, Any]:
    """{"n", figure: mean, figure + "_stderr": its standard error or None, "languages": {language: the same}}.

    shots: examples before each question, of its language; limit: questions per language, the first.
    """
    by_language: dict[str, list[Item]] = {}
    for item in items:
        by_language.setdefault(item.language, []).append(item)
    values: dict[str, dict[str, np.ndarray]] = {}
    for language, mine in sorted(by_language.items()):
        has_test = any(item.split == "test" for item in mine)
        asked = [item for item in mine if item.split == "test" or not has_test][:limit]
        others = [item for item in mine if item.split != "test"] if has_test else mine
        before = [_examples(item, others, shots) for item in asked]
        values[language] = _values(scorer, asked, before, answer_tokens)
    names = next(iter(values.values())).keys()
    whole = {name: np.concatenate([value[name] for value in values.values()]) for name in names}
    return {**_figures(whole), "languages": {language: _figures(value) for language, value in values.items()}}


def _values(scorer: Scorer, items: Sequence[Item], before: Sequence[str], tokens: int) -> dict[str, np.ndarray]:
    """Figure -> one value per item."""
    if not items[0].pairs:
        prompts = [start + item.prompt for start, item in zip(before, items, strict=True)]
        answers = scorer.answers(prompts, STOP, tokens)
        right = {"exact_match": _strict, "exact_match_flexible": _last}
        return {
            name: np.array([take(answer) == item.gold for answer, item in zip(answers, items, strict=True)], float)
            for name, take in right.items()
        }
    pairs = [(start + a, b) for start, item in zip(before, items, strict=True) for a, b in item.pairs]
    scores = iter(scorer.continuations(pairs))
    out: dict[str, list[float]] = {"acc": []}
    for item in items:
        mine = [next(scores) for _ in item.pairs]
        if len(mine) == 1:
            out["acc"].append(float(mine[0].greedy))
            continue
        likelihood = np.array([score.log_likelihood for score in mine])
        length = np.maximum(np.array(item.lengths, float), 1)
        norms = {"acc": 1.0, "acc_norm": length[:, 0], "acc_bytes": length[:, 1]}
        for name, norm in norms.items():
            out.setdefault(name, []).append(float(np.argmax(likelihood / norm) == item.gold))
    return {name: np.array(value) for name, value in out.items()}


def _figures(values: dict[str, np.ndarray]) -> dict[str, Any]:
    out: dict[str, Any] = {"n": len(next(iter(values.values())))}
    for name, value in values.items():
        error = float(value.std(ddof=1) / len(value) ** 0.5) if len(value) > 1 else None
        out |= {name: float(value.mean()), f"{name}_stderr": error}
    return out


def _examples(item: Item, others: Sequence[Item], shots: int) -> str:
    chosen = [other.example for other in others[: shots + 1] if other is not item][:shots]
    if len(chosen) < shots:
        raise ConfigError(f"--shots {shots}: the file has {len(chosen)} other records in {item.language or 'all'}")
    return "".join(f"{example}\n\n" for example in chosen)


def _item(benchmark: str, record: dict[str, Any]) -> Item:
    """ValueError with a reason where a record is of a kind that is not scored."""
    language, split = record.get("lang") or "", _split(record)
    if "test" in record:
        raise ValueError("its answers are programs, and code is not run")
    if "context_options" in record:
        contexts, after = record["context_options"], record["continuation"]
        pairs = tuple((context, f" {after}") for context in contexts)
        prompt, gold = "", int(record["gold"])
        continuations = [after] * len(contexts)
    else:
        prompt = PROMPTS.get(benchmark, "{text}").replace("{text}", record["text"])
        if "choices" in record:
            continuations = record["choices"]
            gold = int(record["gold"] if "gold" in record else record["label"])
        elif "continuation" in record:
            continuations, gold = [record["continuation"]], 0
        elif "answer" in record:
            number = _number(record["answer"].split("####")[-1].strip())
            if number is None:
                raise ValueError("an answer of its records is no number, and other answers are not compared")
            return Item((), number, prompt, (), f"{prompt} {record['answer']}", language, split)
        else:
            raise ValueError("its records have neither choices nor continuation nor answer")
        pairs = tuple((prompt, f" {choice}") for choice in continuations)
    if not 0 <= gold < len(pairs):
        raise ValueError(f"gold {gold} of a record is none of its {len(pairs)} choices")
    lengths = tuple((len(choice), len(choice.encode())) for choice in continuations)
    return Item(pairs, gold, prompt, lengths, "".join(pairs[gold]), language, split)


def _split(record: dict[str, Any]) -> str:
    """The field, or what the id says, such as xcopa/et/test.et.jsonl/0."""
    found = re.search(r"(?<![a-z])(train|val|dev|test)(?![a-z])", str(record.get("id", "")))
    return record.get("split") or (found[1] if found else "")


def _strict(answer: str) -> str | None:
    found = STRICT.search(answer)
    return _number(found[1]) if found else None


def _last(answer: str) -> str | None:
    found = [match[0] for match in NUMBER.finditer(answer)]
    return _number(found[-1]) if found else None


def _number(text: str) -> str | None:
    """Without thousands' commas, dollar sign and final full stop; None where that is no number."""
    bare = text.replace(",", "").replace("$", "").removesuffix(".")
    return bare if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", bare) else None


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, plain or .zst, that are not empty."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file: give task files, JSON lines, plain or .zst")
    with open(path, "rb") as file:
        if path.suffix == ".zst":
            import zstandard

            file = zstandard.ZstdDecompressor().stream_reader(file)  # type: ignore[assignment]
        yield from (line for line in io.TextIOWrapper(file, "utf-8") if line.strip())
