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
from hwgen.network.execute import apply, run, run_all
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


def test_a_slimmed_network_is_fitted_to_the_outputs_of_the_original() -> None:
    slimmed, heard = _slimmed(1), {}
    maker = Settings()

    def fit(name: str, op: Conv, recipe: Recipe, moments: Moments) -> DyadicFilters:
        assert op is slimmed.node(name).op
        heard[name] = moments
        return maker.filters(op, recipe, moments)

    walked = Walk(slimmed, slimmed, _IMAGES, fit, reference=_NETWORK)
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
    exact, seen = run_all(_NETWORK, _IMAGES), run_all(replace(slimmed, nodes=nodes), _IMAGES)
    for node, op in _NETWORK.convs():
        source = node.inputs[0]
        expected = patch_moments(op, exact[source], seen[source])
        np.testing.assert_allclose(heard[node.name].cross, expected.cross, atol=1e-4)
        np.testing.assert_allclose(heard[node.name].second, expected.second, atol=1e-4)
        np.testing.assert_allclose(heard[node.name].output_mean, expected.output_mean, atol=1e-5)
        own = slimmed.node(node.name).op
        assert isinstance(own, Conv)
        assert not filters[node.name].codes[own.weight == 0].any()
    assert not seen["a"][:, 1].any()


def test_a_layer_that_the_original_lacks_goes_on_as_it_is() -> None:
    weight = np.array([[1, 0], [0.3, 0.7]])[:, :, None, None]
    mix = Node("mix", Conv(weight, np.array([0, 0.2])), ("ra",), (2, 6, 6))
    read = {"b": ("mix",), "c": ("mix",)}
    nodes = [replace(node, inputs=read.get(node.name, node.inputs)) for node in _NETWORK.nodes]
    mixed = replace(_NETWORK, nodes=(*nodes[:2], mix, *nodes[2:]))
    heard: dict[str, Moments] = {}

    def fit(name: str, op: Conv, recipe: Recipe, moments: Moments) -> DyadicFilters:
        heard[name] = moments
        return Settings().filters(op, recipe, moments)

    walked = Walk(mixed, mixed, _IMAGES, fit, reference=_NETWORK)
    filters = dict(walked.filters(dict.fromkeys([*"abcd", "mix"], _RECIPES[0]), lambda *_: None))
    op = _NETWORK.node("a").op
    assert isinstance(op, Conv)
    seen = apply(replace(op, weight=filters["a"].weight, bias=filters["a"].bias), [_IMAGES])
    assert isinstance(mix.op, Conv)
    expected = patch_moments(mix.op, np.maximum(seen, 0))
    np.testing.assert_allclose(heard["mix"].second, expected.second, atol=1e-4)
    np.testing.assert_allclose(heard["mix"].cross, expected.cross, atol=1e-4)
    # behind it the original counts again
    exact = np.maximum(apply(op, [_IMAGES]), 0)
    b = _NETWORK.node("b").op
    assert isinstance(b, Conv)
    wanted = patch_moments(b, exact).output_variance
    np.testing.assert_allclose(heard["b"].output_variance, wanted, rtol=1e-3)


def test_the_original_is_nearer_if_it_is_what_is_aimed_at() -> None:
    slimmed = _slimmed(0)
    exact = run(_NETWORK, _IMAGES)

    def error(reference: Network | None) -> float:
        approx = approximate(
            slimmed,
            recipes=parse_recipe("P8"),
            images=_IMAGES,
            objective="output",
            reference=reference,
        )
        return float(np.linalg.norm(run(approx.to_network(), _IMAGES) - exact))

    assert error(_NETWORK) < 0.8 * error(None)


def test_the_original_must_have_the_same_layers() -> None:
    other = replace(_NETWORK, nodes=(*_NETWORK.nodes[:-1], replace(_NETWORK.nodes[-1], op=Add())))
    with pytest.raises(ValueError, match="Layer 'd' must have the form that it has in the ref"):
        approximate(
            _NETWORK,
            recipes=_RECIPES[0],
            images=_IMAGES,
            objective="output",
            reference=other,
        )


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
