"""The schedule of a window generator: which beat takes a pixel, which completes a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.network.types import Pads, Pair

__all__ = ["Scan"]


@dataclass(frozen=True)
class Scan:
    """Order in which a window generator passes over a frame: the schedule of its beats.

    A frame is ``beats`` beats long. A beat shifts one column of ``KH`` pixels into the window; it
    takes a pixel from the input, or a pixel of padding where the input has none left. The scan is
    linear: rows of ``row`` beats follow each other, so that a window at the right edge is complete
    while the first pixels of the next row pass, whose taps are masked. Only what no input pixel
    can drive costs a beat of its own: the bottom padding, and padding wider than the kernel.

    Parameters
    ----------
    height, width : int
        Size of the frame.
    kernel, strides, pads, dilations
        As in :class:`hwgen.integer.Conv`.

    Raises
    ------
    ValueError
        If a parameter is out of range or no window fits the padded frame.
    """

    height: int
    width: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Frame must not be empty, not {self.height} x {self.width}")
        for name in ("kernel", "strides", "dilations"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"Window {name} must be at least 1, not {getattr(self, name)}")
        if min(self.pads) < 0:
            raise ValueError(f"Window pads must not be negative, not {self.pads}")
        if min(self.out_size) < 1:
            raise ValueError(
                f"Window {self.extent} does not fit the frame {self.height} x {self.width} "
                f"padded by {self.pads}"
            )

    @property
    def extent(self) -> Pair:
        """Rows and columns that the dilated kernel covers."""
        (kh, kw), (dh, dw) = self.kernel, self.dilations
        return (dh * (kh - 1) + 1, dw * (kw - 1) + 1)

    @property
    def out_size(self) -> Pair:
        """Rows and columns of output positions."""
        top, left, bottom, right = self.pads
        (eh, ew), (sh, sw) = self.extent, self.strides
        return (
            (self.height + top + bottom - eh) // sh + 1,
            (self.width + left + right - ew) // sw + 1,
        )

    @property
    def lead(self) -> Pair:
        """Rows and columns of beats before the first pixel (padding wider than the kernel)."""
        (eh, ew), (top, left) = self.extent, self.pads[:2]
        return (max(0, top - eh + 1), max(0, left - ew + 1))

    @property
    def row(self) -> int:
        """Beats from a pixel to the one below it."""
        return max(self.lead[1] + self.width, (self.out_size[1] - 1) * self.strides[1] + 1)

    @property
    def first(self) -> int:
        """Beat that completes the first window."""
        (eh, ew), (top, left) = self.extent, self.pads[:2]
        vertical, horizontal = self.lead
        return (eh - 1 - top + vertical) * self.row + ew - 1 - left + horizontal

    @property
    def beats(self) -> int:
        """Beats of one frame: its cycles when input and output never wait."""
        (oh, ow), (sh, sw) = self.out_size, self.strides
        last_window = self.first + (oh - 1) * sh * self.row + (ow - 1) * sw
        last_pixel = (self.lead[0] + self.height - 1) * self.row + self.lead[1] + self.width - 1
        return max(last_window, last_pixel) + 1

    def takes(self) -> npt.NDArray[np.bool_]:
        """Whether each beat (beats,) takes an input pixel."""
        v, u = np.divmod(np.arange(self.beats), self.row)
        vertical, horizontal = self.lead
        rows = (v >= vertical) & (v < vertical + self.height)
        return rows & (u >= horizontal) & (u < horizontal + self.width)

    def gives(self) -> npt.NDArray[np.bool_]:
        """Whether each beat (beats,) completes a window."""
        (oh, ow), (sh, sw) = self.out_size, self.strides
        positions = np.arange(oh)[:, None] * sh * self.row + np.arange(ow) * sw
        gives = np.zeros(self.beats, dtype=np.bool_)
        gives[self.first + positions.ravel()] = True
        return gives

    def inside(self, axis: int) -> npt.NDArray[np.bool_]:
        """Whether tap t at output position p is in the frame, (taps, positions), along an axis."""
        size = (self.height, self.width)[axis]
        positions = np.arange(self.out_size[axis]) * self.strides[axis] - self.pads[axis]
        taps = np.arange(self.kernel[axis]) * self.dilations[axis]
        at = taps[:, None] + positions
        return (at >= 0) & (at < size)
