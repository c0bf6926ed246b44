# amaranth: UnusedElaboratable=no
"""Window and tree of a pool against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from streambench import run_stream

from hwgen.integer.types import MaxPool, SumPool
from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature
from hwgen.stream.pool import MaxTree, pool_fields, pool_window, sum_matrix

RANGES = (Range(0, 255), Range(-8, 7), Range(-9, -3), Range(5, 5))


class Pool(wiring.Component):
    """A window generator and a tree, connected."""

    def __init__(self, op: MaxPool, shape: tuple[int, int, int]) -> None:
        self.window = pool_window(op, ranges=RANGES[: shape[0]], shape=shape)
        fields = pool_fields(op, shape)
        window = self.window
        self.tree = MaxTree(fields, ranges=window.output_ranges, shape=window.output_shape)
        self.latency = self.window.latency + self.tree.latency
        super().__init__(
            {
                "i": In(pixel_signature(self.window.ranges)),
                "o": Out(pixel_signature(self.tree.output_ranges)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.window, m.submodules.tree = self.window, self.tree
        wiring.connect(m, wiring.flipped(self.i), self.window.i)
        wiring.connect(m, self.window.o, self.tree.i)
        wiring.connect(m, self.tree.o, wiring.flipped(self.o))
        return m


OPS = {
    "2x2": (MaxPool((2, 2), (2, 2)), (3, 6, 4)),
    "3x3_padded": (MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), (4, 5, 6)),
    "1x1": (MaxPool((1, 1), (2, 1)), (2, 4, 3)),
    "dilated": (MaxPool((2, 3), (1, 1), (0, 1, 1, 2), (2, 1)), (2, 5, 4)),
    "ceil": (MaxPool((3, 2), (3, 2), (0, 0, 2, 1)), (1, 4, 5)),
}


@pytest.mark.parametrize("case", OPS)
@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.3, 0.4)], ids=str)
def test_max_pool(case: str, stalls: tuple[float, float]) -> None:
    op, shape = OPS[case]
    rng = np.random.default_rng(1)
    ranges = RANGES[: shape[0]]
    low, high = (np.array([[[getattr(r, e)]] for r in ranges]) for e in ("lo", "hi"))
    x = rng.integers(low, high + 1, (3, *shape))
    x[0] = low
    pad = op.pads
    padded = np.pad(
        x, ((0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])), constant_values=-(1 << 40)
    )
    extent = [d * (k - 1) + 1 for k, d in zip(op.kernel, op.dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(2, 3))
    windows = windows[:, :, :: op.strides[0], :: op.strides[1]]
    windows = windows[..., :: op.dilations[0], :: op.dilations[1]]
    golden = windows.max(axis=(4, 5))
    pool = Pool(op, shape)
    np.testing.assert_array_equal(pool.tree.model(pool.window.model(x)), golden)
    run = run_stream(
        pool,
        x,
        expected=golden,
        stall_in=stalls[0],
        stall_out=stalls[1],
        deadline=2000,
        drain=100,
    )
    if not any(stalls):
        assert run.produced[0] == pool.latency
    low = [r.lo for r in pool.tree.output_ranges]
    assert low == [r.lo for r in ranges]


def test_sum_matrix() -> None:
    op = SumPool((2, 3), (1, 1), (0, 1, 0, 1))
    window = pool_window(op, ranges=RANGES[:2], shape=(2, 4, 4))
    x = np.random.default_rng(2).integers(0, 8, (2, 2, 4, 4))
    sums = np.einsum("nkhw,kc->nchw", window.model(x), sum_matrix(op, 2))
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)))
    golden = np.lib.stride_tricks.sliding_window_view(padded, op.kernel, axis=(2, 3))
    np.testing.assert_array_equal(sums, golden.sum(axis=(4, 5)))


def test_bad_taps() -> None:
    for fields in ([], [()], [(0, 4)], [(0, 1), (2,)]):
        with pytest.raises(ValueError, match=r"do not hold \d taps for each"):
            MaxTree(fields, ranges=RANGES, shape=(4, 2, 2))
