"""Import an ONNX model into the float network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from hwgen.errors import ModelError, UnsupportedError, VerifyError
from hwgen.network.frontend import (
    arithmetic,
    comparison,
    linear,
    pointwise,
    pooling,
    quantisation,
    reshaping,
)
from hwgen.network.frontend.fold import fold
from hwgen.network.frontend.gates import find_gates
from hwgen.network.frontend.layout import View, is_identity, whole
from hwgen.network.frontend.lowering import Handler, Lowering, Result, identifier
from hwgen.network.frontend.read import Array, OnnxModel, OnnxNode, read_model
from hwgen.network.simplify import simplify
from hwgen.network.types import Activation, Network, Shape
from hwgen.network.verify import verify

__all__ = ["OPERATORS", "import_onnx"]

_HANDLERS: dict[str, Handler] = (
    arithmetic.HANDLERS
    | comparison.HANDLERS
    | linear.HANDLERS
    | pointwise.HANDLERS
    | pooling.HANDLERS
    | quantisation.HANDLERS
    | reshaping.HANDLERS
)

OPERATORS = tuple(sorted([*_HANDLERS, *quantisation.QONNX_HANDLERS]))
"""ONNX operators on activations that the importer knows."""


def import_onnx(path: Path) -> Network:
    """Read the ONNX file ``path`` and lower it onto the operators of the float network.

    Batch normalisation, scalings, quantised weights, padding and rearrangements are folded into
    their neighbours wherever that changes no output. The batch size disappears; a batch that the
    model fixes is treated as so many independent images. A model that takes images as (N, H, W, C)
    and transposes them first becomes a network that takes (N, C, H, W).

    Raises
    ------
    ModelError
        If the file is missing, damaged or inconsistent.
    UnsupportedError
        If the model uses something that hwgen does not implement; the message names the node.
    """
    model = read_model(path)
    low = _start(model)
    gates = find_gates(model)
    for node in model.nodes:
        if not gates.spent.isdisjoint(node.outputs):
            continue
        function = gates.functions.get(node.outputs[0]) if node.outputs else None
        result = _activated(low, node, *function) if function is not None else _lower(low, node)
        outputs = result if isinstance(result, tuple) else (result,)
        for name, value in zip(node.outputs, outputs, strict=False):
            low.values[name] = value
    network = _finish(low, model)
    try:
        network = simplify(network)
        verify(network)
    except VerifyError as error:
        raise ModelError(f"Model {model.name!r} is inconsistent: {error}") from None
    if not network.nodes:
        raise ModelError(f"Model {model.name!r} has no layers: its output is its input")
    return network


def _start(model: OnnxModel) -> Lowering:
    """The input as the first network tensor."""
    dims = model.input_dims[1:]
    tensor = identifier(model.input_name)
    first = None
    if len(dims) == 3 and _transposes_first(model):
        height, width, channels = dims
        shape: Shape = (channels, height, width)
        first = whole(tensor, shape)
        first = View(tensor, first.index.transpose(1, 2, 0))
    elif len(dims) == 3:
        shape = (dims[0], dims[1], dims[2])
    elif len(dims) == 2:
        shape = (1, dims[0], dims[1])
    else:
        shape = _vector_shape(model, dims[0])
    index = np.arange(np.prod(shape), dtype=np.int64).reshape(dims)
    values: dict[str, View | Array] = dict(model.constants)
    values[model.input_name] = first or View(tensor, index)
    return Lowering(model.opset, model.batch, values, {tensor: shape})


def _chain_end(model: OnnxModel) -> OnnxNode | None:
    """The first node on the way from the input that does more than work on single elements."""
    passing = {"Add", "Cast", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Sub"}
    name = model.input_name
    for _ in model.nodes:
        readers = [node for node in model.nodes if name in node.inputs]
        if len(readers) != 1:
            return None
        if readers[0].kind not in passing or not readers[0].outputs:
            return readers[0]
        name = readers[0].outputs[0]
    return None


def _transposes_first(model: OnnxModel) -> bool:
    node = _chain_end(model)
    return (
        node is not None
        and node.kind == "Transpose"
        and node.attributes.get("perm") == (0, 3, 1, 2)
    )


def _vector_shape(model: OnnxModel, size: int) -> Shape:
    """Shape of an input (N, size): that of an image if the model reshapes it to one first."""
    node = _chain_end(model)
    if node is not None and node.kind == "Reshape" and len(node.inputs) == 2:
        target = _known_constant(model, node.inputs[1])
        if target is not None and target.shape == (4,) and target.dtype.kind == "i":
            channels, height, width = (int(each) for each in target[1:])
            known = [channels, height, width]
            if known.count(-1) == 1 and np.prod(known) < 0 and size % -np.prod(known) == 0:
                known[known.index(-1)] = int(size // -np.prod(known))
            if min(known) > 0 and np.prod(known, dtype=np.float64) == size:
                return (known[0], known[1], known[2])
    return (size, 1, 1)


def _known_constant(model: OnnxModel, name: str) -> Array | None:
    for node in model.nodes:
        if name in node.outputs:
            value = node.attributes.get("value")
            return value if node.kind == "Constant" and isinstance(value, np.ndarray) else None
    return model.constants.get(name)


def _lower(low: Lowering, node: OnnxNode) -> Result:
    values = [low.value(node, position) for position in range(len(node.inputs))]
    handler = _handler(node)
    constants = [value for value in values if not isinstance(value, View)]
    if node.kind in {"Shape", "Size"} and isinstance(values[0], View):
        return _shape_of(node, values[0].shape(low.batch))
    if len(constants) == len(values) and handler not in quantisation.QONNX_HANDLERS.values():
        return fold(node, constants, low.opset)
    if handler is None:
        raise UnsupportedError(
            f"{node}: hwgen does not implement this operator; replace it with supported ones "
            f"({', '.join(OPERATORS)}) or cut the model before it"
        )
    return handler(low, node)


def _activated(low: Lowering, node: OnnxNode, source: str, op: Activation) -> Result:
    """The function ``op`` of the tensor ``source``, which ``node`` and others compute."""
    view = low.values.get(source)
    if not isinstance(view, View) or view.codes is not None:
        return _lower(low, node)
    return low.pointwise(node, view, op)


def _handler(node: OnnxNode) -> Handler | None:
    if node.domain in quantisation.QONNX_DOMAINS:
        return quantisation.QONNX_HANDLERS.get(node.kind)
    return None if node.domain else _HANDLERS.get(node.kind)


def _shape_of(node: OnnxNode, dims: tuple[int, ...]) -> Array:
    if node.kind == "Size":
        return np.array(np.prod(dims), dtype=np.int64)
    start, end = node.integer("start", 0), node.integer("end", len(dims))
    return np.array(dims[start:end], dtype=np.int64)


def _finish(low: Lowering, model: OnnxModel) -> Network:
    value = low.values.get(model.output_name)
    if not isinstance(value, View):
        raise ModelError(f"Output {model.output_name!r} of the model does not depend on the input")
    last = OnnxNode("Output", "", model.output_name, (), (), {}, onnx.NodeProto())
    output = value.tensor
    shape = low.shapes[output]
    flat = whole(output, shape).index
    transposed = flat.transpose(1, 2, 0)
    if value.codes is not None:
        raise last.unsupported("end the model with DequantizeLinear")
    if not is_identity(value.index.reshape(-1), (flat.size,)) and not (
        value.batch == 0 and np.array_equal(value.index, transposed)
    ):
        output = low.pixels(last, value)
    (input_name,) = set(low.shapes) - {node.name for node in low.nodes}
    return Network(
        identifier(model.name),
        input_name,
        low.shapes[input_name],
        tuple(low.nodes),
        output,
    )
