"""The board's side of the link: requests carried out, a streaming design fed and read."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hwgen.link.framer import Framer
from hwgen.link.loader import Loader, load_layout
from hwgen.link.loading import LARGEST, STATE, loading_info
from hwgen.link.payload import design_info
from hwgen.link.protocol import CYCLES_BYTES, Command, ErrorCode, Info
from hwgen.stream.design import StreamDesign
from hwgen.stream.programs import Loading

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
    loading : :class:`~hwgen.stream.programs.Loading` or None
        How programs are loaded; None if they are not.
    """

    info: Info
    input_width: int
    output_width: int
    timeout: int
    loading: Loading | None = None

    @classmethod
    def of(cls, design: StreamDesign, clock_hz: int) -> DeviceParameters:
        """Parameters of a device with ``design`` at ``clock_hz``, which waits 50 ms or more.

        Raises
        ------
        UnsupportedError
            If an image or a result is too large for a frame.
        """
        timeout = 1 << int(clock_hz * _LEAST_TIMEOUT).bit_length()
        if design.loading is not None:
            loading = design.loading
            info = loading_info(loading, loading.program, clock_hz)
            return cls(info, loading.input_width, loading.output_width, timeout, loading)
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
    single word in the design, several in a memory here, or all in a design that takes programs. A
    request that comes while the design works takes the place of the one before, which is not
    answered; but a program is not loaded then.

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
        Synchronous reset of the design, also after one of the device; from a register.
    o : :py:`Out(stream.Signature(input_width))`
        Pixels for the design.
    i : :py:`In(stream.Signature(output_width))`
        Words from it.
    busy : :py:`In(1)`, load : :py:`Out(stream.Signature(load_layout(loading)))`
        Whether the design works, and what is loaded into it, if it takes programs.
    led : :py:`Out(leds)`
        Low bits of the last word that was sent, 0 before the first.
    """

    def __init__(self, parameters: DeviceParameters, *, leds: int = 0) -> None:
        if leds < 0:
            raise ValueError(f"Number of LEDs must not be negative, not {leds}")
        self.parameters = parameters
        self.leds = leds
        self._loader = None if parameters.loading is None else Loader(parameters.loading)
        loading = parameters.loading
        load = {} if loading is None else {"load": Out(stream.Signature(load_layout(loading)))}
        super().__init__(
            {
                **load,
                "busy": In(1),
                "rx": In(stream.Signature(8, always_ready=True)),
                "tx": Out(stream.Signature(8)),
                "reset": Out(1, init=1),
                "o": Out(stream.Signature(parameters.input_width)),
                "i": In(stream.Signature(parameters.output_width)),
                "led": Out(leds),
            }
        )

    @property
    def _state(self) -> Value:
        """Hash of the program, bytes of an image and of a result, as ``STATE`` packs them."""
        if self._loader is not None:
            return self._loader.state
        info = self.parameters.info
        packed = STATE.pack(info.program, info.image_bytes, info.result_bytes)
        return Const(int.from_bytes(packed, "little"), 8 * STATE.size)

    @property
    def _whole(self) -> Value:
        """Whether there is a program, or none is needed."""
        return Const(1) if self._loader is None else self._loader.whole

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.framer = framer = Framer(self.parameters.timeout)
        wiring.connect(m, wiring.flipped(self.rx), framer.rx)
        wiring.connect(m, framer.tx, wiring.flipped(self.tx))
        image = Signal()
        overrun = self._pixels(m, framer, image)
        words, full = self._words(m)
        cycles, done = self._count(m, full)

        owed, error = Signal(), Signal(4)
        with m.If(overrun):
            m.d.sync += error.eq(ErrorCode.OVERRUN)
        with m.If(framer.opened):
            m.d.sync += [owed.eq(0), image.eq(0), error.eq(0)]
            with m.Switch(framer.command):
                with m.Case(Command.PING):
                    with m.If(framer.left != 0):
                        m.d.sync += error.eq(ErrorCode.LENGTH)
                with m.Case(Command.IMAGE):
                    with m.If(~self._whole):
                        m.d.sync += error.eq(ErrorCode.EMPTY)
                    with m.Elif(framer.left != self._state[64:96]):
                        m.d.sync += error.eq(ErrorCode.LENGTH)
                    with m.Else():
                        m.d.sync += [image.eq(1), self.reset.eq(1)]
                with m.Case(Command.LOAD):
                    if self._loader is None:
                        m.d.sync += error.eq(ErrorCode.UNSUPPORTED)
                with m.Default():
                    m.d.sync += error.eq(ErrorCode.COMMAND)
        with m.If(self.reset):
            m.d.sync += self.reset.eq(0)
        with m.If(framer.closed):
            m.d.sync += owed.eq(1)
            with m.If(~framer.good):
                m.d.sync += error.eq(ErrorCode.CHECKSUM)
        load, loading, refused = self._load(m, framer, error)

        ready = done | ~image | (error != 0)
        m.d.comb += framer.start.eq(owed & ready & ~loading & ~framer.busy)
        with m.If(framer.start):
            m.d.sync += owed.eq(0)
        why = Mux(error != 0, error, refused)
        self._answer(m, framer, owed, image, load, why, words, cycles)
        return m

    def _load(self, m: Module, framer: Framer, error: Signal) -> tuple[Signal, Value, Value]:
        """Whether a program is loaded, whether that takes its time, and why it was refused."""
        load = Signal()
        loader = self._loader
        if loader is None:
            return load, Const(0), Const(0)
        m.submodules.loader = loader
        wiring.connect(m, loader.o, wiring.flipped(self.load))
        asked = framer.opened & (framer.command == Command.LOAD)
        m.d.comb += [
            loader.clear.eq(asked & ~loader.busy),
            loader.i.payload.eq(framer.data.payload),
            loader.i.valid.eq(framer.data.valid & load),
            loader.go.eq(framer.closed & framer.good & load),
        ]
        with m.If(framer.opened):
            m.d.sync += load.eq(0)
        with m.If(asked):
            with m.If(self.busy | loader.busy):
                m.d.sync += error.eq(ErrorCode.BUSY)
            with m.Elif((framer.left == 0) | (framer.left > LARGEST)):
                m.d.sync += error.eq(ErrorCode.LENGTH)
            with m.Else():
                m.d.sync += load.eq(1)
        with m.If(loader.reset):
            m.d.sync += self.reset.eq(1)
        return load, loader.busy, Mux(load, loader.error, 0)

    def _pixels(self, m: Module, framer: Framer, image: Signal) -> Signal:
        """Pixels of the bytes that come; whether one comes before the last was taken."""
        size = -(-self.parameters.input_width // 8)
        pixel = Signal(8 * size, reset_less=True)
        whole, overrun, comes = Signal(), Signal(), Signal()
        m.d.comb += [
            comes.eq(framer.data.valid & image),
            self.o.payload.eq(pixel),
            self.o.valid.eq(whole),
            overrun.eq(comes & whole & ~self.o.ready),
        ]
        with m.If(self.o.ready | framer.opened):
            m.d.sync += whole.eq(0)
        with m.If(comes):
            m.d.sync += pixel.eq(Cat(pixel, framer.data.payload)[8:])
        if size == 1:
            with m.If(comes):
                m.d.sync += whole.eq(1)
            return overrun
        lane = Signal(range(size))
        with m.If(framer.opened):
            m.d.sync += lane.eq(0)
        with m.Elif(comes):
            m.d.sync += lane.eq(lane + 1)
            with m.If(lane == size - 1):
                m.d.sync += [lane.eq(0), whole.eq(1)]
        return overrun

    def _words(self, m: Module) -> tuple[stream.Interface, Signal]:
        """Words of the result, and whether all of them are there."""
        count, width = self.parameters.output_words, self.parameters.output_width
        full = Signal()
        if count == 1 or self.parameters.loading is not None:
            m.d.comb += full.eq(self.i.valid)
            return self.i, full
        fifo = SyncFIFOBuffered(width=width, depth=count)
        m.submodules.fifo = ResetInserter(self.reset)(fifo)
        wiring.connect(m, wiring.flipped(self.i), fifo.w_stream)
        m.d.comb += full.eq(fifo.level == count)
        return fifo.r_stream, full

    def _count(self, m: Module, full: Signal) -> tuple[Signal, Signal]:
        """Cycles from the first pixel that the design takes until its result is there.

        And whether it is: this is known a cycle late, as the start is.
        """
        cycles, started, done = Signal(8 * CYCLES_BYTES), Signal(), Signal()
        m.d.sync += done.eq(full)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += started.eq(1)
        with m.If(started & ~done):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(self.reset):
            m.d.sync += [cycles.eq(0), started.eq(0)]
        return cycles, done

    def _answer(
        self,
        m: Module,
        framer: Framer,
        owed: Signal,
        image: Signal,
        load: Signal,
        error: Value,
        words: stream.Interface,
        cycles: Signal,
    ) -> None:
        """What kind of answer goes, and its payload, from the first byte when one is owed."""
        info = self.parameters.info
        word_bytes = -(-self.parameters.output_width // 8)
        head = CYCLES_BYTES
        size = len(info.encode())
        lane = Signal(range(max(size, head + word_bytes)))
        told = Cat(
            Const(info.version, 8),
            Const(info.design, 64),
            self._state[:64],
            Const(info.clock_hz, 32),
            self._state[64:],
        )
        why = Signal(4)
        result = Signal(8 * (head + word_bytes))
        led = Signal(self.leds)
        at = Cat(Const(0, 3), lane)  # the bit at which the byte begins, without a multiplier
        byte, there = Signal(8), Signal()
        m.d.comb += [
            result.eq(Cat(cycles, words.payload)),
            there.eq(1),
            self.led.eq(led),
            why.eq(error),
        ]
        with m.If(why != 0):
            m.d.comb += [
                framer.answer.eq(Command.ERROR),
                framer.size.eq(1),
                byte.eq(why),
            ]
        with m.Elif(image):
            m.d.comb += [
                framer.answer.eq(Command.RESULT),
                framer.size.eq(head + self._state[96:]),
                there.eq(words.valid),
                byte.eq(result.bit_select(at, 8)),
            ]
        with m.Elif(load):
            m.d.comb += framer.answer.eq(Command.LOADED)
        with m.Else():
            m.d.comb += [
                framer.answer.eq(Command.INFO),
                framer.size.eq(size),
                byte.eq(told.bit_select(at, 8)),
            ]
        # what is chosen of wide words takes a cycle of its own
        kept, valid, taken = Signal(8, reset_less=True), Signal(), Signal()
        m.d.comb += [
            framer.payload.payload.eq(kept),
            framer.payload.valid.eq(valid),
            taken.eq(framer.payload.ready & valid),
        ]
        m.d.sync += [kept.eq(byte), valid.eq(there & ~taken & ~owed)]
        with m.If(owed):
            m.d.sync += lane.eq(0)
        with m.Elif(taken):
            m.d.sync += lane.eq(lane + 1)
            with m.If(image & (why == 0) & (lane == head + word_bytes - 1)):
                m.d.comb += words.ready.eq(1)
                m.d.sync += [lane.eq(head), led.eq(words.payload)]
