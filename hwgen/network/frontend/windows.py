"""The sliding-window attributes that convolution and pooling share."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.network.frontend.read import MAX_ELEMENTS, OnnxNode
from hwgen.network.types import Pads, Pair, Shape

__all__ = ["Window", "window"]


@dataclass(frozen=True)
class Window:
    """A sliding window with its padding made explicit; ``ceil_pads`` (bottom, right) is extra."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pads
    ceil_pads: Pair


def window(node: OnnxNode, kernel: Pair, shape: Shape) -> Window:
    """Window of ``node`` with a kernel of ``kernel`` pixels on an image of ``shape``."""
    strides = _pair(node, "strides")
    dilations = _pair(node, "dilations")
    given = node.integers("pads", (0, 0, 0, 0))
    if len(given) != 4 or min(given) < 0:
        raise node.unsupported(f"pads must be four numbers of at least 0, not {given}")
    pads: Pads = (given[0], given[1], given[2], given[3])
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    sizes = shape[1:]
    match node.text("auto_pad", "NOTSET"):
        case "NOTSET":
            pass
        case "VALID":
            pads = (0, 0, 0, 0)
        case ("SAME_UPPER" | "SAME_LOWER") as where:
            totals = [
                max(0, (-(-size // stride) - 1) * stride + span - size)
                for size, stride, span in zip(sizes, strides, reach, strict=True)
            ]
            small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
            begin, end = (small, large) if where == "SAME_UPPER" else (large, small)
            pads = (begin[0], begin[1], end[0], end[1])
        case other:
            raise node.wrong(f"auto_pad cannot be {other!r}")
    if shape[0] * (shape[1] + pads[0] + pads[2]) * (shape[2] + pads[1] + pads[3]) > MAX_ELEMENTS:
        raise node.unsupported(f"its padded input would have more than {MAX_ELEMENTS} elements")
    ceil_pads = (0, 0)
    if node.integer("ceil_mode", 0):
        ceil_pads = (
            _ceil_pad(sizes[0], pads[0], pads[2], strides[0], reach[0]),
            _ceil_pad(sizes[1], pads[1], pads[3], strides[1], reach[1]),
        )
    return Window(kernel, strides, dilations, pads, ceil_pads)


def _pair(node: OnnxNode, name: str) -> Pair:
    values = node.integers(name, (1, 1))
    if len(values) != 2 or min(values) < 1:
        raise node.unsupported(f"{name} must be two numbers of at least 1, not {values}")
    return (values[0], values[1])


def _ceil_pad(size: int, begin: int, end: int, stride: int, reach: int) -> int:
    """Pixels that ``ceil_mode`` adds; a window must begin on a pixel or in the first padding."""
    room = size + begin + end - reach
    outputs = -(-room // stride) + 1
    if (outputs - 1) * stride >= size + begin:
        outputs -= 1
    return max(0, (outputs - 1) * stride - room)
