"""Pooling."""

from __future__ import annotations

import numpy as np

from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import OnnxNode
from hwgen.network.frontend.windows import Window, window
from hwgen.network.types import AveragePool, Conv, MaxPool, Pads

__all__ = ["HANDLERS"]


def _window(low: Lowering, node: OnnxNode, tensor: str) -> Window:
    kernel = node.integers("kernel_shape", ())
    if len(kernel) != 2 or min(kernel) < 1:
        raise node.unsupported(f"kernel_shape must be two numbers of at least 1, not {kernel}")
    return window(node, (kernel[0], kernel[1]), low.shapes[tensor])


def _max_pool(low: Lowering, node: OnnxNode) -> Result:
    if any(node.outputs[1:]):
        raise node.unsupported("hwgen has no indices of maxima; remove its second output")
    tensor = low.image(node)
    place = _window(low, node, tensor)
    top, left, bottom, right = place.pads
    pads: Pads = (top, left, bottom + place.ceil_pads[0], right + place.ceil_pads[1])
    op = MaxPool(place.kernel, place.strides, pads, place.dilations)
    return low.result(low.emit(node, op, [tensor]))


def _average_pool(low: Lowering, node: OnnxNode) -> Result:
    tensor = low.image(node)
    place = _window(low, node, tensor)
    included = bool(node.integer("count_include_pad", 0)) or not any(place.pads)
    if place.dilations == (1, 1):
        op = AveragePool(
            place.kernel,
            place.strides,
            place.pads,
            included and any(place.pads),
            place.ceil_pads,
        )
        return low.result(low.emit(node, op, [tensor]))
    if not included or any(place.ceil_pads):
        raise node.unsupported("hwgen has dilated averages with whole windows alone")
    channels = low.shapes[tensor][0]
    weight = np.full((channels, 1, *place.kernel), 1 / (place.kernel[0] * place.kernel[1]))
    conv = Conv(
        weight, np.zeros(channels), place.strides, place.pads, place.dilations, groups=channels
    )
    return low.result(low.emit(node, conv, [tensor]))


def _global_average_pool(low: Lowering, node: OnnxNode) -> Result:
    tensor = low.image(node)
    return low.result(low.emit(node, AveragePool(low.shapes[tensor][1:], (1, 1)), [tensor]))


def _global_max_pool(low: Lowering, node: OnnxNode) -> Result:
    tensor = low.image(node)
    return low.result(low.emit(node, MaxPool(low.shapes[tensor][1:], (1, 1)), [tensor]))


def _reduce(low: Lowering, node: OnnxNode) -> Result:
    """ReduceMean and ReduceMax over height and width."""
    view = low.view(node)
    axes = low.integers(node, 1)
    if axes is None:
        axes = node.integers("axes", ())
    reduced = sorted(axis + view.rank if axis < 0 else axis for axis in axes)
    keep = bool(node.integer("keepdims", 1))
    nhwc = view.rank == 4 and reduced == [1, 2]
    if nhwc:
        view, reduced = view.transposed((0, 3, 1, 2)), [2, 3]
    if view.rank != 4 or reduced != [2, 3]:
        raise node.unsupported("hwgen reduces over height and width alone")
    tensor = low.pixels(node, view)
    size = low.shapes[tensor][1:]
    mean = node.kind == "ReduceMean"
    op = AveragePool(size, (1, 1)) if mean else MaxPool(size, (1, 1))
    made = low.result(low.emit(node, op, [tensor]))
    made = made.transposed((0, 2, 3, 1)) if nhwc else made
    if keep:
        return made
    return made.reshaped((low.batch, low.shapes[tensor][0]), low.batch) or made


HANDLERS: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
}
