"""Recipes and mixes: what a user may write, and that every name reads back exactly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.recipes import Recipe, mix_name, parse_mix, parse_recipe
from hwgen.approx.sets import LADDER, parse_set
from hwgen.errors import DataError

_SETS = [*LADDER, *(parse_set(t) for t in ("terms(2,-5,0)", "{0,1/4,3/8,2}", "{7}"))]
_RECIPES = st.builds(
    Recipe,
    st.sampled_from(_SETS),
    st.none() | st.sampled_from([0.7, 1.0, 1.5, 0.1 + 0.2]) | st.floats(1e-12, 1e12),
    st.sampled_from(["filter", "layer", "kernel"]),
)
_LAYERS = st.text(st.sampled_from('ab/*=,@"\\ .{}()\n:é'), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "name", "mean", "scale"),
    [
        ("P8", "P8", None, "filter"),
        (" p8 @ 0.70 ", "P8@0.7", 0.7, "filter"),
        ("P8@1", "P8@1", 1.0, "filter"),
        ("terms( 2,-5, 0 )@1.2/layer", "terms(2,-5,0)@1.2/layer", 1.2, "layer"),
        ("P4/kernel", "P4/kernel", None, "kernel"),
        ("{1/2, 3/4}@.5/filter", "{0,1/2,3/4}@0.5", 0.5, "filter"),
    ],
)
def test_recipes_as_text(text: str, name: str, mean: float | None, scale: str) -> None:
    recipe = parse_recipe(text)
    assert (recipe.name, recipe.mean_terms, recipe.scale) == (name, mean, scale)


@given(_RECIPES)
@settings(derandomize=True, max_examples=200)
def test_recipes_read_back(recipe: Recipe) -> None:
    assert parse_recipe(recipe.name) == recipe


@given(st.dictionaries(_LAYERS, st.sampled_from([Recipe(s) for s in LADDER[:3]]) | _RECIPES))
@settings(derandomize=True, max_examples=300)
def test_mixes_read_back(mix: dict[str, Recipe]) -> None:
    text = mix_name(mix)
    assert parse_mix(text, list(mix)) == mix
    backwards = parse_mix(text, list(mix)[::-1])
    assert backwards == mix
    assert list(backwards) == list(mix)[::-1]


def test_mixes_have_three_forms() -> None:
    layers = ["c1", "/f/c2", "fc"]

    def names(text: str) -> list[str]:
        mix = parse_mix(text, layers)
        assert list(mix) == layers
        return [recipe.name for recipe in mix.values()]

    assert names("P4@0.5") == ["P4@0.5"] * 3
    assert names("A(7,3)") == names("a( 7, 3, 3 )") == ["P7", "P3", "P3"]
    assert names("A(10)") == ["P10"] * 3
    assert names("fc=P8@0.5, c1={1/4,1/2}/layer ,*=P4") == ["{0,1/4,1/2}/layer", "P4", "P8@0.5"]
    assert names('"/f/c2" = terms(2,-4,0), c1=P1, fc=P2') == ["P1", "terms(2,-4,0)", "P2"]


def test_mixes_are_named_briefly() -> None:
    def name(text: str) -> str:
        return mix_name(parse_mix(text, ["a", "b", "c", "*"]))

    assert name("A(4,4)") == "P4"
    assert name("A(7,3,3)") == "a=P7,*=P3"
    assert name("A(1,2,3,4)") == 'a=P1,b=P2,c=P3,"*"=P4'
    assert mix_name({}) == ""
    assert parse_mix("", []) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dyadic set must be one of"),
        ("P99", "Dyadic set must be one of P1 to P11"),
        ("P4@", "Dyadic set must be one of"),
        ("P4@few", r"'P4@few' must have a number of terms after the '@', not 'few'"),
        ("P4@0", "not usable: Mean terms must be positive and finite, not 0.0"),
        ("P4@nan", "must be positive and finite, not nan"),
        ("P4/row", "Scale must be one of filter, layer, kernel, not 'row'"),
        ("{1/3}@0.5", "1/3 is not dyadic"),
    ],
)
def test_what_is_no_recipe_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dyadic set must be one of"),
        (
            "A(7,3,3)",
            r"'A\(7,3,3\)' must have at most one set a linear layer, of which there are 2",
        ),
        ("A(77)", "not 'P77'"),
        ("A(7,,3)", "not 'P'"),
        ("a=P4", r"must give layer 'b' a recipe; add \*=RECIPE"),
        ("a=P4,x=P4,*=P1", r"must name linear layers of the network \('a', 'b'\), not 'x'"),
        ("a=P4,a=P4,*=P1", "must name each layer once, not 'a' twice"),
        ("a=P4,b", "must be a list such as .*, not 'b'"),
        ("a=,b=P4", "must be a list such as .*, not 'a=,b=P4'"),
        (r'"\a"=P4,*=P4', r"must quote names as JSON does, not \"\\a\""),
    ],
)
def test_what_is_no_mix_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_mix(text, ["a", "b"])
