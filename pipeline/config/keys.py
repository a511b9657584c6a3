"""The configuration of a run: what its keys are, their defaults, and every mistake as a sentence with its place.

`load` reads YAML and --set overrides (`gristmill.settings.located`), checks shapes and types with pydantic, builds the
stages (`pipeline.config.stage_list`), and looks whether the files that are named exist. Every key but `sources` has a
default. A file's keys are contracts: docs/configuration.md describes them for users. Nothing of a run happens here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gristmill.pipeline.config.recorded import read_configuration
from gristmill.pipeline.config.sizes import AUTO, Sizes, amounts, sentence, sizes_for
from gristmill.pipeline.config.stage_list import RECIPE, build_stages, missing
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, Path, nearest, override
from gristmill.settings.validation import message, validated
from gristmill.stages.blend import ATTRIBUTES, Blend, Unit, method_of, plan
from gristmill.stages.document import DOMAINS
from gristmill.stages.languages import DEFAULT_LANGUAGES, iso_code
from gristmill.tokenizer.sample import ALPHA
from gristmill.tokenizer.shards import Dtype, Format

if TYPE_CHECKING:
    from gristmill.pipeline.config.sizes import Amounts
    from gristmill.pipeline.readers.inventory import FileEntry

__all__ = ["Config", "ConfigError", "load"]

EXAMPLE = ("gristmill run pipeline.yaml", ("sources",))
"""A command and a key, for the sentence about a file that is not there or is no configuration."""

Size: TypeAlias = Literal["auto"] | int
"""A number, or what the input's size asks for: `pipeline.config.sizes`."""
Share: TypeAlias = Literal["auto"] | float

RECIPE_BLENDS = {
    "pretrain": Blend(
        domains={"english": 0.70, "multilingual": 0.15, "code": 0.15},  # Parmar et al. 2024, section 2
        within={  # Parmar et al. 2024 (Data, Data Everywhere), section 4: UniMax over languages, alpha 1.3 over code
            "english": {"unimax": {"epochs": 4}},
            "multilingual": {"unimax": {"epochs": 1}},
            "code": {"alpha": 1.3},
        },
    )
}


@dataclass(frozen=True)
class TokenizerConfig:
    """`path` names a finished tokenizer.model; without it one is trained from the curated corpus."""

    vocab_size: Size = AUTO
    path: str | None = None
    sample_bytes: Size = AUTO
    alpha: float = ALPHA
    shares: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _positive(self, "vocab_size", "sample_bytes")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"tokenizer.alpha is {self.alpha}; write 0 (equal shares) to 1 (as in the corpus)")


@dataclass(frozen=True)
class ShardsConfig:
    """`holdout` is the share of near-duplicate clusters kept out of training."""

    tokens_per_shard: Size = AUTO
    holdout: Share = AUTO
    dtype: Dtype = "int32"
    """auto: uint16 where the vocabulary fits."""
    formats: tuple[Format, ...] = ("megatron",)

    def __post_init__(self) -> None:
        _positive(self, "tokens_per_shard")
        if "megatron" not in self.formats:
            raise ValueError(
                "shards.formats lacks megatron, which the trainer and `gristmill verify` read; "
                "write [megatron, datatrove]"
            )
        if self.holdout != "auto" and not 0 <= self.holdout < 1:
            raise ValueError(f"shards.holdout is {self.holdout}; write a share of 0 or more and below 1")


@dataclass(frozen=True)
class PlanConfig:
    """How the work is cut; it shapes what is written, and workers do not."""

    partition_bytes: Size = AUTO
    max_segments: int = 1000
    max_document_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        _positive(self, "partition_bytes", "max_document_bytes")
        if self.max_segments < 2:
            raise ValueError(f"plan.max_segments is {self.max_segments}; write 2 or more")


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how fast; changes nothing of what is written. `workers` None: all cores."""

    memory_per_worker: int = 2_000_000_000
    workers: int | None = None

    def __post_init__(self) -> None:
        _positive(self, "memory_per_worker", *(["workers"] if self.workers is not None else []))


@dataclass(frozen=True)
class Config:
    sources: tuple[SourceSpec, ...]
    output: str = "out"
    seed: int = 1
    languages: tuple[str, ...] | None = None
    """ISO 639-1 codes to keep; None: English and the recipe's 53."""
    stages: tuple[Any, ...] = ()  # Any, because pydantic has no say here
    """Stages of `stages.interface`, built; in order."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    blends: Mapping[str, Blend] = field(default_factory=lambda: dict(RECIPE_BLENDS))
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    @property
    def sizes(self) -> Sizes:
        """The sizes as numbers. RuntimeError where one is still `auto`: `settled` comes first."""
        given = self._sizes()
        open_keys = [name for name, value in given.items() if value == AUTO]
        if open_keys:
            raise RuntimeError(f"{open_keys[0]} is still auto: the inventory has not been taken")
        return Sizes(**given)

    def _sizes(self) -> dict[str, Any]:
        return {name: getattr(getattr(self, section), name) for name, section in SIZED.items()}

    def automatic(self) -> list[str]:
        """Names in `Sizes` of those that are `auto`; the tokenizer's only where one is trained."""
        unused = TRAINED if self.tokenizer.path else ()
        return [name for name, value in self._sizes().items() if value == AUTO and name not in unused]

    def settled(self, found: Amounts) -> Config:
        """The same with a number for every `auto`."""
        chosen = sizes_for(found)
        config = self
        for name, section in SIZED.items():
            keys = getattr(config, section)
            if getattr(keys, name) == AUTO:
                config = replace(config, **{section: replace(keys, **{name: getattr(chosen, name)})})
        return config

    def to_dict(self) -> dict[str, Any]:
        """The resolved configuration as JSON values, of the same shape as the file."""
        mapping = {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}
        mapping["stages"] = [{stage.name: _plain(stage)} for stage in self.stages]
        return mapping


SIZED = {
    "partition_bytes": "plan",
    "vocab_size": "tokenizer",
    "sample_bytes": "tokenizer",
    "tokens_per_shard": "shards",
    "holdout": "shards",
}
"""Keys that may be `auto`, and their sections."""

TRAINED = ("vocab_size", "sample_bytes")
"""Of those, what is of no use where the tokenizer is given."""


def settled(config: Config, files: Iterable[FileEntry]) -> Config:
    """The configuration with the sizes that these files ask for."""
    return config.settled(amounts(files))


def chosen(config: Config, found: Amounts) -> str | None:
    """What `auto` became, as a sentence; None where nothing was left to it."""
    return sentence(found, sizes_for(found), config.automatic())


def load(path: str, overrides: Sequence[str] = (), *, files: bool = True) -> Config:
    """The configuration in a file, with 'a.b=c' overrides. ConfigError with one line for each mistake found.

    files: whether what it names must be there, as it must for a run.
    """
    located = read_configuration(path, *EXAMPLE)
    if "stages" not in located.data and any(assignment.startswith("stages.") for assignment in overrides):
        located.data["stages"] = [{name: dict(fields)} for stage in RECIPE for name, fields in stage.items()]
    if "blends" not in located.data and any(assignment.startswith("blends.") for assignment in overrides):
        located.data["blends"] = _plain(RECIPE_BLENDS)
    for assignment in overrides:
        override(located, assignment)
    problems: list[str] = []
    data = {key: value for key, value in located.data.items() if key != "stages"}
    config: Config | None = validated(Config, data, located, (), problems)
    if config is not None:
        _check(config, located, problems, files)
    stages = build_stages(located, config.languages if config and not problems else None, problems, files)
    if problems or config is None:
        raise ConfigError("\n".join(problems))
    return replace(config, stages=stages)


def _check(config: Config, located: Located, problems: list[str], files: bool) -> None:
    """What the shape alone does not tell: names, weights, and whether files are there."""

    def problem(path: Path, text: str) -> None:
        problems.append(message(text, located, path))

    if not config.output.strip():
        problem(("output",), "output is empty; name a folder or a URI")
    if not config.sources:
        problem(("sources",), "sources is empty; name at least one, as in - {name: machine, uri: 'machine:'}")
    names = [source.name for source in config.sources]
    for i, source in enumerate(config.sources):
        if source.name in names[:i]:
            problem(("sources", i, "name"), f"sources.{i}.name: {source.name!r} is an earlier source too; rename one")
        if files and missing(source.uri):
            problem(("sources", i, "uri"), f"{source.uri!r} matches nothing; check the path")
    for i, code in enumerate(config.languages or ()):
        if (known := iso_code(code)) != code or not re.fullmatch("[a-z]{2,3}", code):
            hint = f"did you mean {known}" if known in DEFAULT_LANGUAGES else "write ISO 639-1 codes, as in [en, de]"
            problem(("languages", i), f"languages: {code!r} is not the code of a language here; {hint}")
    for name, blend in config.blends.items():
        try:
            _try_blend(name, blend)
        except ValueError as error:
            problem(("blends", name), str(error))
    if files and config.tokenizer.path is not None and missing(config.tokenizer.path):
        problem(
            ("tokenizer", "path"),
            f"{config.tokenizer.path!r} does not exist; check it, or leave it out to train one",
        )


def _try_blend(name: str, blend: Blend) -> None:
    """ValueError where the blend is wrong whatever the corpus: a trial over one unit of everything it names."""
    for domain in blend.domains:
        if domain not in DOMAINS:
            raise ValueError(f"blends.{name}.domains.{domain} is no domain; {nearest(domain, DOMAINS)}")
    units = []
    within = dict(blend.within)
    for domain, method in blend.within.items():
        method_of(domain, method, f"blends.{name}.within.{domain}")
        if any(":" in key for key in method):  # a method of one's own is asked about the corpus alone
            del within[domain]
    for domain in blend.domains or DOMAINS:
        method = within.get(domain, {})
        given = next((key for key in ATTRIBUTES if isinstance(method.get(key), Mapping)), None)
        for group in method[given] if given else ["any"]:
            attributes = dict.fromkeys(ATTRIBUTES.values(), "any")
            if given:
                attributes[ATTRIBUTES[given]] = group
            units.append(Unit(domain=domain, tokens=1_000_000, documents=1, **attributes))
    tokens = blend.tokens if blend.tokens == "max" or blend.tokens < 1 else "max"
    plan(units, replace(blend, within=within, tokens=tokens, on_shortage="renormalize"), name)


def _positive(section: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(section, name)) != AUTO and value <= 0:
            where = type(section).__name__.removesuffix("Config").lower()
            raise ValueError(f"{where}.{name} is {value}; write a number above 0")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
