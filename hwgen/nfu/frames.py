"""Images into memory and results out of it, a pixel of all channels at a time."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, ValueLike, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layout import FeatureMap
from hwgen.numeric import Range
from hwgen.stream.common import pixel_signature

__all__ = [
    "ImageWriter",
    "PixelWalk",
    "ResultReader",
    "pixel_words",
    "tensor_ranges",
    "write_layout",
]


def write_layout(config: NfuConfig) -> data.StructLayout:
    """A word of Tn activations for memory."""
    width = config.tn * config.activation_width
    return data.StructLayout({"address": unsigned(config.address_width), "word": unsigned(width)})


def tensor_ranges(fm: FeatureMap) -> tuple[Range, ...]:
    """Range of each channel of the tensor in a feature map."""
    if fm.numbers is not None:
        return fm.numbers
    return tuple(
        Range(r.lo << shift, r.hi << shift)
        for r, shift in zip(fm.ranges, fm.shifts.tolist(), strict=True)
    )


def pixel_words(config: NfuConfig, fm: FeatureMap) -> int:
    """Words of Tn elements of a pixel up to the last that holds a channel."""
    return (int(fm.slots.max()) - fm.span[0]) // config.tn + 1


class PixelWalk(wiring.Component):
    """Addresses of a feature map in words of Tn values: pixels in raster order, over and over.

    The words behind the last channel, and the border, are stepped over.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    fm : :class:`FeatureMap`
        Where the pixels lie.
    origin : int
        Element of memory that has address 0.

    Members
    -------
    step : :py:`In(1)`
        The word is done.
    address : :py:`Out(address_width)`
    block : :py:`Out(range(words))`
        Number of the word in its pixel.
    pixel_last, last : :py:`Out(1)`
        Last word of a pixel; last word of all.
    """

    def __init__(self, config: NfuConfig, fm: FeatureMap, *, origin: int) -> None:
        self.config = config
        self.fm = fm
        self.origin = origin
        super().__init__(
            {
                "step": In(1),
                "address": Out(config.address_width),
                "block": Out(range(self.words)),
                "pixel_last": Out(1),
                "last": Out(1),
            }
        )

    @property
    def words(self) -> int:
        """Words of a pixel up to the last that holds a channel."""
        return pixel_words(self.config, self.fm)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fm, tn = self.fm, self.config.tn
        _, height, width = fm.shape
        first = (fm.element(0, 0) - self.origin) // tn
        pitch = fm.channels // tn
        to_pixel = pitch - (self.words - 1)
        to_row = to_pixel + (fm.width - width) * pitch
        column, row = Signal(range(width)), Signal(range(height))
        address = Signal(self.config.address_width, init=first)
        row_last = Signal()
        m.d.comb += [
            self.address.eq(address),
            self.pixel_last.eq(self.block == self.words - 1),
            row_last.eq(self.pixel_last & (column == width - 1)),
            self.last.eq(row_last & (row == height - 1)),
        ]
        with m.If(self.step):
            m.d.sync += [
                self.block.eq(Mux(self.pixel_last, 0, self.block + 1)),
                address.eq(address + Mux(row_last, to_row, Mux(self.pixel_last, to_pixel, 1))),
            ]
            with m.If(self.pixel_last):
                m.d.sync += column.eq(Mux(row_last, 0, column + 1))
            with m.If(row_last):
                m.d.sync += row.eq(row + 1)
            with m.If(self.last):
                m.d.sync += [address.eq(first), row.eq(0)]
        return m


class ImageWriter(wiring.Component):
    """Writes the pixels of one image after another to where a feature map lies.

    A word a cycle. Bit planes cost wires only.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    fm : :class:`FeatureMap`
        Where the image goes, without shifts.

    Members
    -------
    enable : :py:`In(1)`
        Pixels may come.
    i : :py:`In(pixel_signature(tensor_ranges(fm)))`
    o : :py:`Out(stream.Signature(write_layout(config)))`
    last : :py:`Out(1)`
        The last word of an image is taken.
    """

    def __init__(self, config: NfuConfig, fm: FeatureMap) -> None:
        self.config = config
        self.fm = fm
        super().__init__(
            {
                "enable": In(1),
                "i": In(pixel_signature(tensor_ranges(fm))),
                "o": Out(stream.Signature(write_layout(config))),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walk = walk = PixelWalk(self.config, self.fm, origin=0)
        tn, width = self.config.tn, self.config.activation_width
        values: list[ValueLike] = [Const(0, width)] * (walk.words * tn)
        channels = [self.i.payload[name] for name, _ in self.i.payload.shape()]
        for number, slot in enumerate(self.fm.slots.tolist()):
            plane, channel = divmod(number, len(channels))
            value = channels[channel]
            if self.fm.numbers is not None:
                value = value[plane]
            extended = Signal(signed(width) if value.shape().signed else width)
            m.d.comb += extended.eq(value)
            values[slot - self.fm.span[0]] = extended
        with m.Switch(walk.block):
            for block in range(walk.words):
                with m.Case(block):
                    m.d.comb += self.o.payload.word.eq(Cat(values[block * tn : (block + 1) * tn]))
        m.d.comb += [
            self.o.valid.eq(self.enable & self.i.valid),
            self.o.payload.address.eq(walk.address),
            walk.step.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(walk.step & walk.pixel_last),
            self.last.eq(walk.step & walk.last),
        ]
        return m


class ResultReader(wiring.Component):
    """Reads one result after another from a memory of words of Tn values.

    With B words a pixel, a pixel takes 2 B + 1 cycles.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    fm : :class:`FeatureMap`
        Where the result lies; its first element has address 0 in the memory.
    width : int
        Bits of an element in the memory.

    Members
    -------
    enable : :py:`In(1)`
        A result may be read.
    address : :py:`Out(address_width)`
        Word to read; it comes a cycle later.
    word : :py:`In(tn * width)`
    o : :py:`Out(pixel_signature(tensor_ranges(fm)))`
    last : :py:`Out(1)`
        The last pixel is taken.
    """

    def __init__(self, config: NfuConfig, fm: FeatureMap, *, width: int) -> None:
        self.config = config
        self.fm = fm
        self.width = width
        super().__init__(
            {
                "enable": In(1),
                "address": Out(config.address_width),
                "word": In(config.tn * width),
                "o": Out(pixel_signature(tensor_ranges(fm))),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fm = self.fm
        m.submodules.walk = walk = PixelWalk(self.config, fm, origin=fm.address)
        pixel = Signal(walk.words * self.config.tn * self.width, reset_less=True)
        read, whole = Signal(), Signal()  # the word is there; the pixel is of the last word
        channels = zip(fm.slots, fm.shifts, fm.ranges, self.o.payload.shape(), strict=True)
        for slot, shift, r, (name, _) in channels:
            element = pixel[(int(slot) - fm.span[0]) * self.width :][: r.width]
            value = element.as_signed() if r.signed else element
            m.d.comb += self.o.payload[name].eq(value << int(shift))
        m.d.comb += [
            self.address.eq(walk.address),
            walk.step.eq(read),
            self.last.eq(self.o.valid & self.o.ready & whole),
        ]
        with m.If(read):
            m.d.sync += [
                read.eq(0),
                pixel.eq(Cat(pixel, self.word)[self.word.shape().width :]),
                self.o.valid.eq(walk.pixel_last),
                whole.eq(walk.last),
            ]
        with m.Elif(self.o.valid):
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
        with m.Else():
            m.d.sync += read.eq(self.enable)
        return m
