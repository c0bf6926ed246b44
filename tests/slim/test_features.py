"""Combinations of maps against explicit computation, and what stands against folding them."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.linalg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_networks import random_images, random_onnx

from hwgen.network.execute import Tensor, run, run_all, run_suffix
from hwgen.network.onnx_import import import_onnx
from hwgen.network.shapes import output_shape
from hwgen.network.types import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    Pads,
)
from hwgen.network.verify import verify
from hwgen.slim.channels import channel_moments, feature_tensor, tensor_moments
from hwgen.slim.features import (
    Combination,
    combination_errors,
    fit_combination,
    fold,
    fold_obstacle,
    materialise,
)
from hwgen.slim.liveness import read_channels, zero_unread

RELU = Activation("relu")


def conv(rng: np.random.Generator, *shape: int, **options: object) -> Conv:
    weight = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return Conv(weight, rng.standard_normal(shape[0]) / 4, **options)


def build(*layers: tuple[str, Op, tuple[str, ...]], output: str | None = None) -> Network:
    """Network on images (2, 8, 8) of named operators and what they read."""
    shapes = {"x": (2, 8, 8)}
    nodes = []
    for name, op, inputs in layers:
        shapes[name] = output_shape(op, [shapes[each] for each in inputs])
        nodes.append(Node(name, op, inputs, shapes[name]))
    network = Network("built", "x", shapes["x"], tuple(nodes), output or nodes[-1].name)
    verify(network)
    return network


def combination(
    rng: np.random.Generator, channels: int, dropped: int, *, constant: bool = False
) -> Combination:
    order = rng.permutation(channels)
    d, k = tuple(map(int, order[:dropped])), tuple(map(int, order[dropped:]))
    offset = rng.standard_normal(dropped) if constant else np.zeros(dropped)
    return Combination(d, k, rng.standard_normal((len(k), dropped)), offset)


def combined(x: Tensor, made: Combination) -> Tensor:
    """The tensor with the dropped maps replaced, straight from the definition."""
    y = x.copy()
    for j, channel in enumerate(made.dropped):
        y[:, channel] = made.constant[j]
        for i, source in enumerate(made.kept):
            y[:, channel] += made.coefficients[i, j] * x[:, source]
    return y


def expected(network: Network, tensor: str, made: Combination, x: Tensor) -> Tensor:
    """The output when whoever reads ``tensor`` gets the combination."""
    tensors = run_all(network, x, dtype=np.float64)
    tensors[tensor] = combined(tensors[tensor], made)
    return run_suffix(network, tensors, [node.name for node in network.consumers(tensor)])


def images(count: int = 3, seed: int = 0) -> Tensor:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2, 8, 8))


def random_network(seed: int, folder: Path) -> tuple[Network, Tensor]:
    model = random_onnx(seed)
    path = folder / f"random{seed}.onnx"
    onnx.save(model, path)
    return import_onnx(path), random_images(seed, model, 4)


def check_fold(network: Network, tensor: str, made: Combination) -> Network:
    """Folded and materialised forms equal the definition; the dropped maps are not read."""
    x = images()
    wanted = expected(network, tensor, made, x)
    folded, built = fold(network, tensor, made), materialise(network, tensor, made)
    verify(built)
    for each in (folded, built):
        np.testing.assert_allclose(run(each, x, dtype=np.float64), wanted, rtol=0, atol=1e-9)
    assert [node.shape for node in folded.nodes] == [node.shape for node in network.nodes]
    assert not read_channels(folded)[tensor][list(made.dropped)].any()
    return folded


def of_gaussians(rng: np.random.Generator, count: int, channels: int) -> Tensor:
    """Maps (1, C, count, 1) that depend on each other and are not about 0."""
    mix = rng.standard_normal((channels, channels))
    maps = rng.standard_normal((count, channels)) @ mix + rng.standard_normal(channels)
    return maps.T[None, :, :, None]


# --- the fit


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 8))
def test_coefficients_are_those_of_the_qr_decomposition(
    seed: int, channels: int, dropped: int
) -> None:
    rng = np.random.default_rng(seed)
    dropped = min(dropped, channels - 1)
    x = of_gaussians(rng, 60, channels)
    made = fit_combination(
        channel_moments(x), rng.permutation(channels)[:dropped].tolist(), damping=1e-13
    )
    k = len(made.kept)
    r = np.linalg.qr(x[0, [*made.kept, *made.dropped], :, 0].T).R
    wanted = scipy.linalg.solve_triangular(r[:k, :k], r[:k, k:])
    np.testing.assert_allclose(made.coefficients, wanted, atol=1e-6 * np.abs(wanted).max())
    assert not made.constant.any()


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([None, 1, 2, 3]))
def test_errors_are_those_of_the_maps(seed: int, constant: bool, sources: int | None) -> None:
    rng = np.random.default_rng(seed)
    x = of_gaussians(rng, 50, 6)
    moments = channel_moments(x)
    made = fit_combination(moments, [1, 4], sources=sources, constant=constant, damping=1e-13)
    error = np.square(combined(x, made) - x).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(combination_errors(moments, made), error[[1, 4]], rtol=1e-6)
    if sources is None:
        design = x[0, list(made.kept), :, 0].T
        if constant:
            design = np.column_stack([design, np.ones(50)])
        best = np.linalg.lstsq(design, x[0, [1, 4], :, 0].T)[1] / 50
        np.testing.assert_allclose(error[[1, 4]], best, rtol=1e-6)


def pursued(design: Tensor, target: Tensor, sources: int) -> tuple[list[int], Tensor]:
    """Orthogonal matching pursuit on the maps themselves: columns taken, and what is left."""
    taken: list[int] = []
    left = target
    for _ in range(sources):
        score = np.abs(design.T @ left) / np.linalg.norm(design, axis=0)
        score[taken] = -1
        taken.append(int(score.argmax()))
        solution = np.linalg.lstsq(design[:, taken], target)[0]
        left = target - design[:, taken] @ solution
    return taken, left


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_sources_are_those_of_orthogonal_matching_pursuit(seed: int, sources: int) -> None:
    x = of_gaussians(np.random.default_rng(seed), 60, 8)
    moments = channel_moments(x)
    made = fit_combination(moments, [0, 3, 6], sources=sources, damping=1e-13)
    assert (made.sources <= sources).all()
    design = x[0, list(made.kept), :, 0].T
    for j, channel in enumerate(made.dropped):
        taken, left = pursued(design, x[0, channel, :, 0], sources)
        assert sorted(taken) == np.flatnonzero(made.coefficients[:, j]).tolist()
        error = combination_errors(moments, made)[j]
        assert error == pytest.approx(np.square(left).mean(), rel=1e-6)


def test_a_dead_map_needs_no_sources() -> None:
    x = of_gaussians(np.random.default_rng(1), 60, 8)
    x[:, 0] = 0.0
    made = fit_combination(channel_moments(x), [0], sources=3)
    np.testing.assert_allclose(made.coefficients, 0, atol=1e-12)


def test_as_many_sources_as_there_are_is_the_dense_fit() -> None:
    moments = channel_moments(of_gaussians(np.random.default_rng(3), 60, 7))
    few = fit_combination(moments, [2, 5], sources=5)
    np.testing.assert_array_equal(few.coefficients, fit_combination(moments, [2, 5]).coefficients)
    assert few.kept == (0, 1, 3, 4, 6)


def test_copies_and_dead_maps_do_no_harm() -> None:
    x = of_gaussians(np.random.default_rng(5), 40, 6)
    x[:, 1] = x[:, 0]  # a copy
    x[:, 2] = 0.0
    x[:, 3] = 2 * x[:, 0]
    made = fit_combination(channel_moments(x), [3], kept=[0, 1, 2])
    assert made.coefficients[2] == 0
    np.testing.assert_allclose(made.coefficients[:2, 0], [1, 1], rtol=1e-5)
    flat = np.ones((1, 3, 5, 1))
    made = fit_combination(channel_moments(flat), [0], constant=True)
    assert (made.coefficients == 0).all()
    assert made.constant[0] == 1


def test_sources_are_maps_as_they_are_and_targets_as_they_were() -> None:
    rng = np.random.default_rng(7)
    exact = of_gaussians(rng, 60, 5)
    seen = exact + 0.1 * rng.standard_normal(exact.shape)
    made = fit_combination(channel_moments(exact, seen), [1], damping=1e-13)
    wanted = np.linalg.lstsq(seen[0, list(made.kept), :, 0].T, exact[0, 1, :, 0])[0]
    np.testing.assert_allclose(made.coefficients[:, 0], wanted, rtol=1e-6)


def test_dropping_all_maps_leaves_constants() -> None:
    x = of_gaussians(np.random.default_rng(9), 30, 3)
    made = fit_combination(channel_moments(x), [0, 1, 2], constant=True)
    assert made.kept == ()
    np.testing.assert_allclose(made.constant, x.mean(axis=(0, 2, 3)))


def test_moments_of_tensors_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    network, x = random_network(4, tmp_path)
    names = [node.name for node in network.nodes]
    whole, parts = (tensor_moments(network, x, names, elements=most) for most in (1 << 25, 1))
    tensors = run_all(network, x)
    for name in names:
        maps = tensors[name].astype(np.float64).swapaxes(0, 1).reshape(tensors[name].shape[1], -1)
        for moments in (whole[name], parts[name]):
            wanted = np.atleast_2d(np.cov(maps, bias=True))
            np.testing.assert_allclose(moments.second[0, 0], wanted, atol=1e-9)
            np.testing.assert_allclose(moments.cross, wanted, atol=1e-9)
            np.testing.assert_allclose(moments.mean[0], maps.mean(axis=1), atol=1e-7)


def test_bad_arguments_are_refused() -> None:
    moments = channel_moments(of_gaussians(np.random.default_rng(1), 20, 4))
    with pytest.raises(ValueError, match="Damping must be positive, not 0"):
        fit_combination(moments, [0], damping=0)
    with pytest.raises(ValueError, match="Sources must be at least 1, not 0"):
        fit_combination(moments, [0], sources=0)
    with pytest.raises(ValueError, match=r"Channels must be from 0 to 3, not \[4\]"):
        fit_combination(moments, [4])
    with pytest.raises(ValueError, match="Kept channels must differ"):
        fit_combination(moments, [0], kept=[0, 1])
    with pytest.raises(ValueError, match="must all differ"):
        Combination((0,), (0, 1), np.zeros((2, 1)), np.zeros(1))
    with pytest.raises(ValueError, match="Coefficients and constant must be"):
        Combination((0,), (1,), np.zeros((2, 1)), np.zeros(1))


# --- folding, each rule against the definition

PADS: Pads = (1, 2, 0, 1)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(1, 2),
    st.booleans(),
)
@example(0, (3, 3), (2, 2), (1, 1, 1, 1), 1, False)
@example(0, (3, 3), (1, 1), (0, 0, 0, 0), 1, True)
def test_fold_into_a_convolution(
    seed: int,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: Pads,
    dilation: int,
    constant: bool,
) -> None:
    rng = np.random.default_rng(seed)
    options = {"strides": strides, "pads": pads, "dilations": (dilation, dilation)}
    network = build(
        ("a", conv(rng, 5, 2, 3, 3), ("x",)),
        ("r", RELU, ("a",)),
        ("b", conv(rng, 3, 5, *kernel, **options), ("r",)),
    )
    made = combination(rng, 5, int(rng.integers(1, 5)), constant=constant and not any(pads))
    assert feature_tensor(network, "a") == "r"
    assert fold_obstacle(network, "r", made) is None
    folded = check_fold(network, "r", made)
    first, second = folded.node("a").op, folded.node("b").op
    assert isinstance(first, Conv)
    assert isinstance(second, Conv)
    dropped = list(made.dropped)
    assert not second.weight[:, dropped].any()
    assert not first.weight[dropped].any()
    assert not first.bias[dropped].any()
    assert first.weight[list(made.kept)].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("constant", [False, True])
def test_fold_into_a_fully_connected_layer_behind_a_max_pool(constant: bool) -> None:
    rng = np.random.default_rng(1)
    network = build(
        ("a", conv(rng, 5, 2, 3, 3, pads=(1, 1, 1, 1)), ("x",)),
        ("r", RELU, ("a",)),
        ("p", MaxPool((2, 2), (2, 2)), ("r",)),
        ("fc", conv(rng, 4, 5, 4, 4), ("p",)),
    )
    assert feature_tensor(network, "a") == "p"
    folded = check_fold(network, "p", combination(rng, 5, 2, constant=constant))
    op = folded.node("fc").op
    assert isinstance(op, Conv)
    assert np.count_nonzero(op.weight) == 4 * 3 * 16


@pytest.mark.parametrize("constant", [False, True])
def test_fold_into_two_readers(constant: bool) -> None:
    rng = np.random.default_rng(2)
    pads = (0, 0, 0, 0) if constant else PADS
    network = build(
        ("a", conv(rng, 5, 2, 3, 3), ("x",)),
        ("r", RELU, ("a",)),
        ("b", conv(rng, 3, 5, 3, 3, pads=pads), ("r",)),
        ("c", conv(rng, 3, 5, 3, 3, pads=pads), ("r",)),
        ("sum", Add(), ("b", "c")),
    )
    check_fold(network, "r", combination(rng, 5, 2, constant=constant))


@pytest.mark.parametrize("constant", [False, True])
def test_fold_through_a_concatenation_with_its_offset(constant: bool) -> None:
    rng = np.random.default_rng(3)
    network = build(
        ("a", conv(rng, 5, 2, 1, 1), ("x",)),
        ("r", RELU, ("a",)),
        ("other", conv(rng, 3, 2, 1, 1), ("x",)),
        ("both", Concat(), ("other", "r", "x", "r")),
        ("more", Concat(), ("a", "both")),
        ("b", conv(rng, 3, 20, 3, 3, pads=(0, 0, 0, 0) if constant else PADS), ("more",)),
    )
    folded = check_fold(network, "r", combination(rng, 5, 2, constant=constant))
    op = folded.node("other").op
    assert isinstance(op, Conv)
    assert op.weight.any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("included", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_fold_through_an_average_pool(included: bool, constant: bool) -> None:
    rng = np.random.default_rng(4)
    pads = (1, 0, 1, 1) if not (included and constant) else (0, 0, 0, 0)
    pool = AveragePool((2, 3), (2, 2), pads, included, ceil_pads=(0, 1), gain=0.75)
    network = build(
        ("a", conv(rng, 5, 2, 1, 1), ("x",)),
        ("r", RELU, ("a",)),
        ("p", pool, ("r",)),
        ("b", conv(rng, 3, 5, 2, 2), ("p",)),
    )
    check_fold(network, "r", combination(rng, 5, 2, constant=constant))


def test_fold_within_groups() -> None:
    rng = np.random.default_rng(5)
    network = build(
        ("a", conv(rng, 6, 2, 1, 1), ("x",)),
        ("b", conv(rng, 4, 3, 3, 3, groups=2, pads=PADS), ("a",)),
    )
    coefficients = np.array([[0.5, 0.0], [-2.0, 0.0], [0.0, 0.25], [0.0, 4.0]])
    made = Combination((1, 3), (0, 2, 4, 5), coefficients, np.zeros(2))
    assert fold_obstacle(network, "a") == "Layer 'b' reads 'a' in 2 groups"
    check_fold(network, "a", made)
    across = Combination((1,), (4,), np.ones((1, 1)), np.zeros(1))
    with pytest.raises(ValueError, match="reads dropped maps and their sources in different"):
        fold(network, "a", across)


def test_fold_the_sum_of_two_branches() -> None:
    rng = np.random.default_rng(6)
    network = build(
        ("a", conv(rng, 4, 2, 1, 1), ("x",)),
        ("b", conv(rng, 4, 2, 1, 1), ("x",)),
        ("sum", Add(), ("a", "b")),
        ("r", RELU, ("sum",)),
        ("c", conv(rng, 3, 4, 3, 3, pads=PADS), ("r",)),
    )
    made = combination(rng, 4, 1)
    folded = check_fold(network, "r", made)
    for name in ("a", "b"):  # both summands of the dropped map are gone
        op = folded.node(name).op
        assert isinstance(op, Conv)
        assert not op.weight[list(made.dropped)].any()


def test_a_constant_on_padded_maps_would_miss_the_border_only() -> None:
    rng = np.random.default_rng(7)
    padded = conv(rng, 3, 4, 3, 3, pads=(1, 1, 1, 1))
    network = build(("a", conv(rng, 4, 2, 1, 1), ("x",)), ("b", padded, ("a",)))
    made = combination(rng, 4, 2, constant=True)
    obstacle = "Layer 'b' pads 'a' with zeros, where a constant would be missing"
    assert fold_obstacle(network, "a", made) == obstacle
    with pytest.raises(ValueError, match=f"Combination cannot be folded: {obstacle}"):
        fold(network, "a", made)
    # what the refusal is for: the bias that stands for the constant is right inside alone
    plain = fold(network, "a", Combination(made.dropped, made.kept, made.coefficients, np.zeros(2)))
    weight = padded.weight[:, list(made.dropped)].sum(axis=(2, 3))
    folded = run(plain, images(), dtype=np.float64) + (weight @ made.constant)[:, None, None]
    wanted = expected(network, "a", made, images())
    np.testing.assert_allclose(folded[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-9)
    assert np.abs(folded[..., 0, :] - wanted[..., 0, :]).max() > 0.01
    # counted padding of an average pool is the same
    pool = AveragePool((3, 3), (1, 1), (1, 1, 1, 1), count_include_pad=True)
    network = build(
        ("a", conv(rng, 4, 2, 1, 1), ("x",)),
        ("p", pool, ("a",)),
        ("b", conv(rng, 3, 4, 1, 1), ("p",)),
    )
    assert fold_obstacle(network, "a", made) == obstacle


def test_what_stands_against_folding_is_said() -> None:
    rng = np.random.default_rng(8)
    network = build(
        ("a", conv(rng, 4, 2, 3, 3, pads=(1, 1, 1, 1)), ("x",)),
        ("r", RELU, ("a",)),
        ("b", conv(rng, 4, 4, 3, 3, pads=(1, 1, 1, 1)), ("r",)),
        ("sum", Add(), ("b", "r")),
        ("p", MaxPool((2, 2), (2, 2)), ("sum",)),
        ("c", conv(rng, 3, 4, 1, 1), ("p",)),
        ("dw", conv(rng, 3, 1, 1, 1, groups=3), ("c",)),
    )
    assert fold_obstacle(network, "r") == "'sum' adds 'r' to another tensor, map by map"
    assert fold_obstacle(network, "sum") == "'p' (MaxPool) does not commute with sums of maps"
    assert fold_obstacle(network, "a") == "'r' (Activation) does not commute with sums of maps"
    assert fold_obstacle(network, "c") == "Layer 'dw' reads 'c' in 3 groups"
    assert fold_obstacle(network, "dw") == "'dw' is the output of the network"
    assert fold_obstacle(network, "p") is None
    assert [feature_tensor(network, name) for name in ("a", "b", "sum")] == ["r", "b", "p"]


# --- materialising


@pytest.mark.parametrize("tensor", ["x", "r", "sum", "b"])
def test_materialise_where_folding_is_not_possible(tensor: str) -> None:
    rng = np.random.default_rng(9)
    network = build(
        ("a", conv(rng, 4, 2, 3, 3, pads=(1, 1, 1, 1)), ("x",)),
        ("r", RELU, ("a",)),
        ("b", conv(rng, 4, 4, 3, 3, pads=(1, 1, 1, 1)), ("r",)),
        ("sum", Add(), ("b", "r")),
    )
    channels = network.shape(tensor)[0]
    made = combination(rng, channels, channels // 2, constant=True)
    built = materialise(network, tensor, made)
    verify(built)
    x = images()
    wanted = (
        combined(run(network, x, dtype=np.float64), made)
        if tensor == "sum"
        else expected(network, tensor, made, x)
    )
    np.testing.assert_allclose(run(built, x, dtype=np.float64), wanted, atol=1e-9)
    if tensor == "r":
        op = built.node("a").op
        assert isinstance(op, Conv)
        assert not op.weight[list(made.dropped)].any()
    # a second combination of the same tensor goes into the node that is there
    more = Combination((made.kept[0],), made.kept[1:], np.ones((len(made.kept) - 1, 1)), np.ones(1))
    if tensor != "sum":
        again = fold(built, tensor, more)
        assert len(again.nodes) == len(built.nodes)
        np.testing.assert_allclose(
            run(again, x, dtype=np.float64), expected(built, tensor, more, x), atol=1e-9
        )


def test_names_of_added_nodes_do_not_collide() -> None:
    rng = np.random.default_rng(10)
    network = build(("a", conv(rng, 3, 2, 1, 1), ("x",)), ("a_combined", RELU, ("a",)))
    built = materialise(network, "a", combination(rng, 3, 1))
    verify(built)
    assert [node.name for node in built.nodes] == ["a", "a_combined_", "a_combined"]


@pytest.mark.parametrize("seed", range(40))
def test_both_forms_on_random_networks(seed: int, tmp_path: Path) -> None:
    network, x = random_network(seed, tmp_path)
    rng = np.random.default_rng(seed)
    for tensor in [node.name for node in network.nodes]:
        channels = network.shape(tensor)[0]
        if channels < 2 or tensor == network.output:
            continue
        made = combination(rng, channels, int(rng.integers(1, channels)), constant=bool(seed % 2))
        wanted = expected(network, tensor, made, x)
        size = max(1.0, np.abs(wanted).max())
        forms = [materialise(network, tensor, made)]
        if fold_obstacle(network, tensor, made) is None:
            forms.append(fold(network, tensor, made))
        for each in forms:
            verify(each)
            found = run(each, x, dtype=np.float64)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * size)


# --- maps that nobody reads


@pytest.mark.parametrize("seed", range(40))
def test_unread_filters_become_zero_without_a_trace(seed: int, tmp_path: Path) -> None:
    network, x = random_network(seed, tmp_path)
    rng = np.random.default_rng(seed)

    def thinned(node: Node) -> Node:
        if not isinstance(node.op, Conv):
            return node
        keep = rng.random((1, node.op.weight.shape[1], 1, 1)) < 0.5
        op = Conv(
            node.op.weight * keep,
            *(node.op.bias, node.op.strides, node.op.pads, node.op.dilations, node.op.groups),
        )
        return Node(node.name, op, node.inputs, node.shape)

    thin = Network(
        *(network.name, network.input_name, network.input_shape),
        tuple(map(thinned, network.nodes)),
        network.output,
    )
    zeroed = zero_unread(thin)
    np.testing.assert_array_equal(run(zeroed, x, dtype=np.float64), run(thin, x, dtype=np.float64))
    read = read_channels(zeroed)
    for node, op in zeroed.convs():
        alive = op.weight.any(axis=(1, 2, 3)) | (op.bias != 0)
        assert not (alive & ~read[node.name]).any()
    # channels that count as unread do not matter: put anything there
    tensors = run_all(thin, x, dtype=np.float64)
    for name, mask in read_channels(thin).items():
        if name == thin.output or mask.all():
            continue
        spoiled = dict(tensors)
        spoiled[name] = np.where(mask[:, None, None], tensors[name], sys.maxsize / 2**40)
        changed = [node.name for node in thin.consumers(name)]
        np.testing.assert_allclose(
            run_suffix(thin, spoiled, changed), tensors[thin.output], rtol=0, atol=1e-12
        )
