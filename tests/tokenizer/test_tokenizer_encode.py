"""Encoding and its inverse, against SentencePiece and Hugging Face tokenizers."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenizer.encode import SEGMENT_BYTES, SPACE_MARK, Encoder
from gristmill.tokenizer.export import export, tokenizer_json

# all of Unicode but surrogates, which no UTF-8 text holds; short alphabets make runs
unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
white_text = st.text(st.sampled_from(list(" \t\n\r\0ab1٣\u2581\u2585\u0301\x85\u2028-")))
FIXED = ["", " ", "  a", "a  ", "\r\n\r\n", "\t\t\tx", "a\0b", "\u0301", "\u2581", f"a {SPACE_MARK} b{SPACE_MARK * 3}"]


@pytest.fixture(scope="module")
def processor(model_path):
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(model_path))


@pytest.fixture(scope="module")
def exported(model_path, tmp_path_factory):
    import tokenizers

    out = tmp_path_factory.mktemp("exported")
    export(model_path, out)
    return tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))


@settings(deadline=None, max_examples=400)
@given(st.lists(st.one_of(unicode_text, white_text), max_size=4))
def test_decoding_gives_back_every_text(encoder, texts):
    values, offsets = encoder.encode_batch(texts + FIXED, eos=True)
    assert values.dtype == np.int32
    assert encoder.decode_batch(values, offsets).to_pylist() == texts + FIXED
    assert [encoder.decode(values[a:b]) for a, b in pairwise(offsets)] == texts + FIXED


@pytest.mark.slow
def test_every_code_point_comes_back(encoder):
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    assert encoder.decode(encoder.encode(text)) == text
    singles = pa.array(list(text), pa.large_string())
    assert encoder.decode_batch(*encoder.encode_batch(singles)).equals(singles)


@settings(deadline=None, max_examples=400)
@given(st.one_of(unicode_text, white_text))
def test_ids_are_sentencepieces_own_where_no_space_mark_is(encoder, processor, text):
    text = text.replace(SPACE_MARK, "")
    assert encoder.encode(text).tolist() == processor.encode(text)
    assert encoder.decode(encoder.encode(text)) == processor.decode(processor.encode(text))


def test_space_mark_is_its_three_bytes(encoder):
    assert [encoder.piece(i) for i in encoder.encode(SPACE_MARK)] == ["<0xE2>", "<0x96>", "<0x81>"]


def test_offsets_start_each_text_and_eos_ends_it(encoder):
    texts = ["free", "", "and equal", SPACE_MARK]
    values, offsets = encoder.encode_batch(pa.chunked_array([texts[:1], texts[1:]], pa.string()), eos=True)
    assert offsets[0] == 0
    assert offsets[-1] == len(values)
    assert (values[offsets[1:] - 1] == encoder.eos_id).all()
    assert [values[a : b - 1].tolist() for a, b in pairwise(offsets)] == [encoder.encode(t).tolist() for t in texts]


def test_empty_batch_has_no_tokens(encoder):
    values, offsets = encoder.encode_batch([])
    assert (values.dtype, values.tolist(), offsets.tolist()) == (np.int32, [], [0])


def test_ids_do_not_depend_on_threads_or_batches(encoder, model_path, texts):
    values, _ = encoder.encode_batch(texts[:12], eos=True)
    threaded = Encoder(model_path, num_threads=4).encode_batch(texts[:12], eos=True)[0]
    single = np.concatenate([encoder.encode(text, eos=True) for text in texts[:12]])
    assert (values == threaded).all()
    assert (values == single).all()


def test_digits_of_every_script_stand_alone(encoder):
    for text in ("2024", "٢٠٢٤", "२०२४", "２０２４", "x١٢y", "1٢३"):
        assert [encoder.decode([i]) for i in encoder.encode(text)] == list(text)


def test_spelled_control_and_byte_pieces_are_text(encoder):
    ids = encoder.encode("<s>a</s><unk><pad><0x0A>")
    assert not any(encoder.is_control(int(i)) or encoder.is_byte[i] for i in ids)


@pytest.mark.parametrize("ids", [[-1], [10**6]])
def test_ids_outside_the_vocabulary_are_named(encoder, ids):
    with pytest.raises(ValueError, match="token ids run from"):
        encoder.decode(ids)


def test_a_window_cut_inside_a_character_decodes_with_replacement(encoder):
    assert encoder.decode(encoder.encode(SPACE_MARK)[1:]).strip("\ufffd") == ""


def test_null_texts_and_missing_models_are_one_sentence(encoder, tmp_path):
    with pytest.raises(ValueError, match="1 of 2 texts are null"):
        encoder.encode_batch(pa.array(["a", None]))
    with pytest.raises(ValueError, match="no such tokenizer"):
        Encoder(tmp_path / "tokenizer.model")
    (tmp_path / "bad.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        Encoder(tmp_path / "bad.model")


@settings(deadline=None, max_examples=600)
@given(st.one_of(unicode_text, white_text, st.text(st.sampled_from(list("aeinrst_=-() \n"))), st.text("<s>/</unkpad")))
@pytest.mark.slow
def test_tokenizer_json_gives_the_same_ids_and_text(encoder, exported, text):
    ids = encoder.encode(text).tolist()
    assert exported.encode(text).ids == ids
    assert exported.decode(ids) == text


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_tokenizer_json_agrees_on_joined_pieces(encoder, exported, data):
    """Texts made of pieces meet merges far more often than random ones."""
    ids = data.draw(
        st.lists(st.integers(4, encoder.vocab_size - 1).filter(lambda i: not encoder.is_byte[i]), max_size=30)
    )
    text = encoder.decode(ids)
    assert exported.encode(text).ids == encoder.encode(text).tolist()


def test_tokenizer_json_agrees_on_real_text(encoder, exported, texts):
    for text in texts[:40]:
        assert exported.encode(text).ids == encoder.encode(text).tolist()


@pytest.mark.slow
def test_tokenizer_json_agrees_in_many_languages(encoder, exported, shared_data):
    for text in documents(shared_data / "multilingual/tico19.jsonl.zst", 300):
        ids = encoder.encode(text).tolist()
        assert exported.encode(text).ids == ids
        assert exported.decode(ids) == text


@pytest.mark.slow
def test_transformers_reads_the_export_with_the_same_ids(model_path, encoder, tmp_path, texts):
    import transformers

    export(model_path, tmp_path)
    fast = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert (fast.unk_token_id, fast.pad_token_id, fast.bos_token_id, fast.eos_token_id) == (0, 1, 2, 3)
    for text in [*texts[:3], *FIXED, "<s>a</s>", *texts[-18:]]:
        ids = encoder.encode(text).tolist()
        assert fast(text)["input_ids"] == ids
        assert fast.decode([*ids, encoder.eos_id], skip_special_tokens=True) == text


def test_tokenizer_json_is_the_same_twice(encoder):
    assert json.dumps(tokenizer_json(encoder)) == json.dumps(tokenizer_json(encoder))


def documents(path, count):
    import io

    import zstandard

    with open(path, "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        for _, line in zip(range(count), lines):
            yield json.loads(line)["text"]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(white_text, st.integers(0, 400)), max_size=6), st.booleans(), st.integers(0, 3))
def test_cutting_long_texts_changes_no_id(encoder, processor, drawn, eos, skipped):
    texts = [text.replace(SPACE_MARK, "") * repeat for text, repeat in drawn]
    column = pa.array(["x"] * skipped + texts, pa.large_string()).slice(skipped)
    values, offsets = encoder.encode_batch(column, eos=eos)
    assert [values[a:b].tolist() for a, b in pairwise(offsets)] == processor.encode(texts, add_eos=eos)


def test_real_documents_are_cut_without_changing_an_id(encoder, processor, texts):
    assert max(map(len, texts)) > 10 * SEGMENT_BYTES
    marked = [texts[0], "", "", texts[1] + SPACE_MARK + texts[2], ""]
    values, offsets = encoder.encode_batch(texts[:10] + marked)
    plain, mark = processor.encode([*texts[:3]]), encoder.encode(SPACE_MARK).tolist()
    assert [values[a:b].tolist() for a, b in pairwise(offsets)] == [
        *processor.encode(texts[:10]), plain[0], [], [], plain[1] + mark + plain[2], []
    ]  # fmt: skip


def test_a_model_that_normalises_is_not_cut(tmp_path, texts):
    import sentencepiece

    with open(tmp_path / "m.model", "wb") as model:  # SentencePiece's defaults: NFKC, dummy prefix, spaces collapsed
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts[:2]), model_writer=model, vocab_size=1000, byte_fallback=True,
            model_type="bpe", minloglevel=2, max_sentence_length=1 << 20,
        )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    assert Encoder(tmp_path / "m.model").encode(texts[2]).tolist() == theirs.encode(texts[2])
