"""What every streaming block shares: pixel payloads and the control of a fixed-latency pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, stream

from hwgen.numeric import IntArray, Range

__all__ = [
    "Pipeline",
    "Registers",
    "clamped",
    "delayed_flags",
    "in_turns",
    "lookup",
    "next_count",
    "pixel_layout",
    "pixel_signature",
    "range_shape",
    "union",
]


def range_shape(r: Range) -> Shape:
    """Amaranth shape that holds exactly the values of a range."""
    return signed(r.width) if r.signed else unsigned(r.width)


def union(ranges: Iterable[Range]) -> Range:
    """Smallest range that holds all of ``ranges``."""
    ranges = tuple(ranges)
    return Range(min(r.lo for r in ranges), max(r.hi for r in ranges))


def pixel_layout(ranges: Sequence[Range], *, prefix: str = "c") -> data.StructLayout:
    """Payload of one pixel: field ``c0, c1, ...`` a channel, each exactly as wide as its range."""
    return data.StructLayout({f"{prefix}{k}": range_shape(r) for k, r in enumerate(ranges)})


def in_turns(frames: IntArray) -> IntArray:
    """Frames (N, C, H, W) whose pixels pass one channel a beat: frames (N, 1, H * W * C, 1)."""
    return frames.transpose(0, 2, 3, 1).reshape(len(frames), 1, -1, 1)


def pixel_signature(ranges: Sequence[Range]) -> stream.Signature:
    """Stream of pixels with the given range a channel."""
    return stream.Signature(pixel_layout(ranges))


class Registers:
    """Data registers that share one clock enable and have no reset.

    Parameters
    ----------
    m : :class:`Module`
        Module under construction.
    ce : Signal
        Clock enable.
    """

    def __init__(self, m: Module, ce: Signal) -> None:
        self.ce = ce
        self._m = m

    def register(self, value: ValueLike, shape: Any, *, name: str) -> Signal:
        """Return a data register that takes ``value`` in each enabled cycle."""
        register = Signal(shape, name=name, reset_less=True)
        with self._m.If(self.ce):
            self._m.d.sync += register.eq(value)
        return register

    def wire(self, value: Value, *, name: str) -> Signal:
        """``value`` under a name: an expression becomes logic each time that it is read."""
        wire = Signal(value.shape(), name=name)
        self._m.d.comb += wire.eq(value)
        return wire

    def delay(self, value: Value, cycles: int, *, name: str) -> Value:
        """``value``, ``cycles`` enabled cycles later."""
        for cycle in range(cycles):
            value = self.register(value, value.shape(), name=f"{name}_d{cycle + 1}")
        return value


class Pipeline(Registers):
    """Control and registers of a block of fixed latency that stalls as a whole.

    The clock enable is high unless a finished item waits at ``o``. Bubbles advance. The valid bits
    are reset.

    Parameters
    ----------
    m : :class:`Module`
        Module under construction.
    i, o : stream interfaces
        Input and output; ``i.ready``, ``o.valid`` and the enable are driven here.
    latency : int
        Cycles from an accepted input to its output, at least 1.
    """

    def __init__(self, m: Module, i: Any, o: Any, *, latency: int) -> None:
        if latency < 1:
            raise ValueError(f"Latency must be at least 1, not {latency!r}")
        super().__init__(m, Signal(name="ce"))
        valid = Signal(latency, name="valid")
        m.d.comb += [
            self.ce.eq(~o.valid | o.ready),
            i.ready.eq(self.ce),
            o.valid.eq(valid[-1]),
        ]
        with m.If(self.ce):
            m.d.sync += valid.eq(Cat(i.valid, valid[:-1]))


def clamped(value: Value, r: Range, lo: int, hi: int) -> Value:
    """``saturate(value, lo, hi)`` of a signal that holds the range ``r``; its tests are minimal."""
    shape = range_shape(r.clamp(lo, hi))
    result = value
    if r.lo < lo:
        result = Mux(_below(value, r, lo), Const(lo, shape), result)
    if r.hi > hi:
        result = Mux(_above(value, r, hi), Const(hi, shape), result)
    return result


def _below(value: Value, r: Range, lo: int) -> Value:
    if lo == 0:
        return value[-1]
    if lo < 0 and -lo & (-lo - 1) == 0:
        return value[-1] & ~value[(-lo).bit_length() - 1 : -1].all()
    return value < lo


def _above(value: Value, r: Range, hi: int) -> Value:
    if hi >= 0 and hi & (hi + 1) == 0:
        if r.signed:
            return ~value[-1] & value[hi.bit_length() : -1].any()
        return value[hi.bit_length() :].any()
    return value > hi


def lookup(m: Module, index: Value, table: IntArray, *, name: str) -> Signal:
    """``table[index]`` as logic; the commonest entry is the default."""
    value = Signal(range(int(table.max()) + 1), name=name)
    default = int(np.bincount(table).argmax())
    m.d.comb += value.eq(default)
    with m.Switch(index):
        for entry in sorted(set(table.tolist()) - {default}):
            with m.Case(*np.flatnonzero(table == entry).tolist()):
                m.d.comb += value.eq(entry)
    return value


def next_count(counter: Signal, count: int) -> Value:
    """What a counter of 0 to ``count - 1`` holds next."""
    return Mux(counter == count - 1, 0, counter + 1)


def delayed_flags(m: Module, ce: Value, flag: Value, cycles: int) -> list[Value]:
    """``flag``, and the same 1, 2, ... ``cycles`` enabled cycles later."""
    delayed = Signal(cycles, name=f"{flag.name}_d")
    with m.If(ce):
        m.d.sync += delayed.eq(Cat(flag, delayed[:-1]))
    return [flag, *delayed]
