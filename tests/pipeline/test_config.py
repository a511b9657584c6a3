"""The configuration: the shipped files load, every key has a default, every mistake is a sentence with its place."""

from __future__ import annotations

import json
import shlex
import string
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.config.keys import (
    Config,
    ConfigError,
    PlanConfig,
    RuntimeConfig,
    ShardsConfig,
    TokenizerConfig,
    load,
)
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.settings.located import override, read
from gristmill.stages.blend import Blend
from gristmill.stages.languages import DEFAULT_LANGUAGES
from gristmill.stages.registry import STAGES
from gristmill.stages.registry import load as load_stage

pytestmark = pytest.mark.filterwarnings("ignore:rules. characters_per_token")

ROOT = Path(__file__).parents[2]
SECTIONS: dict[str, type] = {"shards": ShardsConfig, "plan": PlanConfig, "runtime": RuntimeConfig}
SHIPPED = ("pipeline.yaml", "pipeline_paper_order.yaml")
PLAIN = "sources:\n  - {name: machine, uri: 'machine:'}\nstages:\n"
OWN_STAGE = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Shout:
    loudness: int = 1
    words: str | None = None
    name: ClassVar[str] = "shout"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = {needs!r}
    adds: ClassVar[tuple[str, ...]] = ("shouted",)
    edits: ClassVar[bool] = {edits}
    files: ClassVar[tuple[str, ...]] = ("words",)

    def apply(self, batch):
        return batch
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, in which the language model is there: the configuration asks only whether it is."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lid.176.ftz").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> str:
    Path("mine.yaml").write_text(text, "utf-8")
    return "mine.yaml"


def errors(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(text), overrides)
    return str(caught.value).splitlines()


def own_stage(name: str, needs: tuple[str, ...] = ("text",), edits: bool = False) -> str:
    Path(f"{name}.py").write_text(OWN_STAGE.format(needs=needs, edits=edits), "utf-8")
    return f"{name}:Shout"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configuration_loads(name: str) -> None:
    config = load(str(ROOT / name))
    assert {stage.name for stage in config.stages} == {"extract", "language", "rules", "exact_dedup", "near_dedup"}
    assert config.blends["pretrain"].domains == {"english": 0.70, "multilingual": 0.15, "code": 0.15}
    assert json.loads(json.dumps(config.to_dict()))["stages"][0].keys() == {"extract"}


def test_paper_order_differs_in_the_order_of_stages_and_the_output_alone() -> None:
    ours, paper = (load(str(ROOT / name)).to_dict() for name in SHIPPED)
    by_name = [sorted(json.dumps(stage, sort_keys=True) for stage in config.pop("stages")) for config in (ours, paper)]
    assert by_name[0] == by_name[1]
    assert ours.pop("output") != paper.pop("output")
    assert ours == paper


def test_only_sources_has_no_default() -> None:
    config = load(write("sources: [{name: machine, uri: 'machine:'}]"))
    assert (config.output, config.seed, config.languages) == ("out", 1, None)
    assert [stage.name for stage in config.stages] == ["extract", "language", "rules", "exact_dedup", "near_dedup"]
    assert (config.tokenizer.vocab_size, config.tokenizer.sample_bytes) == ("auto", "auto")
    assert (config.shards.tokens_per_shard, config.shards.holdout) == ("auto", "auto")
    assert (config.plan.partition_bytes, config.plan.max_segments) == ("auto", 1000)
    assert config.plan.max_document_bytes == 64_000_000
    assert (config.runtime.memory_per_worker, config.runtime.workers) == (2_000_000_000, None)
    blend = config.blends["pretrain"]
    assert (blend.tokens, blend.max_epochs, blend.on_shortage) == ("max", 4, "error")
    assert errors("") == ["mine.yaml: sources is missing; write it"]


def test_resolved_configuration_loads_to_itself() -> None:
    config = load(str(ROOT / "pipeline.yaml"))
    again = load(write(yaml.safe_dump(config.to_dict())))
    assert again.to_dict() == config.to_dict()


MISTAKES = [
    (
        "sources: [{name: m, uri: 'machine:'}]\nplan:\n  partition_byte: 3\n",
        3,
        "plan.partition_byte",
        "partition_bytes",
    ),
    ("sources: [{name: m, uri: 'machine:'}]\nblend: {}\n", 2, "blend", "did you mean blends"),
    ("sources: [{name: m, uri: 'machine:'}]\nseed: one\n", 2, "seed", "a whole number"),
    ("sources: [{name: m, uri: 'machine:'}]\nseed: '1'\n", 2, "seed", "a whole number"),
    ("sources: [{name: m, uri: 'machine:'}]\nseed: true\n", 2, "seed", "a whole number"),
    ("sources: [{name: m, uri: 'machine:'}]\nlanguages: en\n", 2, "languages", "a list"),
    ("sources: [{name: m, uri: 'machine:'}]\nlanguages:\n  - en\n  - nn\n", 4, "languages", "did you mean no"),
    ("sources: [{name: m, uri: 'machine:'}]\nplan: {partition_bytes: 0}\n", 2, "plan.partition_bytes", "above 0"),
    ("sources: [{name: m, uri: 'machine:'}]\nshards:\n  holdout: 1.5\n", 3, "shards.holdout", "below 1"),
    ("sources: [{name: m, uri: 'machine:'}]\nshards: {dtype: uint16}\n", 2, "shards.dtype", "auto"),
    ("sources: [{name: m, uri: 'machine:'}]\nshards: {formats: [megatron, mds]}\n", 2, "shards.formats", "datatrove"),
    ("sources: [{name: m, uri: 'machine:'}]\nshards: {formats: [datatrove]}\n", 2, "shards.formats", "megatron"),
    ("sources: []\n", 1, "sources", "at least one"),
    ("sources:\n  - {name: m}\n", 2, "sources.m.uri", "missing"),
    ("sources:\n  - name: m\n    uri: nowhere/*.jsonl\n", 3, "sources.m.uri", "'nowhere/*.jsonl' matches nothing"),
    ("sources:\n  - name: m\n    uri: 'machine:'\n    format: josnl\n", 4, "sources.m", "jsonl"),
    ("sources:\n  - name: m\n    uri: 'machine:'\n    colums: {}\n", 4, "sources.m.colums", "did you mean columns"),
    ("sources:\n  - {name: m, uri: 'machine:'}\n  - {name: m, uri: 'machine:'}\n", 3, "sources.1.name", "rename"),
    (PLAIN + "  - extract: {}\n  - neardedup: {}\n", 5, "stages", "did you mean near_dedup"),
    (PLAIN + "  - near_dedup:\n      presett: nemo\n", 5, "stages.near_dedup.presett", "did you mean preset"),
    (PLAIN + "  - near_dedup:\n      preset: finweb\n", 5, "stages.near_dedup.preset", "fineweb"),
    (
        PLAIN + "  - rules:\n      presets:\n        - code\n        - gopher_qualty\n",
        7,
        "stages.rules",
        "gopher_quality",
    ),
    (PLAIN + "  - rules:\n      set:\n        wrds: {min: 3}\n", 6, "stages.rules.set", "words"),
    (PLAIN + "  - rules: {presets: gopher_quality}\n", 4, "stages.rules.presets", "a list"),
    (PLAIN + "  - {extract: {}, language: {}}\n", 4, "stages.0", "one name"),
    (PLAIN + "  - 3\n", 4, "stages.0", "one name"),
    ("sources: [{name: m, uri: 'machine:'}]\nstages: extract\n", 2, "stages", "a list"),
    ("sources: [{name: m, uri: 'machine:'}]\ntokenizer:\n  path: gone.model\n", 3, "tokenizer.path", "does not exist"),
    ("sources: [{name: m, uri: 'machine:'}]\ntokenizer:\n  alpha: 3\n", 3, "tokenizer.alpha", "0 (equal shares)"),
    ("sources: [{name: m, uri: 'machine:'}]\nseed: 1\nseed: 2\n", 3, "seed", "second time"),
    ("sources: [{name: m, uri: 'machine:'}]\nplan: {1: 2}\n", 2, "'1'", "quotes"),
    ("sources: [{name: m, uri: 'machine:'}]\nplan: [\n", 3, "YAML", "mend"),
    ("- sources\n", 1, "mapping", "write keys"),
]


@pytest.mark.parametrize(("text", "line", "key", "hint"), MISTAKES, ids=[f"{m[2]}-{m[3]}" for m in MISTAKES])
def test_mistake_is_one_sentence_with_line_key_and_remedy(text: str, line: int, key: str, hint: str) -> None:
    [sentence] = errors(text)
    assert sentence.startswith(f"mine.yaml:{line}: ")
    assert key in sentence
    assert hint in sentence


BLENDS = [
    ("domains: {english: 0.7, multilingual: 0.15, code: 0.12}", "blends.b.domains", "sum to 0.97"),
    ("domains: {english: 0.7, multilingual: 0.15, code: -0.15}", "blends.b.domains.code", "0 or more"),
    ("domains: {english: 0.5, french: 0.5}", "blends.b.domains.french", "domain"),
    ("{domains: {english: 1}, within: {english: {unimax: {epochs: 0}}}}", "within.english.unimax.epochs", "above 0"),
    ("{domains: {english: 1}, within: {english: {unimaxx: {}}}}", "blends.b.within.english", "unimax"),
    ("{domains: {english: 1}, within: {english: {categories: {web: 0.5}}}}", "english.categories", "sum to 0.5"),
    ("{domains: {english: 1}, within: {code: {alpha: 1.3}}}", "blends.b.within.code", "not among"),
    ("{domains: {english: 1}, on_shortage: eror}", "blends.b.on_shortage", "'error' or 'renormalize'"),
    ("{domains: {english: 1}, tokens: many}", "blends.b.tokens", "a whole number or 'max'"),
    ("{domains: {english: 1}, tokens: 0}", "blends.b.tokens", "above 0"),
    ("{domains: {english: 1}, max_epochs: 0}", "blends.b.max_epochs", "above 0"),
]


@pytest.mark.parametrize(("blend", "key", "hint"), BLENDS, ids=[f"{b[1]}-{b[2]}" for b in BLENDS])
def test_wrong_blend_is_refused_before_anything_runs(blend: str, key: str, hint: str) -> None:
    body = blend if blend.startswith("{") else f"{{{blend}}}"
    [sentence] = errors(f"sources: [{{name: m, uri: 'machine:'}}]\nblends:\n  b: {body}\n")
    assert sentence.startswith("mine.yaml:3: ")
    assert key in sentence
    assert hint in sentence


@pytest.mark.parametrize("total", [0.992, 1.0, 1.008, 99.2, 100, 100.8])
def test_weights_within_one_percent_are_normalised_and_further_off_refused(total: float) -> None:
    text = "sources: [{name: m, uri: 'machine:'}]\nblends: {b: {domains: {english: %s, code: %s}}}"
    load(write(text % (0.7 * total, 0.3 * total)))
    assert "sum to" in errors(text % (0.7 * total * 1.02, 0.3 * total * 1.02))[0]


def test_explicit_weights_of_unseen_categories_are_accepted() -> None:
    blend = "{domains: {english: 1}, within: {english: {categories: {web: 46.4, books: 53.6}}}}"
    load(write(f"sources: [{{name: m, uri: 'machine:'}}]\nblends: {{b: {blend}}}"))


def test_all_mistakes_are_told_at_once() -> None:
    found = errors("sources:\n  - {name: m, uri: gone.jsonl}\nseed: x\nplan: {max_segment: 3}\n", "output=3")
    assert len(found) == 3
    assert errors("sources:\n  - {name: m, uri: gone.jsonl}\nlanguages: [en, nn]\n", "tokenizer.path=gone")[2:]


def test_override_sets_any_key_and_is_named_in_errors() -> None:
    file = str(ROOT / "pipeline.yaml")
    changes = ["stages.near_dedup.preset=fineweb", "sources.machine.max_bytes=1000", "plan.partition_bytes=1e6"]
    changes += ["runtime.workers=3", "stages.rules.set={gopher_quality.words: {min: 40}}", "languages=[en, no]"]
    changes += ['stages.rules.set."gopher_quality.mean_word_length".max=12', "stages.1.min_score=0.4"]
    config = load(file, [*changes, "stages.rules.set.gopher_quality.words.min=20"])
    by_name = {stage.name: stage for stage in config.stages}
    assert by_name["near_dedup"].preset == "fineweb"
    assert by_name["rules"].set == {"gopher_quality.words": {"min": 20}, "gopher_quality.mean_word_length": {"max": 12}}
    assert by_name["language"].min_score == 0.4
    assert (config.sources[0].max_bytes, config.plan.partition_bytes, config.runtime.workers) == (1000, 1_000_000, 3)
    for change, hint in [
        ("stages.near_dedup.presett=x", "did you mean preset"),
        ("stages.near_dedpu.preset=x", "did you mean near_dedup"),
        ("plan.partition_bytes=lots", "a whole number"),
        ("plna.partition_bytes=1", "did you mean plan"),
        ("seed.a=1", "set it as a whole"),
        ("seed", "--set key=value"),
        ("seed=[", "YAML"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(file, [change])
        assert str(caught.value).startswith(f"--set {change}: ")
        assert hint in str(caught.value)


def test_stage_that_occurs_twice_is_addressed_by_its_place() -> None:
    twice = write(PLAIN + "  - extract\n  - language:\n  - exact_dedup:\n  - exact_dedup: {scope: source}\n")
    assert [s.scope for s in load(twice).stages[2:]] == ["global", "source"]
    assert load(twice, ["stages.3.exact_dedup.scope=global"]).stages[3].scope == "global"
    with pytest.raises(ConfigError, match="2 times; write its place: 2 or 3"):
        load(twice, ["stages.exact_dedup.scope=global"])


def test_languages_reach_the_language_stage_unless_it_has_its_own() -> None:
    def languages(*overrides: str) -> Any:
        stages = load(write("sources: [{name: m, uri: 'machine:'}]"), overrides).stages
        return next(stage for stage in stages if stage.name == "language").languages

    assert tuple(languages() or DEFAULT_LANGUAGES) == DEFAULT_LANGUAGES
    assert tuple(languages("languages=[en, no]")) == ("en", "no")


def test_stage_without_the_columns_it_needs_is_refused() -> None:
    stage = own_stage("needy", needs=("text", "perplexity"))
    [sentence] = errors(PLAIN + f"  - extract: {{}}\n  - {stage}: {{}}\n")
    assert sentence.startswith("mine.yaml:5: ")
    assert "needs the column perplexity, which no stage before it adds" in sentence
    other = own_stage("early", needs=("shouted",))
    assert "move shout before it" in errors(PLAIN + f"  - {other}: {{}}\n  - {own_stage('late')}: {{}}\n")[0]


def test_signals_need_not_be_listed_for_rules() -> None:
    assert [s.name for s in load(write(PLAIN + "  - extract\n  - language\n  - rules\n")).stages][-1] == "rules"
    needy = own_stage("wants_words", needs=("words",))
    assert "put signals before it" in errors(PLAIN + f"  - extract\n  - {needy}\n")[0]
    load(write(PLAIN + f"  - extract\n  - signals\n  - {needy}\n"))


@pytest.mark.parametrize("place", range(5))
def test_editing_stage_stands_before_the_first_or_after_the_last_that_decides(place: int) -> None:
    names = ["language", "rules", "exact_dedup", "near_dedup"]
    names.insert(place, own_stage("editor", edits=True))
    text = PLAIN + "".join(f"  - {name}: {{}}\n" for name in names)
    if place in (0, 1, 4):
        assert len(load(write(text)).stages) == 5
    else:
        [sentence] = errors(text)
        assert sentence.startswith(f"mine.yaml:{4 + place}: stages.editor:Shout edits text")
        assert "put it before rules or after near_dedup" in sentence


def test_user_stage_is_found_in_the_current_directory_and_checked_like_ours() -> None:
    stage = own_stage("mine_of_here")
    assert load(write(PLAIN + f"  - {stage}: {{loudness: 3}}\n")).stages[0].loudness == 3
    assert "did you mean loudness" in errors(PLAIN + f"  - {stage}: {{loudnes: 3}}\n")[0]
    assert "has no class Wisper" in errors(PLAIN + "  - mine_of_here:Wisper: {}\n")[0]
    assert "no module nothing_here" in errors(PLAIN + "  - nothing_here:Stage: {}\n")[0]
    Path("not_a_stage.py").write_text("class Thing: pass\n")
    assert "lacks name, version" in errors(PLAIN + "  - not_a_stage:Thing: {}\n")[0]


def test_missing_model_file_is_told_with_its_key(folder: Path) -> None:
    stage = own_stage("with_words")
    [sentence] = errors(PLAIN + f"  - {stage}:\n      words: words.txt\n")
    assert sentence == "mine.yaml:5: stages.with_words:Shout.words: 'words.txt' does not exist; check the path"
    (folder / "words.txt").touch()
    load(write(PLAIN + f"  - {stage}:\n      words: words.txt\n"))
    load(write(PLAIN + f"  - {stage}:\n      words: '*.txt'\n"))


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_of_the_table_is_one(name: str) -> None:
    assert load_stage(name).name == name  # type: ignore[attr-defined]


def test_norwegian_is_no_falsehood_and_numbers_may_have_exponents_and_underscores() -> None:
    text = "a: [no, on, yes, y]\nb: 1e9\nc: 200_000_000\nd: 2015-03-01\ne: 1.5e-3\nf: ~\ng: 0x1f\nh: true\ni: 1:30\n"
    expected: dict[str, Any] = {"a": ["no", "on", "yes", "y"], "b": 10**9, "c": 200_000_000, "d": "2015-03-01"}
    assert read(write(text)).data == expected | {"e": 0.0015, "f": None, "g": "0x1f", "h": True, "i": "1:30"}


keys = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab. ")
trees = st.dictionaries(keys, st.recursive(scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(keys, t)))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(tree=trees, path=st.lists(keys, min_size=1, max_size=3), value=scalars)
def test_override_changes_its_key_and_no_other(tree: dict[str, Any], path: list[str], value: Any) -> None:
    Path("tree.yaml").write_text(json.dumps(tree), "utf-8")
    located = read("tree.yaml")
    assert located.data == tree
    try:
        override(located, f"{'.'.join(path)}={json.dumps(value)}")
    except ConfigError:
        return
    node = located.data
    for part in path[:-1]:
        node = node[part] if isinstance(node, dict) else next(n for n in node if part in (n, *(n or ())))
    rest = {key: entry for key, entry in located.data.items() if key != path[0]}
    assert rest == {key: entry for key, entry in tree.items() if key != path[0]}
    if isinstance(node, dict):
        assert node[path[-1]] == value


def test_configuration_cannot_be_changed_after_loading() -> None:
    config: Config = load(str(ROOT / "pipeline.yaml"))
    with pytest.raises(AttributeError):
        config.seed = 2  # type: ignore[misc]


def test_documentation_names_every_key() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    names = [f"{s.name}.{key.name}" for s in fields(Config) if s.name in SECTIONS for key in fields(SECTIONS[s.name])]
    names += [key.name for cls in (SourceSpec, TokenizerConfig, Blend) for key in fields(cls)]
    names += [key.name for key in fields(Config) if key.name not in SECTIONS]
    assert [name for name in names if f"| `{name}` |" not in text] == []
    assert [name for name in STAGES if f"| `{name}` |" not in text] == []


def test_overrides_of_the_documentation_work() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assignments = [shlex.split(line)[1] for line in text.splitlines() if line.startswith("--set ")]
    assert len(assignments) >= 5
    for assignment in assignments:
        load(str(ROOT / "pipeline.yaml"), [assignment])
    for line in [line for line in text.splitlines() if line.startswith("gristmill: --set ")]:
        with pytest.raises(ConfigError) as caught:
            load(str(ROOT / "pipeline.yaml"), [line.split(": ")[1].removeprefix("--set ")])
        assert str(caught.value) == line.removeprefix("gristmill: ")


def test_an_override_reaches_into_the_recipe_where_the_file_lists_no_stages(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("sources: [{name: m, uri: 'machine:'}]\n")
    limited = load(str(path), ['stages.rules.set."gopher_quality.mean_word_length".max=8'])
    assert [stage.name for stage in limited.stages] == [stage.name for stage in load(str(path)).stages]
    rules = next(stage for stage in limited.stages if stage.name == "rules").rules()
    assert {rule.maximum for rule in rules if rule.name == "gopher_quality.mean_word_length"} == {8}
