"""Where feature maps lie in memory: channels innermost, in blocks, with a border around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.integer.types import Concat, Conv, IntegerNetwork
from hwgen.network.types import Pads, Shape
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layers import Layer, is_part
from hwgen.nfu.planes import plane_values
from hwgen.numeric import IntArray, Range

__all__ = ["FeatureMap", "place"]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A feature map in memory as [y][x][channel], or a part of the channels of one.

    Parameters
    ----------
    address : int
        Element where the whole map begins, a multiple of Tn and Ti.
    shape : (int, int, int)
        (C, H, W) without padding and border.
    border : (int, int, int, int)
        Pixels above, to the left, below, to the right.
    channels : int
        Elements of a pixel of the whole map.
    span : (int, int)
        Those of them [from, to) that belong to this map, multiples of Tn and Ti.
    slots : int64 array
        (C,): element of the pixel where each channel lies.
    shifts : int64 array
        (C,): a value of the tensor is its element times ``2**shift``.
    ranges : tuple of Range
        (C,): bounds of the elements.
    numbers : tuple of Range or None
        (C,): bounds of the tensor's values if the map holds their bits, a plane each, and has as
        many times the slots, shifts and ranges (:mod:`hwgen.nfu.planes`).
    """

    address: int
    shape: Shape
    border: Pads
    channels: int
    span: tuple[int, int]
    slots: IntArray
    shifts: IntArray
    ranges: tuple[Range, ...]
    numbers: tuple[Range, ...] | None = None

    @property
    def planes(self) -> int:
        """Elements of a value."""
        return len(self.ranges) // self.shape[0]

    @property
    def height(self) -> int:
        """Rows with the border."""
        return self.shape[1] + self.border[0] + self.border[2]

    @property
    def width(self) -> int:
        """Pixels of a row with the border."""
        return self.shape[2] + self.border[1] + self.border[3]

    @property
    def size(self) -> int:
        """Elements of memory."""
        return self.height * self.width * self.channels

    @cached_property
    def signed(self) -> bool:
        """Whether any element can be negative."""
        return any(r.lo < 0 for r in self.ranges)

    def element(self, y: int, x: int) -> int:
        """First element of the span of a pixel, which may lie in the border."""
        pixel = (y + self.border[0]) * self.width + x + self.border[1]
        return self.address + self.channels * pixel + self.span[0]

    def channels_at(self, first: int, count: int) -> list[int | None]:
        """Channel of each of ``count`` elements from element ``first`` of the span on."""
        channel = dict(zip(self.slots.tolist(), range(len(self.slots)), strict=True))
        begin = self.span[0] + first
        return [channel.get(slot) for slot in range(begin, begin + count)]

    def write(self, memory: IntArray, values: IntArray) -> None:
        """Put (C, H, W) ``values`` into ``memory``."""
        if self.numbers is not None:
            values = plane_values(values, self.planes)
        self.pixels(memory)[:, :, self.slots] = (values >> self.shifts[:, None, None]).transpose(
            1, 2, 0
        )

    def read(self, memory: IntArray) -> IntArray:
        """(C, H, W) values from ``memory``."""
        elements = self.pixels(memory)[:, :, self.slots].transpose(2, 0, 1)
        return elements << self.shifts[:, None, None]

    def pixels(self, memory: IntArray) -> IntArray:
        """The part of ``memory`` that holds the pixels, (H, W, elements of the whole map)."""
        top, left = self.border[:2]
        whole = memory[self.address : self.address + self.size]
        pixels = whole.reshape(self.height, self.width, self.channels)
        return pixels[top : top + self.shape[1], left : left + self.shape[2]]


def place(
    network: IntegerNetwork,
    layers: Sequence[Layer],
    config: NfuConfig,
    orders: Mapping[str, IntArray],
    *,
    planes: int = 1,
) -> tuple[dict[str, FeatureMap], IntArray]:
    """Every stored tensor, one behind the other, and memory with their borders in it.

    The image lies there in ``planes``, a bit an element, if there is more than one.

    ``orders`` holds the channel of each place for tensors whose channels do not lie in order.

    A border is as wide as the padding of the layers that read. It holds zeros, or, if the reader
    takes the maximum of signed values, the least value.

    Raises
    ------
    UnsupportedError
        If a maximum and a sum need the border of a map of signed values, which cannot be both.
    """
    placer = _Placer(network, config, layers, orders, planes)
    names = [network.input_name, *(layer.output for layer in layers), *placer.parts]
    memory = np.zeros(0, dtype=np.int64)
    for name in names:
        if name not in placer.inside:
            whole = placer.place_root(name, len(memory))
            memory = np.append(memory, np.full(whole.size, placer.fill(name)))
            whole.write(memory, np.zeros(whole.shape, dtype=np.int64))
    return placer.maps, memory


class _Placer:
    def __init__(
        self,
        network: IntegerNetwork,
        config: NfuConfig,
        layers: Sequence[Layer],
        orders: Mapping[str, IntArray],
        planes: int,
    ) -> None:
        self.network = network
        self.planes = planes
        self.block = max(config.tn, config.ti)
        self.layers = layers
        self.orders = orders
        self.writers = {layer.output: layer for layer in layers}
        self.parts = {  # the stored tensors of each concatenation, in order
            node.name: [
                x if is_part(network, x) else f"{node.name}/{k}" for k, x in enumerate(node.inputs)
            ]
            for node in network.nodes
            if isinstance(node.op, Concat)
        }
        self.inside = {part for parts in self.parts.values() for part in parts}
        self.maps: dict[str, FeatureMap] = {}

    def place_root(self, name: str, address: int) -> FeatureMap:
        """Place a tensor that lies in no other, and those that lie in it."""
        border: Pads = (0, 0, 0, 0)
        for _, op in self._readers(name):
            a, b, c, d = (max(pair) for pair in zip(border, op.pads, strict=True))
            border = (a, b, c, d)
        elements = self._size(name)

        def put(tensor: str, begin: int) -> FeatureMap:
            """Place a tensor from element ``begin`` of a pixel on."""
            end = begin + self._size(tensor)
            channels = np.arange(self._elements(tensor))
            slots = begin + np.argsort(self.orders.get(tensor, channels))
            shifts = self._shifts(tensor)
            if tensor in self.parts:
                inner = []
                for part in self.parts[tensor]:
                    inner.append(put(part, begin))
                    begin = inner[-1].span[1]
                slots = np.concatenate([part.slots for part in inner])
            values, numbers = self._ranges(tensor), None
            if self._in_planes(tensor):
                values, numbers = (Range(0, 1),) * len(slots), values
            ranges = tuple(
                Range(r.lo >> shift, r.hi >> shift)
                for r, shift in zip(values, shifts.tolist(), strict=True)
            )
            span, shape = (end - self._size(tensor), end), self._shape(tensor)
            self.maps[tensor] = FeatureMap(
                address, shape, border, elements, span, slots, shifts, ranges, numbers
            )
            return self.maps[tensor]

        return put(name, 0)

    def fill(self, name: str) -> int:
        """What the border of a placed tensor holds."""
        whole = self.maps[name]
        padded = [layer for layer, op in self._readers(name) if any(op.pads)]
        if not whole.signed or not any(layer.maximum for layer in padded):
            return 0
        if not all(layer.maximum for layer in padded):
            raise UnsupportedError(
                f"Layer {name!r}: a padded maximum and a padded sum read its signed values, and "
                "the border cannot hold both the least value and zero"
            )
        return min(r.lo for r in whole.ranges)

    def _readers(self, name: str) -> list[tuple[Layer, Conv]]:
        return [
            (layer, addend.op)
            for layer in self.layers
            for addend in layer.addends
            if addend.tensor == name
        ]

    def _size(self, name: str) -> int:
        """Elements of a pixel that a tensor takes."""
        if name in self.parts:
            return sum(map(self._size, self.parts[name]))
        return -(-self._elements(name) // self.block) * self.block

    def _in_planes(self, name: str) -> bool:
        return self.planes > 1 and name == self.network.input_name

    def _elements(self, name: str) -> int:
        """Elements of a pixel that hold something."""
        return self._shape(name)[0] * (self.planes if self._in_planes(name) else 1)

    def _shape(self, name: str) -> Shape:
        return self.writers[name].node.shape if name in self.writers else self.network.shape(name)

    def _ranges(self, name: str) -> tuple[Range, ...]:
        writer = self.writers.get(name)
        if writer is not None and writer.keeps_shifts:
            return writer.node.ranges  # of a copy, which is no tensor of the network
        return self.network.ranges(name)

    def _shifts(self, name: str) -> IntArray:
        """Shift of each channel, which a concatenation brings in."""
        if name in self.parts:
            node = self.network.node(name)
            assert isinstance(node.op, Concat)
            pairs = zip(self.parts[name], node.op.shifts, strict=True)
            return np.concatenate([self._shifts(part) + shift for part, shift in pairs])
        writer = self.writers.get(name)
        if writer is not None and writer.keeps_shifts:
            return self._shifts(writer.addends[0].tensor)
        return np.zeros(self._elements(name), dtype=np.int64)
