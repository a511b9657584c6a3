"""The blend's arithmetic: published figures, brute-force definitions, properties."""

from __future__ import annotations

import sys
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gristmill.stages.blend import METHODS, Blend, Unit, plan, plans
from gristmill.stages.weights import alpha, fill, normalize, unimax

# Parmar et al. 2024 ("Data, Data Everywhere", arXiv 2407.06380), tables of sources: billions of tokens
MULTILINGUAL = {
    "RU": 94.52, "JA": 70.52, "DE": 48.98, "ES": 46.50, "FR": 44.30, "ZH": 43.41, "IT": 26.40, "NL": 15.64,
    "VI": 15.16, "PL": 14.50, "PT": 11.99, "ID": 10.90, "CS": 7.23, "FA": 6.59, "RO": 6.58, "TR": 6.46, "EL": 6.43,
    "SV": 6.39, "HU": 5.89, "AR": 5.74, "NO": 5.61, "FI": 4.11, "DA": 3.79, "UK": 3.63, "BG": 3.37, "KO": 3.05,
    "HI": 2.60, "SK": 2.58, "HR": 2.45, "CA": 2.12, "LT": 1.69, "HE": 1.47, "SL": 1.33, "SR": 1.24, "ET": 1.24,
    "BN": 0.90, "LV": 0.84, "TA": 0.82, "SQ": 0.49, "IS": 0.38, "UR": 0.37, "AZ": 0.37, "MR": 0.33, "KA": 0.32,
    "MK": 0.32, "NE": 0.31, "KK": 0.30, "HY": 0.29, "GL": 0.29, "ML": 0.25, "TE": 0.24, "KN": 0.18, "parallel": 56.0,
}  # fmt: skip
CODE = {
    "JavaScript": 21.12, "Markdown": 20.27, "Java": 19.84, "Python": 19.49, "PHP": 18.87, "C": 18.26, "Cpp": 15.79,
    "CSharp": 12.05, "Go": 9.03, "HTML": 8.97, "TypeScript": 8.16, "SQL": 5.31, "CSS": 4.96, "XML": 2.97, "Rust": 2.81,
    "Jupyter": 2.58, "Ruby": 2.29, "Swift": 2.02, "JSON": 1.78, "TeX": 1.76, "Scala": 1.29, "YAML": 1.28,
    "Shell": 1.18, "Dart": 1.08, "Lua": 1.00, "RST": 0.96, "Perl": 0.83, "Haskell": 0.72, "Pascal": 0.68,
    "Assembly": 0.67, "Fortran": 0.65, "Makefile": 0.54, "Julia": 0.52, "Mathematica": 0.51, "VisualBasic": 0.42,
    "VHDL": 0.42, "CommonLisp": 0.24, "CUDA": 0.21, "SystemVerilog": 0.16, "Dockerfile": 0.16,
}  # fmt: skip
BILLION = 10**9


def in_tokens(table: dict[str, float]) -> dict[str, int]:
    return {name: round(billions * BILLION) for name, billions in table.items()}


def test_unimax_gives_the_published_multilingual_distribution():
    sizes = in_tokens(MULTILINGUAL)
    taken = dict(zip(sizes, unimax(list(sizes.values()), 300 * BILLION, 1)))
    percent = {name: 100 * tokens / (300 * BILLION) for name, tokens in taken.items()}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:8]
    assert [round(percent[name], 2) for name in largest] == [5.55] * 8
    assert [round(percent[name], 2) for name in ("NL", "VI", "PL")] == [5.21, 5.05, 4.83]
    assert sum(taken.values()) == 300 * BILLION


def test_alpha_sharpens_code_as_published():
    shares = dict(zip(CODE, alpha(list(in_tokens(CODE).values()), 1.3)))
    assert float(shares["JavaScript"]) == pytest.approx(0.117, abs=0.001)
    assert sum(shares.values()) == 1


sizes_strategy = st.lists(st.integers(0, 10**12), min_size=1, max_size=20)


def unimax_by_definition(sizes, budget, epochs):
    left, taken = Fraction(budget), {}
    for place, i in enumerate(sorted(range(len(sizes)), key=lambda i: (sizes[i], i))):
        taken[i] = min(left / (len(sizes) - place), Fraction(epochs * sizes[i]))
        left -= taken[i]
    return [taken[i] for i in range(len(sizes))]


@given(sizes_strategy, st.integers(0, 10**13), st.integers(1, 5))
def test_unimax_is_the_algorithm_to_one_token(sizes, budget, epochs):
    ours, theirs = unimax(sizes, budget, epochs), unimax_by_definition(sizes, budget, epochs)
    assert all(abs(a - b) < 1 for a, b in zip(ours, theirs))
    assert sum(ours) == min(budget, epochs * sum(sizes))


@given(st.data(), sizes_strategy)
def test_filling_is_exact_proportional_and_capped(data, caps):
    weights = [Fraction(data.draw(st.integers(0, 100))) for _ in caps]
    usable = sum(cap for cap, weight in zip(caps, weights) if weight)
    budget = data.draw(st.integers(0, usable))
    taken = fill(budget, weights, caps)
    assert sum(taken) == budget
    assert all(0 <= a <= cap for a, cap in zip(taken, caps))
    assert all(a == 0 for a, weight in zip(taken, weights) if not weight)
    level = min((Fraction(a + 1) / w for a, w, cap in zip(taken, weights, caps) if w and a < cap), default=None)
    if level is not None:  # nobody, full or not, is above the level of those with room, rounding aside
        assert all(Fraction(a - 1) / w <= level for a, w in zip(taken, weights) if w)


@given(st.data(), sizes_strategy)
def test_a_larger_budget_takes_nothing_away(data, caps):
    weights = [Fraction(data.draw(st.integers(1, 100))) for _ in caps]
    small, large = sorted(data.draw(st.lists(st.integers(0, sum(caps)), min_size=2, max_size=2)))
    assert all(b >= a - 1 for a, b in zip(fill(small, weights, caps), fill(large, weights, caps)))  # 1: rounding


def test_fill_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="11 tokens do not fit into 10"):
        fill(11, [Fraction(1), Fraction(0)], [10, 5])


@pytest.mark.parametrize(
    "weights", [{"a": 0.7, "b": 0.3}, {"a": 70, "b": 30}, {"a": 69.6, "b": 30}, {"a": 0.7, "b": 0.309}]
)
def test_weights_near_1_or_100_are_normalised(weights):
    assert sum(normalize(weights, "k").values()) == 1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 0.7, "b": 0.2}, "k sum to 0.9"),
        ({"a": 70, "b": 32}, "k sum to 102"),
        ({"a": 2, "b": -1}, "k.b is -1"),
        ({}, "k is empty"),
    ],
)
def test_other_weights_are_an_error(weights, message):
    with pytest.raises(ValueError, match=message):
        normalize(weights, "k")


def unit(domain, tokens, category=None, source="machine", language="xx", documents=1):
    return Unit(domain, category, source, language, tokens, documents)


UNITS = [
    unit("english", 700, "web", "crawl", "en"),
    unit("english", 300, "books", "shelf", "en"),
    unit("english", 100, "books", "attic", "en"),
    unit("multilingual", 400, "web", "crawl", "de"),
    unit("multilingual", 100, "web", "crawl", "fr"),
    unit("code", 600, None, "repos", "Python"),
    unit("code", 200, None, "repos", "C"),
]
SHARES = {"english": 0.70, "multilingual": 0.15, "code": 0.15}


def by(result, attribute):
    sums: dict = {}
    for part in result.units:
        key = getattr(part.unit, attribute)
        sums[key] = sums.get(key, 0) + part.tokens
    return sums


def test_max_is_the_largest_budget_at_which_shares_hold():
    blend = Blend(SHARES, max_epochs=2)
    result = plan(UNITS, blend)
    assert result.tokens_by_domain == {"english": 2200, "multilingual": 471, "code": 471}
    with pytest.raises(ValueError, match="of english runs out"):
        plan(UNITS, Blend(SHARES, max_epochs=2, tokens=result.tokens + 2))


def test_epochs_and_remainder_make_the_target():
    result = plan(UNITS, Blend(SHARES, max_epochs=4, tokens=3000))
    for part in result.units:
        assert part.epochs_whole * part.unit.tokens + part.remainder == part.tokens
        assert 0 <= part.remainder < part.unit.tokens
    assert result.units[0].epochs_whole == 1
    assert result.units[3].epochs_whole == 0


def test_without_a_method_a_domain_is_taken_in_proportion():
    result = plan(UNITS, Blend({"english": 1}, tokens=110))
    assert by(result, "source") == {"crawl": 70, "shelf": 30, "attic": 10, "repos": 0}


def test_explicit_weights_go_over_their_attribute_and_inside_by_tokens():
    within = {"english": {"categories": {"web": 20, "books": 80}}}
    result = plan(UNITS, Blend({"english": 1}, within, tokens=500))
    assert [part.tokens for part in result.units[:3]] == [100, 300, 100]
    sources = {"english": {"sources": {"crawl": 0.5, "shelf": 0.1, "attic": 0.4}}}
    assert [p.tokens for p in plan(UNITS, Blend({"english": 1}, sources, tokens=100)).units[:3]] == [50, 10, 40]
    languages = {"code": {"languages": {"C": 0.9, "Python": 0.1}}}
    assert [p.tokens for p in plan(UNITS, Blend({"code": 1}, languages, tokens=100)).units[5:]] == [10, 90]


def test_unimax_is_over_languages_for_multilingual_and_categories_for_english():
    within = {"multilingual": {"unimax": {"epochs": 1}}, "english": {"unimax": {"epochs": 1}}}
    result = plan(UNITS, Blend({"english": 0.5, "multilingual": 0.5}, within, tokens=600))
    assert [part.tokens for part in result.units[3:5]] == [200, 100]
    assert by(result, "category")["web"] == 150 + 300
    by_source = {"english": {"unimax": {"epochs": 1}, "over": "source"}}
    result = plan(UNITS, Blend({"english": 1}, by_source, tokens=500))
    assert [part.tokens for part in result.units[:3]] == [200, 200, 100]


def test_a_source_stands_for_a_missing_category():
    units = [unit("english", 100, None, "a"), unit("english", 300, None, "b")]
    result = plan(units, Blend({"english": 1}, {"english": {"unimax": {"epochs": 1}}}, tokens=160))
    assert [part.tokens for part in result.units] == [80, 80]


def test_unimax_epochs_bound_the_domain_below_max_epochs():
    result = plan(UNITS, Blend({"multilingual": 1}, {"multilingual": {"unimax": {"epochs": 1}}}, max_epochs=4))
    assert result.tokens == 500
    assert plan(UNITS, Blend({"multilingual": 1}, max_epochs=4)).tokens == 2000


def test_shortage_is_an_error_that_names_what_ran_out():
    with pytest.raises(ValueError, match=r"blend big: 1,000,000 tokens .* multilingual runs out"):
        plan(UNITS, Blend(SHARES, {"multilingual": {"unimax": {"epochs": 1}}}, tokens=1_000_000), "big")
    with pytest.raises(ValueError, match="C of code runs out"):
        plan(UNITS, Blend({"code": 1}, {"code": {"languages": {"C": 0.9, "Python": 0.1}}}, tokens=1000, max_epochs=1))


def test_a_missing_domain_is_an_error_or_renormalised():
    units = [u for u in UNITS if u.domain != "multilingual"]
    with pytest.raises(ValueError, match="there is no text of the domain multilingual"):
        plan(units, Blend(SHARES))
    result = plan(units, Blend(SHARES, on_shortage="renormalize"))
    assert result.tokens_by_domain["english"] / result.tokens == pytest.approx(0.70 / 0.85, abs=1e-3)
    assert any("multilingual" in note for note in result.notes)


def test_a_missing_category_is_an_error_or_renormalised():
    within = {"english": {"categories": {"web": 0.5, "books": 0.3, "legal": 0.2}}}
    with pytest.raises(ValueError, match="english has no text of the category legal"):
        plan(UNITS, Blend({"english": 1}, within))
    result = plan(UNITS, Blend({"english": 1}, within, tokens=80, on_shortage="renormalize"))
    assert by(result, "category")["web"] == 50
    assert any("legal" in note for note in result.notes)


def test_renormalised_shortage_takes_all_and_says_who_was_short():
    result = plan(UNITS, Blend(SHARES, tokens=5000, max_epochs=2, on_shortage="renormalize"))
    assert result.tokens_by_domain == {"english": 2200, "multilingual": 1000, "code": 1600}
    assert any("english has 2,200 tokens of the 3,500 wanted" in note for note in result.notes)
    assert any("4,800 tokens are all there are" in note for note in result.notes)


def test_text_without_a_weight_is_noted():
    notes = plan(UNITS, Blend({"english": 1}, {"english": {"categories": {"web": 1}}})).notes
    assert any("gives no weight to the category books, 400 tokens" in note for note in notes)
    assert any("domain code has no share, its 800 tokens" in note for note in notes)


@pytest.mark.parametrize(
    ("blend", "message"),
    [
        (Blend({"english": 0.5}), "domains sum to 0.5"),
        (Blend(SHARES, {"law": {}}), "law is not among the blend's domains"),
        (Blend(SHARES, {"code": {"beta": 1}}), "write one of alpha"),
        (Blend(SHARES, {"code": {"alpha": "x"}}), "alpha is 'x': write a number"),
        (Blend(SHARES, {"code": {"unimax": 1}}), "unimax is 1"),
        (Blend(SHARES, {"code": {"alpha": 1, "over": "x"}}), "over is 'x'"),
        (Blend(SHARES, tokens=0), "tokens is 0"),
        (Blend(SHARES, max_epochs=0), "max_epochs is 0"),
        (Blend(SHARES, on_shortage="x"), "on_shortage is 'x'"),  # type: ignore[arg-type]
    ],
)
def test_configuration_errors_name_the_key(blend, message):
    with pytest.raises(ValueError, match=message):
        plan(UNITS, blend)


def test_named_blends_are_planned_over_the_same_units():
    result = plans(UNITS, {"a": Blend({"english": 1}), "b": Blend({"code": 100})})
    assert result["a"].tokens_by_domain == {"english": 4400}
    assert result["b"].tokens_by_domain == {"code": 3200}


units_strategy = st.lists(
    st.builds(
        Unit,
        domain=st.sampled_from(["english", "multilingual", "code"]),
        category=st.sampled_from([None, "web", "books"]),
        source=st.sampled_from(["a", "b", "c"]),
        language=st.sampled_from(["x", "y", "z"]),
        tokens=st.integers(0, 10**10),
        documents=st.just(1),
    ),
    min_size=1,
    max_size=25,
)
methods = st.sampled_from([{}, {"unimax": {"epochs": 1}}, {"unimax": {"epochs": 9}}, {"alpha": 1.3}, {"alpha": 0.3}])


@settings(deadline=None, max_examples=150)
@given(
    units_strategy,
    methods,
    methods,
    methods,
    st.sampled_from([0.5, 1, 2.5, 4]),
    st.sampled_from(["max", 10, 10**9, 10**12]),
)
def test_plans_sum_up_and_never_pass_max_epochs(units, english, multilingual, code, max_epochs, tokens):
    assume(any(u.tokens > 1 for u in units))
    within = {"english": english, "multilingual": multilingual, "code": code}
    result = plan(units, Blend(SHARES, within, tokens, max_epochs, "renormalize"))
    assert sum(part.tokens for part in result.units) == result.tokens == sum(result.tokens_by_domain.values())
    assert all(part.tokens <= max_epochs * part.unit.tokens for part in result.units)
    for domain, tokens_of in result.tokens_by_domain.items():
        assert sum(part.tokens for part in result.units if part.unit.domain == domain) == tokens_of
    if tokens == "max":
        present = sum(SHARES[domain] for domain in result.tokens_by_domain)
        for domain, tokens_of in result.tokens_by_domain.items():
            assert abs(tokens_of - result.tokens * SHARES[domain] / present) <= 1 + 1e-9 * result.tokens
    else:
        assert result.tokens <= tokens


@settings(deadline=None, max_examples=100)
@given(units_strategy, methods, st.randoms(use_true_random=False))
def test_the_order_of_units_moves_nothing_but_rounding(units, method, random):
    assume(any(u.tokens and u.domain == "code" for u in units))
    blend = Blend({"code": 1}, {"code": method})
    order = random.sample(range(len(units)), len(units))
    straight = plan(units, blend)
    mixed = plan([units[i] for i in order], blend)
    assert all(abs(mixed.units[k].tokens - straight.units[i].tokens) <= 1 for k, i in enumerate(order))


def test_a_corpus_of_thousands_of_units_is_planned_at_once():
    units = [unit("multilingual", 10**9 + 7919 * i, "web", f"s{i % 50}", f"l{i // 50}") for i in range(5000)]
    result = plan(units, Blend({"multilingual": 1}, {"multilingual": {"alpha": 0.3}}))
    assert result.tokens > 0


OWN = """
from gristmill.stages.blend import Weighting

def roots(groups, setting, key):
    return Weighting({name: tokens ** 0.5 for name, tokens in groups.items()}, epochs=setting["epochs"])

def wrong(groups, setting, key):
    return Weighting({name: setting for name in groups})

def bare(groups, setting, key):
    return {name: 1 for name in groups}

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_methods.py").write_text(OWN)
    yield "own_methods"
    sys.modules.pop("own_methods", None)


def test_a_method_of_ones_own_gives_the_weights(own):
    units = [unit("code", 400, source="a"), unit("code", 100, source="b")]
    method = {f"{own}:roots": {"epochs": 1}, "over": "source"}
    result = plan(units, Blend({"code": 1}, {"code": method}, tokens=150))
    assert [each.tokens for each in result.units] == [100, 50]  # 20 to 10
    assert plan(units, Blend({"code": 1}, {"code": method})).tokens == 300  # b runs out at its 100


def test_shipped_methods_are_the_table_and_the_error_lists_them():
    assert set(METHODS) == {"unimax", "alpha", "categories", "sources", "languages"}
    with pytest.raises(ValueError, match=", ".join(sorted(METHODS)) + ", or module:function"):
        plan(UNITS, Blend(SHARES, {"code": {"beta": 1}}))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"own_methods:gone": 1}, "has no function gone; check its name"),
        ({"own_methods:number": 1}, "number of the module own_methods is not callable"),
        ({"no_such_module_here:f": 1}, "there is no module no_such_module_here on the Python path"),
        ({"stages.blend:by_alpha": 1}, "stages.blend is now gristmill.stages.blend"),
        ({"own_methods:wrong": -1}, "the weight -1: weights are numbers, 0 or more"),
        ({"own_methods:wrong": float("nan")}, "the weight nan: weights are numbers, 0 or more"),
        ({"own_methods:bare": 1}, "returned dict: return a Weighting of stages.blend"),
        ({"own_methods:bare": 1, "alpha": 1}, "write one of alpha"),
    ],
)
def test_a_method_of_ones_own_that_is_none_is_a_sentence(own, method, said):
    with pytest.raises(ValueError) as caught:
        plan(UNITS, Blend(SHARES, {"code": method}), "b")
    assert str(caught.value).startswith("blends.b.within.code")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blend_without_domains_takes_everything_as_often_as_it_may():
    units = [
        Unit("english", "web", "a", "en", 1_000_003, 10),
        Unit("code", None, "b", "python", 77, 3),
        Unit("multilingual", "web", "a", "de", 40_001, 5),
        Unit("multilingual", "web", "a", "fr", 0, 0),
    ]
    for epochs in (1, 3):
        found = plan(units, Blend(max_epochs=epochs))
        assert [each.tokens for each in found.units] == [epochs * unit.tokens for unit in units]
        assert found.notes == (f"blend blend: {epochs * 1_040_081:,} tokens, all that max_epochs allows",)
    half = plan(units, Blend(max_epochs=1, tokens=520_040))
    assert [each.tokens for each in half.units] == [pytest.approx(unit.tokens / 2, abs=1) for unit in units]
    with pytest.raises(ValueError, match="there is no text; add sources"):
        plan([], Blend())
