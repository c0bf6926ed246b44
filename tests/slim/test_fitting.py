"""Fitted weights against least squares on the patches themselves, and walks against their rules."""

from dataclasses import replace

import numpy as np
import pytest
from approx_networks import face
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from hwgen.approx.moments import Accumulator, Moments, patch_moments, patches
from hwgen.errors import DataError
from hwgen.network.execute import apply, run, run_all
from hwgen.network.types import Activation, Add, Conv, MaxPool, Network, Node
from hwgen.slim.fitting import fit_weights, refit


@st.composite
def slimmed(draw: st.DrawFn) -> tuple[Conv, np.ndarray, np.ndarray, np.ndarray]:
    """A layer, its input in the original and in the slimmed network, and a mask."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 2, 3]))
    depth, out, kh, kw = (draw(st.integers(1, 3)) for _ in range(4))
    strides, dilations = ((draw(st.integers(1, 2)), draw(st.integers(1, 2))) for _ in range(2))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    weight = rng.standard_normal((groups * out, depth, kh, kw))
    op = Conv(weight, rng.standard_normal(groups * out), strides, pads, dilations, groups)
    exact = rng.standard_normal((draw(st.integers(1, 4)), groups * depth, 8, 7)) + 2
    other = exact + 0.3 * rng.standard_normal(exact.shape) - 0.2
    mask = rng.random(weight.shape) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    if draw(st.booleans()):
        mask[:] = mask[0]  # filters share their taps
    return op, exact, other, mask


def _by_rows(op: Conv, exact: np.ndarray, other: np.ndarray, f: int) -> tuple[np.ndarray, ...]:
    """Centred patches (n, K) that filter ``f`` reads now, and the outputs (n,) it should have."""
    size = len(op.weight) // op.groups
    seen = patches(op, other)[f // size].T
    wanted = apply(op, [exact])[:, f].reshape(-1)
    return seen - seen.mean(axis=0), wanted - wanted.mean()


def _ridge(op: Conv, other: np.ndarray, f: int, damping: float) -> float:
    seen = patches(op, other)[f // (len(op.weight) // op.groups)]
    return damping * float(seen.var(axis=1).sum()) / seen.shape[1]


@given(slimmed(), st.sampled_from([0.1, 3]))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_weights_are_those_of_least_squares_on_the_patches(
    layer: tuple[Conv, np.ndarray, np.ndarray, np.ndarray], damping: float
) -> None:
    op, exact, other, mask = layer
    found = fit_weights(op, mask, patch_moments(op, exact, other), damping=damping)
    assert not found.weight[~mask].any()
    for f, kept in enumerate(mask.reshape(len(mask), -1)):
        seen, wanted = _by_rows(op, exact, other, f)
        root = np.sqrt(_ridge(op, other, f, damping) * len(seen))
        start = op.weight[f].reshape(-1)[kept]
        rows = np.concatenate([seen[:, kept], root * np.eye(len(start))])
        expected, *_ = np.linalg.lstsq(rows, np.concatenate([wanted, root * start]), rcond=None)
        np.testing.assert_allclose(found.weight[f].reshape(-1)[kept], expected, atol=1e-8)
    difference = apply(found, [other]) - apply(op, [exact])
    np.testing.assert_allclose(difference.mean(axis=(0, 2, 3)), 0, atol=1e-9)


@given(slimmed(), st.sampled_from(["filter", "channel"]))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_sums_of_weights_are_kept_at_the_least_error(
    layer: tuple[Conv, np.ndarray, np.ndarray, np.ndarray], gain: str
) -> None:
    op, exact, other, mask = layer
    moments = patch_moments(op, exact, other)
    found = fit_weights(op, mask, moments, damping=1, keep_gain=gain)
    assert not found.weight[~mask].any()
    sums = [weight.sum(axis=(2, 3)) for weight in (found.weight, op.weight)]
    if gain == "channel":
        kept = mask.any(axis=(2, 3))
        np.testing.assert_allclose(sums[0][kept], sums[1][kept], atol=1e-9)
    else:
        kept = mask.any(axis=(1, 2, 3))
        np.testing.assert_allclose(sums[0].sum(axis=1)[kept], sums[1].sum(axis=1)[kept], atol=1e-9)
    f = int(np.argmax(mask.sum(axis=(1, 2, 3))))
    _assert_least_under_sums(op, exact, other, mask[f], f, found.weight[f], gain)


def _assert_least_under_sums(
    op: Conv,
    exact: np.ndarray,
    other: np.ndarray,
    mask: np.ndarray,
    f: int,
    found: np.ndarray,
    gain: str,
) -> None:
    seen, wanted = _by_rows(op, exact, other, f)
    kept = mask.reshape(-1)
    ridge, start = _ridge(op, other, f, 1), op.weight[f].reshape(-1)[kept]

    def error(w: np.ndarray) -> float:
        miss = seen[:, kept] @ w - wanted
        return float((miss @ miss) / len(miss) + ridge * ((w - start) ** 2).sum())

    channel = np.flatnonzero(kept) // mask[0].size if gain == "channel" else np.zeros(kept.sum())
    sums = np.array([channel == c for c in np.unique(channel)], dtype=float)
    flat = found.reshape(-1)[kept]
    if not len(flat):
        return
    wanted_sums = sums @ flat
    free = minimize(
        error,
        start + np.linalg.pinv(sums) @ (wanted_sums - sums @ start),
        constraints={"type": "eq", "fun": lambda w: sums @ w - wanted_sums},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert error(flat) <= free.fun + 1e-6 * abs(free.fun)


def test_a_filter_without_weights_puts_out_the_mean_unless_it_was_removed() -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((3, 2, 3, 3))
    weight[2] = 0
    op = Conv(weight, np.array([0.5, -1, 0]), pads=(1, 1, 1, 1))
    x = rng.standard_normal((4, 2, 6, 6)) + 1
    # removed in the slimmed network, not in the original
    original = replace(op, weight=rng.standard_normal(weight.shape))
    mask = np.ones(weight.shape, dtype=bool)
    mask[1:] = False
    found = fit_weights(op, mask, patch_moments(original, x))
    assert not found.weight[1:].any()
    np.testing.assert_allclose(found.bias[1], apply(original, [x])[:, 1].mean(), atol=1e-9)
    assert found.bias[2] == 0


def test_only_the_filters_asked_for_change() -> None:
    rng = np.random.default_rng(2)
    op = Conv(rng.standard_normal((4, 2, 3, 3)), rng.standard_normal(4))
    mask = rng.random(op.weight.shape) < 0.5
    moments = patch_moments(op, rng.standard_normal((4, 2, 6, 6)))
    some = fit_weights(op, mask, moments, filters=[2, 0])
    every = fit_weights(op, mask, moments)
    for f in range(4):
        expected = every if f in (0, 2) else op
        np.testing.assert_allclose(some.weight[f], expected.weight[f], atol=1e-12)
        np.testing.assert_allclose(some.bias[f], expected.bias[f], atol=1e-12)


def _cut(op: Conv, exact: np.ndarray, other: np.ndarray, most: int) -> Moments:
    accumulator = Accumulator(op, most_entries=most)
    accumulator.add(exact, other)
    return accumulator.moments()


@pytest.mark.parametrize("gain", [None, "filter", "channel"])
def test_blocks_are_fitted_as_if_they_were_not_correlated(gain: str | None) -> None:
    rng = np.random.default_rng(3)
    op = Conv(rng.standard_normal((4, 5, 2, 1)), rng.standard_normal(4), groups=2)
    exact = rng.standard_normal((30, 10, 3, 3))
    other = exact + 0.1 * rng.standard_normal(exact.shape)
    cut = _cut(op, exact, other, 4)
    whole = np.zeros((2, 1, 10, 10))
    for block in range(3):
        part = slice(4 * block, min(4 * block + 4, 10))
        size = part.stop - part.start
        whole[:, 0, part, part] = cut.second[:, block, :size, :size]
    mask = rng.random(op.weight.shape) < 0.6
    # without damping, as that is relative to each block
    found = fit_weights(op, mask, cut, damping=0, keep_gain=gain)
    expected = fit_weights(op, mask, replace(cut, second=whole), damping=0, keep_gain=gain)
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-5)


def test_what_does_not_vary_keeps_its_weights() -> None:
    rng = np.random.default_rng(4)
    op = Conv(rng.standard_normal((3, 4, 1, 1)), rng.standard_normal(3))
    x = rng.standard_normal((8, 4, 3, 3)).astype(np.float32)
    x[:, 1] = 0.25
    x[:, 3] = x[:, 2]  # twice the same
    mask = np.ones(op.weight.shape, dtype=bool)
    mask[:, 0] = False
    for damping in (0, 0.1):
        found = fit_weights(op, mask, patch_moments(op, x), damping=damping)
        np.testing.assert_allclose(found.weight[:, 1], op.weight[:, 1], atol=1e-12)
        assert np.isfinite(found.weight).all()


def test_bad_arguments_are_refused() -> None:
    op = Conv(np.ones((2, 1, 3, 3)), np.zeros(2))
    moments = patch_moments(op, np.random.default_rng(5).standard_normal((2, 1, 5, 5)))
    with pytest.raises(ValueError, match=r"Mask must have the shape \(2, 1, 3, 3\), not \(3, 3\)"):
        fit_weights(op, np.ones((3, 3), dtype=bool), moments)
    with pytest.raises(ValueError, match=r"Damping must not be negative, not -1"):
        fit_weights(op, np.ones((2, 1, 3, 3), dtype=bool), moments, damping=-1)


def _branches() -> Network:
    """a feeds b and c, whose sum feeds d behind a shift by one channel that is exact."""
    rng = np.random.default_rng(31)

    def conv(name: str, source: str, inputs: int) -> Node:
        op = Conv(rng.standard_normal((4, inputs, 3, 3)), rng.standard_normal(4), pads=(1, 1, 1, 1))
        return Node(name, op, (source,), (4, 6, 6))

    turn = np.roll(np.eye(4), 1, axis=0)[:, :, None, None]
    nodes = (
        conv("a", "x", 1),
        Node("ra", Activation("relu"), ("a",), (4, 6, 6)),
        conv("b", "ra", 4),
        conv("c", "ra", 4),
        Node("sum", Add(), ("b", "c"), (4, 6, 6)),
        Node("turn", Conv(turn, np.zeros(4)), ("sum",), (4, 6, 6)),
        Node("pool", MaxPool((2, 2), (2, 2)), ("turn",), (4, 3, 3)),
        conv("d", "pool", 4),
    )
    shapes = {"d": (4, 3, 3)}
    placed = tuple(replace(node, shape=shapes.get(node.name, node.shape)) for node in nodes)
    return Network("branches", "x", (1, 6, 6), placed, "d")


_NETWORK = _branches()
_IMAGES = np.random.default_rng(32).standard_normal((70, 1, 6, 6)).astype(np.float32)


def _with(network: Network, **ops: Conv) -> Network:
    nodes = tuple(replace(n, op=ops.get(n.name, n.op)) for n in network.nodes)
    return replace(network, nodes=nodes)


def _masked(seed: int, names: str) -> Network:
    rng = np.random.default_rng(seed)
    ops = {name: op for name in names if isinstance(op := _NETWORK.node(name).op, Conv)}
    return _with(
        _NETWORK,
        **{
            name: replace(op, weight=op.weight * (rng.random(op.weight.shape) < 0.6))
            for name, op in ops.items()
        },
    )


def _step_by_step(network: Network, damping: float) -> Network:
    """Refit by its definition: every layer in turn, with both networks run anew for each."""
    exact = run_all(_NETWORK, _IMAGES)
    for name in ("a", "b", "c", "turn", "d"):
        node = network.node(name)
        target = _NETWORK.node(name)
        assert isinstance(node.op, Conv)
        assert isinstance(target.op, Conv)
        moments = patch_moments(
            target.op, exact[target.inputs[0]], run_all(network, _IMAGES)[node.inputs[0]]
        )
        if name == "turn":
            fitted = replace(node.op, bias=moments.bias(node.op.weight))
        else:
            fitted = fit_weights(node.op, node.op.weight != 0, moments, damping=damping)
        network = _with(network, **{name: fitted})
    return network


@pytest.mark.parametrize("names", ["abcd", "bd", "a"])
def test_a_walk_fits_every_layer_behind_the_fitted_ones(names: str) -> None:
    network = _masked(1, names)
    found = refit(network, _NETWORK, _IMAGES, damping=0.5)
    expected = _step_by_step(network, 0.5)
    for (node, op), (_, other) in zip(found.convs(), expected.convs(), strict=True):
        np.testing.assert_allclose(op.weight, other.weight, atol=1e-4, err_msg=node.name)
        np.testing.assert_allclose(op.bias, other.bias, atol=1e-3, err_msg=node.name)
        before = network.node(node.name).op
        assert isinstance(before, Conv)
        assert ((op.weight != 0) == (before.weight != 0)).all()
    assert (found.node("turn").op.weight == _NETWORK.node("turn").op.weight).all()


def test_a_walk_brings_each_layer_nearer_to_the_original() -> None:
    network = _masked(2, "b")
    found = refit(network, _NETWORK, _IMAGES)
    exact, before, after = (run_all(n, _IMAGES)["b"] for n in (_NETWORK, network, found))
    assert ((after - exact) ** 2).mean() < 0.9 * ((before - exact) ** 2).mean()
    outputs = [run(n, _IMAGES) for n in (_NETWORK, network, found)]
    assert ((outputs[2] - outputs[0]) ** 2).mean() < 0.9 * ((outputs[1] - outputs[0]) ** 2).mean()


def test_what_is_as_in_the_original_is_left_alone() -> None:
    assert refit(_NETWORK, _NETWORK, _IMAGES) == _NETWORK
    network = _masked(3, "c")
    found = refit(network, _NETWORK, _IMAGES)
    for name in "ab":
        assert found.node(name) is network.node(name)
    assert found.node("c").op is not network.node("c").op


def test_only_the_layers_asked_for_are_fitted() -> None:
    network = _masked(4, "abcd")
    heard: list[str] = []
    found = refit(
        network, _NETWORK, _IMAGES, layers=["b", "c"], progress=lambda text, _: heard.append(text)
    )
    assert heard == ["fit layer b", "fit layer c"]
    for name in ("a", "turn", "d"):
        assert found.node(name) is network.node(name)
    alone = refit(network, _NETWORK, _IMAGES, layers=["b"])
    assert (alone.node("b").op.weight == found.node("b").op.weight).all()
    with pytest.raises(ValueError, match="Layers must be linear layers of the network, not 'ra'"):
        refit(network, _NETWORK, _IMAGES, layers=["b", "ra"])


def test_a_layer_that_the_original_lacks_is_passed_through() -> None:
    network = _masked(5, "b")
    weight = np.eye(4)[:, :, None, None].copy()
    weight[3] = [[[0.5]], [[0.25]], [[0]], [[0]]]
    extra = Node("mix", Conv(weight, np.array([0, 0, 0, 0.75])), ("ra",), (4, 6, 6))
    nodes = []
    for node in network.nodes:
        read = tuple("mix" if each == "ra" else each for each in node.inputs)
        nodes.append(replace(node, inputs=read))
        if node.name == "ra":
            nodes.append(extra)
    mixed = replace(network, nodes=tuple(nodes))
    found = refit(mixed, _NETWORK, _IMAGES)
    assert found.node("mix") is extra
    exact = run_all(_NETWORK, _IMAGES)
    seen = run_all(found, _IMAGES)["mix"]
    op, target = network.node("b").op, _NETWORK.node("b").op
    assert isinstance(op, Conv)
    assert isinstance(target, Conv)
    expected = fit_weights(op, op.weight != 0, patch_moments(target, exact["ra"], seen))
    fitted = found.node("b").op
    assert isinstance(fitted, Conv)
    np.testing.assert_allclose(fitted.weight, expected.weight, atol=1e-6)


def test_removed_filters_and_what_reads_them_stay_zero() -> None:
    ops = {name: op for name in "abc" if isinstance(op := _NETWORK.node(name).op, Conv)}
    weights = {name: op.weight.copy() for name, op in ops.items()}
    weights["a"][2] = 0
    weights["b"][:, 2] = 0
    weights["c"][:, 2] = 0
    bias = ops["a"].bias.copy()
    bias[2] = 0
    network = _with(
        _NETWORK,
        a=replace(ops["a"], weight=weights["a"], bias=bias),
        b=replace(ops["b"], weight=weights["b"]),
        c=replace(ops["c"], weight=weights["c"]),
    )
    found = refit(network, _NETWORK, _IMAGES)
    assert not run_all(found, _IMAGES)["a"][:, 2].any()
    for name in "bc":
        op = found.node(name).op
        assert isinstance(op, Conv)
        assert not op.weight[:, 2].any()
        assert op.weight[:, [0, 1, 3]].all()
    outputs = [run(n, _IMAGES) for n in (_NETWORK, network, found)]
    assert ((outputs[2] - outputs[0]) ** 2).mean() < 0.5 * ((outputs[1] - outputs[0]) ** 2).mean()


def test_grouped_and_strided_networks_are_walked() -> None:
    network = face(np.random.default_rng(6))
    images = np.random.default_rng(7).standard_normal((5, 1, 36, 32)).astype(np.float32)
    slim = replace(
        network,
        nodes=tuple(
            replace(node, op=replace(node.op, weight=np.where(abs(w) < 0.3, 0, w)))
            if isinstance(node.op, Conv) and (w := node.op.weight).size
            else node
            for node in network.nodes
        ),
    )
    found = refit(slim, network, images)
    for (_, op), (_, before) in zip(found.convs(), slim.convs(), strict=True):
        assert ((op.weight != 0) == (before.weight != 0)).all()


def test_networks_and_images_must_fit() -> None:
    op = _NETWORK.node("d").op
    assert isinstance(op, Conv)
    network = _with(_NETWORK, d=replace(op, pads=(0, 0, 0, 0)))
    with pytest.raises(ValueError, match="Layer 'd' must have the form that it has in the ref"):
        refit(network, _NETWORK, _IMAGES)
    with pytest.raises(DataError, match="must have shape"):
        refit(_NETWORK, _NETWORK, _IMAGES[:, :, 1:])
