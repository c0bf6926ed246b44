"""Whole networks made dyadic: structure, exactness where it is due, and what verification finds."""

from dataclasses import replace

import numpy as np
import pytest
from approx_networks import chain, classifier, face

from hwgen.approx.activations import activation_error
from hwgen.approx.approximate import Settings, approximate, assemble
from hwgen.approx.filters import approximate_filters, rounded, squared_error
from hwgen.approx.moments import layer_moments
from hwgen.approx.pools import pool_coefficients
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.sets import LADDER
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.approx.verify import verify
from hwgen.errors import DataError, UnsupportedError, VerifyError
from hwgen.network.execute import run
from hwgen.network.types import Activation, Add, AveragePool, Conv, Network, Node
from hwgen.numeric import Dyadic

P5 = parse_recipe("P5")


@pytest.fixture
def network() -> Network:
    return face(np.random.default_rng(11))


@pytest.fixture
def approx(network: Network) -> ApproxNetwork:
    return approximate(network, recipes=P5)


def test_face_network_has_951_parameters_and_38_kernels(network: Network) -> None:
    kernels = {name: int(op.weight.any(axis=(2, 3)).sum()) for name, op in _convs(network).items()}
    assert kernels["c1"] + kernels["c2"] + kernels["n1"] == 38
    # pools have one factor a map, not four
    assert network.parameters - 3 * (kernels["s1"] + kernels["s2"]) == 951


def _convs(network: Network) -> dict[str, Conv]:
    return {node.name: op for node, op in network.convs()}


def test_everything_is_short_and_dyadic(network: Network, approx: ApproxNetwork) -> None:
    for name, filters in approx.filters:
        op = _convs(network)[name]
        assert filters.codes.shape == op.weight.shape
        assert set(np.unique(filters.codes)) <= set(P5.dyadic_set.numerators)
        assert filters.recipe == "P5"
        assert all(s.terms <= 3 and s.mantissa.bit_length() <= 9 for s in filters.scale)
        for bias in filters.bias:
            assert abs(Dyadic.exact(float(bias)).mantissa).bit_length() <= 16
        np.testing.assert_allclose(filters.bias, op.bias, rtol=2.0**-16)
    assert [name for name, _ in approx.activations] == ["t1", "t2", "t3", "t4"]
    for _, form in approx.activations:
        assert all(Dyadic.exact(float(s)).terms <= 2 for s in form.slopes.ravel())


def test_finer_sets_come_closer(network: Network) -> None:
    x = np.random.default_rng(12).standard_normal((8, 1, 36, 32))
    exact = run(network, x)
    settings = Settings(activation_error=1 / 300)
    errors = [
        float(
            np.abs(
                run(approximate(network, recipes=Recipe(s), settings=settings).to_network(), x)
                - exact
            ).max()
        )
        for s in (LADDER[0], LADDER[6], LADDER[10])
    ]
    assert errors[2] < 0.05
    assert errors[2] < errors[1] < errors[0]


def test_one_set_a_layer(network: Network) -> None:
    recipes = dict(zip(_convs(network), map(Recipe, LADDER), strict=False))
    approx = approximate(network, recipes=recipes)
    assert [f.recipe for _, f in approx.filters] == ["P1", "P2", "P3", "P4", "P5", "P6"]
    del recipes["n1"]
    with pytest.raises(ValueError, match="name each linear layer and nothing else, see 'n1'"):
        approximate(network, recipes=recipes)
    with pytest.raises(ValueError, match="see 'dense'"):
        approximate(network, recipes={**recipes, "n1": P5, "dense": P5})


def test_ranges_shorten_activations(network: Network, approx: ApproxNetwork) -> None:
    short = approximate(network, recipes=P5, ranges={"s1": (-0.5, 0.5), "s2": (0.0, 0.0)})
    segments = {name: form.slopes.shape[1] for name, form in short.activations}
    whole = {name: form.slopes.shape[1] for name, form in approx.activations}
    assert segments["t1"] < whole["t1"]
    assert segments["t2"] == whole["t2"]
    assert segments["t3"] == whole["t3"]


def test_ranges_leave_room_at_both_ends(network: Network) -> None:
    tanh = network.node("t1").op
    assert isinstance(tanh, Activation)
    for lo, hi in ((-2.0, 0.0), (0.0, 2.0), (-0.25, 0.25)):
        function = dict(approximate(network, recipes=P5, ranges={"s1": (lo, hi)}).activations)["t1"]
        room = (hi - lo) / 4
        assert activation_error(function, tanh, lo - room, hi + room) <= 1.7159 / 128
        assert (function.breakpoints > lo - room).all()
        assert (function.breakpoints < hi + room).all()
        # the function goes on straight beyond: there it is wrong
        assert activation_error(function, tanh, lo - 4, hi + 4) > 1.7159 / 128


@pytest.mark.parametrize(
    "weight",
    [
        np.eye(4).reshape(4, 4, 1, 1)[[2, 0, 3, 1]],
        np.array([[[[0.0, 4.0]]], [[[-0.125, 0.0]]]]),
        np.full((1, 1, 2, 2), 2.0**-20),
        np.full((1, 1, 1, 1), 2.0**30),
    ],
)
def test_zeros_and_powers_of_two_are_kept_exactly(weight: np.ndarray) -> None:
    filters = approximate_filters(Conv(weight, np.zeros(len(weight))), Recipe(LADDER[0]))
    assert filters.recipe == "exact"
    np.testing.assert_array_equal(filters.weight, weight)
    assert filters.scale == (Dyadic(1, 0),) * len(weight)
    assert int(np.abs(filters.codes).max()).bit_length() <= 16
    assert squared_error(Conv(weight, np.zeros(len(weight))), filters) == 0


@pytest.mark.parametrize("weight", [[0.0, 0.0], [0.75, 1.0], [1.0, 2.0**-16]])
def test_other_weights_take_the_set(weight: list[float]) -> None:
    op = Conv(np.array(weight).reshape(1, 1, 1, -1), np.zeros(1))
    filters = approximate_filters(op, parse_recipe("P4"))
    assert filters.recipe == "P4"
    assert squared_error(op, filters) < 0.03


def test_quantised_weights_are_found_exactly() -> None:
    codes = np.random.default_rng(13).integers(-7, 8, size=(6, 3, 3, 3))
    codes[:, 0, 0, 0] = 7
    op = Conv(codes * 0.15625, np.zeros(6))
    assert squared_error(op, approximate_filters(op, parse_recipe("P7"))) < 1e-30


def test_rounded_keeps_significant_bits() -> None:
    x = np.array([0.0, 1 / 3, -1e-9, 12345.678])
    np.testing.assert_allclose(rounded(x, 8), x, rtol=2.0**-8)
    fractions = np.ldexp(np.frexp(rounded(x, 8))[0], 8)
    np.testing.assert_array_equal(fractions, np.rint(fractions))


def test_pool_has_a_coefficient_for_every_divisor() -> None:
    op = AveragePool((3, 3), (2, 2), pads=(1, 1, 1, 1))
    coefficients = dict(pool_coefficients(op, (2, 6, 6)))
    assert sorted(coefficients) == [4, 6, 9]
    assert coefficients[4] == Dyadic(1, -2)
    for divisor, coefficient in coefficients.items():
        assert coefficient.terms <= 4
        assert float(coefficient) * divisor == pytest.approx(1, abs=0.005)
    counted = replace(op, count_include_pad=True)
    assert [d for d, _ in pool_coefficients(counted, (2, 6, 6))] == [9]


def test_four_terms_suffice_for_every_divisor() -> None:
    for divisor in range(1, 200):
        op = AveragePool((1, divisor), (1, 1))
        ((_, coefficient),) = pool_coefficients(op, (1, 1, divisor))
        assert float(coefficient) * divisor == pytest.approx(1, abs=0.0054)


def test_average_pools_run(network: Network) -> None:
    small = classifier(np.random.default_rng(14))
    approx = approximate(small, recipes=Recipe(LADDER[10]))
    x = np.random.default_rng(15).standard_normal((4, 1, 8, 8))
    np.testing.assert_allclose(run(approx.to_network(), x), run(small, x), atol=0.05)
    assert dict(approx.pool_coefficients)["pool2"][-1] == (4, Dyadic(1, -2))


def test_activation_without_a_dyadic_form_is_named() -> None:
    bounds = (np.array([0.0, -np.inf]), np.array([1.0, 1.0]))
    network = chain((2, 1, 1), [("bound", Activation("clip", bounds))])
    with pytest.raises(UnsupportedError, match="Activation 'bound': Clip with an infinite bound"):
        approximate(network, recipes=P5)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(21)
    smooth = rng.standard_normal((260, 1, 8, 8)).cumsum(axis=2).cumsum(axis=3)
    return smooth / 8


def test_fitting_outputs_brings_the_output_nearer(images: np.ndarray) -> None:
    network = classifier(np.random.default_rng(22))
    seen, unseen = images[:160], images[160:]
    exact = run(network, unseen)
    for text in ("P1", "P2", "P4"):
        recipe = parse_recipe(text)
        errors = {
            objective: float(np.square(run(approx.to_network(), unseen) - exact).mean())
            for objective in ("frobenius", "output")
            for approx in [approximate(network, recipes=recipe, images=seen, objective=objective)]
        }
        assert errors["output"] < 0.5 * errors["frobenius"]


def test_errors_of_earlier_layers_are_made_up_for(images: np.ndarray) -> None:
    network = classifier(np.random.default_rng(22))
    seen, unseen = images[:160], images[160:]
    exact = run(network, unseen)
    recipe, settings = parse_recipe("P1"), Settings()
    moments = layer_moments(network, seen)
    apart = assemble(
        network,
        {n: settings.filters(op, recipe, moments[n]) for n, op in _convs(network).items()},
    )
    behind = approximate(network, recipes=recipe, images=seen, objective="output")
    errors = [
        float(np.square(run(approx.to_network(), unseen) - exact).mean())
        for approx in (apart, behind)
    ]
    assert errors[1] < 0.8 * errors[0]
    # the first layer has none before it
    np.testing.assert_array_equal(apart.filters[0][1].codes, behind.filters[0][1].codes)


def test_branches_and_curved_activations_are_walked_too(network: Network) -> None:
    x = np.random.default_rng(23).standard_normal((20, 1, 36, 32))
    heard: list[tuple[str, float]] = []
    approx = approximate(
        network,
        recipes=P5,
        images=x,
        objective="output",
        progress=lambda *told: heard.append(told),
    )
    assert [share for _, share in heard] == [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1]
    exact = run(network, x)
    error = np.square(run(approx.to_network(), x) - exact).mean()
    nearest = approximate(network, recipes=P5)
    assert error < np.square(run(nearest.to_network(), x) - exact).mean()
    assert [n for n, _ in approx.activations] == [n for n, _ in nearest.activations]
    again = approximate(network, recipes=P5, images=x, objective="output")
    for (_, one), (_, other) in zip(approx.filters, again.filters, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)


def test_sums_of_branches_are_followed(images: np.ndarray) -> None:
    rng = np.random.default_rng(24)
    weights = [rng.standard_normal((3, i, 3, 3)) / 3 for i in (1, 3, 3)]
    convs = [Conv(w, np.zeros(3), pads=(1, 1, 1, 1)) for w in weights]
    network = Network(
        "residual",
        "x",
        (1, 8, 8),
        (
            Node("a", convs[0], ("x",), (3, 8, 8)),
            Node("b", convs[1], ("a",), (3, 8, 8)),
            Node("sum", Add(), ("a", "b", "a"), (3, 8, 8)),
            Node("c", convs[2], ("sum",), (3, 8, 8)),
        ),
        "c",
    )
    exact = run(network, images)
    errors = [
        np.square(
            run(
                approximate(
                    network, recipes=parse_recipe("P2"), images=images, objective=objective
                ).to_network(),
                images,
            )
            - exact
        ).mean()
        for objective in ("frobenius", "output")
    ]
    assert errors[1] < 0.5 * errors[0]


def test_objective_needs_its_images(network: Network) -> None:
    for none in (None, np.zeros((0, 1, 36, 32))):
        with pytest.raises(DataError, match="'output' must have calibration images"):
            approximate(network, recipes=P5, images=none, objective="output")
    with pytest.raises(DataError, match="must have shape"):
        approximate(network, recipes=P5, images=np.zeros((2, 1, 8, 8)), objective="output")
    with pytest.raises(ValueError, match="frobenius or output, not 'outputs'"):
        approximate(network, recipes=P5, objective="outputs")


def _with_filters(approx: ApproxNetwork, **changes: object) -> ApproxNetwork:
    (name, filters), *others = approx.filters
    return replace(approx, filters=((name, replace(filters, **changes)), *others))


def _with_function(approx: ApproxNetwork, **changes: object) -> ApproxNetwork:
    (name, function), *others = approx.activations
    return replace(approx, activations=((name, replace(function, **changes)), *others))


def _first(approx: ApproxNetwork) -> DyadicFilters:
    return approx.filters[0][1]


def test_verify_finds_faulty_filters(approx: ApproxNetwork) -> None:
    filters = _first(approx)
    outside = filters.codes.copy()
    outside[0, 0, 0, 0] = 5
    cases = [
        ({"codes": filters.codes[:, :, :4]}, "must have codes of shape"),
        ({"codes": outside}, "Layer 'c1' has code 5, not in its set P5"),
        ({"scale": filters.scale[:1]}, "one bias and one scale a filter"),
        ({"scale": (Dyadic(-1, 0),) * 4}, "positive scales, not -1.0"),
        ({"scale": (Dyadic.exact(1 / 3),) * 4}, "scale: numbers must have at most 24"),
        ({"bias": np.full(4, 0.1)}, "bias: numbers must have at most 24 significant bits"),
        ({"bias": np.full(4, np.nan)}, "bias: numbers must be finite"),
        ({"frac": 3}, "must have 2 fractional bits as its set P5, not 3"),
        ({"recipe": "P77"}, "Layer 'c1': Dyadic set must be one of"),
        ({"recipe": "exact"}, "says that it is exact, but its weights differ"),
    ]
    for changes, message in cases:
        with pytest.raises(VerifyError, match=message):
            verify(_with_filters(approx, **changes))


def test_verify_finds_faulty_functions(approx: ApproxNetwork) -> None:
    function = approx.activations[0][1]
    cases = [
        ({"breakpoints": -function.breakpoints}, "ascending breakpoints"),
        ({"breakpoints": function.breakpoints[:, 1:]}, "one breakpoint fewer"),
        ({"slopes": function.slopes / 3}, "slopes: numbers must have at most 24"),
        (
            {
                name: np.repeat(getattr(function, name), 3, axis=0)
                for name in ("breakpoints", "slopes", "offsets")
            },
            "must have 1 or 4 functions, not 3",
        ),
    ]
    for changes, message in cases:
        with pytest.raises(VerifyError, match=message):
            verify(_with_function(approx, **changes))


def test_verify_finds_what_is_missing(approx: ApproxNetwork) -> None:
    with pytest.raises(VerifyError, match="must have filters for"):
        verify(replace(approx, filters=approx.filters[1:]))
    with pytest.raises(VerifyError, match="must have activations for"):
        verify(replace(approx, activations=approx.activations[::-1]))
    pooled = approximate(classifier(np.random.default_rng(16)), recipes=P5)
    ((name, coefficients),) = pooled.pool_coefficients
    with pytest.raises(VerifyError, match="must have pool coefficients for"):
        verify(replace(pooled, pool_coefficients=()))
    with pytest.raises(VerifyError, match="'pool2' has no coefficient for the divisor 1"):
        verify(replace(pooled, pool_coefficients=((name, coefficients[1:]),)))
    with pytest.raises(VerifyError, match="ascending divisors"):
        verify(replace(pooled, pool_coefficients=((name, coefficients[::-1]),)))
