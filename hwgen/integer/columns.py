"""Windows over rows of which several neighbouring pixels pass at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from hwgen.errors import UnsupportedError
from hwgen.integer.types import Conv, MaxPool, SumPool

__all__ = ["Columns", "window_columns"]


@dataclass(frozen=True)
class Columns:
    """A window along a row whose columns come in groups of ``pixels``.

    The window gives columns in groups of ``pixels_out``. Output column k of a group reads, for tap
    t, the input column at :meth:`place`; the groups that it reads are those under a kernel of
    ``kernel_out`` groups with stride ``stride_out``.

    Parameters
    ----------
    width : int
        Columns of the input, a multiple of ``pixels``.
    kernel, stride, dilation, left, right : int
        Of the window, in columns.
    pixels : int
        Columns of a group.

    Raises
    ------
    UnsupportedError
        If the columns that it gives do not fill groups.
    """

    width: int
    kernel: int
    stride: int
    dilation: int
    left: int
    right: int
    pixels: int

    def __post_init__(self) -> None:
        if self.width % self.pixels or self.size % self.pixels_out or self.right_out < 0:
            raise UnsupportedError(
                f"Rows must fill groups of {self.pixels} columns before a window and of "
                f"{self.pixels_out} behind it, not {self.width} and {self.size} columns"
            )

    @property
    def size(self) -> int:
        """Columns that the window gives."""
        extent = self.dilation * (self.kernel - 1) + 1
        return (self.width + self.left + self.right - extent) // self.stride + 1

    @property
    def pixels_out(self) -> int:
        """Columns of a group that the window gives; one where it gives but one at all."""
        return 1 if self.size == 1 else self.pixels // gcd(self.pixels, self.stride)

    @property
    def stride_out(self) -> int:
        """Stride in groups."""
        if self.size == 1:  # any that leaves no room for a second place
            return max(1, self.width // self.pixels + self.left_out - self.kernel_out + 1)
        return self.stride // gcd(self.pixels, self.stride)

    @property
    def left_out(self) -> int:
        """Groups of padding on the left."""
        return -(-self.left // self.pixels)

    @property
    def kernel_out(self) -> int:
        """Groups under the kernel."""
        return self.place(self.pixels_out - 1, self.kernel - 1)[0] + 1

    @property
    def right_out(self) -> int:
        """Groups of padding on the right; negative if the kernel has more places than wanted."""
        groups, given = self.width // self.pixels, self.size // self.pixels_out
        missing = (given - 1) * self.stride_out + self.kernel_out - groups - self.left_out
        return 0 if -self.stride_out < missing < 0 else missing

    def place(self, k: int, tap: int) -> tuple[int, int]:
        """Group under the kernel and column in it that output column ``k`` reads for a tap."""
        group, column = divmod(k * self.stride + tap * self.dilation - self.left, self.pixels)
        return group + self.left_out, column


def window_columns(op: Conv | MaxPool | SumPool, width: int, pixels: int | None = None) -> Columns:
    """The window of an operator along rows of ``width`` columns, in groups of ``pixels``.

    A maximum knows its groups itself.
    """
    dilation = 1 if isinstance(op, SumPool) else op.dilations[1]
    together = op.pixels if pixels is None and isinstance(op, MaxPool) else pixels or 1
    return Columns(width, op.kernel[1], op.strides[1], dilation, op.pads[1], op.pads[3], together)
