"""Evaluate ONNX nodes whose inputs are all constants, never making a huge array."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from hwgen.network.frontend.read import MAX_ELEMENTS, Array, OnnxNode

__all__ = ["fold"]


def fold(node: OnnxNode, inputs: Sequence[Array | None], opset: int) -> tuple[Array, ...]:
    """Outputs of ``node`` for constant ``inputs`` (``None`` where left out).

    Raises
    ------
    UnsupportedError
        If the operator is not one that a constant subgraph may hold, or its result is huge.
    ModelError
        If the operator fails.
    """
    if node.domain or node.kind not in _BOUNDS:
        raise node.unsupported(
            "hwgen cannot evaluate this operator on constants; fold them before the export"
        )
    try:
        bound = _BOUNDS[node.kind]([x for x in inputs if x is not None])
    except (ValueError, IndexError) as error:
        raise node.wrong(f"its constant inputs do not fit together ({error})") from None
    if bound > max(MAX_ELEMENTS, sum(x.size for x in inputs if x is not None)):
        raise node.unsupported(f"its constant result would hold {bound} elements")
    names = [f"x{k}" if x is not None else "" for k, x in enumerate(inputs)]
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.domain = ""
    proto.input[:] = names
    proto.output[:] = [f"y{k}" for k in range(len(node.outputs))]
    anything = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.helper.make_value_info(name, anything) for name in names if name],
        [onnx.helper.make_value_info(name, anything) for name in proto.output],
    )
    version = max(opset, _OLDEST_EVALUATED.get(node.kind, 0))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    feeds = {name: x for name, x in zip(names, inputs, strict=True) if x is not None}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
        return tuple(np.asarray(result) for result in results)
    except Exception as error:
        raise node.wrong(f"it fails on its constant inputs ({error})") from error


def _sum_of_inputs(inputs: Sequence[Array]) -> int:
    return sum(x.size for x in inputs)


def _broadcast(inputs: Sequence[Array]) -> int:
    return math.prod(np.broadcast_shapes(*(x.shape for x in inputs)))


def _product(inputs: Sequence[Array]) -> int:
    """Elements of a matrix product, broadcast over its leading dimensions."""
    a, b = inputs[0].shape or (1,), inputs[1].shape or (1,)
    elements: int = math.prod(np.broadcast_shapes(a[:-2], b[:-2])) * max(a) * max(b)
    return elements


def _filled(inputs: Sequence[Array]) -> int:
    """Elements of an array whose shape is the only input."""
    return math.prod(_whole_numbers(inputs[0]))


def _expanded(inputs: Sequence[Array]) -> int:
    return math.prod(np.broadcast_shapes(inputs[0].shape, tuple(_whole_numbers(inputs[1]))))


def _tiled(inputs: Sequence[Array]) -> int:
    return inputs[0].size * math.prod(_whole_numbers(inputs[1]))


def _counted(inputs: Sequence[Array]) -> int:
    start, limit, delta = (float(x.reshape(-1)[0]) for x in inputs[:3])
    steps = (limit - start) / delta if delta else math.inf
    return int(min(max(steps, 0), 2.0 * MAX_ELEMENTS)) + 1


def _gathered(inputs: Sequence[Array]) -> int:
    return inputs[0].size * max(1, inputs[1].size)


def _whole_numbers(x: Array) -> list[int]:
    values: list[int] = [int(value) for value in x.ravel()[:64].tolist()]
    if any(value < 0 for value in values):
        raise ValueError("a size is negative")
    return values


_OLDEST_EVALUATED = {"DequantizeLinear": 19}
"""Operators that the reference evaluator has in a later operator set alone, with equal meaning."""

_BOUNDS: dict[str, Callable[[Sequence[Array]], int]] = (
    dict.fromkeys(
        "Abs And Cast CastLike Ceil Clip Concat Constant DequantizeLinear Equal Erf Exp Flatten "
        "Floor Identity Log Neg Not QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin "
        "ReduceProd ReduceSum Relu Reshape Round Shape Sigmoid Sign Size Slice Softplus Split Sqrt "
        "Squeeze Tanh Transpose Unsqueeze".split(),
        _sum_of_inputs,
    )
    | dict.fromkeys(
        "Add BitShift Div Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow Sub "
        "Sum Where Xor".split(),
        _broadcast,
    )
    | {
        "ConstantOfShape": _filled,
        "Expand": _expanded,
        "Gather": _gathered,
        "Gemm": _product,
        "MatMul": _product,
        "Range": _counted,
        "Tile": _tiled,
    }
)
"""For each operator that folds, a bound of the number of elements that it makes."""
