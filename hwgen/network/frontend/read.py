"""Read an ONNX file into plain Python values, checking all that can be checked before lowering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import external_data_helper, numpy_helper

from hwgen.errors import HwgenError, ModelError, UnsupportedError

__all__ = ["DYNAMIC_BATCH", "MAX_ELEMENTS", "Array", "OnnxModel", "OnnxNode", "read_model"]

Array = npt.NDArray[np.generic]

MAX_ELEMENTS = 1 << 24
"""Most elements of one array that is computed: far above any layer that fits an FPGA."""

_MAX_STORED = 1 << 28
"""Most elements of one array in a file: above the largest dense layers that were ever common."""

DYNAMIC_BATCH = 7919
"""Stands for a batch size that the model leaves open: a prime that no real dimension equals."""

_FIRST_OPSET = 7
_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
_ALIASES = frozenset({("com.microsoft", "QuantizeLinear"), ("com.microsoft", "DequantizeLinear")})
"""Operators of another domain that mean what those of the standard domain do."""

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One ONNX node: names of its input tensors ('' if left out), outputs and attributes."""

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, object]
    proto: onnx.NodeProto

    def __str__(self) -> str:
        return f"{self.kind} node {self.name!r}"

    def unsupported(self, reason: str) -> UnsupportedError:
        """The error that hwgen cannot do what this node asks; ``reason`` follows a colon."""
        return UnsupportedError(f"{self}: {reason}")

    def wrong(self, reason: str) -> ModelError:
        """The error that this node contradicts the ONNX standard or itself."""
        return ModelError(f"{self}: {reason}")

    def _attribute(self, name: str, kind: type[_T], default: _T) -> _T:
        value = self.attributes.get(name, default)
        if not isinstance(value, kind):
            raise self.wrong(f"attribute {name!r} must be of type {kind.__name__}")
        return value

    def integer(self, name: str, default: int) -> int:
        """Integer attribute ``name``."""
        return self._attribute(name, int, default)

    def number(self, name: str, default: float) -> float:
        """Finite number ``name``."""
        value = self._attribute(name, float, default)
        if not math.isfinite(value):
            raise self.wrong(f"attribute {name!r} must be finite, not {value}")
        return value

    def text(self, name: str, default: str) -> str:
        """Text attribute ``name``."""
        return self._attribute(name, str, default)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Attribute ``name``, a sequence of integers."""
        values = self._attribute(name, tuple, tuple(default))
        if not all(isinstance(value, int) for value in values):
            raise self.wrong(f"attribute {name!r} must hold integers")
        return values


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """What the importer needs of an ONNX file.

    ``input_dims`` is the shape of the one input with ``batch`` in place of an open first dimension.
    """

    name: str
    opset: int
    constants: dict[str, Array]
    nodes: tuple[OnnxNode, ...]
    input_name: str
    input_dims: tuple[int, ...]
    output_name: str

    @property
    def batch(self) -> int:
        """First dimension of the input."""
        return self.input_dims[0]


def read_model(path: Path) -> OnnxModel:
    """Read and check the ONNX file ``path``.

    Raises
    ------
    ModelError
        If the file is missing or damaged, or is not a valid ONNX model.
    UnsupportedError
        If the model has not exactly one input and one output, or its input's shape is open.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"Model file {str(path)!r} cannot be read: {reason}") from None
    if not data:
        raise ModelError(f"Model file {str(path)!r} is empty: export the model again")
    try:
        model = onnx.load_model_from_string(data)
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        _settle_shapes(model.graph)
        onnx.checker.check_model(model)
        return _read_graph(model, path.stem)
    except HwgenError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"Model file {str(path)!r} is not a valid ONNX model ({lines[0].rstrip('. :')}): "
            "export it again, with its external data beside it if it has any"
        ) from error


def _settle_shapes(graph: onnx.GraphProto) -> None:
    """Forget the shapes stated for results: they may be missing or wrong, and are derived anew."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.shape.Clear()
        value.type.tensor_type.shape.SetInParent()


def _read_graph(model: onnx.ModelProto, name: str) -> OnnxModel:
    opsets = [entry.version for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(opsets) != 1 or not _FIRST_OPSET <= opsets[0] <= newest:
        found = ", ".join(map(str, opsets)) or "none"
        raise UnsupportedError(
            f"Model must use an ONNX operator set from {_FIRST_OPSET} to {newest}, not {found}: "
            "export it again with another opset_version"
        )
    graph = model.graph
    if graph.sparse_initializer:
        raise UnsupportedError("Model has sparse initialisers: export it with dense weights")
    constants = {_text(tensor.name): _array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if _text(value.name) not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise UnsupportedError(
            f"Model must have one input and one output, not {len(inputs)} and "
            f"{len(graph.output)}: cut it with onnx.utils.extract_model"
        )
    return OnnxModel(
        name=name,
        opset=opsets[0],
        constants=constants,
        nodes=tuple(_node(proto) for proto in graph.node),
        input_name=inputs[0].name,
        input_dims=_input_dims(inputs[0]),
        output_name=_text(graph.output[0].name),
    )


def _text(value: str | bytes) -> str:
    """A name in the file; protobuf hands over what is not UTF-8 as bytes."""
    if isinstance(value, bytes):
        raise ModelError(
            f"Model contains the name {value[:40]!r}, which is not UTF-8: export it again"
        )
    return value


def _array(tensor: onnx.TensorProto) -> Array:
    """Values of a tensor, after checking that their number is what its shape says."""
    if tensor.data_type == onnx.TensorProto.STRING:
        raise UnsupportedError(f"Tensor {tensor.name!r} holds text, which hwgen cannot use")
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > _MAX_STORED:
        raise ModelError(
            f"Tensor {tensor.name!r} has shape {tuple(tensor.dims)}: "
            f"it must hold at most {_MAX_STORED} elements"
        )
    array: Array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _node(proto: onnx.NodeProto) -> OnnxNode:
    outputs = tuple(map(_text, proto.output))
    domain, kind = _text(proto.domain), _text(proto.op_type)
    standard = domain in _STANDARD_DOMAINS or (domain, kind) in _ALIASES
    return OnnxNode(
        kind=kind,
        domain="" if standard else domain,
        name=_text(proto.name) or next(filter(None, outputs), kind),
        inputs=tuple(map(_text, proto.input)),
        outputs=outputs,
        attributes={_text(each.name): _attribute(each) for each in proto.attribute},
        proto=proto,
    )


def _attribute(attribute: onnx.AttributeProto) -> object:
    kinds = onnx.AttributeProto
    match attribute.type:
        case kinds.INT:
            return int(attribute.i)
        case kinds.FLOAT:
            return float(attribute.f)
        case kinds.STRING:
            return attribute.s.decode("utf-8")
        case kinds.INTS:
            return tuple(int(value) for value in attribute.ints)
        case kinds.FLOATS:
            return tuple(float(value) for value in attribute.floats)
        case kinds.TENSOR:
            return _array(attribute.t)
        case _:
            return attribute


def _input_dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise UnsupportedError(
            f"Input {value.name!r} has no shape: export the model with a fixed image size"
        )
    dims = [
        int(dim.dim_value) if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    ]
    if len(dims) not in {2, 3, 4}:
        raise UnsupportedError(
            f"Input {value.name!r} has {len(dims)} dimensions: hwgen takes images "
            "(N, C, H, W) or vectors (N, C)"
        )
    if dims[0] is None:
        dims[0] = DYNAMIC_BATCH
    sizes = [size for size in dims if size is not None]
    if len(sizes) != len(dims):
        raise UnsupportedError(
            f"Input {value.name!r} leaves its image size open: export the model with a fixed size"
        )
    if min(sizes) < 1 or math.prod(sizes[1:]) > MAX_ELEMENTS:
        raise ModelError(
            f"Input {value.name!r} has shape {tuple(sizes)}: each size must be at least 1 and an "
            f"image at most {MAX_ELEMENTS} values"
        )
    return tuple(sizes)
