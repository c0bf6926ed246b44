"""Branches of a network: fork, joins that add or concatenate, and the buffer that balances them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Add as AddOp
from hwgen.integer.types import Concat as ConcatOp
from hwgen.numeric import IntArray, Range
from hwgen.stream.common import pixel_signature, range_shape
from hwgen.stream.shiftsum import shifted_left, sum_shifted

__all__ = ["Add", "Buffer", "Concat", "Fork"]


class Fork(wiring.Component):
    """One stream copied to several, each of which takes an item when it likes.

    An item leaves ``i`` in the cycle in which the last branch takes it; a branch that took it
    earlier sees nothing until then. Combinational, one item a cycle while all branches are ready.
    ``o*.valid`` depends on ``i.valid`` and on no ready, ``i.ready`` on every ``o*.ready``.

    Parameters
    ----------
    layout : :class:`amaranth.lib.data.StructLayout`
        Payload.
    n : int
        Number of branches, at least 1.

    Members
    -------
    i : :py:`In(stream.Signature(layout))`
    o0, o1, ... : :py:`Out(stream.Signature(layout))`
    """

    latency = 0

    def __init__(self, layout: data.StructLayout, n: int) -> None:
        if n < 1:
            raise ValueError(f"Fork needs at least one branch, not {n!r}")
        self.layout = layout
        self.n = n
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                **{f"o{k}": Out(stream.Signature(layout)) for k in range(n)},
            }
        )

    def model(self, x: IntArray) -> tuple[IntArray, ...]:
        """Frames of each branch."""
        return (x,) * self.n

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done = Signal(self.n)
        served = Signal(self.n)
        for k in range(self.n):
            branch = getattr(self, f"o{k}")
            m.d.comb += [
                branch.payload.eq(self.i.payload),
                branch.valid.eq(self.i.valid & ~done[k]),
                served[k].eq(done[k] | branch.ready),
            ]
        m.d.comb += self.i.ready.eq(served.all())
        with m.If(self.i.valid):
            m.d.sync += done.eq(served)
            with m.If(served.all()):
                m.d.sync += done.eq(0)
        return m


class _Join(wiring.Component):
    """Common part of the joins: one registered item from one item of every input.

    Accepts one pixel of all inputs a cycle, all in the same cycle; the latency is 1. Each output
    channel has its range in ``output_ranges``.
    """

    latency = 1

    def __init__(self, ranges: Sequence[Sequence[Range]], output_ranges: Sequence[Range]) -> None:
        self.ranges = tuple(tuple(r) for r in ranges)
        self.output_ranges = tuple(output_ranges)
        super().__init__(
            {
                **{f"i{k}": In(pixel_signature(r)) for k, r in enumerate(self.ranges)},
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    def _input(self, k: int, channel: int, shift: int) -> Value:
        return shifted_left(getattr(self, f"i{k}").payload[f"c{channel}"], shift)

    def _registered(self, values: Sequence[Value]) -> Module:
        """The join whose output channels are ``values`` of the inputs, registered."""
        m = Module()
        inputs = [getattr(self, f"i{k}") for k in range(len(self.ranges))]
        room = Signal()
        take = Signal()
        m.d.comb += [
            room.eq(~self.o.valid | self.o.ready),
            take.eq(room & Cat(i.valid for i in inputs).all()),
            *(i.ready.eq(take) for i in inputs),
        ]
        with m.If(room):
            m.d.sync += self.o.valid.eq(take)
        for k, (value, r) in enumerate(zip(values, self.output_ranges, strict=True)):
            register = Signal(range_shape(r), name=f"y{k}", reset_less=True)
            m.d.comb += self.o.payload[f"c{k}"].eq(register)
            with m.If(room):
                m.d.sync += register.eq(value)
        return m


class Add(_Join):
    """Join ``y = sum_k x_k << shifts[k]``, exact, a channel.

    Accepts one pixel of every input a cycle; the latency is one cycle.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.Add`
        Shift of each input.
    ranges : sequence of sequences of Range
        Ranges of the channels of each input.

    Members
    -------
    i0, i1, ... : :py:`In(pixel_signature(ranges[k]))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(self, op: AddOp, *, ranges: Sequence[Sequence[Range]]) -> None:
        _check(op.shifts, ranges)
        if len({len(r) for r in ranges}) != 1:
            raise ValueError("Added tensors must have equally many channels")
        self.op = op
        totals = []
        for channel in zip(*ranges, strict=True):
            total = Range(0, 0)
            for r, shift in zip(channel, op.shifts, strict=True):
                total += r.scale(1 << shift)
            totals.append(total)
        super().__init__(ranges, totals)

    def model(self, *x: IntArray) -> IntArray:
        """Sum of frames (N, C, H, W)."""
        return sum(
            (np.left_shift(v, s) for v, s in zip(x, self.op.shifts, strict=True)),
            np.zeros_like(x[0]),
        )

    def elaborate(self, platform: object) -> Module:
        results = []
        for channel in range(len(self.ranges[0])):
            shifts = sorted((shift, k) for k, shift in enumerate(self.op.shifts))
            low, first = shifts[0]
            total = self._input(first, channel, 0)
            for shift, k in shifts[1:]:
                total = sum_shifted(total, self._input(k, channel, 0), shift - low)
            results.append(shifted_left(total, low))
        return self._registered(results)


class Concat(_Join):
    """Join of the channels of ``x_0 << shifts[0]``, then of ``x_1 << shifts[1]``, ...

    Accepts one pixel of every input a cycle; the latency is one cycle.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.Concat`
        Shift of each input.
    ranges : sequence of sequences of Range
        Ranges of the channels of each input.

    Members
    -------
    i0, i1, ... : :py:`In(pixel_signature(ranges[k]))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(self, op: ConcatOp, *, ranges: Sequence[Sequence[Range]]) -> None:
        _check(op.shifts, ranges)
        self.op = op
        shifted = zip(ranges, op.shifts, strict=True)
        super().__init__(
            ranges, [r.scale(1 << shift) for channels, shift in shifted for r in channels]
        )

    def model(self, *x: IntArray) -> IntArray:
        """Concatenation of frames (N, C, H, W)."""
        shifted = zip(x, self.op.shifts, strict=True)
        return np.concatenate([np.left_shift(v, s) for v, s in shifted], axis=1)

    def elaborate(self, platform: object) -> Module:
        return self._registered(
            [
                self._input(k, channel, shift)
                for k, shift in enumerate(self.op.shifts)
                for channel in range(len(self.ranges[k]))
            ]
        )


def _check(shifts: Sequence[int], ranges: Sequence[Sequence[Range]]) -> None:
    if len(shifts) != len(ranges) or not shifts:
        raise ValueError(f"Join needs one shift an input, not {len(shifts)} for {len(ranges)}")
    if min(shifts) < 0:
        raise ValueError(f"Shifts of a join must not be negative, not {tuple(shifts)}")


class Buffer(wiring.Component):
    """First in, first out queue of ``depth`` items; a deep one lies in block RAM.

    One item a cycle in and out. ``i.ready`` and ``o.valid`` depend on nothing combinationally: the
    queue cuts both chains. An item reaches ``o`` one cycle after it was accepted in a queue of two
    registers (``depth`` 2), and two cycles after it in a deeper one, which is a memory.

    Parameters
    ----------
    layout : :class:`amaranth.lib.data.StructLayout`
        Payload.
    depth : int
        Items that fit, at least 2.

    Members
    -------
    i : :py:`In(stream.Signature(layout))`
    o : :py:`Out(stream.Signature(layout))`
    """

    def __init__(self, layout: data.StructLayout, depth: int) -> None:
        if depth < 2:
            raise ValueError(f"Buffer depth must be at least 2, not {depth!r}")
        self.layout = layout
        self.depth = depth
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    @property
    def latency(self) -> int:
        """Cycles from an item accepted by an empty queue to the same item at ``o``."""
        return 1 if self.depth == 2 else 2

    def model(self, x: IntArray) -> IntArray:
        """The same items."""
        return x

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.depth == 2:
            self._registers(m)
            return m
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=self.layout.size, depth=self.depth)
        m.d.comb += [
            queue.w_data.eq(self.i.payload.as_value()),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.o.payload.as_value().eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m

    def _registers(self, m: Module) -> None:
        head = Signal(self.layout.size, reset_less=True)
        tail = Signal(self.layout.size, reset_less=True)
        waiting = Signal()
        m.d.comb += [
            self.i.ready.eq(~waiting),
            self.o.payload.as_value().eq(head),
        ]
        with m.If(~waiting):
            m.d.sync += tail.eq(self.i.payload.as_value())
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                head.eq(Mux(waiting, tail, self.i.payload.as_value())),
                self.o.valid.eq(waiting | self.i.valid),
                waiting.eq(0),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += waiting.eq(1)
