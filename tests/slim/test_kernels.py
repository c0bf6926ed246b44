"""Which taps stay, and what a reduced kernel, the errors and the orders of taps must be."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.moments import Accumulator, Moments, patch_moments
from hwgen.network.execute import apply
from hwgen.network.types import Conv
from hwgen.slim._damped import Damped
from hwgen.slim.fitting import DAMPING, fit_weights
from hwgen.slim.kernels import (
    best_placement,
    centred_mask,
    kernel_errors,
    kernel_sizes,
    placed_mask,
    placements,
    reduce_kernels,
    restrict_taps,
    size_chain,
    size_steps,
)
from hwgen.slim.taps import choose_taps


def test_smaller_centres_lie_within_larger_ones_and_keep_the_middle() -> None:
    for side in range(1, 12):
        masks = [centred_mask((side, 1), (size, 1))[:, 0] for size in range(side + 1)]
        for size, mask in enumerate(masks):
            assert mask.sum() == size
            assert not size or mask[(side - 1) // 2] or side % 2 == 0
            assert size == 0 or (masks[size - 1] <= mask).all()
        if side % 2:
            assert all((mask == mask[::-1]).all() for mask in masks[1::2])
    assert centred_mask((4, 5), (2, 3)).nonzero()[0].tolist() == [1, 1, 1, 2, 2, 2]
    assert centred_mask((6, 7), (3, 1)).nonzero()[0].tolist() == [1, 2, 3]
    assert not centred_mask((3, 3), (0, 0)).any()


def test_sizes_must_lie_within_the_kernel() -> None:
    with pytest.raises(ValueError, match=r"within the kernel \(3, 3\), not \(5, 1\) at"):
        centred_mask((3, 3), (5, 1))
    with pytest.raises(ValueError, match=r"not \(-1, 1\) at"):
        centred_mask((3, 3), (-1, 1))
    with pytest.raises(ValueError, match=r"not \(2, 2\) at \(2, 0\)"):
        placed_mask((3, 3), (2, 2), (2, 0))


def test_chains_end_in_removal() -> None:
    assert size_chain((7, 7)) == ((7, 7), (5, 5), (3, 3), (1, 1), (0, 0))
    assert size_chain((6, 7)) == ((6, 7), (5, 5), (3, 3), (1, 1), (0, 0))
    assert size_chain((1, 7)) == ((1, 7), (1, 5), (1, 3), (1, 1), (0, 0))
    assert size_chain((4, 4)) == ((4, 4), (3, 3), (1, 1), (0, 0))
    assert size_chain((2, 2)) == ((2, 2), (1, 1), (0, 0))
    assert size_chain((1, 1)) == ((1, 1), (0, 0))
    assert size_steps((3, 3)) == ((1, 1), (1, 3), (3, 1))
    assert size_steps((1, 5)) == ((1, 3), (0, 0))
    assert size_steps((0, 0)) == ()
    for size in product(range(9), repeat=2):
        for step in size_steps(size):
            assert step != size
            assert all(s <= k for s, k in zip(step, size, strict=True))


def test_places_of_a_rectangle() -> None:
    assert placements((3, 4), (3, 3)) == ((0, 0), (0, 1))
    assert len(placements((5, 5), (3, 3))) == 9


@given(st.integers(1, 7), st.integers(1, 7), st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_sizes_of_filters_are_those_they_were_reduced_to(
    kh: int, kw: int, data: st.DataObject
) -> None:
    op = Conv(np.ones((4, 2, kh, kw)), np.zeros(4))
    sizes = [
        data.draw(st.tuples(st.integers(1, kh), st.integers(1, kw)) | st.just((0, 0)))
        for _ in range(4)
    ]
    for f, size in enumerate(sizes):
        op = reduce_kernels(op, [f], size)
    assert kernel_sizes(op).tolist() == [list(size) for size in sizes]


def test_sizes_hold_taps_off_the_centre() -> None:
    weight = np.zeros((2, 1, 5, 5))
    weight[0, 0, 2, 4] = 1
    weight[1, 0, 1, 2] = 1
    assert kernel_sizes(Conv(weight, np.zeros(2))).tolist() == [[1, 5], [2, 1]]


def _layer(seed: int, kernel: tuple[int, int], groups: int = 1) -> tuple[Conv, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((4, 3, *kernel))
    op = Conv(weight, rng.standard_normal(4), pads=(1, 2, 1, 0), groups=groups)
    x = rng.standard_normal((6, 3 * groups, 9, 8))
    smooth = x + np.roll(x, 1, axis=2) + np.roll(x, 1, axis=3) + 0.5
    return op, smooth


def _white(op: Conv) -> Moments:
    """Moments of inputs without any correlation."""
    groups, entries = op.groups, op.weight[0].size
    flat = op.weight.reshape(len(op.weight), -1)
    return Moments(
        1000,
        np.tile(np.eye(entries), (groups, 1, 1, 1)),
        flat.copy(),
        np.zeros((groups, entries)),
        op.bias.copy(),
        (flat**2).sum(axis=1),
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_the_crop_is_the_best_for_white_input(groups: int) -> None:
    op, _ = _layer(1, (5, 3), groups)
    crop = reduce_kernels(op, range(4), (3, 1))
    best = reduce_kernels(op, range(4), (3, 1), _white(op))
    np.testing.assert_allclose(best.weight, crop.weight, atol=1e-12)
    np.testing.assert_allclose(best.bias, crop.bias, atol=1e-12)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(3, 3), (5, 5), (1, 4), (4, 2), (6, 7)]),
    st.sampled_from([1, 2]),
)
@settings(derandomize=True, max_examples=20, deadline=None)
def test_reduced_kernels_are_nearer_than_cropped_ones(
    seed: int, kernel: tuple[int, int], groups: int
) -> None:
    op, x = _layer(seed, kernel, groups)
    moments = patch_moments(op, x)
    for size in size_chain(kernel)[1:]:
        cropped = reduce_kernels(op, [0, 2], size)
        fitted = reduce_kernels(op, [0, 2], size, moments)
        outside = ~centred_mask(kernel, size)
        for each in (cropped, fitted):
            assert not each.weight[[0, 2]][..., outside].any()
            assert (each.weight[[1, 3]] == op.weight[[1, 3]]).all()
            assert (each.bias[[1, 3]] == op.bias[[1, 3]]).all()
            assert (each.strides, each.pads, each.groups) == (op.strides, op.pads, op.groups)
        assert (cropped.bias == op.bias).all()
        errors = [
            ((apply(each, [x]) - apply(op, [x])) ** 2).mean(axis=(0, 2, 3))[[0, 2]]
            for each in (fitted, cropped)
        ]
        assert (errors[0] <= errors[1] * (1 + 1e-9)).all()
    # removed: the mean is left
    np.testing.assert_allclose(
        fitted.bias[[0, 2]], apply(op, [x]).mean(axis=(0, 2, 3))[[0, 2]], atol=1e-9
    )


def test_zeros_that_a_layer_has_stay() -> None:
    op, x = _layer(2, (3, 3))
    once = restrict_taps(op, range(4), np.eye(3, dtype=bool), patch_moments(op, x))
    twice = reduce_kernels(once, range(4), (3, 1), patch_moments(op, x))
    assert ((twice.weight != 0) == (np.eye(3) * [0, 1, 0] != 0)).all()
    with pytest.raises(ValueError, match=r"Taps must have the shape \(3, 3\) of the kernel"):
        restrict_taps(op, [0], np.ones((2, 3), dtype=bool))


@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 3), (4, 5)]), st.sampled_from([1, 2]))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_errors_are_those_of_the_reduced_layer(
    seed: int, kernel: tuple[int, int], groups: int
) -> None:
    op, x = _layer(seed, kernel, groups)
    moments = patch_moments(op, x)
    sizes = size_chain(kernel)
    found = kernel_errors(op, moments, sizes, damping=2)
    ridge = 2 * np.einsum("gbii->g", moments.second) / moments.count
    for index, size in enumerate(sizes):
        reduced = reduce_kernels(op, range(4), size, moments, damping=2)
        far = ((reduced.weight - op.weight) ** 2).sum(axis=(1, 2, 3))
        expected = moments.errors(reduced.weight) + np.repeat(ridge, 4 // groups) * far
        np.testing.assert_allclose(found[:, index], expected, rtol=1e-9, atol=1e-9)
    assert (np.diff(found, axis=1) >= -1e-9).all()
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-9)
    np.testing.assert_allclose(
        kernel_errors(op, moments, sizes, damping=0)[:, -1], moments.output_variance, rtol=1e-5
    )


def test_a_tile_has_one_placement_the_best() -> None:
    op, x = _layer(3, (5, 5))
    moments = patch_moments(op, x)
    tile = [0, 1, 3]
    found = best_placement(op, tile, (3, 2), moments)

    def error(mask: np.ndarray) -> float:
        layer = fit_weights(op, np.broadcast_to(mask, op.weight.shape), moments)
        return float(moments.errors(layer.weight)[tile].sum())

    masks = [placed_mask((5, 5), (3, 2), corner) for corner in placements((5, 5), (3, 2))]
    assert found.sum() == 6
    np.testing.assert_allclose(error(found), min(map(error, masks)), rtol=1e-3)
    # nothing to choose between: the centre
    even = Conv(np.ones((1, 1, 5, 5)), np.zeros(1))
    assert (best_placement(even, [0], (3, 3), _white(even)) == centred_mask((5, 5), (3, 3))).all()


def _ordered(errors: Callable[[np.ndarray], float], *, away: bool) -> list[float]:
    """Errors of 0, 1, ... of six taps that go or come one after the other by trying them all."""
    mask = np.full((2, 3), away)
    found = [errors(mask)]
    while (mask == away).any():
        trials = []
        for tap in np.argwhere(mask == away):
            other = mask.copy()
            other[tuple(tap)] = not away
            trials.append((errors(other), tuple(tap)))
        error, tap = min(trials)
        mask[tap] = not away
        found.append(error)
    return found[::-1] if away else found


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.booleans())
@settings(derandomize=True, max_examples=10, deadline=None)
def test_taps_are_the_better_of_those_that_come_and_those_that_are_left(
    seed: int, groups: int, sparse: bool
) -> None:
    op, x = _layer(seed, (2, 3), groups)
    if sparse:
        mask = np.random.default_rng(seed).random(op.weight.shape) < 0.7
        op = replace(op, weight=op.weight * mask)
    moments = patch_moments(op, x)
    filters = [0, 1, 3]
    found = choose_taps(op, filters, moments)
    damped = Damped.of(op, moments, DAMPING)

    def error(taps: np.ndarray) -> float:
        mask = ((op.weight != 0) & taps).reshape(4, -1)
        return float(damped.errors(filters, mask).sum())

    for count, (mask, expected) in enumerate(zip(found.masks, found.errors, strict=True)):
        assert mask.sum() == count
        np.testing.assert_allclose(error(mask), expected, rtol=1e-6, atol=1e-6)
    best = np.minimum(_ordered(error, away=True), _ordered(error, away=False))
    np.testing.assert_allclose(found.errors, best, rtol=1e-6, atol=1e-6)


def test_blocks_of_long_patches_have_taps_too() -> None:
    op, x = _layer(5, (2, 2))
    accumulator = Accumulator(op, most_entries=5)
    accumulator.add(x)
    moments = accumulator.moments()
    found = choose_taps(op, range(4), moments)
    damped = Damped.of(op, moments, DAMPING)
    for mask, expected in zip(found.masks, found.errors, strict=True):
        flat = np.broadcast_to(mask, op.weight.shape).reshape(4, -1)
        np.testing.assert_allclose(damped.errors(range(4), flat).sum(), expected, atol=1e-9)


def test_dense_and_depthwise_layers_are_kernels_too() -> None:
    rng = np.random.default_rng(4)
    dense = Conv(rng.standard_normal((3, 2, 4, 4)), np.zeros(3))
    x = rng.standard_normal((40, 2, 4, 4)).cumsum(axis=2)
    found = reduce_kernels(dense, range(3), (3, 3), patch_moments(dense, x))
    assert kernel_sizes(found).tolist() == [[3, 3]] * 3
    depthwise = Conv(rng.standard_normal((2, 1, 3, 3)), np.zeros(2), (2, 2), (1,) * 4, (2, 2), 2)
    x = rng.standard_normal((3, 2, 9, 9)).cumsum(axis=3)
    moments = patch_moments(depthwise, x)
    found = reduce_kernels(depthwise, range(2), (1, 3), moments, keep_gain="filter")
    assert apply(found, [x]).shape == apply(depthwise, [x]).shape
    np.testing.assert_allclose(
        found.weight.sum(axis=(1, 2, 3)), depthwise.weight.sum(axis=(1, 2, 3))
    )
