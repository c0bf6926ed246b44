"""Patches of a feature map, pixel after pixel, out of one circular memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import IntArray, Range
from hwgen.stream.common import lookup, next_count, pixel_layout, pixel_signature
from hwgen.stream.product import with_carry
from hwgen.stream.scan import Scan
from hwgen.stream.supply import Supply, tap_reads

__all__ = ["Patches"]


@dataclass(frozen=True)
class _Loop:
    """One of the nested loops over a patch: how often, and how far apart in the memory."""

    name: str
    count: int
    distance: int


class Patches(wiring.Component):
    """Memory of the newest pixels of a stream, and the walk over the patches of a scan in it.

    Each patch is read ``batches`` times, tap after tap in raster order, and each tap ``abreast``
    channels after as many (:func:`tap_reads`). With ``serial``, channels come one after the other,
    and a word of the memory holds as many as are read at once; otherwise it holds all of them and
    stays for as many cycles as that takes.

    A cycle with :py:`running` and :py:`ce` is a step. Flags tell of the step itself, ``word``,
    read from memory, of the step before.

    Parameters
    ----------
    scan : :class:`Scan`
        Patches and their order.
    ranges : sequence of :class:`Range`
        Range of each field of ``i``.
    channels : int
        Channels read of each tap.
    batches : int
        Times that a patch is read.
    abreast : int
        Channels read at once, at most ``channels``.
    serial : sequence of int
        Only if channels come one a beat: of each batch, the first of the channels that it reads,
        a multiple of ``channels``; ``beats`` is then the number of all.
    beats : int
        Beats of a pixel.

    Members
    -------
    i : :py:`In(pixel_signature(ranges))`
    ce : :py:`In(1)`
    running : :py:`Out(1)`
        Whether there is a patch to read.
    last : :py:`Out(1)`
        Whether the step is the last of a batch.
    inside : :py:`Out(1)`
        Whether the tap lies in the frame.
    read : :py:`Out(range(len(tap_reads(channels, abreast))))`
        Which of the reads of a tap it is; 0 if channels come one a beat.
    batch : :py:`Out(range(batches))`
    word : :py:`Out(pixel_layout(ranges))`, of ``abreast`` fields if channels come one a beat
    """

    def __init__(
        self,
        scan: Scan,
        *,
        ranges: Sequence[Range],
        channels: int,
        batches: int,
        abreast: int = 1,
        serial: Sequence[int] = (),
        beats: int = 1,
    ) -> None:
        self.scan = scan
        self.reads = len(tap_reads(channels, abreast))
        self.supply = (
            Supply.of_turns(scan, beats=beats, channels=channels, abreast=abreast)
            if serial
            else Supply(scan)
        )
        self.channels = channels
        self.batches = batches
        self.abreast = abreast
        self.serial = tuple(first // channels * self.reads for first in serial)
        super().__init__(
            {
                "i": In(pixel_signature(ranges)),
                "ce": In(1),
                "running": Out(1),
                "last": Out(1),
                "inside": Out(1),
                "read": Out(range(1 if serial else self.reads)),
                "batch": Out(range(batches)),
                "word": Out(pixel_layout(list(ranges) * abreast if serial else ranges)),
            }
        )

    @property
    def masked(self) -> bool:
        """Whether taps can lie outside the frame."""
        return any(self._masked)

    @property
    def _masked(self) -> tuple[bool, bool]:
        return (not self.scan.inside(0).all(), not self.scan.inside(1).all())

    @property
    def _loops(self) -> tuple[_Loop, ...]:
        """Loops over a patch, innermost first.

        A loop that goes on where the one inside it ends is one with it, unless its count matters.
        """
        scan, words = self.scan, self.supply.words
        (kh, kw), (dh, dw) = scan.kernel, scan.dilations
        nest = (
            _Loop("read", self.reads, 1 if self.serial else 0),
            _Loop("column", kw, dw * words),
            _Loop("row", kh, dh * scan.width * words),
        )
        counts = (not self.serial, self._masked[1], self._masked[0])
        loops: list[_Loop] = []
        joins = False
        for loop, matters in zip(nest, counts, strict=True):
            if loop.count == 1:
                continue
            inner = loops[-1] if loops else loop
            if joins and not matters and loop.distance == inner.count * inner.distance:
                loops[-1] = _Loop(inner.name, inner.count * loop.count, inner.distance)
                continue
            loops.append(loop)
            joins = not matters
        return tuple(loops)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step, moves = Signal(), Signal()
        ends: list[Value] = [Const(1)]
        counters: dict[str, Signal] = {}
        for loop in self._loops:
            counters[loop.name] = counter = Signal(range(loop.count), name=loop.name)
            with m.If(step & ends[-1]):
                m.d.sync += counter.eq(next_count(counter, loop.count))
            ends.append(ends[-1] & (counter == loop.count - 1))
        m.d.comb += [
            step.eq(self.running & self.ce),
            self.last.eq(ends[-1]),
            moves.eq(step & self.last & (self.batch == self.batches - 1)),
        ]
        if not self.serial and "read" in counters:
            m.d.comb += self.read.eq(counters["read"])
        with m.If(step & self.last):
            m.d.sync += self.batch.eq(next_count(self.batch, self.batches))
        position = self._position(m, moves)
        self._mask(m, counters, position)
        self._flow(m, moves, position)
        self._memory(m, self._address(m, step, moves, ends, position))
        return m

    def _position(self, m: Module, moves: Value) -> tuple[Signal, Signal]:
        """Row and column of the patch among all."""
        rows, columns = self.scan.out_size
        y, x = Signal(range(rows)), Signal(range(columns))
        with m.If(moves):
            m.d.sync += x.eq(next_count(x, columns))
            with m.If(x == columns - 1):
                m.d.sync += y.eq(next_count(y, rows))
        return y, x

    def _mask(
        self, m: Module, counters: Mapping[str, Signal], position: tuple[Signal, Signal]
    ) -> None:
        """Tell whether the tap lies in the frame."""
        flags = []
        for axis, name in enumerate(("row", "column")):
            table = self.scan.inside(axis).astype(np.int64)
            found = {
                tap: lookup(m, position[axis], places, name=f"{name}{tap}_inside")
                for tap, places in enumerate(table)
                if not places.all()
            }
            inside = Signal(name=f"inside_{name}", init=1)
            with m.Switch(counters.get(name, Const(0))):
                for tap, flag in found.items():
                    with m.Case(tap):
                        m.d.comb += inside.eq(flag)
            flags.append(inside)
        m.d.comb += self.inside.eq(flags[0] & flags[1])

    def _flow(self, m: Module, moves: Value, position: tuple[Signal, Signal]) -> None:
        """Count the beats beyond those that the patch needs, negative while some are missing."""
        supply = self.supply
        most = int(supply.advances.max())
        ahead = Signal(signed(max(supply.slack, most).bit_length() + 1), init=-supply.first)
        # modulo its width, and with the beat that came as a carry: one addition, not two
        table = -supply.advances % (1 << len(ahead))
        needs = self._by_position(m, table, position, name="needs")
        m.d.comb += [self.running.eq(ahead >= 0), self.i.ready.eq(ahead < supply.slack)]
        took = Signal()
        m.d.comb += took.eq(self.i.valid & self.i.ready)
        m.d.sync += ahead.eq(with_carry(ahead, Mux(moves, needs, 0), took))

    def _by_position(
        self, m: Module, table: IntArray, position: tuple[Signal, Signal], *, name: str
    ) -> Value:
        """Entry of a table (OH * OW,) of the current position; rows that are alike share logic."""
        y, x = position
        rows, kinds = np.unique(table.reshape(self.scan.out_size), axis=0, return_inverse=True)
        kind = lookup(m, y, kinds.reshape(-1), name=f"{name}_kind")
        entries = [lookup(m, x, row, name=f"{name}{k}") for k, row in enumerate(rows)]
        value = entries[0]
        for k, entry in enumerate(entries[1:], 1):
            value = Mux(kind == k, entry, value)
        return value

    def _address(
        self,
        m: Module,
        step: Value,
        moves: Value,
        ends: Sequence[Value],
        position: tuple[Signal, Signal],
    ) -> Signal:
        """Address of the step: that of the step before and a constant, wrapped at a power of two.

        A batch starts where its patch does, or so many words later.
        """
        depth, words = self.supply.depth, self.supply.words
        width = (depth - 1).bit_length()
        top, left = self.scan.pads[:2]
        starts = np.array(self.serial or [0] * self.batches)
        origin = int(starts[0]) - (top * self.scan.width + left) * words
        start = Signal(width, init=origin % depth)
        address = Signal(width, init=origin % depth)

        jumps = self._jumps() * words - int(starts[-1] - starts[0])
        jump = self._by_position(m, jumps % depth, position, name="jump")
        shifts = np.append(np.diff(starts), 0)
        shift = lookup(m, self.batch, shifts, name="shift")
        begin = Signal(width)
        m.d.comb += begin.eq(start + Mux(moves, jump, shift))

        further = Signal(width)
        within = 0
        for loop, end in zip(self._loops, ends, strict=False):
            with m.If(end):
                m.d.comb += further.eq((loop.distance - within) % depth)
            within += (loop.count - 1) * loop.distance
        with m.If(step):
            m.d.sync += address.eq(address + further)
            with m.If(self.last):
                m.d.sync += [start.eq(begin), address.eq(begin)]
        return address

    def _jumps(self) -> IntArray:
        """Pixels from the corner of each patch (OH * OW,) to that of the next."""
        (rows, columns), (sh, sw) = self.scan.out_size, self.scan.strides
        frame, width = self.scan.height * self.scan.width, self.scan.width
        corners = np.arange(rows)[:, None] * sh * width + np.arange(columns) * sw
        jumps: IntArray = np.diff(corners.ravel(), append=frame)
        return jumps

    def _memory(self, m: Module, address: Signal) -> None:
        depth = self.supply.depth
        m.submodules.pixels = pixels = memory.Memory(shape=self.word.shape(), depth=depth, init=[])
        write, read = pixels.write_port(), pixels.read_port()
        written = Signal(range(depth))
        take = self.i.valid & self.i.ready
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self._newest(m, take)),
            write.en.eq(take & self._completes(m, take)),
            read.addr.eq(address),
            read.en.eq(self.ce),
            self.word.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(written + 1)

    def _newest(self, m: Module, take: Value) -> Value:
        """The pixel that comes; or the last ``abreast`` channels, oldest first."""
        if not self.serial:
            return self.i.payload.as_value()
        values: list[Value] = [self.i.payload.c0]
        for k in range(1, self.abreast):
            held = Signal(values[0].shape(), name=f"held{k}", reset_less=True)
            with m.If(take):
                m.d.sync += held.eq(values[0])
            values.insert(0, held)
        return Cat(values)

    def _completes(self, m: Module, take: Value) -> Value:
        """Whether the channel that comes is the last of a word."""
        if self.abreast == 1 or not self.serial:
            return Const(1)
        channel = Signal(range(self.channels))
        with m.If(take):
            m.d.sync += channel.eq(next_count(channel, self.channels))
        ends = np.zeros(self.channels, dtype=np.int64)
        ends[[first + self.abreast - 1 for first in tap_reads(self.channels, self.abreast)]] = 1
        return lookup(m, channel, ends, name="completes")
