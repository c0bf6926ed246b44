"""Write small sequential ONNX graphs with readable names; shared by the scripts in this folder.

Trainable values become initialisers and fixed constants become ``Constant`` nodes, so that a file's
trainable parameters can be counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphWriter", "nonzero_parameters", "stored_parameters", "trainable_parameters"]


class GraphWriter:
    """Collect nodes and initialisers; every method adds one layer and returns its tensor's name.

    Parameters
    ----------
    name : str
        Name of the graph.
    input_shape : tuple of int
        (C, H, W) of the input ``x``; the batch size is free.
    """

    def __init__(self, name: str, input_shape: tuple[int, int, int]) -> None:
        self.name = name
        self.input_shape = input_shape
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def node(self, operator: str, name: str, *inputs: str, **attributes: object) -> str:
        """Add a node that writes the tensor ``name``."""
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def parameter(self, name: str, values: npt.ArrayLike) -> str:
        """Add a trainable float32 initialiser."""
        array = np.asarray(values, dtype=np.float32)
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        """Add a fixed float32 constant."""
        value = numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)
        return self.node("Constant", name, value=value)

    def conv(
        self,
        name: str,
        source: str,
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32] | None = None,
        *,
        stride: int = 1,
        pad: int = 0,
        group: int = 1,
        fixed: bool = False,
    ) -> str:
        """Convolution; ``weight`` (O, I / group, KH, KW) is trained or ``fixed``, ``bias`` (O,)."""
        keep = self.constant if fixed else self.parameter
        inputs = [source, keep(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.parameter(f"{name}.bias", bias))
        return self.node(
            "Conv",
            name,
            *inputs,
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[pad] * 4,
            group=group,
        )

    def gemm(
        self,
        name: str,
        source: str,
        weight: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32],
    ) -> str:
        """Fully connected layer ``source @ weight.T + bias`` with ``weight`` (O, I)."""
        parameters = [self.parameter(f"{name}.weight", weight)]
        parameters.append(self.parameter(f"{name}.bias", bias))
        return self.node("Gemm", name, source, *parameters, transB=1)

    def affine(self, name: str, source: str, gain: npt.ArrayLike, offset: npt.ArrayLike) -> str:
        """Fixed ``gain * source + offset``, scalars or (C, 1, 1)."""
        scaled = self.node("Mul", f"{name}_scaled", source, self.constant(f"{name}.gain", gain))
        return self.node("Add", name, scaled, self.constant(f"{name}.offset", offset))

    def batch_norm(
        self,
        name: str,
        source: str,
        values: Mapping[str, npt.NDArray[np.float32]],
        *,
        epsilon: float = 1e-5,
    ) -> str:
        """BatchNormalization with the four arrays that PyTorch keeps under ``name``."""
        keys = ("weight", "bias", "running_mean", "running_var")
        parameters = [self.parameter(f"{name}.{key}", values[f"{name}.{key}"]) for key in keys]
        return self.node("BatchNormalization", name, source, *parameters, epsilon=epsilon)

    def scaled_tanh(self, name: str, source: str) -> str:
        """LeCun's activation 1.7159 * tanh(2/3 * x)."""
        slope = self.constant(f"{name}.slope", 2 / 3)
        steep = self.node("Mul", f"{name}.input", source, slope)
        tanh = self.node("Tanh", f"{name}.tanh", steep)
        gain = self.constant(f"{name}.gain", 1.7159)
        return self.node("Mul", name, tanh, gain)

    def save(self, path: Path, output: str, *, outputs: tuple[int, ...]) -> None:
        """Check and write the graph whose result is the tensor ``output``, (N, ``outputs``)."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.input_shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *outputs])],
            self._initializers,
        )
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="hwgen")
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, path)


def _trained(path: Path) -> Iterator[npt.NDArray[np.float32]]:
    """The float initialisers, less what a BatchNormalization measured instead of learning it."""
    graph = onnx.load_model(path).graph
    measured = {
        name
        for node in graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[3:]
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in measured:
            yield numpy_helper.to_array(tensor)


def trainable_parameters(path: Path) -> int:
    """Number of trainable parameters: the entries of the float initialisers.

    A kernel (the two last dimensions of four) that is zero throughout is a connection that the
    network does not have, and the mean and the variance of a BatchNormalization are measured, not
    trained; neither counts.
    """
    return sum(
        values[values.any(axis=(2, 3))].size if values.ndim == 4 else values.size
        for values in _trained(path)
    )


def stored_parameters(path: Path) -> int:
    """Number of trainable parameters, pruned ones included."""
    return sum(values.size for values in _trained(path))


def nonzero_parameters(path: Path) -> int:
    """Number of trainable parameters that are not zero."""
    return sum(int(np.count_nonzero(values)) for values in _trained(path))
