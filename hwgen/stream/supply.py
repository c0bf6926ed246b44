"""What the patches of a scan need of the pixels that arrive, and in which order it is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.numeric import IntArray
from hwgen.stream.scan import Scan

__all__ = ["Supply", "tap_reads"]


@dataclass(frozen=True)
class Supply:
    """When the patches of a scan can be read, and how much memory that takes.

    A pixel comes in ``beats`` and lies in ``words`` of the memory. Pixels arrive in raster order,
    frame after frame. A patch can be read once its last pixel inside the frame has arrived, and
    never before the first of its frame; :py:`advances` counts from patch to patch how many more
    beats that needs.
    """

    scan: Scan
    beats: int = 1
    words: int = 1

    @classmethod
    def of_turns(cls, scan: Scan, *, beats: int, channels: int, abreast: int) -> Supply:
        """Supply of pixels whose values come one a beat, in groups of so many channels.

        A word of the memory holds the channels of a group that are read at once.
        """
        return cls(scan, beats, beats // channels * len(tap_reads(channels, abreast)))

    @cached_property
    def _until(self) -> IntArray:
        """Pixels of the frame that have arrived when each position (OH * OW,) can be read."""
        rows, columns = self._ends(0)[:, None], self._ends(1)
        pixels = np.where((rows > 0) & (columns > 0), (rows - 1) * self.scan.width + columns, 1)
        until: IntArray = np.maximum.accumulate(pixels.ravel())
        return until

    @cached_property
    def _since(self) -> IntArray:
        """Pixels of the frame that no position (OH * OW,) from this one on reads."""
        rows, columns = self._starts(0)[:, None], self._starts(1)
        unread = self.scan.height * self.scan.width
        read = (rows < self.scan.height) & (columns < self.scan.width)
        pixels = np.where(read, rows * self.scan.width + columns, unread).ravel()
        since: IntArray = np.minimum.accumulate(pixels[::-1])[::-1]
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
        """Beats that must arrive before the first patch of the first frame."""
        return int(self._until[0]) * self.beats

    @cached_property
    def advances(self) -> IntArray:
        """Further beats that the patch after each position (OH * OW,) needs.

        Behind the last position follows the first of the next frame.
        """
        frame = self.scan.height * self.scan.width
        advances: IntArray = np.diff(self._until, append=frame + self._until[0]) * self.beats
        return advances

    @cached_property
    def span(self) -> int:
        """Most pixels between the oldest that a patch still needs and the last that it needs."""
        return int((self._until - np.minimum(self._since, self._until)).max())

    @cached_property
    def depth(self) -> int:
        """Words of the memory, a power of two.

        So many that while any patch is read, all that the next needs can arrive; only the change
        of frames may have to wait, except where a frame is one patch.
        """
        within = self.advances[:-1] if len(self.advances) > 1 else self.advances
        pixels = self.span + max(1, int(within.max()) // self.beats)
        return 1 << (pixels * self.words - 1).bit_length()

    @property
    def slack(self) -> int:
        """Beats that can arrive in advance of the patch that is read."""
        return (self.depth // self.words - self.span) * self.beats


def tap_reads(channels: int, abreast: int) -> tuple[int, ...]:
    """First channel of each read of a tap, ``abreast`` channels at a time.

    The last read begins so much earlier that it ends with the last channel.
    """
    return tuple(min(k, channels - abreast) for k in range(0, channels, abreast))
