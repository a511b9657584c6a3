"""tokenizer.json: the same tokenizer for Hugging Face `tokenizers` and transformers, with identical ids for all texts.

SentencePiece merges the adjacent pair whose joined piece has the best score, the leftmost first. Hugging Face merges
the pair listed first. So each learned piece lists all its splits into two pieces, in order of score. The pieces
hold real spaces rather than U+2581, hence there is no normalizer, and U+2581 falls back to bytes as in `encode`.

Control pieces are in the vocabulary but not "added tokens", because those would be found in text: `<s>` and `</s>`
are HTML. `tokenizer_config.json` names them for transformers, with `split_special_tokens` to the same end; loading
without it (or with that set to False) is the one way to other ids, for texts that spell a control piece.
Ties are exact but for pieces of a period of their own ("aaa" = "a" + "aa" = "aa" + "a"), where two splits of one
piece may overlap; there the longer left part goes first, which is what leftmost-first leaves in a run.
"""

from __future__ import annotations

import json
from pathlib import Path

from gristmill.storage.json_values import Json
from gristmill.tokenizer.encode import SPACE_MARK, Encoder


def export(model_path: str | Path, out_dir: str | Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` of a `tokenizer.model` into out_dir."""
    encoder = Encoder(model_path)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer_json(encoder)), ("tokenizer_config.json", _config(encoder))):
        (out / name).write_bytes((json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def tokenizer_json(encoder: Encoder) -> dict[str, Json]:
    """The document that `tokenizers.Tokenizer.from_file` reads."""
    names = [encoder.piece(i) for i in range(encoder.vocab_size)]
    text = [not (encoder.is_byte[i] or encoder.is_control(i)) for i in range(encoder.vocab_size)]
    pieces = [name.replace(SPACE_MARK, " ") if is_text else name for name, is_text in zip(names, text, strict=True)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces[encoder.unk_id],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": _merges(encoder, pieces, text),
        },
    }


def _merges(encoder: Encoder, pieces: list[str], text: list[bool]) -> list[Json]:
    """All splits of each learned piece into two pieces: best score first, then the longer left part."""
    of_text = {piece for piece, is_text in zip(pieces, text, strict=True) if is_text}
    learned = [i for i, piece in enumerate(pieces) if text[i] and len(piece) > 1]
    learned.sort(key=lambda i: (-encoder.score(i), i))
    return [
        [piece[:cut], piece[cut:]]
        for piece in (pieces[i] for i in learned)
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in of_text and piece[cut:] in of_text
    ]


def _config(encoder: Encoder) -> dict[str, Json]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": encoder.piece(encoder.unk_id),
        "pad_token": encoder.piece(encoder.pad_id),
        "bos_token": encoder.piece(encoder.bos_id),
        "eos_token": encoder.piece(encoder.eos_id),
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
    }
