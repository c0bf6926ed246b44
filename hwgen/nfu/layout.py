"""Where feature maps lie in memory: channels innermost, in blocks, with a border of zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.network.types import Pads, Shape
from hwgen.nfu.config import NfuConfig
from hwgen.numeric import IntArray

__all__ = ["FeatureMap"]


@dataclass(frozen=True)
class FeatureMap:
    """A feature map in memory as [y][x][channel].

    Parameters
    ----------
    address : int
        Element where it begins, a multiple of Tn and Ti.
    shape : (int, int, int)
        (C, H, W) without padding and border.
    border : (int, int, int, int)
        Zeros above, to the left, below, to the right.
    channels : int
        Channels with those that fill the last block.
    """

    address: int
    shape: Shape
    border: Pads
    channels: int

    @classmethod
    def place(cls, address: int, shape: Shape, border: Pads, config: NfuConfig) -> FeatureMap:
        """Feature map with channels padded to whole words of both sides."""
        block = max(config.tn, config.ti)
        return cls(address, shape, border, -(-shape[0] // block) * block)

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

    def element(self, y: int, x: int) -> int:
        """Element of channel 0 of a pixel, which may lie in the border."""
        return self.address + self.channels * (
            (y + self.border[0]) * self.width + x + self.border[1]
        )

    def write(self, memory: IntArray, values: IntArray) -> None:
        """Put (C, H, W) ``values`` into ``memory``."""
        self._view(memory)[...] = values.transpose(1, 2, 0)

    def read(self, memory: IntArray) -> IntArray:
        """(C, H, W) values from ``memory``."""
        return np.array(self._view(memory).transpose(2, 0, 1))

    def _view(self, memory: IntArray) -> IntArray:
        c, h, w = self.shape
        top, left = self.border[:2]
        whole = memory[self.address : self.address + self.size]
        pixels = whole.reshape(self.height, self.width, self.channels)
        return pixels[top : top + h, left : left + w, :c]
