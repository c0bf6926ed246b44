"""Window generator: line buffers, padding, strides and dilation of a streamed feature map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.network.types import Pads, Pair, Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import pixel_layout, pixel_signature, range_shape
from hwgen.stream.lines import line_buffer, stored_fields, stored_pixel
from hwgen.stream.position import Position
from hwgen.stream.scan import Scan

__all__ = ["Window"]


class Window(wiring.Component):
    """Sliding window over a stream of pixels.

    Takes frames of pixels in raster order and gives, for each output position in raster order, all
    ``KH * KW * C`` values under the kernel. Values outside the frame are ``fill``.

    One beat a cycle, :py:`scan.beats` beats a frame: nearly always one for each pixel, plus, after
    the last pixel, the beats that shift in the bottom padding and the right padding of the last
    row. Those need no input and take none, so the last windows of a frame come out without a next
    frame. A window is given one cycle after the beat that completes it. While ``o`` waits, nothing
    moves.

    The rows above the current one lie in one memory with one read and one write port: a word holds
    the pixels of ``KH - 1`` rows at one column, is read one beat ahead, and is written back shifted
    by one row. Taps that can fall in the padding are masked as they enter the window's registers.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the frames.
    kernel, strides, pads, dilations
        As in :class:`hwgen.integer.Conv`.
    ranges : sequence of :class:`Range`
        Range of each input channel.
    fill : sequence of int
        Value of each channel in the padding; 0 by default.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout))`
        Pixels, fields ``c0, c1, ...``.
    o : :py:`Out(stream.Signature(StructLayout))`
        Windows, fields ``w0, w1, ...``; field ``(c * KH + r) * KW + s`` is channel c, row r,
        column s.
    """

    def __init__(
        self,
        shape: Shape,
        kernel: Pair,
        strides: Pair = (1, 1),
        pads: Pads = (0, 0, 0, 0),
        dilations: Pair = (1, 1),
        *,
        ranges: Sequence[Range],
        fill: Sequence[int] | None = None,
    ) -> None:
        self.scan = Scan(shape[1], shape[2], kernel, strides, pads, dilations)
        self.shape = shape
        self.ranges = tuple(ranges)
        self.fill = (0,) * shape[0] if fill is None else tuple(fill)
        if len(self.ranges) != shape[0] or len(self.fill) != shape[0]:
            raise ValueError(
                f"Window over {shape[0]} channels has {len(self.ranges)} ranges and "
                f"{len(self.fill)} fill values"
            )
        super().__init__(
            {
                "i": In(pixel_signature(self.ranges)),
                "o": Out(stream.Signature(pixel_layout(self.output_ranges, prefix="w"))),
            }
        )

    @property
    def output_shape(self) -> Shape:
        """Fields, rows and columns of the windows of one frame."""
        kh, kw = self.scan.kernel
        return (self.shape[0] * kh * kw, *self.scan.out_size)

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of each field of a window."""
        rows, columns = self.scan.inside(0), self.scan.inside(1)
        result = []
        for channel, fill in zip(self.ranges, self.fill, strict=True):
            for row in rows:
                for column in columns:
                    if not (row.any() and column.any()):
                        result.append(Range(fill, fill))
                    elif row.all() and column.all():
                        result.append(channel)
                    else:
                        result.append(channel.union(Range(fill, fill)))
        return tuple(result)

    @property
    def latency(self) -> int:
        """Cycles from the first beat of a frame to its first window, at full rate.

        The first beat takes the first pixel unless padding is wider than the kernel.
        """
        return self.scan.first + 1

    @property
    def interval(self) -> int:
        """Cycles a frame at full rate."""
        return self.scan.beats

    @property
    def memory_bits(self) -> int:
        """Bits of the line buffer."""
        rows, depth = self.scan.kernel[0] - 1, self.scan.dilations[0] * self.scan.row
        return rows * depth * self._pixel_width() if depth > 1 else 0

    def model(self, x: IntArray) -> IntArray:
        """Windows (N, C * KH * KW, OH, OW) of frames ``x`` (N, C, H, W)."""
        scan = self.scan
        top, left, bottom, right = scan.pads
        (oh, ow), (sh, sw), (dh, dw) = scan.out_size, scan.strides, scan.dilations
        count, channels, height, width = x.shape
        padded = np.empty(
            (count, channels, top + height + bottom, left + width + right), dtype=np.int64
        )
        padded[:] = np.array(self.fill).reshape(1, -1, 1, 1)
        padded[:, :, top : top + height, left : left + width] = x
        taps = [
            padded[
                :,
                :,
                r * dh : r * dh + (oh - 1) * sh + 1 : sh,
                s * dw : s * dw + (ow - 1) * sw + 1 : sw,
            ]
            for r in range(scan.kernel[0])
            for s in range(scan.kernel[1])
        ]
        return np.stack(taps, axis=2).reshape(count, *self.output_shape)

    def _stored(self) -> tuple[Range, ...]:
        """Range of each channel in the window's registers."""
        padded = not (self.scan.inside(0).all() and self.scan.inside(1).all())
        return tuple(
            r.union(Range(f, f)) if padded else r
            for r, f in zip(self.ranges, self.fill, strict=True)
        )

    def _pixel_width(self) -> int:
        return sum(r.width for r in self._stored())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        scan = self.scan
        kh, kw = scan.kernel

        # One clock enable for all; a beat also needs a pixel, unless it is one of padding (and even
        # the padding before the first pixel waits for it: no frame begins before its first pixel).
        ce, go = Signal(), Signal()
        position = Position(m, scan, go)
        take, give = position.takes(), position.gives()
        m.d.comb += [
            ce.eq(self.o.ready | ~self.o.valid),
            go.eq(ce & (self.i.valid | ~(take | position.leads()))),
            self.i.ready.eq(ce & take),
        ]
        with m.If(ce):
            m.d.sync += self.o.valid.eq(go & give)

        stored = self._stored()
        pixel = stored_pixel(self.i.payload, stored)
        fill = Cat(Const(f, range_shape(r)) for f, r in zip(self.fill, stored, strict=True))
        above = line_buffer(m, go, pixel, rows=kh - 1, depth=scan.dilations[0] * scan.row)

        # Rows enter masked (the mask of a row is constant while it enters); columns are masked on
        # their way into a tap, because one pixel is inside for one tap and outside for another.
        column_inside = scan.inside(1)
        column_masks = {s: position.column_mask(s) for s in range(kw) if not column_inside[s].all()}
        taps: dict[tuple[int, int], Value] = {}
        for r, value in enumerate([*above, pixel]):
            entering: Value = Mux(position.row_mask(r), value, fill)
            for d in reversed(range(scan.extent[1])):
                s, between = divmod(d, scan.dilations[1])
                masked = not between and s in column_masks
                if masked:
                    taps[r, s] = tap = Signal(
                        self._pixel_width(), name=f"tap_r{r}_s{s}", reset_less=True
                    )
                    with m.If(go):
                        m.d.sync += tap.eq(Mux(column_masks[s], entering, fill))
                if d or not masked:
                    register = Signal(self._pixel_width(), name=f"row{r}_{d}", reset_less=True)
                    with m.If(go):
                        m.d.sync += register.eq(entering)
                    entering = register
                    if not between and not masked:
                        taps[r, s] = register

        for (r, s), tap in taps.items():
            for c, value in enumerate(stored_fields(tap, stored)):
                m.d.comb += self.o.payload[f"w{(c * kh + r) * kw + s}"].eq(value)
        return m
