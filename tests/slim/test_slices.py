"""What kernels of single channels are worth, against errors of the layer without them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slim_networks import plain

from hwgen.approx.moments import patch_moments
from hwgen.network.types import Conv
from hwgen.slim._damped import Damped
from hwgen.slim.kernels import centred_mask
from hwgen.slim.moves import SliceMove, after, describe, dump_moves, load_moves, start
from hwgen.slim.slices import slice_increases, slice_work

SIZES = ((1, 1), (0, 0))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]))
def test_increases_are_those_of_the_layer_without_each_slice(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    op = Conv(rng.standard_normal((4, 4 // groups, 3, 3)), np.zeros(4), groups=groups)
    x = rng.standard_normal((12, 4, 6, 6))
    damped = Damped.of(op, patch_moments(op, x), 10.0)
    mask = rng.random(op.weight.shape) < 0.8
    flat = mask.reshape(4, -1)
    now = damped.errors(range(4), flat)
    for size, increases in slice_increases(damped, mask, SIZES).items():
        taps = centred_mask((3, 3), size)
        for f, c in np.ndindex(mask.shape[:2]):
            if not (mask[f, c] & ~taps).any():
                assert increases[f, c] == np.inf
                continue
            less = mask.copy()
            less[f, c] &= taps
            error = damped.errors([f], less.reshape(4, -1))[f]
            assert increases[f, c] == pytest.approx(error - now[f], rel=1e-6, abs=1e-9)


def test_work_grows_with_the_cube_of_a_filter() -> None:
    assert slice_work(np.ones((2, 3, 1, 1), dtype=bool)) == 2 * 27
    assert slice_work(np.ones((1, 6, 1, 1), dtype=bool)) == 216


def test_a_slice_is_one_channel_of_one_filter() -> None:
    network = plain()
    layer = next(node.name for node, op in network.convs() if op.weight.shape[1] > 1)
    before = start(network)
    kernel = before.masks[layer].shape[2:]
    move = SliceMove(layer, ((0, 1), (2, 0)), (1, 1))
    mask = after(network, before, [move]).masks[layer]
    centre = centred_mask((kernel[0], kernel[1]), (1, 1))
    for f, c in np.ndindex(mask.shape[:2]):
        wanted = centre if (f, c) in move.slices else np.ones_like(centre)
        assert (mask[f, c] == (wanted & before.masks[layer][f, c])).all()
    assert load_moves(dump_moves([move])) == (move,)
    assert describe(move) == f"{layer}: 2 kernels to 1x1"
    assert describe(SliceMove(layer, ((0, 0),), (0, 0))) == f"{layer}: 1 kernel removed"


@pytest.mark.parametrize("slices", [((99, 0),), ((0, 99),), ((0, -1),)])
def test_slices_that_are_not_there_are_refused(slices: tuple[tuple[int, int], ...]) -> None:
    network = plain()
    layer = next(node.name for node, _ in network.convs())
    with pytest.raises(ValueError, match="must be from 0 to"):
        after(network, start(network), [SliceMove(layer, slices, (0, 0))])
