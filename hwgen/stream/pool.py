# amaranth: UnusedElaboratable=no
"""Pooling: what turns the windows of a feature map into maxima or sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Mux, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.columns import window_columns
from hwgen.integer.types import MaxPool, SumPool
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import Pipeline, pixel_layout, pixel_signature, range_shape
from hwgen.stream.window import Window

__all__ = ["MaxTree", "pool_fields", "pool_window", "sum_matrix"]


def pool_window(op: MaxPool | SumPool, *, ranges: Sequence[Range], shape: Shape) -> Window:
    """Window generator of a pool.

    The padding of a maximum is each channel's least value, which never wins; that of a sum is 0.
    """
    if isinstance(op, MaxPool):
        channels = shape[0] // op.pixels
        least = [min(r.lo for r in ranges[c::channels]) for c in range(channels)] * op.pixels
        kernel, strides, pads, dilations = op.kernel, op.strides, op.pads, op.dilations
        if op.pixels > 1:
            columns = window_columns(op, shape[2] * op.pixels)
            kernel, dilations = (kernel[0], columns.kernel_out), (dilations[0], 1)
            strides = (strides[0], columns.stride_out)
            pads = (pads[0], columns.left_out, pads[2], columns.right_out)
        return Window(shape, kernel, strides, pads, dilations, ranges=ranges, fill=least)
    return Window(shape, op.kernel, op.strides, op.pads, ranges=ranges)


def pool_fields(op: MaxPool, shape: Shape) -> tuple[tuple[int, ...], ...]:
    """Fields of a window of :func:`pool_window` that each output is the greatest of.

    ``shape`` is that of the tensor before the window.
    """
    columns = window_columns(op, shape[2] * op.pixels)
    channels, kh = shape[0] // op.pixels, op.kernel[0]
    places = [
        [columns.place(k, tap) for tap in range(op.kernel[1])] for k in range(columns.pixels_out)
    ]
    return tuple(
        tuple(
            ((column * channels + c) * kh + r) * columns.kernel_out + group
            for r in range(kh)
            for group, column in row
        )
        for row in places
        for c in range(channels)
    )


def sum_matrix(op: SumPool, channels: int) -> IntArray:
    """Matrix (channels * KH * KW, channels) of zeros and ones that sums each channel's window."""
    kh, kw = op.kernel
    return np.repeat(np.eye(channels, dtype=np.int64), kh * kw, axis=0)


class MaxTree(wiring.Component):
    """Maximum of each channel's window.

    Accepts one window a cycle; the latency is :py:`latency` cycles, one comparison a cycle in a
    balanced tree. The whole tree stalls while ``o`` waits.

    Parameters
    ----------
    fields : sequence of sequences of int
        Fields of a window that each output is the greatest of, as many for each.
    ranges : sequence of :class:`Range`
        Range of each field of a window.
    shape : (int, int, int)
        Fields, rows and columns of the windows of one frame.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout))`
        Windows, fields ``w0, w1, ...``.
    o : :py:`Out(pixel_signature(output_ranges))`
        Pixels, fields ``c0, c1, ...``.
    """

    def __init__(
        self, fields: Sequence[Sequence[int]], *, ranges: Sequence[Range], shape: Shape
    ) -> None:
        self.fields = tuple(map(tuple, fields))
        self.taps = len(self.fields[0]) if self.fields else 0
        most = max(map(max, self.fields), default=0) if self.taps else 0
        even = all(len(each) == self.taps for each in self.fields)
        if not self.taps or not even or len(ranges) != shape[0] or most >= shape[0]:
            raise ValueError(
                f"Windows of {shape[0]} fields and {len(ranges)} ranges do not hold {self.taps} "
                f"taps for each of {len(self.fields)} outputs"
            )
        self.ranges = tuple(ranges)
        self.shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(pixel_layout(self.ranges, prefix="w"))),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each channel."""
        return tuple(_greatest([self.ranges[k] for k in each]) for each in self.fields)

    @property
    def output_shape(self) -> Shape:
        """Channels, rows and columns of the frames given."""
        return (len(self.fields), *self.shape[1:])

    @property
    def latency(self) -> int:
        """Cycles from a window to its maxima."""
        return max(1, (self.taps - 1).bit_length())

    def model(self, x: IntArray) -> IntArray:
        """Maxima (N, outputs, H, W) of windows ``x`` (N, fields, H, W)."""
        maxima: IntArray = x[:, np.array(self.fields)].max(axis=2)
        return maxima

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.i, self.o, latency=self.latency)
        for channel, fields in enumerate(self.fields):
            nodes: list[tuple[Value, Range]] = [
                (self.i.payload[f"w{k}"], self.ranges[k]) for k in fields
            ]
            for level in range(self.latency):
                pairs = [nodes[k : k + 2] for k in range(0, len(nodes), 2)]
                nodes = [
                    _register_greater(pipeline, pair, f"max{channel}_{level}_{k}")
                    for k, pair in enumerate(pairs)
                ]
            m.d.comb += self.o.payload[f"c{channel}"].eq(nodes[0][0])
        return m


def _greatest(ranges: Sequence[Range]) -> Range:
    return Range(max(r.lo for r in ranges), max(r.hi for r in ranges))


def _register_greater(
    pipeline: Pipeline, pair: Sequence[tuple[Value, Range]], name: str
) -> tuple[Value, Range]:
    bounds = _greatest([r for _, r in pair])
    value = pair[0][0]
    if len(pair) == 2:
        other = pair[1][0]
        value = Mux(value >= other, value, other)
    return pipeline.register(value, range_shape(bounds), name=name), bounds
