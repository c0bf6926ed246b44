"""Window generator: line buffers, padding, strides and dilation of a streamed feature map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.network.types import Pads, Pair, Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import pixel_layout, pixel_signature, range_shape
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
        depth, word = self._buffer()
        return depth * word if depth > 1 else 0

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

    def _buffer(self) -> tuple[int, int]:
        """(words, bits of a word) of the line buffer."""
        rows = self.scan.kernel[0] - 1
        return (self.scan.dilations[0] * self.scan.row if rows else 0, rows * self._pixel_width())

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
        position = _Position(m, scan, go)
        m.d.comb += [
            ce.eq(self.o.ready | ~self.o.valid),
            go.eq(ce & (self.i.valid | ~position.waits)),
            self.i.ready.eq(ce & position.take),
        ]
        with m.If(ce):
            m.d.sync += self.o.valid.eq(go & position.give)

        stored = self._stored()
        pixel = Cat(_resize(self.i.payload[f"c{k}"], r) for k, r in enumerate(stored))
        fill = Cat(Const(f, range_shape(r)) for f, r in zip(self.fill, stored, strict=True))
        above = self._line_buffer(m, go, position, pixel)

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

        offset = 0
        for c, stored_range in enumerate(stored):
            for r in range(kh):
                for s in range(kw):
                    bits = taps[r, s][offset : offset + stored_range.width]
                    value = bits.as_signed() if stored_range.signed else bits
                    m.d.comb += self.o.payload[f"w{(c * kh + r) * kw + s}"].eq(value)
            offset += stored_range.width
        return m

    def _line_buffer(self, m: Module, go: Signal, position: _Position, pixel: Value) -> list[Value]:
        """Pixels of the rows above the current beat, the uppermost first."""
        depth, width = self._buffer()
        if not depth:
            return []
        step = len(pixel)
        # The memory is read one beat ahead; the read word stands until the next beat.
        if depth == 1:
            word = Signal(width, name="word", reset_less=True)
        else:
            m.submodules.lines = lines = memory.Memory(shape=width, depth=depth, init=[])
            read = lines.read_port()
            write = lines.write_port()
            word = read.data
            address = Signal(range(depth))
            following = Signal(range(depth))
            m.d.comb += following.eq(Mux(address == depth - 1, 0, address + 1))
            with m.If(go):
                m.d.sync += address.eq(following)
        shifted = Cat(pixel, word)[:width]
        if depth == 1:
            with m.If(go):
                m.d.sync += word.eq(shifted)
        else:
            m.d.comb += [
                read.addr.eq(following),
                read.en.eq(go),
                write.addr.eq(address),
                write.data.eq(shifted),
                write.en.eq(go),
            ]
        rows = [word[k : k + step] for k in range(0, width, step)]
        return rows[::-1]


class _Position:
    """Counters of the scan and the flags of the current beat, all registered.

    ``u`` counts the beats of a row, ``v`` the rows. Flags follow a counter by changing where it
    passes certain values, so none is decoded in the beat that uses it.
    """

    def __init__(self, m: Module, scan: Scan, go: Signal) -> None:
        self._m, self._scan = m, scan
        self._rows = -(-scan.beats // scan.row)
        last_v, last_u = divmod(scan.beats - 1, scan.row)
        self._u = u = Signal(range(scan.row), name="u")
        self._v = v = Signal(range(self._rows), name="v")
        last, row_end = Signal(), Signal()
        m.d.comb += [
            last.eq((u == last_u) & (v == last_v)),
            row_end.eq(last | (u == scan.row - 1)),
        ]
        self._x_step, self._x_restart = go, row_end
        self._y_step, self._y_restart = Signal(name="y_step"), last
        m.d.comb += self._y_step.eq(go & row_end)
        with m.If(self._x_step):
            m.d.sync += u.eq(Mux(row_end, 0, u + 1))
        with m.If(self._y_step):
            m.d.sync += v.eq(Mux(last, 0, v + 1))
        self.take = self._takes()
        self.waits = self.take | self._leads()
        self.give = self._gives()

    def _along_row(self, values: Sequence[bool], name: str) -> Value:
        return _follow(self._m, self._x_step, self._x_restart, self._u, values, name)

    def _along_column(self, values: Sequence[bool], name: str) -> Value:
        return _follow(self._m, self._y_step, self._y_restart, self._v, values, name)

    def _takes(self) -> Value:
        scan = self._scan
        top, left = scan.lead
        in_row = [left <= u < left + scan.width for u in range(scan.row)]
        in_column = [top <= v < top + scan.height for v in range(self._rows)]
        return self._along_row(in_row, "take_u") & self._along_column(in_column, "take_v")

    def _leads(self) -> Value:
        m, (top, left) = self._m, self._scan.lead
        beats = top * self._scan.row + left
        if beats == 0:
            return Const(0)
        leads = Signal(name="leads", init=1)
        end_v, end_u = divmod(beats - 1, self._scan.row)
        with m.If(self._x_step):
            with m.If((self._u == end_u) & (self._v == end_v)):
                m.d.sync += leads.eq(0)
            with m.If(self._y_restart):
                m.d.sync += leads.eq(1)
        return leads

    def _gives(self) -> Value:
        m, scan = self._m, self._scan
        (oh, ow), (sh, sw) = scan.out_size, scan.strides
        first_v, first_u = divmod(scan.first, scan.row)
        give_u = self._every(
            self._x_step, self._x_restart, self._u, scan.row, first_u, sw, ow, "give_u"
        )
        give_v = self._every(
            self._y_step, self._y_restart, self._v, self._rows, first_v, sh, oh, "give_v"
        )
        if first_u + (ow - 1) * sw < scan.row:
            return give_u & give_v
        # The last windows of a row are complete while the next row enters.
        before = Signal(name="give_row_above")
        with m.If(self._y_step):
            m.d.sync += before.eq(give_v)
        above = self._along_row([u < first_u for u in range(scan.row)], "above")
        return give_u & Mux(above, before, give_v)

    def _every(
        self,
        step: Value,
        restart: Value,
        counter: Signal,
        period: int,
        start: int,
        stride: int,
        count: int,
        name: str,
    ) -> Value:
        """Flag high at ``count`` values of the counter, ``stride`` apart from ``start``, cyclic."""
        m = self._m
        reach = (count - 1) * stride
        span = _follow(
            m, step, restart, counter, [(k - start) % period <= reach for k in range(period)], name
        )
        if stride == 1 or count == 1:
            return span
        phase = Signal(range(stride), name=f"{name}_phase")
        with m.If(step):
            m.d.sync += phase.eq(Mux(phase == stride - 1, 0, phase + 1))
            with m.If(restart if start == 0 else counter == start - 1):
                m.d.sync += phase.eq(0)
        return span & (phase == 0)

    def row_mask(self, r: int) -> Value:
        """Whether row ``r`` of the entering column is in the frame."""
        scan = self._scan
        if scan.inside(0)[r].all():
            return Const(1)
        top = scan.lead[0] + (scan.kernel[0] - 1 - r) * scan.dilations[0]
        inside = [top <= v < top + scan.height for v in range(self._rows)]
        return self._along_column(inside, f"inside_r{r}")

    def column_mask(self, s: int) -> Value:
        """Whether tap column ``s`` of the window that this beat completes is in the frame."""
        scan = self._scan
        first = scan.first % scan.row
        offset = s * scan.dilations[1] - scan.pads[1]
        inside = [0 <= (u - first) % scan.row + offset < scan.width for u in range(scan.row)]
        return self._along_row(inside, f"inside_s{s}")


def _follow(
    m: Module,
    step: Value,
    restart: Value,
    counter: Signal,
    values: Sequence[bool],
    name: str,
) -> Value:
    """Register that equals ``values[counter]``; the counter advances or restarts at ``step``."""
    if all(v == values[0] for v in values):
        return Const(int(values[0]))
    flag = Signal(name=name, init=int(values[0]))
    with m.If(step):
        for k in range(len(values) - 1):
            if values[k + 1] != values[k]:
                with m.If(counter == k):
                    m.d.sync += flag.eq(int(values[k + 1]))
        with m.If(restart):
            m.d.sync += flag.eq(int(values[0]))
    return flag


def _resize(value: Value, bounds: Range) -> Value:
    """``value`` as the bits of a field of range ``bounds``."""
    value = Value.cast(value)
    if bounds.signed and not value.shape().signed:
        value = Cat(value, Const(0, 1)).as_signed()
    extra = bounds.width - len(value)
    if extra <= 0:
        return value[: bounds.width]
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(extra))
