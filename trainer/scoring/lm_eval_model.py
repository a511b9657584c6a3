"""lm-evaluation-harness's model "gristmill": its tasks, scored on a checkpoint or an exported directory.

    python -m gristmill.trainer.scoring.lm_eval_model run --model gristmill --tasks arc_easy --include_path my_tasks \\
        --model_args source=out/train/checkpoints,tokenizer=out/tokenizer/tokenizer.model

The arguments after the module are lm_eval's own; importing this module is what makes it know "gristmill". Scoring is
`trainer.scoring.harness`, with its rule for tokens across the border of context and continuation. Answers are greedy;
what asks for sampling is refused. One process, one device. Needs lm_eval 0.4.13 (`pip install gristmill[eval]`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from gristmill.trainer.errors import ConfigError
from gristmill.trainer.scoring.generate import choose, find_tokenizer, load_model
from gristmill.trainer.scoring.harness import Scorer
from gristmill.trainer.scoring.tasks import ANSWER_TOKENS


@register_model("gristmill")
class Gristmill(LM):
    """source: as `load_model`; tokenizer: its tokenizer.model; batch_tokens: of a forward, padding among them.

    device is lm_eval's --device, whose default cuda:0 here means: the GPU where there is one. Its --batch_size counts
    sequences and does nothing, since `batch_tokens` bounds the memory.
    """

    def __init__(
        self,
        source: str,
        tokenizer: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_tokens: int = 16_384,
        batch_size: Any = None,
        max_batch_size: Any = None,
    ):
        super().__init__()
        encoder = find_tokenizer(source, tokenizer)
        where = choose("auto" if device in (None, "cuda:0") else str(device), dtype)
        self._scorer = Scorer(load_model(source, *where), encoder, int(batch_tokens))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        pairs = [request.args for request in requests]
        out = [(score.log_likelihood, score.greedy) for score in self._scorer.continuations(pairs)]
        for pair, result in zip(pairs, out, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, result)
        return out

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        out = self._scorer.texts([request.args[0] for request in requests])
        for request, result in zip(requests, out, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, result)
        return out

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Requests of the same stop strings and length go together."""
        together: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for number, request in enumerate(requests):
            settings = request.args[1]
            if settings.get("do_sample") or settings.get("temperature"):
                raise ConfigError("a task asks for sampling: give --gen_kwargs do_sample=False,temperature=0")
            until = settings.get("until") or ()
            stop = (until,) if isinstance(until, str) else tuple(until)
            together.setdefault((stop, int(settings.get("max_gen_toks", ANSWER_TOKENS))), []).append(number)
        out = [""] * len(requests)
        for (stop, tokens), numbers in together.items():
            answers = self._scorer.answers([requests[i].args[0] for i in numbers], stop, tokens)
            for number, answer in zip(numbers, answers, strict=True):
                out[number] = answer
                self.cache_hook.add_partial("generate_until", requests[number].args, answer)
        return out


def main() -> None:
    """lm_eval's command line, with "gristmill" among its models."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
