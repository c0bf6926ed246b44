"""Predicted errors against fitting the layer again without the maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.approx.moments import Accumulator, Moments, patch_moments, patches
from hwgen.network.types import Conv
from hwgen.slim import _damped
from hwgen.slim._damped import Damped
from hwgen.slim.feature_errors import FeatureErrors, feature_errors
from hwgen.slim.fitting import DAMPING, fit_weights


def layer(rng: np.random.Generator, groups: int, *, holes: bool) -> Conv:
    weight = rng.standard_normal((6, 6 // groups, 3, 3))
    if holes:  # filters of several patterns
        weight[::2, :, 0] = 0
        weight[1, 0] = 0
    return Conv(weight, rng.standard_normal(6), pads=(1, 0, 1, 1), groups=groups)


def pictures(rng: np.random.Generator) -> np.ndarray:
    mix = np.eye(6) + 0.2 * rng.standard_normal((6, 6))
    return np.einsum("ncyx,cd->ndyx", rng.standard_normal((6, 6, 7, 7)), mix) + 0.5


def without(op: Conv, channels: list[int]) -> np.ndarray:
    """Where weights are when no filter reads the channels of the input any more."""
    mask = op.weight != 0
    depth, filters = op.weight.shape[1], len(op.weight) // op.groups
    for channel in channels:
        group, within = divmod(channel, depth)
        mask[group * filters : (group + 1) * filters, within] = False
    return mask


def together(op: Conv, moments: Moments, block: list[int], damping: float = DAMPING) -> float:
    """The error without all channels of a block, dropped one after the other, relative."""
    errors = FeatureErrors(Damped.of(op, moments, damping), op.weight != 0, np.ones(len(op.weight)))
    total = 0.0
    for channel in block:
        total += errors.increases()[channel]
        errors.drop(channel)
        assert not errors.read[channel]
    return total / float(moments.output_variance.sum())


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([1, 2, 6]), st.booleans(), st.sampled_from([0.1, 100.0])
)
def test_errors_are_those_of_fitting_again(
    seed: int, groups: int, holes: bool, damping: float
) -> None:
    rng = np.random.default_rng(seed)
    op, x = layer(rng, groups, holes=holes), pictures(rng)
    seen = x + 0.1 * rng.standard_normal(x.shape)
    moments = patch_moments(op, x, seen)
    blocks = [[0], [3], [5, 1], [0, 2, 4], [], list(range(6))]
    found = [together(op, moments, block, damping) for block in blocks]
    damped = Damped.of(op, moments, damping)
    before = damped.errors(range(6), (op.weight != 0).reshape(6, -1))
    for block, error in zip(blocks, found, strict=True):
        after = damped.errors(range(6), without(op, block).reshape(6, -1))
        wanted = (after - before).sum() / moments.output_variance.sum()
        assert error == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    single = feature_errors(op, moments, damping=damping)
    alone = [together(op, moments, [c], damping) for c in range(6)]
    np.testing.assert_allclose(single, alone)
    np.testing.assert_allclose(single[[0, 3]], found[:2])


@settings(derandomize=True, max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]))
def test_without_damping_they_are_errors_of_the_output(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    op, x = layer(rng, groups, holes=False), pictures(rng)
    moments = patch_moments(op, x)
    for block in ([1], [2, 3]):
        with pytest.MonkeyPatch.context() as patch:
            # nearly singular moments notice the ridge that guards against float32
            patch.setattr(_damped, "_LEAST_RIDGE", 1e-9)
            error = together(op, moments, block, 0.0)
        slim = fit_weights(op, without(op, block), moments, damping=0.0)
        columns = patches(op, x)
        outputs = [
            np.matmul(each.weight.reshape(groups, 6 // groups, -1), columns).reshape(6, -1)
            + each.bias[:, None]
            for each in (op, slim)
        ]
        wanted = np.square(outputs[0] - outputs[1]).mean(axis=1).sum()
        assert error == pytest.approx(wanted / moments.output_variance.sum(), rel=1e-4)


def test_copies_cost_nothing_one_at_a_time_only() -> None:
    rng = np.random.default_rng(3)
    op, x = layer(rng, 1, holes=False), pictures(rng)
    x[:, 4] = x[:, 1]
    moments = patch_moments(op, x)
    assert (feature_errors(op, moments, damping=1e-3)[[1, 4]] < 1e-4).all()
    assert together(op, moments, [1, 4], 1e-3) > 0.02


def test_patches_that_are_cut_into_blocks() -> None:
    rng = np.random.default_rng(4)
    op, x = layer(rng, 1, holes=False), pictures(rng)

    def cut(most: int) -> Moments:
        sums = Accumulator(op, most_entries=most)
        sums.add(x)
        return sums.moments()

    moments = cut(20)  # a block ends within a channel
    assert moments.second.shape[1:3] == (3, 18)
    damped = Damped.of(op, moments, 0.1)
    present = np.ones((6, 54), dtype=bool)
    for block in ([0], [2, 5]):
        wanted = damped.errors(range(6), without(op, block).reshape(6, -1)) - damped.errors(
            range(6), present
        )
        error = together(op, moments, block)
        assert error == pytest.approx(wanted.sum() / moments.output_variance.sum(), rel=1e-6)
