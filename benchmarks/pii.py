"""PII measured: recall of planted items by kind, what is found in text that nobody planted anything in, speed per core.

    python benchmarks/pii.py          benchmarks/results/pii.json, a minute

Needs documents: GRISTMILL_TEST_DATA, or ../shared/data. Items (`pii_items`) are made from seed 1 and planted between
the words of real documents; an item counts as found where exactly its bytes are taken. Found besides is what neither
was planted nor is found in the document without it. Unplanted text, beside the documents, is what numbers abound in:
change logs, tables, source code of the interpreter. What is found there is no proof of a mistake (addresses of
maintainers are addresses): samples of every kind are in the result to judge.

Beside it in the same run: the same e-mail and IPv4 definitions as regular expressions, over the same text.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import platform
import random
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stages"), str(Path(__file__).parent)]

from pii_definition import emails, ipv4  # noqa: E402
from pii_items import ITEMS  # noqa: E402

from gristmill.kernels.text.pii import scan  # noqa: E402
from gristmill.kernels.text.pii_patterns import KINDS, scope_bits  # noqa: E402
from gristmill.kernels.text.utf8 import buffers  # noqa: E402
from gristmill.pipeline.steps.chain import library_versions  # noqa: E402

DATA = Path(os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = Path(__file__).parent / "results" / "pii.json"
BYTES = 20_000_000
PLANTED = 500  # of each kind of item
REPEATS = 5
SAMPLES = 12
CLAIMED_MB_S = 200


def main() -> None:
    if not DATA.is_dir():
        sys.exit(f"no test data at {DATA}: set GRISTMILL_TEST_DATA")
    english = texts_of(sorted((DATA / "english").glob("*.jsonl.zst")))
    other = texts_of(sorted((DATA / "multilingual").glob("*.jsonl.zst")))
    code = texts_of(sorted((DATA / "code").glob("*.jsonl.zst")))
    sets = {"english": (english, False), "other": (other, False), "code": (code, True)}
    sets |= {name: found for name, found in of_this_machine().items() if found[0]}
    find(["compiles the kernel: a@b.de"], ["en"], False)
    result = {
        "claims": {"mb_per_second_and_core_without_a_match": CLAIMED_MB_S, "planted_found": 0.95},
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "date": datetime.date.today().isoformat(),
        "versions": library_versions(),
        "load": os.getloadavg()[0],
        "planted": planted(english, code),
        "unplanted": {name: unplanted(texts, is_code) for name, (texts, is_code) in sets.items()},
        "speed": {name: speed(texts, is_code) for name, (texts, is_code) in sets.items()},
        "regular_expressions": against_regular_expressions(english),
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result)


def texts_of(paths: list[Path]) -> list[tuple[str, str]]:
    """(text, language) of the files in turn, an equal share of BYTES from each."""
    found: list[tuple[str, str]] = []
    for path in paths:
        left = BYTES // len(paths)
        with path.open("rb") as file:
            for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8"):
                record = json.loads(line)
                if record["text"]:
                    found.append((record["text"], (record.get("lang") or "en").split("-")[0]))
                    left -= len(record["text"].encode())
                if left < 0:
                    break
    return found


def of_this_machine() -> dict[str, tuple[list[tuple[str, str]], bool]]:
    """Text full of numbers that every Linux with Python has: change logs, tables, the standard library."""
    library = Path(sysconfig.get_paths()["stdlib"])
    site = Path(sysconfig.get_paths()["purelib"])
    patterns = {
        "changelogs": (Path("/usr/share/doc"), ("**/*changelog*", "**/NEWS*"), False),
        "tables": (site, ("**/*.csv", "**/*.tsv", "**/*.dat", "**/*.txt"), False),
        "standard library": (library, ("*.py", "*/*.py"), True),
    }
    out: dict[str, tuple[list[tuple[str, str]], bool]] = {}
    for name, (folder, globs, is_code) in patterns.items():
        texts, size = [], 0
        for path in sorted(path for pattern in globs for path in folder.glob(pattern) if path.is_file()):
            content = path.read_bytes()[:2_000_000]
            content = zlib_text(content) if path.suffix == ".gz" else content
            text = content.decode("utf-8", "ignore")
            if text and "\0" not in text:
                texts.append((text, "python" if is_code else "en"))
                size += len(content)
            if size > BYTES:
                break
        out[name] = (texts, is_code)
    return out


def zlib_text(content: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(31).decompress(content)
    except zlib.error:
        return b""


def find(texts: list[str], languages: list[str], code: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(matches, data, offsets)."""
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    scopes = np.array([scope_bits(language, code) for language in languages], np.int64)
    return scan(data, offsets, scopes, np.ones((len(texts), len(KINDS)), np.bool_)), data, offsets


def planted(english: list[tuple[str, str]], code: list[tuple[str, str]]) -> dict[str, Any]:
    draw = random.Random(1)
    out = {}
    for item, (kind, language, is_code, before, make) in ITEMS.items():
        carriers = [text for text, _ in (code if is_code else english) if len(text) > 400]
        texts, places, plain = [], [], []
        for _ in range(PLANTED):
            text = draw.choice(carriers)[:4000]
            at = draw.choice([k for k, c in enumerate(text) if c == " "] or [0])
            value = make(draw)
            after = "'\n" if before.endswith("'") else draw.choice([" ", ".", ",", "\n", ")"])
            texts.append(f"{text[:at]}\n{before}{value}{after}{text[at:]}")
            places.append((len(f"{text[:at]}\n{before}".encode()), len(value.encode())))
            plain.append(f"{text[:at]}\n{before}{after}{text[at:]}")
        matches, _, offsets = find(texts, [language] * PLANTED, is_code)
        without = find(plain, [language] * PLANTED, is_code)[0].shape[1]
        spans = {(row, a - offsets[row], b - a, KINDS[k]) for row, a, b, k in matches.T}
        hits = [(row, at, n, kind) in spans for row, (at, n) in enumerate(places)]
        out[item] = {
            "kind": kind,
            "planted": PLANTED,
            "found": sum(hits),
            "recall": sum(hits) / PLANTED,
            "found_besides": int(matches.shape[1]) - sum(hits) - without,
            "missed": [
                texts[row].encode()[at : at + n].decode() for row, (at, n) in enumerate(places) if not hits[row]
            ][:5],
        }
    return out


def unplanted(documents: list[tuple[str, str]], code: bool) -> dict[str, Any]:
    texts, languages = [text for text, _ in documents], [language for _, language in documents]
    matches, data, offsets = find(texts, languages, code)
    draw = random.Random(1)
    size = len(data) / 1e6
    out: dict[str, Any] = {"documents": len(texts), "megabytes": size, "kinds": {}}
    for k, kind in enumerate(KINDS):
        mine = matches[:, matches[3] == k].T.tolist()
        shown = []
        for row, a, b, _ in draw.sample(mine, min(SAMPLES, len(mine))):
            before = bytes(data[max(offsets[row], a - 30) : a]).decode("utf-8", "replace")
            match = bytes(data[a:b]).decode("utf-8", "replace")
            shown.append(f"{before}⟦{covered(match, kind)}⟧".replace("\n", "⏎"))
        out["kinds"][kind] = {"found": len(mine), "per_megabyte": len(mine) / size, "samples": shown}
    return out


def covered(match: str, kind: str) -> str:
    """Enough to judge a match by, and no more: it may be somebody's."""
    if kind == "email":
        return f"{match[:2]}…@{match.rpartition('@')[2]}"
    return match[:6] + "".join("9" if c.isdigit() else "x" if c.isalpha() else c for c in match[6:40])


def speed(documents: list[tuple[str, str]], code: bool) -> dict[str, float]:
    texts, languages = [text for text, _ in documents], [language for _, language in documents]
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    scopes = np.array([scope_bits(language, code) for language in languages], np.int64)
    wanted = np.ones((len(texts), len(KINDS)), np.bool_)
    bare = data.copy()
    bare[(bare >= 48) & (bare <= 57) | (bare == 64)] = 101  # text without anything to find: every digit and @ an e
    return {
        "megabytes": len(data) / 1e6,
        "mb_per_second": best(lambda: scan(data, offsets, scopes, wanted), len(data)),
        "mb_per_second_without_digits_and_at": best(lambda: scan(bare, offsets, scopes, wanted), len(data)),
    }


def best(run: Callable[[], Any], size: int) -> float:
    """MB per second of CPU time, the best of some: other programs run here too."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        run()
        seconds.append(time.process_time() - begun)
    return size / 1e6 / min(seconds)


def against_regular_expressions(documents: list[tuple[str, str]]) -> dict[str, float]:
    texts = [text.encode("ascii", "replace").decode() for text, _ in documents]
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    scopes = np.ones(len(texts), np.int64)
    two = np.array([[kind in ("email", "ip") for kind in KINDS]] * len(texts))
    ours = best(lambda: scan(data, offsets, scopes, two), len(data))
    counts: Counter[str] = Counter()

    def theirs() -> None:
        counts.clear()
        for text in texts:
            counts["email"] += len(emails(text))
            counts["ip"] += len(ipv4(text))

    slow = best(theirs, len(data))
    return {"mb_per_second": slow, "ours_mb_per_second": ours, "ratio": ours / slow}


def show(result: dict[str, Any]) -> None:
    print(f"{'planted':45} {'found':>6} {'recall':>7} {'besides':>8}")
    for item, found in result["planted"].items():
        print(f"{item:45} {found['found']:6} {found['recall']:7.3f} {found['found_besides']:8}")
    print("\nfound per megabyte where nothing was planted")
    print(f"{'':18}" + "".join(f"{kind:>13}" for kind in KINDS))
    for name, found in result["unplanted"].items():
        print(f"{name:18}" + "".join(f"{found['kinds'][kind]['per_megabyte']:13.3f}" for kind in KINDS))
    for name, found in result["speed"].items():
        bare = found["mb_per_second_without_digits_and_at"]
        print(f"{name}: {found['mb_per_second']:.0f} MB/s a core, {bare:.0f} without digits and @")
    peer = result["regular_expressions"]
    print(f"e-mail and IPv4 as regular expressions {peer['mb_per_second']:.1f} MB/s: {peer['ratio']:.0f} times slower")


if __name__ == "__main__":
    main()
