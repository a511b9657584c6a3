"""From lines to ids: SentencePiece pieces of one language, every line in them, and the words of the model.

    lm/<language>/pieces    one task: `sentencepiece.model`, trained on a sample of the lines
    lm/<language>/encode    one task a file of lines: ids of pieces, and each piece's number of occurrences
    (driver)                `Words`: the pieces that occur, in the order in which lmplz would meet them

Unigram pieces (Kudo 2018), as cc_net's, after SentencePiece's own NFKC, which joins what CCNet's normalisation took
apart (Hangul). Applying them was 2.8 (German) and 5 (English) times as fast as BPE, timed once; how well models over
the two tell texts apart was not compared. What has no piece is <unk>, which no n-gram holds: lmplz --skip_symbols.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.ngram_counts import BEGIN, END, UNKNOWN
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.identity import IMMATERIAL
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.models.lm.columns import batches, write, writing
from gristmill.pipeline.models.lm.lines import Source, sampled
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.storage.store import Store

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SAMPLE_BYTES = 20_000_000
"""Of text for training 65,536 pieces. 21 MB of Chinese took 100 s of CPU and 0.5 GB, 48 MB of English 47 s and 1 GB."""
BYTES_PER_PIECE = 100
"""Text that has to be there for a piece beside the single characters. A choice: at five bytes, twenty occurrences."""
MAX_SENTENCE_BYTES = 4096
NUM_THREADS = 8
"""A constant because it enters the model file and the order in which SentencePiece adds up."""
SPECIALS = ("<unk>", "<s>", "</s>")
"""Ids 0, 1, 2 of pieces and of KenLM's words alike."""


class Settings(TypedDict):
    """Of SentencePiece's trainer."""

    model_type: str
    normalization_rule_name: str
    unk_id: int
    bos_id: int
    eos_id: int
    hard_vocab_limit: bool
    num_threads: int
    max_sentence_length: int
    minloglevel: int


SETTINGS: Settings = {
    "model_type": "unigram",
    "normalization_rule_name": "nmt_nfkc",
    "unk_id": UNKNOWN,
    "bos_id": BEGIN,
    "eos_id": END,
    "hard_vocab_limit": False,  # a small text gives fewer pieces
    "num_threads": NUM_THREADS,
    "max_sentence_length": MAX_SENTENCE_BYTES,
    "minloglevel": 2,
}
IDS = pa.schema([pa.field("ids", pa.list_(pa.uint16()))])


class NotTrainable(ValueError):
    """There is no model of this text; trying again would not help."""

    final = True


@dataclass(frozen=True)
class Words:
    """The words of a model by id: the specials, then the pieces that occur, by their first occurrence."""

    pieces: np.ndarray
    """(words - 3,) uint16 piece ids."""
    counts: np.ndarray
    """(words,) int64 occurrences: of <s> and </s> one a line, of <unk> none."""
    unknown: int
    """Pieces that are not in the vocabulary."""

    @property
    def tokens(self) -> int:
        return int(self.counts[len(SPECIALS) :].sum())

    @property
    def lines(self) -> int:
        return int(self.counts[END])

    def of_pieces(self) -> np.ndarray:
        """(65536,) uint16: id of each piece, 0 for those that do not occur."""
        result = np.zeros(1 << 16, np.uint16)
        result[self.pieces] = np.arange(len(SPECIALS), len(self.counts))
        return result


@dataclass(frozen=True, slots=True)
class Text:
    """The lines of a language; known by their content, so that another language's change nothing."""

    language: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Training:
    pieces: int
    below: int
    """Draws of the documents that are taken."""
    settings: Settings


@dataclass(frozen=True, slots=True)
class PieceStats(Stats):
    pieces: int
    asked: int
    lines: int
    bytes: int


def train(engine: Engine, source: Source, pieces: int, threshold: int) -> Sealed[PieceStats]:
    """Its file has the role `sentencepiece.model`."""
    cut = min(threshold, source.threshold(SAMPLE_BYTES))
    text = Text(source.language, source.files)
    return engine.step(f"lm/{source.language}/pieces", TRAIN, [text], Training(pieces, cut, SETTINGS))


def train_pieces(task: Task[Text, Training]) -> PieceStats:
    from gristmill.tokenizer.train import cut

    pieces, threshold = task.shared.pieces, task.shared.below
    language, files = task.payload.language, task.payload.files
    characters: set[str] = set()
    size = lines = 0
    for batch in (batch for file in files for batch in sampled(task.store, file, threshold)):
        characters.update("".join(batch.to_pylist()))
        size += sum(len(buffer) for buffer in batch.buffers()[2:] if buffer is not None)
        lines += len(batch)
    alone = len(set(unicodedata.normalize("NFKC", "".join(sorted(characters)))))
    wanted = min(pieces, alone + len(SPECIALS) + size // BYTES_PER_PIECE)

    def sentences() -> Iterator[str]:
        for file in files:
            for batch in sampled(task.store, file, threshold):
                for line in batch.to_pylist():
                    yield from cut(line, MAX_SENTENCE_BYTES)

    model = trained(sentences(), wanted, language, task.shared.settings)
    with task.output.open(Role.PIECES, ".model") as file:
        file.write(model)
    return PieceStats(len(processor(model)), wanted, lines, size)


TRAIN = Step(train_pieces, libraries=(*KERNELS, "sentencepiece"))


def trained(sentences: Iterator[str], pieces: int, language: str, settings: Settings = SETTINGS) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences, model_writer=model, vocab_size=pieces, **settings
        )
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1]
        raise NotTrainable(
            f"{language}: SentencePiece makes no {pieces:,} pieces of its text ({said}); name more text, or change "
            "--pieces"
        ) from error
    return model.getvalue()


def processor(model: bytes) -> SentencePieceProcessor:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model)


@dataclass(frozen=True, slots=True)
class Encoding:
    digest: str
    model: bytes = field(metadata=IMMATERIAL)
    """Known by its digest."""
    below: int
    """Draws of the documents that are taken."""


@dataclass(frozen=True, slots=True)
class IdStats(Stats):
    lines: int
    pieces: int
    """That occur."""


def encode(engine: Engine, source: Source, model: bytes, digest: str, threshold: int) -> Sealed[IdStats]:
    """One task a file, known by its content; its files have the roles `ids` (a list a line) and `words`."""
    shared = Encoding(digest, model, threshold)
    return engine.step(f"lm/{source.language}/encode", ENCODE, source.files, shared)


def encode_lines(task: Task[File, Encoding]) -> IdStats:
    threshold = task.shared.below
    encoder = processor(task.shared.model)
    counts = np.zeros(1 << 16, np.int64)
    order: list[np.ndarray] = []
    lines = 0
    with writing(task.output, Role.IDS, IDS) as add:
        for batch in sampled(task.store, task.payload, threshold):
            if len(batch) == 0:
                continue
            encoded = encoder.encode(batch.to_pylist(), return_type="numpy", num_threads=1)
            encoded = [line for line in encoded if len(line)]
            ends = np.zeros(len(encoded) + 1, np.int32)
            np.cumsum(np.fromiter(map(len, encoded), np.int32, len(encoded)), out=ends[1:])
            ids = np.concatenate([np.zeros(0, np.uint16), *encoded]).astype(np.uint16)
            add(pa.record_batch([pa.ListArray.from_arrays(ends, pa.array(ids))], schema=IDS))
            found, first = np.unique(ids, return_index=True)
            order.append(found[(counts[found] == 0)][np.argsort(first[counts[found] == 0])])
            counts += np.bincount(ids, minlength=1 << 16)
            lines += len(encoded)
    met = np.concatenate([np.zeros(0, np.uint16), *order])
    write(task.output, Role.WORDS, {"piece": met, "count": counts[met]})
    return IdStats(lines, len(met))


ENCODE = Step(encode_lines, libraries=(*KERNELS, "sentencepiece"))


def words(engine: Engine, encoded: Sealed[IdStats]) -> Words:
    """The words of all tasks, met in their order."""
    counts = np.zeros(1 << 16, np.int64)
    order: list[np.ndarray] = []
    lines = 0
    for _, manifest in encoded.done():
        file = next(file for file in manifest.files if file.role == Role.WORDS)
        table = pa.ipc.open_stream(engine.read(file)).read_all()
        pieces, numbers = (table.column(name).to_numpy() for name in ("piece", "count"))
        order.append(pieces[counts[pieces] == 0])
        counts[pieces] += numbers
        lines += manifest.stats.lines
    met = np.concatenate([np.zeros(0, np.uint16), *order])
    met = met[met >= len(SPECIALS)]
    return Words(met, np.concatenate([[0, lines, lines], counts[met]]), int(counts[UNKNOWN]))


def spelled(model: bytes, found: Words) -> list[bytes]:
    """The words' UTF-8 by id."""
    encoder = processor(model)
    return [each.encode() for each in (*SPECIALS, *(encoder.id_to_piece(int(piece)) for piece in found.pieces))]


def lines_in_ids(store: Store, file: File) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(ids, ends) of the lines of a file of ids, batch by batch: (w,) uint16 and (lines,) int64."""
    for batch in batches(store, file):
        column = batch.column(0)
        yield column.values.to_numpy(), column.offsets.to_numpy()[1:].astype(np.int64)
