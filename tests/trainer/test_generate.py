"""Generation with a cache: the tokens of recomputing and of transformers, stops, the context's end, draws."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from typer.testing import CliRunner

from gristmill.tokenizer.encode import Encoder
from gristmill.trainer.cli import app
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.scoring.generate import Cache, generate, load_model

PROMPTS = (
    "import os",
    "",
    "    def __init__(self, parser, namespace, values):\n        self",
    "x",
    "class Path(object):",
)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def succeed(*arguments) -> dict:
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return Encoder(tokenizer / "tokenizer.model")


@pytest.fixture(scope="module")
def model(exported):
    return load_model(exported)


def ids_of(encoder, prompts=PROMPTS) -> list[list[int]]:
    return [encoder.encode(prompt).tolist() for prompt in prompts]


@torch.no_grad()
def recomputed(model, encoder, prompt: list[int], tokens: int) -> list[int]:
    """Greedy, the whole text through the whole model for each token."""
    text = prompt or [encoder.eos_id]
    out: list[int] = []
    while len(out) < tokens and len(text) + len(out) < model.shape.context:
        token = int(model.logits(torch.tensor([text + out]))[0, -1, : encoder.vocab_size].argmax())
        if token == encoder.eos_id:
            break
        out.append(token)
    return out


@pytest.mark.slow
def test_greedy_tokens_are_those_of_recomputing_in_a_batch_and_alone(model, encoder):
    """Prompts of 1 to 30 tokens, up to the end of the context."""
    prompts = ids_of(encoder)
    expected = [recomputed(model, encoder, prompt, 200) for prompt in prompts]
    assert len({tuple(ids) for ids in expected}) == len(prompts)
    together = generate(model, encoder, prompts, 200)
    assert [result.ids for result in together] == expected
    assert {result.stopped for result in together} <= {"context", "end of text"}
    assert "context" in {result.stopped for result in together}
    for prompt, ids in zip(prompts, expected, strict=True):
        assert generate(model, encoder, [prompt], 200)[0].ids == ids


@torch.no_grad()
def test_cached_logits_are_those_of_the_whole_text_at_every_step(model, encoder):
    texts = [ids[:20] for ids in (encoder.encode("def first(a, b):\n    return a" * 4).tolist(), list(range(300, 320)))]
    starts = torch.tensor([11, 4])
    cache = Cache(model, 2, 20)
    padded = torch.tensor([text[:11] for text in texts])
    logits = cache.prefill(padded, starts)
    whole = model.logits(torch.tensor(texts))
    for step in range(8):
        for row in range(2):
            torch.testing.assert_close(logits[row], whole[row, starts[row] + step - 1], atol=1e-5, rtol=1e-5)
        following = torch.tensor([texts[row][int(starts[row]) + step] for row in range(2)])
        logits = cache.step(following, torch.ones(2, dtype=torch.bool))
    assert cache.lengths.tolist() == [19, 12]


def test_a_trained_checkpoint_its_export_and_transformers_generate_the_same_tokens(config_file, tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sizes = ["--set", "model.overrides.vocab_size=1664", "--set", "model.overrides.init_std=0.2"]
    trained = run("run", config_file("run"), *sizes, "--stop-after-steps", 4)
    assert trained.exit_code == 0, trained.stderr
    checkpoints, hf = tmp_path / "run" / "checkpoints", tmp_path / "hf"
    assert run("export", checkpoints, hf, "--dtype", "float32", "--tokenizer", tokenizer).exit_code == 0
    settings = ("--temperature", 0, "--tokens", 40, "--device", "cpu", "--json")
    ours = succeed("generate", checkpoints, *PROMPTS, "--tokenizer", tokenizer / "tokenizer.model", *settings)
    assert succeed("generate", hf, *PROMPTS, *settings) == ours
    theirs = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(hf)
    assert words.eos_token_id == theirs.config.eos_token_id
    padding = list(
        range(len(words), theirs.config.vocab_size)
    )  # rows of the head that no piece has: ours leaves them out
    for result in ours["continuations"]:
        ids = words(result["prompt"], return_tensors="pt")["input_ids"].long()
        if not ids.numel():
            ids = torch.tensor([[words.eos_token_id]])
        out = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=40,
            pad_token_id=1,
            suppress_tokens=padding,
        )
        assert out[0, ids.shape[1] :].tolist()[: len(result["ids"])] == result["ids"]
        assert len(result["ids"]) == 40 or result["stopped"] == "end of text"
        if "\ufffd" not in result["text"]:  # they write one for a run of broken bytes, we one for each
            assert words.decode(result["ids"]) == result["text"]


def test_generation_ends_at_the_end_of_text_at_a_stop_string_and_after_the_tokens(model, encoder):
    (prompt,) = ids_of(encoder, PROMPTS[:1])
    whole = generate(model, encoder, [prompt], 30)[0]
    assert (len(whole.ids), whole.stopped) == (30, "tokens")
    other = copy.copy(encoder)
    other.eos_id = next(token for token in whole.ids if token not in whole.ids[:5])
    ended = generate(model, other, [prompt], 30)[0]
    assert ended.ids == whole.ids[: whole.ids.index(other.eos_id)]
    assert ended.stopped == "end of text"
    for stop in (whole.text[7:9], whole.text[4:20]):  # inside a token, and over several
        result = generate(model, encoder, [prompt, prompt], 30, stop=("not in there", stop))
        assert {(r.text, r.stopped) for r in result} == {(whole.text[: whole.text.index(stop)], "stop string")}
        assert result[0].ids == whole.ids[: len(result[0].ids)]
        assert len(result[0].ids) < 30


def test_a_prompt_that_fills_the_context_is_refused(model, encoder, exported):
    with pytest.raises(ConfigError, match="the prompt is 128 tokens, the context 128: shorten the prompt"):
        generate(model, encoder, [[5], [300] * 128], 3)
    assert len(generate(model, encoder, [[300] * 127], 3)[0].ids) <= 1
    result = run("generate", exported, "import " * 200)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_draws_follow_the_seed_and_the_probabilities(model, encoder):
    (prompt,) = ids_of(encoder, PROMPTS[:1])
    first, again = (generate(model, encoder, [prompt], 20, 0.8, seed=3) for _ in range(2))
    assert first == again
    assert generate(model, encoder, [prompt], 20, 0.8, seed=4) != first
    many = 4000
    with torch.no_grad():
        logits = model.logits(torch.tensor([prompt]))[0, -1, : encoder.vocab_size]
    expected = (logits / 0.5).softmax(-1)
    drawn = torch.tensor(
        [r.ids[0] if r.ids else encoder.eos_id for r in generate(model, encoder, [prompt] * many, 1, 0.5)]
    )
    seen = torch.bincount(drawn, minlength=encoder.vocab_size) / many
    assert expected.max() > 0.05
    assert (seen - expected).abs().max().item() < 4 * (0.25 / many) ** 0.5  # four standard deviations at most


def test_pieces_that_the_tokenizer_lacks_are_never_chosen(exported, encoder):
    """The model's vocabulary is padded: 1,664 rows for 1,600 pieces."""
    model = load_model(exported)
    model.head.data[encoder.vocab_size :] = 50 * model.head.data[: 1664 - encoder.vocab_size].abs()
    (result,) = generate(model, encoder, ids_of(encoder, PROMPTS[:1]), 20)
    assert max(result.ids) < encoder.vocab_size


def test_models_load_in_the_dtype_asked_for_and_need_their_tokenizer(exported, tmp_path, tokenizer):
    narrow = load_model(exported, dtype=torch.bfloat16)
    wide = load_model(exported)
    for (name, a), b in zip(narrow.named_parameters(), wide.parameters(), strict=True):
        assert torch.equal(a, b.bfloat16()), name
        assert not a.requires_grad
    assert succeed("generate", exported, "x", "--dtype", "bfloat16", "--tokens", 2, "--json")["continuations"][0]["ids"]
    assert run("import", exported, tmp_path / "c").exit_code == 0
    missing = run("generate", tmp_path / "c", "x")
    assert missing.exit_code == 2
    assert "--tokenizer" in missing.stderr
    nothing = run("generate", tmp_path / "nothing", "x", "--tokenizer", tokenizer)
    assert nothing.exit_code != 0
    assert "holds no checkpoint" in nothing.stderr
    assert "auto, cpu or cuda" in run("generate", exported, "x", "--device", "tpu").stderr
