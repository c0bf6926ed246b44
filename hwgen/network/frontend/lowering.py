"""The network under construction: what every group of operators needs to add its nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hwgen.errors import VerifyError
from hwgen.network.frontend.layout import View, is_identity, selection, whole
from hwgen.network.frontend.read import DYNAMIC_BATCH, MAX_ELEMENTS, Array, OnnxNode
from hwgen.network.shapes import output_shape
from hwgen.network.types import Conv, FloatArray, Node, Op, Shape

__all__ = ["Handler", "Lowering", "Result", "Value", "affine", "broadcasts", "identifier"]

Value = View | Array
"""An ONNX tensor: elements of a network tensor, or a constant."""

Result = Value | tuple[Value, ...]
"""What a handler returns: the first output, or as many as the node has."""

_LONGEST_NAME = 60


def identifier(text: str) -> str:
    """``text`` as a name of letters, digits and single underscores that begins with a letter."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", text[:200]).strip("_")[:_LONGEST_NAME].strip("_")
    return name if name and name[0].isalpha() else f"n{name}"


def affine(scale: FloatArray, offset: FloatArray) -> Conv:
    """``scale[c] * x + offset[c]`` as a depthwise 1x1 convolution."""
    return Conv(scale.reshape(-1, 1, 1, 1), offset, groups=len(scale))


def broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether NumPy can broadcast ``shape`` to ``onto``."""
    trailing = onto[len(onto) - len(shape) :]
    return len(shape) <= len(onto) and all(
        a in (1, b) for a, b in zip(shape, trailing, strict=True)
    )


@dataclass(eq=False)
class Lowering:
    """Nodes made so far and the value of every ONNX tensor seen so far."""

    opset: int
    batch: int
    values: dict[str, Value]
    shapes: dict[str, Shape]
    nodes: list[Node] = field(default_factory=list)

    def value(self, node: OnnxNode, position: int) -> Value | None:
        """Input number ``position`` of ``node``, ``None`` if it is left out."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.values:
            raise node.wrong(f"its input {name!r} is written by no node before it")
        return self.values[name]

    def view(self, node: OnnxNode, position: int = 0, *, codes: bool = False) -> View:
        """Input number ``position``, which must depend on the image.

        Integer codes of a QuantizeLinear are refused unless ``codes``.
        """
        value = self.value(node, position)
        if not isinstance(value, View):
            raise node.unsupported(f"its input {position} must depend on the image")
        if value.codes is not None and not codes:
            raise node.unsupported("it works on quantised integers; export the model in QDQ format")
        return value

    def constant(self, node: OnnxNode, position: int) -> Array | None:
        """Input number ``position``, which must be constant; ``None`` if it is left out."""
        value = self.value(node, position)
        if isinstance(value, View):
            raise node.unsupported(f"its input {position} must be constant")
        return value

    def numbers(self, node: OnnxNode, position: int) -> FloatArray | None:
        """Constant input number ``position`` as finite float64; ``None`` if it is left out."""
        value = self.constant(node, position)
        if value is None:
            return None
        if value.dtype.kind in "OSUVc":
            raise node.unsupported(f"its constant input {position} must hold real numbers")
        with np.errstate(invalid="ignore"):
            numbers = value.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise node.wrong(f"its constant input {position} holds NaN or infinity")
        return numbers

    def required(self, node: OnnxNode, position: int) -> FloatArray:
        """Like :meth:`numbers`, of an input that must not be left out."""
        numbers = self.numbers(node, position)
        if numbers is None:
            raise node.wrong(f"its input {position} is missing")
        return numbers

    def scalar(self, node: OnnxNode, position: int) -> float | None:
        """Constant input number ``position``, one number, which may be infinite."""
        value = self.constant(node, position)
        if value is None:
            return None
        if value.size != 1 or value.dtype.kind not in "biuf":
            raise node.unsupported(f"its input {position} must be one number")
        return float(value.reshape(-1)[0])

    def integers(self, node: OnnxNode, position: int) -> tuple[int, ...] | None:
        """Constant input number ``position`` as integers; ``None`` if it is left out."""
        value = self.constant(node, position)
        if value is None:
            return None
        if value.dtype.kind not in "iu" or value.ndim > 1 or value.size > 64:
            raise node.wrong(f"its input {position} must be a short list of integers")
        return tuple(int(number) for number in value.reshape(-1))

    def text(self, view: View) -> str:
        """Shape of ``view`` for a message, with N for a batch size that the model leaves open."""
        dims = ["N" if d == DYNAMIC_BATCH else str(d) for d in view.shape(self.batch)]
        return f"({', '.join(dims)})"

    def emit(self, node: OnnxNode, op: Op, tensors: Sequence[str]) -> str:
        """Add a network node on ``tensors``; returns the name of the tensor that it writes."""
        try:
            shape = output_shape(op, [self.shapes[name] for name in tensors])
        except VerifyError as error:
            raise node.wrong(str(error)) from None
        if int(np.prod(shape, dtype=np.float64)) > MAX_ELEMENTS:
            raise node.unsupported(f"its result {shape} has more than {MAX_ELEMENTS} elements")
        stem = identifier(node.name)
        name, number = stem, 1
        while name in self.shapes:
            number += 1
            name = f"{stem}_{number}"
        self.shapes[name] = shape
        self.nodes.append(Node(name, op, tuple(tensors), shape))
        return name

    def pixels(self, node: OnnxNode, view: View) -> str:
        """The network tensor (C, H, W) that holds just the elements of ``view``, in its order.

        The ONNX tensor must be (N, C, H, W), or (N, C) for a vector.
        """
        index = view.index
        if view.batch not in {0, None} or index.ndim not in {1, 3} or view.codes is not None:
            raise node.unsupported(
                f"it needs images (N, C, H, W) or vectors (N, C), not a tensor {self.text(view)}"
            )
        index = index.reshape(index.shape if index.ndim == 3 else (-1, 1, 1))
        shape = self.shapes[view.tensor]
        if is_identity(index, shape):
            return view.tensor
        conv = selection(index, shape)
        if conv is None:
            raise node.unsupported(
                f"hwgen cannot rearrange a tensor {shape} into {index.shape} as its input asks"
            )
        return self.emit(node, conv, [view.tensor])

    def image(self, node: OnnxNode, position: int = 0) -> str:
        """Input number ``position`` as a network tensor; it must be (N, C, H, W)."""
        view = self.view(node, position)
        if view.rank != 4:
            raise node.unsupported(f"it needs images (N, C, H, W), not {view.rank} dimensions")
        return self.pixels(node, view)

    def result(self, tensor: str) -> View:
        """The network tensor ``tensor`` as an ONNX tensor (N, C, H, W)."""
        return whole(tensor, self.shapes[tensor])

    def rooted(self, node: OnnxNode, view: View) -> View:
        """``view``, or an equal one that uses every element of its tensor once, if possible."""
        size = int(np.prod(self.shapes[view.tensor]))
        if view.index.size == size and (view.index >= 0).all():
            return view
        if view.batch in {0, None} and view.index.ndim in {1, 3}:
            flat = np.arange(view.index.size, dtype=np.int64).reshape(view.index.shape)
            return replace(view, tensor=self.pixels(node, view), index=flat)
        if (view.index < 0).any():
            raise node.unsupported("its input is padded in a way that hwgen cannot follow")
        return view

    def pointwise(self, node: OnnxNode, view: View, op: Op) -> View:
        """Apply ``op``, which treats every element alike, to the elements of ``view``."""
        rooted = self.rooted(node, view)
        return replace(rooted, tensor=self.emit(node, op, [rooted.tensor]))

    def per_channel(self, view: View, parameter: FloatArray, neutral: float) -> FloatArray | None:
        """``parameter``, broadcast over the ONNX tensor ``view``, as one number a channel.

        The channels are those of the network tensor, (C,); ``neutral`` stands for channels that
        ``view`` leaves out. ``None`` if the parameter differs within a channel or over the batch,
        or would make the tensor larger.
        """
        dims = view.shape(1)
        if not broadcasts(parameter.shape, dims):
            return None
        values = np.broadcast_to(parameter, dims).reshape(view.index.shape)
        channels, height, width = self.shapes[view.tensor]
        owner = view.index // (height * width)
        result = np.full(channels, neutral)
        result[owner] = values
        return result if np.array_equal(result[owner], values) else None

    def scaled(self, node: OnnxNode, view: View, scale: FloatArray, offset: FloatArray) -> View:
        """``scale * x + offset``, both broadcast over the ONNX tensor ``view``."""
        rooted = self.rooted(node, view)
        result = self._scaled_channels(node, rooted, scale, offset)
        if result is None and rooted.index.ndim == 1:
            result = self._scaled_channels(node, self._vector(node, rooted), scale, offset)
        if result is None:
            raise node.unsupported(
                f"its constant must be a scalar or one number a channel of a tensor "
                f"{self.text(view)}"
            )
        return result

    def _scaled_channels(
        self, node: OnnxNode, view: View, scale: FloatArray, offset: FloatArray
    ) -> View | None:
        gains = self.per_channel(view, scale, 1.0)
        offsets = self.per_channel(view, offset, 0.0)
        if gains is None or offsets is None:
            return None
        return replace(view, tensor=self.emit(node, affine(gains, offsets), [view.tensor]))

    def _vector(self, node: OnnxNode, view: View) -> View:
        flat = np.arange(view.index.size, dtype=np.int64)
        return replace(view, tensor=self.pixels(node, view), index=flat)


Handler = Callable[[Lowering, OnnxNode], Result]
