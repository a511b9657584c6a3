"""Small n-gram models with numbers by chance, as ARPA files and as KenLM's binaries, written from the format.

model(sentences, order, seed) -> a dict for every order: n-gram -> (log10 prob, log10 backoff), single precision
arpa(path, model)                binary(path, model, multiplier)
"""

from __future__ import annotations

import re
import struct
import unicodedata
from pathlib import Path

import numpy as np

from gristmill.kernels.text.ccnet_normalise import PUNCTUATION

Model = list[dict[tuple[str, ...], tuple[float, float]]]

_KEEP = (1 << 64) - 1


def model(sentences: list[list[str]], order: int, seed: int) -> Model:
    chance = np.random.default_rng(seed)
    padded = [["<s>", *sentence, "</s>"] for sentence in sentences] or [["<s>", "</s>"]]
    grams: list[list[tuple[str, ...]]] = [[("<unk>",), ("<s>",), ("</s>",)]]
    for n in range(1, order + 1):
        found = [tuple(words[i : i + n]) for words in padded for i in range(len(words) - n + 1)]
        grams[n - 1 :] = [[*(grams[0] if n == 1 else []), *found]]
    return [
        {gram: tuple(np.float32(-chance.random(2) * 3).round(4).tolist()) for gram in dict.fromkeys(each)}
        for each in grams
    ]


def arpa(path: Path, model: Model) -> None:
    parts = ["\\data\\\n" + "".join(f"ngram {n}={len(grams)}\n" for n, grams in enumerate(model, 1))]
    for n, grams in enumerate(model, 1):
        last = n == len(model)
        rows = (f"{p:.4f}\t{' '.join(g)}" + ("" if last else f"\t{b:.4f}") for g, (p, b) in grams.items())
        parts.append(f"\\{n}-grams:\n" + "\n".join(rows) + "\n")
    path.write_text("\n".join([*parts, "\\end\\\n"]), "utf-8")


def binary(path: Path, model: Model, multiplier: float = 1.5) -> None:
    order = len(model)
    index = {gram[0]: i for i, gram in enumerate(model[0])}
    right = {gram[:-1] for grams in model[1:] for gram in grams}  # continued by a word
    left = {gram[1:] for grams in model[1:] for gram in grams}  # preceded by one

    def weights(gram: tuple[str, ...], pair: tuple[float, float]) -> bytes:
        prob, backoff = abs(pair[0]) * (1 if gram in left else -1), pair[1]
        if backoff == 0:
            backoff = 0.0 if gram in right else -0.0
        return struct.pack("<f", prob) + (struct.pack("<f", backoff) if len(gram) < order else b"")

    head = b"mmap lm http://kheafield.com/code format version 5\n\0".ljust(56, b"\0")
    head += struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
    head += struct.pack("<B3xfI?3xI", order, multiplier, 0, True, 0)
    head += struct.pack(f"<{order}Q", *map(len, model))
    parts = [head.ljust(-(-len(head) // 8) * 8, b"\0"), struct.pack("<2I", 0, len(index))]
    known = [(murmur(word.encode()), struct.pack("<I", i)) for word, i in index.items() if word != "<unk>"]
    parts.append(table(known, len(index), 4, multiplier))
    parts += [weights(gram, pair) for gram, pair in model[0].items()]
    parts.append(bytes(8))
    for n, grams in enumerate(model[1:], 2):
        entries = [(key([index[word] for word in gram]), weights(gram, pair)) for gram, pair in grams.items()]
        parts.append(table(entries, len(grams), 8 if n < order else 4, multiplier))
    parts += [word.encode() + b"\0" for word in index]
    path.write_bytes(b"".join(parts))


def table(entries: list[tuple[int, bytes]], count: int, size: int, multiplier: float) -> bytes:
    buckets = max(count + 1, int(np.float32(multiplier) * np.float32(count)))
    rows = [bytes(8 + size)] * buckets
    for number, value in entries:
        at = number % buckets
        while any(rows[at][:8]):
            at = (at + 1) % buckets
        rows[at] = struct.pack("<Q", number) + value
    return b"".join(rows)


def key(words: list[int]) -> int:
    value = words[-1]
    for word in reversed(words[:-1]):
        value = (value * 8978948897894561157 & _KEEP) ^ ((1 + word) * 17894857484156487943 & _KEEP)
    return value


def murmur(data: bytes) -> int:
    """MurmurHash64A (Appleby), seed 0."""
    m = 0xC6A4A7935BD1E995
    h = len(data) * m & _KEEP
    whole = len(data) // 8 * 8
    for (k,) in struct.iter_unpack("<Q", data[:whole]):
        k = k * m & _KEEP
        h = (h ^ (k ^ k >> 47) * m & _KEEP) * m & _KEEP
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & _KEEP
    h = (h ^ h >> 47) * m & _KEEP
    return h ^ h >> 47


def normalised(line: str) -> str:
    """CCNet's normalisation of one line, by its definition."""
    text = unicodedata.normalize("NFD", line.strip().lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    text = "".join(PUNCTUATION.get(c, c) for c in re.sub(r"\d", "0", text))
    return "".join(c for c in text if unicodedata.category(c) != "Cc")


def language_model(folder: Path, lines: list[str], seed: int = 1, pieces: int = 60, order: int = 3) -> None:
    """A folder as `gristmill lm train` writes it: sentencepiece.model and lm.binary, its n-grams those of the lines."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sentencepiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            vocab_size=pieces,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    cut = [processor.id_to_piece(ids) for ids in processor.encode(list(dict.fromkeys(lines)))]
    binary(folder / "lm.binary", model(cut, order, seed))
