"""Log-likelihoods against a plain sum over transformers' logits, on real benchmark questions; task files; lm_eval."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard
from typer.testing import CliRunner

from gristmill.tokenizer.encode import Encoder
from gristmill.trainer.cli import app
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.scoring import tasks
from gristmill.trainer.scoring.generate import generate, load_model
from gristmill.trainer.scoring.harness import Scorer


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return Encoder(tokenizer / "tokenizer.model")


@pytest.fixture(scope="module")
def scorer(exported, encoder):
    return Scorer(load_model(exported), encoder, batch_tokens=500)


@pytest.fixture(scope="module")
def theirs(exported):
    from transformers import NemotronForCausalLM

    return NemotronForCausalLM.from_pretrained(exported, dtype=torch.float32)


@pytest.fixture(scope="module")
def questions(tmp_path_factory, shared_data) -> Path:
    """Real questions of several benchmarks, so short that they fit a context of 128 tokens."""
    wanted = {"arc_easy": 6, "piqa": 6, "xcopa": 40, "winogrande": 6, "gsm8k": 6, "humaneval": 1, "copa": 6}
    kept = []
    for line in tasks.lines(shared_data / "labelled" / "decontam-benchmarks.jsonl.zst"):
        name = line[len('{"id": "') :].split("/")[0]  # 53,000 records: most are not parsed
        if not wanted.get(name):
            continue
        record = json.loads(line)
        if record["lang"] in ("en", "zh", "et", "python") and len(record["text"]) < (
            400 if name == "humaneval" else 100
        ):
            wanted[name] -= 1
            kept.append(line)
    assert not any(wanted.values())
    path = tmp_path_factory.mktemp("tasks") / "questions.jsonl.zst"
    path.write_bytes(zstandard.compress("".join(kept).encode()))
    return path


@torch.no_grad()
def brute_force(theirs, tokens: list[int], scored: int) -> tuple[float, bool]:
    """The last `scored` tokens given those before: one text at a time, the whole logits, in float64."""
    logits = theirs(torch.tensor([tokens[:-1]])).logits[0, -scored:].double()
    wanted = torch.tensor(tokens[-scored:])
    likelihood = logits.log_softmax(-1).gather(1, wanted[:, None]).sum().item()
    return likelihood, bool((logits.argmax(-1) == wanted).all())


def split(encoder, context: str, continuation: str) -> tuple[list[int], int]:
    """Tokens of the joined text, and how many hold a byte of the continuation, found token by token."""
    tokens = encoder.encode(context + continuation).tolist()
    scored = 0
    while len(encoder.decode_bytes(np.array(tokens[: len(tokens) - scored]), np.array([0, 0]))[0]) > len(
        context.encode()
    ):
        scored += 1
    return tokens, scored


def test_log_likelihoods_of_real_questions_are_sums_over_transformers_logits(scorer, encoder, theirs, questions):
    items, _ = tasks.read_items([questions])
    pairs = [
        pair for name in ("arc_easy", "piqa", "xcopa", "winogrande") for item in items[name] for pair in item.pairs
    ]
    assert len(pairs) > 100
    scores = scorer.continuations(pairs)
    for (context, continuation), score in zip(pairs, scores, strict=True):
        tokens, scored = split(encoder, context, continuation)
        expected, greedy = brute_force(theirs, tokens, scored)
        assert score.log_likelihood == pytest.approx(expected, rel=1e-5)
        assert score.greedy == greedy
    one_by_one = Scorer(scorer.model, encoder, batch_tokens=1).continuations(pairs[:20])
    for alone, together in zip(one_by_one, scores, strict=False):
        assert alone.log_likelihood == pytest.approx(together.log_likelihood, rel=1e-5)


def test_a_token_across_the_border_belongs_to_the_continuation(scorer, encoder, theirs):
    word = max((encoder.piece(i) for i in range(encoder.vocab_size) if encoder.piece(i).isalpha()), key=len)
    context, continuation = f"x {word[:3]}", f"{word[3:]} y"
    whole = encoder.encode(context + continuation).tolist()
    assert encoder.encode(context).tolist() != whole[: len(encoder.encode(context))]  # a piece reaches across
    (score,) = scorer.continuations([(context, continuation)])
    first = next(i for i in range(len(whole)) if encoder.decode(whole[: i + 1]) not in context)
    assert score.log_likelihood == pytest.approx(brute_force(theirs, whole, len(whole) - first)[0], rel=1e-5)


def test_empty_contexts_start_a_text_and_greedy_continuations_are_seen(scorer, encoder, theirs):
    tokens = encoder.encode("import sys").tolist()
    expected, _ = brute_force(theirs, [encoder.eos_id, *tokens], len(tokens))
    empty, nothing = scorer.continuations([("", "import sys"), ("import sys", "")])
    assert empty.log_likelihood == pytest.approx(expected, rel=1e-5)
    assert (nothing.log_likelihood, nothing.greedy) == (0.0, True)
    lines = Path(json.__file__).read_text("utf-8").splitlines()
    for context in lines:  # until the likeliest token is also how the text goes on when it is encoded
        tokens = encoder.encode(context).tolist()
        likeliest = [result.ids for result in generate(scorer.model, encoder, [tokens], 1)]
        after = encoder.decode(likeliest[0])
        if tokens and encoder.encode(context + after).tolist() == tokens + likeliest[0]:
            break
    right, wrong = scorer.continuations([(context, after), (context, f"{after}{lines[0]}")])
    assert (right.greedy, wrong.greedy) == (True, False)


def test_what_is_longer_than_the_context_loses_its_left_or_is_refused(scorer, encoder, theirs):
    text = "def name(self):\n    return self.value\n" * 20
    (score,) = scorer.continuations([(text, " end of it")])
    tokens, scored = split(encoder, text, " end of it")
    assert len(tokens) > 200
    assert score.log_likelihood == pytest.approx(brute_force(theirs, tokens[-129:], scored)[0], rel=1e-5)
    with pytest.raises(ConfigError, match="longer than the model's context 128"):
        scorer.continuations([("a", text)])
    with pytest.raises(ConfigError, match="leave no room"):
        scorer.answers(["a"], (), 128)


def test_whole_texts_are_scored_in_windows_each_token_once(scorer, encoder, theirs):
    long = "def name(self, other):\n    return self.value + other\n" * 20
    texts = ["import os", long, "", long[:150]]
    for text, score in zip(texts, scorer.texts(texts), strict=True):
        tokens, expected = [encoder.eos_id, *encoder.encode(text).tolist()], 0.0
        last = len(tokens) - 1
        for first in range(0, last, 128):  # the last window reaches back to be full
            end = min(first + 128, last)
            expected += brute_force(theirs, tokens[max(0, end - 128) : end + 1], end - first)[0]
        assert score == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_answers_are_greedy_continuations_up_to_a_stop_string(scorer, encoder):
    prompts = ["Question: how many?\nAnswer:", "x", "def f():\n    return 1\n" * 40]
    answers = scorer.answers(prompts, (), 20)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = encoder.encode(prompt).tolist()[-108:]
        assert answer == generate(scorer.model, encoder, [ids], 20)[0].text
    stop = answers[0][8:12]
    assert scorer.answers(prompts, ("Question:", stop), 20)[0] == answers[0][: answers[0].index(stop)]


def test_figures_of_real_questions(scorer, encoder, theirs, questions):
    """acc, its two normalised forms and standard errors against a computation of their own."""
    items, refused = tasks.read_items([questions])
    assert set(refused) == {"humaneval"}
    figures = tasks.score_items(scorer, items["xcopa"])
    right: dict[str, list[int]] = {"acc": [], "acc_norm": [], "acc_bytes": []}
    for item in items["xcopa"]:
        if item.split != "test":
            continue
        scores = [brute_force(theirs, *split(encoder, *pair))[0] for pair in item.pairs]
        choices = [continuation[1:] for _, continuation in item.pairs]
        norms = {"acc": [1, 1], "acc_norm": [len(c) for c in choices], "acc_bytes": [len(c.encode()) for c in choices]}
        for name, norm in norms.items():
            right[name].append(int(np.argmax(np.divide(scores, norm)) == item.gold))
    for name, each in right.items():
        assert figures["n"] == len(each)
        assert figures[name] == pytest.approx(np.mean(each))
        p = np.mean(each)
        assert figures[f"{name}_stderr"] == pytest.approx(math.sqrt(p * (1 - p) / (len(each) - 1)))
    assert set(tasks.score_items(scorer, items["winogrande"])) == {
        "n", "languages", *(f"{m}{s}" for m in right for s in ("", "_stderr"))
    }  # fmt: skip
    written = tasks.score_items(scorer, items["gsm8k"], limit=2, answer_tokens=5)
    assert (written["n"], written["exact_match"], written["exact_match_stderr"]) == (2, 0.0, 0.0)


RECORDS = [
    {"text": "Two and two?", "answer": "2+2=4\n#### 4", "benchmark": "gsm8k", "lang": "en", "split": "train"},
    {"text": "Money?", "answer": "#### 1,234", "benchmark": "gsm8k", "lang": "en", "split": "test"},
    {"text": "One and one?", "answer": "1+1=2\n#### 2", "benchmark": "gsm8k", "lang": "en", "split": "train"},
    {"text": "Tea or", "choices": ["coffee", "stone"], "label": 0, "benchmark": "copa", "lang": "en"},
    {"text": "Sun or", "choices": ["moon", "shoe"], "gold": 0, "benchmark": "copa", "lang": "en"},
    {"text": "Day or", "choices": ["chair", "night"], "gold": 1, "benchmark": "copa", "lang": "en"},
    {"text": "print('a", "continuation": "')", "benchmark": "rest"},
    {"text": "x", "answer": "\\frac{1}{2}", "benchmark": "math"},
    {"text": "def f():", "answer": "    return", "test": "assert f() is None", "benchmark": "humaneval"},
    {"text": "no answer at all", "benchmark": "nothing"},
]


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(map(json.dumps, RECORDS)) + "\n", "utf-8")
    return path


class Spy:
    """Answers questions from a list and notes what it was asked."""

    def __init__(self, answers):
        self.given, self.asked = answers, []

    def answers(self, prompts, stop, tokens):
        self.asked += prompts
        return self.given

    def continuations(self, pairs):
        from gristmill.trainer.scoring.harness import Score

        self.asked += [context for context, _ in pairs]
        return [Score(-float(i), True) for i in range(len(pairs))]


def test_examples_come_from_other_splits_and_never_hold_the_question(file):
    items, refused = tasks.read_items([file])
    assert set(items) == {"gsm8k", "copa", "rest"}
    assert "code is not run" in refused["humaneval"]
    assert "no number" in refused["math"]
    assert "neither" in refused["nothing"]
    asked = Spy(["nothing"])
    tasks.score_items(asked, items["gsm8k"], shots=2)
    assert asked.asked == [
        "Question: Two and two?\nAnswer: 2+2=4\n#### 4\n\nQuestion: One and one?\nAnswer: 1+1=2\n#### 2\n\n"
        "Question: Money?\nAnswer:"
    ]
    asked = Spy([])
    figures = tasks.score_items(asked, items["copa"], shots=1)
    assert asked.asked[::2] == ["Sun or moon\n\nTea or", "Tea or coffee\n\nSun or", "Tea or coffee\n\nDay or"]
    assert (figures["n"], figures["acc"]) == (3, 2 / 3)  # the first choice always is the likeliest
    with pytest.raises(ConfigError, match="--shots 3: the file has 2 other records in en"):
        tasks.score_items(Spy([]), items["copa"], shots=3)


@pytest.mark.parametrize(
    ("answer", "strict", "flexible"),
    [
        ("It is 1200 + 34.\n#### 1,234", 1, 1),
        ("so she pays $1,234.", 0, 1),
        ("#### 1234.\n\n", 1, 1),
        ("#### 1234 of 2000", 1, 0),
        ("1234 at first, then 5", 0, 0),
        ("#### -1234", 0, 0),
        ("no number", 0, 0),
    ],
)
def test_a_number_is_taken_from_an_answer(file, answer, strict, flexible):
    items, _ = tasks.read_items([file])
    figures = tasks.score_items(Spy([answer]), items["gsm8k"])
    assert (figures["exact_match"], figures["exact_match_flexible"]) == (strict, flexible)
    assert figures["exact_match_stderr"] is None


def test_the_command_scores_task_files(file, exported, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["evaluate", str(exported), *map(str, arguments)], catch_exceptions=False)

    result = run("--tasks", file, "--answer-tokens", 5, "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert {name: row["n"] for name, row in content["benchmarks"].items()} == {"gsm8k": 1, "copa": 3, "rest": 1}
    assert set(content["refused"]) == {"math", "humaneval", "nothing"}
    shown = run("--tasks", file, "--benchmark", "copa")
    assert shown.stdout.startswith("copa ")
    assert shown.stdout.count("±") == 3
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "a"}\nnot JSON\n')
    for arguments, words in (
        (("--tasks", broken), "broken.jsonl:2: is not a JSON record"),
        (("--tasks", tmp_path / "none.jsonl"), "no such file"),
        (("--tasks", file, "--benchmark", "math"), "no number"),
        ((), "either a folder of shards or --tasks"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_lm_eval_scores_as_we_do(exported, questions, scorer):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    model = get_model("gristmill").create_from_arg_obj(
        {"source": str(exported), "batch_tokens": 500}, {"batch_size": 4}
    )
    items, _ = tasks.read_items([questions])
    pairs = [pair for item in items["arc_easy"] for pair in item.pairs]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    assert model.loglikelihood(requests) == [(s.log_likelihood, s.greedy) for s in scorer.continuations(pairs)]
    rolling = [Instance("loglikelihood_rolling", {}, (pairs[0][0],), 0)]
    assert model.loglikelihood_rolling(rolling) == scorer.texts([pairs[0][0]])
    asked = [
        Instance("generate_until", {}, (pair[0], {"until": until, "max_gen_toks": 8, "do_sample": False}), i)
        for i, (pair, until) in enumerate(zip(pairs[::4], (["\n"], "\n", ["Q"]), strict=False))
    ]
    expected = [scorer.answers([pairs[4 * i][0]], (stop,), 8)[0] for i, stop in enumerate(("\n", "\n", "Q"))]
    assert model.generate_until(asked) == expected
    with pytest.raises(ConfigError, match="sampling"):
        model.generate_until([Instance("generate_until", {}, ("a", {"temperature": 0.7}), 0)])
