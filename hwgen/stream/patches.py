"""Patches of a feature map, pixel after pixel, out of one circular memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import IntArray, Range
from hwgen.stream.common import lookup, next_count, pixel_layout, pixel_signature
from hwgen.stream.product import with_carry
from hwgen.stream.scan import Scan

__all__ = ["Patches", "Supply"]


@dataclass(frozen=True)
class Supply:
    """When the patches of a scan can be read, and how much memory that takes.

    A word is a pixel, or one of the ``words`` values of a pixel. Words arrive in raster order,
    frame after frame. A patch can be read once its last word inside the frame has arrived, and
    never before the first word of its frame; :py:`advances` counts from patch to patch how many
    more words that needs.
    """

    scan: Scan
    words: int = 1

    @cached_property
    def _until(self) -> IntArray:
        """Words of the frame that have arrived when each position (OH * OW,) can be read."""
        rows, columns = self._ends(0)[:, None], self._ends(1)
        pixels = np.where((rows > 0) & (columns > 0), (rows - 1) * self.scan.width + columns, 1)
        until: IntArray = np.maximum.accumulate(pixels.ravel()) * self.words
        return until

    @cached_property
    def _since(self) -> IntArray:
        """Words of the frame that no position (OH * OW,) from this one on reads."""
        rows, columns = self._starts(0)[:, None], self._starts(1)
        unread = self.scan.height * self.scan.width
        read = (rows < self.scan.height) & (columns < self.scan.width)
        pixels = np.where(read, rows * self.scan.width + columns, unread).ravel()
        since: IntArray = np.minimum.accumulate(pixels[::-1])[::-1] * self.words
        return since

    def _starts(self, axis: int) -> IntArray:
        """First row or column inside of each position along an axis; their number if none is."""
        size = (self.scan.height, self.scan.width)[axis]
        return np.where(self.scan.inside(axis), self._places(axis), size).min(axis=0)

    def _ends(self, axis: int) -> IntArray:
        """One past the last row or column inside of each position along an axis; 0 if none is."""
        return np.where(self.scan.inside(axis), self._places(axis) + 1, 0).max(axis=0)

    def _places(self, axis: int) -> IntArray:
        """Row or column of each tap at each position, (taps, positions), along an axis."""
        scan = self.scan
        starts = np.arange(scan.out_size[axis]) * scan.strides[axis] - scan.pads[axis]
        places: IntArray = np.arange(scan.kernel[axis])[:, None] * scan.dilations[axis] + starts
        return places

    @property
    def first(self) -> int:
        """Words that must arrive before the first patch of the first frame."""
        return int(self._until[0])

    @cached_property
    def advances(self) -> IntArray:
        """Further words that the patch after each position (OH * OW,) needs.

        Behind the last position follows the first of the next frame.
        """
        frame = self.scan.height * self.scan.width * self.words
        advances: IntArray = np.diff(self._until, append=frame + self._until[0])
        return advances

    @cached_property
    def span(self) -> int:
        """Most words between the oldest that a patch still needs and the last that it needs."""
        return int((self._until - np.minimum(self._since, self._until)).max())

    @cached_property
    def depth(self) -> int:
        """Words of the memory, a power of two.

        So many that while any patch is read, all that the next needs can arrive; only the change
        of frames may have to wait, except where a frame is one patch.
        """
        within = self.advances[:-1] if len(self.advances) > 1 else self.advances
        return 1 << (self.span + max(1, int(within.max())) - 1).bit_length()

    @property
    def slack(self) -> int:
        """Words that can arrive in advance of the patch that is read."""
        return self.depth - self.span


@dataclass(frozen=True)
class _Loop:
    """One of the nested loops over a patch: how often, and how far apart in the memory."""

    name: str
    count: int
    distance: int


class Patches(wiring.Component):
    """Memory of the newest pixels of a stream, and the walk over the patches of a scan in it.

    Each patch is read ``batches`` times, tap after tap in raster order, and each tap channel after
    channel. With ``serial``, channels come and lie in memory one after the other; otherwise a
    word holds all of them and stays for as many cycles.

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
    serial : sequence of int
        Only if channels come one a beat: of each batch, the first of the channels that it reads;
        ``words`` is then the number of all.
    words : int
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
    channel : :py:`Out(range(channels))`
        0 if channels come one a beat.
    batch : :py:`Out(range(batches))`
    word : :py:`Out(pixel_layout(ranges))`
    """

    def __init__(
        self,
        scan: Scan,
        *,
        ranges: Sequence[Range],
        channels: int,
        batches: int,
        serial: Sequence[int] = (),
        words: int = 1,
    ) -> None:
        self.scan = scan
        self.supply = Supply(scan, words)
        self.channels = channels
        self.batches = batches
        self.serial = tuple(serial)
        super().__init__(
            {
                "i": In(pixel_signature(ranges)),
                "ce": In(1),
                "running": Out(1),
                "last": Out(1),
                "inside": Out(1),
                "channel": Out(range(1 if serial else channels)),
                "batch": Out(range(batches)),
                "word": Out(pixel_layout(ranges)),
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
            _Loop("channel", self.channels, 1 if self.serial else 0),
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
        if not self.serial and "channel" in counters:
            m.d.comb += self.channel.eq(counters["channel"])
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
        """Count the words beyond those that the patch needs, negative while some are missing."""
        supply = self.supply
        most = int(supply.advances.max())
        ahead = Signal(signed(max(supply.slack, most).bit_length() + 1), init=-supply.first)
        # modulo its width, and with the word that came as a carry: one addition, not two
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

        A batch starts where its patch does, or so many channels later.
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
        m.submodules.pixels = pixels = memory.Memory(
            shape=self.i.payload.shape(), depth=depth, init=[]
        )
        write, read = pixels.write_port(), pixels.read_port()
        written = Signal(range(depth))
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(address),
            read.en.eq(self.ce),
            self.word.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += written.eq(written + 1)
