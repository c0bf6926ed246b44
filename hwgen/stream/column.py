"""Columns of a streamed feature map: what a convolution needs of one pixel's column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import pixel_layout, pixel_signature
from hwgen.stream.lines import line_buffer, stored_fields, stored_pixel
from hwgen.stream.position import Position
from hwgen.stream.scan import Scan

__all__ = ["Column"]


class Column(wiring.Component):
    """The column of ``KH`` pixels under a kernel, at every beat of its scan.

    Where :class:`hwgen.stream.window.Window` keeps ``KH * KW`` pixels and gives windows, this keeps
    ``KH`` and gives one column a beat, ``scan.beats`` columns a frame, so that
    :class:`hwgen.stream.chain.Chain` can pair each with the others of a window. Rows outside the
    frame are 0; a beat without a pixel column of the frame gives any values.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the frames.
    scan : Scan
        Of the convolution.
    ranges : sequence of :class:`Range`
        Range of each input channel.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout))`
        Pixels, fields ``c0, c1, ...``.
    o : :py:`Out(stream.Signature(StructLayout))`
        Columns, fields ``w0, w1, ...``; field ``c * KH + r`` is channel c, row r of the kernel.
    """

    def __init__(self, shape: Shape, scan: Scan, *, ranges: Sequence[Range]) -> None:
        self.shape, self.scan, self.ranges = shape, scan, tuple(ranges)
        if len(self.ranges) != shape[0] or shape[1:] != (scan.height, scan.width):
            raise ValueError(
                f"Columns of {len(self.ranges)} x {scan.height} x {scan.width} cannot be those of "
                f"a frame of {' x '.join(map(str, shape))}"
            )
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(stream.Signature(pixel_layout(self.output_ranges, prefix="w"))),
            }
        )

    @property
    def output_shape(self) -> Shape:
        """Fields, rows and columns of what a frame gives: a row of one column a beat."""
        return (self.shape[0] * self.scan.kernel[0], 1, self.scan.beats)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each field where the column is in the frame."""
        zero = Range(0, 0)
        rows = self.scan.inside(0)
        return tuple(
            channel if row.all() else channel.union(zero) if row.any() else zero
            for channel in self.ranges
            for row in rows
        )

    @property
    def latency(self) -> int:
        """Cycles from a beat to its column."""
        return 1

    def model(self, x: IntArray) -> IntArray:
        """Columns (N, C * KH, 1, beats) of frames ``x`` (N, C, H, W), 0 where any value may be."""
        scan = self.scan
        kh, dilation = scan.kernel[0], scan.dilations[0]
        vertical, horizontal = scan.lead
        count, channels, height, width = x.shape
        rows = -(-scan.beats // scan.row)
        out = np.zeros((count, channels, kh, rows, scan.row), dtype=np.int64)
        for r in range(kh):
            for v in range(rows):
                y = v - vertical - (kh - 1 - r) * dilation
                if 0 <= y < height:
                    out[:, :, r, v, horizontal : horizontal + width] = x[:, :, y]
        return out.reshape(count, channels * kh, 1, -1)[..., : scan.beats]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        scan = self.scan
        kh = scan.kernel[0]
        ce, go = Signal(), Signal()
        position = Position(m, scan, go)
        take = position.takes()
        m.d.comb += [
            ce.eq(self.o.ready | ~self.o.valid),
            go.eq(ce & (self.i.valid | ~(take | position.leads()))),
            self.i.ready.eq(ce & take),
        ]
        with m.If(ce):
            m.d.sync += self.o.valid.eq(go)

        padded = not scan.inside(0).all()
        stored = [r.union(Range(0, 0)) if padded else r for r in self.ranges]
        pixel = stored_pixel(self.i.payload, stored)
        above = line_buffer(m, go, pixel, rows=kh - 1, depth=scan.dilations[0] * scan.row)
        for r, entering in enumerate([*above, pixel]):
            column = Signal(len(pixel), name=f"column_r{r}", reset_less=True)
            with m.If(go):
                m.d.sync += column.eq(Mux(position.row_mask(r), entering, Const(0)))
            for c, value in enumerate(stored_fields(column, stored)):
                m.d.comb += self.o.payload[f"w{c * kh + r}"].eq(value)
        return m
