"""The trainer's configuration: what each key means, its default and its check.

    model · sequence_length · dtype · device · kernels · deterministic · activations · micro_batch_size · seed
    initialize_from · tokenizer · parallel · data · phases · optimizer · instability · checkpoint · logging · evaluation

A phase is tokens, data, batch ramp and learning rate; everything that changes during a run is a function of tokens.
Reading the file is `gristmill.settings`; what follows from the phases is `trainer.config.schedule`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, read
from gristmill.settings.validation import configured, message
from gristmill.trainer.model.shape import PRESETS, Shape

FROM_SHARDS = "from shards"


def _positive(part: Any, *names: str) -> None:
    for name in names:
        if getattr(part, name) <= 0:
            raise ValueError(f"{name} is {getattr(part, name)}: it must be above 0")


@dataclass(frozen=True)
class ShapeOverrides:
    """Any field of `Shape`; `vocab_size: from shards` takes it from the shards' manifest."""

    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    ffn: int | None = None
    vocab_size: Literal["from shards"] | int | None = None
    context: int | None = None
    rotary_fraction: float | None = None
    rope_base: float | None = None
    norm_eps: float | None = None
    init_std: float | None = None


@dataclass(frozen=True)
class ModelChoice:
    """`model: nemotron4_15b` or `model: {preset: debug, overrides: {layers: 2}}`."""

    SHORTHAND: ClassVar[str] = "preset"
    preset: str
    overrides: ShapeOverrides = field(default_factory=ShapeOverrides)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"'{self.preset}' is no preset: choose one of {', '.join(PRESETS)}")

    def shape(self, vocab_size: int | None = None) -> Shape:
        """The preset with its overrides; vocab_size: that of the shards, for `from shards`."""
        given = {name: value for name, value in asdict(self.overrides).items() if value is not None}
        if given.get("vocab_size") == FROM_SHARDS:
            given["vocab_size"] = vocab_size or PRESETS[self.preset].vocab_size
        return Shape(**{**asdict(PRESETS[self.preset]), **given})


@dataclass(frozen=True)
class Parallel:
    """tensor x pipeline x data processes. data left out: as many as were started allow, so one file runs on any."""

    tensor: int = 1
    pipeline: int = 1
    data: int | None = None
    virtual_stages: int = 1  # chunks of layers per pipeline rank (interleaved schedule)
    bucket_mb: int | None = None  # of a data-parallel reduction, fp32; default: by the number of ranks
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"  # in which gradients travel between data-parallel ranks

    def __post_init__(self) -> None:
        _positive(self, "tensor", "pipeline", "virtual_stages")
        for name in ("data", "bucket_mb"):
            if getattr(self, name) is not None:
                _positive(self, name)


@dataclass(frozen=True)
class Source:
    """One shard set of a blend: a folder with manifest.json, and its share of the samples (weights are normalised)."""

    shards: str
    weight: float

    def __post_init__(self) -> None:
        _positive(self, "weight")


@dataclass(frozen=True)
class Batch:
    """`sequences` per step for `tokens` tokens; the last of a ramp may leave tokens out."""

    sequences: int
    tokens: int | None = None

    def __post_init__(self) -> None:
        _positive(self, "sequences")


@dataclass(frozen=True)
class LearningRate:
    """Warm-up from 0 to `peak` over `warmup_tokens`, then a curve from `peak` to `final` at the end of its phases."""

    peak: float
    final: float = 0.0
    warmup_tokens: int = 0
    curve: Literal["cosine", "linear", "constant"] = "cosine"

    def __post_init__(self) -> None:
        _positive(self, "peak")


@dataclass(frozen=True)
class Phase:
    """A phase without `learning_rate` continues the curve of the phase before it, over the tokens of both."""

    tokens: int
    shards: str | None = None
    blend: tuple[Source, ...] = ()
    batch_ramp: tuple[Batch, ...] = (Batch(8),)
    learning_rate: LearningRate | None = None

    def __post_init__(self) -> None:
        _positive(self, "tokens")
        if (self.shards is None) == (not self.blend):
            raise ValueError("give either `shards: FOLDER` or `blend: [{shards, weight}, ...]`")
        if not self.batch_ramp:
            raise ValueError("batch_ramp is empty: give at least [{sequences: N}]")
        if any(batch.tokens is None for batch in self.batch_ramp[:-1]):
            raise ValueError("only the last batch of batch_ramp may leave `tokens` out")

    def sources(self) -> tuple[Source, ...]:
        return self.blend or (Source(str(self.shards), 1.0),)


@dataclass(frozen=True)
class Data:
    """documents: `joined` lets attention run across the documents of a window, `separate` keeps it within each."""

    documents: Literal["joined", "separate"] = "joined"
    block_samples: int = 65_536  # samples per quota block of the blend
    max_epochs: float = 4.0  # the plan and the start warn above it (Muennighoff et al. 2023: value falls from there)

    def __post_init__(self) -> None:
        _positive(self, "block_samples", "max_epochs")


@dataclass(frozen=True)
class AdamW:
    """As NVIDIA published for models of this family: beta 0.9 and 0.95, weight decay 0.1, clip at norm 1."""

    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # on matrices and embeddings, not on norms
    clip: float = 1.0  # global gradient norm; 0: no clipping


@dataclass(frozen=True)
class Instability:
    """What to do with a step whose loss or gradient norm is no number, or whose loss is a spike: `trainer.policy`."""

    nan: Literal["stop", "skip"] = "stop"
    spike: Literal["ignore", "skip", "stop"] = "ignore"
    spike_factor: float = 1.5  # a spike: loss above this many times the median of the last 64 steps
    max_skips: int = 10  # in a row; the next bad step stops the run

    def __post_init__(self) -> None:
        _positive(self, "max_skips")
        if self.spike_factor <= 1:
            raise ValueError(f"spike_factor is {self.spike_factor}: it must be above 1")


@dataclass(frozen=True)
class Checkpoint:
    directory: str = "out/train/checkpoints"
    every_tokens: int = 1_000_000_000
    keep: int = 2

    def __post_init__(self) -> None:
        _positive(self, "every_tokens", "keep")


@dataclass(frozen=True)
class Logging:
    directory: str = "out/train"
    every_steps: int = 10  # lines on the terminal; metrics.jsonl has every step
    tensorboard: bool = True  # an event file in tensorboard/ of the directory
    hang_seconds: float = 300.0  # a step longer than this: each rank writes what it waits for

    def __post_init__(self) -> None:
        _positive(self, "every_steps", "hang_seconds")


@dataclass(frozen=True)
class Evaluation:
    """At the end of the run: the hold-out beside the last phase's shards, or `shards`; 0 tokens: none."""

    shards: str | None = None
    max_tokens: int = 2_000_000


@dataclass(frozen=True)
class Config:
    model: ModelChoice
    phases: tuple[Phase, ...]
    sequence_length: int | None = None  # default: the model's context
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # of parameters and activations; gradients and moments are fp32
    device: Literal["auto", "cpu", "cuda"] = "auto"
    kernels: Literal["auto", "reference"] = "auto"
    deterministic: bool = False  # on a GPU: our attention, whose sums have an order, not the fastest one found at start
    activations: Literal["all", "lean", "full"] = "lean"  # kept for the backward: `trainer.model.layers`
    micro_batch_size: int = 1  # sequences per forward and backward
    seed: int = 1
    initialize_from: str | None = None  # weights and moments to start from: a step-N folder, or one of checkpoints
    tokenizer: str | None = None  # a tokenizer.model, to print text with --replay
    parallel: Parallel = field(default_factory=Parallel)
    data: Data = field(default_factory=Data)
    optimizer: AdamW = field(default_factory=AdamW)
    instability: Instability = field(default_factory=Instability)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    logging: Logging = field(default_factory=Logging)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        _positive(self, "micro_batch_size")
        if self.sequence_length is not None:
            _positive(self, "sequence_length")
        if not self.phases:
            raise ValueError("phases is empty: give at least one")
        if self.phases[0].learning_rate is None:
            raise ValueError("phases.0 has no learning_rate: the first phase needs one")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}: choose 0 to 2^63 - 1")

    def sequence(self) -> int:
        """Tokens per sample."""
        return self.sequence_length or self.model.shape().context


def read_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """The configuration at `path`, or the shipped one of that name (`debug`, `nemotron4_15b`, ...)."""
    folder = Path(__file__).parents[1] / "configs"
    shipped = folder / f"{path}.yaml"
    if not Path(path).exists() and not shipped.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(f"{path}: no such file: give a YAML file or one of the shipped configurations {names}")
    chosen = shipped if not Path(path).is_file() and shipped.is_file() else Path(path)
    located = read(str(chosen), "gristmill train run my.yaml", [key.name for key in fields(Config)])
    return checked(located, overrides)


def checked(located: Located, overrides: Iterable[str] = ()) -> Config:
    """The configuration from what was read, after the overrides. ConfigError with a sentence for each mistake."""
    config = configured(Config, located, overrides)
    try:
        shape = config.model.shape()
    except ValueError as error:
        raise ConfigError(message(str(error), located, ("model", "overrides"))) from error
    if config.sequence() > shape.context:
        sentence = (
            f"sequence_length {config.sequence()} is above the model's context {shape.context}: lower it, "
            "or raise model.overrides.context"
        )
        raise ConfigError(message(sentence, located, ("sequence_length",)))
    return config
