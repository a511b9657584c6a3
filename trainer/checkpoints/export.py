"""Checkpoint <-> Hugging Face `NemotronForCausalLM` directory, bit for bit.

Weights keep their names (`trainer.model.names` has Hugging Face's) and go to safetensors of at most 5 GB; config.json
has the shape. An export in float32 and one in bfloat16 of a bfloat16 training hold exactly the trained weights;
importing gives them back. generation_config.json and a model card go along, and the tokenizer where it is given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.trainer.checkpoints import format as checkpoint_format
from gristmill.trainer.checkpoints import reading, saving, tokenizer_files
from gristmill.trainer.checkpoints.model_card import NAME as CARD
from gristmill.trainer.checkpoints.model_card import model_card
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.shape import Shape

FILE_BYTES = 5_000_000_000
"""Largest safetensors file; Hugging Face's customary limit."""
BOS, EOS = 2, 3
"""Ids of `<s>` and `</s>` in the family's tokenizers."""

_CONFIG = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn": "intermediate_size",
    "vocab_size": "vocab_size",
    "context": "max_position_embeddings",
    "norm_eps": "norm_eps",
    "init_std": "initializer_range",
}
"""Fields of `Shape` by their key in config.json; the rotary ones are in rope_parameters."""


def export_hf(
    source: str | Path, folder: str | Path, dtype: torch.dtype, tokenizer: str | Path | None = None
) -> list[Path]:
    """Writes `source`, a checkpoint or a folder of them (the newest good one), as a Hugging Face directory."""
    path = find_checkpoint(source)
    shape, progress = reading.shape_of(path), reading.read_progress(path)
    weights = reading.read_weights(path, shape, dtype)
    return write_hf(folder, weights, shape, dtype, tokenizer, progress=progress)


def import_hf(folder: str | Path, directory: str | Path) -> Path:
    """Writes a checkpoint at step 0 from a Hugging Face directory; its moments start at 0 when it is loaded."""
    shape, weights = read_hf(folder)
    if checkpoint_format.committed(directory):
        raise ConfigError(f"{directory}: has checkpoints already: give an empty directory")
    progress = {"step": 0, "samples": 0, "optimizer_step": 0, "tokens": 0, "moments": False, "shape": vars(shape)}
    return saving.write(directory, {f"main.{name}": weight for name, weight in weights.items()}, progress)


def find_checkpoint(source: str | Path) -> Path:
    """`source` itself if it is a checkpoint, else the newest good one in it, its weights verified.

    Says on standard error which damaged ones were passed over; TrainerError where there is no good one.
    """
    return reading.find(source, lambda line: print(line, file=sys.stderr), weights_only=True)


def write_hf(
    folder: str | Path,
    weights: dict[str, Tensor],
    shape: Shape,
    dtype: torch.dtype,
    tokenizer: str | Path | None = None,
    file_bytes: int = FILE_BYTES,
    progress: Mapping[str, Any] | None = None,
) -> list[Path]:
    """config.json, generation_config.json, safetensors (with an index where there are several), README.md, tokenizer.

    tokenizer: a folder or a file. progress: of the checkpoint, for the model card. A README.md that is there stays.
    Says on standard error what the tokenizer lacks.
    """
    from safetensors.torch import save_file

    out = Path(folder)
    if next(out.glob("*.safetensors"), None):  # of another size, they would be read along with the new ones
        raise ConfigError(f"{out}: holds a model already: delete it or give another folder")
    tokens = tokenizer_files.find(Path(tokenizer), shape.vocab_size) if tokenizer is not None else {}
    out.mkdir(parents=True, exist_ok=True)
    pieces: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, weight in weights.items():
        if size and size + weight.nbytes > file_bytes:
            pieces.append({})
            size = 0
        pieces[-1][name] = weight.contiguous()
        size += weight.nbytes
    names = [f"model-{i + 1:05d}-of-{len(pieces):05d}.safetensors" for i in range(len(pieces))]
    if len(pieces) == 1:
        names = ["model.safetensors"]
    for name, piece in zip(names, pieces, strict=True):
        (out / name).touch()
        mode = (out / name).stat().st_mode
        save_file(piece, out / name, metadata={"format": "pt"})  # by a temporary file, which only its owner may read
        (out / name).chmod(mode)
    if len(pieces) > 1:
        places = {key: name for name, piece in zip(names, pieces, strict=True) for key in piece}
        total = sum(weight.nbytes for weight in weights.values())
        _write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})
    _write_json(out / "config.json", hf_config(shape, dtype))
    _write_json(out / "generation_config.json", {"bos_token_id": BOS, "eos_token_id": EOS})
    lacking = tokenizer_files.copy(tokens, out) if tokens else []
    if lacking:
        print(f"{tokenizer}: has no {' and no '.join(lacking)}; the export goes without", file=sys.stderr)
    if not (out / CARD).exists():
        name = out.absolute().name
        card = model_card(name, shape, str(dtype).removeprefix("torch."), bool(tokens), progress)
        (out / CARD).write_text(card, "utf-8")
    return sorted(out.iterdir())


def read_hf(folder: str | Path) -> tuple[Shape, dict[str, Tensor]]:
    """Shape and {name: weight} of a Hugging Face NemotronForCausalLM directory with safetensors."""
    from safetensors.torch import load_file

    path = Path(folder)
    try:
        shape = hf_shape(json.loads((path / "config.json").read_text("utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}/config.json: is not that of a Nemotron model ({error!r}): give a directory of NemotronForCausalLM"
        ) from error
    index = path / "model.safetensors.index.json"
    named = (
        set(json.loads(index.read_text("utf-8"))["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    )
    files = [path / name for name in sorted(named) if (path / name).is_file()]
    weights = {name: weight for file in files for name, weight in load_file(file).items()}
    expected = checkpoint_format.weight_sizes(shape)
    for name, size in expected.items():
        if name not in weights or weights[name].shape != size:
            got = tuple(weights[name].shape) if name in weights else "missing"
            raise ConfigError(f"{path}: {name} is {got} where {size} is needed: the download may be incomplete")
    return shape, {name: weights[name] for name in expected}


def is_hf(folder: str | Path) -> bool:
    """Whether this is a Hugging Face directory of a model, of whatever architecture."""
    return (Path(folder) / "config.json").is_file()


def hf_config(shape: Shape, dtype: torch.dtype) -> dict[str, Any]:
    """config.json of the model."""
    return {
        "architectures": ["NemotronForCausalLM"],
        "model_type": "nemotron",
        **{theirs: getattr(shape, ours) for ours, theirs in _CONFIG.items()},
        "hidden_act": "relu2",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "partial_rotary_factor": shape.rotary_fraction,
        "rope_theta": shape.rope_base,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": shape.rope_base,
            "partial_rotary_factor": shape.rotary_fraction,
        },
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "dtype": str(dtype).removeprefix("torch."),
    }


def hf_shape(config: dict[str, Any]) -> Shape:
    """Shape from config.json, of this or older versions of transformers. ValueError if it is another architecture."""
    wrong = {
        "model_type": config.get("model_type") != "nemotron",
        "hidden_act": config.get("hidden_act", "relu2") != "relu2",
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
        "attention_bias": bool(config.get("attention_bias", False)),
        "mlp_bias": bool(config.get("mlp_bias", False)),
    }
    if any(wrong.values()):
        raise ValueError("unsupported " + ", ".join(f"{k}={config.get(k)!r}" for k, bad in wrong.items() if bad))
    rope = config.get("rope_parameters") or {}
    given = {ours: config[theirs] for ours, theirs in _CONFIG.items() if config.get(theirs) is not None}
    given.setdefault("head_dim", given["hidden"] // given["heads"])
    fraction = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 0.5))
    base = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    return Shape(**given, rotary_fraction=fraction, rope_base=base)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
