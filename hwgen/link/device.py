"""The board's side of the link: requests carried out, a streaming design fed and read."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwgen.link.framer import Framer
from hwgen.link.payload import design_info
from hwgen.link.protocol import CYCLES_BYTES, Command, ErrorCode, Info
from hwgen.stream.design import StreamDesign

__all__ = ["Device", "DeviceParameters"]

_LEAST_TIMEOUT = 0.05  # seconds


@dataclass(frozen=True)
class DeviceParameters:
    """What a device must know of its design and its clock.

    Parameters
    ----------
    info : :class:`Info`
        What it answers to a ``PING``.
    input_width, output_width : :class:`int`
        Bits of a pixel and of a word of the result.
    timeout : :class:`int`
        Cycles after which a frame that stopped is forgotten, a power of two.
    """

    info: Info
    input_width: int
    output_width: int
    timeout: int

    @classmethod
    def of(cls, design: StreamDesign, clock_hz: int) -> DeviceParameters:
        """Parameters of a device with ``design`` at ``clock_hz``, which waits 50 ms or more.

        Raises
        ------
        UnsupportedError
            If an image or a result is too large for a frame.
        """
        timeout = 1 << int(clock_hz * _LEAST_TIMEOUT).bit_length()
        return cls(
            design_info(design, clock_hz),
            design.input_layout.width,
            design.output_layout.width,
            timeout,
        )

    @property
    def output_words(self) -> int:
        """Words of a result."""
        return self.info.result_bytes // -(-self.output_width // 8)


class Device(wiring.Component):
    """Carries out the requests of :mod:`hwgen.link.protocol`.

    Pixels go to the design as they come; an ``IMAGE`` resets it before, so that an image that was
    broken off leaves nothing behind. The result waits until the image is known to be whole: a
    single word in the design, several in a memory here. A request that comes while the design works
    takes the place of the one before, which is not answered.

    Parameters
    ----------
    parameters : :class:`DeviceParameters`
        Sizes and constants.
    leds : :class:`int`
        Number of LEDs, at least 0.

    Members
    -------
    rx : :py:`In(stream.Signature(8, always_ready=True))`
        Bytes from the host.
    tx : :py:`Out(stream.Signature(8))`
        Bytes to the host.
    reset : :py:`Out(1)`
        Synchronous reset of the design.
    o : :py:`Out(stream.Signature(input_width))`
        Pixels for the design.
    i : :py:`In(stream.Signature(output_width))`
        Words from it.
    led : :py:`Out(leds)`
        Low bits of the last word that was sent, 0 before the first.
    """

    def __init__(self, parameters: DeviceParameters, *, leds: int = 0) -> None:
        if leds < 0:
            raise ValueError(f"Number of LEDs must not be negative, not {leds}")
        self.parameters = parameters
        self.leds = leds
        super().__init__(
            {
                "rx": In(stream.Signature(8, always_ready=True)),
                "tx": Out(stream.Signature(8)),
                "reset": Out(1),
                "o": Out(stream.Signature(parameters.input_width)),
                "i": In(stream.Signature(parameters.output_width)),
                "led": Out(leds),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.framer = framer = Framer(self.parameters.timeout)
        wiring.connect(m, wiring.flipped(self.rx), framer.rx)
        wiring.connect(m, framer.tx, wiring.flipped(self.tx))
        overrun = self._pixels(m, framer)
        words, full = self._words(m)
        cycles = self._count(m, full)

        owed, image, error = Signal(), Signal(), Signal(3)
        with m.If(overrun):
            m.d.sync += error.eq(ErrorCode.OVERRUN)
        with m.If(framer.opened):
            m.d.sync += [owed.eq(0), image.eq(0), error.eq(0)]
            with m.Switch(framer.command):
                with m.Case(Command.PING):
                    with m.If(framer.left != 0):
                        m.d.sync += error.eq(ErrorCode.LENGTH)
                with m.Case(Command.IMAGE):
                    with m.If(framer.left != self.parameters.info.image_bytes):
                        m.d.sync += error.eq(ErrorCode.LENGTH)
                    with m.Else():
                        m.d.sync += [image.eq(1), self.reset.eq(1)]
                with m.Case(Command.LOAD):
                    m.d.sync += error.eq(ErrorCode.UNSUPPORTED)
                with m.Default():
                    m.d.sync += error.eq(ErrorCode.COMMAND)
        with m.If(self.reset):
            m.d.sync += self.reset.eq(0)
        with m.If(framer.closed):
            m.d.sync += owed.eq(1)
            with m.If(~framer.good):
                m.d.sync += error.eq(ErrorCode.CHECKSUM)

        ready = full | ~image | (error != 0)
        m.d.comb += framer.start.eq(owed & ready & ~framer.busy)
        with m.If(framer.start):
            m.d.sync += owed.eq(0)
        self._answer(m, framer, image, error, words, cycles)
        return m

    def _pixels(self, m: Module, framer: Framer) -> Signal:
        """Pixels of the bytes that come; whether one comes before the last was taken."""
        size = -(-self.parameters.input_width // 8)
        pixel = Signal(8 * size, reset_less=True)
        whole, overrun = Signal(), Signal()
        m.d.comb += [
            self.o.payload.eq(pixel),
            overrun.eq(framer.data.valid & whole & ~self.o.ready),
        ]
        m.d.comb += self.o.valid.eq(whole)
        with m.If(self.o.ready | framer.opened):
            m.d.sync += whole.eq(0)
        with m.If(framer.data.valid):
            m.d.sync += pixel.eq(Cat(pixel, framer.data.payload)[8:])
        if size == 1:
            with m.If(framer.data.valid):
                m.d.sync += whole.eq(1)
            return overrun
        lane = Signal(range(size))
        with m.If(framer.opened):
            m.d.sync += lane.eq(0)
        with m.Elif(framer.data.valid):
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == size - 1):
                m.d.sync += [lane.eq(0), whole.eq(1)]
        return overrun

    def _words(self, m: Module) -> tuple[stream.Interface, Signal]:
        """Words of the result, and whether all of them are there."""
        count, width = self.parameters.output_words, self.parameters.output_width
        full = Signal()
        if count == 1:
            m.d.comb += full.eq(self.i.valid)
            return self.i, full
        fifo = SyncFIFOBuffered(width=width, depth=count)
        m.submodules.fifo = ResetInserter(self.reset)(fifo)
        wiring.connect(m, wiring.flipped(self.i), fifo.w_stream)
        m.d.comb += full.eq(fifo.level == count)
        return fifo.r_stream, full

    def _count(self, m: Module, full: Signal) -> Signal:
        """Cycles from the first pixel that the design takes until its result is there."""
        cycles, started = Signal(8 * CYCLES_BYTES), Signal()
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += started.eq(1)
        with m.If((started | (self.o.valid & self.o.ready)) & ~full):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(self.reset):
            m.d.sync += [cycles.eq(0), started.eq(0)]
        return cycles

    def _answer(
        self,
        m: Module,
        framer: Framer,
        image: Signal,
        error: Signal,
        words: stream.Interface,
        cycles: Signal,
    ) -> None:
        """What kind of answer goes, and its payload."""
        info = self.parameters.info
        constant = info.encode()
        word_bytes = -(-self.parameters.output_width // 8)
        head = CYCLES_BYTES
        lane = Signal(range(max(len(constant), head + word_bytes)))
        rom = Const(int.from_bytes(constant, "little"), 8 * len(constant))
        result = Signal(8 * (head + word_bytes))
        led = Signal(self.leds)
        at = Cat(Const(0, 3), lane)  # the bit at which the byte begins, without a multiplier
        m.d.comb += [
            result.eq(Cat(cycles, words.payload)),
            framer.payload.valid.eq(1),
            self.led.eq(led),
        ]
        with m.If(error != 0):
            m.d.comb += [
                framer.answer.eq(Command.ERROR),
                framer.size.eq(1),
                framer.payload.payload.eq(error),
            ]
        with m.Elif(image):
            m.d.comb += [
                framer.answer.eq(Command.RESULT),
                framer.size.eq(head + info.result_bytes),
                framer.payload.payload.eq(result.bit_select(at, 8)),
            ]
        with m.Else():
            m.d.comb += [
                framer.answer.eq(Command.INFO),
                framer.size.eq(len(constant)),
                framer.payload.payload.eq(rom.bit_select(at, 8)),
            ]
        with m.If(framer.start):
            m.d.sync += lane.eq(0)
        with m.Elif(framer.payload.ready):
            m.d.sync += lane.eq(lane + 1)
            with m.If(image & (error == 0) & (lane == head + word_bytes - 1)):
                m.d.comb += words.ready.eq(1)
                m.d.sync += [lane.eq(head), led.eq(words.payload)]
