"""How fast all signals are measured, in bytes of text a second on one core, by language; and the memory they add.

    python benchmarks/signals.py [--data FOLDER] [--output FILE]

Real documents, about 4 MB a language where there are as many. Seconds are the process's own, the least of nine passes,
the languages taken in turn so that what else the machine does falls on all. Memory: what a document of one-letter lines
of 60 MB adds to the process. Claims: English at 60 MB/s or more, no language below half of English, under 500 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import zstandard  # noqa: E402
from machine import described  # noqa: E402

from gristmill.kernels.text import datatrove, signals, utf8  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "signals.json"
BYTES, PASSES, HUGE = 4_000_000, 9, 60_000_000
FILES = (
    *("english/encyclopedia-wikipedia-en", "english/news-digitalgov", "english/academic-plos", "english/us-speeches"),
    *(
        "multilingual/wikipedia-zh",
        "multilingual/tico19",
        "multilingual/debian-handbook",
        "multilingual/opensource-guide",
    ),
    *("multilingual/bitcoin-org", "multilingual/xquad-paragraphs", "multilingual/ud-treebanks"),
)
LANGUAGES = ("en", "zh", "ja", "th", "ru", "ar", "hi", "de", "ko")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments.add_argument("--output", type=Path, default=RESULT)
    given = arguments.parse_args()
    texts = {language: utf8.buffers(pa.array(found, pa.large_string())) for language, found in read(given.data).items()}
    seconds = dict.fromkeys(texts, float("inf"))
    compatible = float("inf")
    for _ in range(PASSES):
        for language, (data, offsets) in texts.items():
            seconds[language] = min(seconds[language], timed(lambda d=data, o=offsets: signals.count(d, o)))
        compatible = min(compatible, timed(lambda: datatrove.count(*texts["en"])))
    rates = {language: int(offsets[-1]) / seconds[language] / 1e6 for language, (_, offsets) in texts.items()}
    result = {
        **described(),
        "MB/s": {language: round(rate, 1) for language, rate in rates.items()},
        "share of English": {language: round(rate / rates["en"], 2) for language, rate in rates.items()},
        "MB": {language: round(int(offsets[-1]) / 1e6, 1) for language, (_, offsets) in texts.items()},
        "documents": {language: len(offsets) - 1 for language, (_, offsets) in texts.items()},
        "datatrove's measures, own splits, MB/s": round(int(texts["en"][1][-1]) / compatible / 1e6, 1),
        "MB added by 60 MB of one-letter lines": added(),
    }
    given.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for language, rate in rates.items():
        print(f"{language}  {rate:6.1f} MB/s  {rate / rates['en']:5.2f} of English")
    print(f"memory {result['MB added by 60 MB of one-letter lines']} MB, load {result['load']:.1f}")


def read(data: Path) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for name in FILES:
        left = dict.fromkeys(LANGUAGES, BYTES // 3)
        with zstandard.open(data / f"{name}.jsonl.zst", "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                language = record["lang"].lower().split("-")[0]
                if left.get(language, 0) > 0:
                    out[language].append(record["text"])
                    left[language] -= len(record["text"].encode())
    return out


def timed(call: Any) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def added() -> int:
    """MB by which a document of 60 MB raises the most that this process has held."""
    data = np.frombuffer(b"a\n" * (HUGE // 2), np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signals.count(data, np.array([0, len(data)], np.int64))
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6)


if __name__ == "__main__":
    main()
