"""Blocks of weights that a tile skips together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.network.types import Conv
from hwgen.slim.tiles import tile_blocks, without_weakest


@st.composite
def _layers(draw: st.DrawFn) -> Conv:
    groups = draw(st.integers(1, 3))
    shape = (groups * draw(st.integers(1, 6)), *(draw(st.integers(1, 5)) for _ in range(3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Conv(rng.normal(size=shape), np.zeros(shape[0]), groups=groups)


@given(_layers(), st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_blocks_are_those_of_a_plain_loop(op: Conv, tn: int, ti: int, kernels: bool) -> None:
    blocks = tile_blocks(op, (tn, ti), kernels=kernels)
    per_group = len(op.weight) // op.groups
    members: dict[int, set[tuple[int, ...]]] = {}
    for index in np.ndindex(*op.weight.shape):
        n, i, ky, kx = index
        tap = () if kernels else (ky, kx)
        members.setdefault(int(blocks[index]), set()).add(
            (n // per_group, n % per_group // tn, i // ti, *tap)
        )
    assert sorted(members) == list(range(len(members)))
    assert all(len(places) == 1 for places in members.values())
    assert len(set.union(*members.values())) == len(members)


@given(_layers(), st.floats(0, 1), st.booleans())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_the_weakest_blocks_go_whole(op: Conv, share: float, kernels: bool) -> None:
    blocks = tile_blocks(op, (2, 3), kernels=kernels)
    left = without_weakest(op, blocks, share)
    kept = np.bincount(blocks.ravel(), weights=(left != 0).ravel())
    sizes = np.bincount(blocks.ravel())
    assert set((kept / sizes).tolist()) <= {0.0, 1.0}
    assert np.count_nonzero(kept == 0) == round(share * len(sizes))
    energy = np.bincount(blocks.ravel(), weights=op.weight.ravel() ** 2)
    if 0 < np.count_nonzero(kept) < len(kept):
        assert energy[kept == 0].max() <= energy[kept > 0].min()
    assert np.array_equal(left, np.where(left != 0, op.weight, 0.0))
