"""Images into memory and results out of it, an element at a time, for maps that are loaded.

Where a map lies is not wired in as in :mod:`hwgen.nfu.frames`, but held in registers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import DataError, UnsupportedError
from hwgen.nfu.blockram import word_part
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.frames import pixel_words, tensor_ranges, write_layout
from hwgen.nfu.layout import FeatureMap
from hwgen.numeric import IntArray

__all__ = [
    "ElementFrames",
    "ElementReader",
    "ElementWriter",
    "MapWalk",
    "map_layout",
    "map_values",
    "pixel_elements",
]

_COUNT = 12  # bits of a number of elements of a pixel, columns or rows


def pixel_elements(fm: FeatureMap) -> int:
    """Elements of a pixel up to the last that holds a channel."""
    return int(fm.slots.max()) - fm.span[0] + 1


def map_layout(config: NfuConfig) -> data.StructLayout:
    """Where a map lies, and how large it is.

    ``first`` is the address of its first word; ``element``, ``column`` and ``row`` are the last
    ones; ``pixel`` and ``line`` words lie from the last of a pixel or a row to the next.
    """
    address = unsigned(config.address_width)
    counts = dict.fromkeys(("element", "column", "row"), unsigned(_COUNT))
    return data.StructLayout({"first": address, **counts, "pixel": address, "line": address})


def map_values(config: NfuConfig, fm: FeatureMap, *, origin: int) -> dict[str, int]:
    """Values of :func:`map_layout` for a map, whose words count from element ``origin``.

    Raises
    ------
    UnsupportedError
        If the map is larger than its registers count.
    """
    _, height, width = fm.shape
    elements, tn = pixel_elements(fm), config.tn
    if max(elements, height, width) > 1 << _COUNT:
        raise UnsupportedError(
            f"A map that is loaded must have at most {1 << _COUNT:,} elements a pixel, columns and "
            f"rows, not {elements:,}, {width:,} and {height:,}"
        )
    pitch = fm.channels // tn
    pixel = pitch - (pixel_words(config, fm) - 1)
    return {
        "first": (fm.element(0, 0) - origin) // tn,
        "element": elements - 1,
        "column": width - 1,
        "row": height - 1,
        "pixel": pixel,
        "line": pixel + (fm.width - width) * pitch,
    }


class MapWalk(wiring.Component):
    """Elements and words of a map that registers describe: pixels in raster order, over and over.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    map : :py:`In(map_layout(config))`
        Constant from a reset on.
    step : :py:`In(1)`
        The element is done.
    lane : :py:`Out(range(tn))`
        Place of the element in its word.
    address : :py:`Out(address_width)`
        The word.
    word_last, last : :py:`Out(1)`
        Last element of a word; last of all.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "map": In(map_layout(config)),
                "step": In(1),
                "lane": Out(range(config.tn)),
                "address": Out(config.address_width),
                "word_last": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        where = self.map
        element, column, row = (Signal(_COUNT, name=n) for n in ("element", "column", "row"))
        begun = Signal()
        following = Signal(self.config.address_width)
        bits = len(self.lane)
        pixel_last, row_last = Signal(), Signal()
        m.d.comb += [
            self.lane.eq(element),
            self.address.eq(Mux(begun, following, where.first)),
            pixel_last.eq(element == where.element),
            row_last.eq(pixel_last & (column == where.column)),
            self.last.eq(row_last & (row == where.row)),
            self.word_last.eq(pixel_last | (element[:bits] == self.config.tn - 1)),
        ]
        with m.If(self.step):
            m.d.sync += element.eq(Mux(pixel_last, 0, element + 1))
            with m.If(self.word_last):
                ahead = Mux(row_last, where.line, Mux(pixel_last, where.pixel, 1))
                m.d.sync += [following.eq(self.address + ahead), begun.eq(~self.last)]
            with m.If(pixel_last):
                m.d.sync += column.eq(Mux(row_last, 0, column + 1))
            with m.If(row_last):
                m.d.sync += row.eq(Mux(self.last, 0, row + 1))
        return m


class ElementWriter(wiring.Component):
    """Writes the elements of one image after another to where a map lies, one a cycle.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    map : :py:`In(map_layout(config))`
    enable : :py:`In(1)`
        Elements may come.
    i : :py:`In(stream.Signature(activation_width))`
    o : :py:`Out(stream.Signature(write_layout(config)))`
    last : :py:`Out(1)`
        The last word of an image is taken.
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "map": In(map_layout(config)),
                "enable": In(1),
                "i": In(stream.Signature(unsigned(config.activation_width))),
                "o": Out(stream.Signature(write_layout(config))),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walk = walk = MapWalk(self.config)
        tn, width = self.config.tn, self.config.activation_width
        held = [Signal(width, name=f"held{n}", reset_less=True) for n in range(tn - 1)]
        values = []
        for n in range(tn):
            before = Mux(walk.lane > n, held[n], 0) if n < tn - 1 else Const(0, width)
            values.append(Mux(walk.lane == n, self.i.payload, before)[:width])
        m.d.comb += [
            walk.map.eq(self.map),
            self.o.valid.eq(self.enable & self.i.valid & walk.word_last),
            self.o.payload.address.eq(walk.address),
            self.o.payload.word.eq(Cat(values)),
            self.i.ready.eq(self.enable & (self.o.ready | ~walk.word_last)),
            walk.step.eq(self.i.valid & self.i.ready),
            self.last.eq(walk.step & walk.last),
        ]
        with m.If(walk.step):
            for n in range(tn - 1):
                with m.If(walk.lane == n):
                    m.d.sync += held[n].eq(self.i.payload)
        return m


class ElementReader(wiring.Component):
    """Reads the elements of one result after another from a memory of words of Tn values.

    A word takes a cycle, and one more an element.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.
    width : int
        Bits of an element.

    Members
    -------
    map : :py:`In(map_layout(config))`
    enable : :py:`In(1)`
        A result may be read.
    address : :py:`Out(address_width)`
        Word to read; it comes a cycle later.
    word : :py:`In(tn * width)`
    o : :py:`Out(stream.Signature(width))`
    last : :py:`Out(1)`
        The last element is taken.
    """

    def __init__(self, config: NfuConfig, *, width: int) -> None:
        self.config = config
        self.width = width
        super().__init__(
            {
                "map": In(map_layout(config)),
                "enable": In(1),
                "address": Out(config.address_width),
                "word": In(config.tn * width),
                "o": Out(stream.Signature(unsigned(width))),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walk = walk = MapWalk(self.config)
        m.d.comb += [
            walk.map.eq(self.map),
            self.address.eq(walk.address),
            self.o.payload.eq(word_part(m, self.word, walk.lane, self.width)),
            walk.step.eq(self.o.valid & self.o.ready),
            self.last.eq(walk.step & walk.last),
        ]
        with m.If(walk.step & walk.word_last):
            m.d.sync += self.o.valid.eq(0)
        with m.Elif(~self.o.valid):
            m.d.sync += self.o.valid.eq(self.enable)
        return m


@dataclass(frozen=True, eq=False)
class ElementFrames:
    """How images and results of a compiled network are elements of the streams, in whole bytes.

    Parameters
    ----------
    compiled : :class:`CompiledNetwork`
        The network.
    input_width, output_width : int
        Bits of an element of an image and of a result.
    """

    compiled: CompiledNetwork
    input_width: int
    output_width: int

    @property
    def image_beats(self) -> int:
        """Elements of an image."""
        return _elements(self.compiled.input)

    @property
    def result_beats(self) -> int:
        """Elements of a result."""
        return _elements(self.compiled.output)

    @property
    def result_bytes(self) -> int:
        """Bytes of a result."""
        return self.result_beats * -(-self.output_width // 8)

    def encode(self, image: IntArray) -> bytes:
        """Bytes of an integer ``image`` (C, H, W).

        Raises
        ------
        DataError
            If a value does not fit its channel.
        """
        fm = self.compiled.input
        for channel, (values, r) in enumerate(zip(image, tensor_ranges(fm), strict=True)):
            if int(values.min()) not in r or int(values.max()) not in r:
                raise DataError(
                    f"Channel {channel} holds {int(values.min())} .. {int(values.max())}, "
                    f"which does not fit its {r.lo} .. {r.hi}"
                )
        memory = np.zeros(fm.address + fm.size, dtype=np.int64)
        fm.write(memory, image)
        pixels = fm.pixels(memory)[:, :, fm.span[0] : fm.span[0] + pixel_elements(fm)]
        return _to_bytes(pixels.ravel() & ((1 << self.input_width) - 1), self.input_width)

    def decode(self, words: bytes) -> IntArray:
        """Integer result (C, H, W) of its bytes."""
        fm = self.compiled.output
        _, height, width = fm.shape
        elements = _from_bytes(words, self.output_width).reshape(height, width, -1)
        memory = np.zeros(fm.address + fm.size, dtype=np.int64)
        pixels = fm.pixels(memory)
        for slot, r in zip(fm.slots.tolist(), fm.ranges, strict=True):
            value = elements[:, :, slot - fm.span[0]] & ((1 << r.width) - 1)
            sign = (1 << (r.width - 1)) if r.signed else 0
            pixels[:, :, slot] = (value ^ sign) - sign
        return self.compiled.result(memory)


def _elements(fm: FeatureMap) -> int:
    return fm.shape[1] * fm.shape[2] * pixel_elements(fm)


def _to_bytes(values: IntArray, width: int) -> bytes:
    size = -(-width // 8)
    whole = values.astype("<i8").view(np.uint8).reshape(-1, 8)
    return whole[:, :size].tobytes()


def _from_bytes(content: bytes, width: int) -> IntArray:
    size = -(-width // 8)
    whole = np.zeros((len(content) // size, 8), dtype=np.uint8)
    whole[:, :size] = np.frombuffer(content, dtype=np.uint8).reshape(-1, size)
    return whole.view("<i8")[:, 0].astype(np.int64)
