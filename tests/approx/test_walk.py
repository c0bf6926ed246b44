"""Layers that two mixes share are fitted once, and come out as if each mix stood alone."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx import lockstep
from hwgen.approx.approximate import Approximator, Settings, approximate
from hwgen.approx.moments import Moments, patch_moments
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.approx.walk import FilterMemory, Walk
from hwgen.network.execute import run_all
from hwgen.network.types import Activation, Add, Conv, Network, Node
from hwgen.numeric import Dyadic

_RECIPES = tuple(map(parse_recipe, ("P4", "P7@0.8")))


def _branches() -> Network:
    """a feeds b and c, whose sum feeds d: b and c do not read from each other."""
    rng = np.random.default_rng(31)

    def conv(name: str, source: str, inputs: int) -> Node:
        op = Conv(rng.standard_normal((2, inputs, 3, 3)), rng.standard_normal(2), pads=(1, 1, 1, 1))
        return Node(name, op, (source,), (2, 6, 6))

    nodes = (
        conv("a", "x", 1),
        Node("ra", Activation("relu"), ("a",), (2, 6, 6)),
        conv("b", "ra", 2),
        conv("c", "ra", 2),
        Node("sum", Add(), ("b", "c"), (2, 6, 6)),
        conv("d", "sum", 2),
    )
    return Network("branches", "x", (1, 6, 6), nodes, "d")


_NETWORK = _branches()
_IMAGES = np.random.default_rng(32).standard_normal((5, 1, 6, 6))
_MIXES = st.tuples(*[st.sampled_from(_RECIPES)] * 4).map(
    lambda recipes: dict(zip("abcd", recipes, strict=True))
)


def _same(one: DyadicFilters, other: DyadicFilters) -> bool:
    return bool(
        (one.codes == other.codes).all()
        and one.scale == other.scale
        and (one.bias == other.bias).all()
    )


@pytest.mark.parametrize("objective", ["frobenius", "output"])
@given(mixes=st.lists(_MIXES, min_size=2, max_size=4))
@settings(derandomize=True, max_examples=8, deadline=None)
def test_what_is_shared_is_what_each_mix_gives_alone(
    objective: str, mixes: list[Mapping[str, Recipe]]
) -> None:
    maker = Approximator(_NETWORK, images=_IMAGES, objective=objective)
    for mix in mixes:
        together = dict(maker.approximate(mix).filters)
        alone = dict(
            approximate(_NETWORK, recipes=mix, images=_IMAGES, objective=objective).filters
        )
        assert list(together) == list("abcd")
        assert all(_same(together[name], alone[name]) for name in "abcd")


def _walk(fitted: list[str]) -> Walk:
    def fit(name: str, op: Conv, recipe: Recipe, moments: Moments) -> DyadicFilters:
        fitted.append(name)
        return Settings().filters(op, recipe, moments)

    return Walk(_NETWORK, _NETWORK, _IMAGES, fit)


def _fitted_again(changed: str) -> list[str]:
    fitted: list[str] = []
    walked = _walk(fitted)
    mix = dict.fromkeys("abcd", _RECIPES[0])
    walked.filters(mix, lambda what, share: None)
    assert fitted == list("abcd")
    fitted.clear()
    walked.filters(mix | {changed: _RECIPES[1]}, lambda what, share: None)
    return fitted


def test_only_what_reads_from_a_changed_layer_is_fitted_again() -> None:
    assert _fitted_again("a") == list("abcd")
    assert _fitted_again("b") == ["b", "d"]
    assert _fitted_again("c") == ["c", "d"]
    assert _fitted_again("d") == ["d"]


def test_nothing_runs_when_all_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = _walk([])
    mix = dict.fromkeys("abcd", _RECIPES[0])
    first = walked.filters(mix, lambda what, share: None)
    monkeypatch.delattr(lockstep, "apply")
    assert walked.filters(mix, lambda what, share: None) == first


def _slimmed(removed: int) -> Network:
    """Half of the weights of every layer gone, and a filter of layer a with what reads it."""
    rng = np.random.default_rng(33)

    def slim(node: Node) -> Node:
        if not isinstance(node.op, Conv):
            return node
        weight = node.op.weight * (rng.random(node.op.weight.shape) < 0.5)
        bias = node.op.bias.copy()
        if node.name == "a":
            weight[removed], bias[removed] = 0, 0
        elif node.name in "bc":
            weight[:, removed] = 0
        return replace(node, op=replace(node.op, weight=weight, bias=bias))

    return replace(_NETWORK, nodes=tuple(map(slim, _NETWORK.nodes)))


def test_a_slimmed_network_is_fitted_to_its_own_outputs_and_keeps_zeros() -> None:
    slimmed, heard = _slimmed(1), {}
    maker = Settings()

    def fit(name: str, op: Conv, recipe: Recipe, moments: Moments) -> DyadicFilters:
        assert op is slimmed.node(name).op
        heard[name] = moments
        return maker.filters(op, recipe, moments)

    walked = Walk(slimmed, slimmed, _IMAGES, fit)
    found = walked.filters(dict.fromkeys("abcd", _RECIPES[0]), lambda what, share: None)
    filters = dict(found)
    nodes = tuple(
        replace(
            node,
            op=replace(node.op, weight=filters[node.name].weight, bias=filters[node.name].bias),
        )
        if isinstance(node.op, Conv)
        else node
        for node in slimmed.nodes
    )
    exact, seen = run_all(slimmed, _IMAGES), run_all(replace(slimmed, nodes=nodes), _IMAGES)
    for node, op in slimmed.convs():
        source = node.inputs[0]
        expected = patch_moments(op, exact[source], seen[source])
        np.testing.assert_allclose(heard[node.name].cross, expected.cross, atol=1e-4)
        np.testing.assert_allclose(heard[node.name].second, expected.second, atol=1e-4)
        np.testing.assert_allclose(heard[node.name].output_mean, expected.output_mean, atol=1e-5)
        assert not filters[node.name].codes[op.weight == 0].any()
    assert not seen["a"][:, 1].any()


def _filters(weights: int) -> DyadicFilters:
    codes = np.zeros((1, weights, 1, 1), dtype=np.int64)
    return DyadicFilters(codes, 0, (Dyadic(1, 0),), np.zeros(1), "P1")


def test_memory_drops_what_was_not_used_for_longest() -> None:
    memory = FilterMemory[str](weights=10)
    for key in "ab":
        memory.put(key, _filters(4))
    assert memory.get("a") is not None
    memory.put("c", _filters(4))
    assert memory.get("b") is None
    assert memory.get("a") is not None
    memory.put("large", _filters(100))
    assert [key for key in ("a", "c", "large") if memory.get(key) is not None] == ["large"]
    memory.put("d", _filters(10))
    assert memory.get("large") is None
    assert memory.get("d") is not None
