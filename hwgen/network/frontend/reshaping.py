"""Operators that move elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx

from hwgen.network.frontend.layout import View, selection
from hwgen.network.frontend.lowering import Handler, Lowering, Result
from hwgen.network.frontend.read import MAX_ELEMENTS, OnnxNode
from hwgen.network.types import ArgMax

__all__ = ["HANDLERS"]

_FLOAT_TYPES = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.DOUBLE,
    }
)


def _normalised(node: OnnxNode, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise node.wrong(f"axis {axis} does not exist in {rank} dimensions")
    return axis % rank


def _reshaped(low: Lowering, node: OnnxNode, view: View, target: Sequence[int]) -> View:
    if min(target, default=1) < 0 or math.prod(target) != view.index.size * (
        1 if view.batch is None else low.batch
    ):
        raise node.wrong(f"{low.text(view)} cannot take a shape of another size")
    result = view.reshaped(target, low.batch)
    if result is None:
        raise node.unsupported(
            f"its result would mix the images of a batch {low.text(view)}; export the model with "
            "a batch of 1 or keep the first dimension"
        )
    return result


def _reshape(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    wanted = low.integers(node, 1)
    if wanted is None:
        raise node.wrong("its new shape is missing")
    dims = view.shape(low.batch)
    target = list(wanted)
    if not node.integer("allowzero", 0):
        if any(size == 0 and axis >= len(dims) for axis, size in enumerate(target)):
            raise node.wrong(f"it copies a dimension that {low.text(view)} does not have")
        target = [dims[axis] if size == 0 else size for axis, size in enumerate(target)]
    if target.count(-1) == 1:
        others = -math.prod(target)
        if others <= 0 or math.prod(dims) % others:
            raise node.wrong(f"{low.text(view)} cannot take the shape {tuple(wanted)}")
        target[target.index(-1)] = math.prod(dims) // others
    return _reshaped(low, node, view, target)


def _flatten(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    axis = node.integer("axis", 1)
    dims = view.shape(low.batch)
    if not -len(dims) <= axis <= len(dims):
        raise node.wrong(f"axis {axis} does not exist in {len(dims)} dimensions")
    axis = axis + len(dims) if axis < 0 else axis
    return _reshaped(low, node, view, (math.prod(dims[:axis]), math.prod(dims[axis:])))


def _transpose(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    order = node.integers("perm", tuple(reversed(range(view.rank))))
    if sorted(order) != list(range(view.rank)):
        raise node.wrong(f"perm {order} is no order of {view.rank} axes")
    return view.transposed(order)


def _axes(low: Lowering, node: OnnxNode, rank: int) -> list[int] | None:
    """Axes from the attribute or, from operator set 13 on, the second input."""
    axes = low.integers(node, 1) if low.opset >= 13 else node.integers("axes", ()) or None
    if axes is None:
        return None
    result = sorted(_normalised(node, axis, rank) for axis in axes)
    if len(set(result)) != len(result):
        raise node.wrong(f"axes {axes} name one axis twice")
    return result


def _squeeze(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    dims = view.shape(low.batch)
    axes = _axes(low, node, len(dims))
    if axes is None:
        axes = [axis for axis, size in enumerate(dims) if size == 1]
    if any(dims[axis] != 1 for axis in axes):
        raise node.wrong(f"axes {axes} of {low.text(view)} are not all of size 1")
    target = [size for axis, size in enumerate(dims) if axis not in axes]
    return _reshaped(low, node, view, target)


def _unsqueeze(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    given = low.integers(node, 1) if low.opset >= 13 else node.integers("axes", ())
    axes = _axes(low, node, view.rank + len(given or ())) or []
    target = list(view.shape(low.batch))
    for axis in axes:
        target.insert(axis, 1)
    if view.batch is None or low.batch > 1:
        return _reshaped(low, node, view, target)
    index = view.index
    batch = view.batch
    for axis in axes:
        if axis <= batch:
            index, batch = np.expand_dims(index, axis), batch + 1
        else:
            index = np.expand_dims(index, axis - 1)
    return _first_axis(replace(view, index=index, batch=batch))


def _first_axis(view: View) -> View:
    """The same view with the batch as the first of several leading axes of size 1."""
    if view.batch and view.index.shape[: view.batch] == (1,) * view.batch:
        return replace(view, batch=0)
    return view


def _slice(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    dims = view.shape(low.batch)
    axes: tuple[int, ...] | None
    steps: tuple[int, ...] | None
    if low.opset < 10:
        starts, ends = node.integers("starts", ()), node.integers("ends", ())
        axes, steps = node.integers("axes", range(len(starts))), None
    else:
        starts, ends = low.integers(node, 1) or (), low.integers(node, 2) or ()
        axes, steps = low.integers(node, 3), low.integers(node, 4)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.wrong("starts, ends, axes and steps do not fit together")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where = _normalised(node, axis, len(dims))
        view = _taken(low, node, view, where, list(range(dims[where])[start:end:step]))
    return view


def _taken(low: Lowering, node: OnnxNode, view: View, axis: int, positions: Sequence[int]) -> View:
    """``view`` with only ``positions`` of ``axis``."""
    inner = view.axis(axis)
    if inner is None:
        if list(positions) != list(range(low.batch)):
            raise node.unsupported("it would pick some images of a batch")
        return view
    if not positions:
        raise node.wrong("its result is empty")
    return replace(view, index=view.index.take(positions, axis=inner))


def _gather(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    chosen = low.constant(node, 1)
    axis = _normalised(node, node.integer("axis", 0), view.rank)
    inner = view.axis(axis)
    if chosen is None or chosen.dtype.kind not in "iu" or chosen.ndim > 1 or not chosen.size:
        raise node.unsupported("its indices must be a constant list of integers")
    if inner is None:
        raise node.unsupported("it would pick some images of a batch")
    size = view.index.shape[inner]
    positions = chosen.astype(np.int64)
    if positions.min() < -size or positions.max() >= size:
        raise node.wrong(f"its indices leave the range of {size} entries")
    if positions.size * view.index.size // size > MAX_ELEMENTS:
        raise node.unsupported(f"its result has more than {MAX_ELEMENTS} elements")
    index = view.index.take(positions % size, axis=inner)
    moved = view.batch is not None and axis < view.batch and chosen.ndim == 0
    batch = view.batch - 1 if moved and view.batch is not None else view.batch
    return replace(view, index=index, batch=batch)


def _split(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    axis = _normalised(node, node.integer("axis", 0), view.rank)
    size, count = view.shape(low.batch)[axis], len(node.outputs)
    sizes = low.integers(node, 1) if low.opset >= 13 else node.integers("split", ()) or None
    if sizes is None:
        part = -(-size // count)
        sizes = tuple(min(part, size - k * part) for k in range(count))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != size:
        raise node.wrong(f"it cannot split {size} entries into {sizes}")
    ends = np.cumsum((0, *sizes)).tolist()
    return tuple(_taken(low, node, view, axis, range(ends[k], ends[k + 1])) for k in range(count))


def _pad(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node)
    if node.text("mode", "constant") != "constant":
        raise node.unsupported("hwgen pads with zeros; export the model with mode 'constant'")
    if low.opset < 11:
        amounts, fill, axes = node.integers("pads", ()), node.number("value", 0.0), None
    else:
        amounts, fill = low.integers(node, 1) or (), low.scalar(node, 2) or 0.0
        axes = low.integers(node, 3)
    chosen = [_normalised(node, a, view.rank) for a in axes or range(view.rank)]
    if len(amounts) != 2 * len(chosen):
        raise node.wrong(f"pads {amounts} do not fit {len(chosen)} axes")
    for k, axis in enumerate(chosen):
        begin, end = amounts[k], amounts[k + len(chosen)]
        inner = view.axis(axis)
        if begin == end == 0:
            continue
        if fill != 0:
            raise node.unsupported(f"hwgen pads with zeros, not with {fill}")
        if inner is None:
            raise node.unsupported("it would add images to a batch")
        padded = _padded(node, view, inner, begin, end)
        image = view.batch == 0 and view.index.ndim == 3
        if image and selection(padded.index, low.shapes[view.tensor]) is None:
            view = low.result(low.pixels(node, view))
            padded = _padded(node, view, inner, begin, end)
        view = padded
    return view


def _padded(node: OnnxNode, view: View, inner: int, begin: int, end: int) -> View:
    size = view.index.shape[inner]
    if size + min(begin, 0) + min(end, 0) < 1:
        raise node.wrong("its result is empty")
    if view.index.size // size * (size + begin + end) > MAX_ELEMENTS:
        raise node.unsupported(f"its result has more than {MAX_ELEMENTS} elements")
    kept = view.index.take(range(max(0, -begin), size - max(0, -end)), axis=inner)
    widths = [(0, 0)] * view.index.ndim
    widths[inner] = (max(begin, 0), max(end, 0))
    return replace(view, index=np.pad(kept, widths, constant_values=-1))


def _expand(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    dims, wanted = view.shape(low.batch), low.integers(node, 1)
    trailing = dims[len(dims) - len(wanted) :] if wanted and len(wanted) <= len(dims) else ()
    if wanted is None or any(a not in {1, b} for a, b in zip(wanted, trailing, strict=False)):
        raise node.unsupported("hwgen cannot repeat a tensor that depends on the image")
    if len(wanted) > len(dims):
        raise node.unsupported("hwgen cannot repeat a tensor that depends on the image")
    return view


def _identity(low: Lowering, node: OnnxNode) -> Result:
    return low.view(node, codes=True)


def _dropout(low: Lowering, node: OnnxNode) -> Result:
    training = low.constant(node, 2)
    if training is not None and training.any():
        raise node.unsupported("export the model for inference, not for training")
    if any(node.outputs[1:]):
        raise node.unsupported("hwgen has no mask of a Dropout; remove its second output")
    return low.view(node)


def _cast(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node)
    whole = any(n.name == view.tensor and isinstance(n.op, ArgMax) for n in low.nodes)
    if not whole and node.integer("to", onnx.TensorProto.FLOAT) not in _FLOAT_TYPES:
        raise node.unsupported("hwgen casts activations to floating point alone")
    return view


HANDLERS: dict[str, Handler] = {
    "Cast": _cast,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
