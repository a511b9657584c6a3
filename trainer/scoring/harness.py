"""Scores a model on texts: log-likelihood of continuations, of whole texts, and greedy answers up to a stop string.

    log p(continuation | context) = sum over the tokens of (context + continuation) that reach into the continuation

The joined text is encoded as one, and the border found by bytes: a token that reaches across it belongs to the
continuation. Where no token does, which is the rule where a continuation begins with a space, these are the tokens
that lm-evaluation-harness scores; where one does (Chinese, Thai), every token is scored once and none twice.

Requests are sorted by length and batched up to a number of tokens, padding among them. Logits are formed for scored
places only. `trainer.scoring.tasks` makes requests of task files, `trainer.scoring.lm_eval_model` of
lm-evaluation-harness's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gristmill.tokenizer.encode import Encoder
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.nemotron import Nemotron
from gristmill.trainer.scoring.generate import check_tokenizer, generate

LOGIT_BYTES = 1 << 30
"""Of fp32 logits at a time: 1,048 places of 256,000 pieces."""


@dataclass(frozen=True)
class Score:
    """log_likelihood: in nats; greedy: whether every scored token is the likeliest one."""

    log_likelihood: float
    greedy: bool


@dataclass(frozen=True)
class Scorer:
    """model: whole, on one device (`load_model`); batch_tokens: of one forward, which bounds the memory."""

    model: Nemotron
    encoder: Encoder
    batch_tokens: int = 16_384

    def __post_init__(self) -> None:
        check_tokenizer(self.model, self.encoder)

    def continuations(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        """One score per (context, continuation), in their order.

        An empty context stands for the start of a text. What is longer than the model's context loses tokens of the
        left; ConfigError where that leaves a continuation without any token before it.
        """
        context = self.model.shape.context
        requests = []
        ids, offsets = self.encoder.encode_batch([before + after for before, after in pairs])
        lengths = np.diff(self.encoder.piece_offsets)
        for number, (before, _) in enumerate(pairs):
            tokens = ids[offsets[number] : offsets[number + 1]]
            scored = int((np.cumsum(lengths[tokens]) > len(before.encode())).sum())
            if scored > context:
                raise ConfigError(f"a continuation of {scored:,} tokens is longer than the model's context {context:,}")
            if scored == len(tokens):
                tokens = np.append(self.encoder.eos_id, tokens)
            requests.append((tokens[-(context + 1) :], scored))
        return self._score(requests)

    def texts(self, texts: Sequence[str]) -> list[float]:
        """Log-likelihood in nats of each whole text, from its start.

        Longer texts in windows of the model's context, each token scored once; the last window reaches back to be full.
        """
        context = self.model.shape.context
        requests, owners = [], []
        ids, offsets = self.encoder.encode_batch(list(texts))
        for number in range(len(texts)):
            tokens = np.append(self.encoder.eos_id, ids[offsets[number] : offsets[number + 1]])
            for done in range(0, len(tokens) - 1, context):
                end = min(done + context, len(tokens) - 1)
                requests.append((tokens[max(0, end - context) : end + 1], end - done))
                owners.append(number)
        scores = [score.log_likelihood for score in self._score(requests)]
        return np.bincount(np.array(owners, np.int64), scores, len(texts)).tolist()

    def answers(self, prompts: Sequence[str], stop: Sequence[str], tokens: int) -> list[str]:
        """The likeliest continuation, token by token, of each prompt: up to a stop string or `tokens` tokens.

        A prompt that leaves no room for `tokens` tokens loses tokens on its left.
        """
        room = self.model.shape.context - tokens
        if room < 1:
            raise ConfigError(
                f"answers of {tokens:,} tokens leave no room for the question in the model's context of "
                f"{self.model.shape.context:,}: ask for fewer (--answer-tokens)"
            )
        encoded = [self.encoder.encode(prompt).tolist()[-room:] for prompt in prompts]
        out = [""] * len(prompts)
        for batch in self._batches([len(ids) + tokens for ids in encoded]):
            for number, answer in zip(
                batch, generate(self.model, self.encoder, [encoded[i] for i in batch], tokens, stop=stop), strict=True
            ):
                out[number] = answer.text
        return out

    @torch.no_grad()
    def _score(self, requests: Sequence[tuple[np.ndarray, int]]) -> list[Score]:
        """requests: tokens, and how many of the last are scored, given all before them."""
        out = [Score(0.0, True)] * len(requests)
        device = self.model.head.device
        for batch in self._batches([len(tokens) - 1 for tokens, _ in requests]):
            longest = len(requests[batch[0]][0]) - 1
            padded = np.full((len(batch), max(longest, 1)), self.encoder.eos_id, np.int64)
            places, targets, owners = [], [], []
            for row, number in enumerate(batch):
                tokens, scored = requests[number]
                padded[row, : len(tokens) - 1] = tokens[:-1]
                end = row * padded.shape[1] + len(tokens) - 1
                places.append(np.arange(end - scored, end))
                targets.append(tokens[len(tokens) - scored :])
                owners.append(np.full(scored, row))
            hidden = self.model(torch.from_numpy(padded).to(device))  # [T, h]
            hidden = hidden[torch.from_numpy(np.concatenate(places)).to(device)]
            wanted = torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device)
            likelihoods, greedy = self._of_tokens(hidden, wanted)
            owner = np.concatenate(owners)
            sums = np.bincount(owner, likelihoods, len(batch))
            missed = np.bincount(owner, ~greedy, len(batch))
            for row, number in enumerate(batch):
                out[number] = Score(float(sums[row]), bool(missed[row] == 0))
        return out

    def _of_tokens(self, hidden: Tensor, wanted: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """hidden [n, h], wanted int64 [n] -> log-likelihood of each token in nats, float64 [n]; is it the likeliest."""
        rows = max(1, LOGIT_BYTES // (4 * self.model.shape.vocab_size))
        likelihoods, greedy = [], []
        for h, target in zip(hidden.split(rows), wanted.split(rows), strict=True):
            logits = self.model.ops.linear(h, self.model.head, None).float()
            chosen = logits.gather(1, target[:, None])[:, 0]
            likelihoods.append((chosen - logits.logsumexp(1)).double().cpu().numpy())
            greedy.append((logits.argmax(1) == target).cpu().numpy())
        return np.concatenate(likelihoods), np.concatenate(greedy)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices, the longest first, so many that the longest times their number stays within `batch_tokens`."""
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        while order:
            count = max(1, self.batch_tokens // max(1, lengths[order[0]]))
            yield order[:count]
            order = order[count:]
