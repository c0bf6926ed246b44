"""Images as bit planes: each bit of a number is a channel, which weights of its power read.

So a layer on 8-bit pixels is a layer on bits, and a lane for the narrow activations of a binary
network takes it. Zeros of the padding are zeros in every plane, and nothing needs correction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.nfu.config import BinaryLane, NfuConfig
from hwgen.numeric import IntArray

__all__ = ["image_planes", "plane_values", "plane_weights"]


def image_planes(network: IntegerNetwork, config: NfuConfig) -> int:
    """Planes in which the image of ``network`` lies in memory; 1 if it lies there as numbers.

    It lies in planes where activations are narrower than its numbers, the lane has a power of two
    for each bit, and convolutions without groups alone read it.
    """
    bits = network.input_format.range.width
    lane, name = config.lane, network.input_name
    if not isinstance(lane, BinaryLane) or not config.activation_width < bits <= lane.planes:
        return 1
    readers = [node.op for node in network.consumers(name)]
    split = all(isinstance(op, Conv) and op.groups == 1 for op in readers)
    return bits if split and name != network.output else 1


def plane_weights(op: Conv, planes: int, *, signed: bool) -> Conv:
    """``op`` on planes, the lowest bits of all channels first; a sign's weight is negative."""
    if planes == 1:
        return op
    powers = [(-1 if signed and k == planes - 1 else 1) << k for k in range(planes)]
    weight = np.concatenate([op.weight * power for power in powers], axis=1)
    return replace(op, weight=weight)


def plane_values(values: IntArray, planes: int) -> IntArray:
    """Bits (planes x C, H, W) of integers (C, H, W), in the order of :func:`plane_weights`."""
    return np.concatenate([values >> k & 1 for k in range(planes)])
