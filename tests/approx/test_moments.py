"""Moments of patches against their definition, patch by patch."""

import numpy as np
import pytest
from approx_networks import classifier, face
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.moments import Accumulator, Moments, layer_moments, patch_moments, patches
from hwgen.errors import DataError
from hwgen.network.execute import apply, run_all
from hwgen.network.types import Conv


@st.composite
def layers(draw: st.DrawFn) -> tuple[Conv, np.ndarray, np.ndarray]:
    """A layer with its input in the float and in the approximated network."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 2, 3]))
    depth, out, kh, kw = (draw(st.integers(1, 3)) for _ in range(4))
    strides, dilations = ((draw(st.integers(1, 2)), draw(st.integers(1, 2))) for _ in range(2))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    size = [draw(st.integers(6, 9)) for _ in range(2)]
    weight = rng.standard_normal((groups * out, depth, kh, kw))
    op = Conv(weight, rng.standard_normal(groups * out), strides, pads, dilations, groups)
    shape = (draw(st.integers(1, 4)), groups * depth, *size)
    exact = rng.standard_normal(shape) + 3
    return op, exact, exact + 0.3 * rng.standard_normal(shape) - 0.2


def _columns(op: Conv, x: np.ndarray) -> np.ndarray:
    """Patches (G, K, n) by the definition: what each weight alone reads."""
    entries = op.weight[0].size
    columns = []
    for entry in range(entries):
        one = np.zeros((op.groups, entries))
        one[:, entry] = 1
        weight = one.reshape(op.groups, *op.weight.shape[1:])
        alone = Conv(weight, np.zeros(op.groups), op.strides, op.pads, op.dilations, op.groups)
        columns.append(apply(alone, [x]).transpose(1, 0, 2, 3).reshape(op.groups, -1))
    return np.stack(columns, axis=1)


@given(layers())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_patches_are_what_the_weights_read(layer: tuple[Conv, np.ndarray, np.ndarray]) -> None:
    op, exact, _ = layer
    np.testing.assert_array_equal(patches(op, exact), _columns(op, exact))


@given(layers(), st.booleans())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_moments_are_those_of_all_patches(
    layer: tuple[Conv, np.ndarray, np.ndarray], same: bool
) -> None:
    op, exact, other = layer
    seen = _columns(op, exact if same else other)
    output = apply(op, [exact]).transpose(1, 0, 2, 3).reshape(len(op.weight), -1)
    found = patch_moments(op, exact, None if same else other)
    assert found.count == seen.shape[2]
    of = np.repeat(np.arange(op.groups), len(op.weight) // op.groups)
    for f, group in enumerate(of):
        joint = np.cov(np.vstack([seen[group], output[f]]), bias=True)
        np.testing.assert_allclose(found.second[group, 0], joint[:-1, :-1], atol=1e-9)
        np.testing.assert_allclose(found.cross[f], joint[:-1, -1], atol=1e-9)
        np.testing.assert_allclose(found.output_variance[f], joint[-1, -1], atol=1e-9)
    np.testing.assert_allclose(found.mean, seen.mean(axis=2), atol=1e-9)
    np.testing.assert_allclose(found.output_mean, output.mean(axis=1), atol=1e-9)


@given(layers(), st.integers(0, 2**32 - 1))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_error_and_bias_are_those_of_the_output(
    layer: tuple[Conv, np.ndarray, np.ndarray], seed: int
) -> None:
    op, exact, other = layer
    found = patch_moments(op, exact, other)
    weight = op.weight + 0.3 * np.random.default_rng(seed).standard_normal(op.weight.shape)
    bias = found.bias(weight)
    changed = Conv(weight, bias, op.strides, op.pads, op.dilations, op.groups)
    difference = apply(changed, [other]) - apply(op, [exact])
    np.testing.assert_allclose(difference.mean(axis=(0, 2, 3)), 0, atol=1e-9)
    np.testing.assert_allclose(
        found.errors(weight), (difference**2).mean(axis=(0, 2, 3)), rtol=1e-7, atol=1e-9
    )


def test_batches_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    op = Conv(rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4), pads=(1, 1, 1, 1))
    exact = rng.standard_normal((10, 3, 6, 6))
    other = exact + 0.1
    accumulator = Accumulator(op)
    for part in (slice(0, 1), slice(1, 7), slice(7, 10)):
        accumulator.add(exact[part], other[part])
    _assert_close(accumulator.moments(), patch_moments(op, exact, other), 1e-12)


def test_float32_loses_little_beside_a_large_mean() -> None:
    rng = np.random.default_rng(2)
    op = Conv(rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4))
    x = 255 * rng.random((50, 3, 12, 12)) + 10_000
    exact = patch_moments(op, x.astype(np.float32).astype(np.float64))
    short = patch_moments(op, x.astype(np.float32))
    np.testing.assert_allclose(short.second, exact.second, atol=1e-4 * exact.second.max())
    np.testing.assert_allclose(short.mean, exact.mean, rtol=1e-6)


def test_long_patches_are_cut_into_blocks() -> None:
    rng = np.random.default_rng(3)
    op = Conv(rng.standard_normal((4, 5, 2, 1)), rng.standard_normal(4), groups=2)
    exact = rng.standard_normal((30, 10, 3, 3))
    other = exact + 0.1 * rng.standard_normal(exact.shape)
    whole = patch_moments(op, exact, other)
    accumulator = Accumulator(op, most_entries=4)
    accumulator.add(exact, other)
    cut = accumulator.moments()
    assert cut.second.shape == (2, 3, 4, 4)
    for block in range(3):
        low, high = 4 * block, min(4 * block + 4, 10)
        np.testing.assert_allclose(
            cut.second[:, block, : high - low, : high - low],
            whole.second[:, 0, low:high, low:high],
            atol=1e-9,
        )
    assert not cut.second[:, 2, 2:].any()
    np.testing.assert_allclose(cut.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(cut.output_mean, whole.output_mean, atol=1e-9)
    np.testing.assert_allclose(cut.bias(op.weight / 2), whole.bias(op.weight / 2), atol=1e-9)
    # what a block contributes to the output is all that its entries are compared with
    same = Accumulator(op, most_entries=4)
    same.add(exact)
    np.testing.assert_allclose(same.moments().errors(op.weight), 0, atol=1e-9)
    assert (cut.errors(op.weight) > 0).all()


def test_layer_moments_are_those_of_each_layers_input() -> None:
    for build, shape in ((classifier, (1, 8, 8)), (face, (1, 36, 32))):
        network = build(np.random.default_rng(4))
        images = np.random.default_rng(5).standard_normal((7, *shape))
        found = layer_moments(network, images, batch=3)
        tensors = run_all(network, images)
        assert list(found) == [node.name for node, _ in network.convs()]
        for node, op in network.convs():
            _assert_close(found[node.name], patch_moments(op, tensors[node.inputs[0]]), 1e-5)


def test_moments_need_images() -> None:
    network = classifier(np.random.default_rng(6))
    with pytest.raises(ValueError, match="Moments need at least one image"):
        layer_moments(network, np.zeros((0, 1, 8, 8)))
    with pytest.raises(DataError, match="must have shape"):
        layer_moments(network, np.zeros((2, 1, 8, 9)))


def _assert_close(found: Moments, expected: Moments, tolerance: float) -> None:
    assert found.count == expected.count
    for name in ("second", "cross", "mean", "output_mean", "output_variance"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=tolerance, rtol=tolerance
        )


def test_what_does_not_vary_has_no_moments() -> None:
    rng = np.random.default_rng(7)
    op = Conv(rng.standard_normal((4, 1, 3, 3)), rng.standard_normal(4), groups=2)
    exact = rng.standard_normal((6, 2, 7, 7)).astype(np.float32)
    for constant in (0.37, 1e-9, 0.0):
        seen = exact.copy()
        seen[:, 1] = constant
        found = patch_moments(op, exact, seen)
        assert not found.second[1].any()
        assert not found.cross[2:].any()
        assert (np.diagonal(found.second[0, 0]) > 0.5).all()
