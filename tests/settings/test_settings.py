"""What pipeline and trainer share of reading a configuration, over dataclasses that neither of them has."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.settings.errors import ConfigError
from gristmill.settings.located import Located, override, parse, read
from gristmill.settings.validation import configured, message

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Flour:
    SHORTHAND: ClassVar[str] = "grain"
    grain: str
    type: int = 405

    def __post_init__(self) -> None:
        if self.type <= 0:
            raise ValueError(f"type is {self.type}: it must be above 0")


@dataclass(frozen=True)
class Loaf:
    flour: Flour
    grams: int
    crust: Literal["soft", "hard"] = "soft"
    seeds: Flour | None = None
    sliced: bool = False
    water: Literal["as it takes"] | int = "as it takes"


@dataclass(frozen=True)
class Bakery:
    loaves: tuple[Loaf, ...]
    stock: Mapping[str, Flour] = field(default_factory=dict)
    heat: float = 230.0


GOOD = """loaves:
  - flour: rye
    grams: 1_000
  - {flour: {grain: wheat, type: 1050}, grams: 5e2, seeds: sesame}
stock: {bin: oats}
"""


def bake(text: str, *overrides: str) -> Bakery:
    return configured(Bakery, parse(text, "bakery.yaml", ["loaves"]), overrides)


def mistakes(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        bake(text, *overrides)
    return str(caught.value).splitlines()


def test_a_shorthand_stands_anywhere_in_lists_mappings_and_optional_fields() -> None:
    assert bake(GOOD) == Bakery(
        (Loaf(Flour("rye"), 1000), Loaf(Flour("wheat", 1050), 500, seeds=Flour("sesame"))), {"bin": Flour("oats")}
    )


def test_an_override_reaches_into_a_shorthand_also_into_one_that_an_override_has_set() -> None:
    assert bake(GOOD, "loaves.0.flour.type=997").loaves[0].flour == Flour("rye", 997)
    assert bake(GOOD, "loaves.0.flour=spelt", "loaves.0.flour.type=630").loaves[0].flour == Flour("spelt", 630)
    assert bake(GOOD, "loaves.1.seeds=").loaves[1].seeds is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("flour: rye", "flour: 5"), "bakery.yaml:2: loaves.0.flour.grain should be text, not 5"),
        (("flour: rye", "flour: [rye]"), 'loaves.0.flour should be a mapping, not ["rye"]; its keys are grain, type'),
        (("grams: 1_000", "gram: 3"), "bakery.yaml:3: loaves.0.gram is no key; did you mean grams"),
        (("grams: 1_000", "crust: hard"), "bakery.yaml:2: loaves.0.grams is missing; write it"),
        (("type: 1050", "type: 0"), "bakery.yaml:4: loaves.1.flour.type is 0: it must be above 0"),
        (("grams: 5e2", "grams: 0.5"), "bakery.yaml:4: loaves.1.grams should be a whole number, not 0.5"),
        (("grams: 5e2", "grams: 5, sliced: perhaps"), "loaves.1.sliced should be true or false, not \"perhaps\""),
        (("grams: 5e2", "grams: 5, water: much"), "should be 'as it takes' or a whole number, not \"much\""),
        (("{bin: oats}", "{bin: {grain: oats, type: -1}}"), "bakery.yaml:5: stock.bin.type is -1: it must be above 0"),
        (("loaves:", "# bread\nloafs:"), "bakery.yaml:2: loafs is no key; did you mean loaves"),
        ((GOOD, "heat: 3"), "bakery.yaml:1: loaves is missing; write it"),
        ((GOOD, "- rye"), "bakery.yaml:1: the file is a list, not a mapping; write keys, as in `loaves:`"),
        (("flour: rye", "? [rye]\n    : 3"), "bakery.yaml:2: a key here is a list or a mapping; write a name"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_place(change: tuple[str, str], sentence: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    [told] = mistakes(text)
    assert told.startswith("bakery.yaml:")
    assert sentence in told


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("loaves.2.grams=1", "loaves has no 2; it is a list of 2, write a place from 0 to 1"),
        ("loaves.0.flour.type=0", "loaves.0.flour.type is 0: it must be above 0"),
        ("loaves.0.crust=burnt", "loaves.0.crust should be 'soft' or 'hard', not \"burnt\""),
        ("loaves..grams=1", "is not an assignment; write --set key=value, as in --set seed=2"),
        ("stock.bin=", "stock.bin.grain should be text, not null"),
    ],
)  # fmt: skip
def test_a_mistake_of_an_override_stands_at_the_override(assignment: str, sentence: str) -> None:
    assert mistakes(GOOD, assignment) == [f"--set {assignment}: {sentence}"]


def test_a_missing_file_is_told_with_an_example_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; name a configuration, as in `bake bread\.yaml`$"):
        read(str(tmp_path / "gone.yaml"), "bake bread.yaml")
    with pytest.raises(ConfigError, match=r"check the name, as in `bake bread\.yaml`$"):
        read(str(tmp_path), "bake bread.yaml")


def test_a_sentence_may_name_its_key_from_the_section_the_file_or_a_list_on() -> None:
    located = parse("loaves:\n  - rye: {grams: 3}\n  - oat:\n      grams: 4\n", "b.yaml")
    at = ("loaves", 1, "oat")
    for said in ("grams is 4", "loaves.oat.grams is 4", "oat.grams is 4"):
        assert message(said, located, at) == "b.yaml:4: loaves.oat.grams is 4"
    assert message("too dry", located, at) == "b.yaml:3: loaves.oat: too dry"


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["rye", "hard", "on"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["loaves", "flour", "grain", "grams", "type", "stock", "heat", "crust"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(data=st.dictionaries(st.sampled_from(["loaves", "stock", "heat", "other"]), plain))
def test_whatever_the_data_it_is_a_bakery_or_sentences(data: dict) -> None:
    located = Located(data, "b.yaml")
    try:
        told = [] if isinstance(configured(Bakery, located), Bakery) else ["nothing"]
    except ConfigError as error:
        told = str(error).splitlines()
    assert all(line.startswith("b.yaml: ") for line in told)


@settings(deadline=None, max_examples=100)
@given(value=plain)
def test_an_override_gives_back_what_was_set(value: bool | float | str | list | dict | None) -> None:
    located = parse(GOOD, "b.yaml")
    override(located, f"heat={json.dumps(value)}")
    assert located.data["heat"] == value


def test_settings_stand_on_the_standard_library_yaml_and_pydantic() -> None:
    early, late = set(), set()
    for path in (ROOT / "gristmill" / "settings").glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
            tops = {name.partition(".")[0] for name in names if not name.startswith("gristmill.settings")}
            (early if node in tree.body else late).update(tops - sys.stdlib_module_names)
    assert early == {"yaml"}
    assert late == {"pydantic", "pydantic_core"}
