"""README.md of an exported model: Hugging Face's model card, with what the checkpoint knows of itself.

What it does not know, the licence, the evaluation and what the model is for, is left for its authors to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gristmill
from gristmill.trainer.model.shape import Shape, parameters

NAME = "README.md"

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- nemotron
- gristmill
---

# {title}

A decoder of the Nemotron-4 family: squared ReLU, grouped-query attention, rotary position embeddings, LayerNorm with
zero-centred gamma, no biases, no tied embeddings. Trained with Gristmill and exported by version {version}.

| | |
|---|---|
{rows}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{folder}")
tokenizer = AutoTokenizer.from_pretrained("{folder}")
prompt = tokenizer("The mill", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0]))
```
{without}
## Still to be written

Licence, intended use, evaluation, limitations. What the model was trained on is described by `datasheet.md` in the
output of the pipeline that made its shards.
"""

_NO_TOKENIZER = """
No tokenizer was exported along with the model: `gristmill train export --tokenizer out/tokenizer` does that.
"""


def model_card(folder: str, shape: Shape, dtype: str, tokenizer: bool, progress: Mapping[str, Any] | None) -> str:
    """folder: its name. progress: of the checkpoint; None where the weights come from elsewhere."""
    rows = {
        "parameters": f"{parameters(shape):,}",
        "layers": f"{shape.layers}",
        "hidden size": f"{shape.hidden:,}",
        "heads": f"{shape.heads} of {shape.head_dim}, {shape.kv_heads} for keys and values",
        "vocabulary": f"{shape.vocab_size:,}",
        "context": f"{shape.context:,} tokens",
        "weights": dtype,
    }
    if progress and progress.get("tokens"):
        rows["trained on"] = f"{progress['tokens']:,} tokens, {progress['step']:,} steps"
    return _CARD.format(
        title=folder,
        folder=folder,
        version=gristmill.__version__,
        rows="\n".join(f"| {name} | {value} |" for name, value in rows.items()),
        without="" if tokenizer else _NO_TOKENIZER,
    )
